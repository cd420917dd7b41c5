//! The processes of one exchange: starting them, letting one be hit, starting what died, and waiting for
//! the end.

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
    points::{FailPoint, Mode},
};

/// How long a stopped process stands still: longer than the coordinator's lease.
pub const STANDSTILL: Duration = Duration::from_millis(1_500);
/// How long everything may take to start.
const START_WITHIN: Duration = Duration::from_secs(30);
/// How often is looked.
const LOOK_EVERY: Duration = Duration::from_millis(25);

/// What happens to a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Signal {
    /// SIGKILL; it is started again at once.
    Kill,
    /// SIGSTOP, and SIGCONT after [`STANDSTILL`].
    Stop,
}

impl Signal {
    /// Its name in the matrix.
    pub fn word(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Stop => "stop",
        }
    }
}

/// What is exchanged.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// How.
    pub mode: Mode,
    /// Orders.
    pub orders: usize,
    /// Orders that are open at once.
    pub at_once: usize,
}

/// The processes of one exchange. Dropped, they are gone with their folder.
pub struct Stage {
    /// Where everything is.
    pub places: Places,
    load: Load,
    processes: BTreeMap<Role, Daemon>,
    folder: Option<TempDir>,
}

impl Stage {
    /// Starts all four; `hit` says where one of them is to be hit, and how.
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

    /// Starts a part, new or again.
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
        // The old one goes first, with its guardian.
        self.processes.remove(&role);
        let daemon = Daemon::spawn(role.word(), &mut command, &self.log_of(role))?;
        self.processes.insert(role, daemon);
        Ok(())
    }

    fn log_of(&self, role: Role) -> PathBuf {
        self.places.folder.join(format!("{}.log", role.word()))
    }

    /// A part that was started.
    fn process(&mut self, role: Role) -> anyhow::Result<&mut Daemon> {
        self.processes
            .get_mut(&role)
            .with_context(|| format!("{} was not started", role.word()))
    }

    /// What a part has printed, over all its lives.
    pub fn log(&self, role: Role) -> String {
        std::fs::read(self.log_of(role))
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }

    /// Kills a part and starts it again.
    pub fn restart(&mut self, role: Role) -> anyhow::Result<()> {
        self.process(role)?.kill();
        self.start(role, None)
    }

    /// Lets a part stand still for a while.
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
            self.nobody_fell()?;
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
            .list(ListParticipantsRequest {})
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

    fn nobody_fell(&mut self) -> anyhow::Result<()> {
        for (role, process) in &mut self.processes {
            if !process.is_running() {
                bail!(
                    "{} ended by itself; it said:\n{}",
                    role.word(),
                    process.log()
                );
            }
        }
        Ok(())
    }

    /// Waits until the point was hit and lets the process go on or starts it again; false: it was not
    /// reached before everything was done.
    pub async fn hit(&mut self, point: &FailPoint, signal: Signal) -> anyhow::Result<bool> {
        let reached = format!("failpoint {} reached", point.name);
        loop {
            if self.log(point.role).contains(&reached) {
                break;
            }
            if self.is_fed() && self.open().await == Some(0) {
                return Ok(false);
            }
            self.nobody_fell().or_else(|error| {
                // It may have fallen between the two looks.
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

    /// Whether every order was answered, by the initiator that runs now.
    pub fn is_fed(&self) -> bool {
        self.log(Role::Initiator).lines().any(|line| line == DONE)
    }

    /// Transactions that are neither final nor parked; none: nobody answers.
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
            self.nobody_fell()?;
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

    /// Matches the books.
    pub async fn sheet(&mut self) -> anyhow::Result<Sheet> {
        let told = self.log(Role::Initiator);
        books::match_all(&self.places, self.load.mode, self.load.orders, &told).await
    }

    /// Keeps databases and logs for a person; says where.
    pub fn keep(&mut self) -> String {
        if let Some(folder) = self.folder.take() {
            let _ = folder.keep();
        }
        self.places.folder.display().to_string()
    }
}
