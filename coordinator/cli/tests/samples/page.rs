//! The fenced samples of the page.

use std::{fs, path::Path};

/// One fenced block of text.
pub(crate) struct Block {
    /// The number of its first line.
    pub(crate) line: usize,
    /// Its lines, without the indentation of the list that it stands in.
    pub(crate) lines: Vec<String>,
}

impl Block {
    /// Returns the command that printed it, without the name of the program.
    pub(crate) fn command(&self) -> Option<&str> {
        self.lines.first()?.strip_prefix("$ tercet ")
    }

    /// Returns the lines after the command.
    pub(crate) fn output(&self) -> &[String] {
        &self.lines[1..]
    }
}

/// Returns the whole page.
pub(crate) fn page() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/guides/operating.md");
    fs::read_to_string(path).unwrap()
}

/// Returns the lines of the table of the log: their levels and messages.
pub(crate) fn table_of_the_log() -> Vec<(String, String)> {
    let mut found = Vec::new();
    for row in page().lines() {
        let mut cells = row.split('|').map(str::trim).skip(1);
        let (Some(level), Some(messages)) = (cells.next(), cells.next()) else {
            continue;
        };
        if ["ERROR", "WARN", "INFO"].contains(&level) {
            let messages = messages.split('`').skip(1).step_by(2);
            found.extend(messages.map(|message| (level.to_owned(), message.to_owned())));
        }
    }
    found
}

/// Returns every block of the page that is marked as text.
pub(crate) fn blocks() -> Vec<Block> {
    let page = page();
    let mut blocks = Vec::new();
    let mut open: Option<(usize, Block)> = None;
    for (number, line) in (1..).zip(page.lines()) {
        let text = line.trim_start();
        match &mut open {
            None if text == "```text" => {
                let indent = line.len() - text.len();
                let block = Block {
                    line: number + 1,
                    lines: Vec::new(),
                };
                open = Some((indent, block));
            }
            None => {}
            Some(_) if text == "```" => blocks.extend(open.take().map(|(_, block)| block)),
            Some((indent, block)) => {
                block
                    .lines
                    .push(line.get(*indent..).unwrap_or("").to_owned());
            }
        }
    }
    assert!(open.is_none(), "a block has no end");
    blocks
}
