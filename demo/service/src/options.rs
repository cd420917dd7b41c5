//! The options of a service.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context;
use clap::Args;

use crate::faults::Fault;
use crate::seed::SeedPart;

/// The options of a service.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// A coordinator to attach to; may be given several times
    #[arg(
        long,
        env = "DEMO_COORDINATOR",
        value_delimiter = ',',
        value_name = "URL",
        default_value = "http://127.0.0.1:7460"
    )]
    pub coordinator: Vec<String>,

    /// Where to serve the queries; port 0 takes a free one
    #[arg(
        long,
        env = "DEMO_LISTEN",
        value_name = "ADDRESS",
        default_value = "127.0.0.1:0"
    )]
    pub listen: SocketAddr,

    /// The SQLite file; made if it is missing
    #[arg(long, env = "DEMO_DATABASE", value_name = "FILE")]
    pub database: PathBuf,

    /// The seed file (TOML); what already stands in the database is left as it is
    #[arg(long, env = "DEMO_SEED", value_name = "FILE")]
    pub seed: Option<PathBuf>,

    /// Make a share P (0 to 1) of the operations fail: OP:SERVICE=P or OP:SERVICE=P:WHEN, OP being
    /// try, confirm or cancel, WHEN before, after (default), hang or reject; may be given several times
    #[arg(long, env = "DEMO_FAIL", value_delimiter = ',', value_name = "FAULT")]
    pub fail: Vec<Fault>,

    /// Calls taken at once
    #[arg(
        long,
        env = "DEMO_CONCURRENCY",
        value_name = "CALLS",
        default_value_t = 64
    )]
    pub concurrency: u32,

    /// Take the barrier away, to see what it is for
    #[arg(long, hide = true)]
    pub without_barrier: bool,

    /// Stop when standard input ends, as it does when the parent process is gone
    #[arg(long, hide = true)]
    pub until_stdin_ends: bool,
}

impl Options {
    /// A service's part of the seed file; empty without one.
    pub(crate) fn seed<S: SeedPart>(&self) -> anyhow::Result<S> {
        let Some(file) = &self.seed else {
            return Ok(S::default());
        };
        let text = std::fs::read_to_string(file)
            .with_context(|| format!("cannot read the seed file {}", file.display()))?;
        S::parse(&text)
            .map_err(anyhow::Error::msg)
            .context("the seed file")
    }
}
