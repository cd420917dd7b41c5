//! A sheet that is right balances, and each single wrong entry is named.

#![allow(clippy::unwrap_used)]

use demo_coupons::proto as coupons;
use demo_points::proto as points;
use prost::Message;
use tercet_proto::v1::{Action, ActionView, BizStatus, Transaction, TxStatus};

use super::{Evidence, Sheet};
use crate::args::Mode;
use crate::event::OrderAnswer;
use crate::orders::Orders;
use crate::seeds::Seeds;
use crate::{COUPON_ACTION, POINTS_ACTION};

const SEED: &str = "[[account]]\nuser = \"ann\"\npoints = 100\n\
                    [[coupon]]\nkind = \"tea\"\nstock = 5\nper_user = 5\n";
/// o-1 is committed and repeated, o-2 is rolled back after both Tries.
const ORDERS: &[u8] =
    b"order_id,user,points,coupon\no-1,ann,30,tea\no-2,ann,20,tea\no-1,ann,30,tea\n";

fn view(name: &str, payload: Vec<u8>) -> ActionView {
    let action = Action {
        name: name.to_owned(),
        payload: payload.into(),
        ..Action::default()
    };
    ActionView {
        action: Some(action),
        ..ActionView::default()
    }
}

fn transaction(tx_id: &str, order_id: &str, points: i64, biz: BizStatus) -> Transaction {
    let [user, order_id, kind] = ["ann", order_id, "tea"].map(str::to_owned);
    let take_points = points::TakePoints {
        user: user.clone(),
        points,
        order_id: order_id.clone(),
    };
    let take_coupon = coupons::TakeCoupon {
        user,
        kind,
        order_id: order_id.clone(),
    };
    Transaction {
        tx_id: tx_id.to_owned(),
        business_id: order_id,
        status: TxStatus::Success.into(),
        biz_status: biz.into(),
        actions: vec![
            view(POINTS_ACTION, take_points.encode_to_vec()),
            view(COUPON_ACTION, take_coupon.encode_to_vec()),
        ],
        ..Transaction::default()
    }
}

fn moved(tx_id: &str, kind: points::Kind, points: i64) -> points::Entry {
    points::Entry {
        tx_id: tx_id.to_owned(),
        user: "ann".to_owned(),
        kind: kind.into(),
        points,
        ..points::Entry::default()
    }
}

fn handed(tx_id: &str, kind: coupons::Kind) -> coupons::Entry {
    coupons::Entry {
        tx_id: tx_id.to_owned(),
        user: "ann".to_owned(),
        coupon: "tea".to_owned(),
        kind: kind.into(),
        ..coupons::Entry::default()
    }
}

fn decided(tx_id: &str, committed: bool) -> OrderAnswer {
    OrderAnswer::Decided {
        tx_id: tx_id.to_owned(),
        committed,
        repeated: false,
    }
}

fn right() -> Evidence {
    use coupons::Kind::{Issue, Reserve};
    use points::Kind::{Freeze, Release, Spend};
    Evidence {
        transactions: vec![
            transaction("t-1", "o-1", 30, BizStatus::Success),
            transaction("t-2", "o-2", 20, BizStatus::Failure),
        ],
        accounts: vec![points::Account {
            user: "ann".to_owned(),
            opening: 100,
            available: 70,
            frozen: 0,
            spent: 30,
        }],
        points_ledger: vec![
            moved("t-1", Freeze, 30),
            moved("t-2", Freeze, 20),
            moved("t-1", Spend, 30),
            moved("t-2", Release, 20),
        ],
        stocks: vec![coupons::Stock {
            kind: "tea".to_owned(),
            opening: 5,
            available: 4,
            reserved: 0,
            issued: 1,
            per_user: 5,
        }],
        coupons: vec![coupons::Coupon {
            number: 1,
            kind: "tea".to_owned(),
            user: "ann".to_owned(),
            tx_id: "t-1".to_owned(),
            ..coupons::Coupon::default()
        }],
        coupons_ledger: vec![
            handed("t-1", Reserve),
            handed("t-1", Issue),
            handed("t-2", Reserve),
            handed("t-2", coupons::Kind::Release),
        ],
        answers: [
            (2, decided("t-1", true)),
            (3, decided("t-2", false)),
            (4, decided("t-1", true)),
        ]
        .into(),
    }
}

fn draw(evidence: &Evidence) -> Sheet {
    let seeds = Seeds::parse(SEED).unwrap();
    let orders = Orders::read(ORDERS, &seeds).unwrap();
    Sheet::draw(Mode::Tcc, &orders, &seeds, evidence)
}

#[test]
fn books_that_agree_balance() {
    let sheet = draw(&right());
    assert_eq!(sheet.mismatches, Vec::<String>::new());
    assert_eq!((sheet.orders, sheet.matched, sheet.ended), (2, 2, 2));
    let endings: Vec<_> = sheet
        .endings
        .iter()
        .map(|(ending, count)| (ending.outcome, *count))
        .collect();
    assert_eq!(
        endings,
        [("committed", 1), ("repeated", 1), ("rolled back", 1)]
    );
}

#[test]
fn every_single_wrong_entry_is_named() {
    type Spoil = fn(&mut Evidence);
    let cases: [(Spoil, &str); 14] = [
        (
            |e| e.points_ledger.truncate(3),
            "points ledger: FREEZE, though it is rolled back",
        ),
        (
            |e| e.points_ledger.push(moved("t-1", points::Kind::Spend, 30)),
            "FREEZE, SPEND, SPEND",
        ),
        (
            |e| e.points_ledger[0].points = 31,
            "FREEZE of 31 from ann, it is 30 from ann",
        ),
        (
            |e| e.points_ledger[1].tx_id = "t-9".to_owned(),
            "unknown transaction t-9",
        ),
        (
            |e| e.coupons_ledger.truncate(3),
            "coupons ledger: RESERVE, though it is rolled back",
        ),
        (
            |e| e.coupons_ledger[1].user = "bob".to_owned(),
            "tea for bob, it is tea for ann",
        ),
        (|e| e.coupons.clear(), "coupons: 0 exist, there must be 1"),
        (|e| e.accounts[0].frozen = 1, "account ann: 1 still frozen"),
        (
            |e| e.accounts[0].opening = 99,
            "opened with 99, the seed says 100",
        ),
        (
            |e| e.stocks[0].issued = 2,
            "coupons: 2 are issued, 1 orders are committed",
        ),
        (
            |e| e.transactions.truncate(1),
            "order o-2 (line 3): 0 transactions, not one",
        ),
        (
            |e| e.transactions[1].status = TxStatus::Failure.into(),
            "it has not reached its end: parked, while cancelling",
        ),
        (
            |e| e.answers.insert(3, decided("t-2", true)).map_or((), drop),
            "answered committed",
        ),
        (
            |e| e.answers.remove(&4).map_or((), drop),
            "line 4 was not answered",
        ),
    ];
    for (spoil, named) in cases {
        let mut evidence = right();
        spoil(&mut evidence);
        let sheet = draw(&evidence);
        assert!(!sheet.balances(), "{named}");
        let found = sheet
            .mismatches
            .iter()
            .any(|mismatch| mismatch.contains(named));
        assert!(found, "{named}: {:#?}", sheet.mismatches);
    }
}
