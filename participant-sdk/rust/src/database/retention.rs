//! The time for which rows are kept, and the horizon below which a missing row means nothing.
//!
//! A row that was removed must not be taken for one that was never there: a Try would run again, a
//! check-back would answer FAILURE for what was committed. Each side may have a retention of its own
//! and a clock of its own, so [`Barrier::purge`] notes in the table how far it went, in the same local
//! transaction. That note is a row too: its `tx_id` is the nil UUID, its state `PURGED`, and its
//! `rejection` the horizon, an id.

use std::time::Duration;

use sqlx::Connection as _;
use tercet_barrier::expired;
use uuid::Uuid;

use super::{
    Barrier, Bind, Connection, Database,
    barrier::{millis, now_ms},
    local::uninterrupted,
    rows::{self, Key},
};
use crate::context::begun_ms;

/// The shortest time for which final rows are kept: the longest phase one, 7 days, after which the
/// coordinator first asks back, and one day.
pub const MIN_RETENTION: Duration = Duration::from_hours(8 * 24);

/// The age up to which no row has been removed, however wrong a clock is: [`MIN_RETENTION`] less a
/// week. The horizon is read for older transactions only.
const NEVER_REMOVED: Duration = Duration::from_hours(24);

const PURGED: &str = "PURGED";
/// Reads the horizon without waiting for a purge that is under way.
const READ_HORIZON: &str = "SELECT state, result, rejection FROM tercet_barrier \
     WHERE tx_id = '00000000-0000-0000-0000-000000000000' AND action = ''";

impl<D: Database> Barrier<D> {
    /// Removes at most `limit` rows that have been final for the [`retention`](Self::retention). Returns
    /// the number of rows removed: call it again while that is `limit`.
    ///
    /// From then on every operation and every check-back of a transaction that is old enough to be among
    /// them and has no row is UNKNOWN, through every barrier of this table.
    ///
    /// A row that is still TRIED stays. Every committed action in mode COMPENSATE leaves one, and it
    /// does not show that its transaction is final.
    ///
    /// Runs as a task of its own: a future that is dropped only stops waiting for the answer.
    pub async fn purge(&self, limit: u32) -> Result<u64, sqlx::Error> {
        let barrier = self.clone();
        uninterrupted(async move { barrier.remove(limit).await }).await
    }

    async fn remove(&self, limit: u32) -> Result<u64, sqlx::Error> {
        let horizon = first_id_of(now_ms().saturating_sub(millis(self.kept_for())));
        let seconds = i64::try_from(self.kept_for().as_secs()).unwrap_or(i64::MAX);
        let binds = [
            Bind::Text(&horizon),
            Bind::Number(seconds),
            Bind::Number(i64::from(limit)),
        ];
        let _turn = self.turn().await;
        let mut connection = self.pool().acquire().await?;
        let mut local = connection.begin_with(D::STATEMENTS.begin).await?;
        let removed = D::execute(&mut local, D::STATEMENTS.purge, &binds).await?;
        if removed > 0 {
            raise_horizon::<D>(&mut local, &horizon).await?;
        }
        local.commit().await?;
        Ok(removed)
    }

    /// Returns true if a row of this transaction may have been removed by the time that this barrier
    /// keeps them.
    pub(super) fn is_expired(&self, tx_id: Uuid) -> bool {
        expired(begun_ms(tx_id), now_ms(), self.kept_for())
    }
}

/// Returns true if a row of this transaction may have been removed by any barrier of this table. Asked
/// after the row was found absent, in the same local transaction.
pub(super) async fn is_below_horizon<D: Database>(
    local: &mut Connection<D>,
    tx_id: Uuid,
) -> Result<bool, sqlx::Error> {
    let horizon = D::fetch(local, READ_HORIZON, &[]).await?;
    Ok(horizon.is_some_and(|row| tx_id.to_string() < row.rejection))
}

/// The same, without a statement for a transaction that is too young.
pub(super) async fn may_be_removed<D: Database>(
    local: &mut Connection<D>,
    tx_id: Uuid,
) -> Result<bool, sqlx::Error> {
    if expired(begun_ms(tx_id), now_ms(), NEVER_REMOVED) {
        is_below_horizon::<D>(local, tx_id).await
    } else {
        Ok(false)
    }
}

async fn raise_horizon<D: Database>(
    local: &mut Connection<D>,
    horizon: &str,
) -> Result<(), sqlx::Error> {
    let key = Key::of(Uuid::nil(), "");
    if rows::insert::<D>(local, &key, PURGED, horizon).await? {
        return Ok(());
    }
    let before = rows::read::<D>(local, &key).await?;
    if before.is_none_or(|row| row.rejection.as_str() < horizon) {
        rows::update::<D>(local, &key, PURGED, &[], horizon).await?;
    }
    Ok(())
}

/// Returns the smallest transaction id of that millisecond, as it is stored.
fn first_id_of(ms: u64) -> String {
    uuid::Builder::from_unix_timestamp_millis(ms, &[0; 10])
        .into_uuid()
        .to_string()
}
