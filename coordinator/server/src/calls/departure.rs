//! Calls that wait to leave: for a connection, or for a free place on one. They can be withdrawn until then.

use std::{
    collections::HashMap,
    fmt,
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tercet_core::id::CallId;
use tokio_util::sync::CancellationToken;

/// The calls under way to registered addresses.
#[derive(Clone, Default)]
pub(super) struct Departures(Arc<Mutex<HashMap<CallId, CancellationToken>>>);

/// A call under way, until this is dropped.
pub(super) struct Departure {
    all: Departures,
    call: CallId,
    withdrawn: CancellationToken,
}

/// A call that was withdrawn before it left.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Withdrawn;

impl Departures {
    fn calls(&self) -> MutexGuard<'_, HashMap<CallId, CancellationToken>> {
        // Nothing that panics runs under the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a call.
    pub(super) fn add(&self, call: CallId) -> Departure {
        let withdrawn = CancellationToken::new();
        self.calls().insert(call, withdrawn.clone());
        Departure {
            all: self.clone(),
            call,
            withdrawn,
        }
    }

    /// Lets a call not leave any more. One that has left goes on.
    pub(super) fn withdraw(&self, call: CallId) {
        if let Some(withdrawn) = self.calls().get(&call) {
            withdrawn.cancel();
        }
    }
}

impl Departure {
    /// Goes on with a step before the call leaves, unless the call is withdrawn.
    pub(super) async fn before<T>(&self, step: impl Future<Output = T>) -> Result<T, Withdrawn> {
        let step = self.withdrawn.run_until_cancelled(step);
        step.await.ok_or(Withdrawn)
    }

    /// Waits until the call is withdrawn.
    pub(super) async fn withdrawn(&self) {
        self.withdrawn.cancelled().await;
    }
}

impl Drop for Departure {
    fn drop(&mut self) {
        self.all.calls().remove(&self.call);
    }
}

impl fmt::Display for Withdrawn {
    /// Writes the end of the call in words. Nothing waits for it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the call was withdrawn before it left")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::time::Duration;

    use bytes::Bytes;
    use http::HeaderMap;
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::{TcpListener, TcpStream},
        time::timeout,
    };

    use super::*;
    use crate::{
        calls::{
            connections::Connections,
            http_post,
            unary::{self, Lost, Outgoing},
        },
        pulse::Pulse,
    };

    const PATIENCE: Duration = Duration::from_secs(20);
    const LONG: Duration = Duration::from_hours(1);
    const CALL: CallId = CallId(7);

    async fn listen() -> (TcpListener, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        (listener, address)
    }

    fn pulse() -> Arc<Pulse> {
        let pulse = Pulse::new();
        pulse.end();
        Arc::new(pulse)
    }

    /// The server never says how many calls it takes at once.
    #[tokio::test]
    async fn a_call_that_waits_for_a_place_on_its_connection_is_withdrawn_with_its_bytes() {
        let (listener, address) = listen().await;
        let departures = Departures::default();
        let departure = departures.add(CALL);
        let payload = Bytes::from(vec![7; 1_000_000]);
        let message = payload.clone();
        let exchange = tokio::spawn(async move {
            let outgoing = Outgoing {
                address: &address,
                path: "/a.Service/Method",
                metadata: HeaderMap::new(),
                message,
                keep: 0,
                limit: LONG,
                departure: &departure,
            };
            let answer = unary::exchange(&Connections::new(pulse()), outgoing).await;
            answer.map(|answer| answer.code)
        });
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut preface = [0; 24];
        stream.read_exact(&mut preface).await.unwrap();
        departures.withdraw(CallId(8));
        assert!(!exchange.is_finished());
        departures.withdraw(CALL);
        let ended = timeout(PATIENCE, exchange).await.unwrap().unwrap();
        assert!(matches!(ended, Err(Lost::Unsent(_))), "{ended:?}");
        assert!(payload.is_unique());
        assert!(departures.calls().is_empty());
    }

    async fn request(stream: &mut TcpStream, end: &str) -> String {
        let mut request = Vec::new();
        while !request.ends_with(end.as_bytes()) {
            request.push(stream.read_u8().await.unwrap());
        }
        String::from_utf8(request).unwrap()
    }

    /// Also one with an empty body.
    #[tokio::test]
    async fn an_http_call_is_withdrawn_until_a_connection_takes_it() {
        for (body, end) in [("payload", "\r\n\r\npayload"), ("", "\r\n\r\n")] {
            let (listener, address) = listen().await;
            let departures = Departures::default();
            let client = http_post::client(pulse());
            let post = |departure: Departure| {
                let (client, address) = (client.clone(), address.clone());
                tokio::spawn(async move {
                    let to = (address.as_str(), "/path");
                    let posted = http_post::post(&client, to, vec![], body.into(), &departure);
                    posted.await.map(|answer| answer.unwrap().status().as_u16())
                })
            };
            let before = departures.add(CALL);
            departures.withdraw(CALL);
            assert_eq!(post(before).await.unwrap(), Err(Withdrawn));

            let taken = post(departures.add(CALL));
            let (mut stream, _) = listener.accept().await.unwrap();
            let head = request(&mut stream, end).await;
            let length = format!("content-length: {}\r\n", body.len());
            assert!(head.contains(&length), "{head}");
            departures.withdraw(CALL);
            let answer = "HTTP/1.1 204 No Content\r\n\r\n";
            stream.write_all(answer.as_bytes()).await.unwrap();
            let ended = timeout(PATIENCE, taken).await.unwrap().unwrap();
            assert_eq!(ended, Ok(204));
        }
    }
}
