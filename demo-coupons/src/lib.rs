//! The coupons service of the demo: kinds of coupons with a limited stock in a database of its own,
//! and two actions on them.
//!
//! | action | mode | Try | Confirm | Cancel |
//! |---|---|---|---|---|
//! | `reserve-coupon` | TCC | available to reserved | reserved to issued | reserved to available |
//! | `issue-coupon` | COMPENSATE | available to issued | | issued to available |
//!
//! Every movement stands in the ledger, and the sums are constraints of the schema.

mod actions;
mod query;
pub mod seed;
mod service;
pub mod stock;

pub use actions::{ISSUE_COUPON, RESERVE_COUPON};
pub use query::Query;
pub use service::CouponsService;

/// Package `demo.coupons.v1`.
#[allow(
    missing_docs,
    unreachable_pub,
    clippy::pedantic,
    reason = "generated code; the proto file carries the comments"
)]
pub mod proto {
    tonic::include_proto!("demo.coupons.v1");
}
