//! For the tests of participants and initiators.
//!
//! [`Conformance`] sends every cell of the barrier's table to one action of a participant, and says
//! which of them it gets wrong: a repetition that takes effect twice, an empty cancel that leaves no
//! fence, a late Try, two operations that race.
//!
//! [`TestCoordinator`] is the real coordinator within the test.

mod cells;
pub mod conformance;
mod coordinator;

pub use conformance::{Conformance, Report, Subject};
pub use coordinator::{Attached, TestCoordinator};
pub use tercet_server::Config;
