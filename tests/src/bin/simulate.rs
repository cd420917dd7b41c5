//! `cargo simulate`: many seeds, one seed again, or the code broken on purpose.

use std::{panic::catch_unwind, process::ExitCode, time::Instant};

use clap::Parser;
use tercet_tests::sim::{
    coverage::SEEDS_TO_REACH,
    explore::{SmallWorld, explore},
    faults::Fault,
    mutations::{self, MUTATIONS, Mutation},
    run::{self, Summary},
};

/// Runs the core as it ships in simulated worlds, and checks every invariant after every step.
#[derive(Debug, Parser)]
#[command(name = "simulate")]
struct Options {
    /// The number of seeds.
    #[arg(long, default_value_t = 1_000)]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 1)]
    from: u64,
    /// The number of threads.
    #[arg(long, default_value_t = 2)]
    jobs: usize,
    /// Replays this seed and prints the history of the transaction that broke an invariant.
    #[arg(long)]
    seed: Option<u64>,
    /// Makes every sequence of moves that is possible in small worlds.
    #[arg(long)]
    explore: bool,
    /// Prints the names of the mutations, one per line.
    #[arg(long)]
    list_mutations: bool,
    /// Breaks the code on purpose with this mutation.
    #[arg(long, value_name = "NAME")]
    mutation: Option<String>,
    /// Breaks the code on purpose with every mutation in turn, and prints how many were caught.
    #[arg(long)]
    mutations: bool,
}

fn main() -> ExitCode {
    let options = Options::parse();
    if options.list_mutations {
        for mutation in MUTATIONS {
            println!("{}", mutation.name);
        }
        return ExitCode::SUCCESS;
    }
    let held = if options.mutations {
        every_mutation(&options)
    } else {
        match chosen(&options) {
            Err(error) => {
                eprintln!("{error}");
                return ExitCode::from(2);
            }
            Ok(mutation) => match options.seed {
                Some(seed) => broken_by(mutation, || replay(seed)),
                None if options.explore => broken_by(mutation, explore_all),
                None => many(&options, mutation),
            },
        }
    };
    if held {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn replay(seed: u64) -> bool {
    match run::seed(seed, true) {
        Err(panic) => {
            println!("seed {seed}: the code panicked: {panic}");
            false
        }
        Ok(report) => match report.breach {
            None => {
                println!(
                    "seed {seed}: {} transactions, {} events: every invariant held",
                    report.transactions, report.events
                );
                true
            }
            Some(breach) => {
                println!("{}\nseed {seed}: {breach}", report.history);
                false
            }
        },
    }
}

/// Returns the mutation that was chosen; without one the code is whole.
fn chosen(options: &Options) -> Result<Option<Mutation>, String> {
    let Some(name) = &options.mutation else {
        return Ok(None);
    };
    if !cfg!(feature = "mutations") {
        return Err("built without the feature `mutations`: use `cargo simulate`".into());
    }
    match mutations::find(name) {
        Some(mutation) => Ok(Some(mutation)),
        None => Err(format!(
            "no mutation is called {name:?}; --list-mutations prints their names"
        )),
    }
}

/// Explores every small world; returns whether every invariant held and the numbers of states are as expected.
fn explore_all() -> bool {
    let mut held = true;
    for world in SmallWorld::ALL {
        let started = Instant::now();
        let explored = explore(*world);
        println!(
            "{world:?}: {} distinct states, {} moves, {} ends, {:.1} s",
            explored.states,
            explored.moves,
            explored.ends,
            started.elapsed().as_secs_f64()
        );
        if let Some(breach) = &explored.breach {
            println!("{breach}");
            return false;
        }
        if explored.states != world.states() {
            println!(
                "{world:?}: {} states were expected; if the change is meant, write the new number down",
                world.states()
            );
            held = false;
        }
    }
    held
}

/// Returns whether a small world alone breaks an invariant under the mutation.
fn caught_by_exploring(mutation: Mutation) -> bool {
    broken_by(Some(mutation), || {
        catch_unwind(|| explore(SmallWorld::Brief).breach.is_some()).unwrap_or(false)
    })
}

#[cfg(feature = "mutations")]
fn broken_by<R>(mutation: Option<Mutation>, body: impl FnOnce() -> R) -> R {
    tercet_mutation::with(mutation.map(|mutation| mutation.name), body)
}

#[cfg(not(feature = "mutations"))]
fn broken_by<R>(_mutation: Option<Mutation>, body: impl FnOnce() -> R) -> R {
    body()
}

fn seeds(options: &Options, mutation: Option<Mutation>, stop_early: bool) -> Summary {
    let (from, seeds, jobs) = (options.from, options.seeds, options.jobs);
    run::seeds(from, seeds, jobs, stop_early, |work| {
        broken_by(mutation, work);
    })
}

/// Runs every mutation; returns whether each broke an invariant.
fn every_mutation(options: &Options) -> bool {
    if !cfg!(feature = "mutations") {
        eprintln!("built without the feature `mutations`: use `cargo simulate`");
        return false;
    }
    let mut caught = 0;
    let mut explored = 0;
    for mutation in MUTATIONS {
        let summary = seeds(options, Some(*mutation), true);
        let verdict = match summary.broken.first() {
            Some((seed, what)) => {
                caught += 1;
                format!("caught by seed {seed}: {what}")
            }
            None => format!(
                "NOT CAUGHT by {} seeds, {} crashed",
                summary.seeds,
                summary.crashed.len()
            ),
        };
        let small = caught_by_exploring(*mutation);
        explored += usize::from(small);
        let small = if small { "caught" } else { "not caught" };
        println!("{}: {}\n  {verdict}", mutation.name, mutation.what);
        println!("  {small} by every interleaving of a small world");
    }
    println!("{explored} / {} caught by exploring alone", MUTATIONS.len());
    println!("{caught} / {} mutations caught", MUTATIONS.len());
    caught == MUTATIONS.len() && explored >= 3
}

fn many(options: &Options, mutation: Option<Mutation>) -> bool {
    let started = Instant::now();
    let summary = seeds(options, mutation, false);
    print_summary(&summary);
    let millis = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    println!(
        "{} seeds in {millis} ms ({} a second)",
        summary.seeds,
        summary.seeds * 1_000 / millis.max(1)
    );
    let reached = mutation.is_some() || every_pair_reached(&summary);
    summary.held() && reached
}

/// Returns whether every reachable pair was reached; true for runs too short to tell.
fn every_pair_reached(summary: &Summary) -> bool {
    if summary.seeds < SEEDS_TO_REACH {
        return true;
    }
    let missing = summary.coverage.missing();
    for (state, event) in &missing {
        println!("never reached: {state}, {event}");
    }
    missing.is_empty()
}

fn print_summary(summary: &Summary) {
    println!(
        "{} transactions, {} events, faults (at least {} a seed):",
        summary.transactions,
        summary.events,
        summary.fewest_faults.unwrap_or(0)
    );
    for (fault, count) in Fault::ALL.iter().zip(&summary.faults) {
        println!("  {count:>9}  {}", fault.word());
    }
    println!("state and event, how often:");
    for ((state, event), count) in summary.coverage.pairs() {
        println!("  {count:>9}  {state}, {event}");
    }
    for (seed, what) in summary.broken.iter().take(20) {
        println!("seed {seed}: {what}");
    }
    for (seed, what) in summary.crashed.iter().take(20) {
        println!("seed {seed} panicked: {what}");
    }
    println!(
        "{} seeds broke an invariant, {} panicked; replay one with `cargo simulate --seed N`",
        summary.broken.len(),
        summary.crashed.len()
    );
}
