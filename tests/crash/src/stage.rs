//! The processes of one exchange: starting, hitting and restarting them, and waiting for the end.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use clap::ValueEnum;
use tempfile::TempDir;
use tercet_failpoint::VARIABLE;
use tercet_harness::{Daemon, free_port};
use tercet_proto::v1::{
    ListParticipantsRequest, ListRequest, TxStatus, coordinator_client::CoordinatorClient,
    participants_client::ParticipantsClient,
};

use crate::{
    books::{self, Sheet},
    cast::{Places, Role},
    initiator::DONE,
    points::{Exchange, FailPoint},
};

/// The pause of a stopped process: longer than the coordinator's lease.
pub const STANDSTILL: Duration = Duration::from_millis(1_500);
/// The longest wait for all processes to start.
const START_WITHIN: Duration = Duration::from_secs(30);
/// The interval between two looks at a condition.
const LOOK_EVERY: Duration = Duration::from_millis(25);

/// The signal that hits a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Signal {
    /// SIGKILL; it is started again at once.
    Kill,
    /// SIGSTOP, and SIGCONT after [`STANDSTILL`].
    Stop,
}

impl Signal {
    /// Returns its name in the matrix.
    pub fn word(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Stop => "stop",
        }
    }
}

/// The orders of one exchange.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// The mode.
    pub mode: Exchange,
    /// The number of orders.
    pub orders: usize,
    /// The number of orders that are open at once.
    pub at_once: usize,
}

/// The processes of one exchange. When this is dropped they end, and their folder is removed.
pub struct Stage {
    /// Their addresses and folder.
    pub places: Places,
    load: Load,
    processes: BTreeMap<Role, Daemon>,
    folder: Option<TempDir>,
}

impl Stage {
    /// Starts all four; `hit` is the point at which one of them is hit, and the signal.
    pub async fn set(load: Load, hit: Option<(FailPoint, Signal)>) -> anyhow::Result<Self> {
        let folder = TempDir::with_prefix("tercet-crash-")?;
        let at = || anyhow::Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?)));
        let places = Places {
            folder: folder.path().to_owned(),
            coordinator: at()?,
            points: at()?,
            coupons: at()?,
        };
        let mut stage = Self {
            places,
            load,
            processes: BTreeMap::new(),
            folder: Some(folder),
        };
        for role in Role::ALL {
            if role == Role::Initiator {
                stage.attached().await?;
            }
            stage.start(role, hit.filter(|(point, _)| point.role == role))?;
        }
        Ok(stage)
    }

    /// Starts a process, for the first time or again.
    pub fn start(&mut self, role: Role, hit: Option<(FailPoint, Signal)>) -> anyhow::Result<()> {
        let program = std::env::current_exe().context("the path of this program")?;
        let mut command = Command::new(program);
        let Places {
            folder,
            coordinator,
            points,
            coupons,
        } = &self.places;
        command
            .arg("play")
            .arg(role.word())
            .args(["--coordinator", &coordinator.to_string()])
            .args(["--points", &points.to_string()])
            .args(["--coupons", &coupons.to_string()])
            .arg("--folder")
            .arg(folder)
            .args(["--mode", self.load.mode.word()])
            .args(["--orders", &self.load.orders.to_string()])
            .args(["--at-once", &self.load.at_once.to_string()])
            .env_remove(VARIABLE);
        if let Some((point, signal)) = hit {
            command.env(
                VARIABLE,
                format!("{}={}@{}", point.name, signal.word(), point.at),
            );
        }
        // The old process goes first, with its guardian.
        self.processes.remove(&role);
        let daemon = Daemon::spawn(role.word(), &mut command, &self.log_of(role))?;
        self.processes.insert(role, daemon);
        Ok(())
    }

    fn log_of(&self, role: Role) -> PathBuf {
        self.places.folder.join(format!("{}.log", role.word()))
    }

    /// Returns a process that was started.
    fn process(&mut self, role: Role) -> anyhow::Result<&mut Daemon> {
        self.processes
            .get_mut(&role)
            .with_context(|| format!("{} was not started", role.word()))
    }

    /// Returns the output of a process, across all its restarts.
    pub fn log(&self, role: Role) -> String {
        std::fs::read(self.log_of(role))
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }

    /// Kills a process and starts it again.
    pub fn restart(&mut self, role: Role) -> anyhow::Result<()> {
        self.process(role)?.kill();
        self.start(role, None)
    }

    /// Stops a process for a while.
    pub async fn stand_still(&mut self, role: Role, pause: Duration) -> anyhow::Result<()> {
        self.process(role)?.stop();
        tokio::time::sleep(pause).await;
        self.process(role)?.resume();
        Ok(())
    }

    /// Waits until both participants are attached.
    async fn attached(&mut self) -> anyhow::Result<()> {
        let give_up = Instant::now() + START_WITHIN;
        loop {
            if self.attached_now().await == Some(2) {
                return Ok(());
            }
            self.check_running()?;
            if Instant::now() > give_up {
                bail!(
                    "the participants did not attach in {START_WITHIN:?}; see {}",
                    self.keep()
                );
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    async fn attached_now(&self) -> Option<usize> {
        let mut client = ParticipantsClient::connect(self.places.coordinator_url())
            .await
            .ok()?;
        let list = client
            .list(ListParticipantsRequest::default())
            .await
            .ok()?
            .into_inner();
        Some(
            list.participants
                .iter()
                .filter(|participant| participant.attached > 0)
                .count(),
        )
    }

    fn check_running(&mut self) -> anyhow::Result<()> {
        for (role, process) in &mut self.processes {
            if !process.is_running() {
                bail!(
                    "{} ended by itself; its output:\n{}",
                    role.word(),
                    process.log()
                );
            }
        }
        Ok(())
    }

    /// Waits until the point was hit, and resumes the process or starts it again. Returns false if everything was
    /// done before the point was reached.
    pub async fn hit(&mut self, point: &FailPoint, signal: Signal) -> anyhow::Result<bool> {
        let reached = format!("failpoint {} reached", point.name);
        loop {
            if self.log(point.role).contains(&reached) {
                break;
            }
            if self.is_fed() && self.open().await == Some(0) {
                return Ok(false);
            }
            self.check_running().or_else(|error| {
                // The process may have been hit between the two looks.
                if self.log(point.role).contains(&reached) {
                    Ok(())
                } else {
                    Err(error)
                }
            })?;
            tokio::time::sleep(LOOK_EVERY).await;
        }
        match signal {
            Signal::Kill => {
                self.process(point.role)?.wait(START_WITHIN).await;
                self.start(point.role, None)?;
            }
            Signal::Stop => {
                tokio::time::sleep(STANDSTILL).await;
                self.process(point.role)?.resume();
            }
        }
        Ok(true)
    }

    /// Returns whether the initiator that runs now got an answer to every order.
    pub fn is_fed(&self) -> bool {
        self.log(Role::Initiator).lines().any(|line| line == DONE)
    }

    /// Returns the number of transactions that are neither finished nor parked, up to 10; `None` without an answer.
    async fn open(&self) -> Option<usize> {
        let mut client = CoordinatorClient::connect(self.places.coordinator_url())
            .await
            .ok()?;
        let request = ListRequest {
            statuses: vec![TxStatus::ProcessWaiting.into(), TxStatus::Processing.into()],
            page_size: 10,
            ..ListRequest::default()
        };
        let page = client.list(request).await.ok()?.into_inner();
        Some(page.transactions.len())
    }

    /// Waits until every order was answered and nothing is open any more.
    pub async fn end(&mut self, within: Duration) -> anyhow::Result<()> {
        let give_up = Instant::now() + within;
        loop {
            if self.is_fed() && self.open().await == Some(0) {
                return Ok(());
            }
            self.check_running()?;
            if Instant::now() > give_up {
                let open = self.open().await;
                let fed = self.is_fed();
                bail!(
                    "not at its end after {within:?} (every order answered: {fed}, open: {open:?}); see {}",
                    self.keep()
                );
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Compares the books.
    pub async fn sheet(&mut self) -> anyhow::Result<Sheet> {
        let printed = self.log(Role::Initiator);
        books::match_all(&self.places, self.load.mode, self.load.orders, &printed).await
    }

    /// Keeps databases and logs, and returns their folder.
    pub fn keep(&mut self) -> String {
        if let Some(folder) = self.folder.take() {
            let _ = folder.keep();
        }
        self.places.folder.display().to_string()
    }
}
