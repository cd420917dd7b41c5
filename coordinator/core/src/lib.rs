//! Every decision of the coordinator, and no I/O.
//!
//! Nothing here waits, reads a clock, draws random numbers, starts a thread or opens a socket: time and seeds come in
//! as arguments, work to do goes out as values. The manifest names no crate that could do otherwise. The same code
//! runs live, in recovery and in simulation.
//!
//! Modules stand in layers; each imports only from those above it.
//!
//! | module | holds |
//! |---|---|
//! | [`id`], [`time`], [`limits`](mod@limits), [`config`] | identifiers, time, every bound |
//! | [`model`] | a transaction: statuses, specs, phases, actions |
//! | [`violation`], [`reason`], [`refusal`] | errors of requests |
//! | [`write`](mod@write), [`row`] | writes and legal rows |
//! | [`port`] | the engine's inputs and outputs |
//! | [`check`] | the rules for every field of a request |
//! | [`transition`](mod@transition), [`begin`] | the effect of one event on one transaction |
//! | [`pursuit`] | the calls and wake-ups that a transaction's state requires |
//! | [`gate`] | limits and fairness per participant: admits calls, each on one way |
//! | [`loader`] | the rows of the table to load, and when |
//! | [`lane`] | group commit: the writes that make one commit, and its result for each of them |
//! | [`engine`] | many transactions: requests, writes, calls, timers |

pub mod begin;
pub mod check;
pub mod config;
pub mod context;
pub mod engine;
pub mod gate;
pub mod id;
pub mod lane;
pub mod limits;
pub mod loader;
pub mod model;
pub mod port;
pub mod pursuit;
pub mod reason;
pub mod refusal;
pub mod row;
pub mod time;
pub mod transition;
pub mod violation;
pub mod write;

mod words;
