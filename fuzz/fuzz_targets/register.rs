//! A registration: accepted, or refused by naming fields.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tercet_server::grpc::doors;

fuzz_target!(|bytes: &[u8]| {
    if let Some(Err(refused)) = doors::register(bytes) {
        let violations = refused.violations();
        assert!(!violations.is_empty(), "{refused}");
        assert!(violations.iter().all(|it| !it.field.is_empty() && !it.description.is_empty()));
    }
});
