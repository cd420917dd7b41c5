//! The binary `tercet`: the commands that run a coordinator, and those that look at one that runs.
//!
//! Only here the environment is read, signals are caught and text is printed; `tercet-server` does
//! none of it.

mod client;
mod configuration;
mod failure;
mod json;
mod list;
mod participants;
mod payload;
mod serve;
mod show;
mod standing;
mod table;
mod timeline;
mod tx;
mod watch;
mod words;

use std::{
    io::{self, Write},
    process::ExitCode,
};

use clap::{Parser, Subcommand};

use crate::failure::Failure;

/// Messages are small and many, made on one thread and dropped on another: what the system's allocator is
/// worst at.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Exit codes, for `--help`.
const EXIT_CODES: &str = "Exit codes:
  0  done (tx watch: committed)
  1  refused or failed
  2  wrong usage or configuration; nothing was sent
  3  tx watch: rolled back
  4  tx watch: parked, or tx list --stuck found something
  5  no coordinator answers at the address";

#[derive(Parser)]
#[command(name = "tercet", version, about = "A coordinator of distributed transactions", after_help = EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run a coordinator.
    Serve(serve::ServeArgs),
    /// Look at transactions, and end those that cannot end by themselves.
    Tx(tx::TxArgs),
    /// Look at participants, and register those that do not attach.
    Participants(participants::ParticipantsArgs),
    /// Look at the configuration.
    Config(configuration::ConfigArgs),
    /// Play the exchange of points for coupons, for real, with every process in this one program.
    #[cfg(feature = "demo")]
    Demo(demo_player::DemoArgs),
    /// One of the demo's processes.
    #[cfg(feature = "demo")]
    #[command(hide = true)]
    DemoService {
        /// Which one.
        #[command(subcommand)]
        service: demo_player::DemoService,
    },
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Serve(args) => serve::run(&args),
        Command::Config(args) => configuration::run(&args),
        Command::Tx(args) => client::block_on(tx::run(args)),
        Command::Participants(args) => client::block_on(participants::run(args)),
        #[cfg(feature = "demo")]
        Command::Demo(args) => return demo_player::run(&args),
        #[cfg(feature = "demo")]
        Command::DemoService { service } => return demo_player::run_service(service),
    };
    match result {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            // An error that cannot be printed still has its exit code.
            let _ = failure.print();
            ExitCode::from(failure.code())
        }
    }
}

/// Prints on standard output.
fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(())
}

/// Prints a line on standard error; one that cannot be printed is no reason to fail.
fn print_error(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}
