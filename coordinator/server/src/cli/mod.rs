//! The commands of the binary `tercet`. Only here the environment is read, signals are caught and
//! something is printed.

mod client;
mod configuration;
mod json;
mod participants;
mod serve;
mod show;
mod tx;
mod words;

use std::{
    error::Error,
    io::{self, Write},
    process::ExitCode,
};

use clap::{Parser, Subcommand};
use thiserror::Error as ThisError;

/// Exit codes, for `--help`.
const EXIT_CODES: &str = "Exit codes:
  0  done (tx watch: committed)
  1  refused or failed
  2  wrong usage or configuration
  3  tx watch: rolled back
  4  tx watch: parked, or tx list --stuck found something";

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
    Demo(crate::demo::DemoArgs),
    /// One of the demo's processes.
    #[cfg(feature = "demo")]
    #[command(hide = true)]
    DemoService {
        /// Which one.
        #[command(subcommand)]
        service: crate::demo::DemoService,
    },
}

/// What ends a command: an exit code of its own, or an error.
#[derive(Debug, ThisError)]
enum Failure {
    /// The configuration or the arguments are wrong.
    #[error("{0}")]
    Usage(String),
    /// Everything else.
    #[error("{0}")]
    Failed(String, #[source] Option<Box<dyn Error + Send + Sync>>),
    /// Nobody reads what is printed any more.
    #[error("the output is closed")]
    Output(#[from] io::Error),
}

impl Failure {
    fn because(what: impl Into<String>, source: impl Error + Send + Sync + 'static) -> Self {
        Self::Failed(what.into(), Some(Box::new(source)))
    }

    fn code(&self) -> u8 {
        match self {
            Self::Usage(_) => 2,
            Self::Failed(..) | Self::Output(_) => 1,
        }
    }
}

type Outcome = Result<u8, Failure>;

/// Understands the command line, carries it out, tells errors once with their chain.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = match cli.command {
        Command::Serve(args) => serve::run(&args),
        Command::Config(args) => configuration::run(&args),
        Command::Tx(args) => client::block_on(tx::run(args)),
        Command::Participants(args) => client::block_on(participants::run(args)),
        #[cfg(feature = "demo")]
        Command::Demo(args) => return demo(crate::demo::run(args)),
        #[cfg(feature = "demo")]
        Command::DemoService { service } => {
            let run = crate::demo::run_service(service);
            return demo(async { run.await.map(|()| ExitCode::SUCCESS) });
        }
    };
    match outcome {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            let _ = tell(&failure);
            ExitCode::from(failure.code())
        }
    }
}

/// Runs the demo or one of its processes, which tell their errors in their own way.
#[cfg(feature = "demo")]
fn demo(run: impl Future<Output = anyhow::Result<ExitCode>>) -> ExitCode {
    let outcome = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(anyhow::Error::from)
        .and_then(|runtime| {
            let outcome = runtime.block_on(run);
            // A read of standard input that still waits must not keep the process.
            runtime.shutdown_background();
            outcome
        });
    outcome.unwrap_or_else(|error| {
        let _ = writeln!(io::stderr().lock(), "error: {error:#}");
        ExitCode::FAILURE
    })
}

fn tell(failure: &Failure) -> io::Result<()> {
    let mut text = failure.to_string();
    let mut source = failure.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        // Some errors print their source themselves.
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    writeln!(io::stderr().lock(), "error: {text}")
}

fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(())
}
