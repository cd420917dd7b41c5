//! The barrier's decision, pure
