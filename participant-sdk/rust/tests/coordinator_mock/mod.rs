//! A coordinator whose answers a test scripts, with network failures.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::large_enum_variant,
    reason = "each test uses some of it, and one value at a time"
)]

use std::{
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use futures::{Stream, StreamExt, stream};
use tercet_proto::v1::{
    self, SessionReplies, SessionReply, SessionRequest, SessionRequests,
    coordinator_server::{Coordinator, CoordinatorServer},
    session_reply::Reply,
    session_request,
};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status, Streaming, transport::Server};

/// The reaction to a request.
#[derive(Debug, Clone)]
pub enum Say {
    /// Answer it.
    Answer(Reply),
    /// Do not answer.
    Nothing,
    /// Break the stream.
    Break,
}

type Script = dyn Fn(usize, &session_request::Request) -> Say + Send + Sync;
type Replies = Pin<Box<dyn Stream<Item = Result<SessionReplies, Status>> + Send>>;
type States = Pin<Box<dyn Stream<Item = Result<v1::Transaction, Status>> + Send>>;

/// A running mock, which ends when it is dropped.
pub struct Mock {
    pub address: String,
    seen: Arc<Seen>,
    server: JoinHandle<()>,
}

#[derive(Default)]
struct Seen {
    streams: AtomicUsize,
    watches: AtomicUsize,
    messages: AtomicUsize,
    requests: Mutex<Vec<(usize, SessionRequest)>>,
}

#[derive(Clone)]
struct Service {
    seen: Arc<Seen>,
    script: Arc<Script>,
    watched: Arc<Vec<Vec<v1::Transaction>>>,
}

impl Mock {
    /// Starts a mock that answers by `script`, which gets the number of the stream, from 1, and the
    /// request.
    pub async fn start(
        script: impl Fn(usize, &session_request::Request) -> Say + Send + Sync + 'static,
    ) -> Self {
        Self::start_watched(script, Vec::new()).await
    }

    /// Starts a mock whose n-th Watch sends the n-th list of states, and then breaks.
    pub async fn start_watched(
        script: impl Fn(usize, &session_request::Request) -> Say + Send + Sync + 'static,
        watched: Vec<Vec<v1::Transaction>>,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address: SocketAddr = listener.local_addr().unwrap();
        let seen = Arc::new(Seen::default());
        let service = CoordinatorServer::new(Service {
            seen: Arc::clone(&seen),
            script: Arc::new(script),
            watched: Arc::new(watched),
        });
        let server = Server::builder().add_service(service);
        let serving = server.serve_with_incoming(TcpListenerStream::new(listener));
        Self {
            address: format!("http://{address}"),
            seen,
            server: tokio::spawn(async move { serving.await.unwrap() }),
        }
    }

    /// Returns every request so far, with the number of its stream.
    pub fn requests(&self) -> Vec<(usize, SessionRequest)> {
        self.seen.requests.lock().unwrap().clone()
    }

    /// Returns the number of messages of requests so far.
    pub fn messages(&self) -> usize {
        self.seen.messages.load(Ordering::SeqCst)
    }
}

impl Drop for Mock {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Service {
    fn replies(&self, stream: usize, message: SessionRequests) -> Result<SessionReplies, Status> {
        self.seen.messages.fetch_add(1, Ordering::SeqCst);
        let mut replies = Vec::new();
        for request in message.requests {
            self.seen
                .requests
                .lock()
                .unwrap()
                .push((stream, request.clone()));
            match (self.script)(stream, request.request.as_ref().unwrap()) {
                Say::Answer(reply) => replies.push(SessionReply {
                    id: request.id,
                    reply: Some(reply),
                }),
                Say::Nothing => {}
                Say::Break => return Err(Status::unavailable("the network's bad day")),
            }
        }
        Ok(SessionReplies { replies })
    }
}

#[tonic::async_trait]
impl Coordinator for Service {
    type WatchStream = States;
    type SessionStream = Replies;

    async fn session(
        &self,
        request: Request<Streaming<SessionRequests>>,
    ) -> Result<Response<Replies>, Status> {
        let number = self.seen.streams.fetch_add(1, Ordering::SeqCst) + 1;
        let service = self.clone();
        let replies = request
            .into_inner()
            .map(move |message| service.replies(number, message?));
        // A broken stream ends with its error.
        let replies = replies.scan(false, |broken, reply| {
            let over = std::mem::replace(broken, reply.is_err());
            futures::future::ready((!over).then_some(reply))
        });
        Ok(Response::new(Box::pin(replies)))
    }

    async fn watch(&self, _: Request<v1::WatchRequest>) -> Result<Response<States>, Status> {
        let number = self.seen.watches.fetch_add(1, Ordering::SeqCst);
        let states = self.watched.get(number).cloned().unwrap_or_default();
        let states = stream::iter(states).map(Ok);
        let broken = stream::iter([Err(Status::unavailable("the network's bad day"))]);
        Ok(Response::new(Box::pin(states.chain(broken))))
    }

    async fn begin(
        &self,
        _: Request<v1::BeginRequest>,
    ) -> Result<Response<v1::TransactionState>, Status> {
        Err(Status::unimplemented("the session is under test"))
    }

    async fn add_action(
        &self,
        _: Request<v1::AddActionRequest>,
    ) -> Result<Response<v1::TransactionState>, Status> {
        Err(Status::unimplemented("the session is under test"))
    }

    async fn decide(
        &self,
        _: Request<v1::DecideRequest>,
    ) -> Result<Response<v1::TransactionState>, Status> {
        Err(Status::unimplemented("the session is under test"))
    }

    async fn execute(
        &self,
        _: Request<v1::ExecuteRequest>,
    ) -> Result<Response<v1::TransactionState>, Status> {
        Err(Status::unimplemented("the session is under test"))
    }

    async fn get(&self, _: Request<v1::GetRequest>) -> Result<Response<v1::Transaction>, Status> {
        Err(Status::unimplemented("the session is under test"))
    }

    async fn list(&self, _: Request<v1::ListRequest>) -> Result<Response<v1::ListReply>, Status> {
        Err(Status::unimplemented("the session is under test"))
    }
}

/// Makes a state of a transaction.
pub fn state(
    tx_id: &str,
    status: v1::TxStatus,
    biz: v1::BizStatus,
    version: u32,
) -> v1::TransactionState {
    v1::TransactionState {
        tx_id: tx_id.to_owned(),
        status: status.into(),
        biz_status: biz.into(),
        version,
        ..v1::TransactionState::default()
    }
}

/// Returns the id of the transaction in a request.
pub fn id_of(request: &session_request::Request) -> &str {
    match request {
        session_request::Request::Execute(execute) => &execute.begin.as_ref().unwrap().tx_id,
        session_request::Request::Begin(begin) => &begin.tx_id,
        session_request::Request::Decide(decide) => &decide.tx_id,
        session_request::Request::AddAction(add) => &add.tx_id,
        session_request::Request::Get(get) => &get.tx_id,
        session_request::Request::Forget(_) => "",
    }
}

/// Answers that the transaction is committed.
pub fn committed(request: &session_request::Request) -> Say {
    let state = state(
        id_of(request),
        v1::TxStatus::Success,
        v1::BizStatus::Success,
        3,
    );
    Say::Answer(Reply::State(state))
}

/// Answers that the transaction runs.
pub fn running(request: &session_request::Request) -> Say {
    let state = state(
        id_of(request),
        v1::TxStatus::ProcessWaiting,
        v1::BizStatus::Init,
        1,
    );
    Say::Answer(Reply::State(state))
}
