//! The bytes of requests, from the first of a message until the engine has it, or whichever part takes the request in.
//!
//! They are counted for the connection and for all. Beyond a bound no more of them are read, so that the client holds
//! them back; one message per connection is read all the same, so that each goes on.

use std::{
    collections::VecDeque,
    mem,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use super::peer::Peer;
use crate::bounds;

/// The messages of one call that have come and are not taken in. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Inbound(Arc<Stream>);

#[derive(Debug)]
struct Stream {
    /// Unique among all, from 1.
    number: u64,
    peer: Peer,
    messages: Mutex<Messages>,
}

#[derive(Debug, Default)]
struct Messages {
    /// Bytes that have come of a message that is not complete.
    begun: usize,
    /// The bytes of each complete message, in their order.
    complete: VecDeque<usize>,
}

/// The bytes of a message that is being taken in, until this is dropped.
#[derive(Debug)]
pub(crate) struct Taking {
    peer: Peer,
    bytes: usize,
}

/// A stream that waits until more may be read, until this is dropped.
struct Waiting<'a>(&'a AtomicUsize);

impl Inbound {
    /// Makes the messages of a call that came on this connection.
    pub(crate) fn new(peer: Peer) -> Self {
        let number = peer.peers().streams.fetch_add(1, Ordering::Relaxed) + 1;
        Self(Arc::new(Stream {
            number,
            peer,
            messages: Mutex::default(),
        }))
    }

    /// Counts what has come: complete messages, and the bytes of the one that has begun.
    pub(crate) fn came(&self, complete: impl IntoIterator<Item = usize>, begun: usize) {
        let mut messages = self.messages();
        let before = messages.begun;
        messages.begun = begun;
        let mut now = begun;
        for bytes in complete {
            now += bytes;
            messages.complete.push_back(bytes);
        }
        drop(messages);
        if now >= before {
            self.0.peer.requested(now - before);
        } else {
            self.0.peer.taken(before - now);
        }
    }

    /// Begins to take the next complete message in.
    pub(crate) fn take(&self) -> Taking {
        let mut messages = self.messages();
        let bytes = messages.complete.pop_front().unwrap_or_default();
        let is_empty = messages.begun == 0 && messages.complete.is_empty();
        drop(messages);
        if is_empty {
            self.let_others_go_first();
        }
        Taking {
            peer: self.0.peer.clone(),
            bytes,
        }
    }

    /// Takes every complete message in: its receiver counts none.
    pub(crate) fn take_all(&self) {
        let complete = mem::take(&mut self.messages().complete);
        self.0.peer.taken(complete.iter().sum());
    }

    /// Waits until more may be read.
    pub(crate) async fn room(&self) {
        let peers = self.0.peer.peers();
        peers.waiting.fetch_add(1, Ordering::SeqCst);
        let _waiting = Waiting(&peers.waiting);
        loop {
            let taken = peers.taken.notified();
            tokio::pin!(taken);
            // Before looking: what is taken in between the look and the wait wakes this.
            taken.as_mut().enable();
            if self.has_room() {
                return;
            }
            taken.await;
        }
    }

    /// Returns whether more may be read: there is room, or this is the one stream of its connection that goes on.
    pub(crate) fn has_room(&self) -> bool {
        let peer = &self.0.peer;
        let is_free = peer.requested_bytes() < bounds::REQUEST_CONNECTION_BYTES
            && peer.peers().requested.load(Ordering::SeqCst) < bounds::REQUEST_BYTES;
        is_free || peer.goes_first(self.0.number)
    }

    fn let_others_go_first(&self) {
        self.0.peer.goes_no_longer_first(self.0.number);
    }

    fn messages(&self) -> MutexGuard<'_, Messages> {
        // Nothing that panics runs under the lock.
        let messages = self.0.messages.lock();
        messages.unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let messages = self.messages.get_mut();
        let messages = messages.unwrap_or_else(PoisonError::into_inner);
        let bytes = messages.begun + messages.complete.iter().sum::<usize>();
        self.peer.taken(bytes);
        self.peer.goes_no_longer_first(self.number);
    }
}

impl Drop for Taking {
    fn drop(&mut self) {
        self.peer.taken(self.bytes);
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::backlog::Peers;

    const MIB: usize = 1024 * 1024;

    #[tokio::test]
    async fn one_message_per_connection_goes_on_where_there_is_no_room() {
        let peers = Arc::<Peers>::default();
        let peer = peers.connected(None);
        let [large, first, second] = [(); 3].map(|()| Inbound::new(peer.clone()));
        large.came([32 * MIB], 0);
        assert!(first.has_room() && first.has_room());
        assert!(!second.has_room());
        let other = Inbound::new(peers.connected(None));
        assert!(other.has_room());
        let waiting = tokio::spawn({
            let second = second.clone();
            async move { second.room().await }
        });
        first.came([], MIB);
        first.came([MIB], 0);
        let taking = first.take();
        waiting.await.unwrap();
        assert!(!first.has_room(), "the second goes first now");
        drop((taking, large.take()));
        assert!(first.has_room());
    }

    #[test]
    fn what_all_connections_have_sent_leaves_each_one_message() {
        let peers = Arc::<Peers>::default();
        let connections: Vec<_> = (0..8).map(|_| peers.connected(None)).collect();
        let inbound: Vec<_> = connections.iter().cloned().map(Inbound::new).collect();
        for inbound in &inbound {
            inbound.came([], 32 * MIB);
        }
        let peer = peers.connected(None);
        let [first, second] = [(); 2].map(|()| Inbound::new(peer.clone()));
        assert!(first.has_room() && !second.has_room());
        drop(inbound);
        assert!(second.has_room());
    }

    #[test]
    fn bytes_are_given_back_by_whichever_way_a_message_ends() {
        let peers = Arc::<Peers>::default();
        let inbound = Inbound::new(peers.connected(None));
        inbound.came([3, 0, 5], 7);
        let requested = || peers.requested.load(Ordering::SeqCst);
        assert_eq!(requested(), 15);
        drop((inbound.take(), inbound.take()));
        assert_eq!(requested(), 12);
        inbound.came([9], 1);
        assert_eq!(requested(), 15);
        inbound.take_all();
        assert_eq!(requested(), 1);
        drop(inbound);
        assert_eq!(requested(), 0);
        assert_eq!(peers.held.load(Ordering::SeqCst), 0);
    }
}
