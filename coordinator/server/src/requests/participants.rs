//! Participants that attach, and the registration of those that do not.

use std::{collections::BTreeMap, convert::Infallible, sync::Arc};

use tercet_core::{
    limits,
    model::{Mode, Name},
    port::{Abilities, Input},
    violation::{At, Invalid, Violation, Violations},
};
use tercet_store::{ParticipantRow, UnreadableParticipant};
use tokio::time::sleep;
use tracing::{debug, error, info, warn};

use super::Requests;
use crate::{
    address, bounds,
    directory::{Directory, Methods, Participant, Protocol, Said},
    error::RequestError,
    wire::words,
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
                let before = self.handlers[..place].iter();
                let first = before.enumerate().find(|(_, (other, _))| other == handler);
                if let Some((first, _)) = first
                    && !handler.is_empty()
                {
                    v.add(
                        &at.of("name"),
                        format!(
                            "is that of handlers[{first}] too; give each handler once, without a mode if it answers \
                             several"
                        ),
                    );
                }
                if let Err(number) = mode {
                    v.no_word(&at.of("mode"), *number, words::MODES);
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

/// A page of a list of participants.
#[derive(Clone, Debug)]
pub(crate) struct ParticipantsPage {
    /// The name before the first; empty: the first of all.
    pub(crate) after: String,
    /// The most participants.
    pub(crate) limit: usize,
}

impl ParticipantsPage {
    /// Makes the page of at most `limit` participants after this name.
    pub(crate) fn checked(after: String, limit: u32) -> Result<Self, Invalid> {
        let mut v = Violations::default();
        v.count(&At::field("page_size"), limit, bounds::PAGE_MAX);
        v.text(&At::field("cursor"), &after, limits::NAME_BYTES);
        v.give(Self {
            after,
            limit: usize::try_from(limit).unwrap_or(usize::MAX),
        })
    }
}

/// A participant to register, as a caller describes it.
#[derive(Clone, Debug)]
pub(crate) struct Registration {
    pub(crate) participant: Name,
    /// A number that is no protocol is kept.
    pub(crate) protocol: Result<Protocol, i32>,
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
        let protocol = v.word(
            "protocol",
            self.protocol.err().unwrap_or_default(),
            self.protocol.ok(),
            Protocol::Attach,
            words::PROTOCOLS,
        );
        if self.protocol == Ok(Protocol::Attach) {
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
            said: None,
            said_before: false,
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
    /// Makes a participant that attaches known with its handlers, as far as it is not yet. One that is registered at an
    /// address is refused: a Hello never takes an address away.
    pub(crate) async fn welcome(&self, name: &Name, said: &Said) -> Result<(), RequestError> {
        if self.is_welcome(name, said)? {
            return Ok(());
        }
        let one_at_a_time = self
            .pulse
            .timeout(bounds::ANSWER_TIMEOUT, self.registering.lock());
        let one_at_a_time = one_at_a_time.await.map_err(|_| {
            let what = "other registrations wait for it too";
            RequestError::StoreUnavailable(what.to_owned())
        })?;
        // It may have been registered meanwhile.
        if !self.is_welcome(name, said)? {
            let known = self.known().get(name).cloned();
            let mut participant =
                known.unwrap_or_else(|| Participant::attaching(Name::clone(name)));
            let overflowed = |it: &Participant| it.said.as_ref().is_some_and(|it| it.overflowed);
            let before = overflowed(&participant);
            participant.hear(said);
            if overflowed(&participant) && !before {
                warn!(
                    participant = &**name,
                    most = bounds::HANDLERS_KEPT,
                    "its instances have had more handlers than are kept; no request is refused for a handler of it until \
                     it is registered again"
                );
            }
            self.put(participant).await?;
        }
        drop(one_at_a_time);
        Ok(())
    }

    /// Returns whether a participant is known as one that attaches, with these abilities.
    ///
    /// # Errors
    /// It is registered at an address, or its row cannot be read.
    fn is_welcome(&self, name: &str, said: &Said) -> Result<bool, RequestError> {
        let all = self.known();
        match (all.get(name), all.unreadable(name)) {
            (None, None) => Ok(false),
            (None, Some(what)) => Err(RequestError::ParticipantUnreadable {
                participant: name.to_owned(),
                what: what.to_owned(),
            }),
            (Some(known), _) if known.protocol == Protocol::Attach => Ok(known.has_heard(said)),
            (Some(known), _) => {
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

    /// Registers a participant, in place of whatever was known of it; one that attaches begins anew with what its
    /// instances have that are attached. Returns the number of its registrations, and the participant that was replaced.
    pub(crate) async fn register(
        &self,
        mut participant: Participant,
    ) -> Result<(u32, Option<Participant>), RequestError> {
        let one_at_a_time = self.registering.lock().await;
        let replaced = self.known().get(&participant.name).cloned();
        if participant.protocol == Protocol::Attach {
            participant.said = self.directory.attached_said(&participant.name);
        }
        let version = self.put(participant).await?;
        drop(one_at_a_time);
        Ok((version, replaced))
    }

    /// Makes a participant known: in the database, here, and to the engine, in this order. Returns the number of its
    /// registrations.
    async fn put(&self, participant: Participant) -> Result<u32, RequestError> {
        let known = self.known();
        if known.number() >= bounds::PARTICIPANTS && !known.contains(&participant.name) {
            let description = format!(
                "would be one more than the {} that may be known",
                bounds::PARTICIPANTS
            );
            return Err(Violation::new("participant", description).into());
        }
        let version = self
            .answered(self.store.put_participant(&participant.to_row()))
            .await?;
        info!(
            participant = %participant.name,
            protocol = participant.protocol.word(),
            address = participant.address,
            version,
            "participant registered"
        );
        let input = reached(&participant);
        self.directory.put(participant);
        self.driver.inform(vec![input]).await;
        Ok(version)
    }

    /// Looks again and again at rows of participants that could not be read, and takes up what can be read by then. Never
    /// ends.
    pub(crate) async fn look_at_unreadable(&self) -> Infallible {
        loop {
            sleep(bounds::UNREADABLE_LOOK).await;
            if self.known().is_whole() {
                continue;
            }
            // No registration runs meanwhile, whose row would be older than the one here.
            let one_at_a_time = self.registering.lock().await;
            match self.answered(self.store.participants()).await {
                Ok(rows) => {
                    let inputs = take_up(&self.directory, rows);
                    if !inputs.is_empty() {
                        self.driver.inform(inputs).await;
                    }
                }
                Err(error) => debug!(%error, "the rows of participants were not read again"),
            }
            drop(one_at_a_time);
        }
    }
}

/// Takes up the rows of participants, and names those that cannot be read. Returns the ways to those that are new.
pub(crate) fn take_up(
    directory: &Directory,
    rows: Vec<Result<ParticipantRow, UnreadableParticipant>>,
) -> Vec<Input> {
    let was_whole = directory.snapshot().is_whole();
    let news = directory.take_up(rows);
    for UnreadableParticipant { participant, what } in news.unreadable {
        error!(
            participant = participant
                .as_deref()
                .unwrap_or("(a name that cannot be read)"),
            what,
            "a row of participant_info cannot be read; requests that name it are refused, its calls wait"
        );
    }
    for participant in news.participants.iter().filter(|_| !was_whole) {
        info!(participant = %participant.name, "a row of participant_info can be read again");
    }
    news.participants.iter().map(reached).collect()
}

fn reached(participant: &Participant) -> Input {
    Input::Participant {
        name: Arc::clone(&participant.name),
        reach: participant.reach(),
    }
}
