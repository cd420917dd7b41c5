//! The four processes: starts them, and starts again those that were killed.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::bail;
use tercet_proto::v1::ListParticipantsRequest;
use tercet_proto::v1::participants_client::ParticipantsClient;

use crate::args::{DemoArgs, Role};
use crate::evidence::Addresses;
use crate::process::Process;
use crate::script::Folder;

/// Time in which both services must attach.
const ATTACH: Duration = Duration::from_secs(20);
/// The pause between two looks at who is attached.
const POLL: Duration = Duration::from_millis(20);
/// Calls that a service takes at once, those that hang on purpose included.
const CALLS: u32 = 1_024;
/// Attempts to start the coordinator again until its address is free.
const RESTARTS: u32 = 10;
/// The pause between these.
const RESTART_PAUSE: Duration = Duration::from_millis(200);
/// Any free port.
const ANY_PORT: &str = "127.0.0.1:0";

/// All processes but the initiator's.
pub(crate) struct Stage<'a> {
    args: &'a DemoArgs,
    folder: &'a Folder,
    coordinator: Process,
    points: Process,
    coupons: Process,
    /// Their addresses.
    pub(crate) addresses: Addresses,
}

impl<'a> Stage<'a> {
    /// Starts coordinator and services, and waits until the services are attached.
    pub(crate) async fn set(args: &'a DemoArgs, folder: &'a Folder) -> anyhow::Result<Self> {
        let mut coordinator = start_coordinator(folder.path(), ANY_PORT)?;
        let at = coordinator.address().await?;
        let mut points = start_service(Role::Points, args, folder, &at)?;
        let mut coupons = start_service(Role::Coupons, args, folder, &at)?;
        let addresses = Addresses {
            coordinator: at,
            points: points.address().await?,
            coupons: coupons.address().await?,
        };
        let mut stage = Self {
            args,
            folder,
            coordinator,
            points,
            coupons,
            addresses,
        };
        let coordinator = stage.addresses.coordinator.clone();
        tokio::select! {
            result = attached(&coordinator) => result?,
            death = stage.death() => return Err(death),
        }
        Ok(stage)
    }

    /// Starts the initiator.
    pub(crate) fn initiator(&self) -> anyhow::Result<Process> {
        let pace = &self.args.pace;
        let mode = match self.args.mode {
            crate::args::Mode::Tcc => "tcc",
            crate::args::Mode::Compensate => "compensate",
        };
        let arguments = [
            "demo-service".to_owned(),
            "initiator".to_owned(),
            format!("--coordinator={}", self.addresses.coordinator),
            format!("--orders={}", self.folder.orders().display()),
            format!("--seed={}", self.folder.seed().display()),
            format!("--mode={mode}"),
            format!("--concurrency={}", pace.concurrency),
            format!("--phase-one-ms={}", pace.phase_one_ms.as_millis()),
            format!("--call-timeout-ms={}", pace.call_timeout_ms.as_millis()),
            format!("--max-attempts={}", pace.max_attempts),
            format!("--patience-ms={}", pace.patience_ms.as_millis()),
        ];
        Process::start(Role::Initiator, &arguments, self.folder.path())
    }

    /// Waits until one of the processes ends, which none should. Cancellation safe.
    pub(crate) async fn death(&mut self) -> anyhow::Error {
        tokio::select! {
            death = self.coordinator.death() => death,
            death = self.points.death() => death,
            death = self.coupons.death() => death,
        }
    }

    /// Sends SIGKILL to one of the processes.
    pub(crate) async fn kill(&mut self, role: Role) -> anyhow::Result<()> {
        match role {
            Role::Coordinator => self.coordinator.kill().await,
            Role::Points => self.points.kill().await,
            Role::Coupons => self.coupons.kill().await,
            Role::Initiator => bail!("the initiator is not on the stage"),
        }
    }

    /// Starts one that was killed again, on the same data; the coordinator at the same address.
    pub(crate) async fn restart(&mut self, role: Role) -> anyhow::Result<()> {
        let at = self.addresses.coordinator.clone();
        match role {
            Role::Coordinator => {
                let listen = at.trim_start_matches("http://");
                self.coordinator = restart_coordinator(self.folder.path(), listen).await?;
            }
            Role::Points => {
                self.points = start_service(role, self.args, self.folder, &at)?;
                self.addresses.points = self.points.address().await?;
            }
            Role::Coupons => {
                self.coupons = start_service(role, self.args, self.folder, &at)?;
                self.addresses.coupons = self.coupons.address().await?;
            }
            Role::Initiator => bail!("the initiator is not on the stage"),
        }
        Ok(())
    }

    /// Stops all of them.
    pub(crate) async fn clear(self) -> anyhow::Result<()> {
        let (points, coupons) = tokio::join!(self.points.stop(), self.coupons.stop());
        points.and(coupons).and(self.coordinator.stop().await)
    }
}

/// Starts the coordinator at the address it had. For a moment a foreign connection may have
/// that port; then it is tried again.
async fn restart_coordinator(folder: &Path, listen: &str) -> anyhow::Result<Process> {
    let mut tries = 1;
    loop {
        let mut coordinator = start_coordinator(folder, listen)?;
        match coordinator.address().await {
            Ok(_) => return Ok(coordinator),
            Err(error) if tries == RESTARTS => return Err(error),
            Err(_) => tokio::time::sleep(RESTART_PAUSE).await,
        }
        tries += 1;
    }
}

fn start_coordinator(folder: &Path, listen: &str) -> anyhow::Result<Process> {
    let arguments = [
        "serve".to_owned(),
        format!("--listen={listen}"),
        format!("--database={}", folder.join("coordinator.db").display()),
        "--until-stdin-ends".to_owned(),
    ];
    Process::start(Role::Coordinator, &arguments, folder)
}

fn start_service(
    role: Role,
    args: &DemoArgs,
    folder: &Folder,
    coordinator: &str,
) -> anyhow::Result<Process> {
    let name = role.name();
    let database = folder.path().join(format!("{name}.db"));
    let mut arguments = vec![
        "demo-service".to_owned(),
        name.to_owned(),
        format!("--coordinator={coordinator}"),
        format!("--listen={ANY_PORT}"),
        format!("--database={}", database.display()),
        format!("--seed={}", folder.seed().display()),
        format!("--concurrency={CALLS}"),
        "--until-stdin-ends".to_owned(),
    ];
    arguments.extend(args.fail.iter().map(|fault| format!("--fail={fault}")));
    if args.without_barrier {
        arguments.push("--without-barrier".to_owned());
    }
    Process::start(role, &arguments, folder.path())
}

/// Waits until both services are attached to the coordinator.
async fn attached(coordinator: &str) -> anyhow::Result<()> {
    let mut client = ParticipantsClient::connect(coordinator.to_owned()).await?;
    let started = Instant::now();
    loop {
        let reply = client
            .list(ListParticipantsRequest::default())
            .await?
            .into_inner();
        let attached = reply
            .participants
            .iter()
            .filter(|participant| participant.attached > 0);
        if attached.count() >= 2 {
            return Ok(());
        }
        if started.elapsed() > ATTACH {
            bail!("the services are not attached after {ATTACH:?}");
        }
        tokio::time::sleep(POLL).await;
    }
}
