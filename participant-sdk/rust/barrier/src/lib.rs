//! The barrier's decision, pure: maps an operation of an action, and the row that an earlier operation
//! left in the participant's own database, to the verdict about it.
//!
//! The row of `(tx_id, action)` is written in the same local transaction as the business effect.
//! [`decide`] judges an operation that arrives, [`after_run`] determines what is stored once the
//! participant's code has returned. Neither does I/O nor reads a clock, so that the SDK's databases
//! and the simulation share them.
//!
//! | arrives | row absent | TRIED | CONFIRMED | CANCELLED | REJECTED |
//! |---|---|---|---|---|---|
//! | TRY | run it, row TRIED with its result | the stored result | the stored result | REJECTED: fenced | the stored rejection |
//! | CONFIRM | REJECTED: nothing was tried (DELIVER: run it, CONFIRMED) | run it, CONFIRMED | OK | REJECTED: already cancelled | REJECTED |
//! | CANCEL | OK, row CANCELLED: an empty cancel that fences a late Try | run it, CANCELLED | REJECTED: already confirmed | OK | OK |
//!
//! An action with an effect outside the database leaves a row TRYING before its code runs for the
//! first time. On such a row TRY and CANCEL run the code, which must be idempotent.
//!
//! While the code runs the row is RUNNING, in the local transaction that is still open. No other
//! operation sees that, unless the code itself committed: then its effect is there in part, and every
//! operation is UNKNOWN until a person has put row and effect right.
//!
//! The same table as calls and answers, for SDKs in every language, is
//! `participant-sdk/conformance/barrier.json`.

pub mod initiator;

use std::time::Duration;

use tercet_mutation::broken;

/// The time for which a final row is kept before it may be removed, unless the participant configures
/// another one.
pub const DEFAULT_RETENTION: Duration = Duration::from_hours(30 * 24);

/// An action's mode: the work of phase one, and the calls of phase two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Try freezes, Confirm uses what was frozen, Cancel gives it back.
    Tcc,
    /// Try really does it, Cancel undoes it; there is no Confirm.
    Compensate,
    /// Only Confirm, which delivers.
    Deliver,
}

/// The operation that a call asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// Phase one.
    Try,
    /// Phase two after the decision SUCCESS.
    Confirm,
    /// Phase two after the decision FAILURE.
    Cancel,
}

impl Operation {
    /// Returns the word of the wire and of the table.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Try => "TRY",
            Self::Confirm => "CONFIRM",
            Self::Cancel => "CANCEL",
        }
    }
}

/// The progress of an action, as stored in its row.
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
    /// The code of an operation runs in a local transaction that is still open. Committed, it shows
    /// that the code ended that transaction itself, at an unknown point.
    Running,
}

impl RowState {
    /// Every state, in the order of an action's life.
    pub const ALL: [Self; 6] = [
        Self::Trying,
        Self::Tried,
        Self::Confirmed,
        Self::Cancelled,
        Self::Rejected,
        Self::Running,
    ];

    /// Returns the stored word, which a person can read at a SQL prompt.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Trying => "TRYING",
            Self::Tried => "TRIED",
            Self::Confirmed => "CONFIRMED",
            Self::Cancelled => "CANCELLED",
            Self::Rejected => "REJECTED",
            Self::Running => "RUNNING",
        }
    }

    /// Reads a stored word; returns `None` for any other word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == word)
    }
}

/// One row of the barrier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The progress of the action.
    pub state: RowState,
    /// The bytes that its Try returned.
    pub result: Vec<u8>,
    /// The reason for which its Try was refused; while the state is RUNNING, the word of the operation;
    /// otherwise empty.
    pub rejection: String,
}

impl Row {
    /// Makes a row in `state` with neither result nor rejection.
    pub fn new(state: RowState) -> Self {
        Self {
            state,
            result: Vec::new(),
            rejection: String::new(),
        }
    }
}

/// The result of a call: the answer that the participant gives to the coordinator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallAnswer {
    /// Done, with a Try's result; empty for Confirm and Cancel.
    Done(Vec<u8>),
    /// Definitely not done, with the reason: no effect now, none of an earlier call, none later.
    Rejected(String),
    /// Neither is certain, with the error: the call is made again.
    Unknown(String),
}

impl CallAnswer {
    /// Makes a result that is done, without bytes.
    pub fn done() -> Self {
        Self::Done(Vec::new())
    }
}

/// An operation that arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// The action's mode.
    pub mode: Mode,
    /// The operation.
    pub operation: Operation,
    /// Set if the action has an effect outside the database, and so needs a row TRYING first.
    pub external: bool,
    /// Set if the transaction was begun so long ago that its row may have been removed: [`expired`].
    pub expired: bool,
}

/// Returns true if a row of a transaction begun at `begun_ms` may have been removed by `now_ms`, when
/// rows are kept for `retention` after they became final. Both times are milliseconds since 1970; the
/// first is in the transaction's id, a `UUIDv7`.
pub fn expired(begun_ms: u64, now_ms: u64, retention: Duration) -> bool {
    u128::from(now_ms.saturating_sub(begun_ms)) >= retention.as_millis()
}

/// The barrier's verdict about an operation that arrives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Run the code; if it succeeds, the row becomes `then`. See [`after_run`].
    Run {
        /// The row's state if the code succeeds.
        then: RowState,
    },
    /// Commit a row TRYING, then decide again.
    Announce,
    /// Nothing was done, so nothing is undone: answer done and leave a row that fences a late Try.
    Empty {
        /// The state of the row that is left.
        leave: RowState,
    },
    /// Answer this, change nothing.
    Answer(CallAnswer),
}

/// Decides what to do with an operation that finds `row`.
pub fn decide(arrival: Arrival, row: Option<&Row>) -> Verdict {
    if let Some(error) = never_called(arrival.mode, arrival.operation) {
        return unknown(error);
    }
    match row {
        None => decide_absent(arrival),
        Some(row) => match arrival.operation {
            Operation::Try => decide_try(row),
            Operation::Confirm => decide_confirm(row),
            Operation::Cancel => decide_cancel(row),
        },
    }
}

/// Returns an error for an operation that the mode does not have.
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
             removed, and its outcome cannot be determined",
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
        RowState::Running => unfinished(row),
        RowState::Tried | RowState::Confirmed => {
            Verdict::Answer(CallAnswer::Done(row.result.clone()))
        }
        RowState::Cancelled if broken("fence_skipped") => Verdict::Run {
            then: RowState::Tried,
        },
        RowState::Cancelled => rejected("fenced: the action is already cancelled"),
        RowState::Rejected => rejected(&row.rejection),
    }
}

fn decide_confirm(row: &Row) -> Verdict {
    match row.state {
        RowState::Running => unfinished(row),
        RowState::Trying => rejected("its Try has not ended"),
        RowState::Tried => Verdict::Run {
            then: RowState::Confirmed,
        },
        RowState::Confirmed => done(),
        RowState::Cancelled => rejected("already cancelled"),
        RowState::Rejected => rejected("its Try was rejected"),
    }
}

fn decide_cancel(row: &Row) -> Verdict {
    match row.state {
        RowState::Running => unfinished(row),
        RowState::Trying | RowState::Tried => Verdict::Run {
            then: RowState::Cancelled,
        },
        RowState::Confirmed => rejected("already confirmed"),
        RowState::Cancelled | RowState::Rejected => done(),
    }
}

/// Answers every operation on a row whose code ended the local transaction by itself.
fn unfinished(row: &Row) -> Verdict {
    let operation = &row.rejection;
    Verdict::Answer(CallAnswer::Unknown(format!(
        "the code of an earlier {operation} ended the local transaction itself, so its effect may be \
         there in part: put it right by hand, then the row's state"
    )))
}

fn done() -> Verdict {
    Verdict::Answer(CallAnswer::done())
}

fn rejected(reason: &str) -> Verdict {
    Verdict::Answer(CallAnswer::Rejected(reason.to_owned()))
}

fn unknown(error: &str) -> Verdict {
    Verdict::Answer(CallAnswer::Unknown(error.to_owned()))
}

/// The way in which the local transaction ends once the code has returned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stored {
    /// The row becomes this one and is committed together with the effect.
    WithEffect(Row),
    /// The effect is rolled back to the savepoint; the row becomes this one and is committed.
    WithoutEffect(Row),
    /// Everything is rolled back, the row's change included: a later call runs the code again.
    Nothing,
}

/// Determines what is stored after the verdict [`Run`](Verdict::Run), when the code returned `result`.
/// `before` is the row that was found; a Confirm or Cancel keeps the Try's result in it.
///
/// Of rejections only a Try's is stored: it is final. A person may correct the cause for which a
/// Confirm or Cancel was rejected, so the code must run again.
pub fn after_run(
    operation: Operation,
    then: RowState,
    before: Option<&Row>,
    result: &CallAnswer,
) -> Stored {
    match (operation, result) {
        (_, CallAnswer::Unknown(_)) => Stored::Nothing,
        (Operation::Try, CallAnswer::Done(bytes)) => Stored::WithEffect(Row {
            result: bytes.clone(),
            ..Row::new(then)
        }),
        (_, CallAnswer::Done(_)) => Stored::WithEffect(Row {
            result: before.map(|row| row.result.clone()).unwrap_or_default(),
            ..Row::new(then)
        }),
        (Operation::Confirm | Operation::Cancel, CallAnswer::Rejected(_))
            if !broken("barrier_stores_phase_two_rejection") =>
        {
            Stored::Nothing
        }
        (_, CallAnswer::Rejected(reason)) => Stored::WithoutEffect(Row {
            rejection: reason.clone(),
            ..Row::new(RowState::Rejected)
        }),
    }
}

#[cfg(test)]
mod tests;
