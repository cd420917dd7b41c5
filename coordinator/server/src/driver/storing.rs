//! Work of the store: the lane's command, which the thread waits for itself, and reads, each in a task of its own
//! that brings the result back.

use std::{
    collections::HashMap,
    future::{Future, poll_fn, ready},
    pin::Pin,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use futures::FutureExt as _;
use tercet_core::{
    id::TxId,
    lane::{LaneCommand, LaneResult},
    port::{Input, Loaded},
    write::{ApplyFailure, DueQuery},
};
use tercet_failpoint::reach;
use tercet_store::{Store, StoreError};
use tokio::time::timeout;

use super::Driver;

/// A command of the lane under way.
pub(super) type Committing = Pin<Box<dyn Future<Output = Committed> + Send>>;
/// The result of a command of the lane, and the store's error.
pub(super) type Committed = (LaneResult, Option<StoreError>);

/// Starts a command of the lane. The thread waits for it itself: a hop to another one and back would be spent
/// between every two commits.
pub(super) fn commit(store: &Arc<dyn Store>, command: LaneCommand) -> Committing {
    let mut committing: Committing = Box::pin(run_command(Arc::clone(store), command));
    // Under way at once, and not only once the thread has nothing else to do.
    match committing.as_mut().now_or_never() {
        Some(committed) => Box::pin(ready(committed)),
        None => committing,
    }
}

async fn run_command(store: Arc<dyn Store>, command: LaneCommand) -> Committed {
    match command {
        LaneCommand::Apply(batch) => {
            reach("coordinator.commit.before");
            let applied = store.apply(batch).await;
            reach("coordinator.commit.after");
            match applied {
                Ok(()) => (LaneResult::Applied(Ok(())), None),
                Err(error) => (LaneResult::Applied(Err(error.kind)), Some(error)),
            }
        }
        LaneCommand::Standing(batch) => match store.standing(&batch).await {
            Ok(standing) => (LaneResult::Standing(Ok(standing)), None),
            Err(error) => (LaneResult::Standing(Err(error.kind)), Some(error)),
        },
    }
}

/// Waits for the command under way, for ever if there is none, and takes it away.
pub(super) async fn committed(slot: &mut Option<Committing>) -> Committed {
    poll_fn(|cx| {
        let Some(committing) = slot else {
            return Poll::Pending;
        };
        let committed = committing.as_mut().poll(cx);
        if committed.is_ready() {
            *slot = None;
        }
        committed
    })
    .await
}

/// Reads of the store for the engine.
pub(super) struct Reads {
    pub(super) store: Arc<dyn Store>,
    pub(super) driver: Driver,
    pub(super) runtime: tokio::runtime::Handle,
    /// The longest wait for an answer.
    pub(super) patience: Duration,
}

/// Waits for an answer of the database, which may hang.
async fn answered<T>(
    patience: Duration,
    doing: &str,
    answer: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    timeout(patience, answer).await.unwrap_or_else(|_| {
        let what = "the database does not answer";
        Err(StoreError::new(ApplyFailure::NotApplied, doing, what))
    })
}

impl Reads {
    /// Reads transactions; an error is the engine's to repeat.
    pub(super) fn load(&self, ids: Vec<TxId>) {
        let (store, driver) = (Arc::clone(&self.store), self.driver.clone());
        let patience = self.patience;
        self.runtime.spawn(async move {
            match answered(patience, "loading transactions", store.load(&ids)).await {
                Err(error) => {
                    let failed = Input::ReadFailed(ids, None);
                    driver.finish_read(failed, Some(error)).await;
                }
                Ok(found) => {
                    let mut loaded: HashMap<TxId, Loaded> = found
                        .into_iter()
                        .map(|found| match found {
                            Ok(tx) => (tx.id(), Loaded::Found(Box::new(tx))),
                            Err(row) => (row.id, Loaded::Illegal(row)),
                        })
                        .collect();
                    let all = ids
                        .into_iter()
                        .map(|id| (id, loaded.remove(&id).unwrap_or(Loaded::Absent)))
                        .collect();
                    driver.finish_read(Input::Loaded(all), None).await;
                }
            }
        });
    }

    /// Reads the due rows; an error is the engine's to repeat.
    pub(super) fn due(&self, query: DueQuery) {
        let (store, driver) = (Arc::clone(&self.store), self.driver.clone());
        let patience = self.patience;
        self.runtime.spawn(async move {
            let due = store.due(&query);
            match answered(patience, "reading which transactions are due", due).await {
                Ok(due) => driver.finish_read(Input::Due(query, due), None).await,
                Err(error) => {
                    let failed = Input::ReadFailed(Vec::new(), Some(query));
                    driver.finish_read(failed, Some(error)).await;
                }
            }
        });
    }
}
