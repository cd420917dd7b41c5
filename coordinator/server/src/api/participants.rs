//! `Participants`: who is known, and how each is reached.

use std::{collections::BTreeMap, pin::Pin, sync::Arc};

use futures::Stream;
use http::{Uri, uri::PathAndQuery};
use tercet_core::{engine::Input, model::Name};
use tercet_proto::v1::{self, participants_server::Participants};
use tonic::{Request, Response, Status, Streaming};

use super::{
    Api, attach,
    error::ApiError,
    validate::{At, Violations},
};
use crate::{
    directory::{Methods, Participant, Protocol},
    driver::Message,
    limits,
};

type Answer<T> = Result<Response<T>, Status>;

impl Api {
    /// Makes a participant known: in the database, here, and to the engine, in this order. Gives how
    /// often it was registered.
    pub(super) async fn register(&self, participant: Participant) -> Result<u32, ApiError> {
        let _one_at_a_time = self.registering.lock().await;
        let known = self.directory().snapshot();
        if known.len() >= limits::PARTICIPANTS && !known.contains_key(&participant.name) {
            let mut v = Violations::default();
            v.add(
                "participant",
                format!(
                    "would be one more than the {} that may be known",
                    limits::PARTICIPANTS
                ),
            );
            v.finish()?;
        }
        let version = self
            .reader
            .store
            .put_participant(&participant.to_row())
            .await?;
        tracing::info!(
            participant = %participant.name,
            protocol = participant.protocol.word(),
            address = participant.address,
            version,
            "participant registered"
        );
        let input = Input::Participant {
            name: Arc::clone(&participant.name),
            reach: participant.reach(),
        };
        self.directory().put(participant);
        self.driver.send(Message::Inputs(vec![input])).await;
        Ok(version)
    }
}

#[tonic::async_trait]
impl Participants for Api {
    type AttachStream = Pin<Box<dyn Stream<Item = Result<v1::AttachReply, Status>> + Send>>;

    async fn attach(
        &self,
        request: Request<Streaming<v1::AttachRequest>>,
    ) -> Answer<Self::AttachStream> {
        let calls = attach::open(self.clone(), request.into_inner());
        Ok(Response::new(Box::pin(calls)))
    }

    async fn register(&self, request: Request<v1::RegisterRequest>) -> Answer<v1::RegisterReply> {
        let participant = registered(request.into_inner())?;
        let version = Api::register(self, participant).await?;
        Ok(Response::new(v1::RegisterReply { version }))
    }

    async fn list(
        &self,
        _: Request<v1::ListParticipantsRequest>,
    ) -> Answer<v1::ListParticipantsReply> {
        let known = self.directory().snapshot();
        let gauges = self.driver.gauges().await;
        let mut participants: Vec<_> = known.values().collect();
        participants.sort_by_key(|participant| &participant.name);
        let participants = participants
            .into_iter()
            .map(|participant| {
                let (open, waiting) = gauges
                    .as_ref()
                    .map_or((0, 0), |gauges| gauges.calls_of(&participant.name));
                v1::ParticipantView {
                    participant: participant.name.to_string(),
                    protocol: protocol(participant.protocol).into(),
                    address: participant.address.clone(),
                    methods: participant.methods.iter().map(methods).collect(),
                    attached: self.directory().attached(&participant.name),
                    calls_open: open,
                    calls_waiting: waiting,
                }
            })
            .collect();
        Ok(Response::new(v1::ListParticipantsReply { participants }))
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

pub(super) fn registered(request: v1::RegisterRequest) -> Result<Participant, ApiError> {
    let mut v = Violations::default();
    v.name(&At::field("participant"), &request.participant);
    let protocol = match v1::Protocol::try_from(request.protocol) {
        Ok(v1::Protocol::Invoke) => Some(Protocol::Invoke),
        Ok(v1::Protocol::Grpc) => Some(Protocol::Grpc),
        Ok(v1::Protocol::Http) => Some(Protocol::Http),
        _ => {
            v.add(
                "protocol",
                "is neither PROTOCOL_INVOKE, PROTOCOL_GRPC nor PROTOCOL_HTTP; give one of them \
                 (who attaches needs no registration)",
            );
            None
        }
    };
    address(&request.address, &mut v);
    if request.concurrency > limits::CONCURRENCY_MAX {
        v.add(
            "concurrency",
            format!(
                "is {}; at most {} are accepted",
                request.concurrency,
                limits::CONCURRENCY_MAX
            ),
        );
    }
    let by_handler = match protocol {
        Some(protocol) => handlers(&request, protocol, &mut v),
        None => BTreeMap::new(),
    };
    v.finish()?;
    Ok(Participant {
        name: Name::from(request.participant),
        // Without a protocol there was a violation.
        protocol: protocol.ok_or_else(|| ApiError::Invalid(Vec::new()))?,
        address: request.address,
        methods: by_handler,
        check_back: request.check_back,
        concurrency: request.concurrency,
    })
}

fn address(address: &str, v: &mut Violations) {
    let plain = address.len() <= limits::ADDRESS_BYTES
        && address.parse::<Uri>().is_ok_and(|uri| {
            uri.scheme_str() == Some("http")
                && uri.host().is_some_and(|host| !host.is_empty())
                && matches!(
                    uri.path_and_query().map(PathAndQuery::as_str),
                    None | Some("/")
                )
                && uri
                    .authority()
                    .is_some_and(|authority| !authority.as_str().contains('@'))
        });
    if !plain {
        v.add(
            "address",
            format!(
                "is no address of the form http://host:port of at most {} bytes",
                limits::ADDRESS_BYTES
            ),
        );
    }
}

fn handlers(
    request: &v1::RegisterRequest,
    protocol: Protocol,
    v: &mut Violations,
) -> BTreeMap<String, Methods> {
    let mut by_handler = BTreeMap::new();
    if protocol == Protocol::Invoke {
        if !request.methods.is_empty() {
            v.add(
                "methods",
                "is not accepted with PROTOCOL_INVOKE, which has one method for all",
            );
        }
        if !request.check_back.is_empty() {
            v.add(
                "check_back",
                "is not accepted with PROTOCOL_INVOKE, which has a method for it",
            );
        }
        return by_handler;
    }
    if request.methods.is_empty() && request.check_back.is_empty() {
        v.add(
            "methods",
            "is empty; give the methods of at least one handler",
        );
    }
    if request.methods.len() > limits::HANDLERS {
        v.add(
            "methods",
            format!(
                "has {} handlers; at most {} are accepted",
                request.methods.len(),
                limits::HANDLERS
            ),
        );
        return by_handler;
    }
    let root = At::field("");
    for (i, methods) in request.methods.iter().enumerate() {
        let at = root.index("methods", i);
        v.name(&at.of("handler"), &methods.handler);
        for (field, value) in [
            ("try", &methods.r#try),
            ("confirm", &methods.confirm),
            ("cancel", &methods.cancel),
        ] {
            path(&at.of(field), value, protocol, v);
        }
        if methods.r#try.is_empty() && methods.confirm.is_empty() && methods.cancel.is_empty() {
            v.add(&at, "has no method; give one of try, confirm and cancel");
        }
        let row = Methods {
            tries: methods.r#try.clone(),
            confirm: methods.confirm.clone(),
            cancel: methods.cancel.clone(),
        };
        if by_handler.insert(methods.handler.clone(), row).is_some() {
            v.add(&at.of("handler"), "is given twice; give each handler once");
        }
    }
    path(&At::field("check_back"), &request.check_back, protocol, v);
    by_handler
}

fn path(field: &At<'_>, value: &str, protocol: Protocol, v: &mut Violations) {
    if value.is_empty() {
        return;
    }
    let parts = value.split('/').collect::<Vec<_>>();
    let right = value.len() <= limits::ADDRESS_BYTES
        && value.starts_with('/')
        && value.parse::<PathAndQuery>().is_ok()
        && match protocol {
            Protocol::Grpc => parts.len() == 3 && parts[1..].iter().all(|part| !part.is_empty()),
            _ => true,
        };
    if !right {
        let form = match protocol {
            Protocol::Grpc => "method of the form /package.Service/Method",
            _ => "path of the form /…",
        };
        v.add(
            field,
            format!("is no {form} of at most {} bytes", limits::ADDRESS_BYTES),
        );
    }
}
