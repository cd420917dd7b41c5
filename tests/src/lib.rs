//! Scenarios, simulation and crash tests across the crates
