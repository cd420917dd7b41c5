//! A real coordinator within the test.

use std::{sync::Arc, time::Duration};

use tercet_sdk::{
    AttachOptions, Participant,
    initiator::Client,
    proto::{Transaction, TxStatus},
};
use tercet_server::{Config, ServeError, serve};
use tercet_store::{SqliteStore, Store};
use tokio::{net::TcpListener, sync::oneshot, task::JoinHandle};
use uuid::Uuid;

/// The time within which an expected event must come.
const SOON: Duration = Duration::from_secs(30);
/// The interval at which a condition is checked.
const LOOK: Duration = Duration::from_millis(5);

/// The real coordinator on a port of its own, with a temporary database. It ends when it is dropped.
///
/// ```no_run
/// # use tercet_sdk::{Participant, initiator::Action};
/// # async fn test(points: Participant) -> Result<(), Box<dyn std::error::Error>> {
/// use tercet_testkit::TestCoordinator;
///
/// let coordinator = TestCoordinator::start().await;
/// let _attached = coordinator.attach(&points).await;
/// let client = coordinator.client().await;
/// let outcome = client.execute("order", "1").action(Action::tcc("freeze", "points")).send().await?;
/// assert!(outcome.is_committed());
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct TestCoordinator {
    address: String,
    serving: JoinHandle<Result<(), ServeError>>,
    stop: oneshot::Sender<()>,
}

impl TestCoordinator {
    /// Starts a coordinator with the default configuration.
    ///
    /// # Panics
    /// If it cannot start.
    pub async fn start() -> Self {
        Self::start_with(Config::default()).await
    }

    /// Starts a coordinator with a configuration of your own, whose address and database are ignored.
    ///
    /// # Panics
    /// If it cannot start.
    pub async fn start_with(config: Config) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await;
        let listener = listener.unwrap_or_else(|error| panic!("no free port: {error}"));
        let address = match listener.local_addr() {
            Ok(address) => format!("http://{address}"),
            Err(error) => panic!("the listener has no address: {error}"),
        };
        let store: Arc<dyn Store> = match SqliteStore::temporary().await {
            Ok(store) => Arc::new(store),
            Err(error) => panic!("no database: {error}"),
        };
        let (stop, stopped) = oneshot::channel();
        let serving = tokio::spawn(serve(listener, store, config, async {
            // Dropping the sender stops the coordinator too.
            stopped.await.unwrap_or_default();
        }));
        Self {
            address,
            serving,
            stop,
        }
    }

    /// Returns the coordinator's address, `http://host:port`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Connects an initiator's client.
    ///
    /// # Panics
    /// If it cannot connect.
    pub async fn client(&self) -> Client {
        match Client::connect([&self.address]).await {
            Ok(client) => client,
            Err(error) => panic!("no connection to the coordinator: {error}"),
        }
    }

    /// Attaches a participant, and returns once it is attached. Dropping the returned guard detaches
    /// it.
    ///
    /// # Panics
    /// If it is not attached within 30 seconds.
    pub async fn attach(&self, participant: &Participant) -> Attached {
        let (participant, options) = (
            participant.clone(),
            AttachOptions::new([&self.address], "test"),
        );
        let name = participant.name().to_owned();
        let attached = Attached(tokio::spawn(async move {
            if let Err(error) = participant.attach(options, std::future::pending()).await {
                panic!("the participant cannot attach: {error}");
            }
        }));
        self.is_attached(&name).await;
        attached
    }

    async fn is_attached(&self, name: &str) {
        let client = self.client().await;
        let waiting = async {
            loop {
                let known = client.participants().await.unwrap_or_default();
                let mut this = known.iter().filter(|known| known.participant == name);
                if this.any(|participant| participant.attached > 0) {
                    return;
                }
                tokio::time::sleep(LOOK).await;
            }
        };
        let attached = tokio::time::timeout(SOON, waiting).await;
        assert!(attached.is_ok(), "{name} is not attached within {SOON:?}");
    }

    /// Waits until a transaction is final or parked.
    ///
    /// # Panics
    /// If that does not happen within 30 seconds; the message shows the transaction.
    pub async fn ended(&self, tx_id: Uuid) -> Transaction {
        let client = self.client().await;
        let mut watch = client.watch(tx_id);
        let mut last = None;
        let watching = async {
            while let Ok(Some(transaction)) = watch.next().await {
                last = Some(transaction);
            }
        };
        let ended = tokio::time::timeout(SOON, watching).await.is_ok();
        match last {
            Some(transaction)
                if matches!(transaction.status(), TxStatus::Success | TxStatus::Failure) =>
            {
                transaction
            }
            other => panic!("{tx_id} has not ended (watched to the end: {ended}): {other:#?}"),
        }
    }

    /// Stops the coordinator as SIGTERM does: open work is finished first.
    ///
    /// # Panics
    /// If the coordinator fails.
    pub async fn stop(self) {
        drop(self.stop);
        match self.serving.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => panic!("the coordinator failed: {error}"),
            Err(error) => panic!("the coordinator failed: {error}"),
        }
    }
}

/// A guard that keeps a participant attached.
#[derive(Debug)]
#[must_use = "the participant is detached when this is dropped"]
pub struct Attached(JoinHandle<()>);

impl Drop for Attached {
    fn drop(&mut self) {
        self.0.abort();
    }
}
