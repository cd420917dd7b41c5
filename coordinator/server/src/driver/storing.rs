//! Work of the store: the lane's command, which the thread waits for itself, and reads, each in a task of its own
//! that brings the result back.

use std::{
    collections::HashMap,
    future::{Future, poll_fn, ready},
    panic::AssertUnwindSafe,
    pin::Pin,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use futures::FutureExt as _;
use tercet_core::{
    id::TxId,
    lane::{LaneCommand, LaneResult},
    port::{Input, Loaded, Read},
    write::ApplyFailure,
};
use tercet_failpoint::reach;
use tercet_store::{Store, StoreError};

use super::Driver;
use crate::pulse::Pulse;

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
    pub(super) pulse: Arc<Pulse>,
}

/// Waits for an answer of the database, which may hang.
async fn answered<T>(
    pulse: &Pulse,
    patience: Duration,
    doing: &str,
    answer: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    pulse.timeout(patience, answer).await.unwrap_or_else(|_| {
        let what = "the database does not answer";
        Err(StoreError::new(ApplyFailure::NotApplied, doing, what))
    })
}

impl Reads {
    /// Starts a read in a task of its own; an error is the engine's to repeat.
    pub(super) fn start(&self, read: Read) {
        let (store, driver) = (Arc::clone(&self.store), self.driver.clone());
        let failed = Input::ReadFailed(read.clone());
        let (patience, pulse) = (self.patience, Arc::clone(&self.pulse));
        self.runtime.spawn(async move {
            let doing = match &read {
                Read::Transactions(_) => "loading transactions",
                Read::Due(_) => "reading which transactions are due",
                Read::Queues(_) => "reading which queues have due transactions",
            };
            let reading = answered(&pulse, patience, doing, carry_out(store, read));
            finish(driver, failed, reading).await;
        });
    }
}

/// Reads, and returns the engine's input.
async fn carry_out(store: Arc<dyn Store>, read: Read) -> Result<Input, StoreError> {
    match read {
        Read::Transactions(ids) => {
            let found = store.load(&ids).await?;
            let mut loaded: HashMap<TxId, Loaded> = found
                .into_iter()
                .map(|found| match found {
                    Ok(tx) => (tx.id(), Loaded::Found(Box::new(tx))),
                    Err(row) => (row.id, Loaded::Illegal(row)),
                })
                .collect();
            let all = ids
                .into_iter()
                .map(|id| (id, loaded.remove(&id).unwrap_or(Loaded::Absent)));
            Ok(Input::Loaded(all.collect()))
        }
        Read::Due(query) => {
            let due = store.due(&query).await?;
            Ok(Input::Due(query, due))
        }
        Read::Queues(query) => {
            let queues = store.queues(&query).await?;
            Ok(Input::Queues(query, queues))
        }
    }
}

/// Gives the engine the result of a read, or `failed` after an error and after a panic: its question never stays open.
async fn finish(
    driver: Driver,
    failed: Input,
    reading: impl Future<Output = Result<Input, StoreError>>,
) {
    let (input, error) = match AssertUnwindSafe(reading).catch_unwind().await {
        Ok(Ok(read)) => (read, None),
        Ok(Err(error)) => (failed, Some(error)),
        // The panic is in the log.
        Err(_) => (failed, None),
    };
    driver.finish_read(input, error).await;
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use tercet_core::{
        id::TxId,
        port::{Input, Read},
    };
    use uuid::Uuid;

    use super::{Driver, finish};
    use crate::driver::{Queue, handle::Message};

    #[tokio::test]
    async fn the_question_of_a_read_that_panics_is_answered() {
        let (driver, Queue(mut messages)) = Driver::queue();
        let id = TxId(Uuid::now_v7());
        let failed = Input::ReadFailed(Read::Transactions(vec![id]));
        let panics = async { panic!("this panic belongs to the test") };
        finish(driver, failed, panics).await;
        let message = messages.try_recv().unwrap();
        let Message::Read(Input::ReadFailed(Read::Transactions(ids)), None) = message else {
            panic!("not what the read failed with");
        };
        assert_eq!(ids, [id]);
    }
}
