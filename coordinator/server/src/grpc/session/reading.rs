//! The task that reads a session's requests.

use std::sync::Arc;

use prost::Message as _;
use tercet_core::{id::CallerId, port::Request, violation::Violation};
use tercet_proto::v1::{self, session_request};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tonic::Streaming;

use super::{
    End, OwnContent, OwnReplies,
    open::{OpenRequests, Source},
};
use crate::{
    backlog::{Inbound, Peer, Taking, Unread},
    bounds,
    directory::Known,
    driver::{Replies, SessionId},
    error::RequestError,
    grpc::{Api, draining, translate},
    requests::{Lookup, Requests, contained},
    wire::views,
};

/// The task that reads the requests of a session.
pub(super) struct Reading {
    pub(super) api: Api,
    pub(super) id: SessionId,
    pub(super) peer: Peer,
    pub(super) inbound: Option<Inbound>,
    pub(super) open: Arc<OpenRequests>,
    pub(super) replies: Replies,
    pub(super) own: OwnReplies,
}

impl Reading {
    /// Reads until the session ends; the caller is cut off if it does not read its replies.
    pub(super) async fn run(
        self,
        requests: Streaming<v1::SessionRequests>,
        end: mpsc::Sender<End>,
    ) {
        let _named = self.peer.name_stream("a session");
        let Unread {
            number,
            bytes,
            time,
        } = tokio::select! {
            () = self.read(requests, end) => return,
            unread = self.replies.unread(bounds::SESSION_OPEN) => unread,
            unread = self.own.outbox.unread(bounds::SESSION_REPLIES) => unread,
        };
        self.peer.cut(&format!(
            "it leaves {number} replies of {bytes} bytes unread since {} s",
            time.as_secs()
        ));
    }

    /// Reads until the caller ends its side, breaks a rule or the server closes. A caller that only ends its side
    /// still gets its replies: the session ends with the last of them.
    async fn read(&self, mut requests: Streaming<v1::SessionRequests>, end: mpsc::Sender<End>) {
        let closing = self.api.closing.clone();
        loop {
            let message = tokio::select! {
                message = requests.message() => message,
                () = end.closed() => return,
                () = closing.cancelled() => Err(draining()),
            };
            let batch = match message {
                Ok(Some(batch)) => batch.requests,
                Ok(None) => {
                    let _ = end.send(End::NoMoreRequests).await;
                    tokio::select! {
                        () = end.closed() => {}
                        () = closing.cancelled() => {
                            let _ = end.send(End::Broken(draining())).await;
                        }
                    }
                    return;
                }
                Err(status) => {
                    let _ = end.send(End::Broken(status)).await;
                    return;
                }
            };
            let taking = self.inbound.as_ref().map(Inbound::take);
            if batch.len() > bounds::SESSION_BATCH {
                let too_large = too_large(batch.len()).into();
                let _ = end.send(End::Broken(too_large)).await;
                return;
            }
            self.take(batch, taking).await;
        }
    }

    /// Takes one message of requests in. Its bytes count until the engine has them.
    async fn take(&self, batch: Vec<v1::SessionRequest>, taking: Option<Taking>) {
        let known = self.api.requests.known();
        let driver = &self.api.requests.driver;
        let mut opened = Vec::with_capacity(batch.len());
        let mut forgotten = Vec::new();
        for request in batch {
            let number = request.id;
            let result = match request.request {
                Some(session_request::Request::Forget(number)) => {
                    forgotten.extend(self.open.forget(number));
                    continue;
                }
                Some(session_request::Request::Get(get)) => self.open_read(number, get),
                request => self
                    .open_request(number, request, &known)
                    .map(|request| opened.push(request)),
            };
            if let Err(error) = result
                && let Some(place) = self.own.place().await
            {
                let content = OwnContent::Refused(number, error);
                self.own.put(driver.new_caller(), place, content);
            }
        }
        if !opened.is_empty() {
            driver.request_for(self.id, opened, taking).await;
        }
        if !forgotten.is_empty() {
            driver.forget(self.id, forgotten).await;
        }
    }

    /// Opens a request of the engine.
    fn open_request(
        &self,
        number: u64,
        request: Option<session_request::Request>,
        known: &Known,
    ) -> Result<(CallerId, Request), RequestError> {
        let request = translated(request, known, &self.api.requests)?;
        let caller = self.api.requests.driver.new_caller();
        let source = Source::Engine(request.id());
        self.open.open(number, caller, source)?;
        Ok((caller, request))
    }

    /// Opens a read of a transaction, in a task of its own.
    fn open_read(&self, number: u64, get: v1::GetRequest) -> Result<(), RequestError> {
        let lookup = translate::lookup(get)?;
        let caller = self.api.requests.driver.new_caller();
        let forgotten = CancellationToken::new();
        let source = Source::Database(forgotten.clone());
        self.open.open(number, caller, source)?;
        let (requests, own, peer) = (
            self.api.requests.clone(),
            self.own.clone(),
            self.peer.clone(),
        );
        let reading = async move {
            // A place and room first: a transaction that was read never waits for them.
            let Some(place) = own.place().await else {
                return;
            };
            let mut room = peer.room(bounds::ANSWER_BYTES).await;
            let read = contained(read(&requests, lookup)).await;
            room.set(read.as_deref().map_or(0, v1::Transaction::encoded_len));
            own.put(caller, place, OwnContent::Read(caller, read, room));
        };
        tokio::spawn(forgotten.run_until_cancelled_owned(reading));
        Ok(())
    }
}

async fn read(requests: &Requests, lookup: Lookup) -> Result<Box<v1::Transaction>, RequestError> {
    let seen = requests.get(lookup).await?;
    Ok(Box::new(views::transaction(seen.view, seen.obstacles)))
}

fn translated(
    request: Option<session_request::Request>,
    known: &Known,
    requests: &Requests,
) -> Result<Request, RequestError> {
    use session_request::Request::{AddAction, Begin, Decide, Execute};
    let new_id = || requests.new_id();
    match request {
        Some(Begin(begin)) => translate::begin(begin, known, new_id),
        Some(Execute(execute)) => translate::execute(execute, known, new_id),
        Some(AddAction(add)) => translate::add_action(add, known),
        Some(Decide(decide)) => translate::decide(decide, known),
        _ => Err(Violation::new(
            "request",
            "is missing; give one of begin, add_action, decide, execute, get, forget",
        )
        .into()),
    }
}

fn too_large(requests: usize) -> RequestError {
    let accepted = bounds::SESSION_BATCH;
    Violation::new(
        "requests",
        format!("has {requests} requests; at most {accepted} are accepted in one message"),
    )
    .into()
}
