//! The database with its sessions: commits take locks, wait for one another, are applied, fail, or end
//! long after their sender has given up.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tercet_core::{
    id::TxId,
    model::Name,
    time::Timestamp,
    write::{ApplyFailure, Fence, Write},
};

use super::{
    dice::Dice,
    tables::{Change, Obstacle, Tables, unique_key},
};

/// The longest wait of a statement for a lock.
const LOCK_WAIT: Duration = Duration::from_secs(2);
/// The interval at which a waiting statement looks again.
const LOCK_LOOK: Duration = Duration::from_millis(20);

/// One session with one commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(u64);

/// The ending of a commit whose conditions hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It is applied and reports that.
    Applied,
    /// It is applied and reports an unknown outcome.
    AppliedUnknown,
    /// It is applied; its sender received an unknown outcome long ago.
    AppliedUnheard,
    /// It is rolled back; its sender received an unknown outcome long ago.
    RolledBackUnheard,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Lock {
    Row(TxId),
    Key(Name, Name),
}

#[derive(Clone, Debug)]
struct Session {
    batch: Arc<Vec<Write>>,
    ending: Ending,
    gives_up: Timestamp,
    holds: Vec<Lock>,
    /// The time between its statements and its end.
    stays: Duration,
}

/// The database.
#[derive(Clone, Debug, Default)]
pub struct Database {
    /// The committed rows.
    pub tables: Tables,
    sessions: BTreeMap<SessionId, Session>,
    locks: BTreeMap<Lock, SessionId>,
    opened: u64,
}

/// The progress of a session after one step.
#[derive(Clone, Debug)]
pub enum Progress {
    /// It goes on after this time.
    After(Duration),
    /// It has ended.
    Over {
        /// The result for the sender; `None`: the sender no longer waits.
        result: Option<Result<(), ApplyFailure>>,
        /// The changes that were applied.
        changes: Vec<Change>,
    },
    /// A write went past the fence.
    Corrupt(TxId, String),
}

impl Database {
    /// Opens a session for a commit; [`Database::step`] moves it on.
    pub fn open(
        &mut self,
        batch: Arc<Vec<Write>>,
        ending: Ending,
        starts: Timestamp,
        stays: Duration,
    ) -> SessionId {
        self.opened += 1;
        let id = SessionId(self.opened);
        let session = Session {
            batch,
            ending,
            gives_up: starts + LOCK_WAIT,
            holds: Vec::new(),
            stays,
        };
        self.sessions.insert(id, session);
        id
    }

    /// Moves a session on: first its statements, then its end.
    pub fn step(&mut self, id: SessionId, now: Timestamp) -> Progress {
        let Some(session) = self.sessions.get(&id) else {
            return over(None, Vec::new());
        };
        if session.holds.is_empty() {
            self.execute(id, &session.clone(), now)
        } else {
            self.commit(id)
        }
    }

    fn execute(&mut self, id: SessionId, session: &Session, now: Timestamp) -> Progress {
        let locks: Vec<Lock> = session.batch.iter().flat_map(locks).collect();
        if locks.iter().any(|lock| self.locks.contains_key(lock)) {
            if now < session.gives_up {
                return Progress::After(LOCK_LOOK);
            }
            self.sessions.remove(&id);
            return over(
                session.ending.reported(Err(ApplyFailure::NotApplied)),
                Vec::new(),
            );
        }
        match self.tables.check(&session.batch) {
            Err(Obstacle::Failure(failure)) => {
                self.sessions.remove(&id);
                over(session.ending.reported(Err(failure)), Vec::new())
            }
            Err(Obstacle::Corrupt(tx, what)) => Progress::Corrupt(tx, what),
            Ok(()) => {
                for lock in &locks {
                    self.locks.insert(lock.clone(), id);
                }
                if let Some(session) = self.sessions.get_mut(&id) {
                    session.holds = locks;
                }
                Progress::After(session.stays)
            }
        }
    }

    fn commit(&mut self, id: SessionId) -> Progress {
        let Some(session) = self.close(id) else {
            return over(None, Vec::new());
        };
        if session.ending == Ending::RolledBackUnheard {
            return over(None, Vec::new());
        }
        match self.tables.apply(&session.batch) {
            Ok(changes) => over(session.ending.reported(Ok(())), changes),
            Err(obstacle) => {
                let what = format!("a session lost its locks: {obstacle:?}");
                Progress::Corrupt(session.batch[0].id, what)
            }
        }
    }

    fn close(&mut self, id: SessionId) -> Option<Session> {
        let session = self.sessions.remove(&id)?;
        for lock in &session.holds {
            self.locks.remove(lock);
        }
        Some(session)
    }

    /// Ends some of the sessions that a dead process left open.
    pub fn orphan(&mut self, dice: &mut Dice) {
        let ids: Vec<SessionId> = self.sessions.keys().copied().collect();
        for id in ids {
            if dice.chance(500) {
                self.close(id);
            }
        }
    }
}

impl Ending {
    fn reported(self, result: Result<(), ApplyFailure>) -> Option<Result<(), ApplyFailure>> {
        match (self, result) {
            (Self::Applied, result) => Some(result),
            (Self::AppliedUnknown, _) => Some(Err(ApplyFailure::Unknown)),
            (Self::AppliedUnheard | Self::RolledBackUnheard, _) => None,
        }
    }
}

fn over(result: Option<Result<(), ApplyFailure>>, changes: Vec<Change>) -> Progress {
    Progress::Over { result, changes }
}

fn locks(write: &Write) -> Vec<Lock> {
    let mut locks = vec![Lock::Row(write.id)];
    if let Fence::Absent(spec) = &write.fence
        && let Some((kind, id)) = unique_key(spec)
    {
        locks.push(Lock::Key(kind, id));
    }
    locks
}
