//! The rules for single fields.

use std::time::Duration;

use uuid::Uuid;

use super::served::{Directory, Listed, Served};
use crate::{
    id::TxId,
    limits,
    model::Ext,
    violation::{At, Violation, Violations},
};

const NUL: &str = "contains NUL; give text without it";

/// Returns whether a text follows the rules for names.
pub(super) fn is_name(text: &str) -> bool {
    (1..=limits::NAME_BYTES).contains(&text.len()) && !text.contains('\0')
}

fn ext_bytes(ext: &Ext) -> usize {
    ext.iter().map(|(key, value)| key.len() + value.len()).sum()
}

/// Returns the problem of an action's properties overlaid on those of its transaction, which travel together. Each of
/// them alone has been checked.
pub(super) fn overlaid(tx: &Ext, action: &Ext) -> Option<String> {
    let within = |keys: usize, bytes: usize| keys <= limits::EXT_KEYS && bytes <= limits::EXT_BYTES;
    let alone = |ext: &Ext| within(ext.len(), ext_bytes(ext));
    if !alone(tx) || !alone(action) {
        return None;
    }
    let kept = tx.iter().filter(|(key, _)| !action.contains_key(*key));
    let (keys, bytes) = kept.fold(
        (action.len(), ext_bytes(action)),
        |(keys, bytes), (key, value)| (keys + 1, bytes + key.len() + value.len()),
    );
    (!within(keys, bytes)).then(|| {
        format!(
            "makes {keys} keys and {bytes} bytes with the transaction's own; at most {} and {} are accepted",
            limits::EXT_KEYS,
            limits::EXT_BYTES
        )
    })
}

impl Violations {
    /// Checks a name: not empty, not too long, without NUL.
    pub fn name(&mut self, field: &At<'_>, value: &str) {
        if value.is_empty() {
            self.add(
                field,
                format!("is empty; give 1 to {} bytes", limits::NAME_BYTES),
            );
        } else {
            self.text(field, value, limits::NAME_BYTES);
        }
    }

    /// Checks a text: at most `max` bytes, without NUL.
    pub fn text(&mut self, field: &At<'_>, value: &str, max: usize) {
        if value.len() > max {
            self.too_many(field, "bytes", value.len(), max);
        } else if value.contains('\0') {
            self.add(field, NUL);
        }
    }

    /// Reads a transaction's id; returns a stand-in where the value is none.
    pub fn tx_id(&mut self, field: &At<'_>, value: &str) -> TxId {
        let description = if value.is_empty() {
            "is empty; give a UUIDv7 in its hyphenated form, 36 characters"
        } else {
            "is no UUIDv7; give a UUIDv7 in its hyphenated form, 36 characters"
        };
        self.require(field, TxId::parse(value), TxId(Uuid::nil()), description)
    }

    /// Reads a duration in whole milliseconds; `None` for 0, which means that none is given.
    pub fn millis(&mut self, field: &At<'_>, value: i64) -> Option<Duration> {
        if let Ok(millis) = u64::try_from(value) {
            (millis > 0).then(|| Duration::from_millis(millis))
        } else {
            self.add(
                field,
                format!("is {value}; a negative duration is not accepted"),
            );
            None
        }
    }

    /// Adds that a field has more of something than is accepted.
    pub fn too_many(&mut self, field: &At<'_>, things: &str, number: usize, max: usize) {
        self.add(
            field,
            format!("has {number} {things}; at most {max} are accepted"),
        );
    }

    /// Checks a number against its maximum.
    pub fn count(&mut self, field: &At<'_>, value: u32, max: u32) {
        if value > max {
            self.add(field, format!("is {value}; at most {max} are accepted"));
        }
    }

    /// Checks a duration against its maximum, where it is given.
    pub(super) fn given(&mut self, field: &At<'_>, value: Option<Duration>, max: Duration) {
        if let Some(value) = value.filter(|value| *value > max) {
            let (value, max) = (value.as_millis(), max.as_millis());
            self.add(field, format!("is {value}; at most {max} ms are accepted"));
        }
    }

    /// Checks that a duration is not below that of another field, where both are given: the default of one gives way to
    /// the other.
    pub(super) fn not_below(
        &mut self,
        field: &At<'_>,
        value: Option<Duration>,
        other: &str,
        least: Option<Duration>,
    ) {
        if let (Some(value), Some(least)) = (value, least)
            && value < least
        {
            let (value, least) = (value.as_millis(), least.as_millis());
            self.add(
                field,
                format!("is {value}, below {other}; give at least {least}"),
            );
        }
    }

    /// Checks the name of a participant, and that it is known; returns what it serves.
    pub(super) fn participant<'d>(
        &mut self,
        field: &At<'_>,
        name: &str,
        directory: &'d dyn Directory,
    ) -> Option<&'d Served> {
        let before = self.len();
        self.name(field, name);
        if self.len() > before {
            return None;
        }
        match directory.listed(name) {
            Listed::Unknown => self.add_unknown(Violation::new(
                field,
                format!("participant {name} is not known; let it attach once, or register it"),
            )),
            Listed::Unreadable(what) => self.add_unreadable(Violation::new(
                field,
                format!(
                    "the row of participant {name} in participant_info cannot be read: {what}; repair it, or register \
                     the participant again"
                ),
            )),
            Listed::Serves(served) => return Some(served),
        }
        None
    }

    /// Checks the properties that a caller attaches.
    pub(super) fn ext(&mut self, field: &At<'_>, ext: &Ext) {
        if ext.len() > limits::EXT_KEYS {
            self.too_many(field, "keys", ext.len(), limits::EXT_KEYS);
        }
        let bytes = ext_bytes(ext);
        if bytes > limits::EXT_BYTES {
            self.too_many(field, "bytes of keys and values", bytes, limits::EXT_BYTES);
        }
        if ext.contains_key("") {
            self.add(field, "has an empty key; name it");
        }
        let has_nul = |text: &str| text.contains('\0');
        if ext
            .iter()
            .any(|(key, value)| has_nul(key) || has_nul(value))
        {
            self.add(field, NUL);
        }
    }
}
