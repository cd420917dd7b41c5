//! A kit for tests of participants and initiators.
//!
//! [`Conformance`] plays every cell of the barrier's table against one action of a participant, and
//! reports those that fail: a repetition that takes effect twice, an empty cancel that leaves no
//! fence, a late Try, two operations that race.
//!
//! [`TestCoordinator`] is a real coordinator within the test.

mod cells;
pub mod conformance;
mod coordinator;

pub use conformance::{Conformance, Report, Subject};
pub use coordinator::{Attached, TestCoordinator};
pub use tercet_server::Config;
