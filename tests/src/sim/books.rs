//! A participant's own database: the barrier's rows, the business effects beside them, and the
//! initiator's rows. Every decision about a row is made by [`tercet_barrier`].

use std::collections::BTreeMap;

use tercet_barrier::{
    Arrival, CallAnswer, Mode, Operation, Row, RowState, Stored, Verdict, after_run, decide,
    initiator::{CheckBack, Truth, decide_check_back},
};
use tercet_core::{id::TxId, model::Name};

/// The key of one action: its transaction and its name.
pub type Key = (TxId, Name);

/// One participant's database.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Books {
    entries: BTreeMap<Key, Entry>,
    truths: BTreeMap<TxId, TruthWord>,
}

/// The part of a participant's database that belongs to one action.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// The barrier's row.
    pub row: Option<Row>,
    /// The effects of the business code.
    pub effects: Effects,
    /// Whether a Cancel was answered with OK.
    pub cancel_answered: bool,
    /// The number of times that code ran.
    pub runs: u32,
}

impl std::hash::Hash for Entry {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        if let Some(row) = &self.row {
            (row.state, &row.result, &row.rejection).hash(state);
        }
        (self.effects, self.cancel_answered).hash(state);
    }
}

/// The number of times that each operation has taken effect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Effects {
    /// Value frozen (TCC) or moved (COMPENSATE).
    pub tried: u32,
    /// Value spent or delivered.
    pub confirmed: u32,
    /// Value given back.
    pub cancelled: u32,
}

/// A [`Truth`] that can be hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct TruthWord(Truth);

/// The next step of a local transaction after the barrier's verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Admission {
    /// The transaction ends with this answer.
    Answer(CallAnswer),
    /// The code runs; when it succeeds, the row gets this state.
    Run(RowState),
}

impl Books {
    /// Returns the entry of an action.
    pub fn entry(&self, key: &Key) -> Option<&Entry> {
        self.entries.get(key)
    }

    /// Returns every entry.
    pub fn entries(&self) -> impl Iterator<Item = (&Key, &Entry)> {
        self.entries.iter()
    }

    /// Returns the state of an action's barrier row.
    pub fn state(&self, key: &Key) -> Option<RowState> {
        Some(self.entries.get(key)?.row.as_ref()?.state)
    }

    /// Begins the local transaction of an operation and asks the barrier for its verdict.
    pub fn arrive(&mut self, key: &Key, arrival: Arrival) -> Admission {
        let entry = self.entries.entry(key.clone()).or_default();
        loop {
            match decide(arrival, entry.row.as_ref()) {
                Verdict::Announce => entry.row = Some(Row::new(RowState::Trying)),
                Verdict::Run { then } => return Admission::Run(then),
                Verdict::Empty { leave } => {
                    entry.row = Some(Row::new(leave));
                    entry.cancel_answered = true;
                    return Admission::Answer(CallAnswer::done());
                }
                Verdict::Answer(answer) => {
                    entry.cancel_answered |= arrival.operation == Operation::Cancel
                        && matches!(answer, CallAnswer::Done(_));
                    return Admission::Answer(answer);
                }
            }
        }
    }

    /// Applies an effect outside the database; it is idempotent by the action's key.
    pub fn outside(&mut self, key: &Key, operation: Operation) {
        let effects = &mut self.entries.entry(key.clone()).or_default().effects;
        match operation {
            Operation::Try => effects.tried = 1,
            Operation::Confirm => effects.confirmed = 1,
            Operation::Cancel => effects.cancelled = effects.tried,
        }
    }

    /// Commits the local transaction after the code has answered. Effects outside the database were
    /// counted when they happened.
    ///
    /// # Errors
    /// An effect that no order of operations may lead to.
    pub fn commit(
        &mut self,
        key: &Key,
        arrival: Arrival,
        then: RowState,
        answer: &CallAnswer,
    ) -> Result<(), String> {
        let entry = self.entries.entry(key.clone()).or_default();
        entry.runs += 1;
        let late = entry.cancel_answered;
        match after_run(arrival.operation, then, entry.row.as_ref(), answer) {
            Stored::Nothing => {}
            Stored::WithoutEffect(row) => entry.row = Some(row),
            Stored::WithEffect(row) => {
                entry.row = Some(row);
                if !arrival.external {
                    entry.effects.add(arrival.operation);
                }
                entry.cancel_answered |= arrival.operation == Operation::Cancel;
                if late && arrival.operation == Operation::Try {
                    return Err("a Try took effect after a Cancel was answered with OK".into());
                }
            }
        }
        entry.effects.check(arrival.mode)
    }

    /// Inserts the initiator's row in its local transaction. Returns false if the row exists and holds
    /// the other outcome.
    pub fn commit_truth(&mut self, id: TxId, truth: Truth) -> bool {
        *self.truths.entry(id).or_insert(TruthWord(truth)) == TruthWord(truth)
    }

    /// Returns the outcome that the initiator's row holds.
    pub fn truth(&self, id: TxId) -> Option<Truth> {
        self.truths.get(&id).map(|word| word.0)
    }

    /// Returns the initiator's answer to a check-back; `None` if it has none.
    pub fn asked_back(&mut self, id: TxId) -> Option<Truth> {
        loop {
            match decide_check_back(self.truth(id), false) {
                CheckBack::InsertFailure => {
                    self.commit_truth(id, Truth::Failure);
                }
                CheckBack::Answer(truth) => return Some(truth),
                CheckBack::Expired => return None,
            }
        }
    }
}

impl Effects {
    fn add(&mut self, operation: Operation) {
        match operation {
            Operation::Try => self.tried += 1,
            Operation::Confirm => self.confirmed += 1,
            Operation::Cancel => self.cancelled += 1,
        }
    }

    /// Returns whether value is neither spent nor given back.
    pub fn open(self) -> bool {
        self.tried > self.confirmed + self.cancelled
    }

    /// Checks that no operation took effect twice, out of turn, or against another.
    fn check(self, mode: Mode) -> Result<(), String> {
        let Self {
            tried,
            confirmed,
            cancelled,
        } = self;
        let wrong = |what: &str| {
            Err(format!(
                "{what}: tried {tried}, confirmed {confirmed}, cancelled {cancelled}"
            ))
        };
        if tried > 1 || confirmed > 1 || cancelled > 1 {
            return wrong("an operation took effect twice");
        }
        if confirmed > 0 && cancelled > 0 {
            return wrong("Confirm and Cancel both took effect");
        }
        if cancelled > tried || (mode == Mode::Tcc && confirmed > tried) {
            return wrong("what was not tried took effect");
        }
        Ok(())
    }
}

/// Converts the core's mode to the barrier's.
pub fn mode(mode: tercet_core::model::Mode) -> Mode {
    match mode {
        tercet_core::model::Mode::Tcc => Mode::Tcc,
        tercet_core::model::Mode::Compensate => Mode::Compensate,
        tercet_core::model::Mode::Deliver => Mode::Deliver,
    }
}

/// Converts the core's operation to the barrier's.
pub fn operation(operation: tercet_core::model::Operation) -> Operation {
    match operation {
        tercet_core::model::Operation::Try => Operation::Try,
        tercet_core::model::Operation::Confirm => Operation::Confirm,
        tercet_core::model::Operation::Cancel => Operation::Cancel,
    }
}

/// Converts the barrier's answer to the core's.
pub fn answer_to_core(answer: CallAnswer) -> tercet_core::port::CallAnswer {
    match answer {
        CallAnswer::Done(result) => tercet_core::port::CallAnswer::Ok(result.into()),
        CallAnswer::Rejected(reason) => tercet_core::port::CallAnswer::Rejected(reason),
        CallAnswer::Unknown(error) => tercet_core::port::CallAnswer::Unknown(error),
    }
}
