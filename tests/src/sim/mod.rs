//! Deterministic simulation: the shipped core and the shipped barrier decision in a world that one
//! seed decides.
//!
//! | module | holds |
//! |---|---|
//! | [`plan`] | what a seed's world consists of |
//! | [`world`] | everything that happens: coordinator, participants, initiators, operators, network |
//! | [`process`] | the coordinator's process: the shipped engine and lane |
//! | [`tables`], [`sessions`] | the coordinator's database: rows, locks, commits that go wrong |
//! | [`books`] | a participant's database: barrier rows, effects, initiators' rows |
//! | [`faults`] | what may go wrong, one entry a fault |
//! | [`judge`] | the invariants, one entry each |
//! | [`explore`] | every interleaving of small worlds |
//! | [`coverage`] | which events met which states, and which must |
//! | [`mutations`] | the code broken on purpose, one entry a mutation |
//! | [`run`] | many seeds, and what they came to |

pub mod books;
pub mod coverage;
pub mod dice;
pub mod explore;
pub mod faults;
pub mod history;
pub mod judge;
pub mod mutations;
pub mod plan;
pub mod process;
pub mod run;
pub mod sessions;
pub mod tables;
pub mod world;
