//! The invariants, checked after every step against what really is in the databases.
//!
//! The judge sees what the coordinator does (rows, calls, replies) and what participants committed; it
//! knows nothing of the engine's memory. Each invariant is one entry of one list: [`rows::INVARIANTS`]
//! for every change of a row, [`calls::INVARIANTS`] for every call that leaves, [`replies::INVARIANTS`]
//! for every answer to a caller, [`end::INVARIANTS`] for every transaction once faults have ended.

pub mod calls;
pub mod end;
pub mod replies;
pub mod rows;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use tercet_core::{
    engine::{Call, Reply, Settled},
    id::TxId,
    model::{ActionSpec, Driver, Name, Outcome, Phase},
    refusal::Refusal,
    time::Timestamp,
};

use super::{
    books::{Books, Entry},
    tables::{Change, Row, Tables},
};

/// What a checked thing is, if it is not as promised.
pub type Finding = Result<(), String>;

/// A broken promise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which promise.
    pub invariant: &'static str,
    /// Of which transaction.
    pub tx: Option<TxId>,
    /// What was seen.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "broken: {}: ", self.invariant)?;
        if let Some(tx) = self.tx {
            write!(f, "transaction {tx}: ")?;
        }
        f.write_str(&self.what)
    }
}

/// What really is, at one moment.
#[derive(Clone, Copy)]
pub struct Scene<'a> {
    /// The database's time.
    pub now: Timestamp,
    /// The coordinator's database.
    pub tables: &'a Tables,
    /// The participants' databases.
    pub books: &'a BTreeMap<Name, Books>,
}

impl Scene<'_> {
    /// What its participant's database holds for an action.
    pub fn entry(&self, id: TxId, spec: &ActionSpec) -> Option<&Entry> {
        self.books
            .get(&spec.participant)?
            .entry(&(id, spec.name.clone()))
    }
}

/// What a caller asked for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Asked {
    /// Begin or Execute.
    Begin,
    /// To add this action.
    Add(Name),
    /// To decide this.
    Decide(Outcome),
    /// An operator's command.
    Operator,
}

/// What was seen of an action.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ActionSeen {
    /// Tries that left the coordinator.
    pub tries: u32,
    /// Calls of phase two that left since an operator last let them be tried again.
    pub finishing: u32,
}

/// What was seen of a transaction.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Seen {
    /// The phase at each version, from 1.
    pub phases: Vec<Phase>,
    /// Its actions.
    pub actions: BTreeMap<Name, ActionSeen>,
    /// Actions whose addition was acknowledged.
    pub acknowledged: BTreeSet<Name>,
    /// Its begin was acknowledged.
    pub begun: bool,
    /// Its begin was refused for good.
    pub refused_begin: bool,
    /// Actions whose addition was refused for good.
    pub refused: BTreeSet<Name>,
    /// Decisions that were refused for good.
    pub refused_outcomes: BTreeSet<Outcome>,
    /// How often its initiator was asked back.
    pub questions: u32,
    /// The epoch that was told that its decision is durable.
    pub told: Option<u64>,
    /// An operator ended actions of it by hand.
    pub resolved: bool,
}

/// Sees everything and forgets nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Judge {
    seen: BTreeMap<TxId, Seen>,
    violation: Option<FirstViolation>,
}

/// The first violation; its text is no part of a world's state.
#[derive(Clone, Debug, PartialEq, Eq)]
struct FirstViolation(Violation);

impl std::hash::Hash for FirstViolation {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.0.invariant.hash(state);
    }
}

impl Judge {
    /// The first promise that was broken.
    pub fn violation(&self) -> Option<&Violation> {
        self.violation.as_ref().map(|first| &first.0)
    }

    /// Notes a broken promise that somebody else found.
    pub fn accuse(&mut self, invariant: &'static str, tx: Option<TxId>, what: String) {
        self.violation.get_or_insert(FirstViolation(Violation {
            invariant,
            tx,
            what,
        }));
    }

    fn convict(&mut self, id: TxId, broken: Option<(&'static str, String)>) {
        if let Some((invariant, what)) = broken {
            self.accuse(invariant, Some(id), what);
        }
    }

    /// What was seen of a transaction.
    pub fn seen(&self, id: TxId) -> Option<&Seen> {
        self.seen.get(&id)
    }

    /// A write was applied.
    pub fn changed(&mut self, change: &Change, scene: &Scene<'_>) {
        let Some(after) = scene.tables.row(change.id) else {
            return;
        };
        let seen = self.seen.entry(change.id).or_default();
        if change
            .operator
            .as_ref()
            .is_some_and(|entry| entry.command.starts_with("RESOLVE"))
        {
            seen.resolved = true;
        }
        let case = rows::Case {
            id: change.id,
            before: change.before.as_ref(),
            after,
            by_operator: change.operator.is_some(),
            seen,
            scene: *scene,
        };
        let broken = first_broken(rows::INVARIANTS, &case);
        self.convict(change.id, broken);
        self.note_change(change, after);
    }

    fn note_change(&mut self, change: &Change, after: &Row) {
        let seen = self.seen.entry(change.id).or_default();
        seen.phases.push(after.head.phase.clone());
        let retried = change
            .operator
            .as_ref()
            .is_some_and(|entry| entry.command == "RETRY");
        if retried {
            for action in seen.actions.values_mut() {
                action.finishing = 0;
            }
        }
    }

    /// The engine of this epoch was told what became of a write.
    pub fn told(&mut self, epoch: u64, id: TxId, settled: Settled, tables: &Tables) {
        let decided = tables
            .row(id)
            .is_some_and(|row| row.head.phase.decision().is_some());
        if settled == Settled::Held && decided {
            self.seen.entry(id).or_default().told = Some(epoch);
        }
    }

    /// A call leaves the coordinator.
    pub fn called(&mut self, epoch: u64, call: &Call, scene: &Scene<'_>) {
        let seen = self.seen.entry(call.tx).or_default();
        let action = seen.actions.entry(call.action.name.clone()).or_default();
        if call.operation == tercet_core::model::Operation::Try {
            action.tries += 1;
        } else {
            action.finishing += 1;
        }
        let case = calls::Case {
            epoch,
            call,
            row: scene.tables.row(call.tx),
            seen,
            scene: *scene,
        };
        let broken = first_broken(calls::INVARIANTS, &case);
        self.convict(call.tx, broken);
    }

    /// A caller is answered.
    pub fn replied(
        &mut self,
        id: TxId,
        asked: &Asked,
        result: &Result<Reply, Refusal>,
        scene: &Scene<'_>,
    ) {
        let about = result.as_ref().map_or(id, |reply| reply.transaction.id());
        let case = replies::Case {
            id,
            asked,
            result,
            row: scene.tables.row(about),
            begun: self.seen.get(&about).is_some_and(|seen| seen.begun),
            phases: self.seen.get(&about).map_or(&[], |seen| &seen.phases),
        };
        let broken = first_broken(replies::INVARIANTS, &case);
        self.convict(about, broken);
        self.note_reply(id, asked, result);
    }

    fn note_reply(&mut self, id: TxId, asked: &Asked, result: &Result<Reply, Refusal>) {
        let seen = self.seen.entry(id).or_default();
        match (asked, result) {
            (Asked::Begin, Ok(reply)) => seen.begun |= reply.transaction.id() == id,
            (Asked::Add(name), Ok(_)) => {
                seen.acknowledged.insert(name.clone());
            }
            (Asked::Begin, Err(refusal)) if replies::is_final(refusal) => {
                // A begin of an id that exists is refused for what it differs in; the id stands.
                seen.refused_begin |= seen.phases.is_empty();
            }
            (Asked::Add(name), Err(refusal))
                if replies::is_final(refusal)
                    && !matches!(refusal, Refusal::ActionReused { .. }) =>
            {
                seen.refused.insert(name.clone());
            }
            (Asked::Decide(outcome), Err(Refusal::DecisionConflict { .. })) => {
                seen.refused_outcomes.insert(*outcome);
            }
            _ => {}
        }
    }

    /// The initiator is asked back.
    pub fn asked_back(&mut self, id: TxId, scene: &Scene<'_>) {
        let seen = self.seen.entry(id).or_default();
        seen.questions += 1;
        let Some(row) = scene.tables.row(id) else {
            return;
        };
        let decided = row.head.phase.decision().is_some() && seen.told.is_some();
        if decided || scene.now < row.spec.deadline {
            let what = "the initiator is asked before the deadline or after the decision";
            self.accuse("only silence is asked back", Some(id), what.into());
        }
    }

    /// Faults have ended and time has passed. A participant may still be dead: what involves it may
    /// be unfinished, nothing else.
    pub fn at_the_end(&mut self, scene: &Scene<'_>, dead: Option<&Name>) {
        for (id, row) in scene.tables.rows() {
            if !row.head.phase.is_settled() && row.involves(dead) {
                continue;
            }
            let case = end::Case {
                id: *id,
                row,
                resolved: self.seen.get(id).is_some_and(|seen| seen.resolved),
                scene: *scene,
            };
            let broken = first_broken(end::INVARIANTS, &case);
            self.convict(*id, broken);
        }
        let lost = self
            .seen
            .iter()
            .find(|(id, seen)| seen.begun && scene.tables.row(**id).is_none())
            .map(|(id, _)| *id);
        if let Some(id) = lost {
            let what = "its begin was acknowledged and its row is gone".to_owned();
            self.accuse("I6 what was acknowledged stands", Some(id), what);
        }
    }
}

/// A promise and what checks it.
type Invariant<C> = (&'static str, fn(&C) -> Finding);

fn first_broken<C>(invariants: &[Invariant<C>], case: &C) -> Option<(&'static str, String)> {
    invariants
        .iter()
        .find_map(|(name, check)| check(case).err().map(|what| (*name, what)))
}

/// Whether the coordinator makes the Tries of a row's transaction.
fn is_executed(row: &Row) -> bool {
    row.spec.driver == Driver::Coordinator
}
