//! A transaction as the core holds it.
//!
//! What never changes (the *spec*) is shared behind an [`Arc`]; what changes is small and plain, so
//! that the next state is a cheap copy of the last.

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{id::TxId, limits, time::Timestamp};

/// A name: 1 to [`limits::NAME_BYTES`] bytes without NUL, compared byte by byte.
pub type Name = Arc<str>;

/// The caller's own words on a transaction or an action.
pub type Ext = BTreeMap<String, String>;

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum $name {
            $($(#[$variant_doc])* #[serde(rename = $word)] $variant,)*
        }

        impl $name {
            /// Every value.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The word that the database and people see.
            pub const fn word(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }

            /// The value with this word.
            pub fn from_word(word: &str) -> Option<Self> {
                match word { $($word => Some(Self::$variant),)* _ => None }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.word())
            }
        }
    };
}

words! {
    /// What phase one does and which calls phase two makes.
    Mode {
        /// Try freezes, Confirm uses, Cancel gives back.
        Tcc = "TCC",
        /// Try really does it, Cancel undoes it.
        Compensate = "COMPENSATE",
        /// Confirm delivers; there is nothing else.
        Deliver = "DELIVER",
    }
}

words! {
    /// What a participant is asked to do.
    Operation {
        /// Phase one.
        Try = "TRY",
        /// Phase two after SUCCESS.
        Confirm = "CONFIRM",
        /// Phase two after FAILURE.
        Cancel = "CANCEL",
    }
}

words! {
    /// The decision's content.
    Outcome {
        /// Every action takes effect.
        Success = "SUCCESS",
        /// No action takes effect.
        Failure = "FAILURE",
    }
}

words! {
    /// How far the work is: the column `tx_info.status`.
    TxStatus {
        /// Phase one.
        ProcessWaiting = "PROCESS_WAITING",
        /// Phase two.
        Processing = "PROCESSING",
        /// Every action is where the decision wants it.
        Success = "SUCCESS",
        /// Parked.
        Failure = "FAILURE",
    }
}

words! {
    /// What is known of the business outcome: the column `tx_info.biz_status`.
    BizStatus {
        /// Nothing.
        Init = "INIT",
        /// The initiator is being asked back.
        Unknown = "UNKNOWN",
        /// Decided.
        Success = "SUCCESS",
        /// Decided.
        Failure = "FAILURE",
    }
}

words! {
    /// How far one action is: the column `action_info.status`.
    ActionStatus {
        /// Nothing is known of it.
        Init = "INIT",
        /// Its Try is done.
        Tried = "TRIED",
        /// Its Try was refused: no effect.
        Rejected = "REJECTED",
        /// It has taken effect for good.
        Confirmed = "CONFIRMED",
        /// It has no effect, for good.
        Cancelled = "CANCELLED",
        /// It cannot finish by itself.
        Failed = "FAILED",
    }
}

words! {
    /// Why a call is in the list of attempts.
    AttemptOutcome {
        /// Nobody knows what it did.
        Unknown = "UNKNOWN",
        /// The participant refused.
        Rejected = "REJECTED",
        /// There was no way to the participant; nothing was sent.
        Unreachable = "UNREACHABLE",
    }
}

words! {
    /// Who makes the Tries and decides: the column `tx_info.driver`.
    Driver {
        /// This coordinator (Execute).
        Coordinator = "COORDINATOR",
        /// The initiator (Begin, `AddAction`, Decide).
        Initiator = "INITIATOR",
    }
}

/// Why the decision is what it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Cause {
    /// Every Try answered OK.
    AllTried,
    /// This action's participant refused its Try.
    Rejected {
        /// The action.
        action: Name,
        /// The participant's words.
        reason: String,
    },
    /// Phase one did not end in time.
    Deadline,
    /// The initiator decided FAILURE.
    Aborted {
        /// Its words.
        reason: String,
    },
    /// The initiator decided SUCCESS.
    Initiator {
        /// Its words.
        reason: String,
    },
    /// The initiator was asked back: it answered, or it did not within the attempts allowed.
    CheckBack {
        /// What came of it.
        reason: String,
    },
    /// A person decided.
    Operator {
        /// That person's words.
        reason: String,
    },
}

/// Made once, durable before anything acts on it, never changed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Decision {
    /// What was decided.
    pub outcome: Outcome,
    /// Why.
    pub cause: Cause,
}

/// When and how often a call that did not succeed is repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RetryPolicy {
    /// The back-off's first step.
    #[serde(with = "crate::time::millis")]
    pub first_delay: Duration,
    /// The back-off's cap.
    #[serde(with = "crate::time::millis")]
    pub max_delay: Duration,
    /// Calls of one operation in phase two before the action is FAILED; at least 1.
    pub max_attempts: u32,
    /// Age after the decision at which the action is FAILED at its next failing call.
    #[serde(with = "crate::time::millis::optional", default)]
    pub max_age: Option<Duration>,
    /// How long one call may take.
    #[serde(with = "crate::time::millis")]
    pub call_timeout: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            first_delay: limits::FIRST_DELAY_DEFAULT,
            max_delay: limits::MAX_DELAY_DEFAULT,
            max_attempts: limits::MAX_ATTEMPTS_DEFAULT,
            max_age: None,
            call_timeout: limits::CALL_TIMEOUT_DEFAULT,
        }
    }
}

/// How the initiator is asked for the outcome.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct CheckBack {
    /// Who is asked.
    pub participant: Name,
    /// Wait after the deadline before the first question.
    #[serde(with = "crate::time::millis")]
    pub first_delay: Duration,
    /// Wait after the first UNKNOWN, doubled each time.
    #[serde(with = "crate::time::millis")]
    pub interval: Duration,
    /// The cap of the wait.
    #[serde(with = "crate::time::millis")]
    pub max_interval: Duration,
    /// Questions after which FAILURE is decided; `None`: ask without end.
    pub max_attempts: Option<u32>,
}

/// What never changes of an action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActionSpec {
    /// Unique in the transaction.
    pub name: Name,
    /// What is called, and when.
    pub mode: Mode,
    /// Whom to call.
    pub participant: Name,
    /// The participant's handler.
    pub handler: Name,
    /// Handed to every operation.
    pub payload: Bytes,
    /// Actions whose Try comes first. Every one of them is in the transaction, and there is no cycle.
    pub after: Vec<Name>,
    /// Whether the Try is given the results of the actions in `after`.
    pub wants_results: bool,
    /// The initiator's own share, whose Try was done before it was registered.
    pub already_tried: bool,
    /// When a call is repeated.
    pub retry: RetryPolicy,
    /// Passed on with every call.
    pub ext: Ext,
}

/// An action as it was begun, for people: an entry of `tx_info.participants_info`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Begun {
    /// The action.
    pub action: Name,
    /// Its participant.
    pub participant: Name,
    /// Its mode.
    pub mode: Mode,
}

/// What never changes of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TxSpec {
    /// Its id.
    pub id: TxId,
    /// What kind of business this is.
    pub business_type: Name,
    /// Which one.
    pub business_id: Name,
    /// Whether (`business_type`, `business_id`) is unique.
    pub unique_business: bool,
    /// Who makes the Tries and decides.
    pub driver: Driver,
    /// Whom to ask when no decision came in time.
    pub check_back: Option<CheckBack>,
    /// The caller's own words.
    pub ext: Ext,
    /// The actions that came with the begin: the first ones of the transaction.
    pub begun: Vec<Begun>,
    /// When it was begun.
    pub create_time: Timestamp,
    /// When phase one ends.
    pub deadline: Timestamp,
}

/// Where a transaction stands. Each variant carries only what that state has.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Phase one runs.
    Trying,
    /// Phase one ran out of time; the initiator is asked at `next`.
    AskingBack {
        /// When the next question is due.
        next: Timestamp,
    },
    /// Phase two runs.
    Finishing {
        /// What is carried out.
        decision: Decision,
        /// When it was made.
        decided_at: Timestamp,
    },
    /// Every action is where the decision wants it.
    Finished {
        /// What was carried out.
        decision: Decision,
        /// When it was made.
        decided_at: Timestamp,
        /// When it was carried out.
        finished_at: Timestamp,
    },
    /// Phase two cannot finish by itself.
    Parked {
        /// What could not be carried out.
        decision: Decision,
        /// When it was made.
        decided_at: Timestamp,
    },
}

impl Phase {
    /// The column `status`.
    pub fn status(&self) -> TxStatus {
        match self {
            Self::Trying | Self::AskingBack { .. } => TxStatus::ProcessWaiting,
            Self::Finishing { .. } => TxStatus::Processing,
            Self::Finished { .. } => TxStatus::Success,
            Self::Parked { .. } => TxStatus::Failure,
        }
    }

    /// The column `biz_status`.
    pub fn biz_status(&self) -> BizStatus {
        match (self, self.decision()) {
            (Self::AskingBack { .. }, _) => BizStatus::Unknown,
            (_, None) => BizStatus::Init,
            (
                _,
                Some(Decision {
                    outcome: Outcome::Success,
                    ..
                }),
            ) => BizStatus::Success,
            (
                _,
                Some(Decision {
                    outcome: Outcome::Failure,
                    ..
                }),
            ) => BizStatus::Failure,
        }
    }

    /// The decision, once made.
    pub fn decision(&self) -> Option<&Decision> {
        match self {
            Self::Trying | Self::AskingBack { .. } => None,
            Self::Finishing { decision, .. }
            | Self::Finished { decision, .. }
            | Self::Parked { decision, .. } => Some(decision),
        }
    }

    /// When the decision was made.
    pub fn decided_at(&self) -> Option<Timestamp> {
        match self {
            Self::Trying | Self::AskingBack { .. } => None,
            Self::Finishing { decided_at, .. }
            | Self::Finished { decided_at, .. }
            | Self::Parked { decided_at, .. } => Some(*decided_at),
        }
    }

    /// When it became final.
    pub fn finished_at(&self) -> Option<Timestamp> {
        match self {
            Self::Finished { finished_at, .. } => Some(*finished_at),
            _ => None,
        }
    }

    /// Whether nothing is left to do by itself: finished or parked.
    pub fn is_settled(&self) -> bool {
        matches!(self, Self::Finished { .. } | Self::Parked { .. })
    }
}

/// Which incarnation of which node drives a transaction.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Owner {
    /// The node's name.
    pub node: Name,
    /// Its incarnation, raised at each start.
    pub epoch: u64,
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.node, self.epoch)
    }
}

/// One call that did not go well at once.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Attempt {
    /// What was asked.
    pub operation: Operation,
    /// When, in microseconds (see [`Timestamp`]).
    pub at: i64,
    /// How long it took, in microseconds.
    pub took: u64,
    /// The number of this call, from 1. For [`AttemptOutcome::Unreachable`] the call that was allowed
    /// and not made; 0 where none was.
    pub number: u32,
    /// What came of it.
    pub outcome: AttemptOutcome,
    /// The participant's or the transport's words.
    pub error: String,
    /// When the next call is due, in microseconds; `None`: no next call.
    pub next: Option<i64>,
}

/// What this incarnation knows of an action's Try. Never stored: what is loaded is [`Sent::Perhaps`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Sent {
    /// Certainly not sent.
    Never,
    /// Sent once, by this incarnation, which wrote the action and never let go of it.
    Once,
    /// Sent several times, or by somebody else, or nobody knows.
    Perhaps,
}

/// One participant's share of the work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Action {
    /// What never changes.
    pub spec: Arc<ActionSpec>,
    /// How far it is.
    pub status: ActionStatus,
    /// What its Try returned.
    pub result: Bytes,
    /// Calls of phase two that were authorised after the first. See `docs/adr/0010`.
    pub retry_count: u32,
    /// The last thing that went wrong; empty: nothing.
    pub last_error: String,
    /// The last [`limits::ATTEMPTS_KEPT`] calls that did not go well at once.
    pub attempts: Vec<Attempt>,
    /// Writes of the row; 0: not yet written.
    pub version: u32,
    /// When it reached its final status.
    pub finished_at: Option<Timestamp>,
    /// What only this incarnation knows.
    pub live: Live,
}

/// What is known of an action only in memory.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Live {
    /// Whether its Try was sent.
    pub sent: Sent,
    /// Whether a call of phase two may be sent: given by a durable write, used up by the call.
    pub permit: bool,
    /// Whether there was no way to its participant when a call was last wanted.
    pub unreachable: bool,
    /// Before this time no call is sent.
    pub not_before: Timestamp,
    /// Tries sent by this incarnation.
    pub tries: u32,
    /// Rejections of phase two in a row.
    pub rejections: u32,
    /// Whether the row differs from the database.
    pub dirty: bool,
}

/// One transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    /// What never changes.
    pub spec: Arc<TxSpec>,
    /// Where it stands.
    pub phase: Phase,
    /// How often the initiator was asked back: the column `retry_count`.
    pub check_backs: u32,
    /// Writes of the transaction: the fence; 0: not yet written.
    pub version: u32,
    /// Who drives it.
    pub owner: Owner,
    /// The participant of the next call of phase two, when nothing is in hand.
    pub waiting_for: Option<Name>,
    /// When somebody must look at it again; `None` once settled.
    pub next_attempt_at: Option<Timestamp>,
    /// In the order in which they were begun or added.
    pub actions: Vec<Action>,
}

impl Transaction {
    /// Its id.
    pub fn id(&self) -> TxId {
        self.spec.id
    }

    /// The action with this name, and its place.
    pub fn action(&self, name: &str) -> Option<(usize, &Action)> {
        self.actions
            .iter()
            .enumerate()
            .find(|(_, a)| &*a.spec.name == name)
    }
}
