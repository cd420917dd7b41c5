//! The texts of the statements, made of the tables' columns. They never contain a caller's bytes.

use super::{Dialect, Index};
use crate::columns::{
    ActionColumns, Columns, NodeColumns, OperatorColumns, ParticipantColumns, StandingColumns,
    TxColumns, WRITTEN_AT,
};

/// The statements that differ between databases in a few words only, made once per dialect. Some are beginnings, which
/// the function that uses them completes.
pub(crate) struct Statements {
    /// Reads transactions with their actions; their ids follow.
    pub(super) rows: String,
    /// Reads transactions without their actions; a condition follows.
    pub(super) transactions: String,
    /// Reads transactions of one business without their actions; a condition follows.
    pub(super) transactions_of_business: String,
    /// Reads the rows that writes meet; the ids of the writes follow.
    pub(super) standing: String,
    /// Reads the ids of a business's transactions; its type follows.
    pub(super) find: String,
    /// Reads the commands on a transaction; its id follows.
    pub(super) operator_log: String,
    /// Reads all participants.
    pub(super) participants: String,
    /// Inserts the participant with these [`ParticipantColumns`], or changes the one that has its name.
    pub(super) put_participant: String,
    /// Reads the version of a participant, given its name.
    pub(super) participant_version: String,
    /// Inserts the node with these [`NodeColumns`], or raises the epoch of the one that has its name.
    pub(super) start_node: String,
    /// Sets the end of a lease, given that, the time of this write, the node's name and its epoch.
    pub(super) lease_node: String,
    /// Reads the epoch of a node, given its name.
    pub(super) node_epoch: String,
}

impl Statements {
    /// Makes the statements of a dialect.
    pub(crate) fn of<D: Dialect>() -> Self {
        let hint = D::hint;
        let (tx, action) = (names::<TxColumns>("t."), names::<ActionColumns>("a."));
        Self {
            rows: format!(
                "SELECT {tx}, {action} FROM tx_info t \
                 LEFT JOIN action_info a ON a.tx_id = t.tx_id WHERE t.tx_id IN ("
            ),
            transactions: format!("SELECT {tx} FROM tx_info t{}", hint(Index::PrimaryKey)),
            transactions_of_business: format!(
                "SELECT {tx} FROM tx_info t{}",
                hint(Index::Business)
            ),
            standing: format!("{} WHERE tx_id IN (", select::<StandingColumns<'_>>()),
            find: format!(
                "SELECT tx_id FROM tx_info{} WHERE business_type = ",
                hint(Index::Business)
            ),
            operator_log: format!("{} WHERE tx_id = ", select::<OperatorColumns<'_>>()),
            participants: format!(
                "{} ORDER BY participant",
                select::<ParticipantColumns<'_>>()
            ),
            put_participant: insert_or::<D, ParticipantColumns<'_>>("participant", |column| {
                match column {
                    // A registration does not end a pause.
                    "paused" => Assign::Nothing,
                    "version" => Assign::OneMoreOrFirst,
                    _ => Assign::Inserted,
                }
            }),
            participant_version: format!(
                "SELECT version FROM participant_info WHERE participant = {}",
                D::placeholder(1)
            ),
            start_node: insert_or::<D, NodeColumns<'_>>("node_id", |column| match column {
                "epoch" => Assign::OneMore,
                _ => Assign::Inserted,
            }),
            lease_node: update_some::<D>(
                NodeColumns::TABLE,
                &["lease_until"],
                &["node_id", "epoch"],
            ),
            node_epoch: format!(
                "SELECT epoch FROM coordinator_node WHERE node_id = {}",
                D::placeholder(1)
            ),
        }
    }
}

/// Lists the names of columns, each behind this prefix.
fn names<'a, C: Columns<'a>>(prefix: &str) -> String {
    let names = C::names().into_iter();
    names
        .map(|name| format!("{prefix}{name}"))
        .collect::<Vec<_>>()
        .join(", ")
}

/// Makes the beginning of a statement that reads these columns of their table.
fn select<'a, C: Columns<'a>>() -> String {
    format!("SELECT {} FROM {}", names::<C>(""), C::TABLE)
}

/// Makes the statement that inserts a row, given the columns' values and the time of the write.
pub(crate) fn insert<'a, D: Dialect, C: Columns<'a>>() -> String {
    let columns = [C::names(), vec![WRITTEN_AT]].concat();
    insert_columns::<D>(C::TABLE, &columns)
}

/// Makes the statement that inserts a row of a table without a time of the last write, given the columns' values.
pub(crate) fn insert_bare<'a, D: Dialect, C: Columns<'a>>() -> String {
    insert_columns::<D>(C::TABLE, &C::names())
}

fn insert_columns<D: Dialect>(table: &str, columns: &[&str]) -> String {
    let values: Vec<String> = (1..=columns.len()).map(D::placeholder).collect();
    format!(
        "INSERT INTO {table} ({}) VALUES ({})",
        columns.join(", "),
        values.join(", ")
    )
}

/// Makes the statement that removes the row that has these values in all columns.
pub(crate) fn delete<'a, D: Dialect, C: Columns<'a>>() -> String {
    let names = C::names();
    let compared: Vec<String> = (1..)
        .zip(names)
        .map(|(place, column)| format!("{column} = {}", D::placeholder(place)))
        .collect();
    format!("DELETE FROM {} WHERE {}", C::TABLE, compared.join(" AND "))
}

/// Makes the statement that changes a row, given the columns' values, the time of the write, and the values to which
/// other columns are compared.
pub(crate) fn update<'a, D: Dialect, C: Columns<'a>>(compared: &[&str]) -> String {
    update_some::<D>(C::TABLE, &C::names(), compared)
}

fn update_some<D: Dialect>(table: &str, set: &[&str], compared: &[&str]) -> String {
    let mut place = 0;
    let mut equal = |column: &&str| {
        place += 1;
        format!("{column} = {}", D::placeholder(place))
    };
    let set: Vec<String> = set.iter().chain(&[WRITTEN_AT]).map(&mut equal).collect();
    let compared: Vec<String> = compared.iter().map(&mut equal).collect();
    format!(
        "UPDATE {table} SET {} WHERE {}",
        set.join(", "),
        compared.join(" AND ")
    )
}

/// The fate of a column of a row that exists.
enum Assign {
    /// It stays as it is.
    Nothing,
    /// It is raised by one.
    OneMore,
    /// It is raised by one, or begins anew where it is no number that can be raised: a registration repairs its row.
    OneMoreOrFirst,
    /// It gets the value that would have been inserted.
    Inserted,
}

/// Makes the statement that inserts a row, given the same as [`insert`], or changes the one that has its key.
fn insert_or<'a, D: Dialect, C: Columns<'a>>(key: &str, assign: impl Fn(&str) -> Assign) -> String {
    let table = C::TABLE;
    let others = C::names().into_iter().filter(|column| *column != key);
    let assignments: Vec<String> = others
        .chain([WRITTEN_AT])
        .filter_map(|column| match assign(column) {
            Assign::Nothing => None,
            Assign::OneMore => Some(format!("{column} = {table}.{column} + 1")),
            Assign::OneMoreOrFirst => Some(format!(
                "{column} = CASE WHEN {table}.{column} BETWEEN 0 AND {} THEN {table}.{column} + 1 ELSE 1 END",
                u32::MAX - 1
            )),
            Assign::Inserted => Some(format!("{column} = {}", D::inserted(column))),
        })
        .collect();
    format!(
        "{} {} {}",
        insert::<D, C>(),
        D::on_conflict(key),
        assignments.join(", ")
    )
}
