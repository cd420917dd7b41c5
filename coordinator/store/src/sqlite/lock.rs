//! One process per database: a lock on a file beside it, and one on the file itself, which may have another name.

#[cfg(target_os = "linux")]
use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
};
use std::{
    fs::{File, OpenOptions, TryLockError},
    io,
    path::{Path, PathBuf},
};

use crate::StoreError;

/// A lock that is held for the store's life. The operating system releases it when the process ends, in whatever way.
#[derive(Debug)]
pub(super) struct ProcessLock {
    /// The database itself, locked: closed after every connection of this process, because closing it releases SQLite's
    /// own locks.
    _database: Option<LockedDatabase>,
    _file: Locked,
}

/// A locked file. The lock ends with this and not with the file's last descriptor, which a process that has just been
/// forked may have until it executes its program.
#[derive(Debug)]
struct Locked(File);

impl Drop for Locked {
    fn drop(&mut self) {
        // If that fails, the lock ends when the file is closed.
        let _ = self.0.unlock();
    }
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
            Ok(()) => Ok(Self {
                _database: None,
                _file: Locked(file),
            }),
            Err(TryLockError::WouldBlock) => Err(failed(taken(database))),
            Err(TryLockError::Error(error)) => Err(failed(format!(
                "the file system cannot lock: {error}; choose a local one"
            ))),
        }
    }

    /// Takes the lock on the database itself too, an empty file where there is none: another process may have opened it
    /// by another path.
    pub(super) fn with_file(self, database: &Path) -> Result<Self, StoreError> {
        let locked = LockedDatabase::take(database)
            .map_err(|what| StoreError::fatal(format!("locking {}", database.display()), what))?;
        Ok(Self {
            _database: locked,
            ..self
        })
    }
}

fn taken(database: &Path) -> String {
    format!(
        "another process has {} open; stop it first, or choose another database",
        database.display()
    )
}

/// The databases that this process has open, by device and inode. They are found here and not by trying to lock them:
/// to open and close a file of SQLite's releases its locks.
#[cfg(target_os = "linux")]
static OPEN: Mutex<BTreeSet<(u64, u64)>> = Mutex::new(BTreeSet::new());

/// A database file, locked. SQLite's locks and this one do not see each other on Linux; elsewhere they may, so that
/// there the lock beside the file is the only one.
#[cfg(target_os = "linux")]
#[derive(Debug)]
struct LockedDatabase {
    identity: (u64, u64),
    file: File,
}

#[cfg(target_os = "linux")]
impl LockedDatabase {
    fn take(database: &Path) -> Result<Option<Self>, String> {
        use std::os::unix::fs::MetadataExt as _;

        let words = |error: io::Error| format!("the file cannot be opened: {error}");
        let mut options = OpenOptions::new();
        options.create(true).truncate(false).write(true);
        if !database.exists() {
            options.open(database).map_err(words)?;
        }
        let metadata = database.metadata().map_err(words)?;
        let identity = (metadata.dev(), metadata.ino());
        let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
        if open.contains(&identity) {
            return Err(taken(database));
        }
        let file = options.open(database).map_err(words)?;
        match file.try_lock() {
            Ok(()) => {
                open.insert(identity);
                Ok(Some(Self { identity, file }))
            }
            Err(TryLockError::WouldBlock) => Err(taken(database)),
            // A file system without such locks: the lock beside the file has to do.
            Err(TryLockError::Error(_)) => Ok(None),
        }
    }
}

#[cfg(target_os = "linux")]
impl Drop for LockedDatabase {
    fn drop(&mut self) {
        let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
        // As above.
        let _ = self.file.unlock();
        open.remove(&self.identity);
    }
}

#[cfg(not(target_os = "linux"))]
#[derive(Debug)]
struct LockedDatabase;

#[cfg(not(target_os = "linux"))]
impl LockedDatabase {
    fn take(_database: &Path) -> Result<Option<Self>, String> {
        Ok(None)
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// As between the fork and the execution of a child's program.
    #[test]
    fn a_lock_that_is_let_go_is_free_though_another_has_its_descriptor() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("tercet.db.lock");
        let file = File::create(&path).unwrap();
        file.lock().unwrap();
        let inherited = file.try_clone().unwrap();
        drop(Locked(file));
        File::open(&path).unwrap().try_lock().unwrap();
        drop(inherited);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_database_that_is_let_go_is_free_though_another_has_its_descriptor() {
        let directory = tempfile::tempdir().unwrap();
        let database = directory.path().join("tercet.db");
        let take = || LockedDatabase::take(&database).map(Option::unwrap);
        let locked = take().unwrap();
        let inherited = locked.file.try_clone().unwrap();
        drop(locked);
        take().unwrap();
        drop(inherited);
    }
}
