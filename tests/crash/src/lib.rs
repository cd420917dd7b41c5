//! Crash tests with real processes on real databases.
//!
//! One program plays every role: it starts itself as coordinator, points service, coupons service and
//! initiator, all four made of the code that ships, lets them exchange points for coupons, and kills or
//! stops one of them at a named point or at any time. Dead processes are started again. In the end every
//! transaction must be final or visibly parked, and the books must agree: the coordinator's decision,
//! the points ledger, the coupons ledger, the initiator's own orders, and the answers that the initiator
//! got.
//!
//! | module | holds |
//! |---|---|
//! | [`points`] | the fail points, and the exchanges that reach them |
//! | [`cast`] | the four roles, as processes |
//! | [`initiator`] | the process that begins, and its output |
//! | [`stage`] | the processes: starting, killing, stopping, waiting for the end |
//! | [`books`] | the comparison of the books |
//! | [`matrix`] | point x mode x signal |
//! | [`storm`] | kills and stops at random |

pub mod books;
pub mod cast;
pub mod initiator;
pub mod matrix;
pub mod points;
pub mod stage;
pub mod storm;
