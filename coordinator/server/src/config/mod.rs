//! The configuration: read once, checked whole, before anything binds.
//!
//! Each key can be given as a flag, as a variable of the environment or in a TOML file; a flag goes before the
//! environment, the environment before the file. Every mistake is reported with its key and with the accepted values,
//! and an unknown key is one.

mod keys;

use std::fmt::Write as _;
use std::{
    collections::BTreeMap,
    fmt,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

pub use keys::{KEYS, Key};
use tercet_core::{config::EngineConfig, lane::LaneConfig};
use thiserror::Error;

/// The form of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines: one object per line.
    Json,
}

/// The configuration of a server. `docs/configuration.md` explains every key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The address to listen on.
    pub listen: SocketAddr,
    /// Whether an address that others can reach may be listened on without protection.
    pub insecure: bool,
    /// The address that is given to participants; empty: the one listened on.
    pub advertise: String,
    /// The node's name.
    pub node: String,
    /// The database, as [`tercet_store::open`] takes it.
    pub database: String,
    /// The length of the node's lease.
    pub lease: Duration,
    /// The longest wait of a stopping server for the work in hand.
    pub drain_timeout: Duration,
    /// The log lines to write.
    pub log_level: String,
    /// The form of log lines.
    pub log_format: LogFormat,
    /// The engine's bounds.
    pub engine: EngineConfig,
    /// The bounds of commits.
    pub lane: LaneConfig,
}

/// The port of the default address.
pub const PORT: u16 = 7460;

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), PORT),
            insecure: false,
            advertise: String::new(),
            node: "node-1".to_owned(),
            database: "tercet.db".to_owned(),
            lease: Duration::from_secs(10),
            drain_timeout: Duration::from_secs(10),
            log_level: "info".to_owned(),
            log_format: LogFormat::Text,
            engine: EngineConfig::default(),
            lane: LaneConfig::default(),
        }
    }
}

/// The source of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The default: no source gives a value.
    Default,
    /// The TOML file.
    File(PathBuf),
    /// This variable.
    Environment(String),
    /// The command line.
    Flag,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::Flag => f.write_str("flag"),
        }
    }
}

/// One mistake in the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// The key.
    pub key: String,
    /// The source of its value.
    pub origin: Origin,
    /// The mistake, and the accepted values.
    pub what: String,
}

/// Every mistake in the configuration.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{}", in_words(.0))]
pub struct Mistakes(pub Vec<Mistake>);

fn in_words(mistakes: &[Mistake]) -> String {
    let mut text = format!("the configuration has {} mistake(s):", mistakes.len());
    for mistake in mistakes {
        let _ = write!(
            text,
            "\n  {} ({}): {}",
            mistake.key, mistake.origin, mistake.what
        );
    }
    text
}

/// The sources of a configuration, not yet read.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// Flags, by key.
    pub flags: BTreeMap<String, String>,
    /// The whole environment.
    pub environment: Vec<(String, String)>,
    /// The TOML file and its text, if one is named.
    pub file: Option<(PathBuf, String)>,
}

/// A configuration, and the source of each of its values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effective {
    /// The configuration.
    pub config: Config,
    /// The sources, by key.
    pub origins: BTreeMap<&'static str, Origin>,
}

/// Variables that begin like keys and are none: they belong to other parts of the program.
const OTHER_VARIABLES: &[&str] = &["TERCET_CONFIG", "TERCET_COORDINATOR", "TERCET_FAILPOINT"];
const PREFIX: &str = "TERCET_";

impl Effective {
    /// Reads all sources.
    ///
    /// # Errors
    /// Every mistake in them.
    pub fn from_sources(sources: &Sources) -> Result<Self, Mistakes> {
        let mut mistakes = Vec::new();
        let file = read_file(sources, &mut mistakes);
        let environment = read_environment(sources, &mut mistakes);
        let mut config = Config::default();
        let mut origins = BTreeMap::new();
        for key in KEYS {
            let flag = sources
                .flags
                .get(key.name)
                .map(|value| (value, Origin::Flag));
            let variable = environment
                .get(key.name)
                .map(|value| (value, Origin::Environment(key.variable())));
            let given = flag.or(variable).or_else(|| {
                let (path, _) = sources.file.as_ref()?;
                Some((file.get(key.name)?, Origin::File(path.clone())))
            });
            let origin = match given {
                None => Origin::Default,
                Some((value, origin)) => {
                    if let Err(what) = (key.set)(&mut config, value) {
                        mistakes.push(Mistake {
                            key: key.name.to_owned(),
                            origin: origin.clone(),
                            what: format!(
                                "{:?} {what}; accepted: {}",
                                redacted(value),
                                key.accepts
                            ),
                        });
                    }
                    origin
                }
            };
            origins.insert(key.name, origin);
        }
        check_together(&config, &origins, &mut mistakes);
        config.engine.lease = config.lease;
        if mistakes.is_empty() {
            Ok(Self { config, origins })
        } else {
            Err(Mistakes(mistakes))
        }
    }

    /// Returns each key with its value and the source of that.
    pub fn lines(&self) -> impl Iterator<Item = (&'static Key, String, &Origin)> {
        KEYS.iter().map(|key| {
            let origin = self.origins.get(key.name).unwrap_or(&Origin::Default);
            (key, (key.show)(&self.config), origin)
        })
    }
}

/// Returns a value for messages, without the part of a URL that may hold a password.
fn redacted(value: &str) -> String {
    let plain = value.starts_with("http://") || value.starts_with("https://");
    let secret = value.contains(['@', '?']) || (value.contains("://") && !plain);
    match value.split_once(':') {
        Some((scheme, _)) if secret => format!("{scheme}:…"),
        _ => value.to_owned(),
    }
}

/// Reads the file's values, by key.
fn read_file(sources: &Sources, mistakes: &mut Vec<Mistake>) -> BTreeMap<String, String> {
    let Some((path, text)) = &sources.file else {
        return BTreeMap::new();
    };
    let mut wrong = |key: &str, what: String| {
        mistakes.push(Mistake {
            key: key.to_owned(),
            origin: Origin::File(path.clone()),
            what,
        });
    };
    let table: toml::Table = match text.parse() {
        Ok(table) => table,
        Err(error) => {
            wrong("config", format!("is no TOML: {}", error.message()));
            return BTreeMap::new();
        }
    };
    let mut values = BTreeMap::new();
    for (key, value) in table {
        if keys::find(&key).is_none() {
            wrong(&key, unknown());
            continue;
        }
        let text = match value {
            toml::Value::String(text) => text,
            toml::Value::Integer(number) => number.to_string(),
            toml::Value::Boolean(switch) => switch.to_string(),
            other => {
                wrong(
                    &key,
                    format!(
                        "is a {}; give a string, a number or true or false",
                        other.type_str()
                    ),
                );
                continue;
            }
        };
        values.insert(key, text);
    }
    values
}

/// Reads the environment's values, by key.
fn read_environment(sources: &Sources, mistakes: &mut Vec<Mistake>) -> BTreeMap<String, String> {
    let mut values = BTreeMap::new();
    for (name, value) in &sources.environment {
        let Some(rest) = name.strip_prefix(PREFIX) else {
            continue;
        };
        let key = rest.to_lowercase();
        if keys::find(&key).is_some() {
            values.insert(key, value.clone());
        } else if !OTHER_VARIABLES.contains(&name.as_str()) {
            mistakes.push(Mistake {
                key,
                origin: Origin::Environment(name.clone()),
                what: unknown(),
            });
        }
    }
    values
}

fn unknown() -> String {
    let names: Vec<_> = KEYS.iter().map(|key| key.name).collect();
    format!("is no key; the keys are {}", names.join(", "))
}

/// Checks the rules that hold between several keys.
fn check_together(
    config: &Config,
    origins: &BTreeMap<&'static str, Origin>,
    mistakes: &mut Vec<Mistake>,
) {
    let mut wrong = |key: &'static str, what: String| {
        mistakes.push(Mistake {
            key: key.to_owned(),
            origin: origins.get(key).cloned().unwrap_or(Origin::Default),
            what,
        });
    };
    if !config.listen.ip().is_loopback() && !config.insecure {
        wrong(
            "listen",
            format!(
                "{} can be reached by others, and there is neither encryption nor authentication; \
                 accepted: a loopback address, or any with insecure = true",
                config.listen
            ),
        );
    }
    if config.listen.ip().is_unspecified() && config.advertise.is_empty() {
        wrong(
            "advertise",
            format!(
                "is not given, and {} is no address to come back to; accepted: the address at which \
                 participants reach this node, http://host:port",
                config.listen
            ),
        );
    }
    if config.engine.hold >= config.lease {
        wrong(
            "hold",
            format!(
                "{} is not below the lease of {}; accepted: less than the lease",
                keys::duration_text(config.engine.hold),
                keys::duration_text(config.lease)
            ),
        );
    }
}
