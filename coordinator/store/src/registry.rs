//! Participants, as they are registered.

use async_trait::async_trait;
use tercet_core::model::Name;

use crate::StoreError;

/// The participants that are known: the table `participant_info`.
#[async_trait]
pub trait Registry: Send + Sync {
    /// Reads every participant, in the order of their names. A row that cannot be read is named, and hides no other.
    async fn participants(
        &self,
    ) -> Result<Vec<Result<ParticipantRow, UnreadableParticipant>>, StoreError>;

    /// Makes a participant known, or replaces what was known of it, and returns the row's new version. Of a
    /// participant that is known, `paused` stays as it is.
    async fn put_participant(&self, row: &ParticipantRow) -> Result<u32, StoreError>;
}

/// A row of `participant_info` that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnreadableParticipant {
    /// Its name; `None`: that is what cannot be read.
    pub participant: Option<Name>,
    /// The column, and its fault.
    pub what: String,
}

/// One participant as it is registered: a row of `participant_info`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParticipantRow {
    /// Its name.
    pub participant: Name,
    /// `ATTACH`, `INVOKE`, `GRPC` or `HTTP`.
    pub protocol: String,
    /// The address at which it is called; empty for `ATTACH`.
    pub address: String,
    /// JSON: handler to methods, and the check-back's.
    pub methods: String,
    /// JSON: its limits.
    pub policy: String,
    /// Whether an operator has paused it.
    pub paused: bool,
    /// The number of writes of the row. The store counts them, and ignores this field of a row that is put.
    pub version: u32,
}
