//! Every decision of the coordinator, and no I/O.
//!
//! Nothing here waits, reads a clock, rolls dice, starts a thread or opens a socket: time and seeds come
//! in as arguments, what is to be done goes out as values. The manifest names no crate that could do
//! otherwise. The same code runs live, in recovery and in simulation.
//!
//! | module | decides |
//! |---|---|
//! | [`transition`](mod@transition) | what one event does to one transaction |
//! | [`pursuit`] | what a transaction's state wants to be under way: calls, a wake-up |
//! | [`engine`] | many transactions: requests, writes, calls, timers |
//! | [`gate`] | which call may leave, and on which stream: limits and fairness per participant |
//! | [`lane`] | which writes make one commit, and what a commit's result means for each |
//! | [`loader`] | which rows of the table to bring into memory, and when |
//! | [`row`] | which rows of the database are legal |

pub mod begin;
pub mod engine;
pub mod gate;
pub mod id;
pub mod lane;
pub mod limits;
pub mod loader;
pub mod model;
pub mod pursuit;
pub mod refusal;
pub mod row;
pub mod time;
pub mod transition;
pub mod write;
