//! The data agrees with the pure barrier, cell by cell and in both directions.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use serde_json::json;
use tercet_barrier::{Arrival, CallAnswer, Row, RowState, Stored, Verdict, after_run, decide};

use super::*;

const MODES: [Mode; 3] = [Mode::Tcc, Mode::Compensate, Mode::Deliver];
const STEPS: [Step; 4] = [Step::Try, Step::TryRejected, Step::Confirm, Step::Cancel];

fn arrival(mode: Mode, step: Step) -> Arrival {
    Arrival {
        mode,
        operation: step.operation(),
        external: false,
        expired: false,
    }
}

/// Returns true if the mode has the operation; the barrier answers UNKNOWN to one that it does not
/// have.
fn has(mode: Mode, step: Step) -> bool {
    let verdict = decide(arrival(mode, step), None);
    !matches!(verdict, Verdict::Answer(CallAnswer::Unknown(_)))
}

/// A participant of one action: the pure barrier, and the simplest business behind it.
#[derive(Debug, Clone)]
struct Model {
    mode: Mode,
    row: Option<Row>,
    /// The amounts held back for the transaction, and used for good.
    held: i64,
    used: i64,
    /// The number of runs of a Try's code.
    tries: u32,
}

impl Model {
    fn new(mode: Mode) -> Self {
        Self {
            mode,
            row: None,
            held: 0,
            used: 0,
            tries: 0,
        }
    }

    fn state(&self) -> Option<&'static str> {
        self.row.as_ref().map(|row| row.state.as_str())
    }

    fn serve(&mut self, step: Step) -> CallAnswer {
        match decide(arrival(self.mode, step), self.row.as_ref()) {
            Verdict::Answer(result) => result,
            Verdict::Empty { leave } => {
                self.row = Some(Row::new(leave));
                CallAnswer::done()
            }
            Verdict::Run { then } => self.run(step, then),
            Verdict::Announce => panic!("only an external action announces its Try"),
        }
    }

    fn run(&mut self, step: Step, then: RowState) -> CallAnswer {
        let business = (self.held, self.used);
        let result = self.code(step);
        match after_run(step.operation(), then, self.row.as_ref(), &result) {
            Stored::WithEffect(row) => self.row = Some(row),
            Stored::WithoutEffect(row) => {
                (self.held, self.used) = business;
                self.row = Some(row);
            }
            Stored::Nothing => (self.held, self.used) = business,
        }
        result
    }

    fn code(&mut self, step: Step) -> CallAnswer {
        match step {
            Step::Try => {
                self.held += 1;
                self.tries += 1;
                return CallAnswer::Done(vec![u8::try_from(self.tries).unwrap()]);
            }
            Step::TryRejected => return CallAnswer::Rejected("refused".to_owned()),
            Step::Confirm => {
                self.held -= i64::from(self.mode == Mode::Tcc);
                self.used += 1;
            }
            Step::Cancel => self.held -= 1,
        }
        CallAnswer::done()
    }

    fn stands(&self) -> Option<Stand> {
        match (self.held, self.used) {
            (0, 0) => Some(Stand::Initial),
            (1, 0) => Some(Stand::Tried),
            (0, 1) => Some(Stand::Confirmed),
            _ => None,
        }
    }
}

/// Returns the calls of a race in every order in which they can be carried out.
fn orders(calls: &[Exchange]) -> Vec<Vec<Exchange>> {
    if calls.is_empty() {
        return vec![Vec::new()];
    }
    let mut orders = Vec::new();
    for first in 0..calls.len() {
        let mut others = calls.to_vec();
        let exchange = others.remove(first);
        for mut order in self::orders(&others) {
            order.insert(0, exchange);
            orders.push(order);
        }
    }
    orders
}

fn agrees(expected: Expected, result: &CallAnswer, first_result: &mut Option<Vec<u8>>) -> bool {
    match (expected, result) {
        (Expected::Done | Expected::DoneOrRejected, CallAnswer::Done(_))
        | (Expected::Rejected | Expected::DoneOrRejected, CallAnswer::Rejected(_)) => true,
        (Expected::FirstResult, CallAnswer::Done(result)) => {
            first_result.get_or_insert_with(|| result.clone()) == result
        }
        _ => false,
    }
}

/// Plays a cell against the model, with the calls that race in the given order.
fn play(cell: &Cell, mode: Mode, order: &[Exchange]) {
    let at = format!("{mode:?}, {:?}, {order:?}", cell.name);
    let mut model = Model::new(mode);
    let mut first_result = None;
    for step in &cell.before {
        let expected = match step {
            Step::Try => Expected::FirstResult,
            Step::TryRejected => Expected::Rejected,
            Step::Confirm | Step::Cancel => Expected::Done,
        };
        let result = model.serve(*step);
        assert!(
            agrees(expected, &result, &mut first_result),
            "{at}: before, {step:?} is {result:?}"
        );
    }
    assert_eq!(
        model.state(),
        cell.row.as_deref(),
        "{at}: the row that is found"
    );
    for exchange in order.iter().chain(&cell.then) {
        let result = model.serve(exchange.call);
        assert!(
            agrees(exchange.answer, &result, &mut first_result),
            "{at}: {exchange:?} is {result:?}"
        );
    }
    assert_eq!(model.stands(), Some(cell.stands), "{at}: the business");
}

#[test]
fn every_cell_agrees_with_the_barrier() {
    for cell in &table().unwrap().cells {
        for mode in &cell.modes {
            for order in orders(&cell.send) {
                play(cell, *mode, &order);
            }
        }
    }
}

/// Returns every state of a row to which the operations of a mode can lead.
fn reachable(mode: Mode) -> BTreeSet<Option<&'static str>> {
    let mut seen = BTreeSet::new();
    let mut open = vec![Model::new(mode)];
    while let Some(model) = open.pop() {
        if !seen.insert(model.state()) {
            continue;
        }
        for step in steps(mode) {
            let mut next = model.clone();
            next.serve(step);
            open.push(next);
        }
    }
    seen
}

fn steps(mode: Mode) -> impl Iterator<Item = Step> {
    STEPS.into_iter().filter(move |step| has(mode, *step))
}

#[test]
fn every_cell_of_the_barrier_is_in_the_data() {
    let cells = &table().unwrap().cells;
    for mode in MODES {
        for state in reachable(mode) {
            for step in steps(mode) {
                let operation = step.operation();
                let is_there = cells.iter().any(|cell| {
                    cell.modes.contains(&mode)
                        && cell.row.as_deref() == state
                        && cell.send.len() == 1
                        && cell.send[0].call.operation() == operation
                });
                assert!(is_there, "{mode:?}: no cell has {operation:?} on {state:?}");
            }
        }
    }
    // Only an action with an effect outside the database leaves a row TRYING, only code that ends the
    // local transaction itself one that is RUNNING.
    let states = RowState::ALL.map(RowState::as_str).map(Some);
    let mut expected = BTreeSet::from(states);
    expected.remove(&Some("TRYING"));
    expected.remove(&Some("RUNNING"));
    expected.insert(None);
    assert_eq!(reachable(Mode::Tcc), expected);
}

#[test]
fn an_operation_that_a_mode_does_not_have_is_never_sent() {
    for cell in &table().unwrap().cells {
        for mode in &cell.modes {
            let exchanges = cell.send.iter().chain(&cell.then);
            let sent = exchanges.map(|exchange| exchange.call);
            for step in sent.chain(cell.before.iter().copied()) {
                assert!(has(*mode, step), "{mode:?}, {:?}: {step:?}", cell.name);
            }
        }
    }
}

#[test]
fn a_name_is_one_cell_of_a_mode() {
    for mode in MODES {
        let mut seen = BTreeSet::new();
        for cell in table().unwrap().cells(mode, true) {
            assert!(seen.insert(&cell.name), "{mode:?}: {:?} twice", cell.name);
        }
    }
}

#[test]
fn a_malformed_cell_is_named() {
    let with = |field: &str, value: Value| {
        let mut file: Value = serde_json::from_str(TEXT).unwrap();
        file["cells"][1][field] = value;
        read(&file.to_string()).unwrap_err()
    };
    let almost = json!([{ "call": "TRY", "answer": "ALMOST" }]);
    for (error, problem) in [
        (with("send", almost), "ALMOST"),
        (with("send", json!([])), "must not be empty"),
        (with("modes", json!(["SAGA"])), "SAGA"),
        (with("stands", Value::Null), "null"),
        (with("round", json!(1)), "round"),
        (with("rounds", json!(0)), "must not be empty"),
    ] {
        assert!(error.contains("TRY on TRIED (a repetition)"), "{error}");
        assert!(error.contains(problem), "{error}");
    }
    let unnamed = with("name", Value::Null);
    assert!(unnamed.starts_with("cells[1]: "), "{unnamed}");
    let mut file: Value = serde_json::from_str(TEXT).unwrap();
    file["format"] = json!(2);
    let error = read(&file.to_string()).unwrap_err();
    assert!(error.contains("format is 2"), "{error}");
}
