//! The value of `--fail`: a fault whose text reads as the same fault, or an error that names the accepted forms.

#![no_main]

use demo_service::Fault;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| match text.parse::<Fault>() {
    Ok(fault) => assert_eq!(fault.to_string().parse::<Fault>(), Ok(fault)),
    Err(what) => assert!(what.contains("expected")),
});
