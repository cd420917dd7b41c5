//! Results of a participant: those that make sense reach the engine, the others are dropped.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tercet_server::api::doors;

fuzz_target!(|bytes: &[u8]| {
    doors::results(bytes);
});
