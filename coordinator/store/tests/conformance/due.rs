//! The rows of `tx_due`: that they follow the state of their transactions, and that queues and rows are found.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use tercet_core::{
    id::TxId,
    model::{ActionStatus, DueRow, Mode, Need, Owner, Queue, Transaction},
    time::Timestamp,
    write::{ApplyFailure, Due, DueQuery, QueuesQuery},
};
use tercet_store::Store;
use tokio::runtime::Handle;

use super::{
    Database, DueCells,
    fixture::{
        apply, assert_due, assert_stands, at, at_once, at_rest, begin, begin_all, change, decided,
        due_cells, failure, finished, id, parked, respec, success, transaction,
    },
    generate,
};

/// Each state of the history in turn, and the rows after each write.
async fn assert_followed<D: Database>(database: &D, history: &[Transaction]) {
    let store = database.store();
    begin_all(store, &history[..1]).await;
    assert_due(database, &history[0]).await;
    for pair in history.windows(2) {
        apply(store, &[change(&pair[0], &pair[1])]).await.unwrap();
        assert_stands(store, &pair[1]).await;
        assert_due(database, &pair[1]).await;
    }
}

/// In hand, at rest in several ways, taken by another incarnation, decided, parked, retried, finished.
pub async fn due_rows_follow_the_state<D: Database>(database: &mut D) {
    let begun = transaction(0);
    let waits = at_rest(&begun, &[("points-service", 5), ("shop", 7)], Some(30_000));
    let later = at_rest(&waits, &[("points-service", 5), ("shop", 9)], None);
    let mut taken = Transaction {
        rest: None,
        version: later.version + 1,
        ..later.clone()
    };
    taken.owner.epoch += 1;
    let cancelling = decided(&taken, failure());
    let absent = at_rest(&cancelling, &[("coupon-service", 40)], None);
    let stuck = parked(&absent);
    let retried = Transaction {
        version: stuck.version + 1,
        ..stuck.clone()
    };
    let mut retried = Transaction {
        phase: cancelling.phase.clone(),
        ..retried
    };
    retried.actions[0].state.status = ActionStatus::Init;
    retried.actions[0].state.version += 1;
    let ended = finished(&retried);
    let history = [
        begun, waits, later, taken, cancelling, absent, stuck, retried, ended,
    ];
    assert_followed(database, &history).await;
    let cells = |tx: &Transaction| tx.due_rows().iter().map(due_cells).collect::<Vec<_>>();
    let row = |kind: &str, name: &str, business_type: &str, at: i64| -> DueCells {
        let need = if kind == "WAIT" { "CHECK_BACK" } else { "" };
        (
            kind.into(),
            name.into(),
            need.into(),
            business_type.into(),
            at,
        )
    };
    let kind = "points_for_coupon";
    let micros = |millis| at(millis).as_micros();
    let expected = [
        vec![row("HAND", "node-a@1", "", 0)],
        vec![
            row("TIME", "", "", micros(30_000)),
            row("WAIT", "points-service", kind, micros(5)),
            row("WAIT", "shop", kind, micros(7)),
        ],
        vec![
            row("WAIT", "points-service", kind, micros(5)),
            row("WAIT", "shop", kind, micros(9)),
        ],
        vec![row("HAND", "node-a@2", "", 0)],
        vec![row("HAND", "node-a@2", "", 0)],
        vec![row("WAIT", "coupon-service", kind, micros(40))],
        vec![row("PARKED", "", "", micros(20))],
        vec![row("HAND", "node-a@2", "", 0)],
        vec![],
    ];
    assert_eq!(history.each_ref().map(cells), expected);
}

/// The rows are those of the state after every write of any history, and queues and pages show them all.
pub async fn due_rows_follow_any_history<D: Database>(database: &mut D) {
    let database = &*database;
    let (next, runtime) = (AtomicU64::new(0), Handle::current());
    let last = Mutex::new(Vec::new());
    generate::for_any(150, generate::history, |history| {
        let next = next.fetch_add(1, Ordering::Relaxed);
        let history = history.iter().map(|tx| generate::renamed(tx, next));
        let history: Vec<Transaction> = history.collect();
        runtime.block_on(assert_followed(database, &history));
        last.lock().unwrap().extend(history.last().cloned());
    });
    assert_found(database.store(), &last.into_inner().unwrap()).await;
}

/// Fails unless queues and pages show exactly the rows of these transactions.
async fn assert_found(store: &dyn Store, txs: &[Transaction]) {
    let mut expected: BTreeMap<DueCells, (DueRow, Vec<Due>)> = BTreeMap::new();
    for tx in txs {
        for row in tx.due_rows() {
            let mut key = due_cells(&row);
            key.4 = 0;
            let due = Due {
                at: row.at,
                id: tx.id(),
            };
            let queue = expected.entry(key).or_insert((row, Vec::new()));
            queue.1.push(due);
        }
    }
    let mut found = Vec::new();
    for (row, rows) in expected.values_mut() {
        rows.sort();
        row.at = rows[0].at;
        found.extend((row.queue != Queue::Parked).then_some(row.clone()));
        assert_eq!(pages(store, &row.queue, 3).await, *rows);
    }
    assert_eq!(all_queues(store, None, 7).await, found);
}

/// All rows of a queue, read in pages.
async fn pages(store: &dyn Store, queue: &Queue, limit: u32) -> Vec<Due> {
    let mut query = DueQuery {
        queue: queue.clone(),
        until: Timestamp::MAX,
        after: None,
        limit,
    };
    let mut found = Vec::new();
    loop {
        let page = store.due(&query).await.unwrap();
        assert!(page.len() <= limit as usize);
        let Some(last) = page.last() else {
            return found;
        };
        query.after = Some(*last);
        found.extend(page);
    }
}

/// All queues, or those of a participant, read in pages. A page that is not full is the last.
async fn all_queues(store: &dyn Store, of: Option<&str>, limit: u32) -> Vec<DueRow> {
    let mut query = QueuesQuery {
        of: of.map(Into::into),
        after: None,
        limit,
    };
    let mut found = Vec::new();
    loop {
        let page = store.queues(&query).await.unwrap();
        assert!(page.len() <= limit as usize);
        let is_full = page.len() == limit as usize;
        query.after = page.last().map(|row| row.queue.clone());
        found.extend(page);
        if !is_full {
            return found;
        }
    }
}

/// A write that goes on from a row that is not there is refused by name, and nothing of it is applied.
pub async fn a_due_row_that_is_missing_is_named<D: Database>(database: &mut D) {
    let waits = at_once(at_rest(&transaction(0), &[("shop", 5)], Some(30_000)));
    let taken = Transaction {
        rest: None,
        version: 2,
        ..waits.clone()
    };
    begin_all(database.store(), std::slice::from_ref(&waits)).await;
    let tampered = [
        ("DELETE FROM tx_due WHERE kind = 'WAIT'", "WAIT, shop"),
        ("UPDATE tx_due SET at = at + 1", "TIME"),
        ("UPDATE tx_due SET business_type = ''", "shop"),
    ];
    for (sql, named) in tampered {
        let before = database.due_rows(waits.id()).await;
        database.tamper(sql).await;
        let batch = [change(&waits, &taken), begin(&transaction(1))];
        let error = apply(database.store(), &batch).await.unwrap_err();
        assert_eq!(error.kind, ApplyFailure::Content, "{error}");
        let text = error.to_string();
        assert!(text.contains("tx_due"), "{text}");
        assert!(text.contains(named), "{text}");
        assert!(text.contains(&id(0).to_string()), "{text}");
        assert_stands(database.store(), &waits).await;
        assert_eq!(database.due_rows(id(1)).await, []);
        restore(database, waits.id(), &before).await;
    }
    apply(database.store(), &[change(&waits, &taken)])
        .await
        .unwrap();
    assert_due(database, &taken).await;
}

/// Puts these rows in the place of those that there are.
async fn restore<D: Database>(database: &D, id: TxId, rows: &[DueCells]) {
    database.tamper("DELETE FROM tx_due").await;
    for (kind, name, need, business_type, at) in rows {
        let id = D::literal(id);
        let sql = format!(
            "INSERT INTO tx_due (kind, name, need, business_type, at, tx_id) \
             VALUES ('{kind}', '{name}', '{need}', '{business_type}', {at}, {id})"
        );
        database.tamper(&sql).await;
    }
}

/// The same for a row that is there already.
pub async fn a_due_row_that_is_there_is_named<D: Database>(database: &mut D) {
    let begun = transaction(0);
    let waits = at_rest(&begun, &[("shop", 5)], None);
    begin_all(database.store(), std::slice::from_ref(&begun)).await;
    let mut rows = database.due_rows(begun.id()).await;
    rows.extend(waits.due_rows().iter().map(due_cells));
    restore(database, begun.id(), &rows).await;
    let error = apply(database.store(), &[change(&begun, &waits)]).await;
    let error = error.unwrap_err();
    assert_eq!(error.kind, ApplyFailure::Content, "{error}");
    assert!(error.to_string().contains("tx_due"), "{error}");
    assert_stands(database.store(), &begun).await;
}

fn wait(participant: &str, business_type: &str) -> Queue {
    Queue::Wait {
        participant: participant.into(),
        need: None,
        business_type: business_type.into(),
    }
}

fn freeze(mode: Mode) -> Need {
    Need::Handler("freeze".into(), mode)
}

fn waiting(participant: &str, need: Need, business_type: &str) -> Queue {
    Queue::Wait {
        participant: participant.into(),
        need: Some(need),
        business_type: business_type.into(),
    }
}

/// A transaction that was put to rest in this queue at once.
fn resting(millis: u64, queue: &Queue, due: i64) -> Transaction {
    let begun = transaction(millis);
    match queue {
        Queue::Time => at_once(at_rest(&begun, &[], Some(due))),
        Queue::Wait {
            participant,
            need,
            business_type,
        } => {
            let begun = respec(begun, |spec| spec.business_type = business_type.clone());
            let mut tx = at_rest(&begun, &[(participant, due)], None);
            for want in tx.rest.iter_mut().flat_map(|rest| &mut rest.wants) {
                want.need.clone_from(need);
            }
            at_once(tx)
        }
        Queue::Hand(owner) => Transaction {
            owner: owner.clone(),
            ..begun
        },
        Queue::Parked => at_once(parked(&decided(&begun, success()))),
    }
}

fn due_query(queue: Queue, until: i64, limit: u32) -> DueQuery {
    DueQuery {
        queue,
        until: at(until),
        after: None,
        limit,
    }
}

async fn due(store: &dyn Store, query: &DueQuery) -> Vec<(i64, u64)> {
    let due = store.due(query).await.unwrap();
    let back = |due: Due| {
        let millis = due.id.time().unwrap().since(at(0)).as_millis() as u64;
        let at = (due.at.as_micros() - at(0).as_micros()) / 1_000;
        (at, millis)
    };
    due.into_iter().map(back).collect()
}

pub async fn due_rows_come_in_order<D: Database>(database: &mut D) {
    let store = database.store();
    let done = at_once(finished(&decided(&transaction(5), success())));
    let txs = [
        resting(1, &Queue::Time, 30),
        resting(2, &Queue::Time, 10),
        resting(3, &Queue::Time, 20),
        resting(4, &Queue::Time, 10),
        done,
    ];
    begin_all(store, &txs).await;
    let until = |until, limit| due_query(Queue::Time, until, limit);
    assert_eq!(due(store, &until(9, 10)).await, []);
    assert_eq!(
        due(store, &until(20, 10)).await,
        [(10, 2), (10, 4), (20, 3)]
    );
    assert_eq!(due(store, &until(20, 2)).await, [(10, 2), (10, 4)]);

    // One that was taken is due no more.
    let taken = decided(&txs[1], failure());
    apply(store, &[change(&txs[1], &taken)]).await.unwrap();
    assert_eq!(due(store, &until(20, 10)).await, [(10, 4), (20, 3)]);
}

pub async fn due_rows_are_those_of_one_queue<D: Database>(database: &mut D) {
    let store = database.store();
    let hand = |node: &str, epoch| {
        Queue::Hand(Owner {
            node: node.into(),
            epoch,
        })
    };
    let queues = [
        (Queue::Time, 10),
        (wait("a", "sale"), 10),
        (wait("A", "sale"), 10),
        (wait("a ", "sale"), 10),
        (wait("a", "sale"), 5),
        (wait("a", "Sale"), 10),
        (waiting("a", freeze(Mode::Tcc), "sale"), 10),
        (waiting("a", freeze(Mode::Compensate), "sale"), 10),
        (waiting("a", Need::CheckBack, "sale"), 10),
        (hand("a", 1), 0),
        (hand("a", 12), 0),
        (hand("a@1", 2), 0),
    ];
    let txs: Vec<Transaction> = (1..)
        .zip(&queues)
        .map(|(millis, (queue, due))| resting(millis, queue, *due))
        .collect();
    begin_all(store, &txs).await;
    let all = |queue: Queue| due_query(queue, 50, 10);
    assert_eq!(due(store, &all(Queue::Time)).await, [(10, 1)]);
    assert_eq!(due(store, &all(wait("a", "sale"))).await, [(5, 5), (10, 2)]);
    assert_eq!(due(store, &all(wait("A", "sale"))).await, [(10, 3)]);
    assert_eq!(due(store, &all(wait("a", "Sale"))).await, [(10, 6)]);
    for (millis, need) in (7..).zip([freeze(Mode::Tcc), freeze(Mode::Compensate), Need::CheckBack])
    {
        let queue = waiting("a", need, "sale");
        assert_eq!(due(store, &all(queue)).await, [(10, millis)]);
    }
    assert_eq!(due(store, &all(wait("b", "sale"))).await, []);
    assert_eq!(due(store, &all(wait("a", ""))).await, []);
    let epoch = (0 - at(0).as_micros()) / 1_000;
    for (millis, (node, number)) in (10..).zip([("a", 1), ("a", 12), ("a@1", 2)]) {
        let found = due(store, &all(hand(node, number))).await;
        assert_eq!(found, [(epoch, millis)]);
    }
}

pub async fn due_rows_go_on_after_a_cursor<D: Database>(database: &mut D) {
    let store = database.store();
    let queue = wait("a", "sale");
    let txs: Vec<Transaction> = (1..=9)
        .map(|n| resting(n, &queue, 10 * (1 + n as i64 % 3)))
        .collect();
    begin_all(store, &txs).await;
    let seen = pages(store, &queue, 2).await;
    assert_eq!(seen.len(), txs.len());
    assert!(seen.is_sorted());
}

/// Queues whose keys order in this way, as bytes.
fn some_queues() -> Vec<Queue> {
    let hand = |node: &str, epoch| {
        Queue::Hand(Owner {
            node: node.into(),
            epoch,
        })
    };
    vec![
        hand("node-1", 10),
        hand("node-1", 9),
        hand("node-\u{e4}", 1),
        Queue::Time,
        wait(" ", "sale"),
        wait("A", "sale"),
        wait("a", "Sale"),
        wait("a", "sale"),
        wait("a", "sale "),
        waiting("a", Need::CheckBack, "Sale"),
        waiting("a", Need::CheckBack, "sale"),
        waiting("a", freeze(Mode::Compensate), "sale"),
        waiting("a", freeze(Mode::Tcc), "Sale"),
        waiting("a", Need::Handler("freezes".into(), Mode::Tcc), "sale"),
        wait("a'--", "%"),
        wait("aa", "sale"),
        wait("\u{10FFFF}", "\u{1}"),
    ]
}

pub async fn queues_come_in_order_with_their_first_row<D: Database>(database: &mut D) {
    let store = database.store();
    assert_eq!(all_queues(store, None, 10).await, []);
    let queues = some_queues();
    let mut txs = vec![resting(0, &Queue::Parked, 0)];
    let mut expected = Vec::new();
    for (first, queue) in (1..).step_by(3).zip(&queues) {
        let earliest = 50 + first as i64;
        txs.push(resting(first, queue, earliest + 9));
        txs.push(resting(first + 1, queue, earliest));
        txs.push(resting(first + 2, queue, earliest + 1));
        let at = match queue {
            Queue::Hand(_) => Timestamp::default(),
            _ => at(earliest),
        };
        expected.push(DueRow {
            queue: queue.clone(),
            at,
        });
    }
    begin_all(store, &txs).await;
    assert_eq!(all_queues(store, None, 100).await, expected);

    // Without its rows a queue is no more.
    let last = txs.pop().unwrap();
    let taken = decided(&last, failure());
    apply(store, &[change(&last, &taken)]).await.unwrap();
    assert_eq!(all_queues(store, None, 100).await.len(), queues.len() + 1);
}

pub async fn queues_of_a_participant_are_its_own<D: Database>(database: &mut D) {
    let store = database.store();
    let queues = some_queues();
    let txs: Vec<Transaction> = (0..)
        .zip(&queues)
        .map(|(millis, queue)| resting(millis, queue, 5))
        .collect();
    begin_all(store, &txs).await;
    for limit in [1, 2, 3, 10] {
        let of = async |name: &str| {
            let found = all_queues(store, Some(name), limit).await;
            found.into_iter().map(|row| row.queue).collect::<Vec<_>>()
        };
        let own: Vec<Queue> = queues
            .iter()
            .filter(
                |queue| matches!(queue, Queue::Wait { participant, .. } if &**participant == "a"),
            )
            .cloned()
            .collect();
        assert_eq!(own.len(), 8);
        assert_eq!(of("a").await, own, "{limit}");
        assert_eq!(of("aa").await, [wait("aa", "sale")], "{limit}");
        assert_eq!(of("b").await, [], "{limit}");
        // The name of a node and that of a parked queue are no participants.
        assert_eq!(of("node-1@9").await, [], "{limit}");
        assert_eq!(of("").await, [], "{limit}");
    }
    // A place before its queues, and one behind them.
    let from = async |after: Queue| {
        let query = QueuesQuery {
            of: Some("a".into()),
            after: Some(after),
            limit: 10,
        };
        store.queues(&query).await.unwrap().len()
    };
    assert_eq!(from(Queue::Time).await, 8);
    assert_eq!(from(wait("a", "sale")).await, 6);
    assert_eq!(from(waiting("a", Need::CheckBack, "t")).await, 3);
    assert_eq!(from(wait("aa", "")).await, 0);
}

pub async fn queues_go_on_after_a_cursor<D: Database>(database: &mut D) {
    let store = database.store();
    let queues = some_queues();
    let mut txs: Vec<Transaction> = (0..)
        .zip(&queues)
        .map(|(millis, queue)| resting(millis, queue, 5))
        .collect();
    txs.push(resting(1_000, &Queue::Parked, 0));
    begin_all(store, &txs).await;
    for limit in 1..=14 {
        let found = all_queues(store, None, limit).await;
        let found: Vec<Queue> = found.into_iter().map(|row| row.queue).collect();
        assert_eq!(found, queues, "{limit}");
    }
    // A place where no queue is.
    let query = QueuesQuery {
        of: None,
        after: Some(waiting("a", freeze(Mode::Tcc), "z")),
        limit: 1,
    };
    let found = store.queues(&query).await.unwrap();
    let behind = Need::Handler("freezes".into(), Mode::Tcc);
    assert_eq!(found[0].queue, waiting("a", behind, "sale"));
}

/// Rows of a later program, and rows made by hand, do not hide the queues behind them, nor end a page early.
pub async fn rows_of_unknown_queues_are_passed_over<D: Database>(database: &mut D) {
    let queues = [Queue::Time, wait("a", "sale"), wait("b", "sale")];
    let txs: Vec<Transaction> = (0..)
        .zip(&queues)
        .map(|(millis, queue)| resting(millis, queue, 5))
        .collect();
    begin_all(database.store(), &txs).await;
    let keys = [
        ("", "", "", ""),
        ("HAND", "node", "", ""),
        ("HAND", "node@01", "", ""),
        ("HAND", "node@1", "", "sale"),
        ("HAND", "node@1", "CHECK_BACK", ""),
        ("LATER", "a", "", "sale"),
        ("TIME", "a", "", ""),
        ("WAIT", "a", "freeze", "sale"),
        ("WAIT", "a", "LATER freeze", "sale"),
        ("WAIT ", "a", "", "sale"),
        ("hand", "node@1", "", ""),
    ];
    let id = D::literal(id(100));
    for (kind, name, need, business_type) in keys {
        let sql = format!(
            "INSERT INTO tx_due (kind, name, need, business_type, at, tx_id) \
             VALUES ('{kind}', '{name}', '{need}', '{business_type}', 1, {id})"
        );
        database.tamper(&sql).await;
    }
    for limit in 1..=5 {
        let found = all_queues(database.store(), None, limit).await;
        let found: Vec<Queue> = found.into_iter().map(|row| row.queue).collect();
        assert_eq!(found, queues, "{limit}");
    }
}
