//! What the driver has the store do, each in a task of its own that brings the result back.

use std::{collections::HashMap, sync::Arc};

use tercet_core::{
    engine::{Input, Loaded},
    id::TxId,
    lane::{LaneCommand, LaneResult},
    write::DueQuery,
};
use tercet_failpoint::reach;
use tracing::warn;

use super::{Message, run::State};

impl State {
    pub(super) fn commit(&mut self, command: LaneCommand) {
        self.committing = true;
        let (store, driver) = (Arc::clone(&self.outlets.store), self.driver.clone());
        self.outlets.runtime.spawn(async move {
            let (result, error) = match command {
                LaneCommand::Apply(batch) => {
                    reach("coordinator.commit.before");
                    let applied = store.apply(&batch).await;
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
            };
            driver.send(Message::Lane(result, error)).await;
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
