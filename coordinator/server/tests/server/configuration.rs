//! Mistakes in the configuration, and the order of its sources.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use tercet_server::config::{Config, Effective, KEYS, Mistakes, Origin, Sources};

fn flags(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .map(|&(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

fn environment(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    flags(pairs).into_iter().collect()
}

fn file(text: &str) -> (PathBuf, String) {
    (PathBuf::from("tercet.toml"), text.to_owned())
}

#[test]
fn flags_go_before_the_environment_and_that_before_the_file() {
    let sources = Sources {
        flags: flags(&[("node", "flag")]),
        environment: environment(&[
            ("TERCET_NODE", "variable"),
            ("TERCET_LEASE", "20s"),
            ("TERCET_COORDINATOR", "http://elsewhere:1"),
            ("PATH", "/bin"),
        ]),
        file: Some(file(
            "node = \"file\"\nlease = \"30s\"\npoll_rows = 100\ninsecure = true\n",
        )),
    };
    let effective = Effective::from_sources(&sources).unwrap();
    assert_eq!(effective.config.node, "flag");
    assert_eq!(effective.config.lease, Duration::from_secs(20));
    assert_eq!(effective.config.engine.lease, Duration::from_secs(20));
    assert_eq!(effective.config.engine.page, 100);
    assert_eq!(effective.origins["node"], Origin::Flag);
    assert_eq!(
        effective.origins["lease"].to_string(),
        "environment TERCET_LEASE"
    );
    assert_eq!(
        effective.origins["poll_rows"].to_string(),
        "file tercet.toml"
    );
    assert_eq!(effective.origins["listen"], Origin::Default);
}

#[test]
fn every_value_is_accepted_in_the_form_in_which_it_is_shown() {
    let defaults = Effective::from_sources(&Sources::default()).unwrap();
    assert_eq!(defaults.config, Config::default());
    let shown: BTreeMap<_, _> = defaults
        .lines()
        .filter(|(_, value, _)| !value.is_empty())
        .map(|(key, value, _)| (key.name.to_owned(), value))
        .collect();
    assert_eq!(shown.len(), KEYS.len() - 1, "only advertise is empty");
    let sources = Sources {
        flags: shown,
        ..Sources::default()
    };
    assert_eq!(
        Effective::from_sources(&sources).unwrap().config,
        Config::default()
    );
}

fn mistakes(sources: &Sources) -> Vec<(String, String)> {
    let Mistakes(list) = Effective::from_sources(sources).unwrap_err();
    list.into_iter()
        .map(|mistake| (mistake.key, mistake.what))
        .collect()
}

#[test]
fn a_word_that_is_no_level_is_refused() {
    for value in ["inf", "off", "", "info,tercet", "tercet=inf", "info,,debug"] {
        let sources = Sources {
            flags: flags(&[("log_level", value)]),
            ..Sources::default()
        };
        assert_eq!(mistakes(&sources).len(), 1, "{value}");
    }
    for value in ["trace", "info,tercet_server=debug"] {
        let sources = Sources {
            flags: flags(&[("log_level", value)]),
            ..Sources::default()
        };
        assert!(Effective::from_sources(&sources).is_ok(), "{value}");
    }
}

#[test]
fn every_key_refuses_a_wrong_value_and_names_the_accepted_ones() {
    let wrong = [
        ("listen", "localhost"),
        ("insecure", "yes"),
        ("advertise", "https://host:1"),
        ("node", "a@b"),
        ("database", "no/such/directory/tercet.db"),
        ("lease", "100ms"),
        ("drain_timeout", "1h"),
        ("log_level", "=="),
        ("log_format", "xml"),
        ("transactions_in_memory", "1"),
        ("memory_bytes", "1"),
        ("waiting_events", "-1"),
        ("hold", "2m"),
        ("poll_interval", "0s"),
        ("poll_rows", "many"),
        ("commit_writes", "0"),
        ("commit_linger", "1m"),
        ("write_patience", "1h"),
    ];
    let sources = Sources {
        flags: flags(&wrong),
        ..Sources::default()
    };
    let mistakes = mistakes(&sources);
    let keys: Vec<_> = mistakes.iter().map(|(key, _)| key.as_str()).collect();
    let all: Vec<_> = KEYS.iter().map(|key| key.name).collect();
    assert_eq!(
        keys, all,
        "each key is tried, and all mistakes are reported at once"
    );
    for (key, what) in mistakes {
        assert!(what.contains("; accepted: "), "{key}: {what}");
    }
}

#[test]
fn unknown_keys_are_mistakes_wherever_they_are() {
    let sources = Sources {
        flags: BTreeMap::new(),
        environment: environment(&[("TERCET_LISSEN", "127.0.0.1:1")]),
        file: Some(file("leese = \"1s\"\nlease = [1]\n")),
    };
    let keys: Vec<_> = mistakes(&sources).into_iter().map(|(key, _)| key).collect();
    assert_eq!(keys, ["lease", "leese", "lissen"]);
    let sources = Sources {
        file: Some(file("lease = = 1")),
        ..Sources::default()
    };
    assert_eq!(mistakes(&sources)[0].0, "config");
}

#[test]
fn an_address_that_others_can_reach_needs_insecure_and_a_name() {
    let listen = |pairs: &[(&str, &str)]| Sources {
        flags: flags(pairs),
        ..Sources::default()
    };
    let keys = |sources: &Sources| -> Vec<_> {
        mistakes(sources).into_iter().map(|(key, _)| key).collect()
    };
    assert_eq!(keys(&listen(&[("listen", "192.0.2.1:7460")])), ["listen"]);
    assert_eq!(
        keys(&listen(&[("listen", "0.0.0.0:7460"), ("insecure", "true")])),
        ["advertise"]
    );
    let right = [
        ("listen", "0.0.0.0:7460"),
        ("insecure", "true"),
        ("advertise", "http://tercet.example:7460"),
    ];
    Effective::from_sources(&listen(&right)).unwrap();
    assert_eq!(keys(&listen(&[("lease", "2s")])), ["hold"]);
}

#[test]
fn a_database_that_is_no_file_is_refused_without_its_password() {
    for (value, named) in [
        ("postgres://tercet:secret@host/tercet", "postgres:"),
        ("mysql://tercet:se@cret@host/tercet", "mysql:"),
        ("postgres:tercet:secret@host/tercet", "postgres:"),
        ("postgres://tercet:secret", "postgres:"),
        ("postgres://host/tercet?password=secret", "postgres:"),
        ("sqlite:postgres://tercet:secret@host/tercet", "URL"),
        ("./postgres://tercet:secret@host/tercet", "URL"),
        ("//tercet:secret@host/tercet", "no directory"),
        ("sqlite:", "no file"),
        (":memory:", "memory"),
    ] {
        let sources = Sources {
            flags: flags(&[("database", value)]),
            ..Sources::default()
        };
        let mistakes = mistakes(&sources);
        let [(_, what)] = &mistakes[..] else {
            panic!("{value}: {mistakes:?}");
        };
        assert!(what.contains(named), "{what}");
        assert!(
            !what.contains("cret@") && !what.contains("secret"),
            "{what}"
        );
    }
    let sources = Sources {
        flags: flags(&[("database", "sqlite:tercet.db")]),
        ..Sources::default()
    };
    let effective = Effective::from_sources(&sources).unwrap();
    assert_eq!(effective.config.database, "sqlite:tercet.db");
}

#[test]
fn an_address_to_advertise_is_taken_as_it_is_or_refused() {
    for value in [
        "http://tercet.example:7460/",
        "http://tercet.example",
        "http://tercet.example:0",
        "http://tercet.example:70000",
        "http://tercet.example:7460/path",
        "http://tercet.example:7460#part",
        "http://user@tercet.example:7460",
    ] {
        let sources = Sources {
            flags: flags(&[("advertise", value)]),
            ..Sources::default()
        };
        let (key, what) = mistakes(&sources).remove(0);
        assert_eq!(key, "advertise", "{value}");
        assert!(what.ends_with("; accepted: http://host:port"), "{what}");
    }
}
