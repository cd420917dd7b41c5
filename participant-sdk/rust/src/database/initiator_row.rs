//! The initiator's own row, `(tx_id, "")`: the one truth about its local transaction, in
//! every order of its commit and its check-back.

use std::time::Duration;

use sqlx::Connection as _;
use tercet_barrier::{
    RowState,
    initiator::{CheckBack, Truth, decide_check_back},
};
use tercet_failpoint::reach;
use uuid::Uuid;

use super::{
    Barrier, Connection, Database,
    local::{ENDED, uninterrupted},
    retention,
    rows::{self, Key},
};

/// The time for which a check-back waits behind the initiator's open local transaction before it
/// answers UNKNOWN. (On SQLite: the pool's `busy_timeout`.)
pub const CHECK_BACK_LOCK_WAIT: Duration = Duration::from_secs(2);

/// The reason for which the initiator's row could not be inserted or read.
#[derive(Debug, thiserror::Error)]
pub enum InitiatorRowError {
    /// A check-back came first and answered FAILURE: roll the local transaction back.
    #[error("transaction {0} is already answered as failed: roll the local transaction back")]
    AlreadyFailed(Uuid),
    /// An earlier local transaction with the same id committed: roll this repetition back, the work is
    /// done.
    #[error("the local transaction of {0} has committed before: roll this repetition back")]
    AlreadyCommitted(Uuid),
    /// Another local transaction with the same id is still open.
    #[error("the local transaction of {0} is still open")]
    StillOpen(Uuid),
    /// The row may have been removed, so that its absence means nothing.
    #[error("transaction {0} was begun longer ago than rows are kept")]
    Expired(Uuid),
    /// The code of the local transaction ended it itself (COMMIT, or BEGIN or DDL on MySQL and MariaDB),
    /// so that its effect may be there in part. A person must put effect and row right.
    #[error(
        "the local transaction of {0} was ended by its own code, its effect may be there in part"
    )]
    Unfinished(Uuid),
    /// The local transaction was not there any more once its code had returned.
    #[error("{ENDED}")]
    Ended(#[source] sqlx::Error),
    /// The row is not one of an initiator.
    #[error("the initiator's row of {tx_id} has the state {state:?}")]
    Corrupt {
        /// The transaction.
        tx_id: Uuid,
        /// The stored word.
        state: String,
    },
    /// The database failed.
    #[error("the initiator's row cannot be written or read")]
    Database(#[from] sqlx::Error),
}

impl<D: Database> Barrier<D> {
    /// Records, inside the initiator's open local transaction in this barrier's database, that it takes
    /// effect with `tx_id`: inserts `(tx_id, "")` as SUCCESS. Call this first, and commit only if it
    /// succeeded.
    pub async fn insert_initiator_row(
        &self,
        connection: &mut Connection<D>,
        tx_id: Uuid,
    ) -> Result<(), InitiatorRowError> {
        self.insert(connection, tx_id, Truth::Success.as_str())
            .await
    }

    /// Inserts the initiator's row as RUNNING, before the code of the local transaction runs. Fails like
    /// [`insert_initiator_row`](Self::insert_initiator_row).
    pub(crate) async fn announce(
        &self,
        connection: &mut Connection<D>,
        tx_id: Uuid,
    ) -> Result<(), InitiatorRowError> {
        self.insert(connection, tx_id, RowState::Running.as_str())
            .await
    }

    /// Changes the announced row to the outcome, in the same local transaction.
    pub(crate) async fn note(
        &self,
        connection: &mut Connection<D>,
        tx_id: Uuid,
        truth: Truth,
    ) -> Result<(), InitiatorRowError> {
        let key = Key::of(tx_id, "");
        match rows::update::<D>(connection, &key, truth.as_str(), &[], "").await? {
            1 => Ok(()),
            _ => Err(InitiatorRowError::Ended(sqlx::Error::RowNotFound)),
        }
    }

    async fn insert(
        &self,
        connection: &mut Connection<D>,
        tx_id: Uuid,
        state: &str,
    ) -> Result<(), InitiatorRowError> {
        let key = Key::of(tx_id, "");
        let is_expired = self.is_expired(tx_id);
        if !is_expired && rows::insert::<D>(connection, &key, state, "").await? {
            let is_removed = retention::may_be_removed::<D>(connection, tx_id).await?;
            let expired = is_removed.then_some(InitiatorRowError::Expired(tx_id));
            return expired.map_or(Ok(()), Err);
        }
        match read_truth::<D>(connection, &key, tx_id).await? {
            Some(Truth::Failure) => Err(InitiatorRowError::AlreadyFailed(tx_id)),
            Some(Truth::Success) => Err(InitiatorRowError::AlreadyCommitted(tx_id)),
            None if is_expired => Err(InitiatorRowError::Expired(tx_id)),
            None => Err(InitiatorRowError::StillOpen(tx_id)),
        }
    }

    /// Answers a check-back from the initiator's row; without a row it writes FAILURE and answers that,
    /// after which the initiator's late commit fails on the key. An error means UNKNOWN.
    ///
    /// Runs as a task of its own: a future that is dropped only stops waiting for the answer.
    pub async fn check_back(&self, tx_id: Uuid) -> Result<Truth, InitiatorRowError> {
        let barrier = self.clone();
        uninterrupted(async move { barrier.answer_check_back(tx_id).await }).await
    }

    async fn answer_check_back(&self, tx_id: Uuid) -> Result<Truth, InitiatorRowError> {
        let mut connection = self.pool().acquire().await?;
        let answer = judge::<D>(&mut connection, tx_id, self.is_expired(tx_id)).await;
        if let Err(InitiatorRowError::Database(error)) = &answer
            && error.as_database_error().is_none()
        {
            // There was no answer, so that nothing is known of the connection.
            connection.close_on_drop();
            return answer;
        }
        if let Some(restore) = D::STATEMENTS.restore_lock_wait {
            let restored = D::execute(&mut connection, restore, &[]).await;
            if restored.is_err() {
                // A connection whose lock wait is still shortened does not go back to the pool.
                connection.close().await?;
            }
        }
        answer
    }
}

async fn judge<D: Database>(
    connection: &mut Connection<D>,
    tx_id: Uuid,
    is_expired: bool,
) -> Result<Truth, InitiatorRowError> {
    let mut local = connection.begin_with(D::STATEMENTS.begin).await?;
    if let Some(shorten) = D::STATEMENTS.shorten_lock_wait {
        D::execute(&mut local, shorten, &[]).await?;
    }
    let key = Key::of(tx_id, "");
    let truth = match decide_check_back(None, is_expired) {
        CheckBack::InsertFailure => {
            if rows::insert::<D>(&mut local, &key, Truth::Failure.as_str(), "")
                .await
                .map_err(|error| waited::<D>(tx_id, error))?
            {
                if retention::is_below_horizon::<D>(&mut local, tx_id).await? {
                    local.rollback().await?;
                    return Err(InitiatorRowError::Expired(tx_id));
                }
                Some(Truth::Failure)
            } else {
                read_truth::<D>(&mut local, &key, tx_id).await?
            }
        }
        CheckBack::Answer(truth) => read_truth::<D>(&mut local, &key, tx_id)
            .await?
            .or(Some(truth)),
        CheckBack::Expired => read_truth::<D>(&mut local, &key, tx_id).await?,
    };
    reach("initiator.check_back.before");
    local.commit().await?;
    reach("initiator.check_back.after");
    match truth {
        Some(truth) => Ok(truth),
        None if is_expired => Err(InitiatorRowError::Expired(tx_id)),
        None => Err(InitiatorRowError::StillOpen(tx_id)),
    }
}

async fn read_truth<D: Database>(
    connection: &mut Connection<D>,
    key: &Key<'_>,
    tx_id: Uuid,
) -> Result<Option<Truth>, InitiatorRowError> {
    let stored = rows::read::<D>(connection, key)
        .await
        .map_err(|error| waited::<D>(tx_id, error))?;
    let Some(stored) = stored else {
        return Ok(None);
    };
    match Truth::parse(&stored.state) {
        Some(truth) => Ok(Some(truth)),
        None if stored.state == RowState::Running.as_str() => {
            Err(InitiatorRowError::Unfinished(tx_id))
        }
        None => Err(InitiatorRowError::Corrupt {
            tx_id,
            state: stored.state,
        }),
    }
}

fn waited<D: Database>(tx_id: Uuid, error: sqlx::Error) -> InitiatorRowError {
    match error.as_database_error() {
        Some(inner) if D::is_lock_timeout(inner) => InitiatorRowError::StillOpen(tx_id),
        _ => InitiatorRowError::Database(error),
    }
}
