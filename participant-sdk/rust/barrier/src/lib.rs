//! The barrier's decision, pure: what one operation of one action does, given the row that an
//! earlier operation left in the participant's own database.
//!
//! The row of `(tx_id, action)` is written in the same local transaction as the business effect.
//! [`decide`] says what to do with an operation that arrives, [`after_run`] what is stored once the
//! participant's code has answered. Both do no I/O and read no clock, so that the SDK's databases and
//! the simulation share them.
//!
//! | arrives | row absent | TRIED | CONFIRMED | CANCELLED | REJECTED |
//! |---|---|---|---|---|---|
//! | TRY | run it, row TRIED with its result | the stored result | the stored result | REJECTED: fenced | the stored rejection |
//! | CONFIRM | REJECTED: nothing was tried (DELIVER: run it, CONFIRMED) | run it, CONFIRMED | OK | REJECTED: already cancelled | REJECTED |
//! | CANCEL | OK, row CANCELLED: an empty cancel that fences a late Try | run it, CANCELLED | REJECTED: already confirmed | OK | OK |
//!
//! A row TRYING is left by an action with an effect outside the database, before its code runs for
//! the first time: TRY and CANCEL run the code, which must be idempotent.

pub mod initiator;

use std::time::Duration;

use tercet_mutation::broken;

/// How long a final row is kept before it may be removed, unless the participant says otherwise.
pub const DEFAULT_RETENTION: Duration = Duration::from_hours(30 * 24);

/// What phase one does and which calls phase two makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Try freezes, Confirm uses what was frozen, Cancel gives it back.
    Tcc,
    /// Try really does it, Cancel undoes it; there is no Confirm.
    Compensate,
    /// Only Confirm, which delivers.
    Deliver,
}

/// What a participant is asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// Phase one.
    Try,
    /// Phase two after the decision SUCCESS.
    Confirm,
    /// Phase two after the decision FAILURE.
    Cancel,
}

/// How far the action is, as its row says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RowState {
    /// The code of an action with an effect outside the database may have run; its outcome is unknown.
    Trying,
    /// The Try took effect.
    Tried,
    /// The Confirm took effect.
    Confirmed,
    /// The Cancel took effect, or came first and fences a late Try.
    Cancelled,
    /// The Try was refused for a business reason and has no effect.
    Rejected,
}

impl RowState {
    /// Every state, in the order of an action's life.
    pub const ALL: [Self; 5] = [
        Self::Trying,
        Self::Tried,
        Self::Confirmed,
        Self::Cancelled,
        Self::Rejected,
    ];

    /// The word that is stored, for a person with a SQL prompt.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Trying => "TRYING",
            Self::Tried => "TRIED",
            Self::Confirmed => "CONFIRMED",
            Self::Cancelled => "CANCELLED",
            Self::Rejected => "REJECTED",
        }
    }

    /// The state that a stored word means; nothing for any other word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == word)
    }
}

/// One row of the barrier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// How far the action is.
    pub state: RowState,
    /// What its Try returned.
    pub result: Vec<u8>,
    /// Why its Try was refused; empty unless the state is REJECTED.
    pub rejection: String,
}

impl Row {
    /// A row in `state` with neither result nor rejection.
    pub fn new(state: RowState) -> Self {
        Self {
            state,
            result: Vec::new(),
            rejection: String::new(),
        }
    }
}

/// What an operation came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Done; a Try's result, empty for Confirm and Cancel.
    Done(Vec<u8>),
    /// Definitely not, with the reason: no effect, not now, not earlier, and never later.
    Rejected(String),
    /// Nobody can say, with the error: it is asked again.
    Unknown(String),
}

impl Outcome {
    /// Done, without a result.
    pub fn done() -> Self {
        Self::Done(Vec::new())
    }
}

/// One operation that arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// The action's mode.
    pub mode: Mode,
    /// What to do.
    pub operation: Operation,
    /// Whether the action has an effect outside the database, and so needs a row TRYING first.
    pub external: bool,
    /// Whether the transaction was begun so long ago that its row may have been removed: [`expired`].
    pub expired: bool,
}

/// Whether a row of a transaction begun at `begun_ms` may have been removed by `now_ms`, when rows
/// are kept for `retention` after they became final. Both times are milliseconds since 1970; the
/// first is in the transaction's id, a `UUIDv7`.
pub fn expired(begun_ms: u64, now_ms: u64, retention: Duration) -> bool {
    u128::from(now_ms.saturating_sub(begun_ms)) >= retention.as_millis()
}

/// What to do with an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Run the code; if it is done, the row is `then`. See [`after_run`].
    Run {
        /// The row's state if the code is done.
        then: RowState,
    },
    /// Commit a row TRYING, then ask again.
    Announce,
    /// Nothing was done, so nothing is undone: answer done and leave a row that fences a late Try.
    Empty {
        /// The state of the row that is left.
        leave: RowState,
    },
    /// Answer this, change nothing.
    Answer(Outcome),
}

/// What to do with an operation that finds `row`.
pub fn decide(arrival: Arrival, row: Option<&Row>) -> Verdict {
    if let Some(error) = never_called(arrival.mode, arrival.operation) {
        return unknown(error);
    }
    match row {
        None => decide_absent(arrival),
        Some(row) => match arrival.operation {
            Operation::Try => decide_try(row),
            Operation::Confirm => decide_confirm(row.state),
            Operation::Cancel => decide_cancel(row.state),
        },
    }
}

/// The operations that a mode does not have.
fn never_called(mode: Mode, operation: Operation) -> Option<&'static str> {
    match (mode, operation) {
        (Mode::Deliver, Operation::Try) => Some("an action in mode DELIVER has no Try"),
        (Mode::Deliver, Operation::Cancel) => Some("an action in mode DELIVER has no Cancel"),
        (Mode::Compensate, Operation::Confirm) => {
            Some("an action in mode COMPENSATE has no Confirm")
        }
        _ => None,
    }
}

fn decide_absent(arrival: Arrival) -> Verdict {
    if arrival.expired {
        return unknown(
            "the transaction was begun longer ago than barrier rows are kept: its row may have been \
             removed, so that nobody can say what was done",
        );
    }
    match arrival.operation {
        Operation::Try if arrival.external => Verdict::Announce,
        Operation::Try => Verdict::Run {
            then: RowState::Tried,
        },
        Operation::Confirm if arrival.mode == Mode::Deliver => Verdict::Run {
            then: RowState::Confirmed,
        },
        Operation::Confirm => rejected("nothing was tried"),
        Operation::Cancel if broken("empty_cancel_leaves_no_row") => done(),
        Operation::Cancel => Verdict::Empty {
            leave: RowState::Cancelled,
        },
    }
}

fn decide_try(row: &Row) -> Verdict {
    match row.state {
        RowState::Trying => Verdict::Run {
            then: RowState::Tried,
        },
        RowState::Tried | RowState::Confirmed => Verdict::Answer(Outcome::Done(row.result.clone())),
        RowState::Cancelled if broken("fence_skipped") => Verdict::Run {
            then: RowState::Tried,
        },
        RowState::Cancelled => rejected("fenced: the action is already cancelled"),
        RowState::Rejected => rejected(&row.rejection),
    }
}

fn decide_confirm(state: RowState) -> Verdict {
    match state {
        RowState::Trying => rejected("its Try has not ended"),
        RowState::Tried => Verdict::Run {
            then: RowState::Confirmed,
        },
        RowState::Confirmed => done(),
        RowState::Cancelled => rejected("already cancelled"),
        RowState::Rejected => rejected("its Try was rejected"),
    }
}

fn decide_cancel(state: RowState) -> Verdict {
    match state {
        RowState::Trying | RowState::Tried => Verdict::Run {
            then: RowState::Cancelled,
        },
        RowState::Confirmed => rejected("already confirmed"),
        RowState::Cancelled | RowState::Rejected => done(),
    }
}

fn done() -> Verdict {
    Verdict::Answer(Outcome::done())
}

fn rejected(reason: &str) -> Verdict {
    Verdict::Answer(Outcome::Rejected(reason.to_owned()))
}

fn unknown(error: &str) -> Verdict {
    Verdict::Answer(Outcome::Unknown(error.to_owned()))
}

/// How the local transaction ends once the code has answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stored {
    /// The row becomes this one and is committed together with the effect.
    WithEffect(Row),
    /// The effect is rolled back to the savepoint; the row becomes this one and is committed.
    WithoutEffect(Row),
    /// Everything is rolled back, the row's change included: a later call runs the code again.
    Nothing,
}

/// What is stored when the code that [`decide`] said to run answered `outcome`. `before` is the row
/// that was found; a Confirm or Cancel keeps the result in it.
///
/// Only a Try's business rejection is stored: it stands for ever. What the code of a Confirm or
/// Cancel rejects may be put right by a person, so it must run again.
pub fn after_run(
    operation: Operation,
    then: RowState,
    before: Option<&Row>,
    outcome: &Outcome,
) -> Stored {
    match (operation, outcome) {
        (_, Outcome::Unknown(_)) => Stored::Nothing,
        (Operation::Try, Outcome::Done(result)) => Stored::WithEffect(Row {
            result: result.clone(),
            ..Row::new(then)
        }),
        (_, Outcome::Done(_)) => Stored::WithEffect(Row {
            result: before.map(|row| row.result.clone()).unwrap_or_default(),
            ..Row::new(then)
        }),
        (Operation::Confirm | Operation::Cancel, Outcome::Rejected(_))
            if !broken("barrier_stores_phase_two_rejection") =>
        {
            Stored::Nothing
        }
        (_, Outcome::Rejected(reason)) => Stored::WithoutEffect(Row {
            rejection: reason.clone(),
            ..Row::new(RowState::Rejected)
        }),
    }
}

#[cfg(test)]
mod tests;
