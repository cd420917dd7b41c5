//! What a user writes: an action in one of the three modes.
//!
//! The code receives the open local transaction, in which the barrier's row is already written; what
//! it changes through that connection is committed together with the row, or not at all. It must not
//! commit or roll back itself; savepoints (`connection.begin()`) are fine. It may run more than once
//! for one call, when the database asks for a repetition (a deadlock), but takes effect once.

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
    /// What is asked for.
    type Request: Payload;
    /// What Try returns: kept by the coordinator if it is not empty, at most 64 KiB.
    type Response: Payload;

    /// Freezes. [`ActionError::Rejected`] refuses for ever, any other error is tried again.
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

    /// Whether the action has an effect outside the database (a payment provider, a file). Then the
    /// code must be idempotent by `(tx_id, action)`, and Cancel may come after a Try whose outcome
    /// nobody knows.
    fn external(&self) -> bool {
        false
    }
}

/// An action in mode COMPENSATE: it is really done in phase one, and undone if the transaction fails.
///
/// Write the two as `async fn`.
pub trait CompensateAction<D: Database>: Send + Sync + 'static {
    /// What is asked for.
    type Request: Payload;
    /// What `act` returns: kept by the coordinator if it is not empty, at most 64 KiB.
    type Response: Payload;

    /// Does it. [`ActionError::Rejected`] refuses for ever, any other error is tried again.
    fn act(
        &self,
        tx: &mut Connection<D>,
        call: &Call<Self::Request>,
    ) -> impl Future<Output = Result<Self::Response, ActionError>> + Send;

    /// Undoes it. Called only after `act` took effect, and takes effect once.
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

/// An action in mode DELIVER: delivered once the transaction has succeeded, however often it takes.
///
/// An effect outside the database must be idempotent by `(tx_id, action)`.
pub trait DeliverAction<D: Database>: Send + Sync + 'static {
    /// What is delivered.
    type Request: Payload;

    /// Takes the delivery. Any error is tried again; [`ActionError::Rejected`] leaves it to a person.
    fn deliver(
        &self,
        tx: &mut Connection<D>,
        call: &Call<Self::Request>,
    ) -> impl Future<Output = Result<(), ActionError>> + Send;
}
