//! The invariants, checked after every step against the databases.
//!
//! The judge sees the coordinator's effects (rows, calls, replies) and the participants' commits, and
//! nothing of the engine's memory. Each invariant is one entry of one list: [`rows::INVARIANTS`]
//! for every change of a row, [`calls::INVARIANTS`] for every call that leaves, [`replies::INVARIANTS`]
//! for every reply to a caller, [`end::INVARIANTS`] for every transaction once faults have ended.

pub mod calls;
pub mod end;
pub mod replies;
pub mod rows;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    time::Duration,
};

use tercet_core::{
    id::{CallId, TxId},
    model::{ActionSpec, Decider, Name, Outcome, Phase, TxSpec},
    port::{Abilities, Call, CallResult, Reply, Route},
    refusal::Refusal,
    time::Timestamp,
    write::WriteResult,
};

use super::{
    books::{Books, Entry},
    tables::{Change, Row, Tables},
};

/// The result of checking one invariant; an error describes the breach.
pub type Finding = Result<(), String>;

/// A breach of an invariant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Breach {
    /// The invariant.
    pub invariant: &'static str,
    /// The transaction, where it is about one.
    pub tx: Option<TxId>,
    /// The description of the breach.
    pub what: String,
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "broken: {}: ", self.invariant)?;
        if let Some(tx) = self.tx {
            write!(f, "transaction {tx}: ")?;
        }
        f.write_str(&self.what)
    }
}

/// The databases, at one moment.
#[derive(Clone, Copy)]
pub struct Scene<'a> {
    /// The world's time.
    pub now: Timestamp,
    /// The coordinator's database.
    pub tables: &'a Tables,
    /// The participants' databases.
    pub books: &'a BTreeMap<Name, Books>,
}

impl Scene<'_> {
    /// Returns the entry of an action in its participant's database.
    pub fn entry(&self, id: TxId, spec: &ActionSpec) -> Option<&Entry> {
        self.books
            .get(&spec.participant)?
            .entry(&(id, spec.name.clone()))
    }
}

/// The way on which a call leaves.
#[derive(Clone, Copy)]
pub struct Way<'a> {
    /// The incarnation that calls.
    pub epoch: u64,
    /// The calls that the instance at the other end can answer; `None`: an address.
    pub abilities: Option<&'a Abilities>,
}

/// The kind of a caller's request.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum RequestKind {
    /// Begin or Execute.
    Begin,
    /// `AddAction`, with the action's name.
    Add(Name),
    /// Decide, with the outcome.
    Decide(Outcome),
    /// An operator's command.
    Operator,
}

/// The judge's knowledge of an action.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ActionSeen {
    /// The number of Tries that left the coordinator.
    pub tries: u32,
    /// The number of calls of phase two that left since an operator last brought the transaction back to work.
    pub finishing: u32,
    /// The same with those of which the coordinator did not learn in time that they never reached the participant.
    pub left: u32,
    /// Calls of these to an address, by epoch and id, each with its end at the latest.
    pub under_way: BTreeMap<(u64, CallId), Timestamp>,
}

/// The judge's knowledge of a transaction.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Seen {
    /// The phase at each version, from 1.
    pub phases: Vec<Phase>,
    /// Its actions.
    pub actions: BTreeMap<Name, ActionSeen>,
    /// Actions whose addition was acknowledged.
    pub acknowledged: BTreeSet<Name>,
    /// Whether its begin was acknowledged.
    pub begun: bool,
    /// Whether its begin was refused for good.
    pub refused_begin: bool,
    /// Actions whose addition was refused for good.
    pub refused: BTreeSet<Name>,
    /// Decisions that were refused for good.
    pub refused_outcomes: BTreeSet<Outcome>,
    /// The number of times that its initiator was asked back.
    pub questions: u32,
    /// The epoch whose engine knows that the decision is durable.
    pub decision_known_in: Option<u64>,
    /// Whether an operator resolved actions of it.
    pub resolved: bool,
    /// Whether a Try has left the coordinator, perhaps without reaching its participant.
    pub has_left: bool,
    /// When its phase one ends.
    pub phase_one: Option<PhaseOne>,
    /// When the ages of its actions began, in the world's time, at the earliest that the coordinator may take for it: for each
    /// time that a write kept for that, by the database's clock.
    pub ages: BTreeMap<Timestamp, Timestamp>,
    /// The number of times that its owner lost what it knew of it beyond the row, or may have: calls that it was allowed to
    /// make count as made then.
    pub losses: u32,
}

impl Seen {
    /// Takes in that an incarnation that started by this clock of the database makes ages and deadline out of the row.
    fn as_loaded(&mut self, row: Option<&Row>, now: Timestamp, clock: Timestamp) {
        // By a clock that was wrong, where it rests.
        let of_rest = row.and_then(|row| row.head.rest.as_ref()?.ages_from);
        for (stored, from) in &mut self.ages {
            let earliest = of_rest.map_or(*stored, |of_rest| of_rest.min(*stored));
            *from = (*from).min(now - clock.since(earliest));
        }
        let Some(phase_one) = &mut self.phase_one else {
            return;
        };
        let until = row.and_then(|row| row.head.rest.as_ref()?.until);
        let ends = [
            Some(phase_one.deadline),
            row.map(|row| row.spec.deadline),
            until,
        ];
        let left = ends.into_iter().flatten().map(|end| end.since(clock)).min();
        let left = left.unwrap_or_default().min(phase_one.timeout);
        phase_one.earliest = phase_one.earliest.min(now + left);
        phase_one.end = None;
    }

    /// Returns from when the ages of the actions count in this phase, in the world's time.
    pub fn ages_from(&self, phase: &Phase) -> Option<Timestamp> {
        self.ages.get(&phase.ages_from()?).copied()
    }
}

/// The judge's knowledge of the length of a phase one, in the world's time.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PhaseOne {
    /// Its end as stored, by the database's clock.
    deadline: Timestamp,
    timeout: Duration,
    /// It may not end before this.
    pub earliest: Timestamp,
    /// It is to end then; `None`: the coordinator has started or seen a jump since, and gives it no more time than
    /// its timeout.
    pub end: Option<Timestamp>,
}

impl PhaseOne {
    /// Returns the most time that is left of it.
    pub fn left(&self, now: Timestamp) -> Duration {
        self.end.map_or(self.timeout, |end| end.since(now))
    }
}

/// Records every effect, and checks the invariants.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Judge {
    seen: BTreeMap<TxId, Seen>,
    /// The incarnation that runs, and by how many microseconds the database's clock was ahead of the world's at its start.
    incarnation: (u64, i64),
    breach: Option<FirstBreach>,
}

/// The first breach; its text is no part of a world's state.
#[derive(Clone, Debug, PartialEq, Eq)]
struct FirstBreach(Breach);

impl std::hash::Hash for FirstBreach {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.0.invariant.hash(state);
    }
}

impl Judge {
    /// Returns the first breach.
    pub fn breach(&self) -> Option<&Breach> {
        self.breach.as_ref().map(|first| &first.0)
    }

    /// Records a breach.
    pub fn record(&mut self, invariant: &'static str, tx: Option<TxId>, what: String) {
        self.breach.get_or_insert(FirstBreach(Breach {
            invariant,
            tx,
            what,
        }));
    }

    fn record_first(&mut self, id: TxId, broken: Option<(&'static str, String)>) {
        if let Some((invariant, what)) = broken {
            self.record(invariant, Some(id), what);
        }
    }

    /// Notes that the coordinator begins a transaction.
    pub fn begins(&mut self, id: TxId, spec: &TxSpec, now: Timestamp) {
        let end = now + spec.timeout();
        let seen = self.seen.entry(id).or_default();
        // An earlier begin of the same id may yet turn out to have held.
        let before = seen.phase_one.as_ref();
        let earliest = before.map_or(end, |before| before.earliest.min(end));
        let is_first = before.is_none();
        seen.phase_one = Some(PhaseOne {
            deadline: spec.deadline,
            timeout: spec.timeout(),
            earliest,
            end: is_first.then_some(end),
        });
    }

    /// Notes that the coordinator writes a transaction in this phase.
    pub fn writes(&mut self, id: TxId, phase: &Phase, now: Timestamp) {
        if let (Phase::Finishing { .. }, Some(from)) = (phase, phase.ages_from()) {
            let seen = self.seen.entry(id).or_default();
            seen.ages.entry(from).or_insert(now);
        }
    }

    /// Notes that the coordinator starts: of what the database's clock did before, it knows what that shows now.
    pub fn started(&mut self, epoch: u64, now: Timestamp, clock: Timestamp, tables: &Tables) {
        self.incarnation = (epoch, clock.as_micros() - now.as_micros());
        for (id, seen) in &mut self.seen {
            seen.as_loaded(tables.row(*id), now, clock);
        }
    }

    /// Notes that the coordinator has seen the database's clock jump: of two moments at which that showed the time of a begin
    /// it takes the later, within the timeout.
    pub fn saw_a_jump(&mut self) {
        for seen in self.seen.values_mut() {
            if let Some(phase_one) = &mut seen.phase_one {
                phase_one.end = None;
            }
        }
    }

    /// Returns the judge's knowledge of a transaction.
    pub fn seen(&self, id: TxId) -> Option<&Seen> {
        self.seen.get(&id)
    }

    /// Checks a change of a row.
    pub fn changed(&mut self, change: &Change, scene: &Scene<'_>) {
        let Some(after) = scene.tables.row(change.id) else {
            return;
        };
        let seen = self.seen.entry(change.id).or_default();
        if change.before.as_ref().is_some_and(|before| {
            before.head.rest.is_none() && before.head.owner != after.head.owner
        }) {
            seen.losses += 1;
        }
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
            is_retry: change
                .operator
                .as_ref()
                .is_some_and(|entry| entry.command == "RETRY"),
            seen,
            scene: *scene,
        };
        let broken = first_broken(rows::INVARIANTS, &case);
        self.record_first(change.id, broken);
        self.note_change(change, after);
        let (epoch, ahead) = self.incarnation;
        if after.head.owner.epoch < epoch {
            // A write of an earlier incarnation that came late: this one is to load it.
            let clock = Timestamp::from_micros(scene.now.as_micros() + ahead);
            let seen = self.seen.entry(change.id).or_default();
            seen.as_loaded(Some(after), scene.now, clock);
        }
    }

    fn note_change(&mut self, change: &Change, after: &Row) {
        let seen = self.seen.entry(change.id).or_default();
        seen.phases.push(after.head.phase.clone());
        let retried = change
            .operator
            .as_ref()
            .is_some_and(|entry| entry.command == "RETRY" || entry.command.starts_with("RESOLVE"));
        if retried {
            for action in seen.actions.values_mut() {
                action.finishing = 0;
                action.left = 0;
                action.under_way.clear();
            }
        }
    }

    /// Notes the result of a write that the engine of this epoch was given.
    pub fn written(&mut self, epoch: u64, id: TxId, result: WriteResult, tables: &Tables) {
        let decided = tables
            .row(id)
            .is_some_and(|row| row.head.phase.decision().is_some());
        if result != WriteResult::Durable {
            self.forgotten(id);
        }
        if result == WriteResult::Durable && decided {
            self.seen.entry(id).or_default().decision_known_in = Some(epoch);
        }
    }

    /// Notes that a coordinator has forgotten what it knew of a transaction beyond its row.
    pub fn forgotten(&mut self, id: TxId) {
        self.seen.entry(id).or_default().losses += 1;
    }

    /// Checks a call that leaves the coordinator.
    pub fn called(&mut self, way: &Way<'_>, call: &Call, scene: &Scene<'_>) {
        let seen = self.seen.entry(call.tx).or_default();
        seen.has_left |= call.operation == tercet_core::model::Operation::Try;
        let action = seen.actions.entry(call.action.name.clone()).or_default();
        if call.operation == tercet_core::model::Operation::Try {
            action.tries += 1;
        } else {
            action.finishing += 1;
            action.left += 1;
            if call.route == Route::Direct {
                let until = scene.now + call.timeout;
                action.under_way.insert((way.epoch, call.id), until);
            }
        }
        let case = calls::Case {
            way: *way,
            call,
            row: scene.tables.row(call.tx),
            seen,
            scene: *scene,
        };
        let broken = first_broken(calls::INVARIANTS, &case);
        self.record_first(call.tx, broken);
    }

    /// Notes that a call that left never reached its participant: it is no attempt.
    pub fn not_taken(&mut self, call: &Call) {
        let seen = self.seen.entry(call.tx).or_default();
        let action = seen.actions.entry(call.action.name.clone()).or_default();
        if call.operation == tercet_core::model::Operation::Try {
            action.tries = action.tries.saturating_sub(1);
        } else {
            action.finishing = action.finishing.saturating_sub(1);
        }
    }

    /// Notes that the coordinator learns that a call never reached its participant.
    pub fn learns_of_unsent(&mut self, epoch: u64, result: &CallResult, now: Timestamp) {
        let seen = self.seen.entry(result.tx).or_default();
        let action = seen.actions.entry(result.action.clone()).or_default();
        let until = action.under_way.remove(&(epoch, result.call));
        if until.is_some_and(|until| now < until) {
            action.left = action.left.saturating_sub(1);
        }
    }

    /// Checks a reply to a caller.
    pub fn replied(
        &mut self,
        id: TxId,
        kind: &RequestKind,
        result: &Result<Reply, Refusal>,
        scene: &Scene<'_>,
    ) {
        let about = result.as_ref().map_or(id, |reply| reply.transaction.id());
        let case = replies::Case {
            id,
            kind,
            result,
            row: scene.tables.row(about),
            epoch: self.incarnation.0,
            begun: self.seen.get(&about).is_some_and(|seen| seen.begun),
            phases: self.seen.get(&about).map_or(&[], |seen| &seen.phases),
        };
        let broken = first_broken(replies::INVARIANTS, &case);
        self.record_first(about, broken);
        self.note_reply(id, kind, result);
    }

    fn note_reply(&mut self, id: TxId, kind: &RequestKind, result: &Result<Reply, Refusal>) {
        let seen = self.seen.entry(id).or_default();
        match (kind, result) {
            (RequestKind::Begin, Ok(reply)) => seen.begun |= reply.transaction.id() == id,
            (RequestKind::Add(name), Ok(_)) => {
                seen.acknowledged.insert(name.clone());
            }
            (RequestKind::Begin, Err(refusal)) if replies::is_final(refusal) => {
                // A begin of an id that exists is refused for a difference; the first begin stands. What a clock refuses
                // may begin by another one: a copy that arrives after the clock has jumped.
                let by_clock = matches!(refusal, Refusal::TxIdExpired { .. });
                seen.refused_begin |= seen.phases.is_empty() && !by_clock;
            }
            (RequestKind::Add(name), Err(refusal))
                if replies::is_final(refusal)
                    && !matches!(refusal, Refusal::ActionReused { .. }) =>
            {
                seen.refused.insert(name.clone());
            }
            (RequestKind::Decide(outcome), Err(Refusal::DecisionConflict { .. })) => {
                seen.refused_outcomes.insert(*outcome);
            }
            _ => {}
        }
    }

    /// Checks a question to an initiator.
    pub fn asked_back(&mut self, id: TxId, scene: &Scene<'_>) {
        let seen = self.seen.entry(id).or_default();
        seen.questions += 1;
        let Some(row) = scene.tables.row(id) else {
            return;
        };
        let decided = row.head.phase.decision().is_some() && seen.decision_known_in.is_some();
        let early = seen.phase_one.as_ref();
        let early = early.is_some_and(|phase_one| scene.now < phase_one.earliest);
        if decided || early {
            let what = "the initiator is asked before the deadline or after the decision";
            self.record("only silence is asked back", Some(id), what.into());
        }
    }

    /// Checks every transaction after faults have ended and time has passed. One that wants nothing but calls of
    /// participants that are `gone` for good rests.
    pub fn at_the_end(&mut self, scene: &Scene<'_>, gone: &BTreeSet<Name>) {
        for (id, row) in scene.tables.rows() {
            let case = end::Case {
                id: *id,
                row,
                gone,
                resolved: self.seen.get(id).is_some_and(|seen| seen.resolved),
                scene: *scene,
            };
            let broken = first_broken(end::INVARIANTS, &case);
            self.record_first(*id, broken);
        }
        let lost = self
            .seen
            .iter()
            .find(|(id, seen)| seen.begun && scene.tables.row(**id).is_none())
            .map(|(id, _)| *id);
        if let Some(id) = lost {
            let what = "its begin was acknowledged and its row is gone".to_owned();
            self.record("I6 what was acknowledged stands", Some(id), what);
        }
    }
}

/// The name of an invariant, and its check.
type Invariant<C> = (&'static str, fn(&C) -> Finding);

fn first_broken<C>(invariants: &[Invariant<C>], case: &C) -> Option<(&'static str, String)> {
    invariants
        .iter()
        .find_map(|(name, check)| check(case).err().map(|what| (*name, what)))
}

/// Returns whether the coordinator makes the Tries of a row's transaction.
fn is_executed(row: &Row) -> bool {
    row.spec.decider == Decider::Coordinator
}
