//! The queue of one stream: what waits there until the connection takes it.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::Notify,
    time::{Instant, sleep},
};

use super::peer::{Peer, Queued};
use crate::{bounds, pulse::late};

/// Holds items for one stream, in the order of their keys, which differ. The producer puts in without waiting; the stream
/// takes when its connection asks for more.
#[derive(Debug)]
pub(crate) struct Outbox<T> {
    state: Mutex<State<T>>,
    changed: Notify,
}

#[derive(Debug)]
struct State<T> {
    waiting: BTreeMap<u64, Waiting<T>>,
    bytes: usize,
    /// Counts the bytes for the connection of the stream.
    queued: Option<Queued>,
    /// The time since which something waits and nothing was taken.
    unread_since: Option<Instant>,
    /// Whether the connection would take something now.
    asking: bool,
    finished: bool,
}

#[derive(Debug)]
struct Waiting<T> {
    item: T,
    bytes: usize,
    /// The time at which it is of no use any more.
    until: Option<Instant>,
}

/// The backlog of a stream that its peer does not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unread {
    /// Items that wait.
    pub(crate) number: usize,
    /// Their bytes.
    pub(crate) bytes: usize,
    /// The time for which nothing was taken.
    pub(crate) time: Duration,
}

impl<T> Default for Outbox<T> {
    fn default() -> Self {
        Self {
            state: Mutex::new(State {
                waiting: BTreeMap::new(),
                bytes: 0,
                queued: None,
                unread_since: None,
                asking: false,
                finished: false,
            }),
            changed: Notify::new(),
        }
    }
}

impl<T> Outbox<T> {
    fn state(&self) -> MutexGuard<'_, State<T>> {
        // Nothing that panics runs under the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the outbox of a stream of this connection, for which its bytes count.
    pub(crate) fn on(peer: &Peer) -> Self {
        let outbox = Self::default();
        outbox.state().queued = Some(peer.queued());
        outbox
    }

    /// Puts items in, each with its key, its bytes and the time for which it is of use. A finished outbox drops them.
    pub(crate) fn put(&self, items: impl IntoIterator<Item = (u64, T, usize, Option<Duration>)>) {
        let now = Instant::now();
        let mut state = self.state();
        if state.finished {
            return;
        }
        for (key, item, bytes, useful) in items {
            let until = useful.map(|useful| now + useful);
            state.bytes += bytes;
            let waiting = Waiting { item, bytes, until };
            if let Some(before) = state.waiting.insert(key, waiting) {
                state.bytes -= before.bytes;
            }
        }
        if !state.waiting.is_empty() {
            state.unread_since.get_or_insert(now);
        }
        state.count();
        drop(state);
        self.changed.notify_one();
    }

    /// Removes an item that is of no use any more.
    pub(crate) fn remove(&self, key: u64) {
        let mut state = self.state();
        if let Some(waiting) = state.waiting.remove(&key) {
            state.bytes -= waiting.bytes;
            state.emptied();
            state.count();
        }
    }

    /// Takes nothing in any more. What waits can still be taken.
    pub(crate) fn finish(&self) {
        self.state().finished = true;
        self.changed.notify_one();
    }

    /// Returns whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.state().waiting.is_empty()
    }

    /// Waits until something can be taken, or nothing more comes. One task at a time may wait.
    pub(crate) async fn waits(&self) {
        loop {
            let changed = self.changed.notified();
            let _asking = {
                let mut state = self.state();
                if state.finished || !state.waiting.is_empty() {
                    return;
                }
                state.asking = true;
                Asking(self)
            };
            changed.await;
        }
    }

    /// Takes what waits, the lowest keys first: at most `number`, and nothing after `bytes` are reached. Returns `None`
    /// at the end of a finished outbox.
    pub(crate) fn take(&self, number: usize, bytes: usize) -> Option<Vec<T>> {
        let mut state = self.state();
        if state.finished && state.waiting.is_empty() {
            return None;
        }
        let (mut taken, mut taken_bytes) = (Vec::new(), 0);
        while taken.len() < number
            && (taken.is_empty() || taken_bytes < bytes)
            && let Some((_, waiting)) = state.waiting.pop_first()
        {
            taken_bytes += waiting.bytes;
            state.bytes -= waiting.bytes;
            taken.push(waiting.item);
        }
        state.unread_since = (!state.waiting.is_empty()).then(Instant::now);
        state.count();
        Some(taken)
    }

    /// Drops what is of no use any more, and returns the backlog if the peer has to be cut off for it: nothing was
    /// taken for [`bounds::UNREAD_TIMEOUT`], or for [`bounds::UNREAD_TIMEOUT_MUCH`] although more than `number` items or
    /// [`bounds::UNREAD_STREAM_BYTES`] wait.
    pub(crate) fn look(&self, now: Instant, number: usize) -> Option<Unread> {
        let mut state = self.state();
        let State { waiting, bytes, .. } = &mut *state;
        let mut dropped = Vec::new();
        for (_, outdated) in waiting.extract_if(.., |_, waiting| {
            waiting.until.is_some_and(|until| until <= now)
        }) {
            *bytes -= outdated.bytes;
            dropped.push(outdated);
        }
        state.emptied();
        state.count();
        if state.waiting.is_empty() {
            return None;
        }
        let time = now.saturating_duration_since(state.unread_since?);
        let unread = Unread {
            number: state.waiting.len(),
            bytes: state.bytes,
            time,
        };
        let much = unread.number > number || unread.bytes > bounds::UNREAD_STREAM_BYTES;
        let limit = if much {
            bounds::UNREAD_TIMEOUT_MUCH
        } else {
            bounds::UNREAD_TIMEOUT
        };
        (time >= limit).then_some(unread)
    }

    /// Notes that the process stood still for this time until now: the peer may have read all that it was given.
    fn stood_still(&self, by: Duration) {
        let mut state = self.state();
        state.unread_since = state.unread_since.map(|since| since + by);
        for waiting in state.waiting.values_mut() {
            waiting.until = waiting.until.map(|until| until + by);
        }
    }

    /// Returns once the peer has to be cut off, as [`look`](Self::look) finds.
    pub(crate) async fn unread(&self, number: usize) -> Unread {
        loop {
            let before = Instant::now();
            sleep(bounds::UNREAD_LOOK).await;
            let now = Instant::now();
            if let Some(by) = late(now - before, bounds::UNREAD_LOOK) {
                self.stood_still(by);
            }
            if let Some(unread) = self.look(now, number) {
                return unread;
            }
        }
    }
}

impl<T> State<T> {
    /// Counts the bytes that wait now.
    fn count(&mut self) {
        if let Some(queued) = &mut self.queued {
            queued.set(self.bytes);
        }
    }

    /// Notes that items left without being taken. Where the connection would have taken the last of them, its peer
    /// reads; otherwise the time for which it takes nothing goes on.
    fn emptied(&mut self) {
        if self.waiting.is_empty() && self.asking {
            self.unread_since = None;
        }
    }
}

/// A connection that waits for something to take, until this is dropped.
struct Asking<'a, T>(&'a Outbox<T>);

impl<T> Drop for Asking<'_, T> {
    fn drop(&mut self) {
        self.0.state().asking = false;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const MIB: usize = 1024 * 1024;
    const SECOND: Duration = Duration::from_secs(1);

    fn holding(items: &[(u64, usize, Option<Duration>)]) -> Outbox<u64> {
        let outbox = Outbox::default();
        outbox.put(
            items
                .iter()
                .map(|(key, bytes, until)| (*key, *key, *bytes, *until)),
        );
        outbox
    }

    /// Returns what a look finds some seconds later, with room for 10 items.
    fn later(outbox: &Outbox<u64>, seconds: u64) -> Option<(usize, usize)> {
        let now = Instant::now() + Duration::from_secs(seconds);
        outbox
            .look(now, 10)
            .map(|unread| (unread.number, unread.bytes))
    }

    #[test]
    fn items_are_taken_in_the_order_of_their_keys_up_to_a_number_and_bytes() {
        let outbox = holding(&[(3, 5, None), (1, 5, None), (2, 5, None), (4, 5, None)]);
        assert_eq!(outbox.take(3, 10), Some(vec![1, 2]));
        outbox.remove(3);
        assert_eq!(outbox.take(1, 10), Some(vec![4]));
        assert_eq!(outbox.take(1, 10), Some(vec![]));
        outbox.put([(5, 5, 5, None)]);
        outbox.finish();
        outbox.put([(6, 6, 5, None)]);
        assert_eq!(outbox.take(9, 10), Some(vec![5]));
        assert_eq!(outbox.take(1, 10), None);
    }

    #[test]
    fn an_item_larger_than_the_bytes_is_taken_alone() {
        let outbox = holding(&[(1, 50, None), (2, 1, None)]);
        assert_eq!(outbox.take(9, 10), Some(vec![1]));
        assert_eq!(outbox.take(9, 10), Some(vec![2]));
    }

    #[test]
    fn what_waits_counts_for_its_connection() {
        let peer = Peer::nowhere();
        let outbox = Outbox::on(&peer);
        let soon = Some(SECOND);
        outbox.put([(1, 'a', 10, None), (2, 'b', 20, None), (3, 'c', 30, soon)]);
        outbox.put([(1, 'd', 40, None), (4, 'e', 50, None)]);
        assert_eq!(peer.bytes(), 140);
        outbox.remove(2);
        assert_eq!(peer.bytes(), 120);
        assert_eq!(outbox.take(1, 100), Some(vec!['d']));
        assert_eq!(peer.bytes(), 80);
        outbox.look(Instant::now() + 2 * SECOND, 10);
        assert_eq!(peer.bytes(), 50);
        drop(outbox);
        assert_eq!(peer.bytes(), 0);
    }

    #[test]
    fn a_peer_that_takes_nothing_is_found_after_the_time_out() {
        let outbox = holding(&[(1, 7, None), (2, 7, None)]);
        assert_eq!(later(&outbox, 29), None);
        assert_eq!(later(&outbox, 31), Some((2, 14)));
    }

    #[test]
    fn a_peer_that_takes_anything_is_not() {
        let outbox = holding(&[(1, 7, None), (2, 7, None)]);
        assert_eq!(outbox.take(1, 100), Some(vec![1]));
        assert_eq!(later(&outbox, 29), None);
        assert_eq!(outbox.take(1, 100), Some(vec![2]));
        assert_eq!(later(&outbox, 3_600), None);
    }

    #[test]
    fn a_peer_that_leaves_much_unread_is_found_sooner() {
        let many: Vec<_> = (0..11).map(|key| (key, 0, None)).collect();
        assert_eq!(later(&holding(&many), 6), Some((11, 0)));
        assert_eq!(later(&holding(&many[1..]), 6), None);
        let large = [(1, 64 * MIB, None), (2, 1, None)];
        assert_eq!(later(&holding(&large), 6), Some((2, 64 * MIB + 1)));
        assert_eq!(later(&holding(&large[..1]), 6), None);
    }

    /// Items that are withdrawn before the connection that asks for them is woken say nothing about its peer.
    #[tokio::test]
    async fn a_peer_that_asks_is_not_cut_off_for_what_was_withdrawn() {
        for asks in [true, false] {
            let outbox = holding(&[]);
            let mut waits = Box::pin(outbox.waits());
            if asks {
                assert!(futures::poll!(waits.as_mut()).is_pending());
            }
            outbox.put([(1, 1, 7, None)]);
            outbox.remove(1);
            assert_eq!((later(&outbox, 31), outbox.state().bytes), (None, 0));
            let goes_on = outbox.state().unread_since.is_some();
            assert_eq!(goes_on, !asks, "it asks: {asks}");
        }
    }

    #[test]
    fn a_standstill_of_the_process_is_not_the_peers() {
        let outbox = holding(&[(1, 7, Some(40 * SECOND)), (2, 7, None)]);
        outbox.stood_still(20 * SECOND);
        assert_eq!(later(&outbox, 49), None);
        assert_eq!(outbox.state().bytes, 14);
        assert_eq!(later(&outbox, 51), Some((2, 14)));
    }

    #[test]
    fn what_is_outdated_leaves_though_nothing_is_taken() {
        let outbox = holding(&[(1, 7, Some(SECOND)), (2, 7, Some(3 * SECOND)), (3, 7, None)]);
        assert_eq!(later(&outbox, 2), None);
        assert_eq!(outbox.state().bytes, 14);
        assert_eq!(later(&outbox, 31), Some((1, 7)));
        assert_eq!(outbox.take(9, 100), Some(vec![3]));
    }
}
