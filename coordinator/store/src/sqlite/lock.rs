//! One process per database: a lock on a file beside it.

use std::{
    fs::{File, OpenOptions, TryLockError},
    path::{Path, PathBuf},
};

use tercet_core::write::ApplyFailure;

use crate::StoreError;

/// Held for the store's life; the operating system lets go of it when the process ends, however it ends.
#[derive(Debug)]
pub(super) struct ProcessLock {
    _file: File,
}

impl ProcessLock {
    /// Takes the lock on `database` with `.lock` appended.
    pub(super) fn take(database: &Path) -> Result<Self, StoreError> {
        let mut path = database.as_os_str().to_owned();
        path.push(".lock");
        let path = PathBuf::from(path);
        let failed = |what: String| {
            StoreError::new(
                ApplyFailure::Fatal,
                format!("locking {}", path.display()),
                what,
            )
        };
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(|error| failed(format!("the file cannot be opened: {error}")))?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => Err(failed(format!(
                "another process has {} open; stop it first, or choose another database",
                database.display()
            ))),
            Err(TryLockError::Error(error)) => Err(failed(format!(
                "the file system cannot lock: {error}; choose a local one"
            ))),
        }
    }
}
