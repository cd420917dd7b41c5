//! A database that takes no writes: from when on, what becomes of the writes that callers wait for, and when there is no
//! hope left.

use std::{mem, time::Duration};

use tercet_mutation::broken;

use super::{Batch, Lane, all, unique_key};
use crate::{
    id::TxId,
    limits::TRIAL_DOUBLINGS,
    time::Moment,
    write::{ApplyFailure, Write, WriteResult},
};

/// A time in which no write was applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Trouble {
    /// When the first command of those that failed was given.
    since: Moment,
    /// Since when every commit failed for good, if the last one did.
    fatal_since: Option<Moment>,
    /// When a write outside of this lane was applied, if no commit failed since.
    proved_at: Option<Moment>,
}

impl Lane {
    /// Notes the result of a command that was given at `since`.
    pub(super) fn note(&mut self, now: Moment, since: Moment, failure: Option<ApplyFailure>) {
        let fatal = match failure {
            None => {
                self.trouble = None;
                self.unproved = 0;
                return;
            }
            // The database answered: it reads, and perhaps it writes too.
            Some(ApplyFailure::Moved | ApplyFailure::Content) => return,
            Some(ApplyFailure::Fatal) => true,
            Some(ApplyFailure::NotApplied | ApplyFailure::Unknown) => false,
        };
        let trouble = self.trouble.get_or_insert(Trouble {
            since,
            fatal_since: None,
            proved_at: None,
        });
        trouble.fatal_since = fatal.then(|| trouble.fatal_since.unwrap_or(now));
        trouble.proved_at = None;
    }

    /// Notes that a write outside of this lane was applied. Such a write is small and may go to another table, so that it
    /// proves little: commits are tried again, and the trouble ends with the first that is applied, or where none fails
    /// for [`LaneConfig::patience`](super::LaneConfig::patience). Each trouble that ends without a commit doubles that
    /// time, up to [`TRIAL_DOUBLINGS`] times, until a commit is applied.
    pub fn database_writes(&mut self, now: Moment) {
        let Some(trouble) = &mut self.trouble else {
            return;
        };
        let proved_at = *trouble.proved_at.get_or_insert(now);
        let trial = self.config.patience * (1 << self.unproved.min(TRIAL_DOUBLINGS));
        if now >= proved_at + trial {
            self.trouble = None;
            self.unproved = self.unproved.saturating_add(1);
        }
    }

    /// Returns whether the database takes no writes: for [`LaneConfig::patience`](super::LaneConfig::patience) none was
    /// applied though one was tried, or one failed for good.
    pub fn is_stalled(&self, now: Moment) -> bool {
        let failing = self.trouble.is_some_and(|trouble| {
            let long = now >= trouble.since + self.config.patience;
            trouble.proved_at.is_none() && (trouble.fatal_since.is_some() || long)
        });
        let hanging = self
            .under_way
            .as_ref()
            .is_some_and(|command| now >= command.since + self.config.patience);
        failing || hanging
    }

    /// Notes that the process stood still for this time, which is over: it counts neither as the database's silence nor
    /// as a time in which commits failed. A deadline that a caller was promised is not moved.
    pub fn stood_still(&mut self, by: Duration) {
        if broken("standstill_counts_as_silence") {
            return;
        }
        if let Some(command) = &mut self.under_way {
            command.since = command.since + by;
        }
        if let Some(trouble) = &mut self.trouble {
            trouble.since = trouble.since + by;
            trouble.fatal_since = trouble.fatal_since.map(|since| since + by);
            trouble.proved_at = trouble.proved_at.map(|at| at + by);
        }
    }

    /// Returns whether commits are tried again after a trouble, and none was applied yet.
    pub fn is_on_trial(&self) -> bool {
        self.trouble
            .is_some_and(|trouble| trouble.proved_at.is_some())
    }

    /// Returns whether every commit failed for good, for [`LaneConfig::fatal_after`](super::LaneConfig::fatal_after).
    pub fn is_hopeless(&self, now: Moment) -> bool {
        self.trouble
            .filter(|trouble| trouble.proved_at.is_none())
            .and_then(|trouble| trouble.fatal_since)
            .is_some_and(|since| now >= since + self.config.fatal_after)
    }

    /// Gives up the writes that callers wait for, while the database takes none: those that were certainly not applied
    /// leave the lane, and the others stay in it and are returned once.
    pub fn give_up(&mut self, now: Moment) -> Vec<(TxId, WriteResult)> {
        let mut results = Vec::new();
        if !self.is_stalled(now) {
            return results;
        }
        if let Some(command) = &mut self.under_way
            && now >= command.since + self.config.patience
        {
            unanswered(&mut command.batch, &mut results);
        }
        let mut removed = self.gathering.take_urgent();
        let mut give_up = |batch| without_urgent(batch, &mut removed, &mut results);
        let apart = mem::take(&mut self.apart);
        self.apart = apart.into_iter().filter_map(&mut give_up).collect();
        self.to_read = self.to_read.take().and_then(give_up);
        for key in removed.iter().filter_map(unique_key) {
            let following = self.following.remove(&key);
            results.extend(
                following
                    .into_iter()
                    .flatten()
                    .map(|write| not_applied(&write)),
            );
        }
        for following in self.following.values_mut() {
            results.extend(following.drain(..).map(|write| not_applied(&write)));
        }
        results.extend(removed.into_iter().map(|write| not_applied(&write)));
        results
    }
}

fn not_applied(write: &Write) -> (TxId, WriteResult) {
    (write.id, WriteResult::NotApplied)
}

/// Notes once that the database does not answer for the writes of a batch.
fn unanswered(batch: &mut Batch, results: &mut Vec<(TxId, WriteResult)>) {
    if !batch.unanswered {
        batch.unanswered = true;
        results.extend(all(batch, WriteResult::Unanswered));
    }
}

/// Takes the writes that callers wait for out of a batch, where none of it can have been applied; returns what is left
/// of it.
fn without_urgent(
    mut batch: Batch,
    removed: &mut Vec<Write>,
    results: &mut Vec<(TxId, WriteResult)>,
) -> Option<Batch> {
    if batch.in_doubt && !broken("write_in_doubt_given_up") {
        unanswered(&mut batch, results);
        return Some(batch);
    }
    if !batch.writes.iter().any(|write| write.urgent) {
        return Some(batch);
    }
    let writes = batch.writes.iter().cloned();
    let (urgent, kept): (Vec<Write>, Vec<Write>) = writes.partition(|write| write.urgent);
    removed.extend(urgent);
    (!kept.is_empty()).then(|| batch.of(kept))
}
