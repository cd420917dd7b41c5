//! Processes: their use of memory and CPU as read from /proc, and the coordinator's program.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};

/// Linux counts CPU time in hundredths of a second, whatever the kernel's own tick is.
const TICK: Duration = Duration::from_millis(10);

/// A process's use of memory and CPU so far.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    /// Memory in RAM, in KiB.
    pub resident_kib: u64,
    /// The most memory in RAM so far, in KiB.
    pub peak_kib: u64,
    /// CPU time, user and system together.
    pub cpu: Duration,
    /// Threads.
    pub threads: u64,
}

impl Usage {
    /// Reads /proc/PID.
    pub fn of(pid: u32) -> anyhow::Result<Self> {
        let status = read(&format!("/proc/{pid}/status"))?;
        let number = |name: &str| {
            status
                .lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
                .and_then(|rest| rest.split_whitespace().next()?.parse().ok())
                .with_context(|| format!("/proc/{pid}/status has no {name}"))
        };
        let stat = read(&format!("/proc/{pid}/stat"))?;
        // The second field is the program's name in parentheses, which may itself contain blanks.
        let (_, fields) = stat
            .rsplit_once(')')
            .context("/proc/PID/stat has no program name")?;
        let mut times = fields.split_whitespace().skip(11);
        let mut ticks = || times.next().and_then(|field| field.parse::<u32>().ok());
        let (user, system) = (ticks(), ticks());
        let (Some(user), Some(system)) = (user, system) else {
            bail!("/proc/{pid}/stat has no times");
        };
        Ok(Self {
            resident_kib: number("VmRSS")?,
            peak_kib: number("VmHWM")?,
            cpu: TICK * (user + system),
            threads: number("Threads")?,
        })
    }
}

/// Returns the number of files that a process has open.
pub fn open_files(pid: u32) -> anyhow::Result<usize> {
    let folder = format!("/proc/{pid}/fd");
    let files = std::fs::read_dir(&folder).with_context(|| format!("could not read {folder}"))?;
    Ok(files.count())
}

fn read(path: &str) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("could not read {path}"))
}

/// Builds the coordinator's program in the profile of this one, as `cargo demo` does, and returns its path.
pub fn build_coordinator() -> anyhow::Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut arguments = vec!["build", "--quiet", "--package", "tercet-cli"];
    if !cfg!(debug_assertions) {
        arguments.push("--release");
    }
    let status = std::process::Command::new(cargo)
        .args(&arguments)
        .args(["--bin", "tercet"])
        .status()
        .context("could not start cargo")?;
    ensure!(
        status.success(),
        "`cargo {}` ended with {status}",
        arguments.join(" ")
    );
    let program = std::env::current_exe()?.with_file_name("tercet");
    ensure!(
        program.is_file(),
        "{} is not there; name it with --server",
        program.display()
    );
    Ok(program)
}

/// Makes a folder for databases that is removed when it is dropped: in `parent`, or beside this program, because a
/// temporary folder is often in RAM.
pub fn folder(prefix: &str, parent: Option<&Path>) -> anyhow::Result<tempfile::TempDir> {
    let program = std::env::current_exe()?;
    let beside = program.parent().context("this program is nowhere")?;
    let parent = parent.unwrap_or(beside);
    std::fs::create_dir_all(parent)
        .with_context(|| format!("the folder {} cannot be made", parent.display()))?;
    let mut builder = tempfile::Builder::new();
    Ok(builder.prefix(prefix).tempdir_in(parent)?)
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn reads_what_a_process_uses() {
        let busy = Instant::now();
        while busy.elapsed() < TICK * 5 {}
        let usage = Usage::of(std::process::id()).unwrap();
        assert!(usage.resident_kib > 100);
        assert!(usage.peak_kib >= usage.resident_kib);
        assert!(usage.threads >= 1);
        assert!(usage.cpu >= TICK, "{:?}", usage.cpu);
        assert!(open_files(std::process::id()).unwrap() >= 3);
    }
}
