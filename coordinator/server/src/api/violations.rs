//! What is wrong with one request, field by field.

use std::{sync::Arc, time::Duration};

use tercet_core::{
    id::TxId,
    limits,
    model::{Ext, Name},
};
use uuid::Uuid;

use super::error::{ApiError, Violation};
use crate::directory::Known;

/// What is wrong with one request so far.
#[derive(Default)]
pub(crate) struct Violations {
    wrong: Vec<Violation>,
    unknown: Vec<Violation>,
}

impl Violations {
    pub(crate) fn add(&mut self, field: impl Into<String>, description: impl Into<String>) {
        self.wrong.push(Violation {
            field: field.into(),
            description: description.into(),
        });
    }

    /// The request is right, or everything that is wrong with it.
    pub(crate) fn finish(self) -> Result<(), ApiError> {
        let Self { mut wrong, unknown } = self;
        match (wrong.is_empty(), unknown.is_empty()) {
            (true, true) => Ok(()),
            (true, false) => Err(ApiError::ParticipantUnknown(unknown)),
            (false, _) => {
                wrong.extend(unknown);
                Err(ApiError::Invalid(wrong))
            }
        }
    }

    /// A name: not empty, not too long, without NUL.
    pub(crate) fn name(&mut self, field: &At<'_>, value: &str) {
        if value.is_empty() {
            self.add(
                field,
                format!("is empty; give 1 to {} bytes", limits::NAME_BYTES),
            );
        } else if value.len() > limits::NAME_BYTES {
            self.add(
                field,
                format!(
                    "has {} bytes; at most {} are accepted",
                    value.len(),
                    limits::NAME_BYTES
                ),
            );
        } else if value.contains('\0') {
            self.add(field, "contains NUL; give text without it");
        }
    }

    /// Free text that is kept: not too long, without NUL.
    pub(crate) fn text(&mut self, field: &At<'_>, value: &str, max: usize) {
        if value.len() > max {
            self.add(
                field,
                format!("has {} bytes; at most {max} are accepted", value.len()),
            );
        } else if value.contains('\0') {
            self.add(field, "contains NUL; give text without it");
        }
    }

    /// An operator's reason.
    pub(crate) fn reason(&mut self, value: &str) {
        if value.is_empty() {
            self.add(
                "reason",
                format!("is empty; say why in 1 to {} bytes", limits::REASON_BYTES),
            );
        }
        self.text(&At::field("reason"), value, limits::REASON_BYTES);
    }

    /// A transaction's id.
    pub(crate) fn tx_id(&mut self, field: &At<'_>, value: &str) -> Option<TxId> {
        let parsed = (value.len() == 36)
            .then(|| Uuid::parse_str(value).ok().map(TxId))
            .flatten()
            .filter(|id| id.time().is_some());
        if parsed.is_none() {
            let what = if value.is_empty() {
                "is empty"
            } else {
                "is no UUIDv7"
            };
            self.add(
                field,
                format!("{what}; give a UUIDv7 in its hyphenated form, 36 characters"),
            );
        }
        parsed
    }

    pub(super) fn participant(
        &mut self,
        field: &At<'_>,
        value: &str,
        known: &Known,
    ) -> Option<Name> {
        let before = self.wrong.len();
        self.name(field, value);
        if self.wrong.len() > before {
            return None;
        }
        let found = known.get_key_value(value).map(|(name, _)| Arc::clone(name));
        if found.is_none() {
            self.unknown.push(Violation {
                field: field.into(),
                description: format!(
                    "participant {value} is not known; let it attach once, or register it"
                ),
            });
        }
        found
    }

    pub(super) fn ext(&mut self, field: &At<'_>, ext: &Ext) {
        if ext.is_empty() {
            return;
        }
        if ext.len() > limits::EXT_KEYS {
            self.add(
                field,
                format!(
                    "has {} keys; at most {} are accepted",
                    ext.len(),
                    limits::EXT_KEYS
                ),
            );
        }
        let bytes: usize = ext.iter().map(|(key, value)| key.len() + value.len()).sum();
        if bytes > limits::EXT_BYTES {
            self.add(
                field,
                format!(
                    "has {bytes} bytes of keys and values; at most {} are accepted",
                    limits::EXT_BYTES
                ),
            );
        }
        if ext.contains_key("") {
            self.add(field, "has an empty key; name it");
        }
        if ext
            .iter()
            .any(|(key, value)| key.contains('\0') || value.contains('\0'))
        {
            self.add(field, "contains NUL; give text without it");
        }
    }

    /// A duration in milliseconds: `None` when not given.
    pub(super) fn millis(&mut self, field: &At<'_>, value: i64, max: Duration) -> Option<Duration> {
        let Ok(millis) = u64::try_from(value) else {
            self.add(
                field,
                format!("is {value}; a negative duration is not accepted"),
            );
            return None;
        };
        let duration = Duration::from_millis(millis);
        if duration > max {
            self.add(
                field,
                format!("is {value}; at most {} ms are accepted", max.as_millis()),
            );
        }
        (millis > 0).then_some(duration)
    }

    pub(super) fn count(&mut self, field: &At<'_>, value: u32, max: u32) -> Option<u32> {
        if value > max {
            self.add(field, format!("is {value}; at most {max} are accepted"));
        }
        (value > 0).then_some(value)
    }
}

/// Where a field is, put into words only when something is wrong with it.
#[derive(Clone, Copy)]
pub(crate) enum At<'a> {
    Field(&'a str),
    Of(&'a At<'a>, &'a str),
    Index(&'a At<'a>, &'a str, usize),
}

impl<'a> At<'a> {
    pub(crate) fn field(name: &'a str) -> Self {
        Self::Field(name)
    }

    pub(crate) fn of(&'a self, name: &'a str) -> Self {
        Self::Of(self, name)
    }

    pub(crate) fn index(&'a self, name: &'a str, index: usize) -> Self {
        Self::Index(self, name, index)
    }
}

impl From<&At<'_>> for String {
    fn from(at: &At<'_>) -> Self {
        let below = |parent: &At<'_>, name: &str| match Self::from(parent) {
            parent if parent.is_empty() => name.to_owned(),
            parent => format!("{parent}.{name}"),
        };
        match at {
            At::Field(name) => (*name).to_owned(),
            At::Of(parent, name) => below(parent, name),
            At::Index(parent, name, index) => format!("{}[{index}]", below(parent, name)),
        }
    }
}
