//! Measures durable commits of two-branch TCC transactions on SQLite, with nothing around the store.
//!
//! `cargo run --release -p tercet-store --example commit_cost [DIRECTORY]`
//!
//! A transaction's life is three writes: begin (4 rows inserted), decision (1 row changed), completion (3 rows changed and
//! one removed). `apart` commits each kind by itself; `mixed` puts the begin of one batch, the decision
//! of the one before and the completion of the one before that into each commit, as a busy lane does.

#![allow(clippy::cast_precision_loss, reason = "only printed")]

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use tercet_core::{
    id::TxId,
    model::{
        ActionSpec, ActionState, ActionStatus, Begun, Cause, Decider, Decision, DueRow, Mode,
        Outcome, Owner, Phase, Queue, RetryPolicy, TxSpec,
    },
    time::Timestamp,
    write::{ActionWrite, DueChange, Fence, Head, NewAction, Write},
};
use tercet_store::{SqliteOptions, SqliteStore, Store, StoreError, Transactions};
use uuid::Uuid;

/// The time for which each line is measured.
const EACH: Duration = Duration::from_secs(4);
const BATCHES: [usize; 5] = [1, 4, 16, 64, 256];

#[tokio::main]
async fn main() -> Result<(), StoreError> {
    let directory: PathBuf = std::env::args_os()
        .nth(1)
        .map_or_else(|| ".".into(), Into::into);
    println!("batch               tx/s   CPU us/tx   mean ms of a commit");
    for batch in BATCHES {
        let store = fresh(&directory).await?;
        let (before, cost) = (cpu(), apart(&store, batch).await?);
        cost.print(batch, "apart", cpu().saturating_sub(before));
        store.close().await?;

        let store = fresh(&directory).await?;
        let (before, cost) = (cpu(), mixed(&store, batch).await?);
        cost.print(batch, "mixed", cpu().saturating_sub(before));
        store.close().await?;
    }
    Ok(())
}

/// A line of the table.
struct Cost {
    transactions: usize,
    /// The time spent in commits, by kind.
    spent: Vec<Duration>,
    rounds: u32,
}

impl Cost {
    fn print(&self, batch: usize, how: &str, cpu: Duration) {
        let total: Duration = self.spent.iter().sum();
        let rate = self.transactions as f64 / total.as_secs_f64();
        let each = cpu.as_secs_f64() * 1e6 / self.transactions as f64;
        let millis = |spent: &Duration| {
            format!("{:.3} ", spent.as_secs_f64() * 1e3 / f64::from(self.rounds))
        };
        let means: String = self.spent.iter().map(millis).collect();
        println!("{batch:>5} {how:>8} {rate:>9.0} {each:>11.1}   {means}");
    }
}

/// Returns the processor time of this process so far, as Linux counts it; building the writes is part of it.
fn cpu() -> Duration {
    const TICK: Duration = Duration::from_millis(10);
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat
        .rsplit(')')
        .next()
        .unwrap_or_default()
        .split_whitespace();
    let ticks: u32 = fields
        .skip(11)
        .take(2)
        .filter_map(|ticks| ticks.parse::<u32>().ok())
        .sum();
    TICK * ticks
}

/// Opens a store on an empty file.
async fn fresh(directory: &std::path::Path) -> Result<SqliteStore, StoreError> {
    let path = directory.join("commit-cost.db");
    for suffix in ["", "-wal", "-shm", ".lock"] {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        let _ = std::fs::remove_file(name);
    }
    SqliteStore::open(path, SqliteOptions::default()).await
}

/// Commits each kind by itself: begin, decision, completion.
async fn apart(store: &SqliteStore, batch: usize) -> Result<Cost, StoreError> {
    let (mut spent, mut rounds, start) = (vec![Duration::ZERO; 3], 0, Instant::now());
    while start.elapsed() < EACH {
        let txs = transactions(batch);
        for (spent, kind) in spent.iter_mut().zip([begin, decide, complete]) {
            let writes: Vec<Write> = txs.iter().map(kind).collect();
            let before = Instant::now();
            store.apply(Arc::new(writes)).await?;
            *spent += before.elapsed();
        }
        rounds += 1;
    }
    Ok(Cost {
        transactions: batch * rounds as usize,
        spent,
        rounds,
    })
}

/// Commits all three kinds together.
async fn mixed(store: &SqliteStore, batch: usize) -> Result<Cost, StoreError> {
    let (mut spent, mut rounds, start) = (Duration::ZERO, 0, Instant::now());
    let (mut begun, mut decided) = (Vec::new(), Vec::new());
    while start.elapsed() < EACH {
        let new = transactions(batch);
        let mut writes: Vec<Write> = new.iter().map(begin).collect();
        writes.extend(begun.iter().map(decide));
        writes.extend(decided.iter().map(complete));
        writes.sort_by_key(|write| write.id);
        let before = Instant::now();
        store.apply(Arc::new(writes)).await?;
        spent += before.elapsed();
        rounds += 1;
        decided = std::mem::replace(&mut begun, new);
    }
    Ok(Cost {
        transactions: batch * rounds as usize,
        spent: vec![spent],
        rounds,
    })
}

/// Makes specs with random business ids, which scatter over their index.
fn transactions(batch: usize) -> Vec<Arc<TxSpec>> {
    let begun = |action: &str, participant: &str| Begun {
        action: action.into(),
        participant: participant.into(),
        mode: Mode::Tcc,
    };
    let spec = |_| {
        let id = Uuid::now_v7();
        let create_time = TxId(id).time().unwrap_or_default();
        Arc::new(TxSpec {
            id: TxId(id),
            business_type: "points_for_coupon".into(),
            business_id: Uuid::new_v4().simple().to_string().into(),
            unique_business: false,
            decider: Decider::Coordinator,
            check_back: None,
            ext: BTreeMap::new(),
            begun: vec![
                begun("points", "points-service"),
                begun("coupon", "coupon-service"),
            ],
            create_time,
            deadline: create_time + Duration::from_secs(30),
            timeout_given: false,
        })
    };
    (0..batch).map(spec).collect()
}

fn owner() -> Owner {
    Owner {
        node: "node-a".into(),
        epoch: 1,
    }
}

fn head(phase: Phase, version: u32) -> Head {
    Head {
        phase,
        check_backs: 0,
        last_check_back: None,
        version,
        owner: owner(),
        rest: None,
        // As many bytes as a random number has.
        write_id: i64::MAX - i64::from(version),
    }
}

/// The row of a transaction in hand.
fn in_hand() -> Vec<DueRow> {
    vec![DueRow {
        queue: Queue::Hand(owner()),
        at: Timestamp::default(),
    }]
}

fn write(
    spec: &TxSpec,
    fence: Fence,
    head: Head,
    actions: Vec<ActionWrite>,
    due: DueChange,
) -> Write {
    Write {
        id: spec.id,
        fence,
        head,
        actions,
        due,
        operator: None,
        urgent: true,
    }
}

fn state(status: ActionStatus, version: u32, finished_at: Option<Timestamp>) -> ActionState {
    ActionState {
        status,
        result: Bytes::new(),
        retry_count: 0,
        last_error: String::new(),
        attempts: Vec::new(),
        version,
        finished_at,
    }
}

fn begin(spec: &Arc<TxSpec>) -> Write {
    let action = |(position, begun): (u32, &Begun)| ActionWrite {
        name: Arc::clone(&begun.action),
        insert: Some(NewAction {
            position,
            spec: Arc::new(ActionSpec {
                name: Arc::clone(&begun.action),
                mode: begun.mode,
                participant: Arc::clone(&begun.participant),
                handler: "exchange".into(),
                payload: Bytes::from_static(&[42; 60]),
                after: Vec::new(),
                wants_results: false,
                already_tried: false,
                retry: RetryPolicy::default(),
                ext: BTreeMap::new(),
            }),
            create_time: spec.create_time,
        }),
        state: state(ActionStatus::Init, 1, None),
    };
    let actions = (0..).zip(&spec.begun).map(action).collect();
    let head = head(Phase::Trying, 1);
    let due = DueChange {
        remove: Vec::new(),
        add: in_hand(),
    };
    write(spec, Fence::Absent(Arc::clone(spec)), head, actions, due)
}

fn decision() -> Decision {
    Decision {
        outcome: Outcome::Success,
        cause: Cause::AllTried,
    }
}

fn decide(spec: &Arc<TxSpec>) -> Write {
    let phase = Phase::Finishing {
        decision: decision(),
        decided_at: spec.create_time + Duration::from_millis(2),
        unparked_at: None,
    };
    let due = DueChange::default();
    write(spec, Fence::Version(1), head(phase, 2), Vec::new(), due)
}

fn complete(spec: &Arc<TxSpec>) -> Write {
    let finished_at = spec.create_time + Duration::from_millis(4);
    let phase = Phase::Finished {
        decision: decision(),
        decided_at: spec.create_time + Duration::from_millis(2),
        finished_at,
    };
    let action = |begun: &Begun| ActionWrite {
        name: Arc::clone(&begun.action),
        insert: None,
        state: state(ActionStatus::Confirmed, 2, Some(finished_at)),
    };
    let actions = spec.begun.iter().map(action).collect();
    let due = DueChange {
        remove: in_hand(),
        add: Vec::new(),
    };
    write(spec, Fence::Version(2), head(phase, 3), actions, due)
}
