//! The binary tercet: carries out what the core decides
pub mod demo;
