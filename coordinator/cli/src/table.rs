//! Tables of text that fit a terminal.

use std::{
    env,
    io::{self, IsTerminal as _},
};

use rustix::termios::tcgetwinsize;

use crate::words;

/// Spaces between two columns.
const GAP: usize = 2;

/// The head of a column, and what may be done to it where a table is too wide.
pub(crate) struct Column {
    name: &'static str,
    /// Characters to which its cells may be cut; `None`: they are never cut.
    least: Option<usize>,
    /// Its turn to be left out; 0: never.
    leaves: u8,
}

impl Column {
    /// Makes a column that is always whole.
    pub(crate) const fn whole(name: &'static str) -> Self {
        Self {
            name,
            least: None,
            leaves: 0,
        }
    }

    /// Allows its cells to be cut to so many characters.
    pub(crate) const fn cut_to(self, least: usize) -> Self {
        Self {
            least: Some(least),
            ..self
        }
    }

    /// Allows it to be left out, those of the smallest turn first.
    pub(crate) const fn leaves(self, turn: u8) -> Self {
        Self {
            leaves: turn,
            ..self
        }
    }
}

/// Returns the characters of a line of standard output: the variable `COLUMNS`, or the terminal's width; `None`, where
/// output goes to a file or a pipe and is not cut.
pub(crate) fn width() -> Option<usize> {
    let given = env::var("COLUMNS").ok().and_then(|text| text.parse().ok());
    given.filter(|width| *width > 0).or_else(|| {
        let out = io::stdout();
        let size = out.is_terminal().then(|| tcgetwinsize(&out).ok())??;
        Some(usize::from(size.ws_col)).filter(|width| *width > 0)
    })
}

/// Puts rows into columns as wide as they need, or into `width`; the last one is not filled up.
pub(crate) fn table(
    columns: &[Column],
    rows: &[Vec<String>],
    indent: &str,
    width: Option<usize>,
) -> String {
    let widths = widths(columns, rows, indent.len(), width);
    let head: Vec<String> = columns
        .iter()
        .map(|column| column.name.to_owned())
        .collect();
    let mut text = String::new();
    for row in std::iter::once(&head).chain(rows) {
        let mut line = indent.to_owned();
        for (width, cell) in widths.iter().zip(row) {
            if let Some(width) = *width {
                let cell = words::cut(cell, width);
                // The width of a format is 16 bits.
                let filled = width.saturating_sub(cell.chars().count()) + GAP;
                line.push_str(&cell);
                line.extend(std::iter::repeat_n(' ', filled));
            }
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// Returns the width of each column; `None` for one that is left out.
fn widths(
    columns: &[Column],
    rows: &[Vec<String>],
    indent: usize,
    width: Option<usize>,
) -> Vec<Option<usize>> {
    let needed = |place: usize| {
        let cells = rows.iter().filter_map(|row| row.get(place));
        let cells = cells.map(|cell| cell.chars().count());
        cells.fold(columns[place].name.chars().count(), usize::max)
    };
    let needed: Vec<usize> = (0..columns.len()).map(needed).collect();
    let mut kept: Vec<bool> = vec![true; columns.len()];
    loop {
        let mut widths: Vec<Option<usize>> = needed
            .iter()
            .zip(&kept)
            .map(|(needed, kept)| kept.then_some(*needed))
            .collect();
        let Some(width) = width else { return widths };
        let used = |widths: &[Option<usize>]| {
            let all = widths.iter().flatten().map(|width| width + GAP);
            (indent + all.sum::<usize>()).saturating_sub(GAP)
        };
        // The widest gives first; each step takes one character of one column, so this ends.
        while used(&widths) > width {
            let room = |place: usize| {
                let least = columns[place]
                    .least?
                    .max(columns[place].name.chars().count());
                widths[place]?.checked_sub(least).filter(|room| *room > 0)
            };
            let widest = (0..columns.len())
                .filter(|place| room(*place).is_some())
                .max_by_key(|place| widths[*place]);
            let Some(widest) = widest else { break };
            widths[widest] = widths[widest].map(|width| width - 1);
        }
        let leaving = (0..columns.len())
            .filter(|place| kept[*place] && columns[*place].leaves > 0)
            .min_by_key(|place| columns[*place].leaves);
        match leaving {
            Some(leaving) if used(&widths) > width => kept[leaving] = false,
            _ => return widths,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [Column; 4] = [
        Column::whole("ID"),
        Column::whole("NAME").cut_to(6),
        Column::whole("AT").leaves(1),
        Column::whole("WHY").cut_to(8).leaves(2),
    ];

    fn rows() -> Vec<Vec<String>> {
        let row = [
            "id-of-16-letters",
            "a name of 17 sign",
            "2026-11",
            "because of a long error",
        ];
        vec![row.map(str::to_owned).into()]
    }

    #[test]
    fn a_table_that_fits_is_whole() {
        for width in [None, Some(69), Some(200)] {
            let text = table(&COLUMNS, &rows(), "", width);
            assert!(
                text.ends_with("2026-11  because of a long error\n"),
                "{text}"
            );
        }
    }

    #[test]
    fn a_table_is_cut_and_then_left_out_to_fit() {
        for width in (24..69).rev() {
            let text = table(&COLUMNS, &rows(), "", Some(width));
            let longest = text.lines().map(|line| line.chars().count()).max();
            assert!(longest.unwrap() <= width, "{width}\n{text}");
            assert!(text.contains("id-of-16-letters"), "{text}");
            assert_eq!(text.contains("AT"), width >= 43, "{width}\n{text}");
            assert_eq!(text.contains("WHY"), width >= 34, "{width}\n{text}");
        }
    }
}
