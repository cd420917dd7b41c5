//! Starts the database servers and processes that tests need, on free ports and with folders of their own.
//!
//! Nothing outlives the test: a [`Daemon`] is killed when it is dropped, and by its guardian when the
//! test's process ends in any other way.

mod daemon;
mod database;
mod mariadb;
mod postgres;
mod wait;

pub use daemon::Daemon;
pub use mariadb::MariaDbServer;
pub use postgres::PostgresServer;
pub use wait::{free_port, wait_until};

use std::{io, path::PathBuf, time::Duration};

/// The reasons why a test's surroundings could not be started.
#[derive(Debug, thiserror::Error)]
pub enum HarnessError {
    /// A program is not installed.
    #[error("{program} is not installed: install the Debian package {package}")]
    Missing {
        /// The program.
        program: &'static str,
        /// The Debian package that has it.
        package: &'static str,
    },
    /// The operating system refused.
    #[error("cannot {what}")]
    Io {
        /// The operation.
        what: String,
        /// The error.
        source: io::Error,
    },
    /// A program ended where it should not have.
    #[error("{program} failed ({status}); its output: {output}")]
    Failed {
        /// The program.
        program: String,
        /// Its exit status.
        status: String,
        /// The end of its output.
        output: String,
    },
    /// A server did not answer in time.
    #[error("{name} was not ready within {deadline:?}; its log is {log}")]
    NotReady {
        /// The server.
        name: String,
        /// The length of the wait.
        deadline: Duration,
        /// The server's log.
        log: PathBuf,
    },
    /// A statement of the harness itself failed.
    #[error("the server refused a statement of the harness")]
    Database(#[from] sqlx::Error),
}

impl HarnessError {
    fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        |source| Self::Io { what, source }
    }
}
