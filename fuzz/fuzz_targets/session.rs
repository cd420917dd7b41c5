//! A message of a session: each request is accepted, or refused by naming fields.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tercet_server::grpc::doors;

fuzz_target!(|bytes: &[u8]| {
    for refused in doors::session(bytes).into_iter().flatten().filter_map(Result::err) {
        let violations = refused.violations();
        assert!(!violations.is_empty(), "{refused}");
        assert!(violations.iter().all(|it| !it.field.is_empty() && !it.description.is_empty()));
    }
});
