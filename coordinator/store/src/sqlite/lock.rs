//! One process per database: a lock on a file beside it.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io,
    path::{Path, PathBuf},
};

use crate::StoreError;

/// A lock that is held for the store's life. The operating system releases it when the process ends, in whatever way.
#[derive(Debug)]
pub(super) struct ProcessLock {
    _file: File,
}

impl ProcessLock {
    /// Takes the lock on the file beside `database` that has its name with `.lock` appended.
    pub(super) fn take(database: &Path) -> Result<Self, StoreError> {
        let mut path = database.as_os_str().to_owned();
        path.push(".lock");
        let path = PathBuf::from(path);
        let failed = |what: String| StoreError::fatal(format!("locking {}", path.display()), what);
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

/// Returns the path without links and dots, so that one database has one lock.
pub(super) fn resolved(path: &Path) -> io::Result<PathBuf> {
    if path.exists() {
        return path.canonicalize();
    }
    let no_file = || io::Error::new(io::ErrorKind::InvalidInput, "the path names no file");
    let name = path.file_name().ok_or_else(no_file)?;
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    Ok(directory.canonicalize()?.join(name))
}
