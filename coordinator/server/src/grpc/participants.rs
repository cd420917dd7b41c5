//! `Participants`: the participants that are known, and how each is reached.

use tercet_proto::v1::{self, participants_server::Participants};
use tonic::{Request, Response, Status, Streaming};

use super::{Api, Replies, attach, peer, translate};
use crate::directory::{Methods, Participant, Protocol};

#[tonic::async_trait]
impl Participants for Api {
    type AttachStream = Replies<v1::AttachReply>;

    async fn attach(
        &self,
        request: Request<Streaming<v1::AttachRequest>>,
    ) -> Result<Response<Self::AttachStream>, Status> {
        let peer = peer(&request);
        let calls = attach::open(self.clone(), peer, request.into_inner());
        Ok(Response::new(Box::pin(calls)))
    }

    async fn register(
        &self,
        request: Request<v1::RegisterRequest>,
    ) -> Result<Response<v1::RegisterReply>, Status> {
        let participant = translate::registration(request.into_inner())?;
        let (version, replaced) = self.requests.register(participant).await?;
        let replaced = replaced.as_ref().map(registration);
        Ok(Response::new(v1::RegisterReply { version, replaced }))
    }

    async fn list(
        &self,
        _: Request<v1::ListParticipantsRequest>,
    ) -> Result<Response<v1::ListParticipantsReply>, Status> {
        let known = self.requests.known();
        let gauges = self.requests.driver.gauges().await.unwrap_or_default();
        let mut participants: Vec<_> = known.iter().collect();
        participants.sort_by_key(|participant| &participant.name);
        let participants = participants
            .into_iter()
            .map(|participant| {
                let (open, waiting) = gauges.calls_of(&participant.name);
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
                }
            })
            .collect();
        Ok(Response::new(v1::ListParticipantsReply { participants }))
    }
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
