//! Peers that do not read, or say nothing: what the coordinator keeps for them is bounded, and they are cut off.

#![allow(clippy::unwrap_used)]

use std::{
    fs::{self, File},
    path::PathBuf,
    process::Stdio,
    time::Duration,
};

use bytes::Bytes;
use futures::future::join_all;
use http::uri::PathAndQuery;
use tempfile::TempDir;
use tercet_sdk::proto::{
    self, attach_reply, attach_request, coordinator_client::CoordinatorClient,
    participants_client::ParticipantsClient, session_request::Request,
};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpStream,
    process::{Child, Command},
    sync::mpsc,
    time::{sleep, timeout},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Code, Status, Streaming,
    client::Grpc,
    transport::{Channel, Endpoint},
};
use tonic_prost::ProstCodec;

/// The longest wait for anything: what is cut off is so after 30 s at the latest.
const PATIENCE: Duration = Duration::from_mins(3);
/// The most memory that a coordinator may ever have had: what it needs for nothing, and its bounds.
const MEMORY_MIB: u64 = 600;
const CUT: &str = "a peer is cut off: its connection is closed";

/// A coordinator in a process of its own.
struct Coordinator {
    process: Child,
    address: String,
    folder: TempDir,
}

impl Coordinator {
    async fn start() -> Self {
        let folder = TempDir::with_prefix("tercet-unread-").unwrap();
        let log = File::create(folder.path().join("log")).unwrap();
        let mut process = Command::new(env!("CARGO_BIN_EXE_tercet"))
            .args(["serve", "--until-stdin-ends", "--listen", "127.0.0.1:0"])
            .arg("--database")
            .arg(folder.path().join("tercet.db"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let line = lines.next_line().await.unwrap().unwrap();
        let address = line.strip_prefix("listening on ").unwrap().to_owned();
        Self {
            process,
            address,
            folder,
        }
    }

    fn log(&self) -> String {
        let path: PathBuf = self.folder.path().join("log");
        fs::read_to_string(path).unwrap()
    }

    /// Returns the most memory that the process ever had, in MiB.
    fn most_memory(&self) -> u64 {
        let pid = self.process.id().unwrap();
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line = status
            .lines()
            .find(|line| line.starts_with("VmHWM:"))
            .unwrap();
        let kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
        kib / 1024
    }

    #[track_caller]
    fn assert_memory_is_bounded(&self, case: &str) {
        let memory = self.most_memory();
        println!("{case}: the most memory was {memory} MiB");
        assert!(memory < MEMORY_MIB, "{case}: {memory} MiB");
    }

    /// Waits until a peer was cut off, and returns the log line that says so.
    async fn cut(&self) -> String {
        let line = timeout(PATIENCE, async {
            loop {
                let log = self.log();
                if let Some(line) = log.lines().find(|line| line.contains(CUT)) {
                    return line.to_owned();
                }
                sleep(Duration::from_millis(50)).await;
            }
        });
        line.await.unwrap_or_else(|_| {
            let memory = self.most_memory();
            panic!("no peer was cut off; the most memory: {memory} MiB")
        })
    }

    /// Opens a connection of its own, with windows as small as HTTP/2 has by default.
    async fn connect(&self) -> Channel {
        Endpoint::from_shared(self.address.clone())
            .unwrap()
            .initial_stream_window_size(65_535)
            .initial_connection_window_size(65_535)
            .connect()
            .await
            .unwrap()
    }

    async fn client(&self) -> CoordinatorClient<Channel> {
        CoordinatorClient::new(self.connect().await)
    }

    /// Attaches a participant; its calls are read only where the test reads them.
    async fn attach(
        &self,
        participant: &str,
        concurrency: u32,
    ) -> (
        mpsc::Sender<proto::AttachRequest>,
        Streaming<proto::AttachReply>,
    ) {
        let (requests, messages) = mpsc::channel(16);
        let hello = proto::Hello {
            participant: participant.to_owned(),
            instance: format!("{participant}-1"),
            concurrency,
            handlers: vec![proto::Handler {
                name: "take".to_owned(),
                ..proto::Handler::default()
            }],
            ..proto::Hello::default()
        };
        let hello = attach_request::Message::Hello(hello);
        let message = Some(hello);
        requests
            .send(proto::AttachRequest { message })
            .await
            .unwrap();
        let mut client = ParticipantsClient::new(self.connect().await);
        let replies = client.attach(ReceiverStream::new(messages)).await.unwrap();
        let mut replies = replies.into_inner();
        let welcome = replies.message().await.unwrap().unwrap().message;
        assert!(matches!(welcome, Some(attach_reply::Message::Welcome(_))));
        (requests, replies)
    }

    /// Begins a transaction with this many actions of 64 KiB, which are never tried; returns its id.
    async fn begin_large(&self, actions: usize) -> String {
        drop(self.attach("points", 1).await);
        let actions = (0..actions).map(|place| action(&format!("a{place}"), 65_536));
        let request = proto::BeginRequest {
            business_type: "large".to_owned(),
            business_id: "1".to_owned(),
            timeout_ms: 600_000,
            actions: actions.collect(),
            ..proto::BeginRequest::default()
        };
        let state = self.client().await.begin(request).await.unwrap();
        state.into_inner().tx_id
    }

    /// Opens a session; its replies are not read.
    async fn session(
        &self,
    ) -> (
        mpsc::Sender<proto::SessionRequests>,
        Streaming<proto::SessionReplies>,
    ) {
        let (requests, messages) = mpsc::channel(4);
        let replies = self
            .client()
            .await
            .session(ReceiverStream::new(messages))
            .await;
        (requests, replies.unwrap().into_inner())
    }
}

fn action(name: &str, bytes: usize) -> proto::Action {
    proto::Action {
        name: name.to_owned(),
        mode: proto::Mode::Tcc.into(),
        participant: "points".to_owned(),
        handler: "take".to_owned(),
        payload: vec![b'p'; bytes].into(),
        ..proto::Action::default()
    }
}

fn get(tx_id: &str) -> proto::GetRequest {
    proto::GetRequest {
        tx_id: tx_id.to_owned(),
        ..proto::GetRequest::default()
    }
}

/// Makes a message of a session of these requests, numbered from `first`.
fn message(first: u64, requests: impl IntoIterator<Item = Request>) -> proto::SessionRequests {
    let requests = requests
        .into_iter()
        .zip(first..)
        .map(|(request, id)| proto::SessionRequest {
            id,
            request: Some(request),
        });
    proto::SessionRequests {
        requests: requests.collect(),
    }
}

async fn a_session_whose_reads_are_not_read() {
    let coordinator = Coordinator::start().await;
    let tx_id = coordinator.begin_large(64).await;
    let (requests, replies) = coordinator.session().await;
    for first in [0, 1_000] {
        let gets = (0..1_000).map(|_| Request::Get(get(&tx_id)));
        requests.send(message(first, gets)).await.unwrap();
    }
    let line = coordinator.cut().await;
    assert!(line.contains("a session"), "{line}");
    coordinator.assert_memory_is_bounded("a session whose reads are not read");
    drop(replies);
}

async fn a_session_whose_refusals_are_not_read() {
    let coordinator = Coordinator::start().await;
    let (requests, replies) = coordinator.session().await;
    let flood = tokio::spawn(async move {
        // Until the connection is closed.
        let invalid = || Request::Begin(proto::BeginRequest::default());
        while requests
            .send(message(0, (0..1_000).map(|_| invalid())))
            .await
            .is_ok()
        {}
    });
    let line = coordinator.cut().await;
    assert!(line.contains("a session"), "{line}");
    coordinator.assert_memory_is_bounded("a session whose refusals are not read");
    timeout(PATIENCE, flood)
        .await
        .expect("the flood ends")
        .unwrap();
    drop(replies);
}

async fn a_participant_that_stops_reading() {
    let coordinator = Coordinator::start().await;
    let (_requests, replies) = coordinator.attach("points", 1_000).await;
    let mut client = coordinator.client().await;
    let retry = proto::RetryPolicy {
        call_timeout_ms: 1_000,
        first_delay_ms: 100,
        ..proto::RetryPolicy::default()
    };
    for number in 0..10_000 {
        let action = proto::Action {
            retry: Some(retry),
            mode: proto::Mode::Compensate.into(),
            ..action("take", 65_536)
        };
        let begin = proto::BeginRequest {
            business_type: "unread".to_owned(),
            business_id: number.to_string(),
            timeout_ms: 1_500,
            actions: vec![action],
            ..proto::BeginRequest::default()
        };
        let request = proto::ExecuteRequest {
            begin: Some(begin),
            wait: proto::Wait::Accepted.into(),
        };
        client.execute(request).await.unwrap();
        if coordinator.log().contains(CUT) {
            break;
        }
    }
    let line = coordinator.cut().await;
    assert!(
        line.contains("participant points (instance points-1)"),
        "{line}"
    );
    coordinator.assert_memory_is_bounded("a participant that stops reading");
    drop(replies);
}

/// Asks for a transaction, and reads nothing but the head of the answer.
async fn unread_get(
    channel: Channel,
    tx_id: String,
) -> Result<Streaming<proto::Transaction>, Status> {
    let mut grpc = Grpc::new(channel);
    let ready = grpc.ready().await;
    ready.map_err(|error| Status::unavailable(error.to_string()))?;
    let codec = ProstCodec::<proto::GetRequest, proto::Transaction>::default();
    let request = tonic::Request::new(get(&tx_id));
    let path = PathAndQuery::from_static("/tercet.v1.Coordinator/Get");
    let answer = grpc.server_streaming(request, path, codec).await?;
    Ok(answer.into_inner())
}

async fn answers_to_single_requests_that_are_not_read() {
    let coordinator = Coordinator::start().await;
    let tx_id = coordinator.begin_large(64).await;
    let mut calls = Vec::new();
    for _ in 0..4 {
        let channel = coordinator.connect().await;
        for _ in 0..100 {
            let get = unread_get(channel.clone(), tx_id.clone());
            calls.push(tokio::spawn(get));
        }
    }
    let opened = tokio::spawn(join_all(calls));
    let line = coordinator.cut().await;
    assert!(line.contains("takes nothing"), "{line}");
    coordinator.assert_memory_is_bounded("answers to single requests that are not read");
    opened.abort();
}

async fn watches_that_are_not_read() {
    let coordinator = Coordinator::start().await;
    let tx_id = coordinator.begin_large(48).await;
    let mut calls = Vec::new();
    for _ in 0..5 {
        let client = coordinator.client().await;
        for _ in 0..100 {
            let (mut client, tx_id) = (client.clone(), tx_id.clone());
            calls.push(tokio::spawn(async move {
                client.watch(proto::WatchRequest { tx_id }).await
            }));
        }
    }
    let opened = tokio::spawn(join_all(calls));
    let line = coordinator.cut().await;
    assert!(line.contains("takes nothing"), "{line}");
    coordinator.assert_memory_is_bounded("watches that are not read");
    opened.abort();
}

async fn connections_that_say_nothing_are_closed() {
    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    let coordinator = Coordinator::start().await;
    let address = coordinator.address.strip_prefix("http://").unwrap();
    let said = [&b""[..], &PREFACE[..10], PREFACE];
    let closed = said.map(|bytes| async move {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        let mut heard = Vec::new();
        // An end and a reset are both a closed connection.
        timeout(PATIENCE, stream.read_to_end(&mut heard))
            .await
            .map(drop)
    });
    for (closed, bytes) in join_all(closed).await.into_iter().zip(said) {
        let bytes = String::from_utf8_lossy(bytes);
        assert!(closed.is_ok(), "still open after {bytes:?}");
    }
}

/// Two bytes on the wire make hundreds in memory, if they are decoded.
#[tokio::test]
async fn messages_of_empty_elements_take_no_memory() {
    let coordinator = Coordinator::start().await;
    let actions = Bytes::from(b"\x32\x00".repeat(4_000_000));
    let calls = (0..4).map(|_| {
        let actions = actions.clone();
        async {
            let mut grpc = Grpc::new(coordinator.connect().await);
            grpc.ready().await.unwrap();
            // Bytes are encoded as the first field of a message: the begin of an Execute.
            let codec = ProstCodec::<Bytes, proto::TransactionState>::default();
            let path = PathAndQuery::from_static("/tercet.v1.Coordinator/Execute");
            let answer = grpc.unary(tonic::Request::new(actions), path, codec);
            timeout(PATIENCE, answer).await.unwrap().unwrap_err()
        }
    });
    for status in join_all(calls).await {
        assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
        assert!(status.message().contains("begin.actions"), "{status:?}");
    }
    coordinator.assert_memory_is_bounded("messages of empty elements");
}

/// Side by side, for each waits for the time-outs.
#[tokio::test(flavor = "multi_thread")]
async fn peers_that_do_not_read_or_say_nothing_are_cut_off() {
    tokio::join!(
        a_session_whose_reads_are_not_read(),
        a_session_whose_refusals_are_not_read(),
        a_participant_that_stops_reading(),
        answers_to_single_requests_that_are_not_read(),
        watches_that_are_not_read(),
        connections_that_say_nothing_are_closed(),
    );
}
