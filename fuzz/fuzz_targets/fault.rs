//! What `--fail` says: a fault that reads as it is written, or words about what is accepted.

#![no_main]

use demo_service::Fault;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| match text.parse::<Fault>() {
    Ok(fault) => assert_eq!(fault.to_string().parse::<Fault>(), Ok(fault)),
    Err(what) => assert!(what.contains("expected")),
});
