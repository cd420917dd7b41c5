//! Callers that never stop sending: frames without end, requests that are taken back, messages that do not end.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{Shutdown, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    thread,
    time::Duration,
};

use bytes::Bytes;
use h2::client::SendRequest;
use http::Request;
use tercet_proto::v1::{self, session_reply, session_request};
use tercet_server::bounds;
use tokio::time::timeout;
use tonic::Status;

use crate::harness::{Fault, PATIENCE, Server, Session, action, begin, refusal, tcc, until};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Types of frames (RFC 9113, 6).
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
/// A type that does not exist, and has to be ignored.
const UNKNOWN: u8 = 0xfe;

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let head = [length[1], length[2], length[3], kind, flags];
    [&head[..], &stream.to_be_bytes(), payload].concat()
}

/// Writes a field without an index and without Huffman's code.
fn field(name: &str, value: &str) -> Vec<u8> {
    let length = |text: &str| u8::try_from(text.len()).unwrap();
    let (name_length, value_length) = (length(name), length(value));
    let (name, value) = (name.as_bytes(), value.as_bytes());
    [&[0, name_length], name, &[value_length], value].concat()
}

/// Writes the fields of a call of this method.
fn fields(path: &str) -> Vec<u8> {
    [
        field(":method", "POST"),
        field(":scheme", "http"),
        field(":path", path),
        field(":authority", "tercet"),
        field("content-type", "application/grpc"),
        field("te", "trailers"),
    ]
    .concat()
}

fn session(stream: u32) -> Vec<u8> {
    let fields = fields("/tercet.v1.Coordinator/Session");
    frame(HEADERS, END_HEADERS, stream, &fields)
}

/// A connection that sends without end, and reads what comes.
struct Flood {
    stream: TcpStream,
    sent: Arc<AtomicUsize>,
    closed: Arc<AtomicBool>,
}

impl Flood {
    /// Sends `first`, and then what `next` makes, for ever.
    fn start(
        server: &Server,
        first: &[u8],
        mut next: impl FnMut() -> Vec<u8> + Send + 'static,
    ) -> Self {
        let address = server.address.strip_prefix("http://").unwrap();
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(first).unwrap();
        let (sent, closed) = (Arc::<AtomicUsize>::default(), Arc::<AtomicBool>::default());
        let mut writing = stream.try_clone().unwrap();
        let counted = Arc::clone(&sent);
        thread::spawn(move || {
            loop {
                let bytes = next();
                if writing.write_all(&bytes).is_err() {
                    return;
                }
                counted.fetch_add(bytes.len(), SeqCst);
            }
        });
        let mut reading = stream.try_clone().unwrap();
        let noted = Arc::clone(&closed);
        thread::spawn(move || {
            let mut bytes = vec![0; 64 * 1024];
            loop {
                match reading.read(&mut bytes) {
                    Ok(0) => break,
                    Err(error) if error.kind() != ErrorKind::Interrupted => break,
                    _ => {}
                }
            }
            noted.store(true, SeqCst);
        });
        Self {
            stream,
            sent,
            closed,
        }
    }

    fn sent(&self) -> usize {
        self.sent.load(SeqCst)
    }

    fn is_closed(&self) -> bool {
        self.closed.load(SeqCst)
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        // Ends both threads; it may be closed already.
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}

/// Frames that are sent without end.
struct Case {
    name: &'static str,
    /// Sent once, after the preface and empty settings.
    first: Vec<u8>,
    again: Vec<u8>,
    /// Whether the connection is closed for it; otherwise each frame is worked off as it comes, and nothing is kept.
    closes: bool,
}

fn cases() -> Vec<Case> {
    let case = |name, first, again, closes| Case {
        name,
        first,
        again,
        closes,
    };
    let field_of_1_kib = [&[0, 1, b'x', 0x7f, 0x81, 0x07][..], &[b'y'; 1_024][..]].concat();
    let begun_headers = frame(HEADERS, 0, 1, &fields("/tercet.v1.Coordinator/Begin"));
    let large_field = frame(CONTINUATION, 0, 1, &field_of_1_kib);
    let one_more_byte = frame(WINDOW_UPDATE, 0, 0, &1_u32.to_be_bytes());
    let much_more = frame(WINDOW_UPDATE, 0, 0, &0x7fff_ffff_u32.to_be_bytes());
    vec![
        case("PING", vec![], frame(PING, 0, 0, &[7; 8]), false),
        case("SETTINGS", vec![], frame(SETTINGS, 0, 0, &[]), false),
        case("WINDOW_UPDATE of 1", vec![], one_more_byte, false),
        case("WINDOW_UPDATE of much", vec![], much_more, true),
        case("unknown", vec![], frame(UNKNOWN, 0, 0, &[]), false),
        case("empty DATA", session(1), frame(DATA, 0, 1, &[]), true),
        // Messages without content.
        case("DATA of 1", session(1), frame(DATA, 0, 1, &[0]), false),
        case(
            "empty CONTINUATION",
            begun_headers.clone(),
            frame(CONTINUATION, 0, 1, &[]),
            true,
        ),
        case("endless headers", begun_headers, large_field, true),
    ]
}

/// Executes some transactions, one after the other, while others flood.
async fn is_served(server: &Server) {
    for _ in 0..3 {
        let executed = timeout(PATIENCE, server.execute([tcc("healthy")])).await;
        let state = executed.expect("another client is answered");
        assert_eq!(state.biz_status(), v1::BizStatus::Success);
    }
}

#[tokio::test]
async fn frames_without_end_hold_up_no_other_client() {
    let server = Server::start().await;
    server.attach_agreeing(["healthy"]).await;
    for case in cases() {
        let first = [PREFACE, &frame(SETTINGS, 0, 0, &[]), &case.first].concat();
        let again = case.again.repeat(1_000);
        let floods: Vec<_> = (0..2)
            .map(|_| {
                let again = again.clone();
                Flood::start(&server, &first, move || again.clone())
            })
            .collect();
        // It floods indeed before others are tried.
        until(|| {
            floods
                .iter()
                .all(|it| it.is_closed() || it.sent() > 1024 * 1024)
        })
        .await;
        is_served(&server).await;
        if case.closes {
            until(|| floods.iter().all(Flood::is_closed)).await;
        } else {
            let open = floods.iter().all(|flood| !flood.is_closed());
            assert!(open, "{} closes the connection", case.name);
        }
    }
}

/// Each request begins and is taken back at once: it counts as open until then, and never for ever.
#[tokio::test]
async fn requests_that_are_taken_back_at_once_hold_up_no_other_client() {
    let server = Server::start().await;
    server.attach_agreeing(["healthy"]).await;
    let first = [PREFACE, &frame(SETTINGS, 0, 0, &[])].concat();
    let mut stream = 1;
    let floods = [
        Flood::start(&server, &first, move || {
            let mut bytes = Vec::new();
            for _ in 0..100 {
                bytes.extend(session(stream));
                bytes.extend(frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes()));
                stream += 2;
            }
            bytes
        }),
        // More at once than are accepted: each further one is refused.
        Flood::start(&server, &first, move || {
            let bytes = (0..100).map(|place| session(stream + 2 * place));
            let bytes = bytes.flatten().collect();
            stream += 200;
            bytes
        }),
    ];
    is_served(&server).await;
    until(|| floods.iter().all(Flood::is_closed)).await;
    is_served(&server).await;
}

/// Bodies that end before their messages begin, for ever, over one connection: each is answered.
#[tokio::test]
async fn requests_without_end_hold_up_no_other_client() {
    let server = Server::start().await;
    server.attach_agreeing(["healthy"]).await;
    let first = [PREFACE, &frame(SETTINGS, 0, 0, &[])].concat();
    let mut stream = 1;
    let flood = Flood::start(&server, &first, move || {
        let fields = fields("/tercet.v1.Coordinator/None");
        let bytes = frame(HEADERS, END_HEADERS | END_STREAM, stream, &fields);
        stream += 2;
        bytes
    });
    until(|| flood.is_closed() || flood.sent() > 100_000).await;
    is_served(&server).await;
}

#[tokio::test]
async fn a_preface_that_comes_byte_by_byte_holds_up_no_other_client() {
    let server = Server::start().await;
    server.attach_agreeing(["healthy"]).await;
    let address = server.address.strip_prefix("http://").unwrap();
    let mut slow: Vec<_> = (0..100)
        .map(|_| TcpStream::connect(address).unwrap())
        .collect();
    for byte in &PREFACE[..4] {
        for stream in &mut slow {
            stream.write_all(&[*byte]).unwrap();
        }
        is_served(&server).await;
    }
}

/// Opens a connection; returns it, and the bytes that may be sent ahead on one of its streams.
fn with_window(server: &Server) -> (TcpStream, u32) {
    let address = server.address.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let hello = [PREFACE, &frame(SETTINGS, 0, 0, &[])].concat();
    stream.write_all(&hello).unwrap();
    let mut head = [0; 9];
    stream.read_exact(&mut head).unwrap();
    assert_eq!(head[3], SETTINGS);
    let mut settings = vec![0; usize::from(head[2])];
    stream.read_exact(&mut settings).unwrap();
    // SETTINGS_INITIAL_WINDOW_SIZE, or what it is without.
    let window = settings.chunks(6).find(|setting| setting[..2] == [0, 4]);
    let window = window.map(|setting| u32::from_be_bytes(setting[2..].try_into().unwrap()));
    (stream, window.unwrap_or(65_535))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_be_sent_ahead_shrinks_with_the_number_of_connections() {
    let server = Server::start().await;
    let mut open: Vec<_> = (0..120).map(|_| with_window(&server)).collect();
    assert_eq!(open[0].1, bounds::STREAM_WINDOW);
    assert_eq!(open[119].1, bounds::CONNECTION_WINDOW_MIN);
    open.clear();
    // They are given back once the server has seen the ends.
    until(|| with_window(&server).1 == bounds::STREAM_WINDOW).await;
}

/// A connection of HTTP/2 on which each stream may be sent as much as the server takes.
async fn connected(server: &Server) -> SendRequest<Bytes> {
    let address = server.address.strip_prefix("http://").unwrap();
    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let (sender, connection) = h2::client::handshake(stream).await.unwrap();
    // Ends with the sender and its streams.
    tokio::spawn(connection);
    sender.ready().await.unwrap()
}

fn request() -> Request<()> {
    Request::post("http://tercet/tercet.v1.Coordinator/Begin")
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(())
        .unwrap()
}

/// Returns the beginning of the longest message, up to the content of its only field, and the bytes of that.
fn long_message() -> (Bytes, usize) {
    let content = bounds::MESSAGE_BYTES - 5;
    let mut head = vec![0];
    head.extend(u32::try_from(bounds::MESSAGE_BYTES).unwrap().to_be_bytes());
    head.push(0x0a);
    prost::encoding::encode_varint(content.try_into().unwrap(), &mut head);
    assert_eq!(head.len() + content, 5 + bounds::MESSAGE_BYTES);
    (head.into(), content)
}

/// Sends messages that never end, each as far as the server takes it; returns the bytes that were sent once it takes no
/// more for a while.
async fn send_unended(
    sender: &mut SendRequest<Bytes>,
    messages: usize,
) -> (usize, Vec<h2::SendStream<Bytes>>) {
    let (mut sent, mut streams) = (0, Vec::new());
    for _ in 0..messages {
        let (_, mut stream) = sender.send_request(request(), false).unwrap();
        let (head, body) = long_message();
        stream.send_data(head, false).unwrap();
        let mut left = body - 1;
        while left > 0 {
            stream.reserve_capacity(left.min(64 * 1024));
            let capacity = std::future::poll_fn(|cx| stream.poll_capacity(cx));
            let capacity = timeout(Duration::from_secs(2), capacity).await;
            let Ok(Some(Ok(capacity))) = capacity else {
                break;
            };
            let bytes = capacity.min(left);
            stream.send_data(vec![7; bytes].into(), false).unwrap();
            sent += bytes;
            left -= bytes;
        }
        streams.push(stream);
    }
    (sent, streams)
}

#[tokio::test]
async fn messages_that_do_not_end_are_read_up_to_a_bound() {
    let server = Server::start().await;
    server.attach_agreeing(["healthy"]).await;
    let mut sender = connected(&server).await;
    let (sent, streams) = send_unended(&mut sender, 6).await;
    // One more message goes on, and what the client may send ahead is not read.
    let ahead = usize::try_from(bounds::CONNECTION_WINDOW).unwrap();
    let most = bounds::REQUEST_CONNECTION_BYTES + bounds::MESSAGE_BYTES + ahead;
    assert!(sent <= most, "{sent} bytes were taken");
    assert!(
        sent >= bounds::REQUEST_CONNECTION_BYTES,
        "{sent} bytes were taken"
    );
    is_served(&server).await;

    // A message that ends, or is taken back, gives its bytes back, and others go on.
    drop(streams);
    let (sent, _streams) = send_unended(&mut sender, 3).await;
    assert_eq!(sent, 3 * (long_message().1 - 1));
    is_served(&server).await;
}

/// More messages at once than there is room for: what the client has sent ahead of those that wait keeps the others on
/// its connection from going on, until the ones that wait are refused.
#[tokio::test]
async fn messages_that_come_side_by_side_without_room_are_all_answered() {
    let server = Server::start().await;
    let sender = connected(&server).await;
    let calls = (0..12).map(|_| {
        let mut sender = sender.clone();
        async move {
            let (head, body) = long_message();
            let (answer, mut stream) = sender.send_request(request(), false).unwrap();
            stream.send_data(head, false).unwrap();
            let mut left = body;
            // Refused before its end, it takes no more.
            while left > 0 {
                stream.reserve_capacity(left.min(16 * 1024));
                let capacity = std::future::poll_fn(|cx| stream.poll_capacity(cx)).await;
                let Some(Ok(capacity)) = capacity else { break };
                let bytes = capacity.min(left);
                left -= bytes;
                let sent = stream.send_data(vec![b'x'; bytes].into(), left == 0);
                if sent.is_err() {
                    break;
                }
            }
            let answer = answer.await.unwrap();
            let status = Status::from_header_map(answer.headers()).unwrap();
            refusal::<()>(Err(status))
        }
    });
    let answers = timeout(PATIENCE, futures::future::join_all(calls)).await;
    let answers = answers.expect("every message is answered");
    let overloaded = answers.iter().filter(|answer| *answer == "OVERLOADED");
    assert!(overloaded.count() > 0, "{answers:?}");
    let read = answers.iter().filter(|answer| answer.contains("tx_id"));
    assert!(read.count() > 0, "{answers:?}");
}

/// While the database does not answer, requests wait for its writes: no more of them than memory has room for.
#[tokio::test]
async fn requests_that_wait_for_a_database_that_hangs_are_bounded_in_bytes() {
    const TRANSACTIONS: u64 = 8;
    const ADDED: u64 = 60;
    let patience = Duration::from_mins(5);
    let (server, database) = Server::faulty(|config| {
        config.engine.memory = 16 * 1024 * 1024;
        config.lane.patience = patience;
    })
    .await;
    server.attach_agreeing(["healthy"]).await;
    let mut begun = Vec::new();
    for _ in 0..TRANSACTIONS {
        begun.push(server.begin(begin([])).await.tx_id);
    }
    database.set(Some(Fault::Hangs));
    let mut sessions = Vec::new();
    for tx_id in &begun {
        let session = Session::open(&server).await;
        let add = |number: u64| {
            let action = v1::Action {
                payload: vec![7; 60_000].into(),
                ..action(&format!("a{number}"), "healthy")
            };
            let add = v1::AddActionRequest {
                tx_id: tx_id.clone(),
                action: Some(action),
            };
            (number, session_request::Request::AddAction(add))
        };
        session.send((0..ADDED).map(add)).await;
        sessions.push(session);
    }
    // The last has no room at all, and of all together as many have some as fit.
    let refused = sessions.last_mut().unwrap().replies(1).await;
    for reply in refused.values() {
        let session_reply::Reply::Error(error) = reply else {
            panic!("{reply:?}")
        };
        assert_eq!(error.reason, "OVERLOADED");
    }

    database.set(None);
    let all = usize::try_from(ADDED).unwrap();
    let last = sessions.len() - 1;
    // Together: a session whose replies are left unread for long is cut off.
    let replies = sessions.iter_mut().enumerate().map(|(place, session)| {
        let already = if place == last { refused.len() } else { 0 };
        session.replies(all - already)
    });
    let replies = futures::future::join_all(replies).await;
    let states = replies.iter().flat_map(|replies| replies.values());
    let accepted = states
        .filter(|reply| matches!(reply, session_reply::Reply::State(_)))
        .count();
    let room = 16 * 1024 * 1024 / 8 * 9 / 60_000;
    assert!(accepted <= room, "{accepted} of {room} are accepted");
    assert!(accepted > 0);
    // All of it is given back.
    for tx_id in begun {
        let decide = v1::DecideRequest {
            tx_id,
            outcome: v1::Outcome::Failure.into(),
            ..v1::DecideRequest::default()
        };
        server.coordinator().decide(decide).await.unwrap();
    }
    is_served(&server).await;
}
