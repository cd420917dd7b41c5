//! One coordinator, with its initiators, participants and operators.

use std::{
    future::Future,
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tempfile::TempDir;
use tercet_harness::wait_until;
use tercet_sdk::{
    AttachOptions, CallAnswer, Mode, Participant,
    initiator::{
        Action, Cause, Client, Draft, Execute, LiveTransaction, Outcome, RetryPolicy, Wait,
    },
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

/// The longest wait for anything that must come.
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
    /// Starts a coordinator over an empty database.
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

    /// Returns the path of the database.
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

    /// Ends the coordinator in the middle of its work.
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

    /// Returns its address.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Connects an initiator.
    pub(crate) async fn initiator(&self) -> Client {
        Client::connect([self.url()]).await.unwrap()
    }

    /// Connects to the service without the SDK.
    pub(crate) async fn coordinator(&self) -> CoordinatorClient<Channel> {
        CoordinatorClient::connect(self.url()).await.unwrap()
    }

    /// Connects an operator.
    pub(crate) async fn operator(&self) -> OperatorClient<Channel> {
        OperatorClient::connect(self.url()).await.unwrap()
    }

    /// Executes a transaction until it is finished or parked.
    pub(crate) async fn execute(&self, actions: impl IntoIterator<Item = Action>) -> Outcome {
        self.draft(actions).await.send().await.unwrap()
    }

    /// Drafts the transaction of [`execute`](Self::execute).
    pub(crate) async fn draft(&self, actions: impl IntoIterator<Item = Action>) -> Draft<Execute> {
        let draft = self.initiator().await.execute("exchange", "1");
        let actions = actions.into_iter();
        actions.fold(draft, Draft::action).wait(Wait::Completed)
    }

    /// Begins a transaction.
    pub(crate) async fn begin(&self, actions: impl IntoIterator<Item = Action>) -> LiveTransaction {
        let draft = self.initiator().await.begin("exchange", "1");
        let draft = actions.into_iter().fold(draft, Draft::action);
        draft.send().await.unwrap()
    }

    /// Attaches a participant with these answers and the handlers "tcc", "compensate" and "deliver".
    pub(crate) async fn participant<F, R>(&mut self, name: &str, answer: F) -> Seen
    where
        F: Fn(proto::Call) -> R + Clone + Send + Sync + 'static,
        R: Future<Output = CallAnswer> + Send + 'static,
    {
        let (builder, seen) = scripted(name, answer);
        self.attach(builder.build().unwrap()).await;
        seen
    }

    /// Attaches a participant that answers every call with OK.
    pub(crate) async fn willing(&mut self, name: &str) -> Seen {
        self.participant(name, |_| async { done("") }).await
    }

    /// Attaches an initiator that does not know the outcome when it is asked back, and answers every call with OK.
    pub(crate) async fn clueless(&mut self, name: &str) {
        let (builder, _) = scripted(name, |_| async { done("") });
        let builder = builder.check_back_with(|_| async { Err("it is not known".to_owned()) });
        self.attach(builder.build().unwrap()).await;
    }

    /// Attaches a participant that answers one kind of call (`freeze TRY`, or `TRY` of every action) with this,
    /// and every other call with OK.
    pub(crate) async fn except(&mut self, name: &str, call: &str, answer: CallAnswer) -> Seen {
        self.until_open(name, &Gate::closed(), call, answer).await
    }

    /// As [`except`](Self::except), and with OK alone once the gate is open.
    pub(crate) async fn until_open(
        &mut self,
        name: &str,
        gate: &Gate,
        call: &str,
        answer: CallAnswer,
    ) -> Seen {
        let (gate, kind) = (gate.clone(), call.to_owned());
        let answer = move |call: proto::Call| {
            let word = word(&call);
            let is_it = word == kind || word.ends_with(&format!(" {kind}"));
            let is_excepted = is_it && !gate.is_open();
            std::future::ready(if is_excepted {
                answer.clone()
            } else {
                done("")
            })
        };
        self.participant(name, answer).await
    }

    /// Attaches a participant that gives these answers in turn, and then the last one again and again.
    pub(crate) async fn in_turn(
        &mut self,
        name: &str,
        answers: impl IntoIterator<Item = CallAnswer>,
    ) -> Seen {
        let answers: Vec<CallAnswer> = answers.into_iter().collect();
        let next = Arc::new(AtomicUsize::new(0));
        let answer = move |_| {
            let place = next.fetch_add(1, Ordering::Relaxed);
            std::future::ready(answers[place.min(answers.len() - 1)].clone())
        };
        self.participant(name, answer).await
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

    /// Waits until a participant is attached, or until it is not.
    pub(crate) async fn is_attached(&self, name: &str, wanted: bool) {
        let url = self.url();
        wait_until(&format!("{name} attached: {wanted}"), SOON, || {
            let url = url.clone();
            async move {
                let mut client = proto::participants_client::ParticipantsClient::connect(url)
                    .await
                    .ok()?;
                let list = client
                    .list(proto::ListParticipantsRequest::default())
                    .await
                    .ok()?
                    .into_inner();
                let found = list.participants.iter().find(|it| it.participant == name);
                (found.is_some_and(|it| it.attached > 0) == wanted).then_some(())
            }
        })
        .await;
    }

    /// Reads a transaction until it is as `wanted`.
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

    /// Waits until every action is where the decision requires it.
    pub(crate) async fn finished(&self, id: Uuid) -> proto::Transaction {
        self.until(id, "finished", |tx| tx.status() == proto::TxStatus::Success)
            .await
    }

    /// Waits until a transaction is parked.
    pub(crate) async fn parked(&self, id: Uuid) -> proto::Transaction {
        self.until(id, "parked", |tx| tx.status() == proto::TxStatus::Failure)
            .await
    }
}

/// Builds a participant with these answers; every call is recorded before it is answered.
pub(crate) fn scripted<F, R>(name: &str, answer: F) -> (ParticipantBuilder<NoDatabase>, Seen)
where
    F: Fn(proto::Call) -> R + Clone + Send + Sync + 'static,
    R: Future<Output = CallAnswer> + Send + 'static,
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

/// The calls that a participant has received.
#[derive(Clone, Default)]
pub(crate) struct Seen(Arc<Mutex<Vec<proto::Call>>>);

/// Returns `action OPERATION`.
fn word(call: &proto::Call) -> String {
    let operation = call
        .operation()
        .as_str_name()
        .trim_start_matches("OPERATION_");
    format!("{} {operation}", call.action)
}

impl Seen {
    fn note(&self, call: &proto::Call) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(call.clone());
    }

    /// Returns every call, in order.
    pub(crate) fn calls(&self) -> Vec<proto::Call> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Returns every call as `action OPERATION`, in order.
    pub(crate) fn words(&self) -> Vec<String> {
        self.calls().iter().map(word).collect()
    }

    /// Returns how often an operation of an action was called.
    pub(crate) fn count(&self, action: &str, operation: Operation) -> usize {
        let is_it = |call: &&proto::Call| call.action == action && call.operation() == operation;
        self.calls().iter().filter(is_it).count()
    }

    /// Waits for a call of an action's operation.
    pub(crate) async fn wait_for(&self, action: &str, operation: Operation) {
        let what = format!("{action} {}", operation.as_str_name());
        wait_until(&what, SOON, || async {
            (self.count(action, operation) > 0).then_some(())
        })
        .await;
    }
}

/// A gate that a test opens once.
#[derive(Clone)]
pub(crate) struct Gate(watch::Sender<bool>);

impl Gate {
    /// Makes a closed gate.
    pub(crate) fn closed() -> Self {
        Self(watch::Sender::new(false))
    }

    /// Opens it.
    pub(crate) fn open(&self) {
        self.0.send_replace(true);
    }

    /// Returns whether it is open.
    pub(crate) fn is_open(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits until it is open.
    pub(crate) async fn wait(&self) {
        let mut open = self.0.subscribe();
        open.wait_for(|open| *open).await.unwrap();
    }
}

/// OK, with this result.
pub(crate) fn done(result: &str) -> CallAnswer {
    CallAnswer::Done(result.as_bytes().to_vec())
}

/// A rejection.
pub(crate) fn rejected(reason: &str) -> CallAnswer {
    CallAnswer::Rejected(reason.to_owned())
}

/// An error that leaves the outcome open.
pub(crate) fn unknown(error: &str) -> CallAnswer {
    CallAnswer::Unknown(error.to_owned())
}

/// A policy of short pauses.
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

/// Returns the cause of a transaction that was rolled back, and whether it is finished.
pub(crate) fn rolled_back(outcome: Outcome) -> (Cause, bool) {
    match outcome {
        Outcome::RolledBack {
            cause, finished, ..
        } => (cause, finished),
        outcome => panic!("{outcome:?}"),
    }
}

/// Returns `name STATUS` of each action.
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
