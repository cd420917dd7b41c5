//! The coordinator's log, counted.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::Path;

use anyhow::Context as _;

/// The levels that are counted.
const LEVELS: [&str; 2] = [" WARN ", " ERROR "];
/// The words of a thread that panicked.
const PANIC: &str = "panicked at";

/// The lines of a log by level and message.
#[derive(Debug, Default)]
pub(crate) struct LogLines {
    /// The number of lines by level and message.
    pub(crate) counts: BTreeMap<String, u64>,
    /// Lines that there must not be: of a panic.
    pub(crate) panics: Vec<String>,
}

impl LogLines {
    /// Reads a log.
    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        let file =
            File::open(path).with_context(|| format!("could not read {}", path.display()))?;
        let mut found = Self::default();
        for line in BufReader::new(file).lines() {
            found.add(&line?);
        }
        Ok(found)
    }

    fn add(&mut self, line: &str) {
        if line.contains(PANIC) {
            self.panics.push(line.to_owned());
        }
        for level in LEVELS {
            if let Some((_, rest)) = line.split_once(level) {
                let message = format!("{} {}", level.trim(), message(rest));
                *self.counts.entry(message).or_default() += 1;
            }
        }
    }
}

/// Returns the message of a line behind its level: without the module before it and the fields after it.
fn message(rest: &str) -> String {
    let rest = rest.split_once(": ").map_or(rest, |(_, message)| message);
    let words = rest.split(' ');
    let words = words.take_while(|word| !word.contains('='));
    words.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_counted_by_message_without_their_fields() {
        let mut lines = LogLines::default();
        for peer in ["1", "2"] {
            lines.add(&format!(
                "2026-01-01T00:00:00Z  WARN tercet_server::backlog: a peer is cut off peer={peer}"
            ));
        }
        lines.add("2026-01-01T00:00:00Z  INFO tercet_server::serve: listening");
        lines.add("thread 'engine' panicked at src/lib.rs:1:1:");
        let counts: Vec<_> = lines.counts.into_iter().collect();
        assert_eq!(counts, [("WARN a peer is cut off".to_owned(), 2)]);
        assert_eq!(lines.panics.len(), 1);
    }
}
