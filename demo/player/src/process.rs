//! One of the demo's processes: started, watched, killed, stopped. None outlives the demo: each stops
//! when its standard input ends, which is a pipe that the demo holds.

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use demo_service::ANNOUNCEMENT;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

use crate::args::Role;

/// Time in which a process must print its address.
const START: Duration = Duration::from_secs(20);
/// Time in which a process must stop before it is killed.
const STOP: Duration = Duration::from_secs(5);
/// Lines of a log that are shown when a process ends unexpectedly.
const TAIL_LINES: usize = 12;
/// Bytes of a log that are read for them.
const TAIL_BYTES: usize = 16 * 1_024;

/// The beginnings of variables that set options of this program.
const OTHERS: [&str; 2] = ["TERCET_", "DEMO_"];

/// A process that runs.
#[derive(Debug)]
pub(crate) struct Process {
    role: Role,
    child: Child,
    /// Ends when the process is to stop. Not left within `child`, which ends it before it waits.
    lifeline: Option<ChildStdin>,
    out: Lines<BufReader<ChildStdout>>,
    log: PathBuf,
}

impl Process {
    /// Starts this program again with other arguments; it logs into a file of `folder`.
    pub(crate) fn start(role: Role, arguments: &[String], folder: &Path) -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("cannot find this program's own file")?;
        let log = folder.join(format!("{}.log", role.name()));
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&log)
            .with_context(|| format!("cannot write {}", log.display()))?;
        let mut command = Command::new(program);
        // Variables that are set for another coordinator or service are not meant for these.
        for (name, _) in std::env::vars_os() {
            if OTHERS
                .iter()
                .any(|prefix| name.to_string_lossy().starts_with(prefix))
            {
                command.env_remove(name);
            }
        }
        let mut child = command
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(file)
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start the {}", role.title()))?;
        let out = child
            .stdout
            .take()
            .context("standard output is a pipe, as asked for above")?;
        Ok(Self {
            role,
            lifeline: child.stdin.take(),
            child,
            out: BufReader::new(out).lines(),
            log,
        })
    }

    /// Waits for the line with the process's address.
    pub(crate) async fn address(&mut self) -> anyhow::Result<String> {
        let announced = timeout(START, async {
            while let Some(line) = self.out.next_line().await? {
                if let Some(address) = line.strip_prefix(ANNOUNCEMENT) {
                    return anyhow::Ok(address.to_owned());
                }
            }
            bail!("it ended")
        });
        match announced.await {
            Ok(Ok(address)) => Ok(address),
            Ok(Err(_)) => {
                let status = self.child.wait().await?;
                Err(self.ended(status))
            }
            Err(_) => Err(anyhow!(
                "the {} does not say where it listens after {START:?}{}",
                self.role.title(),
                self.tail()
            )),
        }
    }

    /// The next line of its standard output; none once that has ended. Cancellation safe.
    pub(crate) async fn line(&mut self) -> anyhow::Result<Option<String>> {
        self.out
            .next_line()
            .await
            .context("cannot read from a process of the demo")
    }

    /// Waits until it ends, which it should not; the error has the end of its log. Cancellation safe.
    pub(crate) async fn death(&mut self) -> anyhow::Error {
        match self.child.wait().await {
            Ok(status) => self.ended(status),
            Err(error) => anyhow!(error).context("cannot wait for a process of the demo"),
        }
    }

    /// Sends SIGKILL and waits until it is gone.
    pub(crate) async fn kill(&mut self) -> anyhow::Result<()> {
        self.child
            .kill()
            .await
            .with_context(|| format!("cannot kill the {}", self.role.title()))
    }

    /// Asks it to stop by ending its standard input; kills it if it does not.
    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        drop(self.lifeline.take());
        let Ok(ended) = timeout(STOP, self.child.wait()).await else {
            self.kill().await?;
            bail!(
                "the {} did not stop within {STOP:?}{}",
                self.role.title(),
                self.tail()
            );
        };
        let status = ended?;
        if status.success() {
            Ok(())
        } else {
            Err(self.ended(status))
        }
    }

    fn ended(&self, status: ExitStatus) -> anyhow::Error {
        anyhow!(
            "the {} ended unexpectedly, {status}{}",
            self.role.title(),
            self.tail()
        )
    }

    /// The log's last lines, for a message.
    fn tail(&self) -> String {
        let bytes = std::fs::read(&self.log).unwrap_or_default();
        let end = &bytes[bytes.len().saturating_sub(TAIL_BYTES)..];
        let text = String::from_utf8_lossy(end);
        let lines: Vec<&str> = text.lines().collect();
        let last = lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n  ");
        format!("; the end of {}:\n  {last}", self.log.display())
    }
}
