//! The options of a run, and the times that follow from its length.

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;

/// The most memory that the coordinator may use, in MiB. Its transactions in hand have a bound of their own
/// (`memory_bytes`); this is what the stuck transactions, slow readers and traffic of a run may add up to.
const MEMORY_LIMIT_MIB: u64 = 300;
/// The longest quiet phase.
const QUIET_MAX: Duration = Duration::from_mins(1);
/// The shortest and the longest default of the time between two troubles.
const TROUBLE_EVERY: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(90));
/// The time before the end in which no trouble begins any more.
const CALM: Duration = Duration::from_secs(5);

/// Runs the coordinator for long, among participants that hang and clients that do not read, kills it again and again,
/// and compares the books at the end
#[derive(Clone, Debug, Parser)]
#[command(name = "cargo soak", bin_name = "cargo soak")]
pub(crate) struct Options {
    /// The length of the run in minutes, without its settling
    #[arg(long, default_value_t = 30.0, value_parser = minutes)]
    pub(crate) minutes: f64,
    /// Transactions that get stuck at the beginning
    #[arg(long, default_value_t = 100_000)]
    pub(crate) stuck: usize,
    /// Healthy transactions per second
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) rate: u32,
    /// The seed of every choice
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Seconds between two troubles of the coordinator, on average; by default a twelfth of the run, from 10 to 90
    #[arg(long)]
    pub(crate) trouble_every: Option<u64>,
    /// The most memory that the coordinator may use, in MiB
    #[arg(long, default_value_t = MEMORY_LIMIT_MIB)]
    pub(crate) memory_limit: u64,
    /// The longest time without an answer to the healthy traffic, in seconds; an outage adds its own length
    #[arg(long, default_value_t = 5)]
    pub(crate) gap_limit: u64,
    /// Write the measurements to this file
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Draw the run to this file
    #[arg(long, value_name = "FILE")]
    pub(crate) svg: Option<PathBuf>,
    /// The folder of the database; by default a new one beside this program, which is removed after a good run
    #[arg(long)]
    pub(crate) folder: Option<PathBuf>,
    /// The coordinator's program; by default it is built
    #[arg(long)]
    pub(crate) server: Option<PathBuf>,
}

fn minutes(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(minutes) if (0.2..=10_000.0).contains(&minutes) => Ok(minutes),
        _ => Err("0.2 to 10000 minutes are accepted".to_owned()),
    }
}

impl Options {
    /// Returns the time from the start to the end of the traffic.
    pub(crate) fn length(&self) -> Duration {
        Duration::from_secs_f64(self.minutes * 60.0)
    }

    /// Returns the length of the phase of healthy traffic alone.
    pub(crate) fn quiet(&self) -> Duration {
        (self.length() / 10).min(QUIET_MAX)
    }

    /// Returns the time from the start to the moment at which the sick are healed.
    pub(crate) fn heal(&self) -> Duration {
        self.length() * 3 / 4
    }

    /// Returns the time from the start after which no trouble begins.
    pub(crate) fn calm(&self) -> Duration {
        self.length().saturating_sub(CALM)
    }

    /// Returns the average time between two troubles.
    pub(crate) fn trouble_every(&self) -> Duration {
        let (shortest, longest) = TROUBLE_EVERY;
        let default = (self.length() / 12).clamp(shortest, longest);
        self.trouble_every.map_or(default, Duration::from_secs)
    }

    /// Returns the longest gap between two answers outside of outages.
    pub(crate) fn gap_limit(&self) -> Duration {
        Duration::from_secs(self.gap_limit)
    }
}
