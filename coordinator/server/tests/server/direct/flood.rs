//! Participants that never stop sending, and never answer.

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    thread,
};

use tercet_proto::v1;

use super::{register, spend};
use crate::harness::{Server, quick, tcc, until};

/// An empty SETTINGS frame.
const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];
/// A HEADERS frame of the first call with the status 100.
const CONTINUE: &[u8] = &[0, 0, 5, 1, 4, 0, 0, 0, 1, 0x08, 3, b'1', b'0', b'0'];
/// A frame of a type that does not exist, which has to be ignored.
const UNKNOWN: &[u8] = &[0, 0, 0, 0xfe, 0, 0, 0, 0, 0];
/// An empty DATA frame of the first call.
const EMPTY_DATA: &[u8] = &[0, 0, 0, 0, 0, 0, 0, 0, 1];
/// A HEADERS frame of the first call with the status 200.
const OK: &[u8] = &[0, 0, 1, 1, 4, 0, 0, 0, 1, 0x88];

/// The connections to a port that sends without end.
#[derive(Default)]
struct Connections {
    accepted: AtomicUsize,
    closed: AtomicUsize,
}

/// Listens on a free port, and answers every call with `first` and then `again` for ever. Returns the address.
fn flood(protocol: v1::Protocol, first: &'static [u8], again: &[u8]) -> (String, Arc<Connections>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let connections = Arc::new(Connections::default());
    let counted = Arc::clone(&connections);
    let again = again.repeat(4_096);
    // The threads end with their connections, and the last with the process of the test.
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, again) = (stream.unwrap(), again.clone());
            counted.accepted.fetch_add(1, SeqCst);
            let counted = Arc::clone(&counted);
            thread::spawn(move || {
                let called = match protocol {
                    v1::Protocol::Http => stream.read(&mut [0; 4_096]).map(drop),
                    _ => called(&mut stream),
                };
                if called.and_then(|()| stream.write_all(first)).is_ok() {
                    while stream.write_all(&again).is_ok() {}
                }
                counted.closed.fetch_add(1, SeqCst);
            });
        }
    });
    (address, connections)
}

/// Plays a server of HTTP/2 until the first call has come.
fn called(stream: &mut TcpStream) -> std::io::Result<()> {
    stream.read_exact(&mut [0; 24])?;
    stream.write_all(SETTINGS)?;
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head)?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        stream.read_exact(&mut vec![0; length as usize])?;
        // HEADERS.
        if head[3] == 1 {
            return Ok(());
        }
    }
}

/// Calls a participant that floods; checks the error, that others are called meanwhile, and that nothing is left open.
async fn check(protocol: v1::Protocol, first: &'static [u8], again: &[u8], error: &str) {
    let server = Server::start().await;
    let (address, connections) = flood(protocol, first, again);
    register(&server, &address, protocol).await;
    server.attach_agreeing(["healthy"]).await;
    let flooded = v1::Action {
        retry: Some(quick(1)),
        ..spend()
    };
    let flooded = server.hand_over([flooded]).await;
    let other = server.execute([tcc("healthy")]).await;
    assert_eq!(other.biz_status(), v1::BizStatus::Success);
    let tx = server
        .until(&flooded, |tx| !tx.actions[0].attempts.is_empty())
        .await;
    let attempts = &tx.actions[0].attempts;
    assert!(attempts[0].error.contains(error), "{attempts:?}");
    server
        .until(&flooded, |tx| tx.next_attempt_at_micros == 0)
        .await;
    until(|| connections.closed.load(SeqCst) == connections.accepted.load(SeqCst)).await;
}

#[tokio::test]
async fn informational_responses_without_end_are_not_awaited() {
    let http = b"HTTP/1.1 100 Continue\r\n\r\n";
    let error = "informational responses";
    check(v1::Protocol::Http, b"", http, error).await;
    check(v1::Protocol::Invoke, b"", CONTINUE, error).await;
}

#[tokio::test]
async fn a_body_without_end_holds_nothing_up() {
    let chunked = b"HTTP/1.1 500 Internal Server Error\r\ntransfer-encoding: chunked\r\n\r\n";
    check(v1::Protocol::Http, chunked, b"1\r\nx\r\n", "HTTP 500").await;
}

#[tokio::test]
async fn frames_without_end_hold_nothing_up_and_are_read_no_longer_than_the_call() {
    for (first, frame) in [(&[][..], SETTINGS), (&[], UNKNOWN), (OK, EMPTY_DATA)] {
        check(v1::Protocol::Invoke, first, frame, "").await;
    }
}
