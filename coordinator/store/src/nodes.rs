//! Nodes: incarnations and their leases.

use std::time::Duration;

use async_trait::async_trait;
use tercet_core::{model::Owner, time::Timestamp};

use crate::StoreError;

/// Incarnations of nodes and their leases: the table `coordinator_node`.
#[async_trait]
pub trait Nodes: Send + Sync {
    /// Starts a new incarnation of the node: raises its epoch and leases it.
    async fn start_node(
        &self,
        node: &str,
        address: &str,
        lease: Duration,
    ) -> Result<Incarnation, StoreError>;

    /// Renews the incarnation's lease and reads the clock.
    async fn renew(&self, owner: &Owner, lease: Duration) -> Result<Renewal, StoreError>;

    /// Ends the incarnation's lease; that of a later incarnation is left alone.
    async fn end_node(&self, owner: &Owner) -> Result<(), StoreError>;
}

/// A node's incarnation, as [`Nodes::start_node`] made it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incarnation {
    /// The node and its new epoch.
    pub owner: Owner,
    /// The database's clock.
    pub now: Timestamp,
}

/// The result of a renewal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewal {
    /// The lease is renewed, at this time by the database's clock.
    Renewed(Timestamp),
    /// Another incarnation of this node has started: this one must exit.
    Superseded {
        /// Its epoch.
        epoch: u64,
    },
}
