//! Requests of every front end, checked and free of any wire: to the engine, to the database, to the directory.
//!
//! | file | holds |
//! |---|---|
//! | `read` | reads of transactions |
//! | `watching` | transactions that are watched |
//! | `obstacles` | the reasons why a transaction is not finished, in words |
//! | `participants` | participants that attach or are registered |

mod obstacles;
mod participants;
mod read;
mod watching;

use std::{future::Future, panic::AssertUnwindSafe, sync::Arc};

use futures::FutureExt as _;
use tercet_core::{
    id::TxId,
    model::Name,
    port::{Reply, Request},
};
use tercet_store::{Store, StoreError};
use tokio::sync::{Mutex, Semaphore};
use uuid::Builder;

pub(crate) use self::{
    participants::{Hello, ParticipantsPage, Registration, take_up},
    read::{Lookup, Seen, check_list},
    watching::Watching,
};
use crate::{
    backlog::Taking,
    bounds,
    clock::Clock,
    directory::{Directory, Known},
    driver::Driver,
    error::RequestError,
    pulse::Pulse,
};

/// The author of every request as long as callers are not authenticated: the column `operator_log.who`.
const LOCAL: &str = "local";

/// Carries out requests. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Requests {
    pub(crate) driver: Driver,
    pub(crate) directory: Arc<Directory>,
    pub(crate) clock: Arc<Clock>,
    pulse: Arc<Pulse>,
    store: Arc<dyn Store>,
    /// Reads of one transaction that may be under way.
    reads: Arc<Semaphore>,
    watches: watching::Watches<Seen>,
    /// Lists that may be under way.
    lists: Arc<Semaphore>,
    /// One registration at a time.
    registering: Arc<Mutex<()>>,
}

impl Requests {
    pub(crate) fn new(
        driver: Driver,
        store: Arc<dyn Store>,
        directory: Arc<Directory>,
        clock: Arc<Clock>,
        pulse: Arc<Pulse>,
    ) -> Self {
        Self {
            driver,
            directory,
            clock,
            pulse,
            store,
            reads: Arc::new(Semaphore::new(bounds::READS_AT_ONCE)),
            watches: watching::Watches::default(),
            lists: Arc::new(Semaphore::new(bounds::LISTS_AT_ONCE)),
            registering: Arc::default(),
        }
    }

    /// Returns the participants that are known now.
    pub(crate) fn known(&self) -> Arc<Known> {
        self.directory.snapshot()
    }

    /// Makes an id for a transaction whose caller gave none, by the database's clock.
    pub(crate) fn new_id(&self) -> TxId {
        let millis = u64::try_from(self.clock.time().as_micros() / 1_000).unwrap_or(0);
        TxId(Builder::from_unix_timestamp_millis(millis, &rand::random()).into_uuid())
    }

    /// Carries out a checked request of the engine, whose bytes count until the engine has it; returns its reply.
    pub(crate) async fn carry_out(
        &self,
        request: Request,
        taking: Option<Taking>,
    ) -> Result<Reply, RequestError> {
        Ok(self.driver.request(request, taking).await?)
    }

    /// Waits for an answer of the database, which may hang.
    async fn answered<T>(
        &self,
        answer: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, RequestError> {
        let answer = self.pulse.timeout(bounds::ANSWER_TIMEOUT, answer).await;
        let answer = answer.map_err(|_| {
            let limit = bounds::ANSWER_TIMEOUT.as_secs();
            RequestError::StoreUnavailable(format!("no answer came within {limit} s"))
        })?;
        Ok(answer?)
    }
}

/// Returns the result of a read, and an error where it panics: its caller never waits for ever.
pub(crate) async fn contained<T>(
    read: impl Future<Output = Result<T, RequestError>>,
) -> Result<T, RequestError> {
    let read = AssertUnwindSafe(read).catch_unwind().await;
    // The panic is in the log.
    read.unwrap_or(Err(RequestError::Internal))
}

/// Returns the author of a request.
pub(crate) fn author() -> Name {
    LOCAL.into()
}

#[cfg(test)]
mod tests {
    use super::contained;
    use crate::error::RequestError;

    #[tokio::test]
    async fn a_read_that_panics_is_an_error() {
        let fine = contained(async { Ok(1) }).await;
        assert!(matches!(fine, Ok(1)), "{fine:?}");
        let panics = contained(async { panic!("this panic belongs to the test") });
        let error: Result<u32, _> = panics.await;
        assert!(matches!(error, Err(RequestError::Internal)), "{error:?}");
    }
}
