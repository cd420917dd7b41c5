//! Transactions that are watched: one task reads each of them again and again, for all who watch it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tercet_core::{id::TxId, model::TxStatus, refusal::Refusal};
use tokio::{sync::watch, time::sleep};

use super::{Lookup, Requests, Seen, contained};
use crate::{bounds, error::RequestError};

/// The transactions that are watched. Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Watches(Arc<Mutex<HashMap<TxId, watch::Sender<Latest>>>>);

/// The last that was read of a watched transaction.
#[derive(Clone, Default)]
pub(crate) enum Latest {
    /// Nothing yet.
    #[default]
    Nothing,
    /// This version, and the transaction unless it is large.
    Version(u32, Option<Arc<Seen>>),
    /// It cannot be read.
    Failed(RequestError),
}

impl Latest {
    /// Returns whether it is news for one who has seen this version.
    fn is_news(&self, version: u32) -> bool {
        match self {
            Self::Nothing => false,
            Self::Version(latest, _) => *latest > version,
            Self::Failed(_) => true,
        }
    }
}

/// A watch of one transaction.
pub(crate) struct Watching(watch::Receiver<Latest>);

impl Watching {
    /// Waits for a version above this one. Returns the transaction, or `None` where it is large and has to be read.
    pub(crate) async fn newer(&mut self, version: u32) -> Result<Option<Arc<Seen>>, RequestError> {
        match self
            .0
            .wait_for(|latest| latest.is_news(version))
            .await
            .as_deref()
        {
            Ok(Latest::Version(_, seen)) => Ok(seen.clone()),
            Ok(Latest::Failed(error)) => Err(error.clone()),
            // The reading task panicked.
            Ok(Latest::Nothing) | Err(_) => Err(RequestError::Internal),
        }
    }
}

impl Watches {
    fn open(&self) -> MutexGuard<'_, HashMap<TxId, watch::Sender<Latest>>> {
        // Nothing that panics runs under the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns whether a transaction is watched no more; it is forgotten then.
    fn is_over(&self, id: TxId) -> bool {
        let mut open = self.open();
        let over = open
            .get(&id)
            .is_none_or(|latest| latest.receiver_count() == 0);
        if over {
            open.remove(&id);
        }
        over
    }
}

impl Requests {
    /// Watches a transaction, together with all others who do.
    pub(crate) fn watch(&self, id: TxId) -> Result<Watching, RequestError> {
        let mut open = self.watches.open();
        if let Some(latest) = open.get(&id) {
            return Ok(Watching(latest.subscribe()));
        }
        if open.len() >= bounds::WATCHES {
            return Err(Refusal::Overloaded.into());
        }
        let (latest, watching) = watch::channel(Latest::default());
        open.insert(id, latest.clone());
        drop(open);
        let requests = self.clone();
        tokio::spawn(async move {
            let _ = contained(async {
                requests.read_again_and_again(id, latest).await;
                Ok(())
            })
            .await;
            // Without the senders, those who watch learn that it is over.
            requests.watches.open().remove(&id);
        });
        Ok(Watching(watching))
    }

    /// Reads a transaction until it is finished or parked, it cannot be read, or it is watched no more.
    async fn read_again_and_again(&self, id: TxId, latest: watch::Sender<Latest>) {
        let mut wait = bounds::WATCH_FIRST;
        let mut last = 0;
        loop {
            let watched = u32::try_from(self.watches.open().len()).unwrap_or(u32::MAX);
            sleep(wait.max(bounds::WATCH_SPACING * watched)).await;
            if self.watches.is_over(id) {
                return;
            }
            let seen = match self.get(Lookup::Id(id)).await {
                Ok(seen) => seen,
                Err(error) => {
                    latest.send_replace(Latest::Failed(error));
                    return;
                }
            };
            let (version, over) = (seen.view.tx.version, seen.is_over());
            wait = (wait * 3 / 2).min(bounds::WATCH_MAX);
            if version > last {
                last = version;
                wait = bounds::WATCH_FIRST;
                let small = seen.bytes() <= bounds::WATCH_SHARED_BYTES;
                let shared = small.then(|| Arc::new(seen));
                latest.send_replace(Latest::Version(version, shared));
            }
            if over {
                return;
            }
        }
    }
}

impl Seen {
    /// Returns whether the transaction is finished or parked.
    pub(crate) fn is_over(&self) -> bool {
        matches!(self.view.tx.status, TxStatus::Success | TxStatus::Failure)
    }

    /// Returns the bytes of payloads, results and texts of the actions, roughly.
    fn bytes(&self) -> usize {
        let actions = self.view.actions.iter().map(|action| {
            let state = &action.state;
            let attempts = state.attempts.iter().map(|attempt| attempt.error.len());
            action.spec.payload.len()
                + state.result.len()
                + state.last_error.len()
                + attempts.sum::<usize>()
        });
        actions.sum()
    }
}
