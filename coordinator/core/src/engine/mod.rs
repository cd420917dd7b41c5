//! Many transactions: requests in; writes, calls and replies out.

mod port;

pub use port::*;
