//! The coupons service of the demo
