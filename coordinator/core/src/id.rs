//! The identifiers that the core hands out and takes in.

use std::fmt;

use uuid::Uuid;

use crate::time::Timestamp;

/// A transaction's id: a `UUIDv7`, so that ids order by time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TxId(pub Uuid);

impl TxId {
    /// Reads an id in the form in which it is shown: a hyphenated `UUIDv7`, 36 characters.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() != 36 {
            return None;
        }
        let id = Self(Uuid::parse_str(text).ok()?);
        id.time().map(|_| id)
    }

    /// Returns the time that the id carries, to the millisecond; `None` when it is no `UUIDv7`.
    pub fn time(self) -> Option<Timestamp> {
        if self.0.get_version_num() != 7 {
            return None;
        }
        let (seconds, nanos) = self.0.get_timestamp()?.to_unix();
        let micros = seconds
            .checked_mul(1_000_000)?
            .checked_add(u64::from(nanos / 1_000))?;
        i64::try_from(micros).ok().map(Timestamp::from_micros)
    }

    /// Returns the 16 bytes that the database keeps.
    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    /// Makes the id with these 16 bytes.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes))
    }
}

impl fmt::Display for TxId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

impl fmt::Debug for TxId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// One call to a participant, unique within a node's epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId(pub u64);

/// One stream that a participant attached, unique within a node's epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(pub u64);

/// One caller that waits for a reply, unique within a node's epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallerId(pub u64);
