//! The errors of commands, and the exit codes that they give.

use std::{
    error::Error,
    io::{self, Write},
};

/// The exit code of a command, or why it failed.
pub(crate) type CommandResult = Result<u8, Failure>;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The configuration or the arguments are wrong.
    #[error("{0}")]
    Usage(String),
    /// No coordinator answers at the address, or the connection to it broke off.
    #[error("{0}")]
    Unreachable(String, #[source] Option<Box<dyn Error + Send + Sync>>),
    /// Everything else.
    #[error("{0}")]
    Failed(String, #[source] Option<Box<dyn Error + Send + Sync>>),
    /// The reader of the output closed it.
    #[error("the output is closed")]
    Output(#[from] io::Error),
}

impl Failure {
    /// A failure with its cause.
    pub(crate) fn because(
        what: impl Into<String>,
        source: impl Error + Send + Sync + 'static,
    ) -> Self {
        Self::Failed(what.into(), Some(Box::new(source)))
    }

    /// The exit code.
    pub(crate) fn code(&self) -> u8 {
        match self {
            Self::Usage(_) => 2,
            Self::Failed(..) | Self::Output(_) => 1,
            Self::Unreachable(..) => 5,
        }
    }

    /// Returns whether the same command may soon succeed: the coordinator is away, stops or cannot read.
    pub(crate) fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable(..) => true,
            Self::Failed(text, _) => ["DRAINING: ", "STORE_UNAVAILABLE: "]
                .iter()
                .any(|reason| text.starts_with(reason)),
            Self::Usage(_) | Self::Output(_) => false,
        }
    }

    /// Returns the error with the chain of its causes, as one line.
    pub(crate) fn text(&self) -> String {
        let mut text = self.to_string();
        let mut source = self.source();
        while let Some(cause) = source {
            let cause_text = cause.to_string();
            // Some errors print their source themselves.
            if !text.contains(&cause_text) {
                text.push_str(": ");
                text.push_str(&cause_text);
            }
            source = cause.source();
        }
        text
    }

    /// Prints the error on standard error, as one line.
    pub(crate) fn print(&self) -> io::Result<()> {
        writeln!(io::stderr().lock(), "error: {}", self.text())
    }
}
