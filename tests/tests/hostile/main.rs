//! Bytes from outside: never a panic, an error names what is wrong, and nothing is written.
//!
//! The same properties without a bound are in the folder `fuzz`.

#![allow(clippy::unwrap_used)]

mod files;
mod messages;
mod replies;
mod rows;
