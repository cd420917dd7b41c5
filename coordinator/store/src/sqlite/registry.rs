//! Nodes and participants: rows that change seldom.

use std::time::Duration;

use rusqlite::params;
use sqlx::{QueryBuilder, Sqlite, SqlitePool};
use tercet_core::{
    model::{Name, Owner},
    time::Timestamp,
    write::ApplyFailure,
};

use super::{
    cells::Cells,
    read::fetch,
    writer::{Writer, only_cell},
};
use crate::{
    StoreError, columns,
    view::{Incarnation, ParticipantRow, Renewal},
};

const START: &str = "INSERT INTO coordinator_node \
    (node_id, epoch, address, participants, lease_until, db_update_time) \
    VALUES (?1, 1, ?2, '[]', ?4 + ?3, ?4) ON CONFLICT (node_id) DO UPDATE SET epoch = epoch + 1, \
    address = excluded.address, participants = excluded.participants, \
    lease_until = excluded.lease_until, db_update_time = excluded.db_update_time \
    RETURNING epoch";
const LEASE: &str = "UPDATE coordinator_node SET db_update_time = ?4, lease_until = ?4 + ?3 \
    WHERE node_id = ?1 AND epoch = ?2 RETURNING epoch";
const PUT_PARTICIPANT: &str = "INSERT INTO participant_info \
    (participant, protocol, address, methods, policy, version, db_update_time) \
    VALUES (?, ?, ?, ?, ?, 1, ?) ON CONFLICT (participant) DO UPDATE SET \
    protocol = excluded.protocol, address = excluded.address, methods = excluded.methods, \
    policy = excluded.policy, version = version + 1, db_update_time = excluded.db_update_time \
    RETURNING version";

/// An answer that no statement of this store can have given.
fn odd(doing: &str, what: impl Into<String>) -> StoreError {
    StoreError::new(ApplyFailure::Fatal, doing, what)
}

fn micros(lease: Duration) -> i64 {
    i64::try_from(lease.as_micros()).unwrap_or(i64::MAX)
}

/// Raises the node's epoch and leases it.
pub(super) async fn start_node(
    writer: &Writer,
    node: &str,
    address: &str,
    lease: Duration,
) -> Result<Incarnation, StoreError> {
    let doing = format!("starting node {node}");
    let (name, address) = (node.to_owned(), address.to_owned());
    let (epoch, now) = writer
        .statement(&doing, move |connection, now| {
            let values = params![name, address, micros(lease), now];
            let epoch: Option<i64> = only_cell(connection, START, values)?;
            Ok(epoch.map(|epoch| (epoch, now)))
        })
        .await?
        .ok_or_else(|| odd(&doing, "the database returned nothing"))?;
    let epoch = u64::try_from(epoch).map_err(|_| odd(&doing, format!("its epoch is {epoch}")))?;
    Ok(Incarnation {
        owner: Owner {
            node: node.into(),
            epoch,
        },
        now: Timestamp::from_micros(now),
    })
}

/// Sets the lease's end, if the epoch is still the owner's; gives the clock.
async fn lease(
    writer: &Writer,
    doing: &str,
    owner: &Owner,
    lease: Duration,
) -> Result<Option<Timestamp>, StoreError> {
    let epoch = i64::try_from(owner.epoch)
        .map_err(|_| odd(doing, format!("epoch {} cannot be", owner.epoch)))?;
    let node = Name::clone(&owner.node);
    let now = writer.statement(doing, move |connection, now| {
        let values = params![node, epoch, micros(lease), now];
        let found: Option<i64> = only_cell(connection, LEASE, values)?;
        Ok(found.map(|_| now))
    });
    Ok(now.await?.map(Timestamp::from_micros))
}

/// Renews the lease, or finds a later incarnation.
pub(super) async fn renew(
    writer: &Writer,
    pool: &SqlitePool,
    owner: &Owner,
    length: Duration,
) -> Result<Renewal, StoreError> {
    let doing = format!("renewing the lease of {owner}");
    if let Some(now) = lease(writer, &doing, owner, length).await? {
        return Ok(Renewal::Renewed(now));
    }
    let mut query =
        QueryBuilder::<Sqlite>::new("SELECT epoch FROM coordinator_node WHERE node_id = ");
    query.push_bind(Name::clone(&owner.node));
    let rows = fetch(pool, &doing, &mut query).await?;
    let epoch: Option<i64> = rows
        .first()
        .map(|row| Cells::from(row, 0).next())
        .transpose()
        .map_err(|what| odd(&doing, what))?;
    match epoch.map(u64::try_from) {
        Some(Ok(epoch)) if epoch > owner.epoch => Ok(Renewal::Superseded { epoch }),
        Some(_) => Err(odd(
            &doing,
            "the node's row has an epoch that was before it",
        )),
        None => Err(odd(&doing, "the node's row is gone; somebody removed it")),
    }
}

/// Ends the lease; a later incarnation's is left alone.
pub(super) async fn end_node(writer: &Writer, owner: &Owner) -> Result<(), StoreError> {
    let doing = format!("ending the lease of {owner}");
    lease(writer, &doing, owner, Duration::ZERO).await?;
    Ok(())
}

/// Every participant that is known, by name.
pub(super) async fn participants(pool: &SqlitePool) -> Result<Vec<ParticipantRow>, StoreError> {
    let doing = "reading participants";
    let mut query = QueryBuilder::<Sqlite>::new(
        "SELECT participant, protocol, address, methods, policy, version \
         FROM participant_info ORDER BY participant",
    );
    let rows = fetch(pool, doing, &mut query).await?;
    let participants = rows.iter().map(|row| {
        let mut cells = Cells::from(row, 0);
        Ok(ParticipantRow {
            participant: cells.next::<String>()?.into(),
            protocol: cells.next()?,
            address: cells.next()?,
            methods: cells.next()?,
            policy: cells.next()?,
            version: columns::count("version", cells.next()?)?,
        })
    });
    participants
        .collect::<Result<_, String>>()
        .map_err(|what| odd(doing, what))
}

/// Makes a participant known, or replaces what was known.
pub(super) async fn put_participant(
    writer: &Writer,
    row: &ParticipantRow,
) -> Result<u32, StoreError> {
    let doing = format!("registering participant {}", row.participant);
    let row = row.clone();
    let version = writer.statement(&doing, move |connection, now| {
        let ParticipantRow {
            participant,
            protocol,
            address,
            methods,
            policy,
            version: _,
        } = row;
        let values = params![participant, protocol, address, methods, policy, now];
        only_cell(connection, PUT_PARTICIPANT, values)
    });
    let version = version.await?;
    let version = version.ok_or_else(|| odd(&doing, "the database returned nothing"))?;
    columns::count("version", version).map_err(|what| odd(&doing, what))
}
