//! The server over the wire: the flows, the refusals, the calls to participants, the end.

#![allow(clippy::unwrap_used, clippy::assigning_clones, missing_docs)]

mod harness;

mod attach;
mod clock;
mod configuration;
mod database;
mod direct;
mod documentation;
mod drain;
mod flood;
mod flow;
mod listed;
mod operator;
mod refusals;
mod session;
mod unreadable;
