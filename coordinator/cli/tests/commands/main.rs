//! The commands that look at a coordinator and its transactions: show, list, watch, retry, resolve,
//! decide, register.

#![allow(clippy::unwrap_used)]

mod addresses;
mod harness;
mod lists;
mod operators;
mod show;
