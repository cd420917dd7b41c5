//! Coverage: the events that each state has met.

use std::collections::BTreeMap;

use tercet_core::{
    id::TxId,
    model::{Operation, Outcome, Phase},
    port::{CallAnswer, CheckBackAnswer, Input, Loaded, Order, Request},
    write::WriteResult,
};

use super::tables::Tables;

/// The number of seeds that reach every reachable pair.
pub const SEEDS_TO_REACH: u64 = 1_000;

/// Pairs of a state and an event, each with the number of times it was reached.
#[derive(Clone, Debug, Default)]
pub struct Coverage {
    pairs: BTreeMap<(&'static str, &'static str), u64>,
}

impl Coverage {
    /// Counts an input as an event of each transaction that it concerns.
    pub fn note(&mut self, tables: &Tables, input: &Input) {
        let mut meets = |id: TxId, event: &'static str| {
            let state = tables
                .row(id)
                .map_or("absent", |row| state(&row.head.phase));
            *self.pairs.entry((state, event)).or_default() += 1;
        };
        match input {
            Input::Request { request, .. } => meets(request.id(), request_word(request)),
            Input::CallerLeft { id, .. } => meets(*id, "caller left"),
            Input::Written(results) => {
                for (id, result) in results {
                    meets(*id, write_word(*result));
                }
            }
            Input::Loaded(loaded) => {
                for (id, loaded) in loaded {
                    let word = match loaded {
                        Loaded::Found(_) => "loaded",
                        Loaded::Absent => "loaded absent",
                        Loaded::Illegal(_) => "loaded illegal",
                    };
                    meets(*id, word);
                }
            }
            Input::CallResult(result) => {
                meets(result.tx, call_word(result.operation, &result.answer));
            }
            Input::CheckBackResult(result) => {
                let word = match result.answer {
                    CheckBackAnswer::Decided(Outcome::Success) => "check-back SUCCESS",
                    CheckBackAnswer::Decided(Outcome::Failure) => "check-back FAILURE",
                    CheckBackAnswer::Unknown(_) => "check-back UNKNOWN",
                    CheckBackAnswer::Unsent(_) => "check-back UNSENT",
                };
                meets(result.tx, word);
            }
            _ => {}
        }
    }

    /// Adds the counts of another run.
    pub fn add(&mut self, other: &Self) {
        for (pair, count) in &other.pairs {
            *self.pairs.entry(*pair).or_default() += count;
        }
    }

    /// Returns every pair that was reached, with its count.
    pub fn pairs(&self) -> impl Iterator<Item = (&(&'static str, &'static str), &u64)> {
        self.pairs.iter()
    }

    /// Returns the reachable pairs that were not reached.
    pub fn missing(&self) -> Vec<(&'static str, &'static str)> {
        REACHABLE
            .iter()
            .flat_map(|(state, events)| events.iter().map(|event| (*state, *event)))
            .filter(|pair| !self.pairs.contains_key(pair))
            .collect()
    }
}

fn state(phase: &Phase) -> &'static str {
    let outcome = phase.decision().map(|decision| decision.outcome);
    match (phase, outcome) {
        (Phase::Trying, _) => "trying",
        (Phase::AskingBack { .. }, _) => "asking back",
        (Phase::Finishing { .. }, Some(Outcome::Success)) => "confirming",
        (Phase::Finishing { .. }, _) => "cancelling",
        (Phase::Finished { .. }, Some(Outcome::Success)) => "committed",
        (Phase::Finished { .. }, _) => "rolled back",
        (Phase::Parked { .. }, Some(Outcome::Success)) => "parked confirming",
        (Phase::Parked { .. }, _) => "parked cancelling",
    }
}

fn request_word(request: &Request) -> &'static str {
    match request {
        Request::Begin(..) => "Begin",
        Request::AddAction(..) => "AddAction",
        Request::OnlyRepeated(request, _) => request_word(request),
        Request::Decide(_, Outcome::Success, ..) => "Decide SUCCESS",
        Request::Decide(_, Outcome::Failure, ..) => "Decide FAILURE",
        Request::Operator(_, command) => match command.order {
            Order::Decide(Outcome::Success) => "operator decides SUCCESS",
            Order::Decide(Outcome::Failure) => "operator decides FAILURE",
            Order::Retry => "retry",
            Order::Resolve { .. } => "resolve",
        },
    }
}

fn write_word(result: WriteResult) -> &'static str {
    match result {
        WriteResult::Durable => "write durable",
        WriteResult::Moved => "write moved",
        WriteResult::Exists(_) => "write exists",
        WriteResult::Refused => "write refused",
        WriteResult::Lost => "write lost",
        WriteResult::NotApplied => "write not applied",
        WriteResult::Unanswered => "write unanswered",
    }
}

fn call_word(operation: Operation, answer: &CallAnswer) -> &'static str {
    match (operation, answer) {
        (Operation::Try, CallAnswer::Ok(_)) => "TRY OK",
        (Operation::Try, CallAnswer::Rejected(_)) => "TRY REJECTED",
        (Operation::Try, CallAnswer::Unknown(_)) => "TRY UNKNOWN",
        (Operation::Try, CallAnswer::Unsent(_)) => "TRY UNSENT",
        (Operation::Confirm, CallAnswer::Ok(_)) => "CONFIRM OK",
        (Operation::Confirm, CallAnswer::Rejected(_)) => "CONFIRM REJECTED",
        (Operation::Confirm, CallAnswer::Unknown(_)) => "CONFIRM UNKNOWN",
        (Operation::Confirm, CallAnswer::Unsent(_)) => "CONFIRM UNSENT",
        (Operation::Cancel, CallAnswer::Ok(_)) => "CANCEL OK",
        (Operation::Cancel, CallAnswer::Rejected(_)) => "CANCEL REJECTED",
        (Operation::Cancel, CallAnswer::Unknown(_)) => "CANCEL UNKNOWN",
        (Operation::Cancel, CallAnswer::Unsent(_)) => "CANCEL UNSENT",
    }
}

/// Every pair that a run of [`SEEDS_TO_REACH`] seeds must reach: the state of the row, and the events in it.
/// Pairs so rare that a thousand seeds may miss them are left out.
const REACHABLE: &[(&str, &[&str])] = &[
    (
        "absent",
        &[
            "Begin",
            "Decide FAILURE",
            "caller left",
            "loaded absent",
            "write exists",
            "write lost",
            "write refused",
        ],
    ),
    (
        "trying",
        &[
            "AddAction",
            "Begin",
            "Decide FAILURE",
            "Decide SUCCESS",
            "TRY OK",
            "TRY REJECTED",
            "TRY UNKNOWN",
            "TRY UNSENT",
            "caller left",
            "loaded",
            "operator decides FAILURE",
            "resolve",
            "retry",
            "write exists",
            "write durable",
            "write moved",
            "write not applied",
            "write unanswered",
        ],
    ),
    (
        "asking back",
        &[
            "AddAction",
            "Begin",
            "Decide FAILURE",
            "Decide SUCCESS",
            "caller left",
            "check-back FAILURE",
            "check-back SUCCESS",
            "check-back UNKNOWN",
            "check-back UNSENT",
            "loaded",
            "operator decides FAILURE",
            "operator decides SUCCESS",
            "write durable",
        ],
    ),
    (
        "confirming",
        &[
            "AddAction",
            "Begin",
            "CONFIRM OK",
            "CONFIRM REJECTED",
            "CONFIRM UNKNOWN",
            "CONFIRM UNSENT",
            "Decide FAILURE",
            "Decide SUCCESS",
            "TRY OK",
            "caller left",
            "loaded",
            "operator decides FAILURE",
            "resolve",
            "retry",
            "write exists",
            "write durable",
            "write moved",
        ],
    ),
    (
        "cancelling",
        &[
            "AddAction",
            "Begin",
            "CANCEL OK",
            "CANCEL REJECTED",
            "CANCEL UNKNOWN",
            "CANCEL UNSENT",
            "Decide FAILURE",
            "Decide SUCCESS",
            "TRY OK",
            "TRY REJECTED",
            "TRY UNKNOWN",
            "caller left",
            "check-back FAILURE",
            "loaded",
            "operator decides FAILURE",
            "resolve",
            "retry",
            "write exists",
            "write durable",
            "write moved",
        ],
    ),
    (
        "committed",
        &[
            "AddAction",
            "Begin",
            "CONFIRM OK",
            "CONFIRM UNKNOWN",
            "Decide FAILURE",
            "Decide SUCCESS",
            "TRY OK",
            "caller left",
            "loaded",
            "operator decides FAILURE",
            "resolve",
            "retry",
            "write exists",
            "write durable",
        ],
    ),
    (
        "rolled back",
        &[
            "AddAction",
            "Begin",
            "CANCEL OK",
            "Decide FAILURE",
            "Decide SUCCESS",
            "TRY OK",
            "TRY REJECTED",
            "caller left",
            "check-back FAILURE",
            "loaded",
            "operator decides FAILURE",
            "resolve",
            "retry",
            "write exists",
            "write durable",
        ],
    ),
    (
        "parked confirming",
        &[
            "Begin",
            "CONFIRM OK",
            "CONFIRM REJECTED",
            "Decide SUCCESS",
            "caller left",
            "loaded",
            "resolve",
            "retry",
            "write exists",
            "write durable",
        ],
    ),
    (
        "parked cancelling",
        &[
            "AddAction",
            "Begin",
            "CANCEL OK",
            "Decide FAILURE",
            "Decide SUCCESS",
            "caller left",
            "loaded",
            "resolve",
            "retry",
            "write exists",
            "write durable",
        ],
    ),
];
