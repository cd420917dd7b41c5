//! The stock: every movement of a coupon, each one in the caller's open database transaction.

use demo_service::check_name;
use sqlx::{SqliteConnection, SqlitePool};

use crate::proto::Kind;
use crate::seed::Seed;

const SCHEMA: &str = include_str!("schema.sql");

/// One movement of a coupon.
#[derive(Clone, Copy, Debug)]
pub struct Movement<'a> {
    /// The transaction.
    pub tx_id: &'a str,
    /// The action's name in it.
    pub action: &'a str,
    /// The order.
    pub order_id: &'a str,
    /// For whom.
    pub user: &'a str,
    /// Of which kind the coupon is.
    pub coupon: &'a str,
}

/// Why nothing moved.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A business reason: the user cannot have this coupon.
    #[error("{0}")]
    Refused(String),
    /// What an earlier movement must have put there is not there.
    #[error("{user} has no {coupon} coupon that is {place}: an earlier step is missing")]
    NotThere {
        /// For whom.
        user: String,
        /// Of which kind.
        coupon: String,
        /// The place in which it should be.
        place: &'static str,
    },
    /// The database failed.
    #[error("the coupons database failed")]
    Database(#[from] sqlx::Error),
}

/// The statements that move one coupon: ?1 is its kind, ?2 the user.
struct Route {
    from: &'static str,
    stock: &'static str,
    holding: &'static str,
}

const RESERVE: Route = Route {
    from: "available",
    stock: "UPDATE stock SET available = available - 1, reserved = reserved + 1 \
            WHERE kind = ?1 AND available > 0",
    holding: "UPDATE holding SET reserved = reserved + 1 WHERE kind = ?1 AND user = ?2 \
              AND reserved + issued < (SELECT per_user FROM stock WHERE kind = ?1)",
};
const ISSUE: Route = Route {
    from: "reserved",
    stock: "UPDATE stock SET reserved = reserved - 1, issued = issued + 1 \
            WHERE kind = ?1 AND reserved > 0",
    holding: "UPDATE holding SET reserved = reserved - 1, issued = issued + 1 \
              WHERE kind = ?1 AND user = ?2 AND reserved > 0",
};
const RELEASE: Route = Route {
    from: "reserved",
    stock: "UPDATE stock SET reserved = reserved - 1, available = available + 1 \
            WHERE kind = ?1 AND reserved > 0",
    holding: "UPDATE holding SET reserved = reserved - 1 \
              WHERE kind = ?1 AND user = ?2 AND reserved > 0",
};
const GRANT: Route = Route {
    from: "available",
    stock: "UPDATE stock SET available = available - 1, issued = issued + 1 \
            WHERE kind = ?1 AND available > 0",
    holding: "UPDATE holding SET issued = issued + 1 WHERE kind = ?1 AND user = ?2 \
              AND reserved + issued < (SELECT per_user FROM stock WHERE kind = ?1)",
};
const REVOKE: Route = Route {
    from: "issued",
    stock: "UPDATE stock SET issued = issued - 1, available = available + 1 \
            WHERE kind = ?1 AND issued > 0",
    holding: "UPDATE holding SET issued = issued - 1 \
              WHERE kind = ?1 AND user = ?2 AND issued > 0",
};

fn route(kind: Kind) -> &'static Route {
    match kind {
        Kind::Reserve => &RESERVE,
        Kind::Issue => &ISSUE,
        Kind::Release => &RELEASE,
        Kind::Grant => &GRANT,
        Kind::Revoke => &REVOKE,
        Kind::Unspecified => unreachable!("no movement has this kind"),
    }
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

/// Makes the tables where they are missing and stocks the seed's kinds that do not exist yet.
pub async fn prepare(pool: &SqlitePool, seed: &Seed) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(SCHEMA).execute(pool).await?;
    let mut tx = pool.begin().await?;
    for coupon in &seed.coupons {
        sqlx::query(
            "INSERT INTO stock (kind, opening, available, per_user) VALUES (?1, ?2, ?2, ?3) \
             ON CONFLICT DO NOTHING",
        )
        .bind(&coupon.kind)
        .bind(coupon.stock)
        .bind(coupon.per_user)
        .execute(&mut *tx)
        .await?;
    }
    tx.commit().await
}

/// Makes one movement and writes it into the ledger.
///
/// After an error the caller rolls back: part of the movement may stand in its transaction.
pub async fn apply(
    conn: &mut SqliteConnection,
    kind: Kind,
    movement: &Movement<'_>,
) -> Result<(), Error> {
    check_name("user", movement.user).map_err(Error::Refused)?;
    check_name("kind", movement.coupon).map_err(Error::Refused)?;
    check_name("order_id", movement.order_id).map_err(Error::Refused)?;
    let route = route(kind);
    if matches!(kind, Kind::Reserve | Kind::Grant) {
        admit(conn, movement).await?;
    }
    for (statement, refusal) in [
        (route.stock, "sold out"),
        (route.holding, "the user's limit is reached"),
    ] {
        let moved = sqlx::query(statement)
            .bind(movement.coupon)
            .bind(movement.user)
            .execute(&mut *conn)
            .await?;
        if moved.rows_affected() == 0 {
            return Err(match kind {
                Kind::Reserve | Kind::Grant => Error::Refused(refusal.to_owned()),
                _ => not_there(route, movement),
            });
        }
    }
    hand_over(conn, kind, movement).await?;
    record(conn, kind, movement).await
}

fn not_there(route: &Route, movement: &Movement<'_>) -> Error {
    Error::NotThere {
        user: movement.user.to_owned(),
        coupon: movement.coupon.to_owned(),
        place: route.from,
    }
}

/// Makes sure that the kind exists and that the user has a row to count in.
async fn admit(conn: &mut SqliteConnection, movement: &Movement<'_>) -> Result<(), Error> {
    let known = sqlx::query("SELECT 1 FROM stock WHERE kind = ?")
        .bind(movement.coupon)
        .fetch_optional(&mut *conn)
        .await?;
    if known.is_none() {
        return Err(Error::Refused("unknown kind of coupon".to_owned()));
    }
    sqlx::query("INSERT INTO holding (user, kind) VALUES (?, ?) ON CONFLICT DO NOTHING")
        .bind(movement.user)
        .bind(movement.coupon)
        .execute(conn)
        .await?;
    Ok(())
}

/// Makes the coupon that is issued, and takes away the one that is revoked.
async fn hand_over(
    conn: &mut SqliteConnection,
    kind: Kind,
    movement: &Movement<'_>,
) -> Result<(), Error> {
    match kind {
        Kind::Issue | Kind::Grant => {
            sqlx::query("INSERT INTO coupon (kind, user, order_id, tx_id) VALUES (?, ?, ?, ?)")
                .bind(movement.coupon)
                .bind(movement.user)
                .bind(movement.order_id)
                .bind(movement.tx_id)
                .execute(conn)
                .await?;
        }
        Kind::Revoke => {
            let row = sqlx::query(
                "DELETE FROM coupon WHERE number = \
                 (SELECT MIN(number) FROM coupon WHERE tx_id = ? AND kind = ?) RETURNING number",
            )
            .bind(movement.tx_id)
            .bind(movement.coupon)
            .fetch_optional(conn)
            .await?;
            if row.is_none() {
                return Err(not_there(&REVOKE, movement));
            }
        }
        Kind::Reserve | Kind::Release | Kind::Unspecified => {}
    }
    Ok(())
}

async fn record(
    conn: &mut SqliteConnection,
    kind: Kind,
    movement: &Movement<'_>,
) -> Result<(), Error> {
    sqlx::query(
        "INSERT INTO ledger (tx_id, action, order_id, user, coupon, kind) \
         VALUES (?, ?, ?, ?, ?, ?)",
    )
    .bind(movement.tx_id)
    .bind(movement.action)
    .bind(movement.order_id)
    .bind(movement.user)
    .bind(movement.coupon)
    .bind(word(kind))
    .execute(conn)
    .await?;
    Ok(())
}
