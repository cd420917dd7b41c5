//! Deterministic simulation: the core and the barrier's decisions, as they ship, in a world that one
//! seed determines.
//!
//! | module | holds |
//! |---|---|
//! | [`plan`] | the participants and transactions of a seed's world |
//! | [`world`] | the event loop: coordinator, participants, initiators, operators, network |
//! | [`process`] | the coordinator's process: engine and lane |
//! | [`tables`], [`sessions`] | the coordinator's database: rows, locks, failing commits |
//! | [`books`] | a participant's database: barrier rows, effects, initiators' rows |
//! | [`faults`] | the faults, one entry per fault |
//! | [`clocks`] | the world's time, the processes' and the database's |
//! | [`judge`] | the invariants, one entry per invariant |
//! | [`explore`] | every interleaving of small worlds |
//! | [`coverage`] | the pairs of state and event that were reached, and those that must be |
//! | [`mutations`] | the code broken on purpose, one entry per mutation |
//! | [`run`] | runs of many seeds, and their summary |

pub mod books;
pub mod clocks;
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
