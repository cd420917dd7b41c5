//! Mutations only: effects that must never leave before their write is durable.

use super::{
    Engine,
    entry::{Entry, State},
};
use crate::id::TxId;

impl Engine {
    /// Makes calls as if the write under way were durable.
    pub(super) fn advance_undurably(&mut self, id: TxId) {
        let is_decided = |entry: &Entry| match &entry.state {
            State::InHand { tx, .. } => tx.phase.decision().is_some() && tx.rest.is_none(),
            State::Loading | State::Folding => false,
        };
        if self.entries.get(&id).is_some_and(is_decided) {
            self.without_write(id, Self::advance);
        }
    }

    /// Answers callers as if the write under way were durable.
    pub(super) fn release_undurably(&mut self, id: TxId) {
        if let Some(entry) = self.entries.get_mut(&id)
            && let State::InHand {
                writing: Some(writing),
                ..
            } = &mut entry.state
        {
            let waiters = std::mem::take(&mut writing.waiters);
            entry.waiters.absorb(waiters);
        }
        self.without_write(id, Self::notify);
    }

    fn without_write(&mut self, id: TxId, act: fn(&mut Self, TxId)) {
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        let State::InHand { writing, .. } = &mut entry.state else {
            return;
        };
        let kept = writing.take();
        let over = entry.durable().is_some_and(|tx| tx.phase.is_over());
        if !over {
            act(self, id);
        }
        if let Some(entry) = self.entries.get_mut(&id)
            && let State::InHand { writing, .. } = &mut entry.state
            && writing.is_none()
        {
            *writing = kept;
        }
    }
}
