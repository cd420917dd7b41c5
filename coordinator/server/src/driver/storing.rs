//! What the driver has the store do: the lane's command, which it waits for itself, and reads, each in a task of its
//! own that brings the result back.

use std::{
    collections::HashMap,
    future::{Future, poll_fn, ready},
    pin::Pin,
    sync::Arc,
    task::Poll,
};

use futures::FutureExt as _;
use tercet_core::{
    engine::{Input, Loaded},
    id::TxId,
    lane::{LaneCommand, LaneResult},
    write::DueQuery,
};
use tercet_failpoint::reach;
use tercet_store::{Store, StoreError};
use tracing::warn;

use super::{Message, run::State};

/// A command of the lane on its way, with what came of it in the end.
pub(super) type Committing = Pin<Box<dyn Future<Output = Committed> + Send>>;
pub(super) type Committed = (LaneResult, Option<StoreError>);

impl State {
    /// Starts a command of the lane. This thread waits for it itself: a hop to another one and back would be
    /// spent between every two commits.
    pub(super) fn commit(&mut self, command: LaneCommand) {
        let mut committing: Committing =
            Box::pin(run_command(Arc::clone(&self.outlets.store), command));
        // Under way at once, and not only when this thread has nothing else to do.
        let started = committing.as_mut().now_or_never();
        self.committing = Some(match started {
            Some(committed) => Box::pin(ready(committed)),
            None => committing,
        });
    }

    pub(super) fn load(&self, ids: Vec<TxId>) {
        let (store, driver) = (Arc::clone(&self.outlets.store), self.driver.clone());
        self.outlets.runtime.spawn(async move {
            let input = match store.load(&ids).await {
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
                    Input::Loaded(all)
                }
                Err(error) => {
                    warn!(%error, "transactions could not be read; they are asked for again");
                    Input::ReadFailed(ids, None)
                }
            };
            driver.send(Message::Inputs(vec![input])).await;
        });
    }

    pub(super) fn due(&self, query: DueQuery) {
        let (store, driver) = (Arc::clone(&self.outlets.store), self.driver.clone());
        self.outlets.runtime.spawn(async move {
            let input = match store.due(&query).await {
                Ok(due) => Input::Due(query, due),
                Err(error) => {
                    warn!(%error, "due rows could not be read; they are asked for again");
                    Input::ReadFailed(Vec::new(), Some(query))
                }
            };
            driver.send(Message::Inputs(vec![input])).await;
        });
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
