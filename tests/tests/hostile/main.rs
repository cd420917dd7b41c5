//! Bytes from outside: the code never panics, an error names the field, and nothing is written.
//!
//! The same properties without a bound are in the folder `fuzz`.

#![allow(clippy::unwrap_used)]

mod files;
mod messages;
mod replies;
mod rows;
