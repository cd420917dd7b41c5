//! `cargo verify`: everything that must hold before a change goes in, each as a named step.
//!
//! All steps run even when one fails, so that one run shows everything that is wrong; the exit status
//! is 0 only when none failed.

mod commands;
mod imports;
mod layers;
mod prerequisites;
mod rules;
mod steps;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use clap::Parser;

use crate::steps::{STEPS, Step};

/// Runs formatting, lints, documentation, every test and the simulation.
#[derive(Parser)]
#[command(name = "cargo verify", bin_name = "cargo verify")]
struct Arguments {
    /// Runs only this step; may be given several times.
    #[arg(long, value_name = "STEP")]
    only: Vec<String>,
    /// Leaves this step out; may be given several times.
    #[arg(long, value_name = "STEP")]
    skip: Vec<String>,
    /// Prints the steps, each with its subject.
    #[arg(long)]
    list: bool,
}

/// The result of a step.
enum StepResult {
    /// The step passed; a remark about it, possibly empty.
    Passed(String),
    /// Nothing is broken, but a remark deserves a look.
    Warned(String),
    /// The step cannot run here, and need not.
    Skipped(String),
    /// The step failed.
    Failed(String),
}

impl StepResult {
    fn word_and_remark(&self) -> (&'static str, &str) {
        match self {
            Self::Passed(remark) => ("ok", remark),
            Self::Warned(remark) => ("warning", remark),
            Self::Skipped(remark) => ("skipped", remark),
            Self::Failed(remark) => ("FAILED", remark),
        }
    }
}

/// One line of the summary.
struct Report {
    step: &'static Step,
    result: StepResult,
    took: Duration,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("cargo verify: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run(arguments: &Arguments) -> anyhow::Result<bool> {
    if arguments.list {
        for step in STEPS {
            println!("{:<20} {}", step.name, step.looks_at);
        }
        return Ok(true);
    }
    let chosen = choose(&arguments.only, &arguments.skip)?;
    let root = workspace_root()?;
    let started = Instant::now();
    let reports: Vec<Report> = chosen
        .into_iter()
        .map(|step| carry_out(step, &root))
        .collect();
    Ok(summarize(&reports, started.elapsed()))
}

/// Returns the steps that were asked for, in their usual order.
fn choose(only: &[String], skip: &[String]) -> anyhow::Result<Vec<&'static Step>> {
    for name in only.iter().chain(skip) {
        if !STEPS.iter().any(|step| step.name == name) {
            bail!("there is no step {name:?}; `cargo verify --list` names them");
        }
    }
    let wanted = |step: &&Step| {
        (only.is_empty() || only.iter().any(|name| name == step.name))
            && !skip.iter().any(|name| name == step.name)
    };
    Ok(STEPS.iter().filter(wanted).collect())
}

/// Returns the folder of the workspace's Cargo.toml.
fn workspace_root() -> anyhow::Result<PathBuf> {
    let here = std::env::var_os("CARGO_MANIFEST_DIR")
        .context("CARGO_MANIFEST_DIR is not set: start this program with `cargo verify`")?;
    let root = Path::new(&here).join("../..");
    root.canonicalize()
        .with_context(|| format!("no workspace at {}", root.display()))
}

fn carry_out(step: &'static Step, root: &Path) -> Report {
    println!("\n=== {}: {}", step.name, step.looks_at);
    let started = Instant::now();
    let result = (step.run)(root).unwrap_or_else(|error| StepResult::Failed(format!("{error:#}")));
    let took = started.elapsed();
    let (word, remark) = result.word_and_remark();
    println!(
        "=== {}: {word} after {:.1} s {remark}",
        step.name,
        took.as_secs_f64()
    );
    Report { step, result, took }
}

/// Prints one line per step, and returns whether none failed.
fn summarize(reports: &[Report], took: Duration) -> bool {
    println!("\n{:<20} {:>8}  {:<8} ", "step", "seconds", "result");
    for Report { step, result, took } in reports {
        let (word, remark) = result.word_and_remark();
        let mut lines = remark.lines();
        let first = lines.next().unwrap_or_default();
        println!(
            "{:<20} {:>8.1}  {word:<8} {first}",
            step.name,
            took.as_secs_f64()
        );
        for line in lines {
            println!("{:40}{line}", "");
        }
    }
    let failed = reports
        .iter()
        .filter(|r| matches!(r.result, StepResult::Failed(_)))
        .count();
    let minutes = took.as_secs_f64() / 60.0;
    if failed == 0 {
        println!(
            "\nverified: {} steps in {minutes:.1} minutes",
            reports.len()
        );
    } else {
        println!(
            "\nNOT verified: {failed} of {} steps failed, {minutes:.1} minutes",
            reports.len()
        );
    }
    failed == 0
}
