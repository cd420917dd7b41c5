//! Group commit: the writes that make one commit, and its result for each of them.
//!
//! The writes that gathered while the previous commit ran become the next one: no timer, no added latency when idle.
//! Only writes for which no caller waits linger a moment for company. Where there are more than one commit takes, those for
//! which a caller waits go first, and the others keep a share of each: a backlog delays no caller, and goes on.
//!
//! A batch that was not simply applied is taken apart: writes whose row moved get their results, a value that the
//! database refuses is found by halving, and a commit of unknown outcome is resolved by applying the same writes
//! again and then reading the last writers of the rows.
//!
//! Begins of a business that must be unique do not meet in a commit: while one of them is in the lane, the others follow
//! it, and its result is theirs.
//!
//! A database that takes no writes is tried again for ever. Callers do not wait as long: once it has taken none for
//! [`LaneConfig::patience`], [`Lane::give_up`] returns the writes that they wait for.

mod gathering;
mod stalled;

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use tercet_mutation::broken;

use self::{gathering::Gathering, stalled::Trouble};

use crate::{
    id::TxId,
    limits,
    model::Name,
    time::{Moment, earliest},
    write::{ApplyFailure, Fence, Standing, StandingRow, Write, WriteResult},
};

/// The settings of a lane. Every bound of it is here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaneConfig {
    /// Writes of one commit.
    pub batch: usize,
    /// The longest time for which a write lingers for company when no caller waits for it.
    pub linger: Duration,
    /// The pause after the first commit that was not applied; doubled each time.
    pub first_pause: Duration,
    /// The cap of the pause.
    pub max_pause: Duration,
    /// The time for which the database may take no write, or not answer, before callers no longer wait for it.
    pub patience: Duration,
    /// The time for which every commit may fail for good before there is no hope left.
    pub fatal_after: Duration,
}

impl Default for LaneConfig {
    fn default() -> Self {
        Self {
            batch: 256,
            linger: Duration::from_millis(5),
            first_pause: Duration::from_millis(10),
            max_pause: Duration::from_secs(1),
            patience: Duration::from_secs(5),
            fatal_after: limits::FATAL_AFTER,
        }
    }
}

/// A command to the store. One is under way at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LaneCommand {
    /// Apply the writes in one commit: `Transactions::apply`.
    Apply(Arc<Vec<Write>>),
    /// Read the rows that the writes meet: `Transactions::standing`.
    Standing(Arc<Vec<Write>>),
}

/// The result of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LaneResult {
    /// Of [`LaneCommand::Apply`].
    Applied(Result<(), ApplyFailure>),
    /// Of [`LaneCommand::Standing`].
    Standing(Result<Vec<Standing>, ApplyFailure>),
}

/// Writes that are applied together.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Batch {
    writes: Arc<Vec<Write>>,
    /// When the first of them came in.
    since: Moment,
    /// Whether an earlier attempt to apply them may have succeeded.
    in_doubt: bool,
    /// Whether [`WriteResult::Unanswered`] was returned for them.
    unanswered: bool,
}

impl Batch {
    /// Makes a batch of other writes with the same past.
    fn of(&self, writes: Vec<Write>) -> Self {
        Self {
            writes: Arc::new(writes),
            ..*self
        }
    }
}

/// The command under way.
#[derive(Clone, Debug, PartialEq, Eq)]
struct UnderWay {
    batch: Batch,
    activity: Activity,
    since: Moment,
}

/// The business of a begin that must be unique: its type and id.
type UniqueKey = (Name, Name);

/// One sequence of commits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lane {
    config: LaneConfig,
    /// Writes that no commit has taken yet.
    gathering: Gathering,
    /// Begins behind another one of the same business, by the business of each begin in the lane that must be unique.
    following: BTreeMap<UniqueKey, VecDeque<Write>>,
    /// Batches that were taken apart; they come before anything new.
    apart: VecDeque<Batch>,
    under_way: Option<UnderWay>,
    /// The batch whose rows are read before it is applied again.
    to_read: Option<Batch>,
    failures: u32,
    not_before: Moment,
    trouble: Option<Trouble>,
    /// Troubles in a row that ended without a commit.
    unproved: u32,
}

/// The use of a batch by the command under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Activity {
    Applying,
    Reading,
}

impl Lane {
    /// Makes a lane without writes.
    pub fn new(config: LaneConfig) -> Self {
        Self {
            config,
            gathering: Gathering::default(),
            following: BTreeMap::new(),
            apart: VecDeque::new(),
            under_way: None,
            to_read: None,
            failures: 0,
            not_before: Moment::default(),
            trouble: None,
            unproved: 0,
        }
    }

    /// Adds a write. At most one of a transaction is in the lane.
    pub fn push(&mut self, now: Moment, write: Write) {
        if let Some(key) = unique_key(&write) {
            if let Some(following) = self.following.get_mut(&key) {
                following.push_back(write);
                return;
            }
            self.following.insert(key, VecDeque::new());
        }
        self.gathering.push(now, write);
    }

    /// Returns the number of writes that have no result yet.
    pub fn len(&self) -> usize {
        let under_way = self.under_way.iter().map(|command| &command.batch);
        let batches = self.apart.iter().chain(&self.to_read).chain(under_way);
        let following = self.following.values().map(VecDeque::len).sum::<usize>();
        self.gathering.len() + following + batches.map(|batch| batch.writes.len()).sum::<usize>()
    }

    /// Returns whether every write has its result.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the next command; `None` while one is under way, or where none is due yet.
    pub fn next(&mut self, now: Moment) -> Option<LaneCommand> {
        if self.under_way.is_some() || now < self.not_before {
            return None;
        }
        let (batch, activity) = if let Some(batch) = self.to_read.take() {
            (batch, Activity::Reading)
        } else {
            let batch = self.apart.pop_front().or_else(|| self.gathered(now))?;
            (batch, Activity::Applying)
        };
        let writes = Arc::clone(&batch.writes);
        self.under_way = Some(UnderWay {
            batch,
            activity,
            since: now,
        });
        Some(match activity {
            Activity::Applying => LaneCommand::Apply(writes),
            Activity::Reading => LaneCommand::Standing(writes),
        })
    }

    /// Returns the time at which [`Lane::next`] may have a command, or [`Lane::give_up`] a result, without a new write or
    /// result.
    pub fn next_wakeup(&self) -> Option<Moment> {
        if let Some(command) = &self.under_way {
            return (!command.batch.unanswered).then_some(command.since + self.config.patience);
        }
        let lingering = self.gathering.due(self.config.linger);
        let apart = (self.to_read.is_some() || !self.apart.is_empty()).then_some(self.not_before);
        earliest(lingering, apart).map(|at| at.max(self.not_before))
    }

    /// Takes a batch of the gathered writes, if it is time: sorted by id.
    fn gathered(&mut self, now: Moment) -> Option<Batch> {
        if self.gathering.due(self.config.linger)? > now {
            return None;
        }
        let (since, mut writes) = self.gathering.take(self.config.batch)?;
        writes.sort_by_key(|write| write.id);
        Some(Batch {
            writes: Arc::new(writes),
            since,
            in_doubt: false,
            unanswered: false,
        })
    }

    /// Takes in the result of the command under way; returns the writes that have their results with it. A result
    /// without such a command is ignored.
    pub fn done(&mut self, now: Moment, result: LaneResult) -> Vec<(TxId, WriteResult)> {
        let Some(command) = self.under_way.take() else {
            return Vec::new();
        };
        let since = command.since;
        let batch = &command.batch;
        let results = match (command.activity, result) {
            (Activity::Applying, LaneResult::Applied(result)) => {
                self.note(now, since, result.err());
                let writes = Arc::clone(&batch.writes);
                let results = self.applied(now, command.batch, result);
                self.followed(now, &writes, results)
            }
            (Activity::Reading, LaneResult::Standing(result)) => {
                // A read that fails says nothing for good about writes.
                let failed = result.as_ref().err().map(|_| ApplyFailure::NotApplied);
                if failed.is_some() {
                    self.note(now, since, failed);
                }
                let writes = Arc::clone(&batch.writes);
                let results = self.resolve(now, command.batch, result);
                self.followed(now, &writes, results)
            }
            _ => {
                self.under_way = Some(command);
                return Vec::new();
            }
        };
        let durable = |(_, result): &(TxId, WriteResult)| *result == WriteResult::Durable;
        if results.iter().any(durable) {
            self.trouble = None;
            self.unproved = 0;
        } else if self.is_empty() && !self.is_stalled(now) && !self.is_on_trial() {
            // With nothing left to try, nothing shows that a passing trouble goes on.
            self.trouble = None;
        }
        results
    }

    /// Settles the begins behind those that have a result: a business that is taken is taken for all of them; otherwise
    /// the next of them takes the place of the first.
    fn followed(
        &mut self,
        now: Moment,
        writes: &[Write],
        mut results: Vec<(TxId, WriteResult)>,
    ) -> Vec<(TxId, WriteResult)> {
        if self.following.is_empty() {
            return results;
        }
        let mut followers = Vec::new();
        for (id, result) in &results {
            let place = writes.binary_search_by_key(id, |write| write.id);
            let Some(key) = place.ok().and_then(|place| unique_key(&writes[place])) else {
                continue;
            };
            let mut following = self.following.remove(&key).unwrap_or_default();
            let holder = match result {
                WriteResult::Durable => Some(*id),
                WriteResult::Exists(other) if other != id => Some(*other),
                _ => None,
            };
            if let Some(holder) = holder {
                let joins = following.into_iter();
                followers.extend(joins.map(|write| (write.id, WriteResult::Exists(holder))));
            } else if let Some(next) = following.pop_front() {
                self.following.insert(key, following);
                self.gathering.push(now, next);
            }
        }
        results.extend(followers);
        results
    }

    fn applied(
        &mut self,
        now: Moment,
        batch: Batch,
        result: Result<(), ApplyFailure>,
    ) -> Vec<(TxId, WriteResult)> {
        match result {
            Ok(()) => {
                self.failures = 0;
                all(&batch, WriteResult::Durable)
            }
            Err(ApplyFailure::Moved) => {
                self.to_read = Some(batch);
                Vec::new()
            }
            Err(ApplyFailure::Unknown) => {
                if broken("unknown_commit_taken_as_failed") {
                    return all(&batch, WriteResult::Moved);
                }
                if broken("unknown_commit_taken_as_held") {
                    return all(&batch, WriteResult::Durable);
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
    fn halve(&mut self, batch: &Batch) -> Vec<(TxId, WriteResult)> {
        if batch.writes.len() == 1 {
            // In doubt, the write may have been applied the first time; then it was not refused.
            let result = if batch.in_doubt {
                WriteResult::Lost
            } else {
                WriteResult::Refused
            };
            return all(batch, result);
        }
        let (first, second) = batch.writes.split_at(batch.writes.len() / 2);
        for half in [second, first] {
            self.apart.push_front(batch.of(half.to_vec()));
        }
        Vec::new()
    }

    /// Resolves a batch by the rows that stand: writes get their results, or are applied again.
    fn resolve(
        &mut self,
        now: Moment,
        batch: Batch,
        result: Result<Vec<Standing>, ApplyFailure>,
    ) -> Vec<(TxId, WriteResult)> {
        let standing = match result {
            Ok(standing) if standing.len() == batch.writes.len() => standing,
            _ => {
                self.pause(now);
                self.to_read = Some(batch);
                return Vec::new();
            }
        };
        let mut results = Vec::new();
        let mut again = Vec::new();
        for (write, standing) in batch.writes.iter().zip(standing) {
            match result_by_row(now, write, standing.row.as_ref(), &batch) {
                #[cfg(feature = "mutations")]
                Some(WriteResult::Moved) if broken("action_rows_without_transaction") => {
                    again.push(Write {
                        fence: Fence::ActionsOnly,
                        ..write.clone()
                    });
                }
                Some(result) => results.push((write.id, result)),
                None => again.push(write.clone()),
            }
        }
        if results.is_empty() {
            // Every condition holds now: the row that stood in the way is gone.
            self.pause(now);
        }
        if !again.is_empty() {
            self.apart.push_front(batch.of(again));
        }
        results
    }

    /// Sets the pause before the next command.
    fn pause(&mut self, now: Moment) {
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

/// Returns the result of a write by the row that stands; `None`: the write can be applied.
fn result_by_row(
    now: Moment,
    write: &Write,
    row: Option<&StandingRow>,
    batch: &Batch,
) -> Option<WriteResult> {
    let ours = row.is_some_and(|row| {
        batch.in_doubt
            && row.id == write.id
            && row.version == write.head.version
            && row.write_id == write.head.write_id
    });
    if ours {
        return Some(WriteResult::Durable);
    }
    match (&write.fence, row) {
        (Fence::Absent(spec), None) => {
            // No caller waits that long: a transaction that was not begun by its deadline is not begun.
            let is_over = now >= batch.since + spec.timeout();
            (batch.in_doubt && is_over).then_some(WriteResult::Lost)
        }
        (Fence::Absent(_), Some(row)) => Some(WriteResult::Exists(row.id)),
        (Fence::Version(expected), Some(row)) if row.version == *expected => None,
        (Fence::Version(_), _) => Some(WriteResult::Moved),
        #[cfg(feature = "mutations")]
        (Fence::Dropped | Fence::ActionsOnly, _) => None,
    }
}

/// Returns one result for all writes of a batch.
fn all(batch: &Batch, result: WriteResult) -> Vec<(TxId, WriteResult)> {
    batch
        .writes
        .iter()
        .map(|write| (write.id, result))
        .collect()
}

fn unique_key(write: &Write) -> Option<UniqueKey> {
    match &write.fence {
        Fence::Absent(spec) if spec.unique_business => {
            Some((spec.business_type.clone(), spec.business_id.clone()))
        }
        _ => None,
    }
}
