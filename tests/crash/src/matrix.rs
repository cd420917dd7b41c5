//! The matrix of point, mode and signal, cell by cell, and its table.

use std::{
    fmt::Write as _,
    time::{Duration, Instant},
};

use crate::{
    points::{Exchange, FailPoint, POINTS},
    stage::{Load, STANDSTILL, Signal, Stage},
};

/// Orders of one cell.
pub const ORDERS: usize = 24;
/// Orders of one cell that are open at once.
const AT_ONCE: usize = 8;
/// The beginning of the storms' part of the page.
const STORMS: &str = "
## At random, under load

Any of the four is killed (and started again) or stopped (for up to two seconds) at any time; the seed
decides. Made by `cargo crash --only-storms --storms COUNT --write docs/crash-matrix.md`.

";
/// The longest time from the hit to the end of a cell.
const END_WITHIN: Duration = Duration::from_mins(1);

/// One cell of the matrix.
#[derive(Clone, Copy, Debug)]
pub struct Cell {
    /// The fail point.
    pub point: FailPoint,
    /// The mode of the exchange.
    pub mode: Exchange,
    /// The signal.
    pub signal: Signal,
}

impl Cell {
    /// Returns its name.
    pub fn name(&self) -> String {
        format!("{} {} {}", self.point.name, self.mode, self.signal.word())
    }
}

/// The result of a cell.
#[derive(Clone, Debug)]
pub struct CellResult {
    /// The cell.
    pub cell: Cell,
    /// A few words for the table.
    pub summary: String,
    /// Whether the books agree and everything ended in time.
    pub is_good: bool,
    /// The time from the hit until nothing was open any more.
    pub to_final: Duration,
}

/// Returns every cell.
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

/// Returns a few cells in which each process is hit at the moments that matter most.
pub fn short() -> Vec<Cell> {
    let chosen = [
        (
            "coordinator.commit.before",
            Exchange::Compensate,
            Signal::Kill,
        ),
        ("coordinator.commit.after", Exchange::Tcc, Signal::Kill),
        ("coordinator.call.after", Exchange::Led, Signal::Stop),
        ("barrier.commit.before", Exchange::Tcc, Signal::Kill),
        ("barrier.commit.after", Exchange::Compensate, Signal::Kill),
        ("initiator.execute.after", Exchange::Tcc, Signal::Kill),
        (
            "initiator.local_commit.after",
            Exchange::Deliver,
            Signal::Kill,
        ),
        ("initiator.add_action.after", Exchange::Led, Signal::Kill),
    ];
    all()
        .into_iter()
        .filter(|cell| chosen.contains(&(cell.point.name, cell.mode, cell.signal)))
        .collect()
}

/// Plays one cell.
pub async fn play(cell: Cell) -> CellResult {
    match played(cell).await {
        Ok(result) => result,
        Err(error) => CellResult {
            cell,
            summary: format!("{error:#}"),
            is_good: false,
            to_final: Duration::ZERO,
        },
    }
}

async fn played(cell: Cell) -> anyhow::Result<CellResult> {
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
    let mut summary = format!(
        "{} committed, {} rolled back",
        sheet.committed, sheet.rolled_back
    );
    if sheet.parked > 0 {
        let _ = write!(summary, ", {} parked", sheet.parked);
    }
    if !sheet.balances() {
        let _ = write!(
            summary,
            "; {}; see {}",
            sheet.wrong.join("; "),
            stage.keep()
        );
    }
    Ok(CellResult {
        cell,
        is_good: sheet.balances(),
        summary,
        to_final,
    })
}

/// Writes the page `docs/crash-matrix.md`.
pub fn page(results: &[CellResult], storms: &[String]) -> String {
    let good = results.iter().filter(|result| result.is_good).count();
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
        results.len()
    );
    for result in results {
        let Cell {
            point,
            mode,
            signal,
        } = result.cell;
        let _ = writeln!(
            text,
            "| `{}` | {} | {mode} | {} | {}{} | {:.1} s |",
            point.name,
            point.place,
            signal.word(),
            if result.is_good { "" } else { "**NOT GOOD**: " },
            result.summary,
            result.to_final.as_secs_f64()
        );
    }
    with_storms(&text, storms)
}

/// Replaces the storms of a page.
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
