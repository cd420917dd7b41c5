//! For the tests of participants and initiators.
//!
//! [`Conformance`] sends every cell of the barrier's table to one action of a participant, and says
//! which of them it gets wrong: a repetition that takes effect twice, an empty cancel that leaves no
//! fence, a late Try, two operations that race.

mod cells;
pub mod conformance;

pub use conformance::{Conformance, Report, Subject};
