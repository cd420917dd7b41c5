//! The configuration's file: read, or refused with a key and a description per mistake.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tercet_server::config::{Effective, Sources};

fuzz_target!(|text: &str| {
    let sources = Sources {
        file: Some(("tercet.toml".into(), text.to_owned())),
        ..Sources::default()
    };
    if let Err(mistakes) = Effective::from_sources(&sources) {
        assert!(!mistakes.0.is_empty());
        assert!(mistakes.0.iter().all(|it| !it.key.is_empty() && !it.what.is_empty()));
    }
});
