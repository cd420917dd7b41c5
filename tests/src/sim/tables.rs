//! The tables of the coordinator's database, and the effect of a batch of writes on them: `tx_info`,
//! `action_info`, `tx_due`, `operator_log`. Sessions, locks and failures are in [`sessions`](super::sessions).

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use tercet_core::{
    id::TxId,
    model::{ActionSpec, ActionState, DueRow, Name, Queue, Transaction, TxSpec},
    port::Loaded,
    row::{ActionRow, IllegalRow, TxRow},
    time::Timestamp,
    write::{
        ActionWrite, ApplyFailure, Due, DueQuery, Fence, Head, OperatorEntry, QueuesQuery,
        Standing, StandingRow, Write,
    },
};

/// The word in a business id or handler that stands for a byte which the database refuses.
pub const POISON: &str = "poison";

/// The committed rows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Tables {
    rows: BTreeMap<TxId, Row>,
    unique: BTreeMap<(Name, Name), TxId>,
    due: BTreeSet<(DueRow, TxId)>,
    log: Vec<(TxId, OperatorLine)>,
}

/// One row of `tx_info` with its rows of `action_info` and `tx_due`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The columns that never change.
    pub spec: Arc<TxSpec>,
    /// The columns that change.
    pub head: Head,
    /// Its actions, by position.
    pub actions: Vec<ActionLine>,
    /// Its rows of `tx_due`.
    pub due: BTreeSet<DueRow>,
}

/// One row of `action_info`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActionLine {
    /// The columns that never change.
    pub spec: Arc<ActionSpec>,
    /// The time of its insert.
    pub create_time: Timestamp,
    /// The columns that change.
    pub state: ActionState,
}

/// One row of `operator_log`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OperatorLine {
    /// The command with its arguments.
    pub command: String,
    /// The statuses before it.
    pub before: String,
}

impl Row {
    /// Returns the transaction that the row holds, as an incarnation that did not write it loads it.
    ///
    /// # Errors
    /// A row that no write of Tercet can have left behind.
    pub fn transaction(&self) -> Result<Transaction, IllegalRow> {
        let phase = &self.head.phase;
        let tx = TxRow {
            spec: (*self.spec).clone(),
            status: phase.status(),
            biz_status: phase.biz_status(),
            cause: phase.decision().map(|decision| decision.cause.clone()),
            check_backs: self.head.check_backs,
            last_check_back: self.head.last_check_back.clone(),
            version: self.head.version,
            owner: self.head.owner.clone(),
            rest: self.head.rest.clone(),
            unparked_at: phase.unparked_at(),
            decided_at: phase.decided_at(),
            finished_at: phase.finished_at(),
        };
        let actions = self.actions.iter().map(|line| ActionRow {
            spec: (*line.spec).clone(),
            create_time: line.create_time,
            state: line.state.clone(),
        });
        Transaction::from_rows(tx, actions.collect())
    }

    /// Returns one line for people.
    pub fn summary(&self) -> String {
        let head = &self.head;
        let cause = head.phase.decision().map(|decision| &decision.cause);
        let actions: Vec<String> = self
            .actions
            .iter()
            .map(|line| format!("{} {}", line.spec.name, line.state.status))
            .collect();
        format!(
            "DURABLE {}/{} version {} by {}{}{}; {}",
            head.phase.status(),
            head.phase.biz_status(),
            head.version,
            head.owner,
            head.rest.as_ref().map_or_else(String::new, |rest| {
                let wants: Vec<&str> = rest.wants.iter().map(|want| &*want.participant).collect();
                format!(
                    " at rest for [{}], unsent {:?}",
                    wants.join(" "),
                    rest.unsent
                )
            }),
            cause.map_or_else(String::new, |cause| format!(" because {cause:?}")),
            actions.join(", ")
        )
    }
}

impl std::hash::Hash for Row {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.spec.id.hash(state);
        self.head.hash(state);
        for line in &self.actions {
            line.spec.name.hash(state);
            line.state.hash(state);
        }
        self.due.hash(state);
    }
}

/// The change of a row by one write.
#[derive(Clone, Debug)]
pub struct Change {
    /// The transaction.
    pub id: TxId,
    /// The row before; `None`: it was inserted.
    pub before: Option<Row>,
    /// The operator's command that came with it.
    pub operator: Option<OperatorEntry>,
}

/// The reason why a batch is not applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// A failure of the store.
    Failure(ApplyFailure),
    /// A row of `action_info` or `tx_due` is not as its write expects, although the row of `tx_info` was: another write
    /// went past the fence, or this one does not know the rows.
    Corrupt(TxId, String),
}

impl Tables {
    /// Returns the row of a transaction.
    pub fn row(&self, id: TxId) -> Option<&Row> {
        self.rows.get(&id)
    }

    /// Returns every row.
    pub fn rows(&self) -> impl Iterator<Item = (&TxId, &Row)> {
        self.rows.iter()
    }

    /// Checks every condition of the batch.
    pub fn check(&self, batch: &[Write]) -> Result<(), Obstacle> {
        let poisoned = |write: &Write| {
            if let Fence::Absent(spec) = &write.fence {
                return spec.business_id.contains(POISON);
            }
            let mut inserts = write
                .actions
                .iter()
                .filter_map(|action| action.insert.as_ref());
            inserts.any(|insert| insert.spec.handler.contains(POISON))
        };
        if batch.iter().any(poisoned) {
            return Err(Obstacle::Failure(ApplyFailure::Content));
        }
        if !batch.iter().all(|write| self.fence_holds(write)) {
            return Err(Obstacle::Failure(ApplyFailure::Moved));
        }
        batch.iter().try_for_each(|write| {
            self.check_actions(write)?;
            self.check_due(write)
        })
    }

    /// Checks that each row of `tx_due` to remove is there, and none of those to add.
    fn check_due(&self, write: &Write) -> Result<(), Obstacle> {
        let corrupt = |row: &DueRow, what: &str| {
            let what = format!("{row:?} of tx_due {what}");
            Err(Obstacle::Corrupt(write.id, what))
        };
        let there = |row: &DueRow| {
            self.rows
                .get(&write.id)
                .is_some_and(|of| of.due.contains(row))
        };
        if let Some(row) = write.due.remove.iter().find(|row| !there(row)) {
            return corrupt(row, "is to be removed and is not there");
        }
        match write.due.add.iter().find(|row| there(row)) {
            Some(row) => corrupt(row, "is to be added and is there already"),
            None => Ok(()),
        }
    }

    fn fence_holds(&self, write: &Write) -> bool {
        let row = self.rows.get(&write.id);
        match &write.fence {
            Fence::Absent(spec) => {
                row.is_none() && unique_key(spec).is_none_or(|key| !self.unique.contains_key(&key))
            }
            Fence::Version(version) => row.is_some_and(|row| row.head.version == *version),
            #[allow(unreachable_patterns, reason = "only a mutation makes another one")]
            _ => row.is_some(),
        }
    }

    fn check_actions(&self, write: &Write) -> Result<(), Obstacle> {
        let lines = self
            .rows
            .get(&write.id)
            .map_or(&[][..], |row| &row.actions[..]);
        for action in &write.actions {
            let line = lines.iter().find(|line| line.spec.name == action.name);
            let found = line.map_or(0, |line| line.state.version);
            let inserts = action.insert.is_some();
            if inserts != line.is_none() || action.state.version != found + 1 {
                return Err(Obstacle::Corrupt(
                    write.id,
                    format!(
                        "action {} has version {found}, its write {} expects {}",
                        action.name,
                        if inserts {
                            "inserts and"
                        } else {
                            "changes and"
                        },
                        action.state.version.wrapping_sub(1)
                    ),
                ));
            }
        }
        Ok(())
    }

    /// Applies every write of the batch, or none.
    pub fn apply(&mut self, batch: &[Write]) -> Result<Vec<Change>, Obstacle> {
        self.check(batch)?;
        Ok(batch.iter().map(|write| self.put(write)).collect())
    }

    fn put(&mut self, write: &Write) -> Change {
        let before = self.rows.get(&write.id).cloned();
        if let Fence::Absent(spec) = &write.fence {
            if let Some(key) = unique_key(spec) {
                self.unique.insert(key, write.id);
            }
            self.rows.insert(
                write.id,
                Row {
                    spec: spec.clone(),
                    head: write.head.clone(),
                    actions: Vec::new(),
                    due: BTreeSet::new(),
                },
            );
        }
        if let Some(row) = self.rows.get_mut(&write.id) {
            row.head = write.head.clone();
            for action in &write.actions {
                put_action(&mut row.actions, action);
            }
            for due in &write.due.remove {
                row.due.remove(due);
                self.due.remove(&(due.clone(), write.id));
            }
            for due in &write.due.add {
                row.due.insert(due.clone());
                self.due.insert((due.clone(), write.id));
            }
        }
        if let Some(entry) = &write.operator {
            let line = OperatorLine {
                command: entry.command.clone(),
                before: entry.before.clone(),
            };
            self.log.push((write.id, line));
        }
        Change {
            id: write.id,
            before,
            operator: write.operator.clone(),
        }
    }

    /// Reads, for each write, the row that stands in its way or is its own.
    pub fn standing(&self, batch: &[Write]) -> Vec<Standing> {
        let stands = |id: TxId| {
            self.rows.get(&id).map(|row| StandingRow {
                id,
                version: row.head.version,
                write_id: row.head.write_id,
            })
        };
        batch
            .iter()
            .map(|write| {
                let of_the_key = || {
                    let Fence::Absent(spec) = &write.fence else {
                        return None;
                    };
                    let key = unique_key(spec)?;
                    stands(*self.unique.get(&key)?)
                };
                Standing {
                    row: stands(write.id).or_else(of_the_key),
                }
            })
            .collect()
    }

    /// Loads the transactions with these ids, all at one point in time.
    pub fn load(&self, ids: &[TxId]) -> Vec<(TxId, Loaded)> {
        let load = |id: &TxId| match self.rows.get(id) {
            None => Loaded::Absent,
            Some(row) => match row.transaction() {
                Ok(transaction) => Loaded::Found(Box::new(transaction)),
                Err(illegal) => Loaded::Illegal(illegal),
            },
        };
        ids.iter().map(|id| (*id, load(id))).collect()
    }

    /// Returns the rows of one queue that are due, in the order of their time.
    pub fn due(&self, query: &DueQuery) -> Vec<Due> {
        let first = DueRow {
            queue: query.queue.clone(),
            at: Timestamp::from_micros(i64::MIN),
        };
        self.due
            .range((first, TxId(uuid::Uuid::nil()))..)
            .take_while(|(row, _)| row.queue == query.queue && row.at <= query.until)
            .map(|(row, id)| Due {
                at: row.at,
                id: *id,
            })
            .filter(|due| query.after.is_none_or(|after| *due > after))
            .take(query.limit as usize)
            .collect()
    }

    /// Returns the queues that have rows, each with its first one, but those of parked transactions.
    pub fn queues(&self, query: &QueuesQuery) -> Vec<DueRow> {
        let of_participant = |queue: &Queue| match (&query.of, queue) {
            (None, _) => true,
            (Some(name), Queue::Wait { participant, .. }) => name == participant,
            (Some(_), _) => false,
        };
        let mut found: Vec<DueRow> = Vec::new();
        for (row, _) in &self.due {
            let is_next = query.after.as_ref().is_none_or(|after| row.queue > *after)
                && found.last().is_none_or(|last| last.queue != row.queue);
            if is_next && row.queue != Queue::Parked && of_participant(&row.queue) {
                found.push(row.clone());
            }
        }
        found.truncate(query.limit as usize);
        found
    }

    /// Returns the transaction that has this business under a unique key.
    pub fn holder(&self, business_type: &Name, business_id: &Name) -> Option<TxId> {
        let key = (business_type.clone(), business_id.clone());
        self.unique.get(&key).copied()
    }
}

fn put_action(lines: &mut Vec<ActionLine>, write: &ActionWrite) {
    if let Some(insert) = &write.insert {
        lines.push(ActionLine {
            spec: insert.spec.clone(),
            create_time: insert.create_time,
            state: write.state.clone(),
        });
    } else if let Some(line) = lines.iter_mut().find(|line| line.spec.name == write.name) {
        line.state = write.state.clone();
    }
}

/// Returns the value of the nullable unique key.
pub fn unique_key(spec: &TxSpec) -> Option<(Name, Name)> {
    spec.unique_business
        .then(|| (spec.business_type.clone(), spec.business_id.clone()))
}
