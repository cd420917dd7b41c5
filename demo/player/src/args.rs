//! The command line of `tercet demo` and of the processes it starts.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use demo_service::Fault;
use serde::Serialize;

/// Play the exchange of points for coupons: coordinator, both services and an initiator as separate
/// processes, and the books at the end
#[derive(Args, Clone, Debug)]
pub struct DemoArgs {
    /// How the services do their share: freeze, then confirm; or do it at once, and undo it
    #[arg(long, value_enum, default_value_t = Mode::Tcc)]
    pub mode: Mode,

    /// The orders; without it those that come with the program
    #[arg(
        long,
        value_name = "FILE",
        help = "The orders (CSV: order_id,user,points,coupon); without it those that come with the \
                program. A line that is no order is reported, and the rest runs"
    )]
    pub orders: Option<PathBuf>,

    /// The opening balances and the coupons (TOML); without it those that come with the program
    #[arg(long, value_name = "FILE")]
    pub seed: Option<PathBuf>,

    /// Make a share P (0 to 1) of a service's operations fail: OP:SERVICE=P or OP:SERVICE=P:WHEN, OP
    /// being try, confirm or cancel, SERVICE points or coupons; WHEN before: nothing is done; after
    /// (default): the effect is committed and the reply lost; hang: no answer; reject: a business
    /// rejection. May be given several times
    #[arg(long, value_name = "FAULT")]
    pub fail: Vec<Fault>,

    /// Send SIGKILL to this process in the middle of its work, and start it again on the same data;
    /// may be given several times
    #[arg(long, value_enum, value_name = "PROCESS")]
    pub kill: Vec<Role>,

    /// Print the result as one JSON object
    #[arg(long)]
    pub json: bool,

    /// Where databases and logs go, and stay; without it a temporary folder, removed if all went well
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,

    /// How the orders are fed
    #[command(flatten)]
    pub pace: Pace,

    /// Take the barrier away from both services, to see what it is for
    #[arg(long, hide = true)]
    pub without_barrier: bool,
}

/// The pace of the feed, and its time limits.
#[derive(Args, Clone, Debug)]
pub struct Pace {
    /// Orders under way at once
    #[arg(long, value_name = "ORDERS", default_value_t = 16,
          value_parser = clap::value_parser!(u16).range(1..=1_024))]
    pub concurrency: u16,

    /// How long an order's Tries may take before it is rolled back
    #[arg(long, value_name = "MS", default_value = "10000", value_parser = millis)]
    pub phase_one_ms: Duration,

    /// How long the coordinator waits for one answer of a service before it asks again
    #[arg(long, value_name = "MS", default_value = "500", value_parser = millis)]
    pub call_timeout_ms: Duration,

    /// Calls of one Confirm or Cancel before its transaction is parked
    #[arg(long, value_name = "CALLS", default_value_t = 30,
          value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub max_attempts: u32,

    /// How long an order may take in all, kills and restarts included
    #[arg(long, value_name = "MS", default_value = "60000", value_parser = millis)]
    pub patience_ms: Duration,
}

fn millis(text: &str) -> Result<Duration, String> {
    match text.parse() {
        Ok(ms @ 1..=600_000) => Ok(Duration::from_millis(ms)),
        _ => Err("expected milliseconds, 1 to 600000".to_owned()),
    }
}

/// The way in which the services do their share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Try freezes, Confirm uses what was frozen, Cancel gives it back
    Tcc,
    /// Try really does it, Cancel undoes it
    Compensate,
}

/// One of the demo's processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// The coordinator
    Coordinator,
    /// The points service
    Points,
    /// The coupons service
    Coupons,
    /// Whoever feeds the orders
    Initiator,
}

impl Role {
    /// Its name in a sentence.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Coordinator => "coordinator",
            Self::Points => "points service",
            Self::Coupons => "coupons service",
            Self::Initiator => "initiator",
        }
    }

    /// Its name on the command line, also that of its log file.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Coordinator => "coordinator",
            Self::Points => "points",
            Self::Coupons => "coupons",
            Self::Initiator => "initiator",
        }
    }
}

/// The demo's processes, each run by the demo itself.
#[derive(Subcommand, Clone, Debug)]
pub enum DemoService {
    /// The points service
    Points(demo_service::Options),
    /// The coupons service
    Coupons(demo_service::Options),
    /// Feeds the orders
    Initiator(InitiatorArgs),
}

/// The command line of the process that feeds the orders.
#[derive(Args, Clone, Debug)]
pub struct InitiatorArgs {
    /// The coordinator
    #[arg(long, value_name = "URL")]
    pub coordinator: String,
    /// The orders
    #[arg(long, value_name = "FILE")]
    pub orders: PathBuf,
    /// The seed
    #[arg(long, value_name = "FILE")]
    pub seed: PathBuf,
    /// How the services do their share
    #[arg(long, value_enum)]
    pub mode: Mode,
    /// How the orders are fed
    #[command(flatten)]
    pub pace: Pace,
}
