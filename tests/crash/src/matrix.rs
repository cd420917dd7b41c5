//! Point x mode x signal, cell by cell, and the table that comes of it.

use std::{
    fmt::Write as _,
    time::{Duration, Instant},
};

use crate::{
    points::{FailPoint, Mode, POINTS},
    stage::{Load, STANDSTILL, Signal, Stage},
};

/// Orders of one cell.
pub const ORDERS: usize = 24;
/// Orders of one cell that are open at once.
const AT_ONCE: usize = 8;
/// Where the storms begin on the page.
const STORMS: &str = "
## At random, under load

Any of the four is killed (and started again) or stopped (for up to two seconds) at any time; the seed
decides. Made by `cargo crash --only-storms --storms COUNT --write docs/crash-matrix.md`.

";
/// How long a cell may take after its hit.
const END_WITHIN: Duration = Duration::from_mins(1);

/// One hit.
#[derive(Clone, Copy, Debug)]
pub struct Cell {
    /// Where.
    pub point: FailPoint,
    /// While this is exchanged.
    pub mode: Mode,
    /// How.
    pub signal: Signal,
}

impl Cell {
    /// Its name.
    pub fn name(&self) -> String {
        format!("{} {} {}", self.point.name, self.mode, self.signal.word())
    }
}

/// What came of a cell.
#[derive(Clone, Debug)]
pub struct Fate {
    /// Which.
    pub cell: Cell,
    /// In a few words, for the table.
    pub result: String,
    /// Whether all is well.
    pub is_good: bool,
    /// From the hit until nothing was open any more.
    pub to_final: Duration,
}

/// Every cell.
pub fn all() -> Vec<Cell> {
    let mut cells = Vec::new();
    for point in POINTS {
        for &mode in point.modes {
            for signal in [Signal::Kill, Signal::Stop] {
                cells.push(Cell {
                    point: *point,
                    mode,
                    signal,
                });
            }
        }
    }
    cells
}

/// A few cells in which every process dies at the moments that matter most, one of them stopped.
pub fn short() -> Vec<Cell> {
    let chosen = [
        ("coordinator.commit.before", Mode::Compensate, Signal::Kill),
        ("coordinator.commit.after", Mode::Tcc, Signal::Kill),
        ("coordinator.call.after", Mode::Led, Signal::Stop),
        ("barrier.commit.before", Mode::Tcc, Signal::Kill),
        ("barrier.commit.after", Mode::Compensate, Signal::Kill),
        ("initiator.execute.after", Mode::Tcc, Signal::Kill),
        ("initiator.local_commit.after", Mode::Deliver, Signal::Kill),
        ("initiator.add_action.after", Mode::Led, Signal::Kill),
    ];
    all()
        .into_iter()
        .filter(|cell| chosen.contains(&(cell.point.name, cell.mode, cell.signal)))
        .collect()
}

/// Plays one cell.
pub async fn play(cell: Cell) -> Fate {
    match played(cell).await {
        Ok(fate) => fate,
        Err(error) => Fate {
            cell,
            result: format!("{error:#}"),
            is_good: false,
            to_final: Duration::ZERO,
        },
    }
}

async fn played(cell: Cell) -> anyhow::Result<Fate> {
    let load = Load {
        mode: cell.mode,
        orders: ORDERS,
        at_once: AT_ONCE,
    };
    let mut stage = Stage::set(load, Some((cell.point, cell.signal))).await?;
    if !stage.hit(&cell.point, cell.signal).await? {
        anyhow::bail!("the point was not reached; see {}", stage.keep());
    }
    let hit = Instant::now();
    stage.end(END_WITHIN).await?;
    let mut to_final = hit.elapsed();
    if cell.signal == Signal::Stop {
        to_final += STANDSTILL;
    }
    let sheet = stage.sheet().await?;
    let mut result = format!(
        "{} committed, {} rolled back",
        sheet.committed, sheet.rolled_back
    );
    if sheet.parked > 0 {
        let _ = write!(result, ", {} parked", sheet.parked);
    }
    if !sheet.balances() {
        let _ = write!(result, "; {}; see {}", sheet.wrong.join("; "), stage.keep());
    }
    Ok(Fate {
        cell,
        is_good: sheet.balances(),
        result,
        to_final,
    })
}

/// The table, as a text for `docs/crash-matrix.md`.
pub fn page(fates: &[Fate], storms: &[String]) -> String {
    let good = fates.iter().filter(|fate| fate.is_good).count();
    let mut text = format!(
        "# The crash matrix

Made by `cargo crash --write docs/crash-matrix.md`; do not edit.

Four real processes, coordinator, points service, coupons service and initiator, exchange points for
coupons over {ORDERS} orders, each with a SQLite database of its own and durable commits. One of them is
hit at the named point: **kill** is SIGKILL, and the process is started again at once; **stop** is SIGSTOP
for {} ms, longer than the coordinator's lease, then SIGCONT. Among the orders are some that are refused,
some whose initiator changes its mind, and (in the modes deliver and led) some that it never decides, so
that it has to be asked back.

A cell is good when every transaction has reached its end or is visibly parked, and these agree about every
order: the coordinator's decision, the points ledger, the coupons ledger, the initiator's own rows, and every
answer that the initiator was given, before and after the crash. *Time to final* runs from the hit until
nothing is open any more; it contains the rest of the load, phase one of what was left undecided (1.5 s),
and the time that the process needs to start.

The modes: **tcc** and **compensate** are an Execute with two actions in that mode; **deliver** is a Begin
with two deliveries and a check-back; in **led** the initiator adds the actions and calls the Tries itself.

{good} of {} cells are good.

| point | where | mode | signal | result | time to final |
|---|---|---|---|---|---|
",
        STANDSTILL.as_millis(),
        fates.len()
    );
    for fate in fates {
        let Cell {
            point,
            mode,
            signal,
        } = fate.cell;
        let _ = writeln!(
            text,
            "| `{}` | {} | {mode} | {} | {}{} | {:.1} s |",
            point.name,
            point.place,
            signal.word(),
            if fate.is_good { "" } else { "**NOT GOOD**: " },
            fate.result,
            fate.to_final.as_secs_f64()
        );
    }
    with_storms(&text, storms)
}

/// The page with these storms in place of those that it has.
pub fn with_storms(page: &str, storms: &[String]) -> String {
    let table = page.split(STORMS).next().unwrap_or_default();
    if storms.is_empty() {
        return table.to_owned();
    }
    let mut text = format!("{table}{STORMS}");
    for storm in storms {
        let _ = writeln!(text, "- {storm}");
    }
    text
}
