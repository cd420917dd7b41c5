//! The result: as a text for a person, as one JSON object for scripts.

use std::fmt::Write;
use std::path::PathBuf;

use serde::Serialize;

use crate::args::Mode;
use crate::books::{Sheet, Sums};
use crate::feed::Kill;
use crate::orders::BadOrder;

/// Mismatches and bad lines that a text shows; JSON has all.
const SHOWN: usize = 40;

/// The result of the demo.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Report {
    /// Every order reached its end and the books balance.
    pub ok: bool,
    /// The way in which the services did their share.
    pub mode: Mode,
    /// Lines that could be fed, repeated orders included.
    pub lines: usize,
    /// Lines that could not.
    pub bad_orders: Vec<BadOrder>,
    /// The number of orders of each ending.
    pub endings: Vec<EndingCount>,
    /// The balance sheet.
    pub sheet: Sheet,
    /// The books balance.
    pub balances: bool,
    /// The faults on purpose.
    pub faults: Vec<String>,
    /// The processes that were killed.
    pub kills: Vec<Kill>,
    /// Duration of the feed.
    pub feed_ms: u128,
    /// The folder in which databases and logs stay; absent: nothing stays.
    pub data_dir: Option<PathBuf>,
}

/// The number of orders that ended one way.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct EndingCount {
    /// "committed", "rolled back", "parked", "unfinished", "repeated" or "unknown".
    pub outcome: &'static str,
    /// Why.
    pub reason: String,
    /// Their number.
    pub orders: usize,
}

impl Report {
    /// For a person.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        self.write(&mut text).unwrap_or_else(|error| {
            text.push_str(&error.to_string());
        });
        text
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        writeln!(out, "\nwhat happened")?;
        for EndingCount {
            outcome,
            reason,
            orders,
        } in &self.endings
        {
            let line = format!("  {orders:>6}  {outcome:<12} {reason}");
            writeln!(out, "{}", line.trim_end())?;
        }
        list(
            out,
            "lines that are no orders",
            self.bad_orders
                .iter()
                .map(|bad| format!("line {}: {}", bad.line, bad.reason)),
        )?;
        let sheet = &self.sheet;
        writeln!(
            out,
            "\nthe books       opening  available     frozen      taken  committed"
        )?;
        sums(out, "points", sheet.points)?;
        sums(out, "coupons", sheet.coupons)?;
        list(out, "what does not fit", sheet.mismatches.iter().cloned())?;
        self.verdict(out)
    }

    fn verdict(&self, out: &mut String) -> std::fmt::Result {
        let Sheet {
            orders,
            matched,
            ended,
            ..
        } = &self.sheet;
        writeln!(
            out,
            "\n{matched} of {orders} orders stand the same with coordinator, points and coupons; \
             {ended} of {orders} reached their end."
        )?;
        let verdict = if self.balances {
            "The books balance."
        } else {
            "The books DO NOT balance."
        };
        writeln!(out, "{verdict}")?;
        if let Some(folder) = &self.data_dir {
            writeln!(out, "Databases and logs are in {}", folder.display())?;
            if self.sheet.ended < *orders {
                let database = folder.join("coordinator.db");
                writeln!(
                    out,
                    "To look at what is stuck: tercet serve --database {}, then tercet tx list --stuck",
                    database.display()
                )?;
            }
        }
        Ok(())
    }
}

fn sums(out: &mut String, name: &str, sums: Sums) -> std::fmt::Result {
    let Sums {
        opening,
        available,
        frozen,
        taken,
        expected,
    } = sums;
    writeln!(
        out,
        "  {name:<10} {opening:>10} {available:>10} {frozen:>10} {taken:>10} {expected:>10}"
    )
}

fn list(
    out: &mut String,
    title: &str,
    lines: impl ExactSizeIterator<Item = String>,
) -> std::fmt::Result {
    let count = lines.len();
    if count == 0 {
        return Ok(());
    }
    writeln!(out, "\n{title}")?;
    for line in lines.take(SHOWN) {
        writeln!(out, "  {line}")?;
    }
    if count > SHOWN {
        writeln!(out, "  and {} more, see --json", count - SHOWN)?;
    }
    Ok(())
}
