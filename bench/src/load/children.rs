//! The two processes that this one starts: the coordinator and the participants.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use tercet_bench::process::Usage;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, ChildStdout, Command};

/// The longest wait until a process listens.
const START_TIMEOUT: Duration = Duration::from_secs(30);
/// The coordinator's output before its address.
const LISTENING: &str = "listening on ";

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
