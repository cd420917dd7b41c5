//! The parts that the programs `load` and `soak` share: processes as /proc shows them, and figures.

pub mod figures;
pub mod process;
