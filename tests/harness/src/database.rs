//! Parts that every database server needs to start.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use tempfile::TempDir;

use crate::HarnessError;

/// The longest wait for a server's first answer.
pub(crate) const READY_DEADLINE: Duration = Duration::from_mins(1);
/// The interval between two connection attempts.
pub(crate) const TRY_EVERY: Duration = Duration::from_millis(50);

/// Makes a temporary folder for a server.
pub(crate) fn folder(name: &str) -> Result<TempDir, HarnessError> {
    tempfile::Builder::new()
        .prefix(&format!("tercet-{name}-"))
        .tempdir()
        .map_err(HarnessError::io("make a folder"))
}

/// Returns whether this process is root, which PostgreSQL refuses to run as.
pub(crate) fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}

/// Runs a program to its end, and returns its output.
pub(crate) fn run(command: &mut Command) -> Result<String, HarnessError> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command
        .output()
        .map_err(HarnessError::io(format!("run {program}")))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let printed = [output.stdout, output.stderr].concat();
    Err(HarnessError::Failed {
        program,
        status: output.status.to_string(),
        output: String::from_utf8_lossy(&printed).into_owned(),
    })
}

/// Returns the first of these files that exists.
pub(crate) fn find(candidates: impl IntoIterator<Item = PathBuf>) -> Option<PathBuf> {
    candidates.into_iter().find(|path| path.is_file())
}

/// Returns the places where Debian puts a server program.
pub(crate) fn in_path(program: &str) -> impl Iterator<Item = PathBuf> {
    ["/usr/sbin", "/usr/bin", "/usr/local/sbin", "/usr/local/bin"]
        .map(|folder| Path::new(folder).join(program))
        .into_iter()
}

/// Makes a name for a database that no other test of this process uses.
pub(crate) fn database_name() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    format!("test_{}", NEXT.fetch_add(1, Ordering::Relaxed))
}
