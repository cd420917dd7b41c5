//! The statements, written once; a dialect supplies the few words that differ.

/// Every statement of the barrier, with the parameters in this order.
#[derive(Debug)]
pub struct Statements {
    /// Begins a local transaction, at READ COMMITTED or as the only writer.
    pub begin: &'static str,
    /// The same for a local transaction in which the code of users runs; on PostgreSQL it seals the
    /// connection.
    pub begin_for_code: &'static str,
    /// Sets the savepoint before the code; on MySQL it seals the connection.
    pub savepoint: &'static str,
    /// Releases the savepoint; on PostgreSQL it takes the seal off.
    pub keep: &'static str,
    /// Returns to the savepoint; on PostgreSQL it takes the seal off.
    pub undo: &'static str,
    /// Takes the seal off after the local transaction; `None` where it is no setting of the session.
    pub unseal: Option<&'static str>,
    /// Creates the table if it is absent.
    pub create_table: &'static str,
    /// `tx_id, action, state, result, rejection`: inserts the row. The count of changed rows is
    /// exactly 1 if there was none, and otherwise 0 or 2.
    pub insert: &'static str,
    /// `tx_id, action`: reads and locks the row.
    pub read: &'static str,
    /// `state, result, rejection, tx_id, action`: changes the row.
    pub update: &'static str,
    /// `tx_id, seconds, limit`: removes rows of transactions with smaller ids that are final and have
    /// not changed for that many seconds.
    pub purge: &'static str,
    /// Makes this connection wait for a lock no longer than [`CHECK_BACK_LOCK_WAIT`]; `None` where the
    /// driver bounds every wait.
    ///
    /// [`CHECK_BACK_LOCK_WAIT`]: super::CHECK_BACK_LOCK_WAIT
    pub shorten_lock_wait: Option<&'static str>,
    /// Undoes `shorten_lock_wait`.
    pub restore_lock_wait: Option<&'static str>,
}

macro_rules! insert {
    ($p1:literal, $p2:literal, $p3:literal, $p4:literal, $p5:literal, $now:literal, $conflict:literal) => {
        concat!(
            "INSERT INTO tercet_barrier (tx_id, action, state, result, rejection, changed_at) VALUES (",
            $p1, ", ", $p2, ", ", $p3, ", ", $p4, ", ", $p5, ", ", $now, ") ", $conflict
        )
    };
}

macro_rules! read {
    ($p1:literal, $p2:literal, $lock:literal) => {
        concat!(
            "SELECT state, result, rejection FROM tercet_barrier WHERE tx_id = ",
            $p1,
            " AND action = ",
            $p2,
            $lock
        )
    };
}

macro_rules! update {
    ($p1:literal, $p2:literal, $p3:literal, $p4:literal, $p5:literal, $now:literal) => {
        concat!(
            "UPDATE tercet_barrier SET state = ",
            $p1,
            ", result = ",
            $p2,
            ", rejection = ",
            $p3,
            ", changed_at = ",
            $now,
            " WHERE tx_id = ",
            $p4,
            " AND action = ",
            $p5
        )
    };
}

/// The condition for rows that may be removed: final, of transactions with an id below the first
/// parameter, and last changed before the second.
macro_rules! removable {
    ($p1:literal, $before:literal) => {
        concat!(
            "tx_id < ",
            $p1,
            " AND state IN ('CONFIRMED', 'CANCELLED', 'REJECTED', 'SUCCESS', 'FAILURE')",
            " AND changed_at < ",
            $before
        )
    };
}

pub(super) use {insert, read, removable, update};
