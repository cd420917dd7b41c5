//! The names that initiators and participants share.

use tercet_proto::v1;

/// The participants of the healthy traffic: two that attach, one called by gRPC, one by HTTP.
pub(crate) const HEALTHY: [&str; 4] = ["east", "west", "invoked", "posted"];
/// The participant that answers check-backs.
pub(crate) const INITIATOR: &str = "initiator";
/// The participant that leaves and comes back.
pub(crate) const WANDERER: &str = "wanderer";

/// The participants that do not answer until they are healed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sick {
    /// Attached; reads its calls and never answers.
    Hung,
    /// Registered at an address that accepts connections and says nothing.
    Silent,
    /// Registered at an address that refuses connections.
    Refusing,
    /// Registered; answers UNAVAILABLE at once.
    Unavailable,
    /// Was attached once, and left.
    Absent,
    /// Attached; stops reading after the Welcome.
    Deaf,
    /// Attached over a connection that carries some bytes a second.
    Trickling,
}

impl Sick {
    pub(crate) const ALL: [Self; 7] = [
        Self::Hung,
        Self::Silent,
        Self::Refusing,
        Self::Unavailable,
        Self::Absent,
        Self::Deaf,
        Self::Trickling,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Hung => "hung",
            Self::Silent => "silent",
            Self::Refusing => "refusing",
            Self::Unavailable => "unavailable",
            Self::Absent => "absent",
            Self::Deaf => "deaf",
            Self::Trickling => "trickling",
        }
    }

    /// Returns its place in [`ALL`](Self::ALL).
    pub(crate) fn number(self) -> usize {
        self as usize
    }

    /// Returns how many of 1,000 stuck transactions wait for it.
    pub(crate) fn share(self) -> usize {
        match self {
            Self::Hung => 380,
            Self::Silent => 300,
            Self::Refusing | Self::Unavailable | Self::Absent => 100,
            Self::Deaf => 15,
            Self::Trickling => 5,
        }
    }

    /// Returns the bytes of its actions' payloads: many for those that read slowly.
    pub(crate) fn payload(self) -> usize {
        match self {
            Self::Deaf => 32 * 1024,
            Self::Trickling => 8 * 1024,
            _ => 64,
        }
    }
}

/// The handler of a mode, which every participant has.
pub(crate) fn handler(mode: v1::Mode) -> &'static str {
    match mode {
        v1::Mode::Compensate => "compensate",
        v1::Mode::Deliver => "deliver",
        v1::Mode::Tcc | v1::Mode::Unspecified => "tcc",
    }
}

/// The modes that have a handler.
pub(crate) const MODES: [v1::Mode; 3] = [v1::Mode::Tcc, v1::Mode::Compensate, v1::Mode::Deliver];
