//! Which events met which states.

use std::collections::BTreeMap;

use tercet_core::{
    engine::{CallOutcome, Input, Loaded, Request, Settled},
    id::TxId,
    model::{Operation, Outcome, Phase},
};

use super::tables::Tables;

/// Seeds that reach every pair that can be reached.
pub const SEEDS_TO_REACH: u64 = 1_000;

/// A state and an event in it, and how often.
#[derive(Clone, Debug, Default)]
pub struct Coverage {
    pairs: BTreeMap<(&'static str, &'static str), u64>,
}

impl Coverage {
    /// Notes what an input is to the transactions that it is for.
    pub fn note(&mut self, tables: &Tables, input: &Input) {
        let mut meets = |id: TxId, event: &'static str| {
            let state = tables
                .row(id)
                .map_or("absent", |row| state(&row.head.phase));
            *self.pairs.entry((state, event)).or_default() += 1;
        };
        match input {
            Input::Request { request, .. } => meets(request.id(), asked(request)),
            Input::CallerLeft { id, .. } => meets(*id, "caller left"),
            Input::Settled(settled) => {
                for (id, settled) in settled {
                    meets(*id, settled_word(*settled));
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
            Input::Answered(answer) => {
                meets(answer.tx, answered(answer.operation, &answer.outcome));
            }
            Input::AskedBack(answer) => {
                let word = match answer.outcome {
                    Ok(Outcome::Success) => "check-back SUCCESS",
                    Ok(Outcome::Failure) => "check-back FAILURE",
                    Err(_) => "check-back UNKNOWN",
                };
                meets(answer.tx, word);
            }
            _ => {}
        }
    }

    /// Adds another run's.
    pub fn add(&mut self, other: &Self) {
        for (pair, count) in &other.pairs {
            *self.pairs.entry(*pair).or_default() += count;
        }
    }

    /// Every pair that was reached, and how often.
    pub fn pairs(&self) -> impl Iterator<Item = (&(&'static str, &'static str), &u64)> {
        self.pairs.iter()
    }

    /// The pairs that can be reached and were not.
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

fn asked(request: &Request) -> &'static str {
    match request {
        Request::Begin(..) => "Begin",
        Request::AddAction(..) => "AddAction",
        Request::Decide(_, Outcome::Success, ..) => "Decide SUCCESS",
        Request::Decide(_, Outcome::Failure, ..) => "Decide FAILURE",
        Request::OperatorDecide(_, Outcome::Success, _) => "operator decides SUCCESS",
        Request::OperatorDecide(_, Outcome::Failure, _) => "operator decides FAILURE",
        Request::Retry(..) => "retry",
        Request::Resolve(..) => "resolve",
    }
}

fn settled_word(settled: Settled) -> &'static str {
    match settled {
        Settled::Held => "write held",
        Settled::Moved => "write moved",
        Settled::Exists(_) => "write exists",
        Settled::Refused => "write refused",
        Settled::Lost => "write lost",
    }
}

fn answered(operation: Operation, outcome: &CallOutcome) -> &'static str {
    match (operation, outcome) {
        (Operation::Try, CallOutcome::Ok(_)) => "TRY OK",
        (Operation::Try, CallOutcome::Rejected(_)) => "TRY REJECTED",
        (Operation::Try, CallOutcome::Unknown(_)) => "TRY UNKNOWN",
        (Operation::Confirm, CallOutcome::Ok(_)) => "CONFIRM OK",
        (Operation::Confirm, CallOutcome::Rejected(_)) => "CONFIRM REJECTED",
        (Operation::Confirm, CallOutcome::Unknown(_)) => "CONFIRM UNKNOWN",
        (Operation::Cancel, CallOutcome::Ok(_)) => "CANCEL OK",
        (Operation::Cancel, CallOutcome::Rejected(_)) => "CANCEL REJECTED",
        (Operation::Cancel, CallOutcome::Unknown(_)) => "CANCEL UNKNOWN",
    }
}

/// Every pair that a run of [`SEEDS_TO_REACH`] seeds must reach: the state of the row, the events in it.
/// What is so rare that a thousand seeds may miss it is not here.
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
            "caller left",
            "loaded",
            "operator decides FAILURE",
            "resolve",
            "retry",
            "write exists",
            "write held",
            "write moved",
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
            "loaded",
            "operator decides FAILURE",
            "operator decides SUCCESS",
            "write held",
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
            "Decide FAILURE",
            "Decide SUCCESS",
            "TRY OK",
            "caller left",
            "loaded",
            "operator decides FAILURE",
            "resolve",
            "retry",
            "write exists",
            "write held",
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
            "write held",
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
            "write held",
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
            "write held",
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
            "write held",
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
            "write held",
        ],
    ),
];
