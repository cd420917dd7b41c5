//! The server over the wire: what it refuses, whom it calls and how, how it stops.

#![allow(clippy::unwrap_used, clippy::assigning_clones, missing_docs)]

mod harness;

mod attach;
mod configuration;
mod direct;
mod documentation;
mod drain;
mod flow;
mod refusals;
