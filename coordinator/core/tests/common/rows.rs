//! The rows of a table in memory: `tx_info`, `action_info`, `tx_due`.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use tercet_core::{
    id::TxId,
    model::{DueRow, Queue, Transaction, TxSpec},
    port::Loaded,
    row::{ActionRow, IllegalRow, TxRow},
    time::Timestamp,
    write::{Due, DueQuery, Fence, Head, QueuesQuery, Write},
};

#[derive(Default)]
pub struct Rows {
    transactions: BTreeMap<TxId, (Arc<TxSpec>, Head, Vec<ActionRow>)>,
    pub due: BTreeSet<(DueRow, TxId)>,
    /// Rows that were edited by hand, so that they are not legal.
    broken: BTreeSet<TxId>,
}

impl Rows {
    /// Applies a write whose condition holds.
    pub fn apply(&mut self, write: &Write) {
        if let Fence::Absent(spec) = &write.fence {
            let row = (spec.clone(), write.head.clone(), Vec::new());
            assert!(self.transactions.insert(write.id, row).is_none());
        }
        let (_, head, actions) = self.transactions.get_mut(&write.id).unwrap();
        *head = write.head.clone();
        for action in &write.actions {
            if let Some(new) = &action.insert {
                actions.push(ActionRow {
                    spec: (*new.spec).clone(),
                    create_time: new.create_time,
                    state: action.state.clone(),
                });
            } else {
                let row = actions.iter_mut().find(|row| row.spec.name == action.name);
                row.unwrap().state = action.state.clone();
            }
        }
        for row in &write.due.remove {
            let found = self.due.remove(&(row.clone(), write.id));
            assert!(found, "{row:?} of {} is missing", write.id);
        }
        for row in &write.due.add {
            assert!(self.due.insert((row.clone(), write.id)));
        }
        let standing: Vec<DueRow> = self.due_of(write.id);
        assert_eq!(standing, self.transaction(write.id).due_rows());
    }

    /// Puts the rows of a transaction in place of those that stand.
    pub fn insert(&mut self, tx: Transaction) {
        let id = tx.id();
        self.due.retain(|(_, other)| *other != id);
        let due = tx.due_rows().into_iter().map(|row| (row, id));
        self.due.extend(due);
        let head = Head {
            phase: tx.phase.clone(),
            check_backs: tx.check_backs,
            last_check_back: tx.last_check_back.clone(),
            version: tx.version,
            owner: tx.owner.clone(),
            rest: tx.rest.clone(),
            write_id: 0,
        };
        let actions = tx.actions.iter().map(|action| ActionRow {
            spec: (*action.spec).clone(),
            create_time: tx.spec.create_time,
            state: action.state.clone(),
        });
        let actions = actions.collect();
        self.transactions.insert(id, (tx.spec, head, actions));
    }

    /// Returns the number of rows that want a call.
    pub fn waiting(&self) -> usize {
        let waits = |(row, _): &&(DueRow, TxId)| matches!(row.queue, Queue::Wait { .. });
        self.due.iter().filter(waits).count()
    }

    pub fn due_of(&self, id: TxId) -> Vec<DueRow> {
        let of = self.due.iter().filter(|(_, tx)| *tx == id);
        of.map(|(row, _)| row.clone()).collect()
    }

    /// Returns a transaction as it stands in the table.
    pub fn transaction(&self, id: TxId) -> Transaction {
        let (spec, head, actions) = &self.transactions[&id];
        let phase = &head.phase;
        let row = TxRow {
            spec: (**spec).clone(),
            status: phase.status(),
            biz_status: phase.biz_status(),
            cause: phase.decision().map(|decision| decision.cause.clone()),
            check_backs: head.check_backs,
            last_check_back: head.last_check_back.clone(),
            version: head.version,
            owner: head.owner.clone(),
            rest: head.rest.clone(),
            unparked_at: phase.unparked_at(),
            decided_at: phase.decided_at(),
            finished_at: phase.finished_at(),
        };
        Transaction::from_rows(row, actions.clone()).unwrap()
    }

    pub fn break_row(&mut self, id: TxId) {
        self.broken.insert(id);
    }

    pub fn repair_row(&mut self, id: TxId) {
        self.broken.remove(&id);
    }

    pub fn load(&self, ids: Vec<TxId>) -> Vec<(TxId, Loaded)> {
        let load = |id| match self.transactions.contains_key(&id) {
            true if self.broken.contains(&id) => Loaded::Illegal(IllegalRow {
                id,
                what: "edited by hand".into(),
            }),
            true => Loaded::Found(Box::new(self.transaction(id))),
            false => Loaded::Absent,
        };
        ids.into_iter().map(|id| (id, load(id))).collect()
    }

    pub fn due(&self, query: &DueQuery) -> Vec<Due> {
        let in_queue = self.due.iter().filter(|(row, _)| row.queue == query.queue);
        in_queue
            .map(|(row, id)| Due {
                at: row.at,
                id: *id,
            })
            .filter(|due| due.at <= query.until && query.after.is_none_or(|after| *due > after))
            .take(query.limit as usize)
            .collect()
    }

    pub fn queues(&self, query: &QueuesQuery) -> Vec<DueRow> {
        let mut first: BTreeMap<&Queue, Timestamp> = BTreeMap::new();
        for (row, _) in &self.due {
            first.entry(&row.queue).or_insert(row.at);
        }
        let wanted = |queue: &Queue| match (queue, &query.of) {
            (Queue::Wait { participant, .. }, Some(of)) => participant == of,
            (queue, of) => of.is_none() && *queue != Queue::Parked,
        };
        first
            .into_iter()
            .filter(|(queue, _)| {
                wanted(queue) && query.after.as_ref().is_none_or(|after| *queue > after)
            })
            .map(|(queue, at)| DueRow {
                queue: queue.clone(),
                at,
            })
            .take(query.limit as usize)
            .collect()
    }
}
