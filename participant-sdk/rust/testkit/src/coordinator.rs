//! A whole coordinator within the test.

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

/// How long a test waits for what should come soon.
const SOON: Duration = Duration::from_secs(30);
/// How often it looks.
const LOOK: Duration = Duration::from_millis(5);

/// The real coordinator on a port of its own, with a database in a folder that goes with it. It ends
/// when it is dropped.
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

    /// Starts a coordinator with a configuration of your own; its address and its database are not
    /// used.
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
            // Dropping the other end stops it too.
            stopped.await.unwrap_or_default();
        }));
        Self {
            address,
            serving,
            stop,
        }
    }

    /// Where it listens, `http://host:port`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// An initiator's client, connected.
    ///
    /// # Panics
    /// If it cannot connect.
    pub async fn client(&self) -> Client {
        match Client::connect([&self.address]).await {
            Ok(client) => client,
            Err(error) => panic!("no connection to the coordinator: {error}"),
        }
    }

    /// Attaches a participant, and returns when it is. It is detached when what this returns is
    /// dropped.
    ///
    /// # Panics
    /// If it is not attached soon.
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
    /// If that does not happen soon; the message is the transaction as it stands.
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

    /// Stops it as SIGTERM would: what is in hand is finished first.
    ///
    /// # Panics
    /// If it fails.
    pub async fn stop(self) {
        drop(self.stop);
        match self.serving.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => panic!("the coordinator failed: {error}"),
            Err(error) => panic!("the coordinator failed: {error}"),
        }
    }
}

/// A participant that is attached as long as this lives.
#[derive(Debug)]
#[must_use = "the participant is detached when this is dropped"]
pub struct Attached(JoinHandle<()>);

impl Drop for Attached {
    fn drop(&mut self) {
        self.0.abort();
    }
}
