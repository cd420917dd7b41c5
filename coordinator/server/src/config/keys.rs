//! Every key: its name, the values that it accepts, and the functions that read and show a value.

use std::{fmt::Display, ops::RangeInclusive, path::Path, str::FromStr, time::Duration};

use tercet_core::limits;

use super::{Config, LogFormat};
use crate::address;

/// One key of the configuration.
pub struct Key {
    /// Its name in the file; with dashes it is the flag, in capitals after `TERCET_` the variable.
    pub name: &'static str,
    /// Its purpose, for `--help`.
    pub help: &'static str,
    /// The values that it accepts.
    pub accepts: &'static str,
    /// Whether it is a flag that needs no value.
    pub switch: bool,
    /// Reads a value into a configuration, or returns the rule that the value breaks.
    pub set: fn(&mut Config, &str) -> Result<(), String>,
    /// Returns the value of a configuration, in the form in which it is given.
    pub show: fn(&Config) -> String,
}

impl Key {
    /// Returns the flag, without its dashes.
    pub fn flag(&self) -> String {
        self.name.replace('_', "-")
    }

    /// Returns the variable of the environment.
    pub fn variable(&self) -> String {
        format!("{}{}", super::PREFIX, self.name.to_uppercase())
    }
}

/// Returns the key of this name.
pub(super) fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

/// Every key.
pub const KEYS: &[Key] = &[
    Key {
        name: "listen",
        help: "The address to listen on; port 0 takes a free one",
        accepts: "an IP address with a port, 127.0.0.1:7460 or [::1]:7460",
        switch: false,
        set: |config, value| parse(value).map(|it| config.listen = it),
        show: |config| config.listen.to_string(),
    },
    Key {
        name: "insecure",
        help: "Allow to listen where others can connect, without encryption and authentication",
        accepts: "true or false",
        switch: true,
        set: |config, value| parse(value).map(|it| config.insecure = it),
        show: |config| config.insecure.to_string(),
    },
    Key {
        name: "advertise",
        help: "The address that is given to participants; default: the one listened on",
        accepts: address::FORM,
        switch: false,
        set: |config, value| advertise(value).map(|it| config.advertise = it),
        show: |config| config.advertise.clone(),
    },
    Key {
        name: "node",
        help: "The name of this node",
        accepts: "1 to 128 bytes without NUL and @",
        switch: false,
        set: |config, value| node(value).map(|it| config.node = it),
        show: |config| config.node.clone(),
    },
    Key {
        name: "database",
        help: "The file of the embedded database; it is made when it is not there",
        accepts: "the path of a file in a directory that exists, also as sqlite:PATH or sqlite://PATH",
        switch: false,
        set: |config, value| database(value).map(|it| config.database = it),
        show: |config| config.database.clone(),
    },
    Key {
        name: "lease",
        help: "The length of the node's lease, which is renewed every third of it",
        accepts: "1s to 5m",
        switch: false,
        set: |config, value| {
            duration(value, Duration::from_secs(1)..=Duration::from_mins(5))
                .map(|it| config.lease = it)
        },
        show: |config| duration_text(config.lease),
    },
    Key {
        name: "drain_timeout",
        help: "The longest wait of a stopping server for the work in hand",
        accepts: "0s to 10m",
        switch: false,
        set: |config, value| {
            duration(value, Duration::ZERO..=Duration::from_mins(10))
                .map(|it| config.drain_timeout = it)
        },
        show: |config| duration_text(config.drain_timeout),
    },
    Key {
        name: "log_level",
        help: "The log lines to write",
        accepts: "error, warn, info, debug, trace, or a list like info,tercet_server=debug",
        switch: false,
        set: |config, value| filter(value).map(|it| config.log_level = it),
        show: |config| config.log_level.clone(),
    },
    Key {
        name: "log_format",
        help: "The form of log lines",
        accepts: "text or json",
        switch: false,
        set: |config, value| log_format(value).map(|it| config.log_format = it),
        show: |config| match config.log_format {
            LogFormat::Text => "text".to_owned(),
            LogFormat::Json => "json".to_owned(),
        },
    },
    Key {
        name: "transactions_in_memory",
        help: "Unfinished transactions held in memory; more wait in the database",
        accepts: "100 to 10000000",
        switch: false,
        set: |config, value| number(value, 100..=10_000_000).map(|it| config.engine.capacity = it),
        show: |config| config.engine.capacity.to_string(),
    },
    Key {
        name: "memory_bytes",
        help: "Bytes of unfinished transactions held in memory, about",
        accepts: "8388608 to 1099511627776",
        switch: false,
        set: |config, value| {
            number(value, 8_388_608..=1_099_511_627_776).map(|it| config.engine.memory = it)
        },
        show: |config| config.engine.memory.to_string(),
    },
    Key {
        name: "waiting_events",
        help: "Requests and answers of one transaction that may wait for its write",
        accepts: "8 to 4096",
        switch: false,
        set: |config, value| number(value, 8..=4_096).map(|it| config.engine.waiting_events = it),
        show: |config| config.engine.waiting_events.to_string(),
    },
    Key {
        name: "hold",
        help: "Waits up to this long are spent in memory, longer ones in the database",
        accepts: "100ms to 1m, less than the lease",
        switch: false,
        set: |config, value| {
            duration(value, Duration::from_millis(100)..=Duration::from_mins(1))
                .map(|it| config.engine.hold = it)
        },
        show: |config| duration_text(config.engine.hold),
    },
    Key {
        name: "poll_interval",
        help: "The interval at which the database is queried for due transactions",
        accepts: "10ms to 1m",
        switch: false,
        set: |config, value| {
            duration(value, Duration::from_millis(10)..=Duration::from_mins(1))
                .map(|it| config.engine.poll = it)
        },
        show: |config| duration_text(config.engine.poll),
    },
    Key {
        name: "poll_rows",
        help: "Due transactions read at once",
        accepts: "16 to 10000",
        switch: false,
        set: |config, value| number(value, 16..=10_000).map(|it| config.engine.page = it),
        show: |config| config.engine.page.to_string(),
    },
    Key {
        name: "commit_writes",
        help: "Transactions changed in one commit",
        accepts: "1 to 4096",
        switch: false,
        set: |config, value| number(value, 1..=4_096).map(|it| config.lane.batch = it),
        show: |config| config.lane.batch.to_string(),
    },
    Key {
        name: "commit_linger",
        help: "The longest time for which a write lingers for company when no caller waits for it",
        accepts: "0ms to 1s",
        switch: false,
        set: |config, value| {
            duration(value, Duration::ZERO..=Duration::from_secs(1))
                .map(|it| config.lane.linger = it)
        },
        show: |config| duration_text(config.lane.linger),
    },
    Key {
        name: "write_patience",
        help: "The longest wait of callers for a database that takes no writes",
        accepts: "100ms to 5m",
        switch: false,
        set: |config, value| {
            duration(value, Duration::from_millis(100)..=Duration::from_mins(5))
                .map(|it| config.lane.patience = it)
        },
        show: |config| duration_text(config.lane.patience),
    },
];

fn parse<T: FromStr>(value: &str) -> Result<T, String> {
    value.parse().map_err(|_| "cannot be read".to_owned())
}

fn number<T: FromStr + PartialOrd + Display>(
    value: &str,
    range: RangeInclusive<T>,
) -> Result<T, String> {
    let number = parse(value)?;
    if range.contains(&number) {
        Ok(number)
    } else {
        Err("is out of range".to_owned())
    }
}

fn duration(value: &str, range: RangeInclusive<Duration>) -> Result<Duration, String> {
    let duration = humantime::parse_duration(value)
        .map_err(|_| "is no duration like 500ms, 10s or 2m".to_owned())?;
    if range.contains(&duration) {
        Ok(duration)
    } else {
        Err("is out of range".to_owned())
    }
}

/// Returns a duration in the form in which it is given.
pub(super) fn duration_text(duration: Duration) -> String {
    humantime::format_duration(duration).to_string()
}

fn advertise(value: &str) -> Result<String, String> {
    address::check(value).map(|()| value.to_owned())
}

fn node(value: &str) -> Result<String, String> {
    if value.is_empty() || value.len() > limits::NAME_BYTES || value.contains(['\0', '@']) {
        Err("is no name of a node".to_owned())
    } else {
        Ok(value.to_owned())
    }
}

fn database(value: &str) -> Result<String, String> {
    let path = tercet_store::sqlite_path(value)?;
    if path.contains("://") {
        return Err("names no file but a URL".to_owned());
    }
    let path = Path::new(path);
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    if path.is_dir() {
        Err("is no file".to_owned())
    } else if !directory.is_dir() {
        Err("lies in no directory that exists".to_owned())
    } else {
        Ok(value.to_owned())
    }
}

/// The levels of log lines.
const LEVELS: [&str; 5] = ["error", "warn", "info", "debug", "trace"];

fn filter(value: &str) -> Result<String, String> {
    // A word that is no level would be a target, and silence all others.
    let wrong = value.split(',').find(|part| {
        let level = part.split_once('=').map_or(*part, |(_, level)| level);
        !LEVELS.contains(&level.trim())
    });
    let parsed = value.parse::<tracing_subscriber::filter::Targets>();
    match (wrong, parsed) {
        (None, Ok(_)) => Ok(value.to_owned()),
        _ => Err("is no level and no list of levels".to_owned()),
    }
}

fn log_format(value: &str) -> Result<LogFormat, String> {
    match value {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err("is neither text nor json".to_owned()),
    }
}
