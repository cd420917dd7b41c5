//! A server in this process on a free port and a database of its own, and participants without the SDK.

use std::{sync::Arc, time::Duration};

use tercet_proto::v1::{
    self, attach_reply::Message as FromServer, attach_request::Message as ToServer,
    coordinator_client::CoordinatorClient, operator_client::OperatorClient,
    participants_client::ParticipantsClient, result::Outcome,
};
use tercet_server::{Config, ServeError, serve};
use tercet_store::SqliteStore;
use tokio::{
    net::TcpListener,
    sync::{mpsc, oneshot},
    task::JoinHandle,
    time::timeout,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming, transport::Channel};
use tonic_types::StatusExt;

/// How long anything may take before a test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A server that runs.
pub(crate) struct Server {
    pub(crate) address: String,
    pub(crate) store: Arc<SqliteStore>,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<Result<(), ServeError>>,
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::with(|_| {}).await
    }

    pub(crate) async fn with(configure: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::default();
        configure(&mut config);
        let store = Arc::new(SqliteStore::temporary().await.unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let (stop, stopped) = oneshot::channel::<()>();
        let shared: Arc<dyn tercet_store::Store> = Arc::<SqliteStore>::clone(&store);
        let task = tokio::spawn(serve(listener, shared, config, async {
            let _ = stopped.await;
        }));
        Self {
            address,
            store,
            stop: Some(stop),
            task,
        }
    }

    pub(crate) fn channel(&self) -> Channel {
        Channel::from_shared(self.address.clone())
            .unwrap()
            .connect_lazy()
    }

    pub(crate) fn coordinator(&self) -> CoordinatorClient<Channel> {
        CoordinatorClient::new(self.channel())
    }

    pub(crate) fn operator(&self) -> OperatorClient<Channel> {
        OperatorClient::new(self.channel())
    }

    pub(crate) fn participants(&self) -> ParticipantsClient<Channel> {
        ParticipantsClient::new(self.channel())
    }

    /// Tells the server to stop, and goes on.
    pub(crate) fn stop(&mut self) {
        let _ = self.stop.take().unwrap().send(());
    }

    /// Waits until the server has ended.
    pub(crate) async fn ended(self) -> Result<(), ServeError> {
        timeout(PATIENCE, self.task).await.unwrap().unwrap()
    }

    /// Reads until what is read is as wanted.
    pub(crate) async fn until(
        &self,
        tx_id: &str,
        wanted: impl Fn(&v1::Transaction) -> bool,
    ) -> v1::Transaction {
        let mut client = self.coordinator();
        let mut last = None;
        let found = timeout(PATIENCE, async {
            loop {
                let message = v1::GetRequest {
                    tx_id: tx_id.to_owned(),
                    ..v1::GetRequest::default()
                };
                let tx = client.get(message).await.unwrap().into_inner();
                if wanted(&tx) {
                    return tx;
                }
                last = Some(tx);
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await;
        found.unwrap_or_else(|_| panic!("it did not come to what was wanted: {last:?}"))
    }
}

/// A participant on a raw stream.
pub(crate) struct Attached {
    pub(crate) send: mpsc::Sender<v1::AttachRequest>,
    pub(crate) replies: Streaming<v1::AttachReply>,
    pub(crate) epoch: u64,
    waiting: Vec<v1::Call>,
}

pub(crate) fn hello(participant: &str, concurrency: u32) -> v1::AttachRequest {
    v1::AttachRequest {
        message: Some(ToServer::Hello(v1::Hello {
            participant: participant.to_owned(),
            instance: "test".to_owned(),
            concurrency,
            handlers: Vec::new(),
            answers_check_back: true,
        })),
    }
}

/// Opens a stream with this first message.
pub(crate) async fn open(
    server: &Server,
    first: v1::AttachRequest,
) -> (
    mpsc::Sender<v1::AttachRequest>,
    Result<Streaming<v1::AttachReply>, Status>,
) {
    let (send, messages) = mpsc::channel(16);
    send.send(first).await.unwrap();
    let reply = server
        .participants()
        .attach(ReceiverStream::new(messages))
        .await;
    (send, reply.map(tonic::Response::into_inner))
}

impl Attached {
    pub(crate) async fn new(server: &Server, participant: &str, concurrency: u32) -> Self {
        let (send, replies) = open(server, hello(participant, concurrency)).await;
        let mut attached = Self {
            send,
            replies: replies.unwrap(),
            epoch: 0,
            waiting: Vec::new(),
        };
        match attached.next().await {
            FromServer::Welcome(welcome) => attached.epoch = welcome.epoch,
            other => panic!("no welcome but {other:?}"),
        }
        attached
    }

    pub(crate) async fn next(&mut self) -> FromServer {
        let reply = timeout(PATIENCE, self.replies.message()).await;
        reply
            .expect("a message comes in time")
            .unwrap()
            .unwrap()
            .message
            .unwrap()
    }

    /// The next call, which must be one.
    pub(crate) async fn call(&mut self) -> v1::Call {
        while self.waiting.is_empty() {
            match self.next().await {
                FromServer::Calls(calls) => self.waiting.extend(calls.calls),
                other => panic!("no calls but {other:?}"),
            }
        }
        self.waiting.remove(0)
    }

    pub(crate) async fn send(&self, result: v1::Result) {
        let results = v1::Results {
            results: vec![result],
            check_backs: Vec::new(),
        };
        let message = Some(ToServer::Results(results));
        self.send.send(v1::AttachRequest { message }).await.unwrap();
    }

    pub(crate) async fn answer(&self, call: &v1::Call, outcome: Outcome) {
        self.send(result(call, outcome)).await;
    }

    /// From now on, answers every call with what `answer` says of it; `None` is silence.
    pub(crate) fn answering(
        mut self,
        answer: impl Fn(&v1::Call) -> Option<Outcome> + Send + 'static,
    ) -> JoinHandle<()> {
        tokio::spawn(async move {
            while let Ok(Some(reply)) = self.replies.message().await {
                if let Some(FromServer::Calls(calls)) = reply.message {
                    for call in calls.calls {
                        if let Some(outcome) = answer(&call) {
                            self.answer(&call, outcome).await;
                        }
                    }
                }
            }
        })
    }
}

/// The answer to a call.
pub(crate) fn result(call: &v1::Call, outcome: Outcome) -> v1::Result {
    v1::Result {
        epoch: call.epoch,
        call_id: call.call_id,
        tx_id: call.tx_id.clone(),
        action: call.action.clone(),
        operation: call.operation,
        outcome: Some(outcome),
    }
}

pub(crate) fn done(result: &'static [u8]) -> Outcome {
    Outcome::Done(v1::Done {
        result: result.into(),
    })
}

pub(crate) fn rejected(reason: &str) -> Outcome {
    Outcome::Rejected(v1::Rejected {
        reason: reason.to_owned(),
    })
}

/// A quick policy, so that tests do not wait.
pub(crate) fn quick(max_attempts: u32) -> v1::RetryPolicy {
    v1::RetryPolicy {
        first_delay_ms: 10,
        max_delay_ms: 50,
        max_attempts,
        max_age_ms: 0,
        call_timeout_ms: 2_000,
    }
}

pub(crate) fn action(name: &str, participant: &str) -> v1::Action {
    v1::Action {
        name: name.to_owned(),
        mode: v1::Mode::Tcc.into(),
        participant: participant.to_owned(),
        payload: bytes::Bytes::from(name.to_owned()),
        retry: Some(quick(5)),
        ..v1::Action::default()
    }
}

pub(crate) fn begin(actions: Vec<v1::Action>) -> v1::BeginRequest {
    v1::BeginRequest {
        business_type: "points_for_coupon".to_owned(),
        business_id: "order-1".to_owned(),
        timeout_ms: 10_000,
        actions,
        ..v1::BeginRequest::default()
    }
}

pub(crate) fn execute(actions: Vec<v1::Action>, wait: v1::Wait) -> v1::ExecuteRequest {
    v1::ExecuteRequest {
        begin: Some(begin(actions)),
        wait: wait.into(),
    }
}

/// The stable reason and the wrong fields of a status.
pub(crate) fn reason(status: &Status) -> (String, Vec<String>) {
    let details = status.get_error_details();
    let info = details
        .error_info()
        .unwrap_or_else(|| panic!("no ErrorInfo in {status:?}"));
    assert_eq!(info.domain, "tercet");
    let fields = details.bad_request().map(|bad| {
        let mut fields: Vec<_> = bad
            .field_violations
            .iter()
            .map(|v| v.field.clone())
            .collect();
        fields.sort();
        fields
    });
    (info.reason.clone(), fields.unwrap_or_default())
}
