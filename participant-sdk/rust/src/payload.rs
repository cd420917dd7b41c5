//! Requests and responses as bytes: prost messages directly, serde types within [`Json`].

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};

use crate::error::PayloadError;

/// A type that an action takes or returns. Every prost message is one; other types go within [`Json`]
/// or [`Raw`]. An action that takes or returns nothing uses `()`.
pub trait Payload: Sized + Send + Sync + 'static {
    /// Reads a value.
    fn decode(bytes: &Bytes) -> Result<Self, PayloadError>;
    /// Writes the value.
    fn encode(&self) -> Result<Vec<u8>, PayloadError>;
}

impl<T: prost::Message + Default + 'static> Payload for T {
    fn decode(bytes: &Bytes) -> Result<Self, PayloadError> {
        prost::Message::decode(bytes.clone()).map_err(PayloadError::new::<Self>)
    }

    fn encode(&self) -> Result<Vec<u8>, PayloadError> {
        Ok(self.encode_to_vec())
    }
}

/// A serde type, as JSON.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Json<T>(pub T);

impl<T: Serialize + DeserializeOwned + Send + Sync + 'static> Payload for Json<T> {
    fn decode(bytes: &Bytes) -> Result<Self, PayloadError> {
        serde_json::from_slice(bytes)
            .map(Json)
            .map_err(PayloadError::new::<T>)
    }

    fn encode(&self) -> Result<Vec<u8>, PayloadError> {
        serde_json::to_vec(&self.0).map_err(PayloadError::new::<T>)
    }
}

/// Bytes, passed on unchanged.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Raw(pub Bytes);

impl Payload for Raw {
    fn decode(bytes: &Bytes) -> Result<Self, PayloadError> {
        Ok(Self(bytes.clone()))
    }

    fn encode(&self) -> Result<Vec<u8>, PayloadError> {
        Ok(self.0.to_vec())
    }
}
