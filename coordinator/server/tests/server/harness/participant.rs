//! Participants on raw streams, and their answers.

use tercet_proto::v1::{self, attach_reply, attach_request, result::Outcome};
use tokio::{sync::mpsc, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use super::{PATIENCE, Server};

/// A participant on a raw stream.
pub(crate) struct Attached {
    requests: mpsc::Sender<v1::AttachRequest>,
    replies: Streaming<v1::AttachReply>,
    waiting: Vec<v1::Call>,
}

impl Server {
    /// Attaches a participant that takes 10 calls at once.
    pub(crate) async fn attach(&self, participant: &str) -> Attached {
        Attached::new(self, hello(participant, 10)).await
    }

    /// Attaches a participant that takes so many calls at once.
    pub(crate) async fn attach_many(&self, participant: &str, concurrency: u32) -> Attached {
        Attached::new(self, hello(participant, concurrency)).await
    }

    /// Attaches an instance with these handlers.
    pub(crate) async fn attach_with(
        &self,
        participant: &str,
        handlers: Vec<v1::Handler>,
        answers_check_back: bool,
    ) -> Attached {
        let hello = v1::Hello {
            participant: participant.to_owned(),
            instance: "test".to_owned(),
            concurrency: 100,
            handlers,
            answers_check_back,
        };
        Attached::new(self, message(attach_request::Message::Hello(hello))).await
    }

    /// Attaches a participant that answers every call with the outcome that `answer` returns.
    pub(crate) async fn attach_answering(
        &self,
        participant: &str,
        answer: impl Fn(&v1::Call) -> Outcome + Send + 'static,
    ) {
        let attached = Attached::new(self, hello(participant, 100)).await;
        tokio::spawn(attached.answer_all(answer));
    }

    /// Attaches participants that answer every call with OK.
    pub(crate) async fn attach_agreeing<const N: usize>(&self, participants: [&str; N]) {
        for participant in participants {
            self.attach_answering(participant, |_| done(b"")).await;
        }
    }
}

impl Attached {
    async fn new(server: &Server, hello: v1::AttachRequest) -> Self {
        let (requests, replies) = open(server, hello).await;
        let mut attached = Self {
            requests,
            replies: replies.unwrap(),
            waiting: Vec::new(),
        };
        match attached.next().await {
            attach_reply::Message::Welcome(_) => attached,
            other => panic!("no welcome but {other:?}"),
        }
    }

    /// Returns the next message from the server.
    pub(crate) async fn next(&mut self) -> attach_reply::Message {
        let reply = timeout(PATIENCE, self.replies.message()).await;
        reply
            .expect("a message comes in time")
            .unwrap()
            .unwrap()
            .message
            .unwrap()
    }

    /// Returns the end of the stream.
    pub(crate) async fn end(&mut self) -> Result<Option<v1::AttachReply>, Status> {
        self.replies.message().await
    }

    /// Returns the next call; any other message fails the test.
    pub(crate) async fn call(&mut self) -> v1::Call {
        while self.waiting.is_empty() {
            self.waiting = self.calls().await.calls;
        }
        self.waiting.remove(0)
    }

    /// Returns the next question about an outcome; any other message fails the test.
    pub(crate) async fn question(&mut self) -> v1::CheckBackCall {
        let questions = self.calls().await.check_backs;
        questions.into_iter().next().unwrap()
    }

    async fn calls(&mut self) -> v1::Calls {
        match self.next().await {
            attach_reply::Message::Calls(calls) => calls,
            other => panic!("no calls but {other:?}"),
        }
    }

    pub(crate) async fn send(&self, message: v1::AttachRequest) {
        self.requests.send(message).await.unwrap();
    }

    pub(crate) async fn send_result(&self, result: v1::Result) {
        self.send_results(v1::Results {
            results: vec![result],
            check_backs: Vec::new(),
        })
        .await;
    }

    pub(crate) async fn send_results(&self, results: v1::Results) {
        self.send(message(attach_request::Message::Results(results)))
            .await;
    }

    pub(crate) async fn answer(&self, call: &v1::Call, outcome: Outcome) {
        self.send_result(result(call, outcome)).await;
    }

    /// Takes the next call, which must be of this operation, and answers it with OK.
    pub(crate) async fn agree_to(&mut self, operation: v1::Operation) -> v1::Call {
        let call = self.call().await;
        assert_eq!(call.operation(), operation);
        self.answer(&call, done(b"")).await;
        call
    }

    async fn answer_all(mut self, answer: impl Fn(&v1::Call) -> Outcome + Send + 'static) {
        while let Ok(Some(reply)) = self.replies.message().await {
            if let Some(attach_reply::Message::Calls(calls)) = reply.message {
                for call in calls.calls {
                    self.answer(&call, answer(&call)).await;
                }
            }
        }
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
    let (requests, messages) = mpsc::channel(16);
    requests.send(first).await.unwrap();
    let reply = server
        .participants()
        .attach(ReceiverStream::new(messages))
        .await;
    (requests, reply.map(tonic::Response::into_inner))
}

pub(crate) fn message(message: attach_request::Message) -> v1::AttachRequest {
    v1::AttachRequest {
        message: Some(message),
    }
}

/// Makes the first message of a participant, with the handler of its name and those that some tests use besides.
pub(crate) fn hello(participant: &str, concurrency: u32) -> v1::AttachRequest {
    let numbered = (0..64).map(|n| format!("a{n}"));
    let named = [participant, "issue", "second", "spend", "sum"].map(str::to_owned);
    let handler = |name: String| handler(&name, v1::Mode::Unspecified);
    message(attach_request::Message::Hello(v1::Hello {
        participant: participant.to_owned(),
        instance: "test".to_owned(),
        concurrency,
        handlers: named.into_iter().chain(numbered).map(handler).collect(),
        answers_check_back: true,
    }))
}

/// Makes a handler.
pub(crate) fn handler(name: &str, mode: v1::Mode) -> v1::Handler {
    v1::Handler {
        name: name.to_owned(),
        mode: mode.into(),
    }
}

/// Makes the result of a call.
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
