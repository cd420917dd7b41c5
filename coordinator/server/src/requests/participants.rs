//! Participants that attach, and the registration of those that do not.

use std::{collections::BTreeMap, sync::Arc};

use tercet_core::{
    model::{Mode, Name},
    port::{Abilities, Input},
    violation::{At, Invalid, Violation, Violations},
};
use tokio::time::timeout;
use tracing::info;

use super::{Requests, answered};
use crate::{
    address, bounds,
    directory::{Methods, Participant, Protocol},
    error::RequestError,
};

/// The first message of a participant that attaches.
#[derive(Clone, Debug)]
pub(crate) struct Hello {
    pub(crate) participant: Name,
    pub(crate) instance: String,
    /// Its handlers, each with the mode of the actions that it answers, or any mode, or a number that is none.
    pub(crate) handlers: Vec<(Name, Result<Option<Mode>, i32>)>,
    /// Whether it answers check-backs.
    pub(crate) check_backs: bool,
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
            for (place, (handler, mode)) in self.handlers.iter().enumerate() {
                let at = root.index("handlers", place);
                v.name(&at.of("name"), handler);
                if let Err(number) = mode {
                    v.add(
                        &at.of("mode"),
                        format!("is {number}, which is no mode; leave it out for any mode"),
                    );
                }
            }
        }
        v.give(self)
    }

    /// Returns the calls that it can answer.
    pub(crate) fn abilities(&self) -> Abilities {
        let handlers = self.handlers.iter();
        let handlers = handlers.filter_map(|(name, mode)| Some((Name::clone(name), (*mode).ok()?)));
        Abilities {
            handlers: handlers.collect(),
            check_backs: self.check_backs,
        }
    }
}

/// A participant to register, as a caller describes it.
#[derive(Clone, Debug)]
pub(crate) struct Registration {
    pub(crate) participant: Name,
    /// `None`: no protocol that is known.
    pub(crate) protocol: Option<Protocol>,
    pub(crate) address: String,
    /// Each handler with its methods.
    pub(crate) methods: Vec<(String, Methods)>,
    pub(crate) check_back: String,
    pub(crate) concurrency: u32,
}

impl Registration {
    /// Returns the participant, if every field is right. Each is kept as it was given.
    pub(crate) fn checked(self) -> Result<Participant, Invalid> {
        let mut v = Violations::default();
        v.name(&At::field("participant"), &self.participant);
        let protocol = v.require(
            "protocol",
            self.protocol,
            Protocol::Attach,
            "is not given; give PROTOCOL_INVOKE, PROTOCOL_GRPC, PROTOCOL_HTTP or PROTOCOL_ATTACH",
        );
        if self.protocol == Some(Protocol::Attach) {
            self.check_attach(&mut v);
        } else if let Err(problem) = address::check(&self.address) {
            v.add("address", format!("{problem}; give {}", address::FORM));
        }
        v.count(
            &At::field("concurrency"),
            self.concurrency,
            bounds::CONCURRENCY_MAX,
        );
        match protocol {
            Protocol::Attach => {}
            Protocol::Invoke => self.check_invoke(&mut v),
            Protocol::Grpc | Protocol::Http => self.check_methods(&mut v, protocol),
        }
        v.give(Participant {
            name: self.participant,
            protocol,
            address: self.address,
            methods: BTreeMap::from_iter(self.methods),
            check_back: self.check_back,
            concurrency: self.concurrency,
        })
    }

    /// A participant that attaches says the rest itself, in each Hello.
    fn check_attach(&self, v: &mut Violations) {
        let given = [
            ("address", !self.address.is_empty()),
            ("methods", !self.methods.is_empty()),
            ("check_back", !self.check_back.is_empty()),
            ("concurrency", self.concurrency > 0),
        ];
        for (field, given) in given {
            if given {
                v.add(
                    field,
                    "is not accepted with PROTOCOL_ATTACH, where the participant calls the coordinator",
                );
            }
        }
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

    fn check_methods(&self, v: &mut Violations, protocol: Protocol) {
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
            check_paths(methods, protocol, &at, v);
            if self.methods[..place]
                .iter()
                .any(|(other, _)| other == handler)
            {
                v.add(&at.of("handler"), "is given twice; give each handler once");
            }
        }
        check_path(&At::field("check_back"), &self.check_back, protocol, v);
    }
}

fn check_paths(methods: &Methods, protocol: Protocol, at: &At<'_>, v: &mut Violations) {
    let paths = [
        ("try", &methods.tries),
        ("confirm", &methods.confirm),
        ("cancel", &methods.cancel),
    ];
    for (field, path) in paths {
        check_path(&at.of(field), path, protocol, v);
    }
    if paths.iter().all(|(_, path)| path.is_empty()) {
        v.add(at, "names no method; give one of try, confirm and cancel");
    }
}

/// Checks a method or path; an empty one does not exist.
fn check_path(field: &At<'_>, path: &str, protocol: Protocol, v: &mut Violations) {
    if path.is_empty() {
        return;
    }
    let checked = match protocol {
        Protocol::Grpc => address::check_method(path),
        Protocol::Http | Protocol::Attach | Protocol::Invoke => address::check_path(path),
    };
    if let Err(problem) = checked {
        v.add(field, problem);
    }
}

impl Requests {
    /// Makes a participant that attaches known, if it is not yet. One that is registered at an address is refused: a
    /// Hello never takes an address away.
    pub(crate) async fn welcome(&self, hello: &Hello) -> Result<(), RequestError> {
        if self.is_welcome(&hello.participant)? {
            return Ok(());
        }
        let one_at_a_time = timeout(bounds::ANSWER_TIMEOUT, self.registering.lock()).await;
        let one_at_a_time = one_at_a_time.map_err(|_| {
            let what = "other registrations wait for it too";
            RequestError::StoreUnavailable(what.to_owned())
        })?;
        // It may have been registered meanwhile.
        if !self.is_welcome(&hello.participant)? {
            let participant = Participant::attaching(Name::clone(&hello.participant));
            self.put(participant).await?;
        }
        drop(one_at_a_time);
        Ok(())
    }

    /// Returns whether a participant is known as one that attaches.
    ///
    /// # Errors
    /// It is registered at an address.
    pub(crate) fn is_welcome(&self, name: &str) -> Result<bool, RequestError> {
        match self.known().get(name) {
            None => Ok(false),
            Some(known) if known.protocol == Protocol::Attach => Ok(true),
            Some(known) => {
                info!(
                    participant = name,
                    address = known.address,
                    "a participant that is registered at an address may not attach"
                );
                Err(RequestError::ParticipantRegistered {
                    participant: Name::clone(&known.name),
                    protocol: known.protocol.word(),
                    address: known.address.clone(),
                })
            }
        }
    }

    /// Registers a participant, in place of whatever was known of it. Returns the number of its registrations, and the
    /// participant that was replaced.
    pub(crate) async fn register(
        &self,
        participant: Participant,
    ) -> Result<(u32, Option<Participant>), RequestError> {
        let one_at_a_time = self.registering.lock().await;
        let replaced = self.known().get(&participant.name).cloned();
        let version = self.put(participant).await?;
        drop(one_at_a_time);
        Ok((version, replaced))
    }

    /// Makes a participant known: in the database, here, and to the engine, in this order. Returns the number of its
    /// registrations.
    async fn put(&self, participant: Participant) -> Result<u32, RequestError> {
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
