//! The history of a world for people, kept only when a seed is replayed.

use std::fmt::{self, Write as _};

use tercet_core::{id::TxId, time::Timestamp};

/// The time at which every world begins.
pub const DAWN: Timestamp = Timestamp::from_micros(1_750_000_000_000_000);

/// One line of a history.
#[derive(Clone, Debug)]
struct Line {
    at: Timestamp,
    tx: Option<TxId>,
    text: String,
}

/// The events of a world, in order.
#[derive(Clone, Debug, Default)]
pub struct History {
    lines: Option<Vec<Line>>,
}

impl History {
    /// Makes a history that keeps its lines only if `kept`.
    pub fn new(kept: bool) -> Self {
        Self {
            lines: kept.then(Vec::new),
        }
    }

    /// Adds a line about a transaction, or about the whole world.
    pub fn note(&mut self, at: Timestamp, tx: Option<TxId>, text: impl FnOnce() -> String) {
        if let Some(lines) = &mut self.lines {
            lines.push(Line {
                at,
                tx,
                text: text(),
            });
        }
    }

    /// Returns the lines about `tx`, and those about the whole world between its first and its last.
    pub fn of(&self, tx: Option<TxId>) -> String {
        let lines = self.lines.as_deref().unwrap_or_default();
        let about = |line: &Line| line.tx == tx;
        let first = lines.iter().position(about).unwrap_or(0);
        let mut text = String::new();
        for line in &lines[first..] {
            if line.tx.is_none() || line.tx == tx {
                let _ = writeln!(text, "{} {}", Clock(line.at), line.text);
            }
        }
        text
    }
}

/// A time, shown as seconds since the world began.
pub struct Clock(pub Timestamp);

impl fmt::Display for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = self.0.as_micros() - DAWN.as_micros();
        write!(
            f,
            "{:>5}.{:06}",
            micros.div_euclid(1_000_000),
            micros.rem_euclid(1_000_000)
        )
    }
}
