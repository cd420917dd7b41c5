//! The table of a session's open requests.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tercet_core::id::{CallerId, TxId};
use tokio_util::sync::CancellationToken;

use crate::{
    bounds,
    driver::{Driver, SessionId},
    error::RequestError,
};

/// The requests of a session that have no reply yet, by the engine's id of the caller and by the caller's own number.
/// A reply counts only while its caller is open, so that the reply to a forgotten request, unless it was on its way
/// already, never comes for a later one of the same number.
#[derive(Default)]
pub(super) struct OpenRequests {
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    numbers: HashMap<CallerId, u64>,
    callers: HashMap<u64, (CallerId, Source)>,
}

/// The source of the reply to a request.
#[derive(Clone)]
pub(super) enum Source {
    /// The engine, about this transaction.
    Engine(TxId),
    /// A read of the database, which ends with this token.
    Database(CancellationToken),
}

impl OpenRequests {
    fn table(&self) -> MutexGuard<'_, Table> {
        // Nothing that panics runs under the lock.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens a request, unless its number is open or too many are.
    pub(super) fn open(
        &self,
        number: u64,
        caller: CallerId,
        source: Source,
    ) -> Result<(), RequestError> {
        let mut table = self.table();
        if table.callers.contains_key(&number) {
            return Err(RequestError::RequestIdOpen(number));
        }
        if table.callers.len() >= bounds::SESSION_OPEN {
            return Err(RequestError::SessionFull(bounds::SESSION_OPEN));
        }
        table.numbers.insert(caller, number);
        table.callers.insert(number, (caller, source));
        Ok(())
    }

    /// Closes the request of this number without a reply: a read ends, and a request of the engine is returned
    /// with its caller.
    pub(super) fn forget(&self, number: u64) -> Option<(CallerId, TxId)> {
        let mut table = self.table();
        let (caller, source) = table.callers.remove(&number)?;
        table.numbers.remove(&caller);
        source.forget().map(|id| (caller, id))
    }

    /// Closes the request of this caller, and returns its number; `None` where it was forgotten.
    pub(super) fn close(&self, caller: CallerId) -> Option<u64> {
        let mut table = self.table();
        let number = table.numbers.remove(&caller)?;
        table.callers.remove(&number);
        Some(number)
    }

    /// Returns whether no request is open.
    pub(super) fn is_empty(&self) -> bool {
        self.table().callers.is_empty()
    }

    /// Returns the open requests of the engine: their numbers and transactions.
    pub(super) fn in_engine(&self) -> Vec<(u64, TxId)> {
        let table = self.table();
        let in_engine = |(number, (_, source)): (&u64, &(CallerId, Source))| match source {
            Source::Engine(id) => Some((*number, *id)),
            Source::Database(_) => None,
        };
        table.callers.iter().filter_map(in_engine).collect()
    }

    /// Closes all requests: reads end, and those of the engine are returned.
    fn close_all(&self) -> Vec<(CallerId, TxId)> {
        let mut table = self.table();
        table.numbers.clear();
        let callers = table.callers.drain().map(|(_, open)| open);
        callers
            .filter_map(|(caller, source)| source.forget().map(|id| (caller, id)))
            .collect()
    }
}

impl Source {
    /// Ends a read, or returns the transaction of a request of the engine.
    fn forget(self) -> Option<TxId> {
        match self {
            Self::Engine(id) => Some(id),
            Self::Database(reading) => {
                reading.cancel();
                None
            }
        }
    }
}

/// Closes the session when the stream of its replies is dropped.
pub(super) struct Closing {
    pub(super) driver: Driver,
    pub(super) id: SessionId,
    pub(super) open: Arc<OpenRequests>,
}

impl Drop for Closing {
    fn drop(&mut self) {
        self.driver.close_session(self.id, self.open.close_all());
    }
}
