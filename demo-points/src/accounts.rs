//! The accounts: every movement of points, each one in the caller's open database transaction.

use demo_service::check_name;
use sqlx::{Row, SqliteConnection, SqlitePool};

use crate::proto::Kind;
use crate::seed::Seed;

/// The most points that one movement takes.
pub const MAX_POINTS: i64 = 1_000_000_000;

const SCHEMA: &str = include_str!("schema.sql");

/// One movement of points.
#[derive(Clone, Copy, Debug)]
pub struct Movement<'a> {
    /// The transaction.
    pub tx_id: &'a str,
    /// The action's name in it.
    pub action: &'a str,
    /// The order.
    pub order_id: &'a str,
    /// Whose points.
    pub user: &'a str,
    /// Their number.
    pub points: i64,
}

/// Why nothing moved.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A business reason: the user cannot give these points.
    #[error("{0}")]
    Refused(String),
    /// The account does not hold what an earlier movement must have put there.
    #[error("{user} has {held} points {place}, {points} are to leave: an earlier step is missing")]
    NotThere {
        /// Whose account.
        user: String,
        /// The place in which the points should be.
        place: &'static str,
        /// The points there.
        held: i64,
        /// The points that are to leave.
        points: i64,
    },
    /// The database failed.
    #[error("the points database failed")]
    Database(#[from] sqlx::Error),
}

/// The places of an account that points move between.
struct Route {
    from: &'static str,
    update: &'static str,
}

fn route(kind: Kind) -> Route {
    let (from, update) = match kind {
        Kind::Freeze => (
            "available",
            "UPDATE account SET available = available - ?1, frozen = frozen + ?1 \
             WHERE user = ?2 AND available >= ?1",
        ),
        Kind::Spend => (
            "frozen",
            "UPDATE account SET frozen = frozen - ?1, spent = spent + ?1 \
             WHERE user = ?2 AND frozen >= ?1",
        ),
        Kind::Release => (
            "frozen",
            "UPDATE account SET frozen = frozen - ?1, available = available + ?1 \
             WHERE user = ?2 AND frozen >= ?1",
        ),
        Kind::Deduct => (
            "available",
            "UPDATE account SET available = available - ?1, spent = spent + ?1 \
             WHERE user = ?2 AND available >= ?1",
        ),
        Kind::Refund => (
            "spent",
            "UPDATE account SET spent = spent - ?1, available = available + ?1 \
             WHERE user = ?2 AND spent >= ?1",
        ),
        Kind::Unspecified => unreachable!("no movement has this kind"),
    };
    Route { from, update }
}

/// The beginning of a kind's name on the wire; the ledger stores the rest.
const KIND_PREFIX: &str = "KIND_";

fn word(kind: Kind) -> &'static str {
    kind.as_str_name().trim_start_matches(KIND_PREFIX)
}

/// Reads a kind as the ledger stores it.
pub(crate) fn kind_from_word(word: &str) -> Result<Kind, sqlx::Error> {
    Kind::from_str_name(&format!("{KIND_PREFIX}{word}"))
        .ok_or_else(|| sqlx::Error::Decode("the ledger has an unknown kind".into()))
}

/// Makes the tables where they are missing and opens the seed's accounts that do not exist yet.
pub async fn prepare(pool: &SqlitePool, seed: &Seed) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(SCHEMA).execute(pool).await?;
    let mut tx = pool.begin().await?;
    for account in &seed.accounts {
        sqlx::query(
            "INSERT INTO account (user, opening, available) VALUES (?1, ?2, ?2) \
             ON CONFLICT DO NOTHING",
        )
        .bind(&account.user)
        .bind(account.points)
        .execute(&mut *tx)
        .await?;
    }
    tx.commit().await
}

/// Makes one movement and writes it into the ledger.
pub async fn apply(
    conn: &mut SqliteConnection,
    kind: Kind,
    movement: &Movement<'_>,
) -> Result<(), Error> {
    check(movement)?;
    let route = route(kind);
    let moved = sqlx::query(route.update)
        .bind(movement.points)
        .bind(movement.user)
        .execute(&mut *conn)
        .await?;
    if moved.rows_affected() == 0 {
        return Err(why_not(conn, kind, &route, movement).await?);
    }
    sqlx::query(
        "INSERT INTO ledger (tx_id, action, order_id, user, kind, points) \
         VALUES (?, ?, ?, ?, ?, ?)",
    )
    .bind(movement.tx_id)
    .bind(movement.action)
    .bind(movement.order_id)
    .bind(movement.user)
    .bind(word(kind))
    .bind(movement.points)
    .execute(conn)
    .await?;
    Ok(())
}

fn check(movement: &Movement<'_>) -> Result<(), Error> {
    check_name("user", movement.user).map_err(Error::Refused)?;
    check_name("order_id", movement.order_id).map_err(Error::Refused)?;
    if !(1..=MAX_POINTS).contains(&movement.points) {
        let points = movement.points;
        return Err(Error::Refused(format!(
            "points is {points}, it must be 1 to {MAX_POINTS}"
        )));
    }
    Ok(())
}

/// Finds out why an update changed no row: the account is missing, or it holds too little.
async fn why_not(
    conn: &mut SqliteConnection,
    kind: Kind,
    route: &Route,
    movement: &Movement<'_>,
) -> Result<Error, sqlx::Error> {
    let row = sqlx::query("SELECT available, frozen, spent FROM account WHERE user = ?")
        .bind(movement.user)
        .fetch_optional(conn)
        .await?;
    let Some(row) = row else {
        return Ok(Error::Refused("unknown user".to_owned()));
    };
    if matches!(kind, Kind::Freeze | Kind::Deduct) {
        return Ok(Error::Refused("short of points".to_owned()));
    }
    Ok(Error::NotThere {
        user: movement.user.to_owned(),
        place: route.from,
        held: row.try_get(route.from)?,
        points: movement.points,
    })
}
