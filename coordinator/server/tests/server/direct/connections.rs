//! Connections to registered addresses that close, are dead, or are made in vain.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use tercet_proto::v1;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpSocket, TcpStream},
};

use super::{register, run, scripted::Scripted, spend};
use crate::harness::{Server, action, asking_back, done, execute, quick, result};

/// An empty SETTINGS frame.
const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];
/// A GOAWAY whose last stream is 0: none was taken.
const GOAWAY: [u8; 17] = [0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
/// The type of the frame with which a call begins.
const HEADERS: u8 = 1;

/// The way in which a connection fails.
#[derive(Clone, Copy, Debug)]
enum Fails {
    /// It closes without having taken the call.
    GoesAway,
    /// It resets the call without having taken it.
    Refuses,
    /// It takes everything and answers nothing.
    Hangs,
    /// It is not even a server: it never says a word.
    IsSilent,
    /// It breaks off after the call has come.
    Breaks,
}

/// A port in front of a participant, whose first connections fail.
struct Front {
    address: String,
    connections: Arc<AtomicUsize>,
}

impl Front {
    async fn of(participant: &Scripted, fails: Fails, how_many: usize) -> Self {
        let behind = participant.serve().await.replace("http://", "");
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&connections);
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let number = counted.fetch_add(1, SeqCst);
                let behind = behind.clone();
                tokio::spawn(async move {
                    if number < how_many {
                        let _ = fail(&mut stream, fails).await;
                        return;
                    }
                    let mut to = TcpStream::connect(behind).await.unwrap();
                    let _ = copy_bidirectional(&mut stream, &mut to).await;
                });
            }
        });
        Self {
            address,
            connections,
        }
    }
}

/// Plays a server of HTTP/2, which fails at the first call, or at each.
async fn fail(stream: &mut TcpStream, fails: Fails) -> std::io::Result<()> {
    let mut preface = [0; 24];
    stream.read_exact(&mut preface).await?;
    if matches!(fails, Fails::IsSilent) {
        let mut rest = Vec::new();
        return stream.read_to_end(&mut rest).await.map(drop);
    }
    stream.write_all(&SETTINGS).await?;
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await?;
        let [_, a, b, kind, _, id @ ..] = head;
        let length = u32::from_be_bytes([0, head[0], a, b]);
        let mut payload = vec![0; length as usize];
        stream.read_exact(&mut payload).await?;
        match fails {
            _ if kind != HEADERS => {}
            Fails::GoesAway => stream.write_all(&GOAWAY).await?,
            Fails::Refuses => {
                // RST_STREAM with REFUSED_STREAM.
                let reset = [&[0, 0, 4, 3, 0], &id[..], &[0, 0, 0, 7]].concat();
                stream.write_all(&reset).await?;
            }
            Fails::Breaks => return Ok(()),
            Fails::Hangs | Fails::IsSilent => {}
        }
    }
}

fn agreeing() -> Scripted {
    Scripted::new(|_, call| Ok(result(call, done(b""))))
}

#[tokio::test]
async fn a_call_leaves_again_at_once_when_its_connection_closes_before_it_takes_it() {
    let server = Server::start().await;
    let shop = agreeing();
    let front = Front::of(&shop, Fails::GoesAway, 2).await;
    register(&server, &front.address, v1::Protocol::Invoke).await;
    let tx = run(&server, spend()).await;
    assert_eq!(tx.biz_status(), v1::BizStatus::Success);
    assert!(
        tx.actions[0].attempts.is_empty(),
        "{:?}",
        tx.actions[0].attempts
    );
    assert_eq!(shop.calls.lock().unwrap()[0].1.attempt, 1);
    assert_eq!(front.connections.load(SeqCst), 3);
}

#[tokio::test]
async fn a_call_that_was_refused_before_it_was_taken_is_no_attempt() {
    let server = Server::start().await;
    let shop = agreeing();
    let front = Front::of(&shop, Fails::Refuses, usize::MAX).await;
    register(&server, &front.address, v1::Protocol::Invoke).await;
    let mut request = execute([spend()], v1::Wait::Completed);
    request.begin.as_mut().unwrap().timeout_ms = 2_000;
    let state = server.carry_out(request).await;
    // Nothing was ever taken, so nothing has to be cancelled.
    assert_eq!(state.status(), v1::TxStatus::Success);
    assert_eq!(state.actions[0].status(), v1::ActionStatus::Cancelled);
    let tx = server.get(&state.tx_id).await;
    for attempt in &tx.actions[0].attempts {
        assert_eq!(attempt.outcome, "UNREACHABLE", "{attempt:?}");
        assert_eq!(attempt.number, 1, "{attempt:?}");
    }
    assert!(!tx.actions[0].attempts.is_empty());
}

#[tokio::test]
async fn a_call_whose_connection_breaks_may_have_been_taken() {
    let server = Server::start().await;
    let shop = agreeing();
    let front = Front::of(&shop, Fails::Breaks, 1).await;
    register(&server, &front.address, v1::Protocol::Invoke).await;
    let tx = run(&server, spend()).await;
    assert_eq!(tx.biz_status(), v1::BizStatus::Success);
    let [attempt] = tx.actions[0].attempts.as_slice() else {
        panic!("{:?}", tx.actions[0].attempts)
    };
    assert_eq!(attempt.outcome, "UNKNOWN");
    assert_eq!(shop.calls.lock().unwrap()[0].1.attempt, 2);
}

#[tokio::test]
async fn a_dead_connection_is_replaced_after_the_call_that_timed_out() {
    for (fails, outcome) in [(Fails::Hangs, "UNKNOWN"), (Fails::IsSilent, "UNREACHABLE")] {
        let server = Server::start().await;
        let shop = agreeing();
        let front = Front::of(&shop, fails, 1).await;
        register(&server, &front.address, v1::Protocol::Invoke).await;
        let quickly = v1::Action {
            retry: Some(v1::RetryPolicy {
                call_timeout_ms: 1_000,
                ..quick(5)
            }),
            ..spend()
        };
        let tx = run(&server, quickly).await;
        assert_eq!(tx.biz_status(), v1::BizStatus::Success);
        let attempts = &tx.actions[0].attempts;
        assert_eq!(attempts.len(), 1, "{attempts:?}");
        assert_eq!(attempts[0].outcome, outcome);
        assert_eq!(front.connections.load(SeqCst), 2);
    }
}

/// A call that takes long says nothing against a connection on which others are answered.
#[tokio::test]
async fn a_connection_on_which_answers_come_is_kept() {
    let server = Server::start().await;
    let shop = agreeing();
    let front = Front::of(&shop, Fails::Hangs, 0).await;
    register(&server, &front.address, v1::Protocol::Invoke).await;
    for _ in 0..3 {
        run(&server, spend()).await;
    }
    assert_eq!(front.connections.load(SeqCst), 1);
}

/// A server that takes one call at a time lets the others wait on the connection.
#[tokio::test]
async fn calls_beyond_what_a_server_takes_at_once_wait_and_are_made() {
    let server = Server::start().await;
    let shop = agreeing().slow(Duration::from_millis(30)).at_once(1);
    register(&server, &shop.serve().await, v1::Protocol::Invoke).await;
    let actions = ["a", "b", "c"].map(|name| action(name, "shop"));
    let state = server.execute(actions).await;
    assert_eq!(state.biz_status(), v1::BizStatus::Success);
    for action in server.get(&state.tx_id).await.actions {
        assert!(action.attempts.is_empty(), "{:?}", action.attempts);
    }
}

/// Returns a port that refuses connections until the socket listens, and is held meanwhile.
fn closed_port() -> (TcpSocket, String) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = format!("http://{}", socket.local_addr().unwrap());
    (socket, address)
}

#[tokio::test]
async fn a_participant_whose_port_opens_late_loses_no_attempt() {
    for protocol in [v1::Protocol::Http, v1::Protocol::Invoke] {
        let server = Server::start().await;
        let (_closed, address) = closed_port();
        register(&server, &address, protocol).await;
        let tx_id = server.hand_over([spend()]).await;
        let refused_again = |tx: &v1::Transaction| {
            let attempts = &tx.actions[0].attempts;
            attempts.len() > 1 && attempts[1].at_micros > attempts[0].at_micros
        };
        let tx = server.until(&tx_id, refused_again).await;
        for attempt in &tx.actions[0].attempts {
            assert_eq!(attempt.outcome, "UNREACHABLE", "{protocol:?}: {attempt:?}");
        }
    }
}

/// What waits for an address that is down says so, where it is the probe and where it is not, and goes on when it is up.
#[tokio::test]
async fn an_address_that_is_down_is_named_and_called_again_when_its_port_opens() {
    let server = Server::start().await;
    let shop = agreeing();
    let (port, address) = closed_port();
    register(&server, &address, v1::Protocol::Invoke).await;
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(server.hand_over([spend()]).await);
    }
    let words = format!("Participant shop has taken no call at {address} for ");
    for id in &ids {
        let tx = server
            .until(id, |tx| {
                tx.obstacles
                    .iter()
                    .any(|obstacle| obstacle.starts_with(&words))
            })
            .await;
        assert_eq!(tx.waiting_for, "shop");
    }
    let mut client = server.coordinator();
    let listed = client.list(v1::ListRequest::default());
    for tx in listed.await.unwrap().into_inner().transactions {
        let obstacle = &tx.obstacles[0];
        assert!(obstacle.starts_with(&words), "{obstacle}");
        let obstacle = obstacle.to_lowercase();
        assert!(obstacle.contains("connection refused"), "{obstacle}");
    }
    shop.serve_on(port.listen(64).unwrap());
    for id in &ids {
        let tx = server.until_status(id, v1::TxStatus::Success).await;
        assert_eq!(tx.biz_status(), v1::BizStatus::Success);
        assert!(tx.obstacles.is_empty());
    }
}

/// A check-back that is allowed one question loses it to no closed port.
#[tokio::test]
async fn a_question_that_finds_no_connection_is_none() {
    let server = Server::start().await;
    let (port, address) = closed_port();
    register(&server, &address, v1::Protocol::Invoke).await;
    let mut begin = asking_back("shop");
    begin.timeout_ms = 100;
    begin.check_back.as_mut().unwrap().max_attempts = 1;
    let tx_id = server.begin(begin).await.tx_id;
    let is_down = |tx: &v1::Transaction| {
        let mut obstacles = tx.obstacles.iter();
        obstacles.any(|obstacle| obstacle.contains("has taken no call"))
    };
    let tx = server.until(&tx_id, is_down).await;
    assert_eq!(tx.biz_status(), v1::BizStatus::Unknown);
    let asked = &tx.obstacles[0];
    assert!(asked.contains("; shop could not be asked yet. "), "{asked}");
    let mut client = server.coordinator();
    let listed = client.list(v1::ListRequest::default()).await.unwrap();
    let listed = &listed.into_inner().transactions[0].obstacles[0];
    let words = "shop could not be asked yet. Participant shop has taken no call at ";
    assert!(listed.starts_with(words), "{listed}");
    for part in [&address, " for ", "onnection refused"] {
        assert!(listed.contains(part), "{part} is not in: {listed}");
    }
    agreeing().serve_on(port.listen(64).unwrap());
    let tx = server
        .until(&tx_id, |tx| tx.biz_status() != v1::BizStatus::Unknown)
        .await;
    let cause = tx.cause.unwrap().reason;
    assert_eq!(cause, "the initiator answered FAILURE");
}
