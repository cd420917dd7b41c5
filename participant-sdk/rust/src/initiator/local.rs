//! The initiator's own local transaction, committed atomically with the distributed one.
//!
//! Once a local transaction under this id may have begun, here or in an earlier run, FAILURE is never
//! decided from an error: the initiator's row is written as FAILURE, or read, first.

use std::fmt;

use futures::{FutureExt, future::BoxFuture};
use tercet_failpoint::reach;
use uuid::Uuid;

use super::{Error, LiveTransaction, Outcome};
use crate::{
    Truth,
    database::{Barrier, Connection, Database, InitiatorRowError, Lease},
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
    /// The local transaction failed, or the check-back came first and answered FAILURE
    /// ([`InitiatorRowError::AlreadyFailed`]). The row says FAILURE, and everything is rolled back.
    #[error("the local transaction is rolled back, and the distributed one with it")]
    Local(#[source] InitiatorRowError),
    /// The local transaction did not succeed, and the row, which would show whether it or an earlier run
    /// of the same id has committed, can be neither read nor written as FAILURE. Nothing is decided: the
    /// coordinator learns the outcome from the check-back. The same call may be made again.
    #[error(
        "whether the local transaction of {tx_id} has committed is unknown until the check-back \
         ({failure})"
    )]
    LocalUnknown {
        /// The transaction.
        tx_id: Uuid,
        /// The reason for which the local transaction did not succeed.
        failure: LocalFailure<E>,
        /// The reason for which the row is not known.
        source: InitiatorRowError,
    },
    /// The local transaction is committed, and the coordinator could not be informed. It learns the
    /// outcome from the check-back; [`LiveTransaction::commit`] may be called again.
    #[error("the local transaction is committed, but the coordinator could not be informed")]
    Coordinator(#[source] Error),
    /// The request itself is invalid. Nothing was done.
    #[error(transparent)]
    Invalid(Error),
}

/// The reason for which a local transaction did not succeed.
#[derive(Debug)]
pub enum LocalFailure<E> {
    /// The change failed.
    Change(E),
    /// The row could not be written, or the local transaction not be begun or committed.
    Local(InitiatorRowError),
}

impl<E: fmt::Display> fmt::Display for LocalFailure<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Change(error) => write!(f, "the local change failed: {error}"),
            Self::Local(error) => f.write_str(&chain(error)),
        }
    }
}

impl<E> From<LocalFailure<E>> for CommitWithError<E> {
    fn from(failure: LocalFailure<E>) -> Self {
        match failure {
            LocalFailure::Change(error) => Self::Change(error),
            LocalFailure::Local(error) => Self::Local(error),
        }
    }
}

/// The reason for which [`LiveTransaction::rollback_with`] could not decide.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RollbackWithError {
    /// The row can be neither read nor written as FAILURE. Nothing is decided: the coordinator learns the
    /// outcome from the check-back. The same call may be made again.
    #[error(
        "whether the local transaction of {tx_id} has committed is unknown until the check-back"
    )]
    LocalUnknown {
        /// The transaction.
        tx_id: Uuid,
        /// The reason for which the row is not known.
        source: InitiatorRowError,
    },
    /// The row is written, and the coordinator could not be informed. It learns the outcome from the
    /// check-back; the same call may be made again.
    #[error("the coordinator could not be informed")]
    Coordinator(#[from] Error),
}

/// The end of one attempt at the local transaction that is known to the row.
enum LocalEnd<T, E> {
    /// Committed, with the value of the change.
    Committed(T),
    /// An earlier run has committed.
    AlreadyCommitted,
    /// The row says FAILURE.
    Failed(LocalFailure<E>),
}

/// The end of one attempt at the local transaction that the row has to tell.
struct Unsettled<T, E> {
    failure: LocalFailure<E>,
    /// The value of the change, if only the COMMIT was in doubt.
    value: Option<T>,
}

impl<T, E> Unsettled<T, E> {
    fn local(error: impl Into<InitiatorRowError>) -> Self {
        Self {
            failure: LocalFailure::Local(error.into()),
            value: None,
        }
    }
}

impl LiveTransaction {
    /// Commits a change of the initiator's own database atomically with the transaction.
    ///
    /// Opens a local transaction, inserts the initiator's row `(tx_id, "")` into its table
    /// `tercet_barrier`, runs `change` on the same connection, commits, and decides SUCCESS. After the
    /// local COMMIT the outcome is SUCCESS even if this process dies, because the check-back finds the
    /// row. A check-back that comes first writes FAILURE there, and the late commit fails on the key.
    ///
    /// A change that fails is undone, and the row is committed as FAILURE in its place before FAILURE is
    /// decided. After any other error the row is read first, or written as FAILURE: an earlier run of
    /// the same id may have committed. Where that fails too, and when the future is dropped, nothing is
    /// decided, and the check-back finds out.
    ///
    /// Therefore the transaction must have been begun with a [`check_back`](super::Draft::check_back)
    /// to a participant that answers from this barrier
    /// ([`ParticipantBuilder::check_back`](crate::participant::ParticipantBuilder::check_back)).
    ///
    /// Like the code of an action, `change` must not end the local transaction itself: what it sends
    /// after that is not committed.
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
        match commit_locally(barrier, self.id(), change).boxed().await {
            Ok(value) => {
                let outcome = self.commit().await.map_err(CommitWithError::Coordinator)?;
                Ok((value, outcome))
            }
            Err(error @ CommitWithError::LocalUnknown { .. }) => Err(error),
            Err(error) => {
                self.rollback_after(&error.to_string()).await;
                Err(error)
            }
        }
    }

    /// Decides FAILURE, unless the local transaction of this id has committed, here or in an earlier run:
    /// then it decides SUCCESS. The initiator's row is read, or written as FAILURE, first. This is the
    /// way to give up a transaction whose commit is a [`commit_with`](Self::commit_with).
    ///
    /// Returns the outcome that was decided.
    pub async fn rollback_with<D: Database>(
        &mut self,
        barrier: &Barrier<D>,
        reason: impl Into<String>,
    ) -> Result<Outcome, RollbackWithError> {
        let tx_id = self.id();
        match barrier.check_back(tx_id).await {
            Ok(Truth::Success) => Ok(self.commit().await?),
            Ok(Truth::Failure) => Ok(self.rollback(reason).await?),
            Err(source) => Err(RollbackWithError::LocalUnknown { tx_id, source }),
        }
    }

    /// Decides FAILURE after the row says so. If the coordinator cannot be reached, it learns that from
    /// the check-back.
    async fn rollback_after(&mut self, reason: &str) {
        let tx_id = self.id();
        if let Err(error) = self.rollback(crate::text::cut(reason.to_owned())).await {
            tracing::warn!(%tx_id, %error, "the coordinator is not informed yet of a local roll-back");
        }
    }
}

/// Commits locally; returns `None` if an earlier run has. Every error but
/// [`CommitWithError::LocalUnknown`] means that the row says FAILURE.
async fn commit_locally<D: Database, T: Send, E: Send>(
    barrier: &Barrier<D>,
    tx_id: Uuid,
    change: impl for<'c> FnOnce(&'c mut Connection<D>) -> BoxFuture<'c, Result<T, E>> + Send,
) -> Result<Option<T>, CommitWithError<E>> {
    let Unsettled { failure, value } = match attempt(barrier, tx_id, change).await {
        Ok(LocalEnd::Committed(value)) => return Ok(Some(value)),
        Ok(LocalEnd::AlreadyCommitted) => return Ok(None),
        Ok(LocalEnd::Failed(failure)) => return Err(failure.into()),
        Err(unsettled) => unsettled,
    };
    match barrier.check_back(tx_id).await {
        Ok(Truth::Success) => Ok(value),
        Ok(Truth::Failure) => Err(failure.into()),
        Err(source) => {
            tracing::warn!(%tx_id, error = chain(&source), "the local outcome is unknown");
            Err(CommitWithError::LocalUnknown {
                tx_id,
                failure,
                source,
            })
        }
    }
}

/// Runs the local transaction once.
async fn attempt<D: Database, T: Send, E: Send>(
    barrier: &Barrier<D>,
    tx_id: Uuid,
    change: impl for<'c> FnOnce(&'c mut Connection<D>) -> BoxFuture<'c, Result<T, E>> + Send,
) -> Result<LocalEnd<T, E>, Unsettled<T, E>> {
    let mut lease = Lease::take(barrier.pool())
        .await
        .map_err(Unsettled::local)?;
    let ended = attempt_on(&mut lease, barrier, tx_id, change).await;
    lease.settle();
    ended
}

async fn attempt_on<D: Database, T: Send, E: Send>(
    lease: &mut Lease<D>,
    barrier: &Barrier<D>,
    tx_id: Uuid,
    change: impl for<'c> FnOnce(&'c mut Connection<D>) -> BoxFuture<'c, Result<T, E>> + Send,
) -> Result<LocalEnd<T, E>, Unsettled<T, E>> {
    let mut local = lease.begin().await.map_err(Unsettled::local)?;
    match barrier.announce(local.connection(), tx_id).await {
        Ok(()) => {}
        Err(InitiatorRowError::AlreadyCommitted(_)) => return Ok(LocalEnd::AlreadyCommitted),
        Err(error @ InitiatorRowError::AlreadyFailed(_)) => {
            return Ok(LocalEnd::Failed(LocalFailure::Local(error)));
        }
        Err(error) => return Err(Unsettled::local(error)),
    }
    local.open_for_code().await.map_err(Unsettled::local)?;
    match change(local.connection()).await {
        Ok(value) => {
            let ended = |error| Unsettled::local(InitiatorRowError::Ended(error));
            local.keep().await.map_err(ended)?;
            let noted = barrier
                .note(local.connection(), tx_id, Truth::Success)
                .await;
            noted.map_err(Unsettled::local)?;
            reach("initiator.local_commit.before");
            if let Err(error) = local.commit().await {
                let value = Some(value);
                return Err(Unsettled {
                    value,
                    ..Unsettled::local(error)
                });
            }
            reach("initiator.local_commit.after");
            Ok(LocalEnd::Committed(value))
        }
        Err(error) => {
            // Written as FAILURE before the key is free, so that no other run with this id commits.
            let written = async {
                local.undo().await?;
                let noted = barrier.note(local.connection(), tx_id, Truth::Failure);
                noted.await?;
                Ok::<_, InitiatorRowError>(local.commit().await?)
            };
            let written = written.await;
            let failure = LocalFailure::Change(error);
            match written {
                Ok(()) => Ok(LocalEnd::Failed(failure)),
                Err(_) => Err(Unsettled {
                    failure,
                    value: None,
                }),
            }
        }
    }
}
