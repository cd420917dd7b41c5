//! The points service of the demo: accounts of points in a database of its own, and two actions on
//! them.
//!
//! | action | mode | Try | Confirm | Cancel |
//! |---|---|---|---|---|
//! | `freeze-points` | TCC | available to frozen | frozen to spent | frozen to available |
//! | `deduct-points` | COMPENSATE | available to spent | | spent to available |
//!
//! Every movement stands in the ledger, and the sums are constraints of the schema.

pub mod accounts;
mod actions;
mod query;
pub mod seed;
mod service;

pub use actions::{DEDUCT_POINTS, FREEZE_POINTS};
pub use query::Query;
pub use service::PointsService;

/// Package `demo.points.v1`.
#[allow(
    missing_docs,
    unreachable_pub,
    clippy::pedantic,
    reason = "generated code; the proto file carries the comments"
)]
pub mod proto {
    tonic::include_proto!("demo.points.v1");
}
