//! A file of orders: the good ones, and the lines of the others.

#![no_main]

use libfuzzer_sys::fuzz_target;

const SEED: &str = include_str!("../../demo/seed.toml");

fuzz_target!(|bytes: &[u8]| {
    let lines = bytes.split(|byte| *byte == b'\n').count();
    match demo_player::read_orders(bytes, SEED) {
        Err(what) => assert!(!what.is_empty()),
        Ok((good, bad)) => {
            assert!(good + bad.len() <= lines);
            assert!(bad.iter().all(|line| (1..=lines).contains(line)));
        }
    }
});
