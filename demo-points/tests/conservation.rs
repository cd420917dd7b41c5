//! Points are neither lost nor made, whatever is asked for in whatever order.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use demo_points::accounts::{Error, MAX_POINTS, Movement, apply, prepare};
use demo_points::proto::Kind;
use demo_points::seed::Seed;
use demo_service::SeedPart;
use proptest::prelude::*;
use sqlx::{Row, SqlitePool};

const SEED: &str = r#"
    [[account]]
    user = "ann"
    points = 100

    [[account]]
    user = "bob"
    points = 30
"#;

const KINDS: [Kind; 5] = [
    Kind::Freeze,
    Kind::Spend,
    Kind::Release,
    Kind::Deduct,
    Kind::Refund,
];

/// (available, frozen, spent)
type Balance = (i64, i64, i64);

/// What a movement makes of a balance; none: it is not possible.
fn model((available, frozen, spent): Balance, kind: Kind, points: i64) -> Option<Balance> {
    let after = match kind {
        Kind::Freeze => (available - points, frozen + points, spent),
        Kind::Spend => (available, frozen - points, spent + points),
        Kind::Release => (available + points, frozen - points, spent),
        Kind::Deduct => (available - points, frozen, spent + points),
        Kind::Refund => (available + points, frozen, spent - points),
        Kind::Unspecified => return None,
    };
    (after.0 >= 0 && after.1 >= 0 && after.2 >= 0).then_some(after)
}

fn movement(user: &str, points: i64) -> Movement<'_> {
    Movement {
        tx_id: "tx",
        action: "act",
        order_id: "order",
        user,
        points,
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

async fn balance(pool: &SqlitePool, user: &str) -> Balance {
    let row = sqlx::query("SELECT * FROM account WHERE user = ?")
        .bind(user)
        .fetch_one(pool)
        .await
        .unwrap();
    (row.get("available"), row.get("frozen"), row.get("spent"))
}

async fn replay(pool: &SqlitePool) -> BTreeMap<String, Balance> {
    let mut balances = BTreeMap::from([
        ("ann".to_owned(), (100, 0, 0)),
        ("bob".to_owned(), (30, 0, 0)),
    ]);
    for row in sqlx::query("SELECT * FROM ledger ORDER BY number")
        .fetch_all(pool)
        .await
        .unwrap()
    {
        let kind = Kind::from_str_name(&format!("KIND_{}", row.get::<String, _>("kind"))).unwrap();
        let balance = balances.get_mut(&row.get::<String, _>("user")).unwrap();
        *balance = model(*balance, kind, row.get("points")).unwrap();
    }
    balances
}

async fn run(steps: Vec<(bool, usize, i64)>) {
    let pool = database().await;
    let mut expected = BTreeMap::from([
        ("ann".to_owned(), (100, 0, 0)),
        ("bob".to_owned(), (30, 0, 0)),
    ]);
    for (ann, kind, points) in steps {
        let user = if ann { "ann" } else { "bob" };
        let before = expected[user];
        let possible = if points > 0 {
            model(before, KINDS[kind], points)
        } else {
            None
        };
        let outcome = attempt(&pool, KINDS[kind], &movement(user, points)).await;
        assert_eq!(
            outcome.is_ok(),
            possible.is_some(),
            "{:?} {points}: {outcome:?}",
            KINDS[kind]
        );
        expected.insert(user.to_owned(), possible.unwrap_or(before));
        assert_eq!(balance(&pool, user).await, expected[user]);
    }
    assert_eq!(
        replay(&pool).await,
        expected,
        "the ledger tells the same as the accounts"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn accounts_and_ledger_agree(
        steps in prop::collection::vec((any::<bool>(), 0..KINDS.len(), -2_i64..60), 1..60)
    ) {
        tokio::runtime::Runtime::new().unwrap().block_on(run(steps));
    }
}

#[tokio::test]
async fn what_cannot_be_given_is_refused_with_the_reason() {
    let pool = database().await;
    for (kind, user, points, reason) in [
        (Kind::Freeze, "cid", 1, "unknown user"),
        (Kind::Deduct, "bob", 31, "short of points"),
        (Kind::Freeze, "bob", 0, "points is 0"),
        (Kind::Freeze, "bob", -5, "points is -5"),
        (Kind::Deduct, "bob", MAX_POINTS + 1, "points is 1000000001"),
        (Kind::Freeze, "", 1, "user is empty"),
        (Kind::Freeze, "bo\0b", 1, "user has a control character"),
    ] {
        let refused = attempt(&pool, kind, &movement(user, points))
            .await
            .unwrap_err();
        assert!(
            matches!(&refused, Error::Refused(why) if why.contains(reason)),
            "{refused:?}"
        );
    }
    assert_eq!(balance(&pool, "bob").await, (30, 0, 0));
}

#[tokio::test]
async fn what_was_never_frozen_is_an_error_and_no_refusal() {
    let pool = database().await;
    for kind in [Kind::Spend, Kind::Release, Kind::Refund] {
        let error = attempt(&pool, kind, &movement("ann", 7)).await.unwrap_err();
        assert!(
            matches!(
                error,
                Error::NotThere {
                    held: 0,
                    points: 7,
                    ..
                }
            ),
            "{error:?}"
        );
    }
}

#[tokio::test]
async fn a_second_start_leaves_balances_as_they_are() {
    let pool = database().await;
    attempt(&pool, Kind::Freeze, &movement("ann", 40))
        .await
        .unwrap();
    prepare(&pool, &Seed::parse(SEED).unwrap()).await.unwrap();
    assert_eq!(balance(&pool, "ann").await, (60, 40, 0));
}

#[test]
fn a_wrong_seed_is_refused_with_every_mistake() {
    let error = Seed::parse(
        "[[account]]\nuser = \"\"\npoints = 1\n[[account]]\nuser = \"b\"\npoints = -1\n\
         [[account]]\nuser = \"b\"\npoints = 2\n",
    )
    .unwrap_err();
    for mistake in [
        "account.user is empty",
        "\"b\" has -1 points",
        "\"b\" is there twice",
    ] {
        assert!(error.contains(mistake), "{error}");
    }
    assert!(Seed::parse("").unwrap_err().contains("no [[account]]"));
    assert!(
        Seed::parse("[[account]]\nuser = 1")
            .unwrap_err()
            .contains("not a seed file")
    );
    assert!(
        Seed::parse("[[account]]\nuser='a'\npoint=1")
            .unwrap_err()
            .contains("point")
    );
}
