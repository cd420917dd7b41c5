//! A local transaction within which the code of users runs.
//!
//! The barrier's row and the effect are one only as long as the local transaction is the one in which
//! the row was written. Code may end it without saying so: by a statement of its own (COMMIT, ROLLBACK,
//! BEGIN, on MySQL and MariaDB also DDL), or by ignoring an error after which the database has rolled
//! back everything (a deadlock). Two things keep what follows from going in alone:
//!
//! - While the code runs the connection is *sealed*: the local transaction may write, and whatever
//!   comes after it on the same connection is refused or not committed. On PostgreSQL, MySQL and MariaDB
//!   the session's default is READ ONLY meanwhile, on the latter two also without autocommit; on SQLite
//!   a commit hook refuses every commit.
//! - At the end a savepoint that was set before the code must still be there.
//!
//! A connection whose seal is not known to be off never goes back to its pool, and neither does one on which a
//! statement has no answer: the future that waited for it was dropped. The driver counts a local transaction as open
//! only after the answer to its BEGIN, and may not find its way through answers that come later. The connection is
//! closed, and the server rolls back what is open on it.

use std::{future::Future, panic::resume_unwind};

use sqlx::{Connection as _, Pool, Transaction, pool::PoolConnection};

use super::{Connection, Database, dialect::Sealing};

/// The words for a local transaction that is not there any more once the code has returned.
pub(super) const ENDED: &str = "the local transaction was ended before its time, by a statement of the \
     code (COMMIT, ROLLBACK, BEGIN, DDL) or by an error that the code ignored";

/// A connection of a pool, for one local transaction. Dropped, it goes back as it came, in the
/// background if its seal is still on, or is closed.
pub(crate) struct Lease<D: Database> {
    /// Absent once it was given back.
    connection: Option<PoolConnection<D>>,
    seal: Seal,
    /// Whether every statement has been answered.
    settled: bool,
}

/// The state of a connection's seal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seal {
    /// The connection is as it came from the pool.
    Off,
    /// It is sealed, or may be.
    On,
    /// The connection is in an unknown state: it must be closed.
    Lost,
}

impl<D: Database> Lease<D> {
    /// Takes a connection from the pool.
    pub(crate) async fn take(pool: &Pool<D>) -> Result<Self, sqlx::Error> {
        Ok(Self {
            connection: Some(pool.acquire().await?),
            seal: Seal::Off,
            settled: true,
        })
    }

    /// Notes that every statement has been answered. A lease that is dropped between [`begin`](Self::begin) and this
    /// belongs to a future that was given up.
    pub(crate) fn settle(&mut self) {
        self.settled = true;
    }

    /// Begins a local transaction. One that is dropped before its end is rolled back; where that is not certain, its
    /// connection is closed.
    pub(crate) async fn begin(&mut self) -> Result<Local<'_, D>, sqlx::Error> {
        // Absent only after `drop`, which leaves nothing to call this on.
        let connection = self.connection.as_mut().ok_or(sqlx::Error::PoolClosed)?;
        self.settled = false;
        let transaction = match connection.begin_with(D::STATEMENTS.begin_for_code).await {
            Ok(transaction) => transaction,
            Err(error) => {
                self.seal = without_an_answer::<D>(self.seal);
                return Err(error);
            }
        };
        if D::SEALING == Sealing::Begin {
            self.seal = Seal::On;
        }
        Ok(Local {
            transaction,
            seal: &mut self.seal,
            is_code_over: false,
        })
    }
}

impl<D: Database> Drop for Lease<D> {
    fn drop(&mut self) {
        let Some(mut connection) = self.connection.take() else {
            return;
        };
        if !self.settled {
            self.seal = without_an_answer::<D>(self.seal);
        }
        match (self.seal, tokio::runtime::Handle::try_current()) {
            (Seal::Off, _) => {}
            (Seal::On, Ok(runtime)) => {
                runtime.spawn(async move {
                    if unseal::<D>(&mut connection).await.is_err() {
                        close(connection);
                    }
                });
            }
            (Seal::On | Seal::Lost, _) => close(connection),
        }
    }
}

/// Closes a connection without another word to the server, whose answers may not be understood any more.
fn close<D: Database>(connection: PoolConnection<D>) {
    drop(connection.detach());
}

/// Returns the state of a connection on which a statement has no answer, or BEGIN an error.
fn without_an_answer<D: Database>(before: Seal) -> Seal {
    match D::SEALING {
        Sealing::Begin | Sealing::Savepoint => Seal::Lost,
        // The driver carries out statements in a thread of its own: each to its end, and a BEGIN for which nothing
        // waits any more is undone there. A BEGIN that fails changes nothing.
        Sealing::Hook => before,
    }
}

/// Carries out work on a connection as a task of its own, so that it comes to its end also where the caller stops
/// waiting. A runtime that is shut down ends it: its connection is closed then with the pool.
pub(super) async fn uninterrupted<T, E>(
    work: impl Future<Output = Result<T, E>> + Send + 'static,
) -> Result<T, E>
where
    T: Send + 'static,
    E: From<sqlx::Error> + Send + 'static,
{
    match tokio::spawn(work).await {
        Ok(done) => done,
        Err(ended) => match ended.try_into_panic() {
            Ok(panic) => resume_unwind(panic),
            Err(_) => Err(sqlx::Error::PoolClosed.into()),
        },
    }
}

async fn unseal<D: Database>(connection: &mut Connection<D>) -> Result<(), sqlx::Error> {
    if let Some(unseal) = D::STATEMENTS.unseal {
        D::run_statements(connection, unseal).await?;
    }
    D::refuse_commits(connection, false).await
}

/// A local transaction on a [`Lease`].
pub(crate) struct Local<'c, D: Database> {
    transaction: Transaction<'c, D>,
    seal: &'c mut Seal,
    /// Set once the savepoint is released or returned to.
    is_code_over: bool,
}

impl<D: Database> Local<'_, D> {
    /// Returns the connection, inside the local transaction.
    pub(crate) fn connection(&mut self) -> &mut Connection<D> {
        &mut self.transaction
    }

    /// Seals the connection and sets the savepoint: the code of a user may run now.
    pub(crate) async fn open_for_code(&mut self) -> Result<(), sqlx::Error> {
        *self.seal = Seal::On;
        D::refuse_commits(&mut self.transaction, true).await?;
        D::run_statements(&mut self.transaction, D::STATEMENTS.savepoint).await
    }

    /// Keeps the effect of the code. Fails if the local transaction is not the one that was begun.
    pub(crate) async fn keep(&mut self) -> Result<(), sqlx::Error> {
        self.close(D::STATEMENTS.keep).await
    }

    /// Undoes the effect of the code, but not what came before it. Fails like [`keep`](Self::keep).
    pub(crate) async fn undo(&mut self) -> Result<(), sqlx::Error> {
        self.close(D::STATEMENTS.undo).await
    }

    async fn close(&mut self, statement: &'static str) -> Result<(), sqlx::Error> {
        if let Err(error) = D::run_statements(&mut self.transaction, statement).await {
            // The driver and the server may disagree about the transaction that is open now.
            *self.seal = Seal::Lost;
            return Err(error);
        }
        if D::SEALING == Sealing::Hook {
            D::refuse_commits(&mut self.transaction, false).await?;
            *self.seal = Seal::Off;
        }
        self.is_code_over = true;
        Ok(())
    }

    /// Commits.
    pub(crate) async fn commit(self) -> Result<(), sqlx::Error> {
        if let Err(error) = self.transaction.commit().await {
            *self.seal = Seal::Lost;
            return Err(error);
        }
        if D::SEALING == Sealing::Begin && self.is_code_over {
            *self.seal = Seal::Off;
        }
        Ok(())
    }

    /// Rolls back.
    pub(crate) async fn rollback(self) -> Result<(), sqlx::Error> {
        if let Err(error) = self.transaction.rollback().await {
            *self.seal = Seal::Lost;
            return Err(error);
        }
        Ok(())
    }
}
