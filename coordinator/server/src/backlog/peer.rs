//! The bytes of each connection that are made and not yet written to its socket.

use std::{
    collections::BTreeMap,
    fmt,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::bounds;

/// The connections of all peers.
#[derive(Debug)]
pub(crate) struct Peers {
    /// The time in which the first request of a connection has to come.
    first_request_timeout: Duration,
    /// The bytes of all connections: in outboxes, not yet written, or of requests.
    pub(super) held: AtomicUsize,
    /// The bytes of requests of all connections that have come and are not taken in.
    pub(super) requested: AtomicUsize,
    /// The number of the last stream of requests.
    pub(super) streams: AtomicU64,
    /// Streams that wait until more may be read, and their waking.
    pub(super) waiting: AtomicUsize,
    pub(super) taken: Notify,
    connections: Mutex<Connections>,
}

#[derive(Debug, Default)]
struct Connections {
    next: u64,
    open: BTreeMap<u64, Weak<Connection>>,
}

/// One connection, and what was made for it. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Peer(Arc<Connection>);

#[derive(Debug)]
struct Connection {
    number: u64,
    address: Option<SocketAddr>,
    peers: Arc<Peers>,
    held: AtomicUsize,
    /// The bytes of requests that have come and are not taken in.
    requested: AtomicUsize,
    /// The bytes that wait in the outboxes of its streams.
    queued: AtomicUsize,
    /// The number of the stream whose message is read whatever the bytes; 0: none.
    first: AtomicU64,
    /// Wakes those that wait for room, and is set whenever bytes were written.
    released: Notify,
    activity: Mutex<Activity>,
    cut: CancellationToken,
}

#[derive(Debug)]
struct Activity {
    requests: usize,
    /// The last time at which no request was open, and at the start.
    idle_since: Instant,
    /// The last time at which bytes were written, or none were held.
    written_at: Instant,
    /// Whether a request ever came.
    used: bool,
    /// The streams that it carries and that have a name.
    streams: Vec<Arc<str>>,
}

/// Bytes that count as unread until this is dropped.
#[derive(Debug)]
pub(crate) struct Held {
    peer: Peer,
    bytes: usize,
    /// Whether their end is that they were written: the peer reads.
    written: bool,
}

/// Bytes that wait in an outbox, until this is dropped.
#[derive(Debug)]
pub(super) struct Queued {
    peer: Peer,
    bytes: usize,
}

/// A stream that has a name in the log until this is dropped.
#[derive(Debug)]
pub(crate) struct NamedStream(Peer, Arc<str>);

/// A request that is open until this is dropped.
#[derive(Debug)]
pub(crate) struct OpenRequest(Peer);

impl Default for Peers {
    fn default() -> Self {
        Self::waiting(bounds::FIRST_REQUEST_TIMEOUT)
    }
}

impl Peers {
    /// Waits for the first request of a connection for this time.
    pub(crate) fn waiting(first_request_timeout: Duration) -> Self {
        Self {
            first_request_timeout,
            held: AtomicUsize::default(),
            requested: AtomicUsize::default(),
            streams: AtomicU64::default(),
            waiting: AtomicUsize::default(),
            taken: Notify::default(),
            connections: Mutex::default(),
        }
    }

    fn connections(&self) -> MutexGuard<'_, Connections> {
        // Nothing that panics runs under the lock.
        self.connections
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a connection.
    pub(crate) fn connected(self: &Arc<Self>, address: Option<SocketAddr>) -> Peer {
        let now = Instant::now();
        let mut connections = self.connections();
        connections.next += 1;
        let connection = Arc::new(Connection {
            number: connections.next,
            address,
            peers: Arc::clone(self),
            held: AtomicUsize::new(0),
            requested: AtomicUsize::new(0),
            queued: AtomicUsize::new(0),
            first: AtomicU64::new(0),
            released: Notify::new(),
            activity: Mutex::new(Activity {
                requests: 0,
                idle_since: now,
                written_at: now,
                used: false,
                streams: Vec::new(),
            }),
            cut: CancellationToken::new(),
        });
        let weak = Arc::downgrade(&connection);
        connections.open.insert(connection.number, weak);
        Peer(connection)
    }

    /// Wakes the streams that wait until more may be read.
    fn wake_readers(&self) {
        if self.waiting.load(Ordering::SeqCst) > 0 {
            self.taken.notify_waiters();
        }
    }

    /// Cuts off the connection that holds the most, unless it is cut off already and its bytes are on their way out.
    fn cut_the_largest(&self) {
        let open: Vec<_> = {
            let connections = self.connections();
            connections
                .open
                .values()
                .filter_map(Weak::upgrade)
                .collect()
        };
        let largest = open.into_iter().max_by_key(|connection| connection.bytes());
        if let Some(largest) = largest {
            Peer(largest).cut("all connections together hold too much, and this one the most");
        }
    }
}

impl Peer {
    /// Makes the peer of a request that came on no connection.
    pub(crate) fn nowhere() -> Self {
        Arc::<Peers>::default().connected(None)
    }

    /// Counts bytes that were made for this connection. It is cut off where it holds too much.
    pub(crate) fn hold(&self, bytes: usize) -> Held {
        let before = self.0.held.fetch_add(bytes, Ordering::Relaxed);
        self.counted(before, bytes, true)
    }

    /// Waits until there is room for these bytes below [`bounds::UNREAD_BYTES`], or nothing is held, and counts them.
    pub(crate) async fn room(&self, bytes: usize) -> Held {
        loop {
            let released = self.0.released.notified();
            tokio::pin!(released);
            // Before looking: a release between the look and the wait wakes this.
            released.as_mut().enable();
            if let Some(held) = self.try_room(bytes) {
                return held;
            }
            released.await;
        }
    }

    fn try_room(&self, bytes: usize) -> Option<Held> {
        let fits = |held: usize| {
            let more = held + bytes;
            (held == 0 || more <= bounds::UNREAD_BYTES).then_some(more)
        };
        let held = &self.0.held;
        let before = held.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits);
        let before = before.ok()?;
        Some(self.counted(before, bytes, false))
    }

    /// Counts bytes for all connections that this one counts already.
    fn counted(&self, before: usize, bytes: usize, written: bool) -> Held {
        let peers = &self.0.peers;
        if before == 0 {
            self.activity().written_at = Instant::now();
        }
        let all = peers.held.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if before + bytes > bounds::UNREAD_CUT_BYTES {
            self.cut("it leaves too much unread");
        } else if all > bounds::UNREAD_ALL_BYTES {
            peers.cut_the_largest();
        }
        Held {
            peer: self.clone(),
            bytes,
            written,
        }
    }

    fn release(&self, bytes: usize, written: bool) {
        let connection = &self.0;
        let before = connection.held.fetch_sub(bytes, Ordering::Relaxed);
        connection.peers.held.fetch_sub(bytes, Ordering::Relaxed);
        if written {
            self.activity().written_at = Instant::now();
        }
        // A wait that began at a lower level is one for more room than all of that, and ends with the last release.
        if before > bounds::UNREAD_BYTES / 4 || before == bytes {
            connection.released.notify_waiters();
        }
    }

    pub(super) fn peers(&self) -> &Peers {
        &self.0.peers
    }

    /// Returns the bytes of requests that have come and are not taken in.
    pub(super) fn requested_bytes(&self) -> usize {
        self.0.requested.load(Ordering::SeqCst)
    }

    /// Counts bytes of requests that have come.
    pub(super) fn requested(&self, bytes: usize) {
        let (connection, peers) = (&self.0, &self.0.peers);
        connection.requested.fetch_add(bytes, Ordering::SeqCst);
        peers.requested.fetch_add(bytes, Ordering::SeqCst);
        let all = peers.held.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if all > bounds::UNREAD_ALL_BYTES {
            peers.cut_the_largest();
        }
    }

    /// Gives the bytes of requests back that are taken in.
    pub(super) fn taken(&self, bytes: usize) {
        let (connection, peers) = (&self.0, &self.0.peers);
        connection.requested.fetch_sub(bytes, Ordering::SeqCst);
        peers.requested.fetch_sub(bytes, Ordering::SeqCst);
        peers.held.fetch_sub(bytes, Ordering::Relaxed);
        peers.wake_readers();
    }

    /// Returns whether this stream is the one whose message is read although there is no room, as it becomes if there
    /// is none.
    pub(super) fn goes_first(&self, stream: u64) -> bool {
        let first = &self.0.first;
        let before = first.compare_exchange(0, stream, Ordering::SeqCst, Ordering::SeqCst);
        before.is_ok() || before == Err(stream)
    }

    /// Lets another stream go first, if this one does.
    pub(super) fn goes_no_longer_first(&self, stream: u64) {
        let first = &self.0.first;
        let before = first.compare_exchange(stream, 0, Ordering::SeqCst, Ordering::SeqCst);
        if before.is_ok() {
            self.0.peers.wake_readers();
        }
    }

    /// Begins to count what waits in an outbox.
    pub(super) fn queued(&self) -> Queued {
        Queued {
            peer: self.clone(),
            bytes: 0,
        }
    }

    /// Closes the connection at once, and everything on it.
    pub(crate) fn cut(&self, reason: &str) {
        let connection = &self.0;
        if connection.cut.is_cancelled() {
            return;
        }
        connection.cut.cancel();
        let bytes = connection.bytes();
        let streams = self.activity().streams.join(", ");
        warn!(peer = %self, streams, bytes, reason, "a peer is cut off: its connection is closed");
    }

    /// Returns once the connection has to be closed at once.
    pub(crate) async fn was_cut(&self) {
        self.0.cut.cancelled().await;
    }

    /// Returns the bytes that the connection holds.
    #[cfg(test)]
    pub(crate) fn bytes(&self) -> usize {
        self.0.bytes()
    }

    fn activity(&self) -> MutexGuard<'_, Activity> {
        // Nothing that panics runs under the lock.
        self.0
            .activity
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Names a stream, for the log.
    pub(crate) fn name_stream(&self, name: &str) -> NamedStream {
        let name: Arc<str> = name.into();
        self.activity().streams.push(Arc::clone(&name));
        NamedStream(self.clone(), name)
    }

    /// Counts a request as open.
    pub(crate) fn open_request(&self) -> OpenRequest {
        let mut activity = self.activity();
        activity.requests += 1;
        activity.used = true;
        OpenRequest(self.clone())
    }

    /// Cuts the connection off if it holds bytes of which none were written for [`bounds::UNREAD_TIMEOUT`].
    pub(crate) fn look(&self, now: Instant) {
        let waits = self.0.held.load(Ordering::Relaxed) > 0;
        let since = self.activity().written_at;
        if waits && now.saturating_duration_since(since) >= bounds::UNREAD_TIMEOUT {
            self.cut("it takes nothing");
        }
    }

    /// Notes that the process stood still for this time until now: the peer may have read all that it was given.
    pub(crate) fn stood_still(&self, by: Duration) {
        let mut activity = self.activity();
        activity.written_at += by;
        activity.idle_since += by;
    }

    /// Returns whether the connection has had no request for so long that it is closed.
    pub(crate) fn is_idle(&self, now: Instant) -> bool {
        let activity = self.activity();
        let limit: Duration = if activity.used {
            bounds::IDLE_TIMEOUT
        } else {
            self.0.peers.first_request_timeout
        };
        activity.requests == 0 && now.saturating_duration_since(activity.idle_since) >= limit
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.address {
            Some(address) => address.fmt(f),
            None => f.write_str("no connection"),
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.peers.connections().open.remove(&self.number);
    }
}

impl Held {
    /// Changes the number of bytes, once it is known better.
    pub(crate) fn set(&mut self, bytes: usize) {
        let before = self.peer.0.held.fetch_add(bytes, Ordering::Relaxed);
        let better = self.peer.counted(before, bytes, self.written);
        *self = better;
    }
}

impl Connection {
    fn bytes(&self) -> usize {
        let parts = [&self.held, &self.requested, &self.queued];
        parts
            .iter()
            .map(|bytes| bytes.load(Ordering::Relaxed))
            .sum()
    }
}

impl Queued {
    /// Sets the bytes that wait.
    pub(super) fn set(&mut self, bytes: usize) {
        let (connection, peers) = (&self.peer.0, &self.peer.0.peers);
        let before = std::mem::replace(&mut self.bytes, bytes);
        if bytes <= before {
            let less = before - bytes;
            connection.queued.fetch_sub(less, Ordering::Relaxed);
            peers.held.fetch_sub(less, Ordering::Relaxed);
            return;
        }
        let more = bytes - before;
        connection.queued.fetch_add(more, Ordering::Relaxed);
        let all = peers.held.fetch_add(more, Ordering::Relaxed) + more;
        if all > bounds::UNREAD_ALL_BYTES {
            peers.cut_the_largest();
        }
    }
}

impl Drop for Queued {
    fn drop(&mut self) {
        self.set(0);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.peer.release(self.bytes, self.written);
    }
}

impl Drop for NamedStream {
    fn drop(&mut self) {
        let Self(peer, name) = self;
        let mut activity = peer.activity();
        if let Some(place) = activity.streams.iter().position(|other| other == name) {
            activity.streams.swap_remove(place);
        }
    }
}

impl Drop for OpenRequest {
    fn drop(&mut self) {
        let mut activity = self.0.activity();
        activity.requests -= 1;
        activity.idle_since = Instant::now();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const MIB: usize = 1024 * 1024;

    fn two() -> (Peer, Peer) {
        let peers = Arc::<Peers>::default();
        (peers.connected(None), peers.connected(None))
    }

    fn later(seconds: u64) -> Instant {
        Instant::now() + Duration::from_secs(seconds)
    }

    fn is_cut(peer: &Peer) -> bool {
        peer.0.cut.is_cancelled()
    }

    #[tokio::test]
    async fn room_is_given_when_bytes_were_written() {
        let (peer, other) = two();
        let first = peer.room(20 * MIB).await;
        let second = peer.room(12 * MIB).await;
        assert!(peer.try_room(1).is_none());
        assert!(other.try_room(1).is_some());
        let waiting = tokio::spawn({
            let peer = peer.clone();
            async move { peer.room(12 * MIB).await }
        });
        drop(second);
        let third = waiting.await.unwrap();
        assert!(peer.try_room(1).is_none());
        drop((first, third));
        // Alone, an answer of any size has room.
        assert!(peer.try_room(40 * MIB).is_some());
        assert!(!is_cut(&peer));
    }

    #[test]
    fn a_connection_that_leaves_too_much_unread_is_cut_off_alone() {
        let (peer, other) = two();
        let _held = [peer.hold(100 * MIB), peer.hold(28 * MIB), other.hold(1)];
        assert!(!is_cut(&peer));
        let _one_more = peer.hold(1);
        assert!(is_cut(&peer) && !is_cut(&other));
    }

    #[test]
    fn the_largest_is_cut_off_when_all_together_leave_too_much_unread() {
        let peers = Arc::<Peers>::default();
        let sizes = [120, 127, 110, 105, 49].map(|mib| mib * MIB);
        let open = sizes.map(|_| peers.connected(None));
        let cut = || open.iter().map(is_cut).collect::<Vec<_>>();
        let _held: Vec<_> = open
            .iter()
            .zip(sizes)
            .map(|(peer, bytes)| peer.hold(bytes))
            .collect();
        assert_eq!(cut(), [false; 5]);
        let _two = [open[4].hold(2 * MIB), open[4].hold(1)];
        assert_eq!(cut(), [false, true, false, false, false]);
    }

    #[test]
    fn a_connection_that_takes_nothing_is_cut_off_after_the_time_out() {
        let (peer, idle) = two();
        let (first, _second) = (peer.hold(1), peer.hold(1));
        idle.look(later(3_600));
        peer.look(later(29));
        assert!(!is_cut(&idle) && !is_cut(&peer));
        drop(first);
        // Room that is given back is not read by the peer.
        let written_at = peer.activity().written_at;
        drop(peer.try_room(1));
        assert_eq!(peer.activity().written_at, written_at);
        peer.look(later(31));
        assert!(is_cut(&peer));
    }

    #[test]
    fn a_standstill_of_the_process_is_not_the_peers() {
        let (peer, silent) = two();
        let _held = peer.hold(1);
        peer.stood_still(Duration::from_secs(20));
        peer.look(later(49));
        assert!(!is_cut(&peer));
        peer.look(later(51));
        assert!(is_cut(&peer));
        silent.stood_still(Duration::from_secs(20));
        assert!(!silent.is_idle(later(49)) && silent.is_idle(later(51)));
    }

    #[test]
    fn a_connection_is_idle_without_requests() {
        let (peer, silent) = two();
        let open = peer.open_request();
        assert!(!peer.is_idle(later(3_600)));
        drop(open);
        assert!(!peer.is_idle(later(899)) && peer.is_idle(later(901)));
        assert!(!silent.is_idle(later(29)) && silent.is_idle(later(31)));
    }
}
