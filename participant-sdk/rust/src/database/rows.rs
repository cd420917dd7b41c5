//! Reads and writes rows of the table `tercet_barrier`, without interpreting them.

use uuid::Uuid;

use super::{Bind, Connection, Database, StoredRow};

/// The key of a row.
pub(super) struct Key<'a> {
    tx_id: String,
    action: &'a str,
}

impl<'a> Key<'a> {
    /// Makes the key of an action's row; with an empty name, of the initiator's.
    pub(super) fn of(tx_id: Uuid, action: &'a str) -> Self {
        Self {
            tx_id: tx_id.to_string(),
            action,
        }
    }
}

/// Inserts a row without a result; returns false if a committed row exists. Waits for
/// another session that has inserted it and not yet committed.
pub(super) async fn insert<D: Database>(
    connection: &mut Connection<D>,
    key: &Key<'_>,
    state: &str,
    rejection: &str,
) -> Result<bool, sqlx::Error> {
    let binds = [
        Bind::Text(&key.tx_id),
        D::name(key.action),
        Bind::Text(state),
        Bind::Bytes(&[]),
        Bind::Text(rejection),
    ];
    Ok(D::execute(connection, D::STATEMENTS.insert, &binds).await? == 1)
}

/// Reads and locks a row.
pub(super) async fn read<D: Database>(
    connection: &mut Connection<D>,
    key: &Key<'_>,
) -> Result<Option<StoredRow>, sqlx::Error> {
    let binds = [Bind::Text(&key.tx_id), D::name(key.action)];
    D::fetch(connection, D::STATEMENTS.read, &binds).await
}

/// Changes a row; returns the number of rows changed.
pub(super) async fn update<D: Database>(
    connection: &mut Connection<D>,
    key: &Key<'_>,
    state: &str,
    result: &[u8],
    rejection: &str,
) -> Result<u64, sqlx::Error> {
    let binds = [
        Bind::Text(state),
        Bind::Bytes(result),
        Bind::Text(rejection),
        Bind::Text(&key.tx_id),
        D::name(key.action),
    ];
    D::execute(connection, D::STATEMENTS.update, &binds).await
}
