//! The initiator's own local transaction, committed atomically with the distributed one.

use std::fmt;

use futures::{FutureExt, future::BoxFuture};
use tercet_failpoint::reach;
use uuid::Uuid;

use super::{Error, LiveTransaction, Outcome};
use crate::{
    database::{Barrier, Connection, Database, InitiatorRowError},
    error::chain,
};

/// The reason for which [`LiveTransaction::commit_with`] did not commit, or cannot determine whether
/// it did.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommitWithError<E> {
    /// The change failed: its local transaction is rolled back, and so is the distributed one.
    #[error("the local change failed, and everything is rolled back: {0}")]
    Change(E),
    /// The local transaction could not begin, or the check-back came first and answered FAILURE
    /// ([`InitiatorRowError::AlreadyFailed`]), or it could not commit: everything is rolled back.
    #[error("the local transaction is rolled back, and the distributed one with it")]
    Local(#[source] InitiatorRowError),
    /// The database was lost during the local COMMIT, and its result cannot be read. The coordinator
    /// learns it from the check-back.
    #[error("whether the local transaction of {tx_id} committed is unknown until the check-back")]
    LocalUnknown {
        /// The transaction.
        tx_id: Uuid,
        /// The error at COMMIT.
        source: sqlx::Error,
    },
    /// The local transaction is committed, and the coordinator could not be informed. It learns the
    /// outcome from the check-back; [`LiveTransaction::commit`] may be called again.
    #[error("the local transaction is committed, but the coordinator could not be informed")]
    Coordinator(#[source] Error),
    /// The request itself is invalid. Nothing was done.
    #[error(transparent)]
    Invalid(Error),
}

/// A local transaction that did not commit, or may not have.
enum NotCommitted<E> {
    RolledBack(CommitWithError<E>),
    Unknown(CommitWithError<E>),
}

impl LiveTransaction {
    /// Commits a change of the initiator's own database atomically with the transaction.
    ///
    /// Opens a local transaction, inserts the initiator's row `(tx_id, "")` into its table
    /// `tercet_barrier`, runs `change` on the same connection, commits, and decides SUCCESS. A failure
    /// before the local COMMIT rolls back both. After it the outcome is SUCCESS even if this process
    /// dies, because the check-back finds the row. A check-back that comes first writes FAILURE there,
    /// and the late commit fails on the key.
    ///
    /// Therefore the transaction must have been begun with a [`check_back`](super::Draft::check_back)
    /// to a participant that answers from this database
    /// ([`ParticipantBuilder::check_back`](crate::participant::ParticipantBuilder::check_back)).
    ///
    /// ```no_run
    /// # use tercet_sdk::{Sqlite, initiator::*};
    /// # async fn pay(mut tx: LiveTransaction, orders: tercet_sdk::Barrier<Sqlite>) -> Result<(), Box<dyn std::error::Error>> {
    /// let (_, outcome) = tx
    ///     .commit_with(&orders, |local| {
    ///         let pay = sqlx::query("UPDATE orders SET paid = 1 WHERE id = 7");
    ///         Box::pin(async move { pay.execute(local).await })
    ///     })
    ///     .await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// Returns the value of `change`, or `None` in its place if an earlier local transaction with the
    /// same id has already committed: then `change` does not run again.
    pub async fn commit_with<D, T, E>(
        &mut self,
        barrier: &Barrier<D>,
        change: impl for<'c> FnOnce(&'c mut Connection<D>) -> BoxFuture<'c, Result<T, E>> + Send,
    ) -> Result<(Option<T>, Outcome), CommitWithError<E>>
    where
        D: Database,
        T: Send,
        E: fmt::Display + Send,
    {
        if !self.has_check_back() {
            let problem = "commit_with needs one: without it the deadline could decide FAILURE \
                           after the local commit";
            return Err(CommitWithError::Invalid(Error::invalid(
                "check_back",
                problem,
            )));
        }
        // Boxed, because the compiler cannot prove otherwise that the future is Send.
        match self.commit_locally(barrier, change).boxed().await {
            Ok(value) => {
                let outcome = self.commit().await.map_err(CommitWithError::Coordinator)?;
                Ok((value, outcome))
            }
            Err(NotCommitted::RolledBack(error)) => {
                self.rollback_after(&error.to_string()).await;
                Err(error)
            }
            Err(NotCommitted::Unknown(error)) => Err(error),
        }
    }

    async fn commit_locally<D: Database, T: Send, E: Send>(
        &mut self,
        barrier: &Barrier<D>,
        change: impl for<'c> FnOnce(&'c mut Connection<D>) -> BoxFuture<'c, Result<T, E>> + Send,
    ) -> Result<Option<T>, NotCommitted<E>> {
        let tx_id = self.id();
        let local_error = |error| NotCommitted::RolledBack(CommitWithError::Local(error));
        let begun = barrier.pool().begin_with(D::STATEMENTS.begin).await;
        let mut local = begun.map_err(|error| local_error(error.into()))?;
        match barrier.insert_initiator_row(&mut local, tx_id).await {
            Ok(()) => {}
            Err(InitiatorRowError::AlreadyCommitted(_)) => return Ok(None),
            Err(error) => return Err(local_error(error)),
        }
        let value = change(&mut local)
            .await
            .map_err(|error| NotCommitted::RolledBack(CommitWithError::Change(error)))?;
        // From here on the row may exist: dropping the transaction must no longer decide FAILURE.
        self.leave();
        reach("initiator.local_commit.before");
        let Err(source) = local.commit().await else {
            reach("initiator.local_commit.after");
            return Ok(Some(value));
        };
        // The result of the COMMIT is unknown. The row shows it, or is written as FAILURE now.
        match barrier.check_back(tx_id).await {
            Ok(crate::Truth::Success) => Ok(Some(value)),
            Ok(crate::Truth::Failure) => Err(local_error(source.into())),
            Err(error) => {
                tracing::warn!(%tx_id, error = chain(&error), "the local commit's outcome is unknown");
                let unknown = CommitWithError::LocalUnknown { tx_id, source };
                Err(NotCommitted::Unknown(unknown))
            }
        }
    }

    /// Decides FAILURE after the local transaction was rolled back for good. If the coordinator cannot
    /// be reached, it learns that from the check-back.
    async fn rollback_after(&mut self, reason: &str) {
        let tx_id = self.id();
        if let Err(error) = self.rollback(crate::text::cut(reason.to_owned())).await {
            tracing::warn!(%tx_id, %error, "the coordinator is not informed yet of a local roll-back");
        }
    }
}
