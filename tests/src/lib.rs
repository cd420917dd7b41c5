//! Scenarios, simulation and crash tests across the crates.

pub mod sim;
