//! The barrier's table as cells, read from `participant-sdk/conformance/barrier.json`, which SDKs in
//! other languages read too. The README beside that file explains every field.

use std::sync::LazyLock;

use serde::{Deserialize, Deserializer, de::Error as _};
use serde_json::Value;
use tercet_sdk::{Mode, Operation};

/// The file's name, as reports of what is wrong with it show it.
pub(crate) const FILE: &str = "conformance/barrier.json";
/// The file's text.
const TEXT: &str = include_str!("../../../conformance/barrier.json");
/// The format that this reader understands.
const FORMAT: u32 = 1;

/// The whole file.
#[derive(Debug)]
pub(crate) struct Table {
    /// The time left of phase one, for every call.
    pub(crate) time_left_ms: i64,
    /// The number of times that a call is sent while it is answered UNKNOWN, the first one included.
    pub(crate) max_asks: u32,
    /// The wait before it is sent again.
    pub(crate) ask_again_ms: u64,
    /// Every cell of every mode.
    pub(crate) cells: Vec<Cell>,
}

/// One call that is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(crate) enum Step {
    /// A Try with the good request.
    Try,
    /// A Try with the request that is to be rejected.
    TryRejected,
    /// A Confirm.
    Confirm,
    /// A Cancel.
    Cancel,
}

impl Step {
    pub(crate) fn operation(self) -> Operation {
        match self {
            Self::Try | Self::TryRejected => Operation::Try,
            Self::Confirm => Operation::Confirm,
            Self::Cancel => Operation::Cancel,
        }
    }
}

/// The answer that a call must get.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(crate) enum Expected {
    /// Done.
    Done,
    /// Done, with the same result as the first Try.
    FirstResult,
    /// Rejected.
    Rejected,
    /// Done or rejected, as the race goes.
    DoneOrRejected,
}

/// A call together with the answer that it must get.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Exchange {
    pub(crate) call: Step,
    pub(crate) answer: Expected,
}

/// A state of the participant's business.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(crate) enum Stand {
    /// The state before the first call.
    Initial,
    /// The state after one Try.
    Tried,
    /// The state after one Confirm.
    Confirmed,
}

/// One cell.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Cell {
    /// Unique within a mode.
    pub(crate) name: String,
    /// The modes that have this cell.
    #[serde(deserialize_with = "modes")]
    pub(crate) modes: Vec<Mode>,
    /// The state of the row that `send` finds; none where there is no row.
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "for readers; a test compares it with the barrier")
    )]
    pub(crate) row: Option<String>,
    /// Calls sent one after the other, each of which must succeed: the way to the row.
    pub(crate) before: Vec<Step>,
    /// Calls sent at the same moment.
    pub(crate) send: Vec<Exchange>,
    /// A call sent once all of `send` are answered.
    #[serde(default)]
    pub(crate) then: Option<Exchange>,
    /// The state of the business at the end.
    pub(crate) stands: Stand,
    /// The number of times that the whole cell is played; more than one where calls race.
    #[serde(default = "one")]
    pub(crate) rounds: u32,
}

impl Cell {
    fn needs_rejected_request(&self) -> bool {
        let exchanges = self.send.iter().chain(&self.then);
        let sent = exchanges.map(|exchange| exchange.call);
        sent.chain(self.before.iter().copied())
            .any(|step| step == Step::TryRejected)
    }

    /// Returns true if calls of different operations are sent at the same moment.
    pub(crate) fn is_mixed(&self) -> bool {
        let mut operations = self.send.iter().map(|exchange| exchange.call.operation());
        let first = operations.next();
        operations.any(|operation| Some(operation) != first)
    }
}

fn one() -> u32 {
    1
}

fn modes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Mode>, D::Error> {
    let words = Vec::<String>::deserialize(deserializer)?;
    let mode = |word: String| match word.as_str() {
        "TCC" => Ok(Mode::Tcc),
        "COMPENSATE" => Ok(Mode::Compensate),
        "DELIVER" => Ok(Mode::Deliver),
        _ => Err(D::Error::custom(format!("modes: {word:?} is no mode"))),
    };
    words.into_iter().map(mode).collect()
}

/// Returns the table, which is read once; the error names the cell that cannot be read.
pub(crate) fn table() -> Result<&'static Table, &'static str> {
    static TABLE: LazyLock<Result<Table, String>> = LazyLock::new(|| read(TEXT));
    TABLE.as_ref().map_err(String::as_str)
}

impl Table {
    /// Iterates over the cells of a mode; those that need a rejected request only `with_rejected`.
    pub(crate) fn cells(&self, mode: Mode, with_rejected: bool) -> impl Iterator<Item = &Cell> {
        let cells = self.cells.iter();
        cells
            .filter(move |cell| cell.modes.contains(&mode))
            .filter(move |cell| with_rejected || !cell.needs_rejected_request())
    }
}

/// Reads the file, cell by cell, so that an error can name the cell.
fn read(text: &str) -> Result<Table, String> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct File {
        format: u32,
        time_left_ms: i64,
        max_asks: u32,
        ask_again_ms: u64,
        cells: Vec<Value>,
    }

    let file: File = serde_json::from_str(text).map_err(|error| error.to_string())?;
    if file.format != FORMAT {
        let found = file.format;
        return Err(format!("format is {found}, and this reads {FORMAT}"));
    }
    let cells = file.cells.into_iter().enumerate();
    Ok(Table {
        time_left_ms: file.time_left_ms,
        max_asks: file.max_asks,
        ask_again_ms: file.ask_again_ms,
        cells: cells
            .map(|(index, cell)| read_cell(index, cell))
            .collect::<Result<_, _>>()?,
    })
}

fn read_cell(index: usize, value: Value) -> Result<Cell, String> {
    let name = match value.get("name").and_then(Value::as_str) {
        Some(name) => format!("cell {name:?}"),
        None => format!("cells[{index}]"),
    };
    let cell: Cell = serde_json::from_value(value).map_err(|error| format!("{name}: {error}"))?;
    if cell.modes.is_empty() || cell.send.is_empty() || cell.rounds == 0 {
        return Err(format!("{name}: modes, send and rounds must not be empty"));
    }
    Ok(cell)
}

#[cfg(test)]
mod tests;
