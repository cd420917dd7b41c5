//! Crash tests with real processes on real databases.
//!
//! One program plays every part: it starts itself as coordinator, points service, coupons service and
//! initiator, all four made of the code that ships, lets them exchange points for coupons, and kills or
//! stops one of them at a named point or at any time. What died is started again. In the end every
//! transaction must be final or visibly parked, and the books must agree: the coordinator's decision,
//! the points ledger, the coupons ledger, the initiator's own orders, and whatever the initiator was
//! told.
//!
//! | module | what it knows |
//! |---|---|
//! | [`points`] | the fail points, and what is exchanged when they are reached |
//! | [`cast`] | the four parts, as processes |
//! | [`initiator`] | the part that begins, and what it tells |
//! | [`stage`] | the processes: starting, killing, stopping, waiting for the end |
//! | [`books`] | the matching |
//! | [`matrix`] | point x mode x signal |
//! | [`storm`] | kills and stops at random |

pub mod books;
pub mod cast;
pub mod initiator;
pub mod matrix;
pub mod points;
pub mod stage;
pub mod storm;
