//! Plays the exchange of points for coupons, for real: `tercet demo`.
//!
//! Coordinator, points service, coupons service and initiator run as processes of their own; orders
//! are fed, calls are made to fail and processes are killed as the command line asks; then every order
//! is looked up in all three books.
//!
//! Each process is the calling program again, with other arguments. So the caller is the binary
//! `tercet`, whose commands are `serve`, `demo` with [`DemoArgs`] and `demo-service` with
//! [`DemoService`].
//!
//! | file | holds |
//! |---|---|
//! | `args` | the command lines |
//! | `script`, `orders`, `seeds` | what is played; bad input |
//! | `process`, `stage` | the four processes |
//! | `initiator`, `event` | the process that feeds, and its events |
//! | `play` | the play from its first process to its report |
//! | `feed`, `progress` | the middle of it: counting, killing, showing |
//! | `evidence`, `books`, `report` | the end of it: reading, matching, telling |

mod args;
mod books;
mod event;
mod evidence;
mod feed;
mod initiator;
mod orders;
mod play;
mod process;
mod progress;
mod report;
mod script;
mod seeds;
mod stage;

use std::io::Write;
use std::process::ExitCode;

use anyhow::{Context, anyhow};
use demo_coupons::CouponsService;
use demo_points::PointsService;

pub use args::{DemoArgs, DemoService, InitiatorArgs, Mode, Pace, Role};

use report::Report;
use script::{Folder, Script};

/// The business type of every transaction of the demo.
const BUSINESS_TYPE: &str = "points_for_coupon";
/// The action that takes points.
const POINTS_ACTION: &str = "points";
/// The action that gives a coupon.
const COUPON_ACTION: &str = "coupon";

/// The exit code where a file or an option is wrong and nothing was started.
const BAD_INPUT: u8 = 2;
/// The exit code after SIGINT or SIGTERM, as shells have it.
const INTERRUPTED: u8 = 130;

/// Reads a file of orders with a seed file, for property tests and fuzzing: the number of good orders, and
/// the lines of the others.
#[doc(hidden)]
pub fn read_orders(orders: &[u8], seed: &str) -> Result<(usize, Vec<usize>), String> {
    let read = orders::Orders::read(orders, &seeds::Seeds::parse(seed)?)?;
    let bad = read.bad.into_iter().map(|bad| bad.line);
    Ok((read.good.len(), bad.collect()))
}

/// Plays the demo and prints the result, with progress and errors on standard error.
///
/// The exit code is 0 only if every order reached its end and the books balance.
pub fn run(args: &DemoArgs) -> ExitCode {
    block_on(perform(args))
}

/// Runs one of the demo's processes until it is to stop.
pub fn run_service(service: DemoService) -> ExitCode {
    demo_service::log_to_stderr();
    block_on(async {
        match service {
            DemoService::Points(options) => demo_service::run::<PointsService>(&options).await?,
            DemoService::Coupons(options) => demo_service::run::<CouponsService>(&options).await?,
            DemoService::Initiator(args) => initiator::run(args).await?,
        }
        Ok(ExitCode::SUCCESS)
    })
}

/// Runs to the end, and prints an error that is left.
fn block_on(run: impl Future<Output = anyhow::Result<ExitCode>>) -> ExitCode {
    let ended = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(anyhow::Error::from)
        .and_then(|runtime| {
            let ended = runtime.block_on(run);
            // A read of standard input that still waits must not keep the process.
            runtime.shutdown_background();
            ended
        });
    ended.unwrap_or_else(|error| {
        let _ = writeln!(std::io::stderr(), "error: {error:#}");
        ExitCode::FAILURE
    })
}

async fn perform(args: &DemoArgs) -> anyhow::Result<ExitCode> {
    let (script, folder) = match prepare(args) {
        Ok(ready) => ready,
        Err(error) => return failed(args, &error, BAD_INPUT),
    };
    let played = tokio::select! {
        played = play::play(args, &script, &folder) => played,
        interrupted = interrupted() => {
            let error = interrupted.context(broken_off(folder));
            return failed(args, &error, INTERRUPTED);
        }
    };
    match played {
        Ok(mut report) => {
            report.data_dir = folder.close(report.ok);
            print(args, &report)?;
            Ok(if report.ok {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            })
        }
        Err(error) => {
            let error = error.context(broken_off(folder));
            failed(args, &error, 1)
        }
    }
}

fn prepare(args: &DemoArgs) -> anyhow::Result<(Script, Folder)> {
    let script = Script::read(args)?;
    let folder = Folder::make(args, &script)?;
    Ok((script, folder))
}

/// Waits until the demo is to stop; the error says so.
async fn interrupted() -> anyhow::Error {
    match demo_service::stopped(false).await {
        Ok(()) => anyhow!("interrupted; its processes are stopped"),
        Err(error) => anyhow!(error).context("cannot wait for signals"),
    }
}

fn broken_off(folder: Folder) -> String {
    match folder.close(false) {
        Some(path) => format!("the demo broke off; see {}", path.display()),
        None => "the demo broke off".to_owned(),
    }
}

fn print(args: &DemoArgs, report: &Report) -> anyhow::Result<()> {
    let text = if args.json {
        serde_json::to_string(report)? + "\n"
    } else {
        report.text()
    };
    std::io::stdout()
        .write_all(text.as_bytes())
        .context("cannot print the result")
}

/// Prints why there is no result, for scripts too.
fn failed(args: &DemoArgs, error: &anyhow::Error, code: u8) -> anyhow::Result<ExitCode> {
    if args.json {
        let object = serde_json::json!({ "ok": false, "error": format!("{error:#}") });
        writeln!(std::io::stdout(), "{object}").context("cannot print the result")?;
    }
    let _ = writeln!(std::io::stderr(), "error: {error:#}");
    Ok(ExitCode::from(code))
}
