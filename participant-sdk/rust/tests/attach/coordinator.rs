//! A coordinator that a test controls message by message.

use std::{net::SocketAddr, pin::Pin, time::Duration};

use tercet_sdk::proto::{
    self, AttachReply, AttachRequest, attach_reply, attach_request,
    participants_server::{Participants, ParticipantsServer},
};
use tokio::{net::TcpListener, sync::mpsc, task::JoinHandle};
use tokio_stream::{Stream, wrappers::ReceiverStream};
use tonic::{Request, Response, Status, Streaming, transport::server::TcpIncoming};

/// The limit of every wait in a test.
pub(crate) const SOON: Duration = Duration::from_secs(10);

/// A coordinator that hands every opened stream to the test.
pub(crate) struct Coordinator {
    pub(crate) url: String,
    streams: mpsc::Receiver<Attached>,
    server: JoinHandle<()>,
}

impl Drop for Coordinator {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// The coordinator's end of one stream.
pub(crate) struct Attached {
    pub(crate) hello: proto::Hello,
    requests: Streaming<AttachRequest>,
    replies: mpsc::Sender<Result<AttachReply, Status>>,
}

impl Coordinator {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address: SocketAddr = listener.local_addr().unwrap();
        let (opened, streams) = mpsc::channel(16);
        let service = ParticipantsServer::new(Service { opened });
        let server = tonic::transport::Server::builder()
            .add_service(service)
            .serve_with_incoming(TcpIncoming::from(listener));
        let server = tokio::spawn(async move { server.await.unwrap() });
        Self {
            url: format!("http://{address}"),
            streams,
            server,
        }
    }

    /// Waits for the next stream that a participant opens.
    pub(crate) async fn opened(&mut self) -> Attached {
        tokio::time::timeout(SOON, self.streams.recv())
            .await
            .expect("nobody attaches")
            .unwrap()
    }

    /// Waits for the next stream, and welcomes it.
    pub(crate) async fn attached(&mut self, node: &str) -> Attached {
        let mut stream = self.opened().await;
        stream.welcome(node, &[&self.url.clone()]).await;
        stream
    }
}

impl Attached {
    pub(crate) async fn welcome(&mut self, node: &str, replicas: &[&str]) {
        self.say(attach_reply::Message::Welcome(proto::Welcome {
            node: node.to_owned(),
            epoch: 7,
            replicas: Some(addresses(replicas)),
        }))
        .await;
    }

    pub(crate) async fn say(&self, message: attach_reply::Message) {
        self.replies
            .send(Ok(AttachReply {
                message: Some(message),
            }))
            .await
            .unwrap();
    }

    pub(crate) async fn calls(&self, calls: Vec<proto::Call>) {
        let calls = proto::Calls {
            calls,
            check_backs: Vec::new(),
        };
        self.say(attach_reply::Message::Calls(calls)).await;
    }

    /// Waits for the participant's next message; returns `None` once it closed the stream.
    pub(crate) async fn heard(&mut self) -> Option<attach_request::Message> {
        let message = tokio::time::timeout(SOON, self.requests.message());
        message
            .await
            .expect("the participant is silent")
            .ok()
            .flatten()?
            .message
    }

    /// Waits for the given number of results, in any number of messages.
    pub(crate) async fn results(&mut self, count: usize) -> Vec<proto::Result> {
        let mut results = Vec::new();
        while results.len() < count {
            match self.heard().await {
                Some(attach_request::Message::Results(batch)) => results.extend(batch.results),
                other => panic!("{other:?} instead of results"),
            }
        }
        results
    }
}

pub(crate) fn addresses(replicas: &[&str]) -> proto::Replicas {
    proto::Replicas {
        addresses: replicas.iter().map(|url| (*url).to_owned()).collect(),
    }
}

struct Service {
    opened: mpsc::Sender<Attached>,
}

#[tonic::async_trait]
impl Participants for Service {
    type AttachStream = Pin<Box<dyn Stream<Item = Result<AttachReply, Status>> + Send>>;

    async fn attach(
        &self,
        request: Request<Streaming<AttachRequest>>,
    ) -> Result<Response<Self::AttachStream>, Status> {
        let mut requests = request.into_inner();
        let first = requests
            .message()
            .await?
            .and_then(|request| request.message);
        let Some(attach_request::Message::Hello(hello)) = first else {
            return Err(Status::invalid_argument("the first message must be Hello"));
        };
        let (replies, messages) = mpsc::channel(1_024);
        let attached = Attached {
            hello,
            requests,
            replies,
        };
        self.opened
            .send(attached)
            .await
            .map_err(|_| Status::unavailable("the test is over"))?;
        Ok(Response::new(Box::pin(ReceiverStream::new(messages))))
    }

    async fn register(
        &self,
        _: Request<proto::RegisterRequest>,
    ) -> Result<Response<proto::RegisterReply>, Status> {
        Err(Status::unimplemented("not here"))
    }

    async fn list(
        &self,
        _: Request<proto::ListParticipantsRequest>,
    ) -> Result<Response<proto::ListParticipantsReply>, Status> {
        Err(Status::unimplemented("not here"))
    }
}
