//! Which writes make one commit, and what a commit's result means for each of them.
//!
//! Whatever gathered while the previous commit ran becomes the next one: no timer, no added latency
//! when idle. Only writes that nobody waits for linger a moment for company.
//!
//! A batch that did not simply hold is taken apart: writes whose row moved are answered, a value that
//! the database refuses is found by halving, and a commit of unknown outcome is resolved by applying
//! the same writes again and then reading who wrote the rows.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use tercet_mutation::broken;

use crate::{
    engine::Settled,
    id::TxId,
    model::{Name, Owner},
    pursuit::earliest,
    time::Timestamp,
    write::{ApplyFailure, Fence, Standing, StandingRow, Write},
};

/// How a lane is set up. Every bound of it is here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaneConfig {
    /// Writes of one commit.
    pub batch: usize,
    /// How long a write that nobody waits for may linger for company.
    pub linger: Duration,
    /// The pause after the first commit that was not applied; doubled each time.
    pub first_pause: Duration,
    /// The cap of the pause.
    pub max_pause: Duration,
}

impl Default for LaneConfig {
    fn default() -> Self {
        Self {
            batch: 256,
            linger: Duration::from_millis(5),
            first_pause: Duration::from_millis(10),
            max_pause: Duration::from_secs(1),
        }
    }
}

/// What the store is to do. One command is under way at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LaneCommand {
    /// `Store::apply`; after an unknown outcome on a new connection.
    Apply(Arc<Vec<Write>>),
    /// `Store::standing`.
    Standing(Arc<Vec<Write>>),
}

/// What came of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LaneResult {
    /// Of [`LaneCommand::Apply`].
    Applied(Result<(), ApplyFailure>),
    /// Of [`LaneCommand::Standing`].
    Standing(Result<Vec<Standing>, ApplyFailure>),
}

/// Writes that go together, and what is known of them.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Batch {
    writes: Arc<Vec<Write>>,
    /// Whether an earlier try to apply them may have held.
    in_doubt: bool,
}

/// One sequence of commits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lane {
    config: LaneConfig,
    owner: Owner,
    /// Writes that no commit has taken yet, in the order in which they came.
    gathering: VecDeque<(Timestamp, Write)>,
    /// How many of them somebody waits for.
    urgent: usize,
    /// Batches that were taken apart; they come before anything new.
    apart: VecDeque<Batch>,
    under_way: Option<(Batch, Doing)>,
    /// What comes next for a batch that is to be looked at before it is applied again.
    to_read: Option<Batch>,
    failures: u32,
    not_before: Timestamp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Doing {
    Applying,
    Reading,
}

impl Lane {
    /// A lane for the writes of `owner`.
    pub fn new(config: LaneConfig, owner: Owner) -> Self {
        Self {
            config,
            owner,
            gathering: VecDeque::new(),
            urgent: 0,
            apart: VecDeque::new(),
            under_way: None,
            to_read: None,
            failures: 0,
            not_before: Timestamp::default(),
        }
    }

    /// Takes a write in. At most one of a transaction is in the lane.
    pub fn push(&mut self, now: Timestamp, write: Write) {
        self.urgent += usize::from(write.urgent);
        self.gathering.push_back((now, write));
    }

    /// Writes that are not settled.
    pub fn len(&self) -> usize {
        let under_way = self.under_way.iter().map(|(batch, _)| batch);
        let batches = self.apart.iter().chain(&self.to_read).chain(under_way);
        self.gathering.len() + batches.map(|batch| batch.writes.len()).sum::<usize>()
    }

    /// Whether nothing is to be done.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The next command; `None` while one is under way, or nothing is to be done yet.
    pub fn next(&mut self, now: Timestamp) -> Option<LaneCommand> {
        if self.under_way.is_some() || now < self.not_before {
            return None;
        }
        if let Some(batch) = self.to_read.take() {
            let command = LaneCommand::Standing(batch.writes.clone());
            self.under_way = Some((batch, Doing::Reading));
            return Some(command);
        }
        let batch = self.apart.pop_front().or_else(|| self.gathered(now))?;
        let command = LaneCommand::Apply(batch.writes.clone());
        self.under_way = Some((batch, Doing::Applying));
        Some(command)
    }

    /// When [`Lane::next`] may have something by itself.
    pub fn next_wakeup(&self) -> Option<Timestamp> {
        if self.under_way.is_some() {
            return None;
        }
        let lingering = self.gathering.front().map(|(since, _)| {
            if self.urgent > 0 {
                *since
            } else {
                *since + self.config.linger
            }
        });
        let apart = (self.to_read.is_some() || !self.apart.is_empty()).then_some(self.not_before);
        earliest(lingering, apart).map(|at| at.max(self.not_before))
    }

    /// What has gathered, if it is time: rows sorted by id, no unique key twice.
    fn gathered(&mut self, now: Timestamp) -> Option<Batch> {
        let (since, _) = self.gathering.front()?;
        if self.urgent == 0 && now < *since + self.config.linger {
            return None;
        }
        let mut writes = Vec::with_capacity(self.gathering.len().min(self.config.batch));
        let mut keys = BTreeSet::new();
        let mut postponed = VecDeque::new();
        while writes.len() < self.config.batch {
            let Some((since, write)) = self.gathering.pop_front() else {
                break;
            };
            if unique_key(&write).is_some_and(|key| !keys.insert(key)) {
                postponed.push_back((since, write));
                continue;
            }
            self.urgent -= usize::from(write.urgent);
            writes.push(write);
        }
        while let Some(write) = postponed.pop_back() {
            self.gathering.push_front(write);
        }
        writes.sort_by_key(|write| write.id);
        Some(Batch {
            writes: Arc::new(writes),
            in_doubt: false,
        })
    }

    /// What a command came to; gives the writes that are settled by it.
    ///
    /// # Panics
    /// Never for a result of the command that [`Lane::next`] gave; a result without one is ignored.
    pub fn done(&mut self, now: Timestamp, result: LaneResult) -> Vec<(TxId, Settled)> {
        let Some((batch, doing)) = self.under_way.take() else {
            return Vec::new();
        };
        match (doing, result) {
            (Doing::Applying, LaneResult::Applied(result)) => self.applied(now, batch, result),
            (Doing::Reading, LaneResult::Standing(result)) => self.read(now, batch, result),
            (doing, _) => {
                self.under_way = Some((batch, doing));
                Vec::new()
            }
        }
    }

    fn applied(
        &mut self,
        now: Timestamp,
        batch: Batch,
        result: Result<(), ApplyFailure>,
    ) -> Vec<(TxId, Settled)> {
        match result {
            Ok(()) => {
                self.failures = 0;
                all(&batch, Settled::Held)
            }
            Err(ApplyFailure::Moved) => {
                self.to_read = Some(batch);
                Vec::new()
            }
            Err(ApplyFailure::Unknown) => {
                if broken("unknown_commit_taken_as_failed") {
                    return all(&batch, Settled::Moved);
                }
                if broken("unknown_commit_taken_as_held") {
                    return all(&batch, Settled::Held);
                }
                self.pause(now);
                self.apart.push_front(Batch {
                    in_doubt: true,
                    ..batch
                });
                Vec::new()
            }
            Err(ApplyFailure::NotApplied | ApplyFailure::Fatal) => {
                self.pause(now);
                self.apart.push_front(batch);
                Vec::new()
            }
            Err(ApplyFailure::Content) => self.halve(&batch),
        }
    }

    /// Finds the write with the value that the database refuses.
    fn halve(&mut self, batch: &Batch) -> Vec<(TxId, Settled)> {
        if batch.writes.len() == 1 {
            // In doubt means that it may have held the first time; then it was not refused.
            let settled = if batch.in_doubt {
                Settled::Lost
            } else {
                Settled::Refused
            };
            return all(batch, settled);
        }
        let (first, second) = batch.writes.split_at(batch.writes.len() / 2);
        for half in [second, first] {
            let writes = Arc::new(half.to_vec());
            self.apart.push_front(Batch {
                writes,
                in_doubt: batch.in_doubt,
            });
        }
        Vec::new()
    }

    fn read(
        &mut self,
        now: Timestamp,
        batch: Batch,
        result: Result<Vec<Standing>, ApplyFailure>,
    ) -> Vec<(TxId, Settled)> {
        let standing = match result {
            Ok(standing) if standing.len() == batch.writes.len() => standing,
            _ => {
                self.pause(now);
                self.to_read = Some(batch);
                return Vec::new();
            }
        };
        let mut settled = Vec::new();
        let mut again = Vec::new();
        for (write, standing) in batch.writes.iter().zip(standing) {
            match self.verdict(now, write, standing.row.as_ref(), batch.in_doubt) {
                #[cfg(feature = "mutations")]
                Some(Settled::Moved) if broken("action_rows_without_transaction") => {
                    again.push(Write {
                        fence: Fence::ActionsOnly,
                        ..write.clone()
                    });
                }
                Some(verdict) => settled.push((write.id, verdict)),
                None => again.push(write.clone()),
            }
        }
        if settled.is_empty() {
            // Nothing stands in the way any more: whatever did has gone.
            self.pause(now);
        }
        if !again.is_empty() {
            self.apart.push_front(Batch {
                writes: Arc::new(again),
                in_doubt: batch.in_doubt,
            });
        }
        settled
    }

    /// What the row that stands says of the write; `None`: it can be applied.
    fn verdict(
        &self,
        now: Timestamp,
        write: &Write,
        row: Option<&StandingRow>,
        in_doubt: bool,
    ) -> Option<Settled> {
        let ours = row.is_some_and(|row| {
            in_doubt
                && row.id == write.id
                && row.version == write.head.version
                && row.owner == self.owner
        });
        if ours {
            return Some(Settled::Held);
        }
        match (&write.fence, row) {
            (Fence::Absent(spec), None) => {
                // Nobody waits that long for a begin: what was not begun in time is not begun.
                (in_doubt && now >= spec.deadline).then_some(Settled::Lost)
            }
            (Fence::Absent(_), Some(row)) => Some(Settled::Exists(row.id)),
            (Fence::Version(expected), Some(row)) if row.version == *expected => None,
            (Fence::Version(_), _) => Some(Settled::Moved),
            #[cfg(feature = "mutations")]
            (Fence::Dropped | Fence::ActionsOnly, _) => None,
        }
    }

    fn pause(&mut self, now: Timestamp) {
        let factor = 1_u32 << self.failures.min(16);
        let pause = self
            .config
            .first_pause
            .saturating_mul(factor)
            .min(self.config.max_pause);
        self.failures = self.failures.saturating_add(1);
        self.not_before = now + pause;
    }
}

fn all(batch: &Batch, settled: Settled) -> Vec<(TxId, Settled)> {
    batch
        .writes
        .iter()
        .map(|write| (write.id, settled))
        .collect()
}

fn unique_key(write: &Write) -> Option<(Name, Name)> {
    match &write.fence {
        Fence::Absent(spec) if spec.unique_business => {
            Some((spec.business_type.clone(), spec.business_id.clone()))
        }
        _ => None,
    }
}
