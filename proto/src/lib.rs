//! The messages and services of Tercet, generated from `tercet/v1`.
//!
//! The proto files are the documentation: every field says its meaning, unit and limit.

/// Package `tercet.v1`.
#[allow(
    missing_docs,
    unreachable_pub,
    clippy::pedantic,
    clippy::large_enum_variant,
    reason = "generated code; the proto files carry the comments"
)]
pub mod v1 {
    tonic::include_proto!("tercet.v1");

    /// The compiled description of the package, for server reflection.
    pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/tercet.bin"));
}

/// The domain of every `google.rpc.ErrorInfo` that Tercet sends.
pub const ERROR_DOMAIN: &str = "tercet";
