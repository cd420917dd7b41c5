//! Scenarios through the public API and the SDK: one coordinator on SQLite, reached over its socket.
//!
//! Each test reads given, when, then; [`world`] hides sockets, databases and waiting.

#![allow(clippy::unwrap_used)]

mod elsewhere;
mod late;
mod operators;
mod outcomes;
mod restarts;
mod world;
