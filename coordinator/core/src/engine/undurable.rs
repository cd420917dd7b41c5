//! Mutations only: what must never happen before a write has held.

use super::{Engine, entry::State};
use crate::id::TxId;

impl Engine {
    /// Goes on as if the write under way had held.
    pub(super) fn advance_undurably(&mut self, id: TxId) {
        self.without_write(id, Self::advance);
    }

    /// Answers as if the write under way had held.
    pub(super) fn release_undurably(&mut self, id: TxId) {
        if let Some(entry) = self.entries.get_mut(&id)
            && let State::Held {
                writing: Some(writing),
                ..
            } = &mut entry.state
        {
            let waiters = std::mem::take(&mut writing.waiters);
            entry.waiters.extend(waiters);
        }
        self.without_write(id, Self::notify);
    }

    fn without_write(&mut self, id: TxId, act: fn(&mut Self, TxId)) {
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        let State::Held { writing, .. } = &mut entry.state else {
            return;
        };
        let kept = writing.take();
        let settled = entry.durable().is_some_and(|tx| tx.phase.is_settled());
        if !settled {
            act(self, id);
        }
        if let Some(entry) = self.entries.get_mut(&id)
            && let State::Held { writing, .. } = &mut entry.state
            && writing.is_none()
        {
            *writing = kept;
        }
    }
}
