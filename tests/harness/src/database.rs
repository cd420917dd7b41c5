//! What starting any database server has in common.

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

/// How long a server may take until it answers.
pub(crate) const READY_DEADLINE: Duration = Duration::from_mins(1);
/// How often it is tried meanwhile.
pub(crate) const TRY_EVERY: Duration = Duration::from_millis(50);

/// A folder of its own for a server.
pub(crate) fn folder(name: &str) -> Result<TempDir, HarnessError> {
    tempfile::Builder::new()
        .prefix(&format!("tercet-{name}-"))
        .tempdir()
        .map_err(HarnessError::io("make a folder"))
}

/// Whether this process is root, which PostgreSQL refuses to run as.
pub(crate) fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}

/// Runs a program to its end.
pub(crate) fn run(command: &mut Command) -> Result<String, HarnessError> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command
        .output()
        .map_err(HarnessError::io(format!("run {program}")))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = [output.stdout, output.stderr].concat();
    Err(HarnessError::Failed {
        program,
        status: output.status.to_string(),
        output: String::from_utf8_lossy(&said).into_owned(),
    })
}

/// The first of these files that exists.
pub(crate) fn find(candidates: impl IntoIterator<Item = PathBuf>) -> Option<PathBuf> {
    candidates.into_iter().find(|path| path.is_file())
}

/// The places where Debian puts a server program.
pub(crate) fn in_path(program: &str) -> impl Iterator<Item = PathBuf> {
    ["/usr/sbin", "/usr/bin", "/usr/local/sbin", "/usr/local/bin"]
        .map(|folder| Path::new(folder).join(program))
        .into_iter()
}

/// A name for a database that no other test of this process uses.
pub(crate) fn database_name() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    format!("test_{}", NEXT.fetch_add(1, Ordering::Relaxed))
}
