//! The participants that are known, and the way to each: `participant_info` in memory.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
};

use serde::{Deserialize, Serialize};
use tercet_core::{
    model::Name,
    port::{Outage, Reach},
};
use tercet_store::ParticipantRow;
use thiserror::Error;
use tokio::sync::watch;

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

#[derive(Default, Serialize, Deserialize)]
struct MethodsColumn {
    #[serde(default)]
    handlers: BTreeMap<String, Methods>,
    #[serde(default)]
    check_back: String,
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
}

/// A row of `participant_info` that makes no participant.
#[derive(Debug, Error)]
#[error("participant {participant} in participant_info: {what}; register it again")]
pub struct BadRow {
    participant: Name,
    what: String,
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
        }
    }

    /// Makes the participant of a row.
    ///
    /// # Errors
    /// A row with an unknown protocol, or with columns that cannot be read.
    pub fn from_row(row: ParticipantRow) -> Result<Self, BadRow> {
        let bad = |what: String| BadRow {
            participant: Arc::clone(&row.participant),
            what,
        };
        let protocol = Protocol::from_word(&row.protocol)
            .ok_or_else(|| bad(format!("unknown protocol {}", row.protocol)))?;
        let methods: MethodsColumn =
            json(&row.methods).map_err(|e| bad(format!("methods: {e}")))?;
        let policy: PolicyColumn = json(&row.policy).map_err(|e| bad(format!("policy: {e}")))?;
        Ok(Self {
            protocol,
            methods: methods.handlers,
            check_back: methods.check_back,
            concurrency: policy.concurrency,
            address: row.address,
            name: row.participant,
        })
    }

    /// Makes the row of the participant.
    pub fn to_row(&self) -> ParticipantRow {
        let methods = MethodsColumn {
            handlers: self.methods.clone(),
            check_back: self.check_back.clone(),
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
}

fn json<T: Default + serde::de::DeserializeOwned>(text: &str) -> Result<T, serde_json::Error> {
    if text.is_empty() {
        return Ok(T::default());
    }
    serde_json::from_str(text)
}

/// The participants that are known, by name: a snapshot of the [`Directory`].
#[derive(Clone, Debug, Default)]
pub struct Known(HashMap<Name, Participant>);

impl Known {
    /// Returns whether a participant has this name.
    pub fn contains(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// Returns the participant of this name.
    pub fn get(&self, name: &str) -> Option<&Participant> {
        self.0.get(name)
    }

    /// Returns every participant, in no order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Participant> {
        self.0.values()
    }
}

/// The participants that are known, and the number of streams that each has here. Cheap to share and to read: a batch
/// of requests takes one snapshot.
#[derive(Debug, Default)]
pub struct Directory {
    inner: Mutex<Inner>,
    /// The number of participants put.
    changes: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Inner {
    known: Arc<Known>,
    attached: HashMap<Name, u32>,
    /// Registered addresses that take no call, by their participants.
    down: HashMap<Name, Outage>,
}

impl Directory {
    /// Makes a directory of these participants.
    pub fn new(participants: impl IntoIterator<Item = Participant>) -> Self {
        let known = participants
            .into_iter()
            .map(|participant| (Arc::clone(&participant.name), participant))
            .collect();
        Self {
            inner: Mutex::new(Inner {
                known: Arc::new(Known(known)),
                attached: HashMap::new(),
                down: HashMap::new(),
            }),
            changes: watch::Sender::default(),
        }
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, Inner> {
        // Nothing that panics runs under the lock.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the participants that are known now.
    pub fn snapshot(&self) -> Arc<Known> {
        Arc::clone(&self.locked().known)
    }

    /// Adds a participant, or replaces the one of the same name.
    pub fn put(&self, participant: Participant) {
        let mut inner = self.locked();
        let known = Arc::make_mut(&mut inner.known);
        known.0.insert(Arc::clone(&participant.name), participant);
        drop(inner);
        self.changes.send_modify(|changes| *changes += 1);
    }

    /// Returns a receiver that is notified of every participant that is put, and once at first.
    pub fn changes(&self) -> watch::Receiver<u64> {
        let mut changes = self.changes.subscribe();
        changes.mark_changed();
        changes
    }

    /// Counts a stream that was attached.
    pub fn attach(&self, name: &Name) {
        *self.locked().attached.entry(Arc::clone(name)).or_default() += 1;
    }

    /// Counts a stream that has ended.
    pub fn detach(&self, name: &Name) {
        let mut inner = self.locked();
        if let Some(count) = inner.attached.get_mut(name) {
            *count -= 1;
            if *count == 0 {
                inner.attached.remove(name);
            }
        }
    }

    /// Notes that a participant's address is down, or no longer.
    pub fn note_outage(&self, name: &Name, outage: Option<Outage>) {
        let down = &mut self.locked().down;
        match outage {
            Some(outage) => down.insert(Arc::clone(name), outage),
            None => down.remove(name),
        };
    }

    /// Returns the outage of a participant's address, if it is down.
    pub fn outage(&self, name: &str) -> Option<Outage> {
        self.locked().down.get(name).cloned()
    }

    /// Returns the number of streams that a participant has attached here.
    pub fn attached(&self, name: &str) -> u32 {
        self.locked().attached.get(name).copied().unwrap_or(0)
    }
}
