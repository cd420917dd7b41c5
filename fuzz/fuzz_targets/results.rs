//! Results of a participant: those with a right id and operation reach the engine, the others are dropped.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tercet_server::grpc::doors;

fuzz_target!(|bytes: &[u8]| {
    doors::results(bytes);
});
