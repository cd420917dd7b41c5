//! Who is known as a participant, and how each is reached: `participant_info` in memory.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
};

use serde::{Deserialize, Serialize};
use tercet_core::{engine::Reach, model::Name};
use tercet_store::ParticipantRow;
use thiserror::Error;

use crate::limits;

/// How a participant is called.
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

/// The methods of one handler; an empty one is not there.
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
    /// How it is called.
    pub protocol: Protocol,
    /// Where; empty for [`Protocol::Attach`].
    pub address: String,
    /// By handler.
    pub methods: BTreeMap<String, Methods>,
    /// The method or path that answers a check-back; empty: none.
    pub check_back: String,
    /// Calls made to it at once, where it is called at an address.
    pub concurrency: u32,
}

/// A row of `participant_info` that says nothing usable.
#[derive(Debug, Error)]
#[error("participant {participant} in participant_info: {what}; register it again")]
pub struct BadRow {
    participant: Name,
    what: String,
}

impl Participant {
    /// One that attaches.
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

    /// What the row says.
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

    /// The row that says this.
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
            version: 0,
        }
    }

    /// How the engine sees it.
    pub fn reach(&self) -> Reach {
        match self.protocol {
            Protocol::Attach => Reach::Attach,
            Protocol::Invoke | Protocol::Grpc | Protocol::Http => Reach::Direct {
                concurrency: match self.concurrency {
                    0 => limits::CONCURRENCY_DEFAULT,
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

/// Everyone who is known, by name.
pub type Known = HashMap<Name, Participant>;

/// Everyone who is known, and how many streams each has here. Cheap to share and to look at: a batch of
/// requests takes one snapshot.
#[derive(Debug, Default)]
pub struct Directory {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    known: Arc<Known>,
    attached: HashMap<Name, u32>,
}

impl Directory {
    /// With these.
    pub fn new(participants: impl IntoIterator<Item = Participant>) -> Self {
        let known = participants
            .into_iter()
            .map(|participant| (Arc::clone(&participant.name), participant))
            .collect();
        Self {
            inner: Mutex::new(Inner {
                known: Arc::new(known),
                attached: HashMap::new(),
            }),
        }
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, Inner> {
        // Nothing that panics runs under the lock.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Everyone, as of now.
    pub fn snapshot(&self) -> Arc<Known> {
        Arc::clone(&self.locked().known)
    }

    /// Makes one known, or replaces what was known of it.
    pub fn put(&self, participant: Participant) {
        let mut inner = self.locked();
        Arc::make_mut(&mut inner.known).insert(Arc::clone(&participant.name), participant);
    }

    /// A stream came.
    pub fn attach(&self, name: &Name) {
        *self.locked().attached.entry(Arc::clone(name)).or_default() += 1;
    }

    /// A stream went.
    pub fn detach(&self, name: &Name) {
        let mut inner = self.locked();
        if let Some(count) = inner.attached.get_mut(name) {
            *count -= 1;
            if *count == 0 {
                inner.attached.remove(name);
            }
        }
    }

    /// Streams that are attached here.
    pub fn attached(&self, name: &str) -> u32 {
        self.locked().attached.get(name).copied().unwrap_or(0)
    }
}
