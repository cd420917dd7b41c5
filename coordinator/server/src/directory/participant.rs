//! One participant that is known, and its row.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde::{Deserialize, Serialize};
use tercet_core::{
    check::{Answers, Served},
    model::{Mode, Name, Operation},
    port::{Abilities, Reach},
};
use tercet_store::{ParticipantRow, UnreadableParticipant};

use crate::bounds;

/// The protocol by which a participant is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// On its own streams.
    Attach,
    /// `tercet.v1.Participant`.
    Invoke,
    /// Any unary gRPC method.
    Grpc,
    /// HTTP POST.
    Http,
}

impl Protocol {
    /// The word that the database keeps.
    pub fn word(self) -> &'static str {
        match self {
            Self::Attach => "ATTACH",
            Self::Invoke => "INVOKE",
            Self::Grpc => "GRPC",
            Self::Http => "HTTP",
        }
    }

    fn from_word(word: &str) -> Option<Self> {
        [Self::Attach, Self::Invoke, Self::Grpc, Self::Http]
            .into_iter()
            .find(|protocol| protocol.word() == word)
    }
}

/// The methods of one handler; an empty one does not exist.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Methods {
    /// For TRY.
    #[serde(default, rename = "try")]
    pub tries: String,
    /// For CONFIRM.
    #[serde(default)]
    pub confirm: String,
    /// For CANCEL.
    #[serde(default)]
    pub cancel: String,
}

impl Methods {
    fn operations(&self) -> BTreeSet<Operation> {
        let methods = [
            (Operation::Try, &self.tries),
            (Operation::Confirm, &self.confirm),
            (Operation::Cancel, &self.cancel),
        ];
        let there = methods.into_iter().filter(|(_, method)| !method.is_empty());
        there.map(|(operation, _)| operation).collect()
    }
}

/// The abilities that instances of a participant have had in their Hellos.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Said {
    /// The modes that each handler answers; empty: every mode.
    #[serde(default)]
    pub handlers: BTreeMap<Name, BTreeSet<Mode>>,
    /// Whether one of them answers check-backs.
    #[serde(default)]
    pub check_backs: bool,
    /// Whether there were more handlers than are kept, so that none is known not to be there.
    #[serde(default)]
    pub overflowed: bool,
}

impl From<&Abilities> for Said {
    fn from(abilities: &Abilities) -> Self {
        let mut said = Self {
            check_backs: abilities.check_backs,
            ..Self::default()
        };
        for (name, mode) in &abilities.handlers {
            said.add(name, &BTreeSet::from_iter(*mode));
        }
        said
    }
}

impl Said {
    /// Adds the abilities of another instance. Handlers beyond [`bounds::HANDLERS_KEPT`] are not kept.
    pub fn join(&mut self, other: &Self) {
        self.check_backs |= other.check_backs;
        self.overflowed |= other.overflowed;
        for (name, modes) in &other.handlers {
            self.add(name, modes);
        }
    }

    /// Returns whether the abilities of another instance add nothing.
    pub fn covers(&self, other: &Self) -> bool {
        let covered = |(name, modes): (&Name, &BTreeSet<Mode>)| {
            let known = self.handlers.get(name);
            known.is_some_and(|known| {
                known.is_empty() || !modes.is_empty() && modes.is_subset(known)
            })
        };
        (self.check_backs || !other.check_backs)
            && (self.overflowed || !other.overflowed && other.handlers.iter().all(covered))
    }

    fn add(&mut self, name: &Name, modes: &BTreeSet<Mode>) {
        let is_full = self.handlers.len() >= bounds::HANDLERS_KEPT;
        match self.handlers.get_mut(name) {
            Some(known) if known.is_empty() || modes.is_empty() => known.clear(),
            Some(known) => known.extend(modes),
            None if is_full => self.overflowed = true,
            None => {
                self.handlers.insert(Name::clone(name), modes.clone());
            }
        }
    }

    fn served(&self) -> Served {
        if self.overflowed {
            return Served::Any;
        }
        let handlers = self.handlers.iter().map(|(name, modes)| {
            let answers = if modes.is_empty() {
                Answers::All
            } else {
                Answers::Modes(modes.clone())
            };
            (Name::clone(name), answers)
        });
        Served::Only {
            handlers: handlers.collect(),
            check_backs: self.check_backs,
        }
    }
}

#[derive(Default, Serialize, Deserialize)]
struct MethodsColumn {
    #[serde(default)]
    handlers: BTreeMap<String, Methods>,
    #[serde(default)]
    check_back: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    said: Option<Said>,
}

#[derive(Default, Serialize, Deserialize)]
struct PolicyColumn {
    #[serde(default)]
    concurrency: u32,
}

/// One participant that is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Participant {
    /// Its name.
    pub name: Name,
    /// The protocol by which it is called.
    pub protocol: Protocol,
    /// The address to call; empty for [`Protocol::Attach`].
    pub address: String,
    /// The methods, by handler.
    pub methods: BTreeMap<String, Methods>,
    /// The method or path that answers a check-back; empty: none.
    pub check_back: String,
    /// Calls made to it at once, where it is called at an address.
    pub concurrency: u32,
    /// For [`Protocol::Attach`]: the abilities of its instances, attached now or before. `None`: no instance has attached
    /// since it was registered.
    pub said: Option<Said>,
    /// Whether it may have instances that attached before their abilities were kept, by a program before this one: none
    /// of them is known not to be there in this run.
    pub said_before: bool,
}

impl Participant {
    /// Makes a participant that attaches.
    pub fn attaching(name: Name) -> Self {
        Self {
            name,
            protocol: Protocol::Attach,
            address: String::new(),
            methods: BTreeMap::new(),
            check_back: String::new(),
            concurrency: 0,
            said: None,
            said_before: false,
        }
    }

    /// Makes the participant of a row.
    ///
    /// # Errors
    /// A row with an unknown protocol, or with columns that cannot be read.
    pub fn from_row(row: ParticipantRow) -> Result<Self, UnreadableParticipant> {
        let unreadable = |what| UnreadableParticipant {
            participant: Some(Arc::clone(&row.participant)),
            what,
        };
        let word = row.protocol.as_str();
        let protocol = Protocol::from_word(word).ok_or_else(|| {
            let words = "ATTACH, INVOKE, GRPC or HTTP";
            unreadable(format!("protocol is {word:?}, not {words}"))
        })?;
        let methods: MethodsColumn = json("methods", &row.methods).map_err(unreadable)?;
        let policy: PolicyColumn = json("policy", &row.policy).map_err(unreadable)?;
        Ok(Self {
            protocol,
            methods: methods.handlers,
            check_back: methods.check_back,
            concurrency: policy.concurrency,
            said_before: protocol == Protocol::Attach && methods.said.is_none(),
            said: methods.said,
            address: row.address,
            name: row.participant,
        })
    }

    /// Makes the row of the participant.
    pub fn to_row(&self) -> ParticipantRow {
        let methods = MethodsColumn {
            handlers: self.methods.clone(),
            check_back: self.check_back.clone(),
            said: self.said.clone(),
        };
        let policy = PolicyColumn {
            concurrency: self.concurrency,
        };
        ParticipantRow {
            participant: Arc::clone(&self.name),
            protocol: self.protocol.word().to_owned(),
            address: self.address.clone(),
            methods: serde_json::to_string(&methods).unwrap_or_default(),
            policy: serde_json::to_string(&policy).unwrap_or_default(),
            // A registration changes neither.
            paused: false,
            version: 0,
        }
    }

    /// Returns the way on which the engine reaches it.
    pub fn reach(&self) -> Reach {
        match self.protocol {
            Protocol::Attach => Reach::Attach,
            Protocol::Invoke | Protocol::Grpc | Protocol::Http => Reach::Direct {
                concurrency: match self.concurrency {
                    0 => bounds::CONCURRENCY_DEFAULT,
                    given => given,
                },
            },
        }
    }

    /// Returns the work that it is known to serve.
    pub fn served(&self) -> Served {
        match self.protocol {
            Protocol::Attach if self.said_before => Served::Any,
            Protocol::Attach => self.said.as_ref().map_or(Served::Any, Said::served),
            // It has one method for all.
            Protocol::Invoke => Served::Any,
            Protocol::Grpc | Protocol::Http => {
                let handlers = self.methods.iter().map(|(name, methods)| {
                    let answers = Answers::Operations(methods.operations());
                    (name.as_str().into(), answers)
                });
                Served::Only {
                    handlers: handlers.collect(),
                    check_backs: !self.check_back.is_empty(),
                }
            }
        }
    }

    /// Adds the abilities of an instance that attaches.
    pub fn hear(&mut self, said: &Said) {
        self.said.get_or_insert_default().join(said);
    }

    /// Returns whether the abilities of an instance that attaches add nothing.
    pub fn has_heard(&self, said: &Said) -> bool {
        self.said.as_ref().is_some_and(|known| known.covers(said))
    }
}

fn json<T: Default + serde::de::DeserializeOwned>(column: &str, text: &str) -> Result<T, String> {
    if text.is_empty() {
        return Ok(T::default());
    }
    serde_json::from_str(text).map_err(|error| format!("{column} cannot be read: {error}"))
}
