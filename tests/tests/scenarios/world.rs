//! One coordinator and whoever talks to it.

use std::{
    future::Future,
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tempfile::TempDir;
use tercet_harness::wait_until;
use tercet_sdk::{
    AttachOptions, Mode, Outcome, Participant,
    initiator::{Action, Client, RetryPolicy},
    participant::{NoDatabase, ParticipantBuilder},
    proto::{
        self, Operation, coordinator_client::CoordinatorClient, operator_client::OperatorClient,
    },
};
use tercet_server::{Config, ServeError};
use tercet_store::{Durability, SqliteOptions, SqliteStore, Store};
use tokio::{
    net::TcpListener,
    sync::{oneshot, watch},
    task::JoinHandle,
};
use tonic::transport::Channel;
use uuid::Uuid;

/// How long anything that must come may take.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// A coordinator with its database.
pub(crate) struct World {
    folder: TempDir,
    address: SocketAddr,
    server: Option<Server>,
    attached: Vec<JoinHandle<()>>,
}

struct Server {
    stop: oneshot::Sender<()>,
    ended: JoinHandle<Result<(), ServeError>>,
}

impl Drop for World {
    fn drop(&mut self) {
        for task in &self.attached {
            task.abort();
        }
    }
}

impl World {
    /// A coordinator over an empty database.
    pub(crate) async fn new() -> Self {
        let folder = TempDir::with_prefix("tercet-scenario-").unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut world = Self {
            folder,
            address: listener.local_addr().unwrap(),
            server: None,
            attached: Vec::new(),
        };
        world.serve(listener).await;
        world
    }

    /// Where the database is.
    pub(crate) fn database(&self) -> PathBuf {
        self.folder.path().join("tercet.db")
    }

    async fn serve(&mut self, listener: TcpListener) {
        let options = SqliteOptions {
            durability: Durability::Off,
            allow_data_loss: true,
            ..SqliteOptions::default()
        };
        let database = self.database();
        // A reader of the run before may still hold the database for a moment.
        let store = wait_until("the database to be free", SOON, || async {
            SqliteStore::open(&database, options.clone()).await.ok()
        })
        .await;
        let store: Arc<dyn Store> = Arc::new(store);
        let mut config = Config {
            lease: Duration::from_secs(2),
            drain_timeout: Duration::ZERO,
            ..Config::default()
        };
        config.engine.lease = config.lease;
        config.engine.hold = Duration::from_millis(500);
        config.engine.poll = Duration::from_millis(20);
        let (stop, stopped) = oneshot::channel::<()>();
        let ended = tokio::spawn(tercet_server::serve(listener, store, config, async {
            let _ = stopped.await;
        }));
        self.server = Some(Server { stop, ended });
    }

    /// Ends the coordinator with whatever it has in hand.
    pub(crate) async fn stop(&mut self) {
        let server = self.server.take().unwrap();
        let _ = server.stop.send(());
        server.ended.await.unwrap().unwrap();
    }

    /// Starts it again, at the same address over the same database.
    pub(crate) async fn start(&mut self) {
        let address = self.address;
        let listener = wait_until("the address to be free", SOON, || async {
            TcpListener::bind(address).await.ok()
        })
        .await;
        self.serve(listener).await;
    }

    /// Its address.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// An initiator.
    pub(crate) async fn initiator(&self) -> Client {
        Client::connect([self.url()]).await.unwrap()
    }

    /// The bare service.
    pub(crate) async fn coordinator(&self) -> CoordinatorClient<Channel> {
        CoordinatorClient::connect(self.url()).await.unwrap()
    }

    /// A person on call.
    pub(crate) async fn operator(&self) -> OperatorClient<Channel> {
        OperatorClient::connect(self.url()).await.unwrap()
    }

    /// A participant that answers as the test says, with handlers "tcc", "compensate" and "deliver".
    pub(crate) async fn participant<F, R>(&mut self, name: &str, answer: F) -> Seen
    where
        F: Fn(proto::Call) -> R + Clone + Send + Sync + 'static,
        R: Future<Output = Outcome> + Send + 'static,
    {
        let (builder, seen) = scripted(name, answer);
        self.attach(builder.build().unwrap()).await;
        seen
    }

    /// A participant that can do everything.
    pub(crate) async fn willing(&mut self, name: &str) -> Seen {
        self.participant(name, |_| async { done("") }).await
    }

    /// Attaches a participant until the end of the test, and waits until the coordinator knows it.
    pub(crate) async fn attach(&mut self, participant: Participant) {
        let task = self.attach_task(participant).await;
        self.attached.push(task);
    }

    /// As [`attach`](Self::attach); aborting the task breaks the stream.
    pub(crate) async fn attach_task(&self, participant: Participant) -> JoinHandle<()> {
        let name = participant.name().to_owned();
        let options = AttachOptions::new([self.url()], "one");
        let task = tokio::spawn(async move {
            participant
                .attach(options, std::future::pending())
                .await
                .unwrap();
        });
        self.is_attached(&name, true).await;
        task
    }

    /// Waits until a participant is attached, or is not.
    pub(crate) async fn is_attached(&self, name: &str, wanted: bool) {
        let url = self.url();
        wait_until(&format!("{name} attached: {wanted}"), SOON, || {
            let url = url.clone();
            async move {
                let mut client = proto::participants_client::ParticipantsClient::connect(url)
                    .await
                    .ok()?;
                let list = client
                    .list(proto::ListParticipantsRequest {})
                    .await
                    .ok()?
                    .into_inner();
                let found = list.participants.iter().find(|it| it.participant == name);
                (found.is_some_and(|it| it.attached > 0) == wanted).then_some(())
            }
        })
        .await;
    }

    /// Reads a transaction until it is as the test wants it.
    pub(crate) async fn until(
        &self,
        id: Uuid,
        what: &str,
        wanted: impl Fn(&proto::Transaction) -> bool,
    ) -> proto::Transaction {
        let client = self.initiator().await;
        let (client, wanted) = (&client, &wanted);
        wait_until(&format!("transaction {id}: {what}"), SOON, || async move {
            client.get(id).await.ok().filter(wanted)
        })
        .await
    }

    /// Waits until every action is where the decision wants it.
    pub(crate) async fn finished(&self, id: Uuid) -> proto::Transaction {
        self.until(id, "finished", |tx| tx.status() == proto::TxStatus::Success)
            .await
    }

    /// Waits until it is parked.
    pub(crate) async fn parked(&self, id: Uuid) -> proto::Transaction {
        self.until(id, "parked", |tx| tx.status() == proto::TxStatus::Failure)
            .await
    }
}

/// A participant whose answers a test gives; every call is written down before it is answered.
pub(crate) fn scripted<F, R>(name: &str, answer: F) -> (ParticipantBuilder<NoDatabase>, Seen)
where
    F: Fn(proto::Call) -> R + Clone + Send + Sync + 'static,
    R: Future<Output = Outcome> + Send + 'static,
{
    let seen = Seen::default();
    let mut builder = Participant::builder(name);
    for (handler, mode) in [
        ("tcc", Mode::Tcc),
        ("compensate", Mode::Compensate),
        ("deliver", Mode::Deliver),
    ] {
        let (seen, answer) = (seen.clone(), answer.clone());
        builder = builder.raw(handler, mode, move |call| {
            seen.note(&call);
            answer(call)
        });
    }
    (builder, seen)
}

/// The calls that a participant has seen.
#[derive(Clone, Default)]
pub(crate) struct Seen(Arc<Mutex<Vec<proto::Call>>>);

impl Seen {
    fn note(&self, call: &proto::Call) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(call.clone());
    }

    /// All of them, in their order.
    pub(crate) fn calls(&self) -> Vec<proto::Call> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// "action operation", in their order.
    pub(crate) fn words(&self) -> Vec<String> {
        let word = |call: &proto::Call| {
            let operation = call
                .operation()
                .as_str_name()
                .trim_start_matches("OPERATION_");
            format!("{} {operation}", call.action)
        };
        self.calls().iter().map(word).collect()
    }

    /// How often an operation of an action was called.
    pub(crate) fn count(&self, action: &str, operation: Operation) -> usize {
        let is_it = |call: &&proto::Call| call.action == action && call.operation() == operation;
        self.calls().iter().filter(is_it).count()
    }

    /// Waits for a call.
    pub(crate) async fn wait_for(&self, action: &str, operation: Operation) {
        let what = format!("{action} {}", operation.as_str_name());
        wait_until(&what, SOON, || async {
            (self.count(action, operation) > 0).then_some(())
        })
        .await;
    }
}

/// Something that a test opens once.
#[derive(Clone)]
pub(crate) struct Gate(watch::Sender<bool>);

impl Gate {
    /// A closed one.
    pub(crate) fn closed() -> Self {
        Self(watch::Sender::new(false))
    }

    /// Opens it.
    pub(crate) fn open(&self) {
        self.0.send_replace(true);
    }

    /// Waits until it is open.
    pub(crate) async fn wait(&self) {
        let mut open = self.0.subscribe();
        open.wait_for(|open| *open).await.unwrap();
    }
}

/// Done, with this result.
pub(crate) fn done(result: &str) -> Outcome {
    Outcome::Done(result.as_bytes().to_vec())
}

/// Refused.
pub(crate) fn rejected(reason: &str) -> Outcome {
    Outcome::Rejected(reason.to_owned())
}

/// Nobody can say.
pub(crate) fn unknown(error: &str) -> Outcome {
    Outcome::Unknown(error.to_owned())
}

/// Retries soon.
pub(crate) fn soon() -> RetryPolicy {
    RetryPolicy::new()
        .first_delay(Duration::from_millis(10))
        .max_delay(Duration::from_millis(50))
}

/// A TCC action of a scripted participant.
pub(crate) fn tcc(name: &str, participant: &str) -> Action {
    Action::tcc(name, participant).handler("tcc").retry(soon())
}

/// A COMPENSATE action of a scripted participant.
pub(crate) fn compensate(name: &str, participant: &str) -> Action {
    Action::compensate(name, participant)
        .handler("compensate")
        .retry(soon())
}

/// A DELIVER action of a scripted participant.
pub(crate) fn deliver(name: &str, participant: &str) -> Action {
    Action::deliver(name, participant)
        .handler("deliver")
        .retry(soon())
}

/// "name STATUS" of each action.
pub(crate) fn statuses(tx: &proto::Transaction) -> Vec<String> {
    tx.actions
        .iter()
        .map(|view| {
            let name = view
                .action
                .as_ref()
                .map(|action| action.name.as_str())
                .unwrap_or_default();
            let status = view
                .status()
                .as_str_name()
                .trim_start_matches("ACTION_STATUS_");
            format!("{name} {status}")
        })
        .collect()
}
