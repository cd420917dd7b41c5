//! Transactions that are watched: one task reads each of them again and again, for all its watches.

use std::{
    collections::HashMap,
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tercet_core::{id::TxId, model::TxStatus, refusal::Refusal};
use tokio::{sync::watch, time::sleep};

use super::{Lookup, Requests, Seen, contained};
use crate::{bounds, error::RequestError};

/// Everything that is watched, by its id. Cheap to clone.
pub(super) struct Watches<T>(Arc<Mutex<HashMap<TxId, watch::Sender<Latest<T>>>>>);

/// The finding of one read.
struct Read<T> {
    version: u32,
    /// Whether no other version follows.
    over: bool,
    /// The thing itself, unless it is large.
    value: Option<Arc<T>>,
}

/// The last that was read.
enum Latest<T> {
    /// Nothing yet.
    Nothing,
    /// This version, and the thing itself unless it is large.
    Version(u32, Option<Arc<T>>),
    /// It cannot be read.
    Failed(RequestError),
}

impl<T> Latest<T> {
    /// Returns whether it is newer than this version, or the end.
    fn is_news(&self, version: u32) -> bool {
        match self {
            Self::Nothing => false,
            Self::Version(latest, _) => *latest > version,
            Self::Failed(_) => true,
        }
    }
}

/// A watch of one transaction.
pub(crate) struct Watching<T = Seen>(watch::Receiver<Latest<T>>);

impl<T> Watching<T> {
    /// Waits for a version above this one. Returns it, or `None` where it is large and has to be read.
    pub(crate) async fn newer(&mut self, version: u32) -> Result<Option<Arc<T>>, RequestError> {
        match self
            .0
            .wait_for(|latest| latest.is_news(version))
            .await
            .as_deref()
        {
            Ok(Latest::Version(_, value)) => Ok(value.clone()),
            Ok(Latest::Failed(error)) => Err(error.clone()),
            // The reading task panicked.
            Ok(Latest::Nothing) | Err(_) => Err(RequestError::Internal),
        }
    }
}

impl<T> Clone for Watches<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Default for Watches<T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<T: Send + Sync + 'static> Watches<T> {
    fn open(&self) -> MutexGuard<'_, HashMap<TxId, watch::Sender<Latest<T>>>> {
        // Nothing that panics runs under the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a watch of this id; the first one starts a task that reads it for all.
    fn watch<R, F>(&self, id: TxId, read: R) -> Result<Watching<T>, RequestError>
    where
        R: Fn() -> F + Send + 'static,
        F: Future<Output = Result<Read<T>, RequestError>> + Send,
    {
        let mut open = self.open();
        if let Some(latest) = open.get(&id) {
            return Ok(Watching(latest.subscribe()));
        }
        if open.len() >= bounds::WATCHES {
            return Err(Refusal::Overloaded.into());
        }
        let (latest, watching) = watch::channel(Latest::Nothing);
        open.insert(id, latest.clone());
        drop(open);
        let watches = self.clone();
        tokio::spawn(async move {
            let _ = contained(async {
                watches.read_again_and_again(id, read, latest).await;
                Ok(())
            })
            .await;
            // Without the senders, the watches end too.
            watches.open().remove(&id);
        });
        Ok(Watching(watching))
    }

    /// Reads until no other version follows, it cannot be read, or it is watched no more.
    async fn read_again_and_again<F>(
        &self,
        id: TxId,
        read: impl Fn() -> F,
        latest: watch::Sender<Latest<T>>,
    ) where
        F: Future<Output = Result<Read<T>, RequestError>>,
    {
        let mut wait = bounds::WATCH_FIRST;
        let mut last = 0;
        loop {
            let watched = self.open().len();
            sleep(pause(wait, watched)).await;
            if self.is_over(id) {
                return;
            }
            let read = match read().await {
                Ok(read) => read,
                Err(error) => {
                    latest.send_replace(Latest::Failed(error));
                    return;
                }
            };
            wait = (wait * 3 / 2).min(bounds::WATCH_MAX);
            if read.version > last {
                last = read.version;
                wait = bounds::WATCH_FIRST;
                latest.send_replace(Latest::Version(read.version, read.value));
            }
            if read.over {
                return;
            }
        }
    }

    /// Returns whether an id is watched no more; it is forgotten then.
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

/// Returns the time to the next read, where so many ids are watched.
fn pause(wait: Duration, watched: usize) -> Duration {
    let watched = u32::try_from(watched).unwrap_or(u32::MAX);
    wait.max(bounds::WATCH_SPACING.saturating_mul(watched))
}

impl Requests {
    /// Watches a transaction; all watches of it share its reads.
    pub(crate) fn watch(&self, id: TxId) -> Result<Watching, RequestError> {
        let requests = self.clone();
        self.watches.watch(id, move || {
            let requests = requests.clone();
            async move {
                let seen = requests.get(Lookup::Id(id)).await?;
                let small = seen.bytes() <= bounds::WATCH_SHARED_BYTES;
                Ok(Read {
                    version: seen.view.tx.version,
                    over: seen.is_over(),
                    value: small.then(|| Arc::new(seen)),
                })
            }
        })
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::atomic::{AtomicU32, Ordering};

    use futures::future::join_all;
    use tokio::time::timeout;
    use uuid::Uuid;

    use super::*;

    /// A thing with a version that the test sets, and the number of times that it was read.
    #[derive(Clone, Default)]
    struct Thing {
        version: Arc<AtomicU32>,
        reads: Arc<AtomicU32>,
    }

    impl Thing {
        fn watch(&self, watches: &Watches<u32>, id: TxId) -> Result<Watching<u32>, RequestError> {
            let thing = self.clone();
            watches.watch(id, move || {
                let thing = thing.clone();
                async move {
                    thing.reads.fetch_add(1, Ordering::Relaxed);
                    let version = thing.version.load(Ordering::Relaxed);
                    Ok(Read {
                        version,
                        over: version == 9,
                        value: (version != 5).then(|| Arc::new(version)),
                    })
                }
            })
        }
    }

    fn id() -> TxId {
        TxId(Uuid::now_v7())
    }

    #[tokio::test]
    async fn all_watches_of_one_share_its_reads() {
        let (watches, thing, id) = (Watches::default(), Thing::default(), id());
        thing.version.store(1, Ordering::Relaxed);
        let watching = (0..3_000).map(|_| thing.watch(&watches, id).unwrap());
        let mut watching: Vec<_> = watching.collect();
        let seen = join_all(watching.iter_mut().map(|watching| watching.newer(0))).await;
        assert!(
            seen.iter()
                .all(|seen| seen.as_ref().unwrap().as_deref() == Some(&1))
        );
        // Nothing is new, so nothing comes, however often it is read.
        let nothing = join_all(watching.iter_mut().map(|watching| watching.newer(1)));
        timeout(Duration::from_millis(500), nothing)
            .await
            .unwrap_err();
        let reads = thing.reads.load(Ordering::Relaxed);
        assert!((2..20).contains(&reads), "{reads} reads in half a second");
        // A large one has to be read by each; after the last version nothing is read.
        for (version, expected) in [(5, None), (9, Some(9))] {
            thing.version.store(version, Ordering::Relaxed);
            let seen = watching[7].newer(version - 1).await.unwrap();
            assert_eq!(seen.as_deref().copied(), expected);
        }
        until_forgotten(&watches).await;
    }

    async fn until_forgotten(watches: &Watches<u32>) {
        let forgotten = async {
            while !watches.open().is_empty() {
                sleep(bounds::WATCH_FIRST).await;
            }
        };
        timeout(Duration::from_mins(1), forgotten).await.unwrap();
    }

    #[test]
    fn the_more_is_watched_the_less_often_it_is_read() {
        let pauses = [1, 25, 50, 10_000].map(|watched| pause(bounds::WATCH_FIRST, watched));
        assert_eq!(pauses.map(|pause| pause.as_millis()), [50, 50, 100, 20_000]);
    }

    #[tokio::test]
    async fn too_many_are_refused() {
        let (watches, thing) = (Watches::default(), Thing::default());
        let watching: Vec<_> = (0..bounds::WATCHES)
            .map(|_| thing.watch(&watches, id()).unwrap())
            .collect();
        let one_more = thing.watch(&watches, id()).map(|_| ());
        assert!(matches!(
            one_more,
            Err(RequestError::Refused(Refusal::Overloaded))
        ));
        drop(watching);
    }

    #[tokio::test]
    async fn a_read_that_panics_ends_the_watch() {
        let watches = Watches::<u32>::default();
        let read = || async { panic!("this panic belongs to the test") };
        let mut watching = watches.watch(id(), read).unwrap();
        let end = watching.newer(0).await;
        assert!(matches!(end, Err(RequestError::Internal)), "{end:?}");
    }
}
