//! Nodes and participants: rows that seldom change.

use std::time::Duration;

use sqlx::QueryBuilder;
use tercet_core::{
    model::{Name, Owner},
    time::Timestamp,
};

use super::{Change, Changed, Dialect, Readers, SqlStore, fetch};
use crate::{
    Incarnation, ParticipantRow, Renewal, StoreError, UnreadableParticipant,
    cells::{Cells, Column, Value},
    columns::{Columns, NodeColumns, ParticipantColumns},
};

/// Raises the node's epoch and leases it.
pub(super) async fn start_node<S: SqlStore>(
    store: &S,
    node: &str,
    address: &str,
    lease: Duration,
) -> Result<Incarnation, StoreError> {
    let doing = format!("starting node {node}");
    let (name, address) = (node.to_owned(), address.to_owned());
    let statements = S::Dialect::statements();
    let change = Change {
        statement: &statements.start_node,
        values: Box::new(move |now| {
            let row = NodeColumns {
                node_id: &name,
                epoch: 1,
                address: &address,
                participants: "[]",
                lease_until: now + lease,
            };
            values(&row, now)
        }),
        read: &statements.node_epoch,
        key: node.into(),
    };
    let changed = store.change(&doing, change).await?;
    let epoch = present(&doing, changed.number)?;
    Ok(Incarnation {
        owner: Owner {
            node: node.into(),
            epoch: number(&doing, "epoch", epoch)?,
        },
        now: changed.now,
    })
}

/// Sets the end of the lease, if the node still has the owner's epoch. Returns the epoch that it has, if it has a row,
/// and the clock.
async fn lease<S: SqlStore>(
    store: &S,
    doing: &str,
    owner: &Owner,
    length: Duration,
) -> Result<Changed, StoreError> {
    let epoch = i64::try_from(owner.epoch)
        .map_err(|_| StoreError::fatal(doing, format!("epoch {} cannot be", owner.epoch)))?;
    let node = Name::clone(&owner.node);
    let statements = S::Dialect::statements();
    let change = Change {
        statement: &statements.lease_node,
        values: Box::new(move |now| {
            let (until, node) = (now + length, &*node);
            let columns = [until.value(), now.value(), node.value(), epoch.value()];
            columns.map(Value::into_owned).into()
        }),
        read: &statements.node_epoch,
        key: owner.node.to_string(),
    };
    store.change(doing, change).await
}

/// Renews the lease, or finds a later incarnation.
pub(super) async fn renew<S: SqlStore>(
    store: &S,
    owner: &Owner,
    length: Duration,
) -> Result<Renewal, StoreError> {
    let doing = format!("renewing the lease of {owner}");
    let changed = lease(store, &doing, owner, length).await?;
    let Some(epoch) = changed.number else {
        return Err(StoreError::fatal(&doing, "the node's row was removed"));
    };
    match number(&doing, "epoch", epoch)? {
        epoch if epoch == owner.epoch => Ok(Renewal::Renewed(changed.now)),
        epoch if epoch > owner.epoch => Ok(Renewal::Superseded { epoch }),
        epoch => {
            let what = format!("the node's row has epoch {epoch}, which was before it");
            Err(StoreError::fatal(&doing, what))
        }
    }
}

/// Ends the lease; that of a later incarnation is left alone.
pub(super) async fn end_node<S: SqlStore>(store: &S, owner: &Owner) -> Result<(), StoreError> {
    let doing = format!("ending the lease of {owner}");
    lease(store, &doing, owner, Duration::ZERO).await?;
    Ok(())
}

/// Reads every participant, by name; a row that cannot be read is named.
pub(super) async fn participants<D: Dialect>(
    readers: &Readers<D>,
) -> Result<Vec<Result<ParticipantRow, UnreadableParticipant>>, StoreError> {
    let doing = "reading participants";
    let mut query = QueryBuilder::new(&*D::statements().participants);
    let rows = fetch(readers, doing, &mut query).await?;
    let participants = rows.iter().map(|row| {
        let columns = ParticipantColumns::read(&mut Cells::<D>::of(row));
        let unreadable = |what| UnreadableParticipant {
            participant: name_of::<D>(row),
            what,
        };
        columns.map(ParticipantColumns::parse).map_err(unreadable)
    });
    Ok(participants.collect())
}

/// Returns the name in a row of the participants; `None`: it cannot be read.
fn name_of<D: Dialect>(row: &D::Row) -> Option<Name> {
    let name = Cells::<D>::of(row).peek::<&str>("participant");
    name.ok().map(Name::from)
}

/// Makes a participant known, or replaces what was known of it.
pub(super) async fn put_participant<S: SqlStore>(
    store: &S,
    row: &ParticipantRow,
) -> Result<u32, StoreError> {
    let doing = format!("registering participant {}", row.participant);
    let key = row.participant.to_string();
    let row = row.clone();
    let statements = S::Dialect::statements();
    let change = Change {
        statement: &statements.put_participant,
        values: Box::new(move |now| values(&ParticipantColumns::of(&row), now)),
        read: &statements.participant_version,
        key,
    };
    let version = present(&doing, store.change(&doing, change).await?.number)?;
    number(&doing, "version", version)
}

/// Returns the parameters of an insert of these columns.
fn values<'a>(columns: &impl Columns<'a>, now: Timestamp) -> Vec<Value<'static>> {
    let mut values = Vec::new();
    let taken: Result<(), std::convert::Infallible> = columns.each_value(&mut |value| {
        values.push(value.into_owned());
        Ok(())
    });
    let Ok(()) = taken;
    values.push(now.value().into_owned());
    values
}

/// Returns the number of a row that was just written.
fn present(doing: &str, number: Option<i64>) -> Result<i64, StoreError> {
    number.ok_or_else(|| StoreError::fatal(doing, "the row that was written is not there"))
}

/// Converts a number that is never negative.
fn number<T: TryFrom<i64>>(doing: &str, column: &str, number: i64) -> Result<T, StoreError> {
    T::try_from(number).map_err(|_| StoreError::fatal(doing, format!("{column} is {number}")))
}
