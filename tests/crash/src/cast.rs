//! The four processes, each made of the code that ships and assembled anew.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use clap::{Args, ValueEnum};
use demo_coupons::{CouponsService, proto::TakeCoupon, stock};
use demo_points::{PointsService, accounts, proto::TakePoints};
use demo_service::{SeedPart, stopped};
use sqlx::{SqliteConnection, SqlitePool};
use tercet_sdk::{ActionError, Call, DeliverAction, Participant, Sqlite};
use tercet_server::Config;
use tercet_store::{SqliteOptions, SqliteStore};
use tokio::net::TcpListener;
use tonic::service::Routes;

/// The lease of the coordinator: short, so that a stopped one comes back too late.
pub const LEASE: Duration = Duration::from_secs(1);
/// Users with points.
pub const USERS: usize = 8;
/// The user that never has enough points.
pub const POOR: &str = "poor";
/// The points of each user at the start.
pub const OPENING: i64 = 1_000_000;
/// The kind of coupon.
pub const COUPON: &str = "coffee";
/// The handler of both services that takes a message.
pub const DELIVER: &str = "deliver";

/// The role of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, ValueEnum)]
pub enum Role {
    /// The coordinator.
    Coordinator,
    /// The participant that takes points.
    Points,
    /// The participant that gives coupons.
    Coupons,
    /// The process that begins transactions.
    Initiator,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 4] = [
        Self::Coordinator,
        Self::Points,
        Self::Coupons,
        Self::Initiator,
    ];

    /// Its name on the command line, and as a participant.
    pub fn word(self) -> &'static str {
        match self {
            Self::Coordinator => "coordinator",
            Self::Points => "points",
            Self::Coupons => "coupons",
            Self::Initiator => "initiator",
        }
    }
}

/// The addresses and the folder of one exchange.
#[derive(Args, Clone, Debug)]
pub struct Places {
    /// The folder of the databases
    #[arg(long)]
    pub folder: PathBuf,
    /// The address of the coordinator
    #[arg(long)]
    pub coordinator: SocketAddr,
    /// The address of the points service
    #[arg(long)]
    pub points: SocketAddr,
    /// The address of the coupons service
    #[arg(long)]
    pub coupons: SocketAddr,
}

impl Places {
    /// Returns the database file of a role.
    pub fn database(&self, role: Role) -> PathBuf {
        self.folder.join(format!("{}.db", role.word()))
    }

    /// Returns the coordinator's URL.
    pub fn coordinator_url(&self) -> String {
        format!("http://{}", self.coordinator)
    }
}

/// Runs the coordinator until a signal stops it.
pub async fn coordinator(places: &Places) -> anyhow::Result<()> {
    let listener = TcpListener::bind(places.coordinator).await?;
    let store =
        SqliteStore::open(places.database(Role::Coordinator), SqliteOptions::default()).await?;
    let mut config = Config {
        lease: LEASE,
        ..Config::default()
    };
    config.engine.lease = LEASE;
    config.engine.hold = LEASE / 2;
    config.engine.poll = Duration::from_millis(100);
    tercet_server::serve(listener, Arc::new(store), config, until_stopped()).await?;
    Ok(())
}

/// Runs the points service until a signal stops it.
pub async fn points(places: &Places) -> anyhow::Result<()> {
    let pool = demo_service::open(&places.database(Role::Points)).await?;
    let accounts = (0..USERS)
        .map(|user| (user_name(user), OPENING))
        .chain([(POOR.to_owned(), 1)])
        .map(|(user, points)| demo_points::seed::Opening { user, points });
    let seed = demo_points::seed::Seed {
        accounts: accounts.collect(),
    };
    let participant = demo_service::participant::<PointsService>(&pool, &seed).await?;
    let participant = participant.deliver(DELIVER, DeliverPoints).build()?;
    run(participant, places, places.points).await
}

/// Runs the coupons service until a signal stops it.
pub async fn coupons(places: &Places) -> anyhow::Result<()> {
    let pool = demo_service::open(&places.database(Role::Coupons)).await?;
    let seed = demo_coupons::seed::Seed::parse(&format!(
        "[[coupon]]\nkind = {COUPON:?}\nstock = {OPENING}\nper_user = {OPENING}\n"
    ))
    .map_err(anyhow::Error::msg)?;
    let participant = demo_service::participant::<CouponsService>(&pool, &seed).await?;
    let participant = participant.deliver(DELIVER, DeliverCoupon).build()?;
    run(participant, places, places.coupons).await
}

/// Attaches, and serves `Participant/Invoke` for an initiator that calls the Tries itself.
async fn run(participant: Participant, places: &Places, listen: SocketAddr) -> anyhow::Result<()> {
    let listener = TcpListener::bind(listen).await?;
    let invoke = Routes::new(participant.service());
    let coordinators = [places.coordinator_url()];
    demo_service::serve(
        participant,
        invoke,
        listener,
        &coordinators,
        until_stopped(),
    )
    .await
}

async fn until_stopped() {
    // If signals cannot be received, the process ends when it is killed, as most do here.
    let _ = stopped(false).await;
}

/// Returns the name of a user with points.
pub fn user_name(user: usize) -> String {
    format!("user-{}", user % USERS)
}

/// Takes points as the delivery of a message.
struct DeliverPoints;

impl DeliverAction<Sqlite> for DeliverPoints {
    type Request = TakePoints;

    async fn deliver(
        &self,
        tx: &mut SqliteConnection,
        call: &Call<TakePoints>,
    ) -> Result<(), ActionError> {
        let tx_id = call.tx_id.to_string();
        let movement = accounts::Movement {
            tx_id: &tx_id,
            action: &call.action,
            order_id: &call.request.order_id,
            user: &call.request.user,
            points: call.request.points,
        };
        Ok(accounts::apply(tx, demo_points::proto::Kind::Deduct, &movement).await?)
    }
}

/// Gives a coupon as the delivery of a message.
struct DeliverCoupon;

impl DeliverAction<Sqlite> for DeliverCoupon {
    type Request = TakeCoupon;

    async fn deliver(
        &self,
        tx: &mut SqliteConnection,
        call: &Call<TakeCoupon>,
    ) -> Result<(), ActionError> {
        let tx_id = call.tx_id.to_string();
        let movement = stock::Movement {
            tx_id: &tx_id,
            action: &call.action,
            order_id: &call.request.order_id,
            user: &call.request.user,
            coupon: &call.request.kind,
        };
        Ok(stock::apply(tx, demo_coupons::proto::Kind::Grant, &movement).await?)
    }
}

/// Opens the database of a process that may be running, for reading.
pub async fn look(file: &Path) -> Result<SqlitePool, sqlx::Error> {
    demo_service::open(file).await
}
