//! Participants that attach, and the registration of those that do not.

use std::{collections::BTreeMap, sync::Arc};

use http::{Uri, uri::PathAndQuery};
use tercet_core::{
    model::Name,
    port::Input,
    violation::{At, Invalid, Violation, Violations},
};
use tokio::time::timeout;
use tracing::info;

use super::{Requests, answered};
use crate::{
    bounds,
    directory::{Methods, Participant, Protocol},
    error::RequestError,
};

/// The first message of a participant that attaches.
#[derive(Clone, Debug)]
pub(crate) struct Hello {
    pub(crate) participant: Name,
    pub(crate) instance: String,
    pub(crate) handlers: Vec<String>,
    pub(crate) concurrency: u32,
}

impl Hello {
    /// Returns the message, if every field is right.
    pub(crate) fn checked(self) -> Result<Self, Invalid> {
        let mut v = Violations::default();
        let root = At::field("hello");
        v.name(&root.of("participant"), &self.participant);
        v.name(&root.of("instance"), &self.instance);
        if self.concurrency == 0 || self.concurrency > bounds::STREAM_CONCURRENCY {
            v.add(
                &root.of("concurrency"),
                format!(
                    "is {}; 1 to {} are accepted",
                    self.concurrency,
                    bounds::STREAM_CONCURRENCY
                ),
            );
        }
        if self.handlers.len() > bounds::HANDLERS {
            let number = self.handlers.len();
            v.too_many(&root.of("handlers"), "handlers", number, bounds::HANDLERS);
        } else {
            for (place, handler) in self.handlers.iter().enumerate() {
                v.name(&root.index("handlers", place).of("name"), handler);
            }
        }
        v.give(self)
    }
}

/// A participant to register, as a caller describes it.
#[derive(Clone, Debug)]
pub(crate) struct Registration {
    pub(crate) participant: Name,
    pub(crate) protocol: Protocol,
    pub(crate) address: String,
    /// Each handler with its methods.
    pub(crate) methods: Vec<(String, Methods)>,
    pub(crate) check_back: String,
    pub(crate) concurrency: u32,
}

impl Registration {
    /// Returns the participant, if every field is right.
    pub(crate) fn checked(self) -> Result<Participant, Invalid> {
        let mut v = Violations::default();
        v.name(&At::field("participant"), &self.participant);
        let attaches = self.protocol == Protocol::Attach;
        if attaches {
            v.add(
                "protocol",
                "is neither PROTOCOL_INVOKE, PROTOCOL_GRPC nor PROTOCOL_HTTP; give one of them \
                 (a participant that attaches needs no registration)",
            );
        }
        address(&self.address, &mut v);
        v.count(
            &At::field("concurrency"),
            self.concurrency,
            bounds::CONCURRENCY_MAX,
        );
        match self.protocol {
            Protocol::Attach => {}
            Protocol::Invoke => self.check_invoke(&mut v),
            Protocol::Grpc | Protocol::Http => self.check_methods(&mut v),
        }
        v.give(Participant {
            name: self.participant,
            protocol: self.protocol,
            address: self.address,
            methods: BTreeMap::from_iter(self.methods),
            check_back: self.check_back,
            concurrency: self.concurrency,
        })
    }

    fn check_invoke(&self, v: &mut Violations) {
        if !self.methods.is_empty() {
            v.add(
                "methods",
                "is not accepted with PROTOCOL_INVOKE, which has one method for all",
            );
        }
        if !self.check_back.is_empty() {
            v.add(
                "check_back",
                "is not accepted with PROTOCOL_INVOKE, which has a method for it",
            );
        }
    }

    fn check_methods(&self, v: &mut Violations) {
        if self.methods.is_empty() && self.check_back.is_empty() {
            v.add(
                "methods",
                "is empty; give the methods of at least one handler",
            );
        }
        if self.methods.len() > bounds::HANDLERS {
            let number = self.methods.len();
            v.too_many(&At::field("methods"), "handlers", number, bounds::HANDLERS);
            return;
        }
        let root = At::field("");
        for (place, (handler, methods)) in self.methods.iter().enumerate() {
            let at = root.index("methods", place);
            v.name(&at.of("handler"), handler);
            self.check_paths(methods, &at, v);
            if self.methods[..place]
                .iter()
                .any(|(other, _)| other == handler)
            {
                v.add(&at.of("handler"), "is given twice; give each handler once");
            }
        }
        self.check_path(&At::field("check_back"), &self.check_back, v);
    }

    fn check_paths(&self, methods: &Methods, at: &At<'_>, v: &mut Violations) {
        let paths = [
            ("try", &methods.tries),
            ("confirm", &methods.confirm),
            ("cancel", &methods.cancel),
        ];
        for (field, path) in paths {
            self.check_path(&at.of(field), path, v);
        }
        if paths.iter().all(|(_, path)| path.is_empty()) {
            v.add(at, "names no method; give one of try, confirm and cancel");
        }
    }

    fn check_path(&self, field: &At<'_>, path: &str, v: &mut Violations) {
        let grpc = self.protocol == Protocol::Grpc;
        if path.is_empty() || (is_path(path) && (!grpc || is_method(path))) {
            return;
        }
        let form = if grpc {
            "method of the form /package.Service/Method"
        } else {
            "path of the form /…"
        };
        v.add(
            field,
            format!("is no {form} of at most {} bytes", bounds::ADDRESS_BYTES),
        );
    }
}

fn is_path(path: &str) -> bool {
    path.len() <= bounds::ADDRESS_BYTES
        && path.starts_with('/')
        && path.parse::<PathAndQuery>().is_ok()
}

/// Returns whether a path is that of a gRPC method: `/package.Service/Method`.
fn is_method(path: &str) -> bool {
    let mut parts = path.split('/').skip(1);
    let named = |part: Option<&str>| part.is_some_and(|part| !part.is_empty());
    named(parts.next()) && named(parts.next()) && parts.next().is_none()
}

fn address(address: &str, v: &mut Violations) {
    let plain = address.len() <= bounds::ADDRESS_BYTES
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
                bounds::ADDRESS_BYTES
            ),
        );
    }
}

impl Requests {
    /// Makes a participant that attaches known, if it is not yet.
    pub(crate) async fn welcome(&self, hello: &Hello) -> Result<(), RequestError> {
        let attaches = self
            .known()
            .get(&hello.participant)
            .is_some_and(|known| known.protocol == Protocol::Attach);
        if !attaches {
            let participant = Participant::attaching(Name::clone(&hello.participant));
            self.register(participant).await?;
        }
        Ok(())
    }

    /// Makes a participant known: in the database, here, and to the engine, in this order. Returns the number of its
    /// registrations.
    pub(crate) async fn register(&self, participant: Participant) -> Result<u32, RequestError> {
        let one_at_a_time = timeout(bounds::ANSWER_TIMEOUT, self.registering.lock()).await;
        let _one_at_a_time = one_at_a_time.map_err(|_| {
            let what = "other registrations wait for it too";
            RequestError::StoreUnavailable(what.to_owned())
        })?;
        let known = self.known();
        if known.iter().len() >= bounds::PARTICIPANTS && !known.contains(&participant.name) {
            let description = format!(
                "would be one more than the {} that may be known",
                bounds::PARTICIPANTS
            );
            return Err(Violation::new("participant", description).into());
        }
        let version = answered(self.store.put_participant(&participant.to_row())).await?;
        info!(
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
        self.directory.put(participant);
        self.driver.inform(vec![input]).await;
        Ok(version)
    }
}
