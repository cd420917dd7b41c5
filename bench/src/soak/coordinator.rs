//! The coordinator: `tercet serve` in a process of its own, on one address and one folder over all its restarts.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use tercet_harness::Daemon;
use tercet_proto::v1::GetRequest;
use tercet_proto::v1::coordinator_client::CoordinatorClient;
use tonic::Code;
use tonic::transport::Endpoint;
use uuid::Uuid;

use crate::outages::{Outage, Outages, Trouble};

/// The longest wait for the first answer after a start.
const ANSWER_TIMEOUT: Duration = Duration::from_mins(1);
/// The longest wait for the end after SIGTERM; `docs/configuration.md` says within `drain_timeout` and 14 s.
const END_TIMEOUT: Duration = Duration::from_secs(30);
/// The interval between two looks whether it answers, or has ended.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// The time that one such look may take.
const LOOK_TIMEOUT: Duration = Duration::from_secs(1);
/// The ports that are looked through for a free one lie this far below those that the system gives to connections: one of
/// the latter could be taken by a connection while the coordinator is away.
const PORTS: u16 = 4096;

/// The process, which is killed when this is dropped.
pub(crate) struct Coordinator {
    program: PathBuf,
    folder: PathBuf,
    port: u16,
    daemon: Daemon,
    outages: Arc<Outages>,
}

impl Coordinator {
    /// Starts it and waits until it answers.
    pub(crate) async fn start(
        program: &Path,
        folder: &Path,
        outages: Arc<Outages>,
    ) -> anyhow::Result<Self> {
        let port = free_port()?;
        let daemon = spawn(program, folder, port)?;
        let mut this = Self {
            program: program.to_owned(),
            folder: folder.to_owned(),
            port,
            daemon,
            outages,
        };
        this.answers().await?;
        Ok(this)
    }

    /// Returns its address, as a URL.
    pub(crate) fn address(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Returns its process id, which differs after each restart.
    pub(crate) fn pid(&self) -> u32 {
        self.daemon.pid()
    }

    /// Returns the file of its log.
    pub(crate) fn log_path(&self) -> &Path {
        self.daemon.log_path()
    }

    /// Makes trouble and waits until it answers again; a stop lasts `pause`.
    pub(crate) async fn suffer(
        &mut self,
        trouble: Trouble,
        pause: Duration,
    ) -> anyhow::Result<Outage> {
        self.check()?;
        self.outages.begin(trouble);
        match trouble {
            Trouble::Kill => self.daemon.kill(),
            Trouble::Terminate => {
                self.daemon.terminate();
                self.ended().await?;
            }
            Trouble::Stop => {
                self.daemon.stop();
                tokio::time::sleep(pause).await;
                self.daemon.resume();
            }
        }
        self.outages.started();
        if trouble != Trouble::Stop {
            self.daemon = spawn(&self.program, &self.folder, self.port)?;
        }
        self.answers().await?;
        self.outages.answered().context("no outage was noted")
    }

    /// Fails if it has ended by itself.
    pub(crate) fn check(&mut self) -> anyhow::Result<()> {
        if self.daemon.is_running() {
            return Ok(());
        }
        let log = self.daemon.log();
        let last: Vec<&str> = log.lines().rev().take(20).collect();
        let last: Vec<&str> = last.into_iter().rev().collect();
        bail!("the coordinator ended by itself:\n{}", last.join("\n"))
    }

    /// Waits for its end after SIGTERM.
    async fn ended(&mut self) -> anyhow::Result<()> {
        let give_up = Instant::now() + END_TIMEOUT;
        while self.daemon.is_running() {
            if Instant::now() > give_up {
                bail!("the coordinator goes on {END_TIMEOUT:?} after SIGTERM");
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(())
    }

    /// Waits until it answers a request that reads the database.
    async fn answers(&mut self) -> anyhow::Result<()> {
        let give_up = Instant::now() + ANSWER_TIMEOUT;
        let endpoint = Endpoint::from_shared(self.address())?;
        loop {
            let look = look(&endpoint);
            if let Ok(true) = tokio::time::timeout(LOOK_TIMEOUT, look).await {
                return Ok(());
            }
            self.check()?;
            if Instant::now() > give_up {
                bail!("the coordinator does not answer {ANSWER_TIMEOUT:?} after its start");
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

/// Returns whether it answers that there is no such transaction.
async fn look(endpoint: &Endpoint) -> bool {
    let Ok(channel) = endpoint.connect().await else {
        return false;
    };
    let request = GetRequest {
        tx_id: Uuid::now_v7().to_string(),
        ..GetRequest::default()
    };
    let reply = CoordinatorClient::new(channel).get(request).await;
    reply.is_err_and(|status| status.code() == Code::NotFound)
}

fn spawn(program: &Path, folder: &Path, port: u16) -> anyhow::Result<Daemon> {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        // Everything has its default here.
        if name.to_string_lossy().starts_with("TERCET_") {
            command.env_remove(name);
        }
    }
    command
        .arg("serve")
        .args(["--listen", &format!("127.0.0.1:{port}")])
        .arg("--database")
        .arg(folder.join("tercet.db"));
    Ok(Daemon::spawn(
        "the coordinator",
        &mut command,
        &folder.join("tercet.log"),
    )?)
}

/// Returns a free port below those that the system gives to connections by itself.
fn free_port() -> anyhow::Result<u16> {
    let range = "/proc/sys/net/ipv4/ip_local_port_range";
    let text = fs::read_to_string(range).with_context(|| format!("could not read {range}"))?;
    let first: u16 = text
        .split_whitespace()
        .next()
        .and_then(|number| number.parse().ok())
        .with_context(|| format!("{range} has no number"))?;
    let lowest = first.saturating_sub(PORTS).max(1025);
    let start = rand::random_range(lowest..first.max(lowest + 1));
    (start..first)
        .chain(lowest..start)
        .find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .context("no port is free")
}
