//! Transactions to write, and the writes that make them.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use tercet_core::{
    id::TxId,
    model::{
        Action, ActionSpec, ActionState, ActionStatus, Begun, Cause, Decider, Decision, DueRow,
        Live, Mode, Moments, Need, Outcome, Owner, Phase, Queue, Rest, RetryPolicy, Transaction,
        TxSpec, Want,
    },
    row::{ActionRow, TxRow},
    time::Timestamp,
    write::{ActionWrite, ApplyFailure, DueChange, Fence, Head, NewAction, Write},
};
use tercet_store::{Store, StoreError};

use super::{Database, DueCells};

/// When the first transaction of a test is begun: 2023-11-14.
pub const EPOCH_MILLIS: u64 = 1_700_000_000_000;

/// The id that is made this many milliseconds after the first.
pub fn id(millis: u64) -> TxId {
    let builder = uuid::Builder::from_unix_timestamp_millis(EPOCH_MILLIS + millis, &[7; 10]);
    TxId(builder.into_uuid())
}

/// This many milliseconds after the first transaction.
pub fn at(millis: i64) -> Timestamp {
    Timestamp::from_micros((EPOCH_MILLIS as i64 + millis) * 1_000)
}

pub fn owner() -> Owner {
    Owner {
        node: "node-a".into(),
        epoch: 1,
    }
}

/// A transaction of two TCC actions that was just begun.
pub fn transaction(millis: u64) -> Transaction {
    let actions = vec![
        action("points", "points-service"),
        action("coupon", "coupon-service"),
    ];
    with_actions(millis, actions)
}

pub fn with_actions(millis: u64, actions: Vec<Action>) -> Transaction {
    let create_time = at(millis as i64);
    Transaction {
        spec: Arc::new(TxSpec {
            id: id(millis),
            business_type: "points_for_coupon".into(),
            business_id: format!("order-{millis}").into(),
            unique_business: false,
            decider: Decider::Coordinator,
            check_back: None,
            ext: BTreeMap::new(),
            begun: actions.iter().map(begun).collect(),
            create_time,
            deadline: at(millis as i64 + 30_000),
            timeout_given: false,
        }),
        phase: Phase::Trying,
        check_backs: 0,
        last_check_back: None,
        version: 1,
        owner: owner(),
        rest: None,
        actions,
        moments: Moments::default(),
    }
}

pub fn begun(action: &Action) -> Begun {
    Begun {
        action: Arc::clone(&action.spec.name),
        participant: Arc::clone(&action.spec.participant),
        mode: action.spec.mode,
    }
}

pub fn action(name: &str, participant: &str) -> Action {
    Action {
        spec: Arc::new(ActionSpec {
            name: name.into(),
            mode: Mode::Tcc,
            participant: participant.into(),
            handler: "exchange".into(),
            payload: Bytes::from_static(b"twelve points"),
            after: Vec::new(),
            wants_results: false,
            already_tried: false,
            retry: RetryPolicy::default(),
            ext: BTreeMap::new(),
        }),
        state: ActionState {
            status: ActionStatus::Init,
            result: Bytes::new(),
            retry_count: 0,
            last_error: String::new(),
            attempts: Vec::new(),
            version: 1,
            finished_at: None,
        },
        live: Live::new(),
    }
}

/// The same with a changed spec.
pub fn respec(mut tx: Transaction, change: impl FnOnce(&mut TxSpec)) -> Transaction {
    change(Arc::make_mut(&mut tx.spec));
    tx
}

pub fn success() -> Decision {
    Decision {
        outcome: Outcome::Success,
        cause: Cause::AllTried,
    }
}

pub fn failure() -> Decision {
    Decision {
        outcome: Outcome::Failure,
        cause: Cause::Deadline {
            action: None,
            reason: String::new(),
        },
    }
}

/// The transaction after its decision, one version on.
pub fn decided(before: &Transaction, decision: Decision) -> Transaction {
    let decided_at = before.spec.create_time + std::time::Duration::from_millis(20);
    Transaction {
        phase: Phase::Finishing {
            decision,
            decided_at,
            unparked_at: None,
        },
        version: before.version + 1,
        rest: None,
        ..before.clone()
    }
}

/// The decided transaction with every action at its end, one version on.
pub fn finished(before: &Transaction) -> Transaction {
    let decision = before.phase.decision().expect("it is decided").clone();
    let decided_at = before.phase.decided_at().expect("it is decided");
    let finished_at = decided_at + std::time::Duration::from_millis(15);
    let status = match decision.outcome {
        Outcome::Success => ActionStatus::Confirmed,
        Outcome::Failure => ActionStatus::Cancelled,
    };
    let mut after = Transaction {
        phase: Phase::Finished {
            decision,
            decided_at,
            finished_at,
        },
        version: before.version + 1,
        rest: None,
        ..before.clone()
    };
    for action in &mut after.actions {
        action.state.status = status;
        action.state.version += 1;
        action.state.finished_at = Some(finished_at);
    }
    after
}

/// The decided transaction parked, its first action FAILED and the others ended, one version on.
pub fn parked(before: &Transaction) -> Transaction {
    let mut after = Transaction {
        phase: Phase::Parked {
            decision: before.phase.decision().expect("it is decided").clone(),
            decided_at: before.phase.decided_at().expect("it is decided"),
        },
        version: before.version + 1,
        rest: None,
        ..before.clone()
    };
    for (place, action) in after.actions.iter_mut().enumerate() {
        if place == 0 {
            action.state.status = ActionStatus::Failed;
            action.state.last_error = "the account is closed".into();
        } else {
            action.state.status = ActionStatus::Cancelled;
        }
        action.state.version += 1;
    }
    after
}

/// The transaction at rest, one version on: it wants a call of each participant from these milliseconds on, and goes on by
/// itself at `until`.
pub fn at_rest(before: &Transaction, wants: &[(&str, i64)], until: Option<i64>) -> Transaction {
    let want = |(participant, from): &(&str, i64)| Want {
        participant: (*participant).into(),
        need: Some(Need::CheckBack),
        at: at(*from),
    };
    Transaction {
        version: before.version + 1,
        rest: Some(Box::new(Rest {
            wants: wants.iter().map(want).collect(),
            until: until.map(at),
            until_set_at: None,
            ages_from: None,
            unsent: Vec::new(),
        })),
        ..before.clone()
    }
}

/// The same as if it had been begun like this: every version 1.
pub fn at_once(mut tx: Transaction) -> Transaction {
    tx.version = 1;
    for action in &mut tx.actions {
        action.state.version = 1;
    }
    tx
}

/// The write that begins it as it is, whatever its phase.
pub fn begin(tx: &Transaction) -> Write {
    let actions = tx.actions.iter().enumerate();
    Write {
        id: tx.id(),
        fence: Fence::Absent(Arc::clone(&tx.spec)),
        head: head(tx),
        actions: actions
            .map(|(place, action)| new_action(tx, place, action))
            .collect(),
        due: DueChange {
            remove: Vec::new(),
            add: tx.due_rows(),
        },
        operator: None,
        urgent: true,
    }
}

/// The write that makes `after` of `before`.
pub fn change(before: &Transaction, after: &Transaction) -> Write {
    let mut actions = Vec::new();
    for (place, action) in after.actions.iter().enumerate() {
        match before.actions.get(place) {
            None => actions.push(new_action(after, place, action)),
            Some(old) if old.state.version != action.state.version => actions.push(ActionWrite {
                name: Arc::clone(&action.spec.name),
                insert: None,
                state: action.state.clone(),
            }),
            Some(_) => {}
        }
    }
    Write {
        id: after.id(),
        fence: Fence::Version(before.version),
        head: head(after),
        actions,
        due: due_change(before, after),
        operator: None,
        urgent: true,
    }
}

/// The rows that only one of the two has.
fn due_change(before: &Transaction, after: &Transaction) -> DueChange {
    let (before, after) = (before.due_rows(), after.due_rows());
    let without = |rows: &[DueRow], others: &[DueRow]| {
        let rows = rows.iter().filter(|row| !others.contains(row));
        rows.cloned().collect()
    };
    DueChange {
        remove: without(&before, &after),
        add: without(&after, &before),
    }
}

fn new_action(tx: &Transaction, place: usize, action: &Action) -> ActionWrite {
    ActionWrite {
        name: Arc::clone(&action.spec.name),
        insert: Some(NewAction {
            position: place as u32,
            spec: Arc::clone(&action.spec),
            create_time: tx.spec.create_time,
        }),
        state: action.state.clone(),
    }
}

fn head(tx: &Transaction) -> Head {
    Head {
        phase: tx.phase.clone(),
        check_backs: tx.check_backs,
        last_check_back: tx.last_check_back.clone(),
        version: tx.version,
        owner: tx.owner.clone(),
        rest: tx.rest.clone(),
        write_id: write_id(tx),
    }
}

/// The id of the write that made this version: another one for each, from both ends of the numbers.
pub fn write_id(tx: &Transaction) -> i64 {
    let version = i64::from(tx.version);
    if version % 2 == 0 {
        version
    } else {
        i64::MIN + version
    }
}

/// The row of `tx_info` that the database must show.
pub fn tx_row(tx: &Transaction) -> TxRow {
    TxRow {
        spec: (*tx.spec).clone(),
        status: tx.phase.status(),
        biz_status: tx.phase.biz_status(),
        cause: tx.phase.decision().map(|decision| decision.cause.clone()),
        check_backs: tx.check_backs,
        last_check_back: tx.last_check_back.clone(),
        version: tx.version,
        owner: tx.owner.clone(),
        rest: tx.rest.clone(),
        unparked_at: tx.phase.unparked_at(),
        decided_at: tx.phase.decided_at(),
        finished_at: tx.phase.finished_at(),
    }
}

/// The rows of `action_info` that the database must show.
pub fn action_rows(tx: &Transaction) -> Vec<ActionRow> {
    let row = |action: &Action| ActionRow {
        spec: (*action.spec).clone(),
        create_time: tx.spec.create_time,
        state: action.state.clone(),
    };
    tx.actions.iter().map(row).collect()
}

/// Fails unless the database holds exactly this, and loads it as another incarnation would.
pub async fn assert_stands(store: &dyn Store, tx: &Transaction) {
    let view = store.view(tx.id()).await.unwrap();
    let view = view.expect("the transaction is there").unwrap();
    assert_eq!(view.tx, tx_row(tx));
    assert_eq!(view.actions, action_rows(tx));
    let expected = Transaction::from_rows(tx_row(tx), action_rows(tx)).unwrap();
    assert_eq!(load_one(store, tx.id()).await, Some(expected));
}

/// Fails unless the transaction has exactly the rows of `tx_due` that go with its state.
pub async fn assert_due<D: Database>(database: &D, tx: &Transaction) {
    let mut expected: Vec<DueCells> = tx.due_rows().iter().map(due_cells).collect();
    expected.sort();
    assert_eq!(database.due_rows(tx.id()).await, expected, "{tx:?}");
}

/// The row as the database keeps it.
pub fn due_cells(row: &DueRow) -> DueCells {
    let none = String::new;
    let (kind, name, need, business_type) = match &row.queue {
        Queue::Hand(owner) => {
            let owner = format!("{}@{}", owner.node, owner.epoch);
            ("HAND", owner, none(), "")
        }
        Queue::Parked => ("PARKED", none(), none(), ""),
        Queue::Time => ("TIME", none(), none(), ""),
        Queue::Wait {
            participant,
            need,
            business_type,
        } => {
            let need = need.as_ref().map(Need::to_string).unwrap_or_default();
            ("WAIT", participant.to_string(), need, &**business_type)
        }
    };
    let at = row.at.as_micros();
    (kind.into(), name, need, business_type.into(), at)
}

/// Fails unless the database knows nothing of it.
pub async fn assert_absent(store: &dyn Store, id: TxId) {
    assert_eq!(store.view(id).await.unwrap(), None);
    assert_eq!(load_one(store, id).await, None);
}

pub async fn load_one(store: &dyn Store, id: TxId) -> Option<Transaction> {
    let mut loaded = store.load(&[id]).await.unwrap();
    assert!(loaded.len() <= 1);
    loaded.pop().map(|loaded| loaded.unwrap())
}

/// Applies the batch.
pub async fn apply(store: &dyn Store, batch: &[Write]) -> Result<(), StoreError> {
    store.apply(Arc::new(batch.to_vec())).await
}

/// Begins them all in one batch.
pub async fn begin_all(store: &dyn Store, txs: &[Transaction]) {
    let mut batch: Vec<Write> = txs.iter().map(begin).collect();
    batch.sort_by_key(|write| write.id);
    apply(store, &batch).await.unwrap();
}

pub fn kind(result: Result<(), StoreError>) -> Result<(), ApplyFailure> {
    result.map_err(|error| error.kind)
}
