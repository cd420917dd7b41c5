//! The coordinator's database in a world: the fates of commits and reads, and the arrival of their
//! results.

use std::sync::Arc;

use tercet_core::{
    lane::{LaneCommand, LaneConfig, LaneResult},
    port::Input,
    write::{ApplyFailure, Write, WriteResult},
};

use super::{Event, FromStore, World};
use crate::sim::{
    clocks,
    faults::Fault,
    judge::Scene,
    sessions::{Ending, Progress, SessionId},
    tables::Change,
};

impl World {
    pub(super) fn submit(&mut self, command: LaneCommand) {
        let epoch = self.epoch;
        match command {
            LaneCommand::Standing(batch) => {
                let standing = if self.faults.strikes(Fault::ReadFailed) {
                    Err(ApplyFailure::NotApplied)
                } else {
                    Ok(self.database.tables.standing(&batch))
                };
                self.read_answers(epoch, FromStore::Lane(LaneResult::Standing(standing)));
            }
            LaneCommand::Apply(batch) => self.apply(epoch, batch),
        }
    }

    /// Opens a session for a commit; faults decide its fate.
    fn apply(&mut self, epoch: u64, batch: Arc<Vec<Write>>) {
        let mut starts = self.dice.millis(0, 2);
        let mut stays = self.dice.millis(0, 2);
        let strikes = |fault: Fault, faults: &mut crate::sim::faults::Faults| faults.strikes(fault);
        let mut failure = None;
        let mut ending = Some(Ending::Applied);
        let mut word = "";
        if strikes(Fault::DatabaseOutage, &mut self.faults) {
            self.outage_until = self.now + self.dice.millis(1_000, 15_000);
        }
        if self.now < self.outage_until {
            (ending, failure, word) = (None, Some(ApplyFailure::NotApplied), "meets an outage");
            match self.dice.below(8) {
                0 => failure = Some(ApplyFailure::Unknown),
                1 => {
                    starts = self.dice.millis(5, 20_000);
                    (ending, failure) = (Some(Ending::AppliedUnheard), Some(ApplyFailure::Unknown));
                }
                _ => {}
            }
        } else if strikes(Fault::CommitNotApplied, &mut self.faults) {
            (ending, failure, word) = (None, Some(ApplyFailure::NotApplied), "is not applied");
        } else if strikes(Fault::CommitLostBefore, &mut self.faults) {
            (ending, failure, word) = (None, Some(ApplyFailure::Unknown), "is lost before");
        } else if strikes(Fault::CommitLostAfter, &mut self.faults) {
            (ending, word) = (Some(Ending::AppliedUnknown), "is lost after");
        } else if strikes(Fault::CommitLate, &mut self.faults) {
            starts = self.dice.millis(5, 20_000);
            (failure, word) = (Some(ApplyFailure::Unknown), "lands late");
            ending = Some(Ending::AppliedUnheard);
        } else if strikes(Fault::CommitHangs, &mut self.faults) {
            stays = self.dice.millis(5, 10_000);
            (failure, word) = (Some(ApplyFailure::Unknown), "hangs");
            ending = Some(
                *self
                    .dice
                    .pick(&[Ending::AppliedUnheard, Ending::RolledBackUnheard]),
            );
        } else if strikes(Fault::CommitStalls, &mut self.faults) {
            stays = self.dice.millis(100, 6_000);
            word = "stalls";
        }
        if !word.is_empty() {
            for write in batch.iter() {
                self.note(Some(write.id), || format!("commit {word} ({ending:?})"));
            }
        }
        if let Some(ending) = ending {
            let session = self.database.open(batch, ending, self.now + starts, stays);
            self.after(starts, Event::Session(session, epoch));
        }
        if let Some(failure) = failure {
            let wait = self.dice.millis(1, 30);
            let answer = FromStore::Lane(LaneResult::Applied(Err(failure)));
            self.after(wait, Event::FromStore(epoch, Box::new(answer)));
        }
    }

    pub(super) fn session_goes_on(&mut self, session: SessionId, epoch: u64) {
        match self.database.step(session, self.now) {
            Progress::After(wait) => self.after(wait, Event::Session(session, epoch)),
            Progress::Corrupt(tx, what) => {
                let invariant = "I10 the fence: other rows change with their tx_info row";
                self.judge.record(invariant, Some(tx), what);
            }
            Progress::Over { result, changes } => {
                for change in changes {
                    self.committed(&change);
                }
                if let Some(result) = result {
                    let wait = self.dice.millis(0, 1);
                    let answer = FromStore::Lane(LaneResult::Applied(result));
                    self.after(wait, Event::FromStore(epoch, Box::new(answer)));
                }
            }
        }
    }

    /// Answers the callers of writes while the database takes none.
    pub(super) fn give_up(&mut self) {
        let Some(process) = &mut self.process else {
            return;
        };
        let results = process.lane.give_up(process.now.moment);
        if results.is_empty() {
            return;
        }
        let silence = process.silence();
        if silence < LaneConfig::default().patience {
            let invariant = "a standstill of the coordinator is not the database's silence";
            let what = format!("callers were given up after {silence:?} in which it ran");
            self.judge.record(invariant, Some(results[0].0), what);
        }
        for (id, result) in &results {
            self.history
                .note(self.now, Some(*id), || format!("its write is {result:?}"));
            if *result == WriteResult::NotApplied {
                self.judge.forgotten(*id);
                let row = self.database.tables.row(*id);
                let version = row.map_or(0, |row| row.head.version);
                self.given_up
                    .insert((*id, version + 1, process.owner.epoch));
            }
        }
        let input = Input::Written(results);
        self.coverage.note(&self.database.tables, &input);
        process.handle(input);
    }

    fn committed(&mut self, change: &Change) {
        if let Some(row) = self.database.tables.row(change.id) {
            let (version, epoch) = (row.head.version, row.head.owner.epoch);
            if self.given_up.contains(&(change.id, version, epoch)) {
                let invariant = "I6 a write that was given up as not applied is never applied";
                let what = format!("version {version} was given up");
                self.judge.record(invariant, Some(change.id), what);
            }
        }
        let scene = Scene {
            now: self.now,
            tables: &self.database.tables,
            books: &self.books,
        };
        self.judge.changed(change, &scene);
        let row = self.database.tables.row(change.id).cloned();
        self.note(Some(change.id), || {
            row.map(|row| row.summary()).unwrap_or_default()
        });
    }

    pub(super) fn store_answers(&mut self, epoch: u64, answer: FromStore) {
        if self.process.as_ref().is_none_or(|p| p.owner.epoch != epoch) {
            return;
        }
        if self.is_paused() {
            self.postpone(Event::FromStore(epoch, Box::new(answer)));
            return;
        }
        let input = match answer {
            FromStore::Loaded(loaded) => Input::Loaded(loaded),
            FromStore::Due(query, due) => Input::Due(query, due),
            FromStore::Queues(query, queues) => Input::Queues(query, queues),
            FromStore::ReadFailed(read) => Input::ReadFailed(read),
            FromStore::Lane(result) => {
                let moment = clocks::moment(self.now);
                let Some(process) = &mut self.process else {
                    return;
                };
                process.comes_to(moment);
                let results = process.commanded(result);
                for (id, result) in &results {
                    let row = self.database.tables.row(*id);
                    // One that was put to rest may be taken again at once, by what came meanwhile.
                    if row.is_none_or(|row| row.head.phase.is_over()) {
                        process.from_table.remove(id);
                    }
                    self.judge
                        .written(epoch, *id, *result, &self.database.tables);
                    self.history
                        .note(self.now, Some(*id), || format!("its write is {result:?}"));
                }
                Input::Written(results)
            }
        };
        self.deliver(input);
    }

    /// Schedules the result of a read, which may be outdated when it arrives.
    pub(super) fn read_answers(&mut self, epoch: u64, answer: FromStore) {
        let wait = if self.faults.strikes(Fault::ReadStalls) {
            self.dice.millis(50, 4_000)
        } else {
            self.dice.millis(0, 5)
        };
        self.after(wait, Event::FromStore(epoch, Box::new(answer)));
    }
}
