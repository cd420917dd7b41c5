//! A participant's own database: the barrier's rows, the business effects beside them, and the
//! initiator's rows. Every decision about a row is the barrier's own ([`tercet_barrier`]).

use std::collections::BTreeMap;

use tercet_barrier::{
    Arrival, Mode, Operation, Outcome, Row, RowState, Stored, Verdict, after_run, decide,
    initiator::{CheckBack, Truth, decide_check_back},
};
use tercet_core::{id::TxId, model::Name};

/// One action of one transaction.
pub type Key = (TxId, Name);

/// One participant's database.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Books {
    entries: BTreeMap<Key, Entry>,
    truths: BTreeMap<TxId, TruthWord>,
}

/// What the database holds for one action.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// The barrier's row.
    pub row: Option<Row>,
    /// What the business has done.
    pub effects: Effects,
    /// A Cancel was answered with OK.
    pub cancel_answered: bool,
    /// How often code ran.
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

/// How often each operation has taken effect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Effects {
    /// Value frozen (TCC) or moved (COMPENSATE).
    pub tried: u32,
    /// Value spent or delivered.
    pub confirmed: u32,
    /// Value given back.
    pub cancelled: u32,
}

/// [`Truth`] with an order, so that a map of them can be hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct TruthWord(Truth);

/// What a local transaction does after the barrier was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Begun {
    /// It is over: this is the answer.
    Answer(Outcome),
    /// The code runs; if it is done, the row is this.
    Run(RowState),
}

impl Books {
    /// What the database holds for an action.
    pub fn entry(&self, key: &Key) -> Option<&Entry> {
        self.entries.get(key)
    }

    /// Every action that it knows.
    pub fn entries(&self) -> impl Iterator<Item = (&Key, &Entry)> {
        self.entries.iter()
    }

    /// The state of an action's row.
    pub fn state(&self, key: &Key) -> Option<RowState> {
        Some(self.entries.get(key)?.row.as_ref()?.state)
    }

    /// An operation arrives; its local transaction begins and the barrier is asked.
    pub fn arrive(&mut self, key: &Key, arrival: Arrival) -> Begun {
        let entry = self.entries.entry(key.clone()).or_default();
        loop {
            match decide(arrival, entry.row.as_ref()) {
                Verdict::Announce => entry.row = Some(Row::new(RowState::Trying)),
                Verdict::Run { then } => return Begun::Run(then),
                Verdict::Empty { leave } => {
                    entry.row = Some(Row::new(leave));
                    entry.cancel_answered = true;
                    return Begun::Answer(Outcome::done());
                }
                Verdict::Answer(outcome) => {
                    entry.cancel_answered |= arrival.operation == Operation::Cancel
                        && matches!(outcome, Outcome::Done(_));
                    return Begun::Answer(outcome);
                }
            }
        }
    }

    /// The code of an action with an effect outside the database runs: it is idempotent by its key.
    pub fn outside(&mut self, key: &Key, operation: Operation) {
        let effects = &mut self.entries.entry(key.clone()).or_default().effects;
        match operation {
            Operation::Try => effects.tried = 1,
            Operation::Confirm => effects.confirmed = 1,
            Operation::Cancel => effects.cancelled = effects.tried,
        }
    }

    /// The code has answered; the local transaction commits what that means. Effects outside the
    /// database have been counted when they happened.
    pub fn commit(
        &mut self,
        key: &Key,
        arrival: Arrival,
        then: RowState,
        outcome: &Outcome,
    ) -> Result<(), String> {
        let entry = self.entries.entry(key.clone()).or_default();
        entry.runs += 1;
        let late = entry.cancel_answered;
        match after_run(arrival.operation, then, entry.row.as_ref(), outcome) {
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

    /// The initiator's local transaction inserts its row; false: the row is there and says otherwise.
    pub fn commit_truth(&mut self, id: TxId, truth: Truth) -> bool {
        *self.truths.entry(id).or_insert(TruthWord(truth)) == TruthWord(truth)
    }

    /// What the initiator's row says.
    pub fn truth(&self, id: TxId) -> Option<Truth> {
        self.truths.get(&id).map(|word| word.0)
    }

    /// What the initiator answers when it is asked back; `None`: it cannot say.
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

    /// Value that is neither spent nor given back.
    pub fn open(self) -> bool {
        self.tried > self.confirmed + self.cancelled
    }

    /// What no order of operations may lead to.
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

/// The barrier's word for the core's.
pub fn mode(mode: tercet_core::model::Mode) -> Mode {
    match mode {
        tercet_core::model::Mode::Tcc => Mode::Tcc,
        tercet_core::model::Mode::Compensate => Mode::Compensate,
        tercet_core::model::Mode::Deliver => Mode::Deliver,
    }
}

/// The barrier's word for the core's.
pub fn operation(operation: tercet_core::model::Operation) -> Operation {
    match operation {
        tercet_core::model::Operation::Try => Operation::Try,
        tercet_core::model::Operation::Confirm => Operation::Confirm,
        tercet_core::model::Operation::Cancel => Operation::Cancel,
    }
}
