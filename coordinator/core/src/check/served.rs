//! The rule for handlers: an action is for a handler that its participant is known to have, in a mode that it answers.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use crate::{
    limits,
    model::{ActionSpec, Decider, Mode, Name, Operation},
};

/// The participants that are known, as far as requests depend on them.
pub trait Directory {
    /// Returns what is known of the participant with this name.
    fn listed(&self, name: &str) -> Listed<'_>;
}

/// The knowledge of one participant.
#[derive(Clone, Copy, Debug)]
pub enum Listed<'a> {
    /// No participant of this name has ever attached or been registered.
    Unknown,
    /// There is one, but its row cannot be read, for this reason.
    Unreadable(&'a str),
    /// There is one, and it serves this.
    Serves(&'a Served),
}

/// The work that a participant is known to serve, by any of its instances, attached now or not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Served {
    /// Not known: anything may be.
    #[default]
    Any,
    /// This, and nothing else.
    Only {
        /// The handlers.
        handlers: BTreeMap<Name, Answers>,
        /// Whether it answers check-backs.
        check_backs: bool,
    },
}

/// The calls that a handler answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answers {
    /// Those of actions in any mode.
    All,
    /// Those of actions in these modes.
    Modes(BTreeSet<Mode>),
    /// Those of these operations, in any mode.
    Operations(BTreeSet<Operation>),
}

/// A field of an action that names what its participant does not serve, with the reason.
pub type Unserved = (&'static str, String);

impl Served {
    /// Returns the field of an action that names what the participant does not serve. The `decider` is that of the
    /// action's transaction: where it is the initiator, that calls the Tries itself.
    pub fn unserved(&self, action: &ActionSpec, decider: Decider) -> Option<Unserved> {
        let Self::Only { handlers, .. } = self else {
            return None;
        };
        let (participant, handler, mode) = (&action.participant, &action.handler, action.mode);
        match handlers.get(handler) {
            None => Some((
                "handler",
                format!(
                    "participant {participant} has no handler {handler}; it has {}",
                    list(handlers)
                ),
            )),
            Some(Answers::All) => None,
            Some(Answers::Modes(modes)) => (!modes.contains(&mode)).then(|| {
                (
                    "mode",
                    format!(
                        "is {mode}; handler {handler} of participant {participant} answers {}",
                        words(modes, Mode::word)
                    ),
                )
            }),
            Some(Answers::Operations(operations)) => {
                let mut called = called(action, decider).iter();
                let lacking = called.find(|operation| !operations.contains(operation))?;
                Some((
                    "mode",
                    format!(
                        "is {mode}, which needs a method for {lacking}; handler {handler} of participant {participant} \
                         is registered with {}",
                        words(operations, Operation::word)
                    ),
                ))
            }
        }
    }

    /// Returns whether the participant answers check-backs, as far as that is known.
    pub(super) fn answers_check_backs(&self) -> bool {
        match self {
            Self::Any => true,
            Self::Only { check_backs, .. } => *check_backs,
        }
    }
}

/// Returns the operations that the coordinator may call for an action.
fn called(action: &ActionSpec, decider: Decider) -> &'static [Operation] {
    use Operation::{Cancel, Confirm, Try};
    let tries = decider == Decider::Coordinator && !action.already_tried;
    match (action.mode, tries) {
        (Mode::Tcc, true) => &[Try, Confirm, Cancel],
        (Mode::Tcc, false) => &[Confirm, Cancel],
        (Mode::Compensate, true) => &[Try, Cancel],
        (Mode::Compensate, false) => &[Cancel],
        (Mode::Deliver, _) => &[Confirm],
    }
}

/// Lists handlers with what they answer; of many the first.
fn list(handlers: &BTreeMap<Name, Answers>) -> String {
    let mut text = String::new();
    for (name, answers) in handlers.iter().take(limits::HANDLERS_LISTED) {
        if !text.is_empty() {
            text.push_str(", ");
        }
        // Writing to a text does not fail.
        let _ = match answers {
            Answers::All => write!(text, "{name} (any mode)"),
            Answers::Modes(modes) => write!(text, "{name} ({})", words(modes, Mode::word)),
            Answers::Operations(operations) => {
                write!(text, "{name} ({})", words(operations, Operation::word))
            }
        };
    }
    match handlers.len().checked_sub(limits::HANDLERS_LISTED) {
        Some(more) if more > 0 => text + &format!(" and {more} more"),
        _ if text.is_empty() => "none".to_owned(),
        _ => text,
    }
}

fn words<T: Copy>(values: &BTreeSet<T>, word: fn(T) -> &'static str) -> String {
    let words: Vec<&str> = values.iter().map(|value| word(*value)).collect();
    words.join(", ")
}
