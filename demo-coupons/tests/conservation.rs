//! Coupons are neither lost nor made, whatever is asked for in whatever order.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use demo_coupons::proto::Kind;
use demo_coupons::seed::Seed;
use demo_coupons::stock::{Error, Movement, apply, prepare};
use demo_service::SeedPart;
use proptest::prelude::*;
use sqlx::{Row, SqlitePool};

const SEED: &str = r#"
    [[coupon]]
    kind = "tea"
    stock = 3
    per_user = 2
"#;
const STOCK: i64 = 3;
const PER_USER: i64 = 2;

const KINDS: [Kind; 5] = [
    Kind::Reserve,
    Kind::Issue,
    Kind::Release,
    Kind::Grant,
    Kind::Revoke,
];

/// By user: (reserved, transactions of the coupons issued).
type Coupons = BTreeMap<&'static str, (i64, Vec<String>)>;

/// What a movement makes of what users hold; none: it is not possible.
fn model(held: &Coupons, kind: Kind, user: &'static str, tx_id: &str) -> Option<Coupons> {
    let taken: i64 = held
        .values()
        .map(|(reserved, issued)| reserved + count(issued))
        .sum();
    let mut after = held.clone();
    let (reserved, issued) = after.entry(user).or_default();
    let may_have = taken < STOCK && *reserved + count(issued) < PER_USER;
    match kind {
        Kind::Reserve if may_have => *reserved += 1,
        Kind::Grant if may_have => issued.push(tx_id.to_owned()),
        Kind::Issue if *reserved > 0 => {
            *reserved -= 1;
            issued.push(tx_id.to_owned());
        }
        Kind::Release if *reserved > 0 => *reserved -= 1,
        Kind::Revoke => {
            let place = issued.iter().position(|issued_by| issued_by == tx_id)?;
            issued.remove(place);
        }
        _ => return None,
    }
    Some(after)
}

fn count(issued: &[String]) -> i64 {
    i64::try_from(issued.len()).unwrap()
}

fn movement<'a>(user: &'a str, coupon: &'a str, tx_id: &'a str) -> Movement<'a> {
    Movement {
        tx_id,
        action: "act",
        order_id: "order",
        user,
        coupon,
    }
}

async fn database() -> SqlitePool {
    let pool = sqlx::sqlite::SqlitePoolOptions::new()
        .max_connections(1)
        .connect("sqlite::memory:")
        .await
        .unwrap();
    prepare(&pool, &Seed::parse(SEED).unwrap()).await.unwrap();
    pool
}

/// Makes the movement in a database transaction of its own, as an action does.
async fn attempt(pool: &SqlitePool, kind: Kind, movement: &Movement<'_>) -> Result<(), Error> {
    let mut tx = pool.begin().await.unwrap();
    apply(&mut tx, kind, movement).await?;
    tx.commit().await.unwrap();
    Ok(())
}

async fn number(pool: &SqlitePool, statement: &'static str) -> i64 {
    sqlx::query(statement).fetch_one(pool).await.unwrap().get(0)
}

async fn check(pool: &SqlitePool, held: &Coupons) {
    let reserved: i64 = held.values().map(|(reserved, _)| reserved).sum();
    let issued: i64 = held.values().map(|(_, issued)| count(issued)).sum();
    assert_eq!(
        number(pool, "SELECT available FROM stock").await,
        STOCK - reserved - issued
    );
    assert_eq!(number(pool, "SELECT reserved FROM stock").await, reserved);
    assert_eq!(number(pool, "SELECT issued FROM stock").await, issued);
    assert_eq!(number(pool, "SELECT COUNT(*) FROM coupon").await, issued);
    assert_eq!(
        number(pool, "SELECT COALESCE(SUM(issued), 0) FROM holding").await,
        issued,
        "the limit is counted over what users hold"
    );
}

async fn run(steps: Vec<(bool, usize, u8)>) {
    let pool = database().await;
    let mut held = Coupons::new();
    let mut moved = 0;
    for (ann, kind, tx) in steps {
        let user = if ann { "ann" } else { "bob" };
        // A transaction belongs to one user.
        let tx_id = format!("{user}-{tx}");
        let possible = model(&held, KINDS[kind], user, &tx_id);
        let outcome = attempt(&pool, KINDS[kind], &movement(user, "tea", &tx_id)).await;
        assert_eq!(
            outcome.is_ok(),
            possible.is_some(),
            "{:?} {tx_id}: {outcome:?}",
            KINDS[kind]
        );
        if let Some(after) = possible {
            held = after;
            moved += 1;
        }
        check(&pool, &held).await;
    }
    assert_eq!(number(&pool, "SELECT COUNT(*) FROM ledger").await, moved);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn stock_holdings_and_coupons_agree(
        steps in prop::collection::vec((any::<bool>(), 0..KINDS.len(), 0_u8..3), 1..40)
    ) {
        tokio::runtime::Runtime::new().unwrap().block_on(run(steps));
    }
}

#[tokio::test]
async fn what_cannot_be_had_is_refused_with_the_reason() {
    let pool = database().await;
    let refusal = async |user, coupon| {
        let refused = attempt(&pool, Kind::Reserve, &movement(user, coupon, "t"))
            .await
            .unwrap_err();
        match refused {
            Error::Refused(why) => why,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(refusal("ann", "coffee").await, "unknown kind of coupon");
    assert_eq!(refusal("", "tea").await, "user is empty");
    for _ in 0..PER_USER {
        attempt(&pool, Kind::Reserve, &movement("ann", "tea", "t"))
            .await
            .unwrap();
    }
    assert_eq!(refusal("ann", "tea").await, "the user's limit is reached");
    attempt(&pool, Kind::Grant, &movement("bob", "tea", "t"))
        .await
        .unwrap();
    assert_eq!(refusal("cid", "tea").await, "sold out");
}

#[tokio::test]
async fn what_was_never_reserved_is_an_error_and_no_refusal() {
    let pool = database().await;
    attempt(&pool, Kind::Grant, &movement("bob", "tea", "other"))
        .await
        .unwrap();
    for kind in [Kind::Issue, Kind::Release, Kind::Revoke] {
        let error = attempt(&pool, kind, &movement("ann", "tea", "t"))
            .await
            .unwrap_err();
        assert!(matches!(error, Error::NotThere { .. }), "{error:?}");
    }
    let error = attempt(&pool, Kind::Revoke, &movement("bob", "tea", "t"))
        .await
        .unwrap_err();
    assert!(
        matches!(error, Error::NotThere { .. }),
        "another transaction's coupon: {error:?}"
    );
}

#[test]
fn a_wrong_seed_is_refused_with_every_mistake() {
    let error = Seed::parse(
        "[[coupon]]\nkind = \"\"\nstock = 1\nper_user = 1\n\
         [[coupon]]\nkind = \"b\"\nstock = -1\nper_user = 0\n",
    )
    .unwrap_err();
    for mistake in ["coupon.kind is empty", "a stock of -1", "0 per user"] {
        assert!(error.contains(mistake), "{error}");
    }
    assert!(Seed::parse("").unwrap_err().contains("no [[coupon]]"));
}
