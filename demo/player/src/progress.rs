//! The progress of the feed on standard error: one line that is rewritten on a terminal, else a line
//! now and then.

use std::io::{IsTerminal, Write, stderr};

use crate::feed::Tally;

/// Lines printed where there is no terminal.
const PLAIN_LINES: usize = 4;
/// Orders between two rewritings of a terminal's line.
const TERMINAL_STEP: usize = 5;

/// Shows the progress of the feed.
pub(crate) struct Progress {
    orders: usize,
    terminal: bool,
    shown: Option<usize>,
}

impl Progress {
    pub(crate) fn new(orders: usize) -> Self {
        Self {
            orders,
            terminal: stderr().is_terminal(),
            shown: None,
        }
    }

    /// Shows it if enough has changed.
    pub(crate) fn show(&mut self, tally: &Tally) {
        let step = if self.terminal {
            TERMINAL_STEP
        } else {
            self.orders.div_ceil(PLAIN_LINES).max(1)
        };
        let (committed, rolled_back, failed) = tally.decided();
        let part = (committed + rolled_back + failed) / step;
        if self.shown != Some(part) {
            self.shown = Some(part);
            self.print(tally);
        }
    }

    /// Prints a sentence on a line of its own.
    pub(crate) fn print_line(&self, sentence: &str) {
        let clear = if self.terminal { "\r\x1b[2K" } else { "" };
        // Progress that cannot be printed is no reason to fail.
        let _ = writeln!(stderr(), "{clear}{sentence}");
    }

    /// Shows the last state.
    pub(crate) fn end(&self, tally: &Tally) {
        self.print(tally);
        if self.terminal {
            let _ = writeln!(stderr());
        }
    }

    fn print(&self, tally: &Tally) {
        let text = text(
            self.orders,
            tally.sent(),
            tally.in_flight(),
            tally.decided(),
        );
        let _ = if self.terminal {
            write!(stderr(), "\r\x1b[2K{text}").and_then(|()| stderr().flush())
        } else {
            writeln!(stderr(), "{text}")
        };
    }
}

/// Returns the progress in words. An answer is a decision: whether every action is confirmed or cancelled is not known yet.
fn text(orders: usize, sent: usize, in_flight: usize, decided: (usize, usize, usize)) -> String {
    let (success, failure, failed) = decided;
    let failed = if failed > 0 {
        format!(", {failed} without an answer")
    } else {
        String::new()
    };
    format!(
        "{sent} of {orders} orders sent, {in_flight} in flight, decided: {success} SUCCESS, {failure} FAILURE{failed}"
    )
}

#[cfg(test)]
mod tests {
    use super::text;

    #[test]
    fn answers_are_counted_as_the_decisions_that_they_are() {
        assert_eq!(
            text(9, 7, 1, (3, 2, 0)),
            "7 of 9 orders sent, 1 in flight, decided: 3 SUCCESS, 2 FAILURE"
        );
        assert!(text(9, 7, 1, (3, 2, 1)).ends_with("2 FAILURE, 1 without an answer"));
    }
}
