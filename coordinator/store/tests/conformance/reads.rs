//! Loads, rows that writes meet, and rows that no write can have left.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use super::{
    Database,
    fixture::{
        action, action_rows, apply, assert_stands, at_once, begin, begin_all, change, decided,
        failure, finished, id, kind, load_one, respec, success, transaction, tx_row, with_actions,
        write_id,
    },
    generate,
};
use bytes::Bytes;
use tercet_core::{
    limits,
    model::{CheckBack, Decider, Transaction},
    port::NewTransaction,
    write::{ApplyFailure, Standing, StandingRow, Write},
};
use tokio::runtime::Handle;

/// Any legal transaction, inserted as it is or changed into.
pub async fn whatever_is_written_is_read_back<D: Database>(database: &mut D) {
    let store = database.store();
    let (next, runtime) = (AtomicU64::new(0), Handle::current());
    generate::for_any(200, generate::transaction, |tx| {
        let next = next.fetch_add(2, Ordering::Relaxed);
        let (inserted, changed) = (
            generate::renamed(&tx, next),
            generate::renamed(&tx, next + 1),
        );
        runtime.block_on(async {
            begin_all(store, std::slice::from_ref(&inserted)).await;
            assert_stands(store, &inserted).await;
            let (before, after) = generate::steps(&changed);
            begin_all(store, std::slice::from_ref(&before)).await;
            apply(store, &[change(&before, &after)]).await.unwrap();
            assert_stands(store, &after).await;
        });
    });
}

pub async fn the_largest_transaction_is_read_back<D: Database>(database: &mut D) {
    let store = database.store();
    let name = |n: usize| format!("{n:0>width$}", width = limits::NAME_BYTES);
    let actions = (0..limits::ACTIONS)
        .map(|n| {
            let mut action = action(&name(n), &name(n));
            let spec = Arc::make_mut(&mut action.spec);
            spec.handler = name(n).into();
            spec.payload = Bytes::from(vec![n as u8; limits::PAYLOAD_BYTES]);
            spec.after = (0..n).map(|before| name(before).into()).collect();
            action.state.result = Bytes::from(vec![0xff; limits::RESULT_BYTES]);
            action.state.last_error = "\u{10FFFF}".repeat(limits::REASON_BYTES / 4);
            action.state.status = tercet_core::model::ActionStatus::Tried;
            action
        })
        .collect();
    let tx = respec(with_actions(0, actions), |spec| {
        spec.ext = (0..limits::EXT_KEYS)
            .map(|n| {
                (
                    format!("{n:03}"),
                    "v".repeat(limits::EXT_BYTES / limits::EXT_KEYS - 3),
                )
            })
            .collect();
    });
    begin_all(store, std::slice::from_ref(&tx)).await;
    assert_stands(store, &tx).await;
}

pub async fn loading_finds_what_exists<D: Database>(database: &mut D) {
    let store = database.store();
    let txs = [transaction(3), with_actions(1, Vec::new()), transaction(2)];
    begin_all(store, &txs).await;
    assert_eq!(store.load(&[]).await.unwrap(), []);
    let ids: Vec<_> = [9, 3, 1, 2, 0].map(id).to_vec();
    let loaded = store.load(&ids).await.unwrap();
    let loaded: Vec<_> = loaded.into_iter().map(|tx| tx.unwrap().id()).collect();
    assert_eq!(loaded, [1, 2, 3].map(id));
}

pub async fn names_compare_as_bytes<D: Database>(database: &mut D) {
    let store = database.store();
    let names = [
        "a",
        "A",
        "a ",
        " a",
        "\u{e4}",
        "a\u{308}",
        "\u{1}",
        "\u{10FFFF}",
        "%",
        "a'--",
    ];
    let tx = with_actions(0, names.iter().map(|name| action(name, name)).collect());
    begin_all(store, std::slice::from_ref(&tx)).await;
    assert_stands(store, &tx).await;

    for (n, name) in names.iter().enumerate() {
        let tx = respec(transaction(n as u64 + 1), |spec| {
            spec.business_type = (*name).into()
        });
        begin_all(store, std::slice::from_ref(&tx)).await;
        let found = store.find(name, &tx.spec.business_id).await.unwrap();
        assert_eq!(found, Some(tx.id()), "{name:?}");
        for other in names.iter().filter(|other| other != &name) {
            assert_eq!(
                store.find(other, &tx.spec.business_id).await.unwrap(),
                None,
                "{other:?}"
            );
        }
    }
}

pub async fn standing_tells_the_last_write<D: Database>(database: &mut D) {
    let store = database.store();
    let unique = |millis| {
        respec(transaction(millis), |spec| {
            spec.business_id = "once".into();
            spec.unique_business = true;
        })
    };
    let first = unique(1);
    let plain = transaction(2);
    begin_all(store, &[first.clone(), plain.clone()]).await;
    let mut taken_over = decided(&plain, failure());
    taken_over.owner.node = "node@b".into();
    taken_over.owner.epoch = u64::from(u32::MAX) + 7;
    apply(store, &[change(&plain, &taken_over)]).await.unwrap();

    let batch: Vec<Write> = vec![
        begin(&transaction(0)),
        begin(&first),
        change(&plain, &decided(&plain, success())),
        begin(&unique(3)),
    ];
    let row = |tx: &Transaction| Standing {
        row: Some(StandingRow {
            id: tx.id(),
            version: tx.version,
            write_id: write_id(tx),
        }),
    };
    let expected = [
        Standing { row: None },
        row(&first),
        row(&taken_over),
        row(&first),
    ];
    assert_eq!(store.standing(&batch).await.unwrap(), expected);
    assert_eq!(store.standing(&[]).await.unwrap(), []);
}

pub async fn the_newest_of_a_business_is_found<D: Database>(database: &mut D) {
    let store = database.store();
    let same = |millis| {
        respec(transaction(millis), |spec| {
            spec.business_id = "order".into()
        })
    };
    begin_all(store, &[same(1), same(3), same(2), transaction(4)]).await;
    let find = |business_id: &'static str| store.find("points_for_coupon", business_id);
    assert_eq!(find("order").await.unwrap(), Some(id(3)));
    assert_eq!(find("orde").await.unwrap(), None);
}

/// Each of these is a row that Tercet can't have written.
pub async fn illegal_rows_are_named<D: Database>(database: &mut D) {
    let tampering = [
        ("UPDATE tx_info SET status = 'DONE'", "DONE"),
        ("UPDATE tx_info SET biz_status = 'init'", "init"),
        ("UPDATE tx_info SET decider = ''", "decider"),
        ("UPDATE tx_info SET status = 'SUCCESS'", "SUCCESS"),
        (
            "UPDATE tx_info SET biz_status = 'SUCCESS'",
            "decision_cause",
        ),
        ("UPDATE tx_info SET decision_cause = '{}'", "decision_cause"),
        (
            "UPDATE tx_info SET check_back_info = 'you'",
            "check_back_info",
        ),
        (
            "UPDATE tx_info SET participants_info = '[1]'",
            "participants_info",
        ),
        ("UPDATE tx_info SET ext_properties = '[]'", "ext_properties"),
        ("UPDATE tx_info SET version = 0", "version"),
        ("UPDATE tx_info SET version = -1", "version"),
        ("UPDATE tx_info SET retry_count = 5000000000", "retry_count"),
        ("UPDATE tx_info SET owner = 'node'", "owner"),
        ("UPDATE tx_info SET owner = 'node@-1'", "owner"),
        ("UPDATE tx_info SET owner = 'node@01'", "owner"),
        ("UPDATE tx_info SET rest = '{}'", "rest"),
        ("UPDATE tx_info SET rest = '{\"wants\":1}'", "rest"),
        ("UPDATE tx_info SET finished_at = 1", "finished_at"),
        ("UPDATE action_info SET action_type = 'XA'", "action_type"),
        ("UPDATE action_info SET status = 'CONFIRMED'", "CONFIRMED"),
        (
            "UPDATE action_info SET run_after = '[\"nobody\"]'",
            "nobody",
        ),
        ("UPDATE action_info SET wants_results = 2", "wants_results"),
        (
            "UPDATE action_info SET policy = '{\"first_delay\":-1}'",
            "policy",
        ),
        ("UPDATE action_info SET attempts = '{'", "attempts"),
        ("UPDATE action_info SET version = 0", "version"),
        ("UPDATE action_info SET position = position + 1", "position"),
    ];
    for (n, (sql, named)) in tampering.into_iter().enumerate() {
        let tx = transaction(n as u64);
        let healthy = transaction(1_000 + n as u64);
        begin_all(database.store(), &[tx.clone(), healthy.clone()]).await;
        database
            .tamper(&format!("{sql} WHERE tx_id = {}", D::literal(tx.id())))
            .await;

        let loaded = database
            .store()
            .load(&[tx.id(), healthy.id()])
            .await
            .unwrap();
        assert_eq!(loaded.len(), 2, "{sql}");
        let illegal = loaded[0].as_ref().expect_err(sql);
        assert_eq!(illegal.id, tx.id());
        assert!(illegal.what.contains(named), "{sql}: {illegal}");
        let is_action = sql.starts_with("UPDATE action_info");
        assert_eq!(illegal.what.starts_with("action "), is_action, "{illegal}");
        assert!(loaded[1].is_ok(), "{sql}");
        let viewed = database.store().view(tx.id()).await.unwrap().unwrap();
        assert_eq!(viewed.as_ref().expect_err(sql), illegal);
    }

    let tx = transaction(500);
    begin_all(database.store(), std::slice::from_ref(&tx)).await;
    let row = D::literal(tx.id());
    let sql = format!("DELETE FROM action_info WHERE tx_id = {row} AND action_name = 'points'");
    database.tamper(&sql).await;
    database.store().load(&[tx.id()]).await.unwrap()[0]
        .as_ref()
        .expect_err("an action is gone");
}

/// The version before stored policies with every default applied, and not that the length of phase one was one.
pub async fn rows_with_every_default_applied_are_those_without<D: Database>(database: &mut D) {
    let tx = respec(transaction(1), |spec| {
        spec.check_back = Some(CheckBack::of("shop".into()));
        spec.decider = Decider::Initiator;
    });
    begin_all(database.store(), std::slice::from_ref(&tx)).await;
    let row = D::literal(tx.id());
    for sql in [
        format!(
            r#"UPDATE tx_info SET timeout_given = 1, check_back_info = '{{"participant":"shop","first_delay":0,"interval":1000,"max_interval":60000,"max_attempts":null}}' WHERE tx_id = {row}"#
        ),
        format!(
            r#"UPDATE action_info SET policy = '{{"first_delay":1000,"max_delay":60000,"max_attempts":100,"max_age":null,"call_timeout":10000}}' WHERE tx_id = {row} AND action_name = 'points'"#
        ),
    ] {
        database.tamper(&sql).await;
    }
    let of_before = load_one(database.store(), tx.id()).await.unwrap();
    assert_ne!(of_before.spec, tx.spec);
    let again = NewTransaction {
        id: tx.id(),
        business_type: tx.spec.business_type.clone(),
        business_id: tx.spec.business_id.clone(),
        unique_business: false,
        decider: Decider::Initiator,
        timeout: None,
        check_back: Some(CheckBack::of("shop".into())),
        ext: tx.spec.ext.clone(),
        actions: tx.actions.iter().map(|it| it.spec.clone()).collect(),
    };
    assert_eq!(of_before.first_difference(&again), None);
    let longer = NewTransaction {
        timeout: Some(limits::TIMEOUT_DEFAULT * 2),
        ..again
    };
    let difference = of_before.first_difference(&longer);
    assert_eq!(difference.as_deref(), Some("timeout_ms"));
}

pub async fn readers_see_whole_commits<D: Database>(database: &mut D) {
    let store = database.store();
    let mut txs: Vec<Transaction> = (0..20).map(transaction).collect();
    begin_all(store, &txs).await;
    let ids: Vec<_> = txs.iter().map(Transaction::id).collect();
    let done = AtomicBool::new(false);
    let read = async {
        let mut versions = 0;
        while !done.load(Ordering::Acquire) {
            let loaded = store.load(&ids).await.unwrap();
            let loaded: Vec<Transaction> = loaded.into_iter().map(Result::unwrap).collect();
            assert_eq!(loaded.len(), ids.len());
            assert!(loaded.iter().all(|tx| tx.version == loaded[0].version));
            assert!(loaded[0].version >= versions, "a read went back");
            versions = loaded[0].version;
            tokio::task::yield_now().await;
        }
    };
    let write = async {
        for _ in 0..40 {
            let mut after = txs.clone();
            for tx in &mut after {
                tx.version += 1;
                tx.actions[1].state.version += 1;
                tx.actions[1].state.last_error = format!("error {}", tx.version);
            }
            let batch: Vec<Write> = txs.iter().zip(&after).map(|(b, a)| change(b, a)).collect();
            apply(store, &batch).await.unwrap();
            // The next read sees every acknowledged write.
            let one = load_one(store, ids[7]).await.unwrap();
            assert_eq!(one.version, after[7].version);
            txs = after;
        }
        done.store(true, Ordering::Release);
    };
    tokio::join!(read, write);
}

pub async fn a_restart_keeps_everything<D: Database>(database: &mut D) {
    let begun = transaction(0);
    let ended = at_once(finished(&decided(&transaction(1), failure())));
    begin_all(database.store(), &[begun.clone(), ended.clone()]).await;
    database.restart().await;
    assert_stands(database.store(), &begun).await;
    assert_stands(database.store(), &ended).await;
    let again = apply(database.store(), &[begin(&begun)]).await;
    assert_eq!(kind(again), Err(ApplyFailure::Moved));
    let row = Transaction::from_rows(tx_row(&begun), action_rows(&begun)).unwrap();
    assert_eq!(load_one(database.store(), id(0)).await, Some(row));
}
