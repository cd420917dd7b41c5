//! One HTTP/2 connection for each registered gRPC address: made when it is first needed, replaced when it is over.
//!
//! HTTP/2 pings are not sent: servers end a connection that pings more often than they allow, by default once in five
//! minutes. TCP finds out that a host is gone, and a call that timed out that its connection may be dead.

use std::{
    collections::HashMap,
    pin::pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
};

use bytes::Bytes;
use futures::{
    FutureExt,
    future::{BoxFuture, Shared},
};
use h2::client::{Builder, SendRequest};
use http::Uri;
use hyper_util::client::legacy::connect::HttpConnector;
use tokio::{
    sync::oneshot,
    time::{Instant, timeout},
};
use tower::ServiceExt;
use tracing::debug;

use super::chain;
use crate::{bounds, pulse::Pulse, turns::InTurns};

/// A connection that several calls wait for, or have.
type Connecting = Shared<BoxFuture<'static, Result<Arc<Connection>, String>>>;

/// Connections by address; the one that was made first goes when there are too many.
pub(super) struct Connections {
    pulse: Arc<Pulse>,
    connector: HttpConnector,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    by_address: HashMap<String, (u64, Connecting)>,
    made: u64,
}

/// One connection.
pub(super) struct Connection {
    requests: SendRequest<Bytes>,
    /// Set once no further call may leave on it.
    over: AtomicBool,
    made: Instant,
    /// Microseconds from `made` to the last answer that came.
    heard: AtomicU64,
    /// Dropped with the connection, once no call and no entry holds it any more.
    _held: oneshot::Sender<()>,
}

impl Connections {
    pub(super) fn new(pulse: Arc<Pulse>) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_keepalive(Some(bounds::KEEPALIVE_INTERVAL));
        connector.set_keepalive_interval(Some(bounds::KEEPALIVE_TIMEOUT / 2));
        connector.set_keepalive_retries(Some(2));
        #[cfg(target_os = "linux")]
        connector.set_tcp_user_timeout(Some(bounds::KEEPALIVE_INTERVAL));
        Self {
            pulse,
            connector,
            kept: Mutex::default(),
        }
    }

    /// Returns the time in which the process stood still.
    pub(super) fn pulse(&self) -> &Pulse {
        &self.pulse
    }

    /// Returns the connection to an address, made if there is none yet or that one is over.
    pub(super) async fn get(&self, address: &str) -> Result<Arc<Connection>, String> {
        let known = self.kept().find(address);
        let connecting = match known {
            Some(connecting) => connecting,
            None => self.kept().keep(address, || self.connect(address)),
        };
        connecting.await
    }

    /// Connects in a task of its own, so that a call that stops waiting takes nothing from others.
    fn connect(&self, address: &str) -> Connecting {
        let (connector, address) = (self.connector.clone(), address.to_owned());
        let pulse = Arc::clone(&self.pulse);
        let connecting = tokio::spawn(async move {
            let opened = pulse.timeout(bounds::CONNECT_TIMEOUT, open(connector, &address));
            match opened.await {
                Ok(opened) => opened.map_err(|error| format!("{address}: {error}")),
                Err(_) => Err(format!(
                    "{address}: no connection within {} ms",
                    bounds::CONNECT_TIMEOUT.as_millis()
                )),
            }
        });
        connecting
            .map(|joined| joined.unwrap_or_else(|error| Err(error.to_string())))
            .boxed()
            .shared()
    }

    /// Lets go of an address's connection if it is over: it is closed once its last call has ended.
    pub(super) fn let_go(&self, address: &str) {
        let mut kept = self.kept();
        if kept.find(address).is_none() {
            kept.by_address.remove(address);
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn find(&self, address: &str) -> Option<Connecting> {
        let (_, connecting) = self.by_address.get(address)?;
        let is_over = match connecting.peek() {
            Some(Ok(connection)) => connection.is_over(),
            Some(Err(_)) => true,
            None => false,
        };
        (!is_over).then(|| connecting.clone())
    }

    /// Keeps a new connection, unless another call has made one since.
    fn keep(&mut self, address: &str, connect: impl FnOnce() -> Connecting) -> Connecting {
        if let Some(connecting) = self.find(address) {
            return connecting;
        }
        if self.by_address.len() >= bounds::CHANNELS && !self.by_address.contains_key(address) {
            let oldest = self.by_address.iter().min_by_key(|(_, (made, _))| *made);
            if let Some(oldest) = oldest.map(|(address, _)| address.clone()) {
                self.by_address.remove(&oldest);
            }
        }
        self.made += 1;
        let connecting = connect();
        let kept = (self.made, connecting.clone());
        self.by_address.insert(address.to_owned(), kept);
        connecting
    }
}

async fn open(connector: HttpConnector, address: &str) -> Result<Arc<Connection>, String> {
    let uri: Uri = address
        .parse()
        .map_err(|error| format!("not an address: {error}"))?;
    let stream = connector.oneshot(uri).await.map_err(|e| chain(&e))?;
    let (requests, driver) = Builder::new()
        .enable_push(false)
        .max_header_list_size(bounds::ANSWER_HEADER_BYTES)
        // No call leaves before the server has said how many it takes at once: it would refuse some.
        .initial_max_send_streams(0)
        .initial_window_size(bounds::STREAM_WINDOW_BYTES)
        .initial_connection_window_size(bounds::CONNECTION_WINDOW_BYTES)
        .handshake(InTurns::new(stream.into_inner()))
        .await
        .map_err(|e| chain(&e))?;
    let (held, gone) = oneshot::channel();
    let connection = Arc::new(Connection {
        _held: held,
        requests,
        over: AtomicBool::new(false),
        made: Instant::now(),
        heard: AtomicU64::new(0),
    });
    // Ends once the connection is closed, or no call and no entry holds it any more.
    let weak = Arc::downgrade(&connection);
    tokio::spawn(async move {
        let mut driver = pin!(driver);
        let ended = tokio::select! {
            ended = driver.as_mut() => Some(ended),
            // A peer that takes nothing, or never stops sending, is not waited for.
            _ = gone => timeout(bounds::CLOSE_TIMEOUT, driver).await.ok(),
        };
        if let Some(Err(error)) = ended {
            debug!(error = chain(&error), "a connection to a participant ended");
        }
        if let Some(connection) = weak.upgrade() {
            connection.retire();
        }
    });
    Ok(connection)
}

impl Connection {
    /// Returns a handle on which one request may leave.
    pub(super) fn requests(&self) -> SendRequest<Bytes> {
        self.requests.clone()
    }

    /// Lets no further call leave on the connection. Those that are under way go on.
    pub(super) fn retire(&self) {
        self.over.store(true, Relaxed);
    }

    pub(super) fn is_over(&self) -> bool {
        self.over.load(Relaxed)
    }

    /// Notes that an answer came.
    pub(super) fn heard(&self) {
        self.heard.fetch_max(self.micros(Instant::now()), Relaxed);
    }

    /// Retires the connection if no answer at all came on it since a call left that has timed out: it may be dead, and
    /// the calls after it would be lost too.
    pub(super) fn suspect(&self, left_at: Instant) {
        if self.heard.load(Relaxed) < self.micros(left_at) {
            self.retire();
        }
    }

    fn micros(&self, at: Instant) -> u64 {
        let since = at.saturating_duration_since(self.made).as_micros();
        u64::try_from(since).unwrap_or(u64::MAX)
    }
}
