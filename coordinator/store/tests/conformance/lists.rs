//! Lists for people.

use tercet_core::{
    id::TxId,
    model::{ActionStatus, BizStatus, CheckBack, Phase, Transaction, TxStatus},
};
use tercet_store::{LIST_LIMIT, ListQuery, Store};

use super::{
    Database,
    fixture::{
        action, assert_stands, at, at_once, at_rest, begin_all, decided, failure, finished, id,
        parked, respec, success, transaction, tx_row, with_actions,
    },
};

async fn ids(store: &dyn Store, query: &ListQuery) -> Vec<TxId> {
    let page = store.list(query).await.unwrap();
    page.into_iter()
        .map(|view| view.unwrap().tx.spec.id)
        .collect()
}

fn page(limit: u32) -> ListQuery {
    ListQuery {
        limit,
        ..ListQuery::default()
    }
}

pub async fn a_list_is_newest_first<D: Database>(database: &mut D) {
    let store = database.store();
    assert_eq!(store.list(&page(10)).await.unwrap(), []);
    let txs: Vec<Transaction> = (0..5).map(transaction).collect();
    begin_all(store, &txs).await;
    let listed = store.list(&page(10)).await.unwrap();
    assert_eq!(listed.len(), 5);
    for (view, tx) in listed.into_iter().zip(txs.iter().rev()) {
        let view = view.unwrap();
        assert_eq!(view.tx, tx_row(tx));
        assert_eq!((view.actions.len(), view.operator_log.len()), (0, 0));
    }
}

pub async fn a_list_goes_on_after_a_cursor<D: Database>(database: &mut D) {
    let store = database.store();
    let txs: Vec<Transaction> = (0..7).map(transaction).collect();
    begin_all(store, &txs).await;
    let mut query = page(3);
    let mut seen = Vec::new();
    loop {
        let found = ids(store, &query).await;
        assert!(found.len() <= 3);
        let Some(last) = found.last() else { break };
        query.before = Some(*last);
        seen.extend(found);
    }
    assert_eq!(seen, (0..7).rev().map(id).collect::<Vec<_>>());
}

pub async fn a_list_is_bounded<D: Database>(database: &mut D) {
    let store = database.store();
    let txs: Vec<Transaction> = (0..u64::from(LIST_LIMIT) + 10)
        .map(|n| with_actions(n, Vec::new()))
        .collect();
    begin_all(store, &txs).await;
    assert_eq!(ids(store, &page(u32::MAX)).await.len(), LIST_LIMIT as usize);
    assert_eq!(ids(store, &page(0)).await, []);
}

/// One transaction of each kind; the place in the list is the id.
fn one_of_each() -> Vec<Transaction> {
    let asked_back = respec(transaction(1), |spec| {
        spec.check_back = Some(CheckBack::of("shop".into()));
    });
    let asked_back = Transaction {
        phase: Phase::AskingBack { next: at(90_000) },
        ..asked_back
    };
    let asked_back = at_rest(&asked_back, &[("shop", 90_000)], None);
    let confirming = decided(&transaction(2), success());
    let confirming = at_rest(&confirming, &[("coupon-service", 10_022)], None);
    let cancelling = decided(&transaction(3), failure());
    let wants = [("coupon-service", 50_000), ("points-service", 10_023)];
    let cancelling = at_rest(&cancelling, &wants, None);
    let committed = finished(&decided(&transaction(4), success()));
    let rolled_back = finished(&decided(&transaction(5), failure()));
    let parked = parked(&decided(&transaction(6), success()));
    let other = respec(
        with_actions(7, vec![action("letter", "letter-service")]),
        |spec| spec.business_type = "newsletter".into(),
    );
    let other = at_rest(&other, &[], Some(10_007));
    let in_phase_one = at_rest(&transaction(0), &[], Some(10_000));
    let all = [
        in_phase_one,
        asked_back,
        confirming,
        cancelling,
        committed,
        rolled_back,
        parked,
        other,
        transaction(8),
    ];
    all.map(at_once).to_vec()
}

pub async fn a_list_filters<D: Database>(database: &mut D) {
    let store = database.store();
    let txs = one_of_each();
    begin_all(store, &txs).await;
    for tx in &txs {
        assert_stands(store, tx).await;
    }
    let statuses = |statuses: &[TxStatus]| ListQuery {
        statuses: statuses.to_vec(),
        ..page(100)
    };
    let decisions = |decisions: &[BizStatus]| ListQuery {
        biz_statuses: decisions.to_vec(),
        ..page(100)
    };
    let business = |business_type: Option<&str>, business_id: Option<&str>| ListQuery {
        business_type: business_type.map(Into::into),
        business_id: business_id.map(Into::into),
        ..page(100)
    };
    let participant = |name: &str| ListQuery {
        participant: Some(name.into()),
        ..page(100)
    };
    let stuck = |millis| ListQuery {
        stuck_since: Some(at(millis)),
        ..page(100)
    };
    let begun = |from: Option<i64>, until: Option<i64>| ListQuery {
        begun_from: from.map(at),
        begun_until: until.map(at),
        ..page(100)
    };
    let table: Vec<(ListQuery, &[u64])> = vec![
        (statuses(&[TxStatus::ProcessWaiting]), &[8, 7, 1, 0]),
        (statuses(&[TxStatus::Processing]), &[3, 2]),
        (statuses(&[TxStatus::Success]), &[5, 4]),
        (statuses(&[TxStatus::Failure]), &[6]),
        (
            statuses(&[TxStatus::Success, TxStatus::Failure]),
            &[6, 5, 4],
        ),
        (decisions(&[BizStatus::Unknown]), &[1]),
        (
            decisions(&[BizStatus::Init, BizStatus::Unknown]),
            &[8, 7, 1, 0],
        ),
        (decisions(&[BizStatus::Failure]), &[5, 3]),
        (business(Some("newsletter"), None), &[7]),
        (business(Some("NEWSLETTER"), None), &[]),
        (business(Some("points_for_coupon"), Some("order-4")), &[4]),
        (business(Some("newsletter"), Some("order-4")), &[]),
        (business(None, Some("order-4")), &[4]),
        (participant("letter-service"), &[7]),
        (participant("coupon-service"), &[8, 6, 5, 4, 3, 2, 1, 0]),
        (participant("coupon"), &[]),
        (begun(Some(5), None), &[8, 7, 6, 5]),
        (begun(None, Some(2)), &[2, 1, 0]),
        (begun(Some(2), Some(3)), &[3, 2]),
        (
            statuses(&[TxStatus::Failure, TxStatus::Processing]),
            &[6, 3, 2],
        ),
        // What could have gone on before: the end of phase one at 10,000 and 10,007, calls at 10,022 and 10,023. In
        // hand nothing is overdue.
        (stuck(0), &[6, 1]),
        (stuck(10_003), &[6, 1, 0]),
        (stuck(11_000), &[7, 6, 3, 2, 1, 0]),
    ];
    for (query, expected) in table {
        let expected: Vec<TxId> = expected.iter().copied().map(id).collect();
        assert_eq!(ids(store, &query).await, expected, "{query:?}");
    }
    let both = ListQuery {
        participant: Some("coupon-service".into()),
        before: Some(id(6)),
        limit: 2,
        ..decisions(&[BizStatus::Failure])
    };
    assert_eq!(ids(store, &both).await, [id(5), id(3)]);
}

/// A phase two whose calls fail is in the list before it is parked, but not one that has just begun; and each transaction
/// that is not finished is listed with its actions whose calls fail.
pub async fn a_list_shows_calls_that_fail<D: Database>(database: &mut D) {
    let store = database.store();
    let failing = |mut tx: Transaction| {
        tx.actions[1].state.last_error = "busy".into();
        at_once(tx)
    };
    let mut stuck = parked(&decided(&transaction(4), success()));
    stuck.actions[1].state.status = ActionStatus::Failed;
    let txs = [
        failing(transaction(0)),
        failing(decided(&transaction(1), success())),
        at_once(decided(&transaction(2), success())),
        failing(finished(&decided(&transaction(3), success()))),
        failing(stuck),
    ];
    begin_all(store, &txs).await;
    let stuck = |millis| ListQuery {
        stuck_since: Some(at(millis)),
        ..page(10)
    };
    assert_eq!(ids(store, &stuck(21)).await, [id(4)]);
    assert_eq!(ids(store, &stuck(1_000)).await, [id(4), id(1)]);
    let listed = store.list(&page(10)).await.unwrap();
    for view in listed {
        let view = view.unwrap();
        let number = txs
            .iter()
            .position(|tx| tx.id() == view.tx.spec.id)
            .unwrap();
        let errors: Vec<_> = view
            .failing
            .iter()
            .map(|action| (action.status, action.last_error.as_str()))
            .collect();
        let busy = (ActionStatus::Init, "busy");
        let expected = match number {
            2 | 3 => vec![],
            4 => vec![
                (ActionStatus::Failed, "the account is closed"),
                (ActionStatus::Failed, "busy"),
            ],
            _ => vec![busy],
        };
        assert_eq!(errors, expected, "{number}");
    }
}

pub async fn a_list_names_illegal_rows<D: Database>(database: &mut D) {
    let txs: Vec<Transaction> = (0..3).map(transaction).collect();
    begin_all(database.store(), &txs).await;
    let middle = D::literal(id(1));
    database
        .tamper(&format!(
            "UPDATE tx_info SET status = 'PENDING' WHERE tx_id = {middle}"
        ))
        .await;
    let listed = database.store().list(&page(10)).await.unwrap();
    let legal: Vec<bool> = listed.iter().map(Result::is_ok).collect();
    assert_eq!(legal, [true, false, true]);
    let illegal = listed[1].as_ref().unwrap_err();
    assert_eq!(illegal.id, id(1));
    assert!(illegal.what.contains("PENDING"), "{illegal}");
}
