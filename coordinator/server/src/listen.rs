//! Connections: each is accepted, served over HTTP/2, and closed when its peer is silent for too long or does not read.

use std::{
    future::Future,
    pin::{Pin, pin},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use hyper::{server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tracing::{debug, info, warn};

use crate::{
    backlog::{Peer, Peers},
    bounds,
    grpc::Front,
    pulse::late,
    turns::InTurns,
};

/// The pause after a connection could not be accepted, because there are no file descriptors left for example.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves at most so many connections at once until `closing`, and then those that are open until their requests are done.
pub(crate) async fn run(
    listener: TcpListener,
    at_once: usize,
    routes: Routes,
    peers: Arc<Peers>,
    closing: CancellationToken,
) {
    let windows = Arc::new(Windows::new(bounds::WINDOWS_BYTES));
    let mut door = Door::new(listener, at_once);
    let routes = routes.prepare();
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            () = closing.cancelled() => break,
            // Makes room in the set; a connection's end is of no further interest.
            Some(_) = connections.join_next() => continue,
            accepted = door.accept() => accepted,
        };
        let (stream, place) = accepted;
        let peer = peers.connected(stream.peer_addr().ok());
        let front = Front::new(routes.clone(), peer.clone());
        let admitted = (windows.open(), place);
        connections.spawn(serve(stream, front, peer, closing.clone(), admitted));
    }
    // New connections are refused from here on, and do not wait in vain.
    drop(door);
    while connections.join_next().await.is_some() {}
}

/// The place at which connections come in.
struct Door {
    listener: TcpListener,
    places: Arc<Semaphore>,
    at_once: usize,
    /// Connections cannot be accepted: the log has it.
    failing: bool,
    /// Every place is taken: the log has it.
    full: bool,
}

impl Door {
    fn new(listener: TcpListener, at_once: usize) -> Self {
        Self {
            listener,
            places: Arc::new(Semaphore::new(at_once)),
            at_once,
            failing: false,
            full: false,
        }
    }

    /// Waits for a place among the open connections, and for the next one. Cancellation safe.
    async fn accept(&mut self) -> (TcpStream, OwnedSemaphorePermit) {
        loop {
            let free = self.places.available_permits();
            // Counts as full until some places are free, so that connections that come and go leave no line each.
            let is_full = free == 0 || (self.full && free <= self.at_once / 8);
            if turned(&mut self.full, is_full) == Some(true) {
                warn!(
                    open = self.at_once,
                    "no more connections are accepted until one is closed"
                );
            }
            let accepted = match Arc::clone(&self.places).acquire_owned().await {
                Ok(place) => (self.listener.accept().await).map(|(stream, _)| (stream, place)),
                // The semaphore is never closed.
                Err(_) => std::future::pending().await,
            };
            match (turned(&mut self.failing, accepted.is_err()), accepted) {
                (turned, Ok(accepted)) => {
                    if turned.is_some() {
                        info!("connections are accepted again");
                    }
                    return accepted;
                }
                (turned, Err(error)) => {
                    if turned.is_some() {
                        warn!(%error, "a connection could not be accepted; it is tried again until one is");
                    }
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

/// Sets a state; returns it if it is new.
fn turned(state: &mut bool, now: bool) -> Option<bool> {
    (std::mem::replace(state, now) != now).then_some(now)
}

/// Serves one connection to its end.
async fn serve(
    stream: TcpStream,
    front: Front,
    peer: Peer,
    closing: CancellationToken,
    (window, _place): (Window, OwnedSemaphorePermit),
) {
    // Without it small answers may be late, and nothing else.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| front.clone().answer(request));
    let connection =
        settings(&window).serve_connection(TokioIo::new(InTurns::new(stream)), service);
    let mut connection = pin!(connection);
    let mut ending = false;
    loop {
        tokio::select! {
            result = connection.as_mut() => {
                if let Err(error) = result {
                    debug!(%peer, %error, "a connection broke");
                }
                return;
            }
            () = peer.was_cut() => return,
            () = closing.cancelled(), if !ending => {
                ending = true;
                connection.as_mut().graceful_shutdown();
            }
            () = idle(&peer), if !ending => {
                ending = true;
                connection.as_mut().graceful_shutdown();
                // A request that came at the last moment is still served.
                if closed_in_time(connection.as_mut()).await || peer.is_idle(Instant::now()) {
                    return;
                }
            }
        }
    }
}

/// Returns once the connection is idle. Meanwhile it cuts a peer off that takes nothing.
async fn idle(peer: &Peer) {
    loop {
        let before = Instant::now();
        sleep(bounds::UNREAD_LOOK).await;
        let now = Instant::now();
        if let Some(by) = late(now - before, bounds::UNREAD_LOOK) {
            peer.stood_still(by);
        }
        peer.look(now);
        if peer.is_idle(now) {
            debug!(%peer, "a connection without requests is closed");
            return;
        }
    }
}

/// Waits for an idle connection to close.
async fn closed_in_time<E>(connection: Pin<&mut impl Future<Output = Result<(), E>>>) -> bool {
    tokio::time::timeout(bounds::CLOSE_TIMEOUT, connection)
        .await
        .is_ok()
}

/// The bytes that clients may send before they are read, divided among the connections that are open.
#[derive(Debug)]
struct Windows {
    /// Bytes that are in no window.
    left: Mutex<u32>,
}

/// The window of one connection, until this is dropped.
#[derive(Debug)]
struct Window {
    windows: Arc<Windows>,
    bytes: u32,
    /// Bytes that it has of those that are divided; the least window is given where they do not suffice too.
    taken: u32,
}

impl Windows {
    fn new(bytes: u32) -> Self {
        Self {
            left: Mutex::new(bytes),
        }
    }

    /// Gives a connection its window: a share of what is left, so that it becomes smaller with the number of connections.
    fn open(self: &Arc<Self>) -> Window {
        let mut left = self.left();
        let bytes = (*left / bounds::WINDOW_SHARES)
            .clamp(bounds::CONNECTION_WINDOW_MIN, bounds::CONNECTION_WINDOW);
        let taken = bytes.min(*left);
        *left -= taken;
        drop(left);
        Window {
            windows: Arc::clone(self),
            bytes,
            taken,
        }
    }

    fn left(&self) -> MutexGuard<'_, u32> {
        // Nothing that panics runs under the lock.
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        *self.windows.left() += self.taken;
    }
}

/// Returns the settings of HTTP/2.
fn settings(window: &Window) -> http2::Builder<TokioExecutor> {
    let mut settings = http2::Builder::new(TokioExecutor::new());
    settings
        .timer(TokioTimer::new())
        .max_concurrent_streams(bounds::CONNECTION_STREAMS)
        .initial_stream_window_size(bounds::STREAM_WINDOW.min(window.bytes))
        .initial_connection_window_size(window.bytes)
        .keep_alive_interval(bounds::KEEPALIVE_INTERVAL)
        .keep_alive_timeout(bounds::KEEPALIVE_TIMEOUT);
    settings
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::net::SocketAddr;

    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        time::timeout,
    };

    use super::*;

    /// Empty settings after the preface; the length of a ping, which never comes.
    const FIRST: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0\0\0\x08";

    /// Sends bytes one by one, and then no more; returns the time after which the connection is closed.
    async fn closed_after(listening: SocketAddr, bytes: &[u8]) -> Duration {
        let begun = Instant::now();
        let stream = TcpStream::connect(listening).await.unwrap();
        let (mut reading, mut writing) = stream.into_split();
        let sends = async {
            for byte in bytes {
                // Until it is closed.
                if writing.write_all(&[*byte]).await.is_err() {
                    break;
                }
                sleep(Duration::from_millis(100)).await;
            }
            std::future::pending::<()>().await;
        };
        let mut heard = Vec::new();
        tokio::select! {
            // An end and a reset are both a closed connection.
            _ = reading.read_to_end(&mut heard) => {}
            () = sends => {}
        }
        begun.elapsed()
    }

    #[tokio::test]
    async fn a_connection_without_a_request_is_closed_however_slowly_it_begins() {
        let wait = Duration::from_millis(1_500);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let listening = listener.local_addr().unwrap();
        let closing = CancellationToken::new();
        let peers = Arc::new(Peers::waiting(wait));
        let running = run(listener, 8, Routes::default(), peers, closing.clone());
        let running = tokio::spawn(running);
        let silent = closed_after(listening, b"");
        let byte_by_byte = closed_after(listening, FIRST);
        let without_requests = async {
            let mut stream = TcpStream::connect(listening).await.unwrap();
            let begun = Instant::now();
            stream.write_all(FIRST).await.unwrap();
            // An end and a reset are both a closed connection.
            let _ = stream.read_to_end(&mut Vec::new()).await;
            begun.elapsed()
        };
        let closed = async { tokio::join!(silent, byte_by_byte, without_requests) };
        let closed = timeout(Duration::from_secs(20), closed).await;
        let (silent, byte_by_byte, without_requests) = closed.expect("each is closed");
        for after in [silent, byte_by_byte, without_requests] {
            assert!(after >= wait, "{after:?}");
        }
        closing.cancel();
        running.await.unwrap();
    }

    #[test]
    fn windows_become_smaller_with_the_number_of_connections_and_are_given_back() {
        let windows = Arc::new(Windows::new(bounds::WINDOWS_BYTES));
        let sum = |open: &[Window]| -> u64 { open.iter().map(|it| u64::from(it.bytes)).sum() };
        let mut open: Vec<_> = (0..bounds::CONNECTIONS).map(|_| windows.open()).collect();
        assert!(open.is_sorted_by_key(|window| std::cmp::Reverse(window.bytes)));
        let whole = (open.iter()).filter(|window| window.bytes == bounds::CONNECTION_WINDOW);
        assert_eq!(whole.count(), 49);
        assert_eq!(open[1_000].bytes, bounds::CONNECTION_WINDOW_MIN);
        // Less than a 16th of what as many whole windows would be.
        let most =
            u64::from(bounds::WINDOWS_BYTES) + 4_096 * u64::from(bounds::CONNECTION_WINDOW_MIN);
        assert!(sum(&open) <= most && most == 512 * 1024 * 1024);

        // Those that come and go leave nothing behind.
        open.clear();
        assert_eq!(*windows.left(), bounds::WINDOWS_BYTES);
        open.extend((0..49).map(|_| windows.open()));
        assert_eq!(sum(&open), 49 * u64::from(bounds::CONNECTION_WINDOW));
    }
}
