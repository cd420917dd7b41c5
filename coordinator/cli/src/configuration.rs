//! `tercet config`, and the flags of `tercet serve`: one for each key.

use std::fmt::Write as _;
use std::{collections::BTreeMap, env, fs, path::PathBuf};

use clap::{Arg, ArgMatches, Args, Command, FromArgMatches, Subcommand, error::ErrorKind};
use tercet_server::config::{Effective, KEYS, Sources};

use crate::{
    failure::{CommandResult, Failure},
    print,
};

/// The flags that set keys of the configuration.
#[derive(Clone, Debug, Default)]
pub(crate) struct Settings {
    file: Option<PathBuf>,
    flags: BTreeMap<String, String>,
}

impl Args for Settings {
    fn augment_args(command: Command) -> Command {
        let command = command.arg(
            Arg::new("config")
                .long("config")
                .env("TERCET_CONFIG")
                .value_name("FILE")
                .value_parser(clap::value_parser!(PathBuf))
                .help("A TOML file with keys of the configuration"),
        );
        KEYS.iter().fold(command, |command, key| {
            let mut arg = Arg::new(key.name)
                .long(key.flag())
                .value_name("VALUE")
                .help(format!(
                    "{} [{}; {}]",
                    key.help,
                    key.accepts,
                    key.variable()
                ));
            if key.switch {
                arg = arg
                    .num_args(0..=1)
                    .require_equals(true)
                    .default_missing_value("true");
            }
            command.arg(arg)
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Settings {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let flags = KEYS
            .iter()
            .filter_map(|key| {
                let value = matches.get_one::<String>(key.name)?;
                Some((key.name.to_owned(), value.clone()))
            })
            .collect();
        Ok(Self {
            file: matches.get_one::<PathBuf>("config").cloned(),
            flags,
        })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches).map_err(|_| clap::Error::new(ErrorKind::Format))?;
        Ok(())
    }
}

impl Settings {
    /// Puts flags, environment and file together.
    pub(crate) fn effective(&self) -> Result<Effective, Failure> {
        let file = match &self.file {
            None => None,
            Some(path) => {
                let text = fs::read_to_string(path).map_err(|error| {
                    Failure::Usage(format!("config file {}: {error}", path.display()))
                })?;
                Some((path.clone(), text))
            }
        };
        let sources = Sources {
            flags: self.flags.clone(),
            environment: env::vars_os()
                .filter_map(|(name, value)| {
                    Some((name.into_string().ok()?, value.into_string().ok()?))
                })
                .collect(),
            file,
        };
        Effective::from_sources(&sources).map_err(|mistakes| Failure::Usage(mistakes.to_string()))
    }
}

#[derive(clap::Args)]
pub(crate) struct ConfigArgs {
    #[command(subcommand)]
    command: ConfigCommand,
}

#[derive(Subcommand)]
enum ConfigCommand {
    /// Check every key of the configuration, and report all mistakes.
    Check(Settings),
    /// Print each key with its value and where that comes from.
    Show(Settings),
}

pub(crate) fn run(args: &ConfigArgs) -> CommandResult {
    match &args.command {
        ConfigCommand::Check(settings) => {
            settings.effective()?;
            print("the configuration is right\n")?;
        }
        ConfigCommand::Show(settings) => {
            let effective = settings.effective()?;
            let mut text = String::new();
            for (key, value, origin) in effective.lines() {
                let line = format!("{} = {}", key.name, toml_value(&value));
                let _ = writeln!(text, "{line:<48} # {origin}");
            }
            print(&text)?;
        }
    }
    Ok(0)
}

/// The value as a TOML file would have it.
fn toml_value(value: &str) -> String {
    if value.parse::<i64>().is_ok() || value.parse::<bool>().is_ok() {
        value.to_owned()
    } else {
        toml::Value::from(value).to_string()
    }
}
