//! The initiators' own book: what they began, what they were answered, what they know of the outcome.

use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;

use tercet_sdk::initiator::{Decision, Error};
use uuid::Uuid;

use crate::ledger::lock;

/// One transaction, as its initiator knows it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Entry {
    /// The decision that it must have, where the initiator knows that beforehand.
    pub(crate) must_be: Option<Decision>,
    /// The decision that was answered.
    pub(crate) answered: Option<Decision>,
    /// Set once the coordinator has answered that the transaction is begun.
    pub(crate) begun: bool,
}

/// All transactions.
#[derive(Default)]
pub(crate) struct Book {
    entries: Mutex<HashMap<Uuid, Entry>>,
    errors: Mutex<BTreeMap<String, u64>>,
    strange: Mutex<Vec<String>>,
}

/// Findings that are kept in words.
const STRANGE_KEPT: usize = 20;

impl Book {
    /// Notes a transaction that is about to be begun.
    pub(crate) fn begins(&self, tx_id: Uuid, must_be: Option<Decision>) {
        let entry = Entry {
            must_be,
            ..Entry::default()
        };
        lock(&self.entries).insert(tx_id, entry);
    }

    /// Notes that it is begun.
    pub(crate) fn begun(&self, tx_id: Uuid) {
        if let Some(entry) = lock(&self.entries).get_mut(&tx_id) {
            entry.begun = true;
        }
    }

    /// Notes the decision that it must have, which is also the answer to a check-back.
    pub(crate) fn must_be(&self, tx_id: Uuid, decision: Decision) {
        if let Some(entry) = lock(&self.entries).get_mut(&tx_id) {
            entry.must_be = Some(decision);
        }
    }

    /// Notes the decision that was answered; two different ones are a finding.
    pub(crate) fn answered(&self, tx_id: Uuid, decision: Option<Decision>) {
        let mut entries = lock(&self.entries);
        let Some(entry) = entries.get_mut(&tx_id) else {
            return;
        };
        entry.begun = true;
        let Some(decision) = decision else { return };
        let before = entry.answered.replace(decision);
        drop(entries);
        if before.is_some_and(|before| before != decision) {
            self.strange(format!("{tx_id}: answered {before:?}, then {decision}"));
        }
    }

    /// Returns what became of the initiator's own local transaction: whether it was committed.
    pub(crate) fn truth(&self, tx_id: Uuid) -> Option<bool> {
        let entries = lock(&self.entries);
        let must_be = entries.get(&tx_id)?.must_be?;
        Some(must_be == Decision::Success)
    }

    /// Notes an error by its reason.
    pub(crate) fn error(&self, error: &Error) {
        let reason = match error {
            Error::Unavailable { .. } => "no coordinator in time",
            Error::Invalid { .. } => "invalid",
            Error::Reply(_) => "an answer that is not understood",
            other => other.reason().unwrap_or("other"),
        };
        let first = {
            let mut errors = lock(&self.errors);
            let count = errors.entry(reason.to_owned()).or_default();
            *count += 1;
            *count == 1
        };
        if first {
            self.strange(format!("the first error of its kind: {error}"));
        }
    }

    /// Notes a finding that there must not be.
    pub(crate) fn strange(&self, words: String) {
        let mut strange = lock(&self.strange);
        if strange.len() < STRANGE_KEPT {
            strange.push(words);
        }
    }

    /// Returns the number of errors by reason.
    pub(crate) fn errors(&self) -> BTreeMap<String, u64> {
        lock(&self.errors).clone()
    }

    /// Returns the findings.
    pub(crate) fn findings(&self) -> Vec<String> {
        lock(&self.strange).clone()
    }

    /// Returns every entry.
    pub(crate) fn entries(&self) -> HashMap<Uuid, Entry> {
        lock(&self.entries).clone()
    }

    /// Returns the number of transactions.
    pub(crate) fn len(&self) -> usize {
        lock(&self.entries).len()
    }
}
