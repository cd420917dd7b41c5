//! The tables of the coordinator's database, and the effect of a batch of writes on them: `tx_info`,
//! `action_info`, `operator_log`. Sessions, locks and failures are in [`sessions`](super::sessions).

use std::{collections::BTreeMap, sync::Arc};

use tercet_core::{
    id::TxId,
    model::{ActionSpec, ActionState, Name, Transaction, TxSpec},
    port::Loaded,
    row::{ActionRow, TxRow},
    time::Timestamp,
    write::{
        ActionWrite, ApplyFailure, Due, DueQuery, Fence, Head, OperatorEntry, Standing,
        StandingRow, Write,
    },
};

/// The word in a business id or handler that stands for a byte which the database refuses.
pub const POISON: &str = "poison";

/// The committed rows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Tables {
    rows: BTreeMap<TxId, Row>,
    unique: BTreeMap<(Name, Name), TxId>,
    log: Vec<(TxId, OperatorLine)>,
}

/// One row of `tx_info` with its rows of `action_info`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The columns that never change.
    pub spec: Arc<TxSpec>,
    /// The columns that change.
    pub head: Head,
    /// Its actions, by position.
    pub actions: Vec<ActionLine>,
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
    /// Returns whether this participant takes part in the transaction.
    pub fn involves(&self, participant: Option<&Name>) -> bool {
        let initiator = self.spec.check_back.as_ref().map(|it| &it.participant);
        let called = self.actions.iter().map(|line| &line.spec.participant);
        participant.is_some_and(|name| called.chain(initiator).any(|other| other == name))
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
            "DURABLE {}/{} version {} by {}{}; {}",
            head.phase.status(),
            head.phase.biz_status(),
            head.version,
            head.owner,
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
    /// A row of `action_info` has not the version that its write expects, although the row of `tx_info` had:
    /// another write went past the fence.
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
        batch.iter().try_for_each(|write| self.check_actions(write))
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
                },
            );
        }
        if let Some(row) = self.rows.get_mut(&write.id) {
            row.head = write.head.clone();
            for action in &write.actions {
                put_action(&mut row.actions, action);
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
                owner: row.head.owner.clone(),
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
            Some(row) => match transaction(row) {
                Ok(transaction) => Loaded::Found(Box::new(transaction)),
                Err(illegal) => Loaded::Illegal(illegal),
            },
        };
        ids.iter().map(|id| (*id, load(id))).collect()
    }

    /// Returns the unfinished rows that are due.
    pub fn due(&self, query: &DueQuery) -> Vec<Due> {
        let mut due: Vec<Due> = self
            .rows
            .iter()
            .filter(|(_, row)| row.head.waiting_for == query.waiting_for)
            .filter_map(|(id, row)| {
                Some(Due {
                    at: row.head.next_attempt_at?,
                    id: *id,
                })
            })
            .filter(|due| due.at <= query.until && query.after.is_none_or(|after| *due > after))
            .collect();
        due.sort();
        due.truncate(query.limit as usize);
        due
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

fn transaction(row: &Row) -> Result<Transaction, tercet_core::row::IllegalRow> {
    let phase = &row.head.phase;
    let tx = TxRow {
        spec: (*row.spec).clone(),
        status: phase.status(),
        biz_status: phase.biz_status(),
        cause: phase.decision().map(|decision| decision.cause.clone()),
        check_backs: row.head.check_backs,
        version: row.head.version,
        owner: row.head.owner.clone(),
        waiting_for: row.head.waiting_for.clone(),
        next_attempt_at: row.head.next_attempt_at,
        decided_at: phase.decided_at(),
        finished_at: phase.finished_at(),
    };
    let actions = row.actions.iter().map(|line| ActionRow {
        spec: (*line.spec).clone(),
        create_time: line.create_time,
        state: line.state.clone(),
    });
    Transaction::from_rows(tx, actions.collect())
}
