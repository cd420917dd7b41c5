//! `Participants`: the participants that are known, and how each is reached.

use prost::Message as _;
use tercet_core::{check::Served, model::Name};
use tercet_proto::v1::{self, participants_server::Participants};
use tonic::{Request, Response, Status, Streaming};

use super::{Api, Replies, attach, inbound, peer, taking, translate};
use crate::{
    bounds,
    directory::{Methods, Participant, Protocol, Said},
    driver::Gauges,
    wire::words,
};

#[tonic::async_trait]
impl Participants for Api {
    type AttachStream = Replies<v1::AttachReply>;

    async fn attach(
        &self,
        request: Request<Streaming<v1::AttachRequest>>,
    ) -> Result<Response<Self::AttachStream>, Status> {
        let (peer, inbound) = (peer(&request), inbound(&request));
        let calls = attach::open(self.clone(), peer, inbound, request.into_inner());
        Ok(Response::new(Box::pin(calls)))
    }

    async fn register(
        &self,
        request: Request<v1::RegisterRequest>,
    ) -> Result<Response<v1::RegisterReply>, Status> {
        let _taking = taking(&request);
        let participant = translate::registration(request.into_inner())?;
        let (version, replaced) = self.requests.register(participant).await?;
        let replaced = replaced.as_ref().map(registration);
        Ok(Response::new(v1::RegisterReply { version, replaced }))
    }

    async fn list(
        &self,
        request: Request<v1::ListParticipantsRequest>,
    ) -> Result<Response<v1::ListParticipantsReply>, Status> {
        let peer = peer(&request);
        let page = translate::participants(request.into_inner())?;
        let _room = peer.room(bounds::ANSWER_BYTES).await;
        let known = self.requests.known();
        let gauges = self.requests.driver.gauges().await.unwrap_or_default();
        let names = known.names_after(&page.after);
        let (mut participants, mut bytes) = (Vec::new(), 0);
        for name in names.iter().take(page.limit) {
            let view = match known.get(name) {
                Some(participant) => self.view(participant, &gauges),
                None => v1::ParticipantView {
                    participant: name.to_string(),
                    unreadable: known.unreadable(name).unwrap_or_default().to_owned(),
                    ..v1::ParticipantView::default()
                },
            };
            bytes += view.encoded_len();
            if bytes > bounds::PARTICIPANTS_PAGE_BYTES && !participants.is_empty() {
                break;
            }
            participants.push(view);
        }
        let last = participants.last();
        let next = last.filter(|_| participants.len() < names.len());
        Ok(Response::new(v1::ListParticipantsReply {
            next_cursor: next.map(|it| it.participant.clone()).unwrap_or_default(),
            participants,
        }))
    }
}

impl Api {
    fn view(&self, participant: &Participant, gauges: &Gauges) -> v1::ParticipantView {
        let (open, waiting) = gauges.calls_of(&participant.name);
        let said = participant.said.as_ref();
        v1::ParticipantView {
            participant: participant.name.to_string(),
            protocol: protocol(participant.protocol).into(),
            address: participant.address.clone(),
            methods: participant.methods.iter().map(methods).collect(),
            attached: self.requests.directory.attached(&participant.name),
            calls_open: open,
            calls_waiting: waiting,
            check_back: participant.check_back.clone(),
            concurrency: participant.concurrency,
            handlers: said.map(handlers).unwrap_or_default(),
            answers_check_back: said.is_some_and(|said| said.check_backs),
            handlers_open: participant.served() == Served::Any,
            unreadable: String::new(),
        }
    }
}

/// Lists what instances have said: one handler per mode, or one for any mode.
fn handlers(said: &Said) -> Vec<v1::Handler> {
    let of = |name: &Name, mode: v1::Mode| v1::Handler {
        name: name.to_string(),
        mode: mode.into(),
    };
    let mut handlers = Vec::new();
    for (name, modes) in &said.handlers {
        if modes.is_empty() {
            handlers.push(of(name, v1::Mode::Unspecified));
        }
        handlers.extend(modes.iter().map(|mode| of(name, words::mode(*mode))));
    }
    handlers
}

/// Converts a participant to the request that registers it.
fn registration(participant: &Participant) -> v1::RegisterRequest {
    v1::RegisterRequest {
        participant: participant.name.to_string(),
        protocol: protocol(participant.protocol).into(),
        address: participant.address.clone(),
        methods: participant.methods.iter().map(methods).collect(),
        check_back: participant.check_back.clone(),
        concurrency: participant.concurrency,
    }
}

fn protocol(protocol: Protocol) -> v1::Protocol {
    match protocol {
        Protocol::Attach => v1::Protocol::Attach,
        Protocol::Invoke => v1::Protocol::Invoke,
        Protocol::Grpc => v1::Protocol::Grpc,
        Protocol::Http => v1::Protocol::Http,
    }
}

fn methods((handler, methods): (&String, &Methods)) -> v1::Methods {
    v1::Methods {
        handler: handler.clone(),
        r#try: methods.tries.clone(),
        confirm: methods.confirm.clone(),
        cancel: methods.cancel.clone(),
    }
}
