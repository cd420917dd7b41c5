//! Begins, compare-and-sets, and that a batch is all or nothing.

use std::time::Duration;

use tercet_core::{
    model::{ActionStatus, Transaction},
    write::{ApplyFailure, Fence, OperatorEntry, Write},
};

use super::{
    Database,
    fixture::{
        action, action_rows, apply, assert_absent, assert_stands, at, begin, begin_all, change,
        decided, failure, finished, id, kind, load_one, parked, respec, success, transaction,
        tx_row, with_actions,
    },
};

pub async fn a_begin_is_all_there<D: Database>(database: &mut D) {
    let store = database.store();
    let tx = transaction(0);
    apply(store, &[begin(&tx)]).await.unwrap();
    assert_stands(store, &tx).await;
    assert_absent(store, id(1)).await;
}

pub async fn an_empty_batch_is_nothing<D: Database>(database: &mut D) {
    apply(database.store(), &[]).await.unwrap();
}

pub async fn an_id_is_begun_once<D: Database>(database: &mut D) {
    let store = database.store();
    let first = transaction(0);
    begin_all(store, std::slice::from_ref(&first)).await;
    let second = respec(transaction(0), |spec| spec.business_id = "another".into());
    let result = apply(store, &[begin(&second)]).await;
    assert_eq!(kind(result), Err(ApplyFailure::Moved));
    assert_stands(store, &first).await;
}

pub async fn a_unique_business_is_begun_once<D: Database>(database: &mut D) {
    let store = database.store();
    let unique = |millis, business: &'static str| {
        respec(transaction(millis), |spec| {
            spec.business_id = business.into();
            spec.unique_business = true;
        })
    };
    let first = unique(0, "order-1");
    begin_all(store, std::slice::from_ref(&first)).await;
    let result = apply(store, &[begin(&unique(1, "order-1"))]).await;
    assert_eq!(kind(result), Err(ApplyFailure::Moved));
    assert_absent(store, id(1)).await;
    assert_stands(store, &first).await;

    // Another one, and the same business where uniqueness was not asked for.
    begin_all(store, &[unique(2, "order-2")]).await;
    let plain = respec(transaction(3), |spec| spec.business_id = "order-1".into());
    let plain_again = respec(transaction(4), |spec| spec.business_id = "order-1".into());
    begin_all(store, &[plain, plain_again]).await;
}

pub async fn businesses_that_run_into_each_other_are_told_apart<D: Database>(database: &mut D) {
    let pairs = [
        ("ab", "c"),
        ("a", "bc"),
        ("abc", "c"),
        ("A", "bc"),
        ("a", "bc "),
        ("a ", "bc"),
    ];
    let txs: Vec<Transaction> = pairs
        .into_iter()
        .enumerate()
        .map(|(n, (business_type, business_id))| {
            respec(transaction(n as u64), |spec| {
                spec.business_type = business_type.into();
                spec.business_id = business_id.into();
                spec.unique_business = true;
            })
        })
        .collect();
    begin_all(database.store(), &txs).await;
    for tx in &txs {
        assert_stands(database.store(), tx).await;
    }
}

pub async fn a_change_holds_once<D: Database>(database: &mut D) {
    let store = database.store();
    let begun = transaction(0);
    let decided = decided(&begun, success());
    let finished = finished(&decided);
    begin_all(store, std::slice::from_ref(&begun)).await;

    let decide = change(&begun, &decided);
    apply(store, std::slice::from_ref(&decide)).await.unwrap();
    assert_stands(store, &decided).await;
    let again = apply(store, std::slice::from_ref(&decide)).await;
    assert_eq!(kind(again), Err(ApplyFailure::Moved));
    assert_stands(store, &decided).await;

    apply(store, &[change(&decided, &finished)]).await.unwrap();
    assert_stands(store, &finished).await;
    assert_eq!(
        kind(apply(store, &[decide]).await),
        Err(ApplyFailure::Moved)
    );
    assert_stands(store, &finished).await;
}

pub async fn a_change_of_nothing_has_moved<D: Database>(database: &mut D) {
    let store = database.store();
    let begun = transaction(0);
    let result = apply(store, &[change(&begun, &decided(&begun, success()))]).await;
    assert_eq!(kind(result), Err(ApplyFailure::Moved));
    assert_absent(store, id(0)).await;
}

pub async fn one_moved_write_undoes_its_batch<D: Database>(database: &mut D) {
    let store = database.store();
    let old: Vec<Transaction> = (0..3).map(transaction).collect();
    begin_all(store, &old).await;
    let new: Vec<Transaction> = old.iter().map(|tx| decided(tx, failure())).collect();
    // The middle one is decided already, by another write.
    apply(store, &[change(&old[1], &new[1])]).await.unwrap();
    let stranger = transaction(3);
    let entry = OperatorEntry {
        at: at(5),
        who: "local".into(),
        command: "decide FAILURE".into(),
        reason: "asked for".into(),
        before: "PROCESS_WAITING INIT".into(),
    };
    let mut batch: Vec<Write> = old
        .iter()
        .zip(&new)
        .map(|(old, new)| change(old, new))
        .collect();
    batch[0].operator = Some(entry);
    batch.push(begin(&stranger));

    assert_eq!(kind(apply(store, &batch).await), Err(ApplyFailure::Moved));
    assert_stands(store, &old[0]).await;
    assert_stands(store, &new[1]).await;
    assert_stands(store, &old[2]).await;
    assert_absent(store, stranger.id()).await;
    assert_eq!(
        store
            .view(id(0))
            .await
            .unwrap()
            .unwrap()
            .unwrap()
            .operator_log,
        []
    );

    // The same without the one that moved.
    batch.remove(1);
    apply(store, &batch).await.unwrap();
    assert_stands(store, &new[0]).await;
    assert_stands(store, &new[2]).await;
    assert_stands(store, &stranger).await;
}

/// A transaction in phase one with an action more.
fn with_another_action(before: &Transaction) -> Transaction {
    let mut after = before.clone();
    after.version += 1;
    after.actions.push(action("letter", "letter-service"));
    after
}

pub async fn actions_follow_their_transaction<D: Database>(database: &mut D) {
    let store = database.store();
    let begun = transaction(0);
    begin_all(store, std::slice::from_ref(&begun)).await;
    let decided = decided(&begun, success());
    apply(store, &[change(&begun, &decided)]).await.unwrap();

    // The action is added to a version that is gone.
    let result = apply(store, &[change(&begun, &with_another_action(&begun))]).await;
    assert_eq!(kind(result), Err(ApplyFailure::Moved));
    // Actions are ended from a version that never was.
    let mut late = change(&decided, &finished(&decided));
    late.fence = Fence::Version(7);
    late.head.version = 8;
    assert_eq!(kind(apply(store, &[late]).await), Err(ApplyFailure::Moved));
    assert_stands(store, &decided).await;
}

pub async fn an_action_is_added_once<D: Database>(database: &mut D) {
    let store = database.store();
    let begun = transaction(0);
    begin_all(store, std::slice::from_ref(&begun)).await;
    let added = with_another_action(&begun);
    apply(store, &[change(&begun, &added)]).await.unwrap();
    assert_stands(store, &added).await;

    // The fence holds, but the name is taken: no write of Tercet can do that.
    let mut twice = change(&added, &with_another_action(&added));
    twice.actions[0].name = "coupon".into();
    let error = apply(store, &[twice]).await.unwrap_err();
    assert_eq!(error.kind, ApplyFailure::Content, "{error}");
    assert_stands(store, &added).await;
}

pub async fn an_action_of_another_version_is_named<D: Database>(database: &mut D) {
    let store = database.store();
    let begun = transaction(0);
    let decided = decided(&begun, success());
    begin_all(store, std::slice::from_ref(&begun)).await;
    apply(store, &[change(&begun, &decided)]).await.unwrap();

    let end = change(&decided, &finished(&decided));
    let mut gone = end.clone();
    gone.actions[1].name = "COUPON".into();
    let mut skipped = end.clone();
    skipped.actions[1].state.version = 3;
    for (write, named) in [(gone, "COUPON"), (skipped, "coupon")] {
        let error = apply(store, &[write]).await.unwrap_err();
        assert_eq!(error.kind, ApplyFailure::Content, "{error}");
        let text = error.to_string();
        assert!(text.contains(named), "{text}");
        assert!(text.contains(&id(0).to_string()), "{text}");
        assert_stands(store, &decided).await;
    }
    apply(store, &[end]).await.unwrap();
}

pub async fn a_write_that_skips_a_version_is_refused<D: Database>(database: &mut D) {
    let store = database.store();
    let begun = transaction(0);
    begin_all(store, std::slice::from_ref(&begun)).await;
    let mut jump = change(&begun, &decided(&begun, success()));
    jump.head.version = 3;
    let mut second = begin(&transaction(1));
    second.head.version = 2;
    let mut again = begin(&transaction(1));
    again.actions[0].state.version = 2;
    for write in [jump, second, again] {
        let error = apply(store, &[write]).await.unwrap_err();
        assert_eq!(error.kind, ApplyFailure::Content, "{error}");
    }
    assert_stands(store, &begun).await;
    assert_absent(store, id(1)).await;
}

pub async fn a_batch_of_everything_holds<D: Database>(database: &mut D) {
    let store = database.store();
    let begun: Vec<Transaction> = (0..5).map(transaction).collect();
    begin_all(store, &begun).await;
    let to_finish = decided(&begun[1], success());
    let to_park = decided(&begun[2], failure());
    apply(
        store,
        &[change(&begun[1], &to_finish), change(&begun[2], &to_park)],
    )
    .await
    .unwrap();

    let without_actions = with_actions(9, Vec::new());
    let after = [
        decided(&begun[0], failure()),
        finished(&to_finish),
        parked(&to_park),
        with_another_action(&begun[3]),
        decided(&begun[4], success()),
        transaction(8),
        without_actions,
    ];
    let batch = [
        change(&begun[0], &after[0]),
        change(&to_finish, &after[1]),
        change(&to_park, &after[2]),
        change(&begun[3], &after[3]),
        change(&begun[4], &after[4]),
        begin(&after[5]),
        begin(&after[6]),
    ];
    apply(store, &batch).await.unwrap();
    for tx in &after {
        assert_stands(store, tx).await;
    }
}

/// More rows than one statement takes on any database.
pub async fn a_large_batch_holds<D: Database>(database: &mut D) {
    let store = database.store();
    let begun: Vec<Transaction> = (0..4_000).map(transaction).collect();
    begin_all(store, &begun).await;
    let decided: Vec<Transaction> = begun.iter().map(|tx| decided(tx, success())).collect();
    let ended: Vec<Transaction> = decided.iter().map(finished).collect();
    for (before, after) in [(&begun, &decided), (&decided, &ended)] {
        let batch: Vec<Write> = before
            .iter()
            .zip(after)
            .map(|(b, a)| change(b, a))
            .collect();
        apply(store, &batch).await.unwrap();
    }
    let ids: Vec<_> = ended.iter().map(Transaction::id).collect();
    let loaded = store.load(&ids).await.unwrap();
    assert_eq!(loaded.len(), ended.len());
    for (tx, expected) in loaded.into_iter().zip(&ended) {
        let expected = Transaction::from_rows(tx_row(expected), action_rows(expected));
        assert_eq!(tx, expected);
    }
}

pub async fn operators_commands_are_kept<D: Database>(database: &mut D) {
    let store = database.store();
    let begun = transaction(0);
    let decided = decided(&begun, failure());
    let mut tx = parked(&decided);
    begin_all(store, std::slice::from_ref(&begun)).await;
    apply(store, &[change(&begun, &decided)]).await.unwrap();
    apply(store, &[change(&decided, &tx)]).await.unwrap();

    let mut entries = Vec::new();
    for n in 0..25 {
        let entry = OperatorEntry {
            at: at(100 + n),
            who: format!("O'Brien {}", n % 3).into(),
            command: format!("retry {n}"),
            reason: "the account is open again; 'quoted' \u{1F642}".into(),
            before: "FAILURE FAILURE".into(),
        };
        let mut after = tx.clone();
        after.version += 1;
        let mut write = change(&tx, &after);
        write.operator = Some(entry.clone());
        apply(store, &[write]).await.unwrap();
        entries.push(entry);
        tx = after;
    }
    let view = store.view(tx.id()).await.unwrap().unwrap().unwrap();
    assert_eq!(view.operator_log, entries[5..]);
    assert_eq!(view.tx.version, tx.version);
}

/// A dropped call is applied whole or not at all, and the next call sees which.
pub async fn a_dropped_call_leaves_nothing_half_done<D: Database>(database: &mut D) {
    let store = database.store();
    for round in 0..20 {
        let first = round * 100;
        let begun: Vec<Transaction> = (first..first + 60).map(transaction).collect();
        let batch: Vec<Write> = begun.iter().map(begin).collect();
        let patience = Duration::from_micros(round * 150);
        let dropped = tokio::time::timeout(patience, apply(store, &batch)).await;
        // The same batch again waits for any lock that the dropped call still holds.
        match apply(store, &batch).await {
            Ok(()) => assert!(!matches!(dropped, Ok(Ok(()))), "it was begun twice"),
            Err(error) => assert_eq!(error.kind, ApplyFailure::Moved, "{error}"),
        }
        let ids: Vec<_> = begun.iter().map(Transaction::id).collect();
        assert_eq!(store.load(&ids).await.unwrap().len(), begun.len());
    }
}

pub async fn racing_changes_have_one_winner<D: Database>(database: &mut D) {
    let store = database.store();
    let begun = transaction(0);
    begin_all(store, std::slice::from_ref(&begun)).await;
    let race = |decision| {
        let after = decided(&begun, decision);
        let write = change(&begun, &after);
        async move { (apply(store, &[write]).await, after) }
    };
    let (one, other) = tokio::join!(race(success()), race(failure()));
    let (winner, loser) = if one.0.is_ok() {
        (one, other)
    } else {
        (other, one)
    };
    winner.0.unwrap();
    assert_eq!(kind(loser.0), Err(ApplyFailure::Moved));
    assert_stands(store, &winner.1).await;
    let stands = load_one(store, id(0)).await.unwrap();
    assert!(
        stands
            .actions
            .iter()
            .all(|action| action.state.status != ActionStatus::Confirmed)
    );
}
