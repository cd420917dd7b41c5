//! The check of a database before it is used: a file that is cut off or damaged is refused, and not discovered row by
//! row.

use std::{
    io,
    path::Path,
    time::{Duration, Instant},
};

use rusqlite::{Connection, ErrorCode, OpenFlags, config::DbConfig};

use crate::StoreError;

/// The longest check of a database at the start. A larger one is checked as far as that goes.
const CHECK_TIME: Duration = Duration::from_secs(2);

/// Instructions of SQLite between two looks at the clock.
const STEPS: i32 = 10_000;

/// Checks that the database, if there is one, is whole: every table can be walked, as far as time allows.
///
/// # Errors
/// The first fault; a file with a second name, by which another process would open it without the commits in its log.
pub(super) async fn intact(path: &Path) -> Result<(), StoreError> {
    let doing = format!("checking {}", path.display());
    let failed = |what: String| StoreError::fatal(&doing, what);
    if path.metadata().is_ok_and(|file| file.len() == 0) || !path.exists() {
        return Ok(());
    }
    one_name(path).map_err(failed)?;
    let file = path.to_owned();
    let checked = tokio::task::spawn_blocking(move || first_fault(&file)).await;
    let fault = checked.map_err(|error| failed(error.to_string()))?;
    match fault {
        Ok(None) => Ok(()),
        Ok(Some(fault)) => Err(failed(format!(
            "the database is damaged: {fault}; put back a back-up, or copy what can be read \
             with `sqlite3 {} .recover`",
            path.display()
        ))),
        Err(error) => Err(failed(error.to_string())),
    }
}

/// Refuses a file that has a second name.
#[cfg(unix)]
fn one_name(path: &Path) -> Result<(), String> {
    use std::os::unix::fs::MetadataExt as _;

    let names = path
        .metadata()
        .map_err(|error: io::Error| error.to_string())?
        .nlink();
    if names > 1 {
        return Err(format!(
            "the file has {names} names (hard links), and the log with the last commits lies beside one of them; \
             remove the others, or copy the file"
        ));
    }
    Ok(())
}

#[cfg(not(unix))]
fn one_name(_path: &Path) -> Result<(), String> {
    Ok(())
}

/// Returns the first fault that is found in time.
fn first_fault(path: &Path) -> rusqlite::Result<Option<String>> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    // The last connection of a database would copy the whole log.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    let end = Instant::now() + CHECK_TIME;
    connection.progress_handler(STEPS, Some(move || Instant::now() >= end))?;
    let check = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get::<_, String>(0));
    match check {
        Ok(words) if words == "ok" => Ok(None),
        Ok(fault) => Ok(Some(fault)),
        Err(rusqlite::Error::SqliteFailure(error, _))
            if error.code == ErrorCode::OperationInterrupted =>
        {
            Ok(None)
        }
        Err(rusqlite::Error::SqliteFailure(error, words))
            if matches!(
                error.code,
                ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase
            ) =>
        {
            Ok(Some(words.unwrap_or_else(|| error.to_string())))
        }
        Err(error) => Err(error),
    }
}
