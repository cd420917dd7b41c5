//! The samples of docs/guides/operating.md are what the program prints: outputs of commands are compared with those of
//! the same commands in the same states, lines of the log and errors with the texts of the sources. Times, ids, durations
//! and numbers may differ.

#![allow(clippy::unwrap_used)]

mod page;
mod shape;
mod sources;
mod states;

use std::collections::BTreeSet;

use page::{Block, blocks, page, table_of_the_log};
use shape::shape;
use sources::Sources;
use states::Printed;

/// Holds every sample: one that is of no kind that is known here fails.
#[tokio::test]
async fn every_sample_of_the_operating_guide_is_what_the_program_prints() {
    let sources = Sources::read();
    let printed = states::play().await;
    let mut wrong = Vec::new();
    let mut commands = BTreeSet::new();
    let blocks = blocks();
    assert!(blocks.len() > 15, "{} samples", blocks.len());
    for block in &blocks {
        let found = match block.command() {
            Some(command) => {
                commands.insert(shape(command));
                of_command(block, command, &printed, &sources)
            }
            None => of_lines(block, &printed, &sources),
        };
        if let Err(what) = found {
            wrong.push(format!("line {}: {what}", block.line));
        }
    }
    for output in &printed {
        if let Some(command) = &output.command {
            assert!(
                commands.contains(command),
                "no sample of {command:?} any more"
            );
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

/// Compares a command's sample with its real output.
fn of_command(
    block: &Block,
    command: &str,
    printed: &[Printed],
    sources: &Sources,
) -> Result<(), String> {
    let sample = block.output();
    if let [error] = sample
        && error.starts_with("error: ")
        && !printed.iter().any(|it| it.has(command, sample))
    {
        return sources.error(error);
    }
    let shaped = shape(command);
    let same = printed
        .iter()
        .filter(|it| it.command.as_ref() == Some(&shaped));
    if same.clone().any(|it| it.has(command, sample)) {
        return Ok(());
    }
    let real: Vec<String> = same.map(|it| it.lines.join("\n")).collect();
    Err(format!(
        "{command}: the sample, in shape, is\n{}\nand the outputs of this command are\n{}",
        sample.join("\n"),
        real.join("\n\n")
    ))
}

/// Holds lines that stand without their command: of the log, errors, or parts of outputs.
fn of_lines(block: &Block, printed: &[Printed], sources: &Sources) -> Result<(), String> {
    let of_output = |line: &&String| !sources::is_logged(line) && !line.starts_with("error: ");
    for line in block.lines.iter().filter(|line| !of_output(line)) {
        if line.starts_with("error: ") {
            sources.error(line)?;
        } else {
            sources.logged(line)?;
        }
    }
    let part: Vec<String> = block.lines.iter().filter(of_output).cloned().collect();
    if part.is_empty() || printed.iter().any(|it| it.has_part(&part)) {
        return Ok(());
    }
    let all: Vec<String> = printed.iter().map(|it| it.lines.join("\n")).collect();
    Err(format!(
        "no output has these lines in this order:\n{}\nthe outputs are\n{}",
        part.iter()
            .map(|line| shape(line))
            .collect::<Vec<_>>()
            .join("\n"),
        all.join("\n\n")
    ))
}

#[test]
fn every_line_of_the_table_of_the_log_is_one_of_the_sources() {
    let sources = Sources::read();
    let table = table_of_the_log();
    assert!(table.len() > 20, "{table:?}");
    let unknown: Vec<_> = table
        .iter()
        .filter(|(level, message)| !sources.has_event(level, message))
        .collect();
    assert!(unknown.is_empty(), "{unknown:#?}");
}

/// A message stands there as a whole, or its beginning with an ellipsis.
#[test]
fn every_warning_and_error_of_the_log_is_on_the_page() {
    let page = page();
    let alarms = Sources::read().alarms();
    assert!(alarms.len() > 15, "{alarms:?}");
    let is_there = |message: &String| {
        let mut ends = message.match_indices(' ').map(|(at, _)| at);
        page.contains(message) || ends.any(|at| page.contains(&format!("`{} …`", &message[..at])))
    };
    let missing: Vec<_> = alarms.iter().filter(|it| !is_there(it)).collect();
    assert!(missing.is_empty(), "{missing:#?}");
}
