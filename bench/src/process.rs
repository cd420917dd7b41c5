//! Processes, and their use of memory and CPU as read from /proc.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, ChildStdout, Command};

/// Linux counts CPU time in hundredths of a second, whatever the kernel's own tick is.
const TICK: Duration = Duration::from_millis(10);
/// The longest wait until a process listens.
const START_TIMEOUT: Duration = Duration::from_secs(30);
/// The coordinator's output before its address.
const LISTENING: &str = "listening on ";

/// A process's use of memory and CPU so far.
#[derive(Clone, Copy)]
pub(crate) struct Usage {
    /// Memory in RAM, in KiB.
    pub(crate) resident_kib: u64,
    /// CPU time, user and system together.
    pub(crate) cpu: Duration,
}

impl Usage {
    /// Reads /proc/PID.
    pub(crate) fn of(pid: u32) -> anyhow::Result<Self> {
        let status = read(&format!("/proc/{pid}/status"))?;
        let resident_kib = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .and_then(|rest| rest.split_whitespace().next())
            .and_then(|number| number.parse().ok())
            .with_context(|| format!("/proc/{pid}/status has no VmRSS"))?;
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
            resident_kib,
            cpu: TICK * (user + system),
        })
    }
}

fn read(path: &str) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("could not read {path}"))
}

/// The coordinator in a process of its own.
pub(crate) struct Coordinator {
    child: Child,
    /// Its address, as a URL.
    pub(crate) address: String,
    /// Kept open, so that the process can go on printing.
    _output: tokio::io::Lines<BufReader<ChildStdout>>,
}

impl Coordinator {
    /// Starts `tercet serve` on a database in `folder` and waits until it listens.
    pub(crate) async fn start(program: &Path, folder: &Path) -> anyhow::Result<Self> {
        let log = folder.join("tercet.log");
        let mut child = Command::new(program)
            .args(["serve", "--listen", "127.0.0.1:0", "--database"])
            .arg(folder.join("tercet.db"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(&log)?)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("could not start {}", program.display()))?;
        let output = child
            .stdout
            .take()
            .context("the coordinator's output is not piped")?;
        let mut output = BufReader::new(output).lines();
        let first = tokio::time::timeout(START_TIMEOUT, output.next_line())
            .await
            .context("the coordinator does not listen")??;
        let Some(address) = first
            .as_deref()
            .and_then(|line| line.strip_prefix(LISTENING))
        else {
            bail!(
                "the coordinator printed {first:?}:\n{}",
                std::fs::read_to_string(log)?
            );
        };
        Ok(Self {
            child,
            address: address.to_owned(),
            _output: output,
        })
    }

    /// Returns its use of memory and CPU so far.
    pub(crate) fn usage(&self) -> anyhow::Result<Usage> {
        Usage::of(self.child.id().context("the coordinator has ended")?)
    }

    /// Ends it at once.
    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        Ok(self.child.kill().await?)
    }
}

/// The no-op participants in a process of their own: this program, started once more.
pub(crate) struct Participants {
    child: Child,
    output: tokio::io::Lines<BufReader<ChildStdout>>,
}

impl Participants {
    /// Starts them and waits until all are attached.
    pub(crate) async fn start(coordinator: &str) -> anyhow::Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["participants", "--coordinator", coordinator])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("could not start the participants")?;
        let output = child
            .stdout
            .take()
            .context("the participants' output is not piped")?;
        let mut output = BufReader::new(output).lines();
        let first = tokio::time::timeout(START_TIMEOUT, output.next_line())
            .await
            .context("the participants did not attach in time")??;
        ensure!(
            first.as_deref() == Some("attached"),
            "the participants printed {first:?}"
        );
        Ok(Self { child, output })
    }

    /// Returns their use of memory and CPU so far.
    pub(crate) fn usage(&self) -> anyhow::Result<Usage> {
        Usage::of(self.child.id().context("the participants have ended")?)
    }

    /// Ends them by closing their input, and returns the line with the calls that they counted.
    pub(crate) async fn stop(mut self) -> anyhow::Result<String> {
        drop(self.child.stdin.take());
        let line = self
            .output
            .next_line()
            .await?
            .context("the participants printed no counts")?;
        self.child.wait().await?;
        Ok(line)
    }
}

/// Builds the coordinator's release program, as `cargo demo` does, and returns its path.
pub(crate) fn build_coordinator() -> anyhow::Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let arguments = ["build", "--release", "--quiet", "--package", "tercet-cli"];
    let status = std::process::Command::new(cargo)
        .args(arguments)
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
        assert!(usage.cpu >= TICK, "{:?}", usage.cpu);
    }
}
