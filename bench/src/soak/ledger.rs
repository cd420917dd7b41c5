//! The books of a participant: one row per action, in memory, kept by the barrier's own rules.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tercet_barrier::{
    Arrival, CallAnswer, Mode, Operation, Row, RowState, Stored, Verdict, after_run, decide,
};
use tercet_proto::v1;
use uuid::Uuid;

/// The payload of an action that its participant rejects.
pub(crate) const REJECT: &[u8] = b"reject";
/// The violations that are kept in words.
const VIOLATIONS_KEPT: usize = 20;

/// The rows of one transaction, each with the name of its action.
type Rows = Vec<(String, Row)>;

/// The rows of one participant.
pub(crate) struct Ledger {
    /// The participant's name.
    pub(crate) name: &'static str,
    rows: Mutex<HashMap<Uuid, Rows>>,
    violations: Mutex<Vec<String>>,
    finished: AtomicU64,
}

impl Ledger {
    pub(crate) fn new(name: &'static str) -> Self {
        Self {
            name,
            rows: Mutex::default(),
            violations: Mutex::default(),
            finished: AtomicU64::new(0),
        }
    }

    /// Carries out a call as a participant with a database would: the row decides, the effect is the row.
    pub(crate) fn carry_out(&self, call: &v1::Call) -> CallAnswer {
        let Some((tx_id, arrival)) = read(call) else {
            self.violation(format!("a call that is none: {call:?}"));
            return CallAnswer::Unknown("not understood".to_owned());
        };
        let mut all = lock(&self.rows);
        let rows = all.entry(tx_id).or_default();
        let before = find(rows, &call.action);
        let answer = match decide(arrival, before) {
            Verdict::Run { then } => {
                let result = run(call, arrival.operation);
                match after_run(arrival.operation, then, before, &result) {
                    Stored::WithEffect(row) | Stored::WithoutEffect(row) => {
                        self.store(rows, &call.action, row);
                    }
                    Stored::Nothing => {}
                }
                result
            }
            Verdict::Empty { leave } => {
                self.store(rows, &call.action, Row::new(leave));
                CallAnswer::done()
            }
            Verdict::Answer(answer) => answer,
            Verdict::Announce => CallAnswer::Unknown("no action here is external".to_owned()),
        };
        drop(all);
        if arrival.operation != Operation::Try && !matches!(answer, CallAnswer::Done(_)) {
            self.violation(format!(
                "{} of {:?} ({tx_id}): {answer:?}",
                arrival.operation.as_str(),
                call.action,
            ));
        }
        answer
    }

    fn store(&self, rows: &mut Rows, action: &str, row: Row) {
        if matches!(row.state, RowState::Confirmed | RowState::Cancelled) {
            self.finished.fetch_add(1, Ordering::Relaxed);
        }
        match rows.iter_mut().find(|(name, _)| name == action) {
            Some((_, stored)) => *stored = row,
            None => rows.push((action.to_owned(), row)),
        }
    }

    fn violation(&self, words: String) {
        let mut violations = lock(&self.violations);
        if violations.len() < VIOLATIONS_KEPT {
            violations.push(words);
        }
    }

    /// Returns the state of a row.
    pub(crate) fn state(&self, tx_id: Uuid, action: &str) -> Option<RowState> {
        let all = lock(&self.rows);
        find(all.get(&tx_id)?, action).map(|row| row.state)
    }

    /// Returns the transactions that have a row here.
    pub(crate) fn transactions(&self) -> Vec<Uuid> {
        lock(&self.rows).keys().copied().collect()
    }

    /// Returns the number of actions that were confirmed or cancelled here.
    pub(crate) fn finished(&self) -> u64 {
        self.finished.load(Ordering::Relaxed)
    }

    /// Returns the calls that the barrier had to refuse in phase two, in words: there must be none.
    pub(crate) fn violations(&self) -> Vec<String> {
        lock(&self.violations).clone()
    }
}

fn find<'a>(rows: &'a Rows, action: &str) -> Option<&'a Row> {
    let found = rows.iter().find(|(name, _)| name == action);
    found.map(|(_, row)| row)
}

/// Does the business: a Try is rejected if its payload asks for it.
fn run(call: &v1::Call, operation: Operation) -> CallAnswer {
    match operation {
        Operation::Try if call.payload == REJECT => CallAnswer::Rejected("as ordered".to_owned()),
        Operation::Try if call.time_left_ms == Some(0) => {
            CallAnswer::Unknown("phase one is over".to_owned())
        }
        _ => CallAnswer::done(),
    }
}

fn read(call: &v1::Call) -> Option<(Uuid, Arrival)> {
    let tx_id = Uuid::try_parse(&call.tx_id).ok()?;
    let mode = match call.mode() {
        v1::Mode::Tcc => Mode::Tcc,
        v1::Mode::Compensate => Mode::Compensate,
        v1::Mode::Deliver => Mode::Deliver,
        v1::Mode::Unspecified => return None,
    };
    let operation = match call.operation() {
        v1::Operation::Try => Operation::Try,
        v1::Operation::Confirm => Operation::Confirm,
        v1::Operation::Cancel => Operation::Cancel,
        v1::Operation::Unspecified => return None,
    };
    let arrival = Arrival {
        mode,
        operation,
        external: false,
        expired: false,
    };
    Some((tx_id, arrival))
}

/// Locks; a task that panicked meanwhile has left the rows as they were.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(tx_id: Uuid, operation: v1::Operation) -> v1::Call {
        v1::Call {
            tx_id: tx_id.to_string(),
            action: "first".to_owned(),
            operation: operation.into(),
            mode: v1::Mode::Tcc.into(),
            ..v1::Call::default()
        }
    }

    #[test]
    fn a_repeated_confirm_counts_once_and_a_cancel_after_it_is_a_violation() {
        let ledger = Ledger::new("one");
        let id = Uuid::now_v7();
        assert_eq!(
            ledger.carry_out(&call(id, v1::Operation::Try)),
            CallAnswer::done()
        );
        for _ in 0..2 {
            let confirmed = ledger.carry_out(&call(id, v1::Operation::Confirm));
            assert_eq!(confirmed, CallAnswer::done());
        }
        assert_eq!(ledger.finished(), 1);
        assert!(ledger.violations().is_empty());
        ledger.carry_out(&call(id, v1::Operation::Cancel));
        assert_eq!(ledger.violations().len(), 1);
        assert_eq!(ledger.state(id, "first"), Some(RowState::Confirmed));
    }

    #[test]
    fn a_confirm_of_what_was_not_tried_is_a_violation() {
        let ledger = Ledger::new("one");
        ledger.carry_out(&call(Uuid::now_v7(), v1::Operation::Confirm));
        assert_eq!(ledger.violations().len(), 1);
    }
}
