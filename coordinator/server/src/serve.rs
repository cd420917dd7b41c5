//! The whole server: starts it, drains it and stops it.

use std::{
    convert::Infallible,
    future::{Future, pending},
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tercet_core::{
    model::Owner,
    port::Input,
    time::{Jump, Moment, Timestamp},
};
use tercet_proto::v1::{
    self, coordinator_server::CoordinatorServer, operator_server::OperatorServer,
    participants_server::ParticipantsServer,
};
use tercet_store::{Renewal, Store, StoreError};
use thiserror::Error;
use tokio::{
    net::TcpListener,
    sync::{mpsc, oneshot, watch},
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tonic::{server::NamedService, service::Routes};
use tonic_health::{ServingStatus, server::HealthReporter};
use tracing::{debug, info, warn};

use crate::{
    backlog::Peers,
    bounds,
    calls::DirectCalls,
    clock::Clock,
    config::Config,
    descriptors::{self, TooFew},
    directory::Directory,
    driver::{CallBatch, Driver, DriverError, Gauges, Setup},
    grpc::{Api, Node, OperatorApi},
    listen,
    observe::Log,
    pulse::Pulse,
    requests::{Requests, take_up},
};

/// The reason why a server ended before it was stopped.
#[derive(Debug, Error)]
pub enum ServeError {
    /// The database was not ready at the start.
    #[error("the database cannot be used")]
    Store(#[from] StoreError),
    /// Another process runs under this node's name.
    #[error(
        "node {node} was started again elsewhere (epoch {epoch}); give each process a name of its own"
    )]
    Superseded {
        /// The node.
        node: String,
        /// The other's epoch.
        epoch: u64,
    },
    /// The engine ended.
    #[error(transparent)]
    Driver(#[from] DriverError),
    /// A part of the server panicked.
    #[error("a part of the server panicked; the log has its message")]
    Panicked,
    /// The limit of open files is too low.
    #[error(transparent)]
    Descriptors(#[from] TooFew),
    /// The listener has no address.
    #[error("the listener has no address")]
    Listener(#[source] io::Error),
    /// Service reflection could not be set up.
    #[error("the description of the services cannot be used")]
    Reflection(#[from] tonic_reflection::server::Error),
}

/// Serves on `listener` until `shutdown` is ready, then drains and returns.
///
/// The caller owns the listener and the signal to stop. Dropping the future stops everything at once, as
/// a crash would: nothing that was acknowledged is lost.
pub async fn serve(
    listener: TcpListener,
    store: Arc<dyn Store>,
    config: Config,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), ServeError> {
    let address = listener.local_addr().map_err(ServeError::Listener)?;
    let connections = places()?;
    let advertised = advertised(&config, address);
    let incarnation = store
        .start_node(&config.node, &advertised, config.lease)
        .await?;
    let owner = incarnation.owner;
    let clock = Arc::new(Clock::new(incarnation.now));
    let pulse = Arc::new(Pulse::new());
    let directory = Arc::new(Directory::default());
    let reaches = take_up(&directory, store.participants().await?);
    info!(node = %owner.node, epoch = owner.epoch, address = advertised, "started");

    let (now_ready, ready) = watch::channel(true);
    let setup = |direct| Setup {
        engine: config.engine.clone(),
        lane: config.lane.clone(),
        owner: owner.clone(),
        seed: rand::random(),
        clock: Arc::clone(&clock),
        pulse: Arc::clone(&pulse),
        store: Arc::clone(&store),
        directory: Arc::clone(&directory),
        direct,
        observer: Box::new(Log::default()),
        ready: now_ready,
        runtime: tokio::runtime::Handle::current(),
    };
    let (driver, ended) = start_driver(&directory, reaches, owner.epoch, setup).await?;
    let (calls_ended, closing) = (CancellationToken::new(), CancellationToken::new());
    let api = Api {
        requests: Requests::new(
            driver.clone(),
            Arc::clone(&store),
            directory,
            Arc::clone(&clock),
            Arc::clone(&pulse),
        ),
        node: Node {
            name: Arc::clone(&owner.node),
            epoch: owner.epoch,
            address: advertised.into(),
        },
        calls_ended: calls_ended.clone(),
        closing: closing.clone(),
    };
    let requests = api.requests.clone();
    let (health, routes) = services(api).await?;
    let peers = Arc::<Peers>::default();
    let transport = listen::run(listener, connections, routes, peers, closing.clone());
    let transport = tokio::spawn(transport);
    let stopping = Stopping {
        driver: &driver,
        health,
        calls_ended,
        closing,
        drain_timeout: config.drain_timeout,
        draining: AtomicBool::new(false),
    };
    let renewing = Renewing {
        store: &*store,
        owner: &owner,
        lease: config.lease,
        clock: &clock,
        driver: &driver,
    };
    let watched = watch_tables(renewing.run(ready.clone()), &requests);
    let ended = run(shutdown, ended, watched, ready, transport, stopping).await;
    driver.stop().await;
    if ended.is_ok() {
        match timeout(bounds::CLOSE_TIMEOUT, store.end_node(&owner)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => warn!(%error, "the lease was not ended; it runs out"),
            Err(_) => warn!("the database does not answer; the lease was not ended, and runs out"),
        }
        info!("stopped");
    }
    ended
}

/// Returns the address under which this node is known: the configured one, or that of the listener.
fn advertised(config: &Config, address: SocketAddr) -> String {
    match config.advertise.as_str() {
        "" => format!("http://{address}"),
        given => given.to_owned(),
    }
}

/// Returns how many connections may be open at once; a number below the bound is logged.
fn places() -> Result<usize, TooFew> {
    let connections = descriptors::connections()?;
    if connections < bounds::CONNECTIONS {
        warn!(
            connections,
            bound = bounds::CONNECTIONS,
            open_files = descriptors::limit(),
            "the limit of open files leaves room for fewer connections than the bound"
        );
    }
    Ok(connections)
}

/// The result of the engine's thread, once it has ended.
type DriverEnd = oneshot::Receiver<Result<(), DriverError>>;

/// Starts the engine's thread and the calls to registered addresses.
async fn start_driver(
    directory: &Arc<Directory>,
    reaches: Vec<Input>,
    epoch: u64,
    setup: impl FnOnce(mpsc::UnboundedSender<CallBatch>) -> Setup,
) -> Result<(Driver, DriverEnd), ServeError> {
    let (driver, queue) = Driver::queue();
    // Bounded by the gate: it holds calls that have a place at an address, and their receiver takes each at once.
    let (direct, batches) = mpsc::unbounded_channel();
    let setup = setup(direct);
    let pulse = Arc::clone(&setup.pulse);
    let calls = DirectCalls::new(Arc::clone(directory), driver.clone(), pulse, epoch);
    let ended = driver.start(queue, setup)?;
    driver.inform(reaches).await;
    // Ends with the engine's thread, which holds the other end.
    tokio::spawn(calls.run(batches));
    Ok((driver, ended))
}

/// Renews the lease, and takes up rows of participants that could not be read before.
async fn watch_tables(
    renewed: impl Future<Output = ServeError>,
    requests: &Requests,
) -> ServeError {
    tokio::select! {
        superseded = renewed => superseded,
        never = requests.look_at_unreadable() => match never {},
    }
}

type Transport = tokio::task::JoinHandle<()>;

/// The services whose health is reported: each of `tercet.v1`, and the server as a whole.
const SERVICES: [&str; 4] = [
    "",
    <CoordinatorServer<Api> as NamedService>::NAME,
    <ParticipantsServer<Api> as NamedService>::NAME,
    <OperatorServer<OperatorApi> as NamedService>::NAME,
];

/// Sets the health of every service.
async fn report(health: &HealthReporter, status: ServingStatus) {
    for service in SERVICES {
        health.set_service_status(service, status).await;
    }
}

/// Makes all services.
async fn services(api: Api) -> Result<(HealthReporter, Routes), ServeError> {
    let (health, health_service) = tonic_health::server::health_reporter();
    report(&health, ServingStatus::Serving).await;
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(v1::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    // Many clients, Python's among them, still use the older version only.
    let (reflection, reflection_v1alpha) =
        (reflection().build_v1()?, reflection().build_v1alpha()?);
    let coordinator =
        CoordinatorServer::new(api.clone()).max_decoding_message_size(bounds::MESSAGE_BYTES);
    let participants =
        ParticipantsServer::new(api.clone()).max_decoding_message_size(bounds::MESSAGE_BYTES);
    let operator =
        OperatorServer::new(OperatorApi(api)).max_decoding_message_size(bounds::MESSAGE_BYTES);
    let mut routes = Routes::builder();
    routes
        .add_service(reflection)
        .add_service(reflection_v1alpha)
        .add_service(health_service)
        .add_service(coordinator)
        .add_service(participants)
        .add_service(operator);
    Ok((health, routes.routes()))
}

/// The renewal of the lease, which reads the database's clock and shows whether it takes writes.
struct Renewing<'a> {
    store: &'a dyn Store,
    owner: &'a Owner,
    lease: Duration,
    clock: &'a Clock,
    driver: &'a Driver,
}

impl Renewing<'_> {
    /// Corrects the clock, and makes a jump of the database's known.
    async fn correct_clock(&self, now: Timestamp, asked: Moment) {
        let before = self.clock.difference();
        match self.clock.correct(now, asked) {
            None => {}
            Some(Jump::Ahead(by)) => warn!(
                seconds = by.as_secs(),
                "the database's clock jumped ahead; it is followed if the next reading agrees"
            ),
            Some(Jump::Followed(by)) => warn!(
                seconds = by.as_secs(),
                "the database's clock has jumped ahead; what is stored follows it, what is waited for takes its time"
            ),
            Some(Jump::Back(by)) => warn!(
                seconds = by.as_secs(),
                "the database's clock went back; what is stored follows it, what is waited for takes its time"
            ),
        }
        let difference = self.clock.difference();
        if difference != before {
            let input = Input::DatabaseClock { difference };
            self.driver.inform(vec![input]).await;
        }
    }

    /// Renews the lease every third of it, at least every [`bounds::CLOCK_INTERVAL`], and more often while the database takes no writes. Ends only once another
    /// incarnation was started.
    async fn run(self, mut ready: watch::Receiver<bool>) -> ServeError {
        let mut failing = false;
        loop {
            let takes_writes = *ready.borrow_and_update();
            let period = bounds::CLOCK_INTERVAL.min(self.lease / 3);
            let period = if takes_writes {
                period
            } else {
                period.min(bounds::WRITE_PROBE)
            };
            tokio::select! {
                () = sleep(period) => {}
                // An error means that the driver has ended, and with it everything.
                Ok(()) = ready.changed() => continue,
            }
            let asked = self.clock.moment();
            match self.store.renew(self.owner, self.lease).await {
                Ok(Renewal::Renewed(now)) => {
                    failing = false;
                    self.correct_clock(now, asked).await;
                    if !takes_writes {
                        self.driver.database_writes().await;
                    }
                }
                Ok(Renewal::Superseded { epoch }) => {
                    return ServeError::Superseded {
                        node: self.owner.node.to_string(),
                        epoch,
                    };
                }
                Err(error) if failing => debug!(%error, "the lease was not renewed again"),
                Err(error) => {
                    failing = true;
                    warn!(%error, "the lease was not renewed; the next attempt follows");
                }
            }
        }
    }
}

/// The parts that are stopped, and the bound.
struct Stopping<'a> {
    driver: &'a Driver,
    health: HealthReporter,
    calls_ended: CancellationToken,
    closing: CancellationToken,
    drain_timeout: Duration,
    draining: AtomicBool,
}

/// Runs until `shutdown` and then drains, or until something fails.
async fn run(
    shutdown: impl Future<Output = ()>,
    mut driver_ended: DriverEnd,
    renew: impl Future<Output = ServeError>,
    ready: watch::Receiver<bool>,
    mut transport: Transport,
    stopping: Stopping<'_>,
) -> Result<(), ServeError> {
    let stop = async {
        shutdown.await;
        stopping.drain().await;
    };
    let result = tokio::select! {
        () = stop => Ok(()),
        ended = &mut driver_ended => match ended {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(error.into()),
            Err(_) => Err(ServeError::Panicked),
        },
        superseded = renew => Err(superseded),
        never = stopping.follow(ready) => match never {},
        ended = &mut transport => match ended {
            Ok(()) => Ok(()),
            Err(_) => Err(ServeError::Panicked),
        },
    };
    stopping.calls_ended.cancel();
    stopping.closing.cancel();
    if !transport.is_finished()
        && timeout(bounds::CLOSE_TIMEOUT, &mut transport)
            .await
            .is_err()
    {
        transport.abort();
    }
    result
}

impl Stopping<'_> {
    /// Reports the services as serving while the database takes writes, until they drain.
    async fn follow(&self, mut ready: watch::Receiver<bool>) -> Infallible {
        // An error means that the driver has ended, and with it everything.
        while ready.changed().await.is_ok() {
            let status = if *ready.borrow_and_update() {
                ServingStatus::Serving
            } else {
                ServingStatus::NotServing
            };
            if !self.draining.load(Ordering::Relaxed) {
                report(&self.health, status).await;
            }
        }
        pending().await
    }

    /// Takes no new requests, and waits until the work in hand is done, at most for the bound. Then no call leaves any
    /// more, and participants are asked to attach elsewhere; what is left goes on after the next start.
    async fn drain(&self) {
        info!("draining");
        self.draining.store(true, Ordering::Relaxed);
        report(&self.health, ServingStatus::NotServing).await;
        self.driver.drain().await;
        let done = timeout(self.drain_timeout, self.until(Gauges::is_quiet));
        if done.await.is_err() {
            warn!("not all work in hand was done in time; it goes on after the next start");
        }
        self.calls_ended.cancel();
        self.driver.end_calls().await;
        // Answers to calls that left before still count; those that do not come are asked for again.
        let answered = self.until(Gauges::is_answered);
        let _ = timeout(self.drain_timeout.min(bounds::CLOSE_TIMEOUT), answered).await;
    }

    /// Waits until the gauges satisfy a condition, or the engine's thread has ended.
    async fn until(&self, condition: impl Fn(&Gauges) -> bool) {
        while let Some(gauges) = self.driver.gauges().await {
            if condition(&gauges) {
                return;
            }
            sleep(bounds::DRAIN_POLL).await;
        }
    }
}
