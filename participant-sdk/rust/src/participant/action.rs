//! The traits that a user implements: an action in one of the three modes.
//!
//! The code receives the open local transaction, in which the barrier's row is already written. Its
//! changes through that connection are committed together with the row, or not at all. It must not
//! commit or roll back itself; savepoints (`connection.begin()`) are allowed. Whatever it sends after the
//! local transaction has ended, by a statement of its own or by an error that it ignores, is not
//! committed, and the call is UNKNOWN. It may run more than once per call, when the database requires a
//! repetition (after a deadlock), but takes effect once.

use std::future::Future;

use crate::{
    context::Call,
    database::{Connection, Database},
    error::ActionError,
    payload::Payload,
};

/// An action in mode TCC: Try freezes, Confirm uses what was frozen, Cancel gives it back.
///
/// Write the three as `async fn`.
pub trait TccAction<D: Database>: Send + Sync + 'static {
    /// The request.
    type Request: Payload;
    /// The result of Try: kept by the coordinator if it is not empty, at most 64 KiB.
    type Response: Payload;

    /// Freezes. [`ActionError::Rejected`] is final; after any other error the call is made again.
    fn try_(
        &self,
        tx: &mut Connection<D>,
        call: &Call<Self::Request>,
    ) -> impl Future<Output = Result<Self::Response, ActionError>> + Send;

    /// Uses what was frozen. Called only after Try took effect, and takes effect once.
    fn confirm(
        &self,
        tx: &mut Connection<D>,
        call: &Call<Self::Request>,
    ) -> impl Future<Output = Result<(), ActionError>> + Send;

    /// Gives back what was frozen. Called only after Try took effect, and takes effect once.
    fn cancel(
        &self,
        tx: &mut Connection<D>,
        call: &Call<Self::Request>,
    ) -> impl Future<Output = Result<(), ActionError>> + Send;

    /// Returns true if the action has an effect outside the database (a payment provider, a file).
    /// Then the code must be idempotent by `(tx_id, action)`, and Cancel may be called after a Try
    /// whose outcome is unknown.
    fn external(&self) -> bool {
        false
    }
}

/// An action in mode COMPENSATE: it takes effect in phase one, and is undone if the transaction fails.
///
/// Write the two as `async fn`.
pub trait CompensateAction<D: Database>: Send + Sync + 'static {
    /// The request.
    type Request: Payload;
    /// The result of `act`: kept by the coordinator if it is not empty, at most 64 KiB.
    type Response: Payload;

    /// Takes effect. [`ActionError::Rejected`] is final; after any other error the call is made again.
    fn act(
        &self,
        tx: &mut Connection<D>,
        call: &Call<Self::Request>,
    ) -> impl Future<Output = Result<Self::Response, ActionError>> + Send;

    /// Undoes `act`. Called only after that took effect, and takes effect once.
    fn compensate(
        &self,
        tx: &mut Connection<D>,
        call: &Call<Self::Request>,
    ) -> impl Future<Output = Result<(), ActionError>> + Send;

    /// As [`TccAction::external`].
    fn external(&self) -> bool {
        false
    }
}

/// An action in mode DELIVER: delivered once the transaction has succeeded, with as many attempts as
/// that takes.
///
/// An effect outside the database must be idempotent by `(tx_id, action)`.
pub trait DeliverAction<D: Database>: Send + Sync + 'static {
    /// The payload that is delivered.
    type Request: Payload;

    /// Takes the delivery. After [`ActionError::Rejected`] a person must look; after any other error
    /// the call is made again.
    fn deliver(
        &self,
        tx: &mut Connection<D>,
        call: &Call<Self::Request>,
    ) -> impl Future<Output = Result<(), ActionError>> + Send;
}
