//! A server in this process on a free port and a database of its own, and callers and participants without the SDK.
//!
//! | file | holds |
//! |---|---|
//! | `faulty` | a database that takes no writes, or does not answer |
//! | `participant` | participants on raw streams, and their answers |
//! | `raw` | bytes of any form over HTTP/2 |
//! | `session` | sessions of a caller |
//! | `messages` | requests |

mod faulty;
mod messages;
mod participant;
mod raw;
mod session;

use std::{fmt::Debug, sync::Arc, time::Duration};

use tercet_proto::v1::{
    self, coordinator_client::CoordinatorClient, operator_client::OperatorClient,
    participants_client::ParticipantsClient,
};
use tercet_server::{Config, ServeError, serve};
use tercet_store::{SqliteStore, Store};
use tokio::{net::TcpListener, sync::oneshot, task::JoinHandle, time::timeout};
use tonic::{Status, transport::Channel};
use tonic_types::StatusExt;

pub(crate) use self::{
    faulty::{Fault, Faulty},
    messages::{action, asking_back, begin, execute, of_order, quick, tcc},
    participant::{Attached, done, handler, hello, message, open, rejected, result},
    raw::{framed, send},
    session::Session,
};

/// The time after which a test that waits fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A server that runs.
pub(crate) struct Server {
    pub(crate) address: String,
    pub(crate) store: Arc<SqliteStore>,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<Result<(), ServeError>>,
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::with(|_| {}).await
    }

    /// Starts a server with a changed configuration.
    pub(crate) async fn with(configure: impl FnOnce(&mut Config)) -> Self {
        Self::on(SqliteStore::temporary().await.unwrap(), configure).await
    }

    /// Starts a server over this database.
    pub(crate) async fn on(store: SqliteStore, configure: impl FnOnce(&mut Config)) -> Self {
        let store = Arc::new(store);
        Self::over(Arc::<SqliteStore>::clone(&store), store, configure).await
    }

    /// Starts a server over the database of one that has ended.
    pub(crate) async fn again(store: Arc<SqliteStore>) -> Self {
        Self::over(Arc::<SqliteStore>::clone(&store), store, |_| {}).await
    }

    /// Starts a server over a database that fails when it is told to.
    pub(crate) async fn faulty(configure: impl FnOnce(&mut Config)) -> (Self, Arc<Faulty>) {
        let store = Arc::new(SqliteStore::temporary().await.unwrap());
        let faulty = Arc::new(Faulty::over(Arc::<SqliteStore>::clone(&store)));
        let shared = Arc::<Faulty>::clone(&faulty);
        (Self::over(shared, store, configure).await, faulty)
    }

    /// Starts a server over a database that another one has used.
    pub(crate) async fn over_faulty(
        database: Arc<Faulty>,
        configure: impl FnOnce(&mut Config),
    ) -> Self {
        let store = database.store();
        Self::over(database, store, configure).await
    }

    async fn over(
        shared: Arc<dyn Store>,
        store: Arc<SqliteStore>,
        configure: impl FnOnce(&mut Config),
    ) -> Self {
        let mut config = Config::default();
        configure(&mut config);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(serve(listener, shared, config, async {
            let _ = stopped.await;
        }));
        Self {
            address,
            store,
            stop: Some(stop),
            task,
        }
    }

    /// Starts a server to which these participants have attached once.
    pub(crate) async fn knowing<const N: usize>(participants: [&str; N]) -> Self {
        let server = Self::start().await;
        for participant in participants {
            drop(server.attach(participant).await);
        }
        server
    }

    pub(crate) fn channel(&self) -> Channel {
        Channel::from_shared(self.address.clone())
            .unwrap()
            .connect_lazy()
    }

    pub(crate) fn coordinator(&self) -> CoordinatorClient<Channel> {
        CoordinatorClient::new(self.channel()).max_decoding_message_size(usize::MAX)
    }

    pub(crate) fn operator(&self) -> OperatorClient<Channel> {
        OperatorClient::new(self.channel())
    }

    pub(crate) fn participants(&self) -> ParticipantsClient<Channel> {
        ParticipantsClient::new(self.channel())
    }

    /// Signals the server to stop, without waiting for that.
    pub(crate) fn stop(&mut self) {
        let _ = self.stop.take().unwrap().send(());
    }

    /// Waits until the server has ended.
    pub(crate) async fn ended(self) -> Result<(), ServeError> {
        timeout(PATIENCE, self.task).await.unwrap().unwrap()
    }

    /// Begins a transaction.
    pub(crate) async fn begin(&self, request: v1::BeginRequest) -> v1::TransactionState {
        let state = self.coordinator().begin(request).await.unwrap();
        state.into_inner()
    }

    /// Executes these actions to their end.
    pub(crate) async fn execute<const N: usize>(
        &self,
        actions: [v1::Action; N],
    ) -> v1::TransactionState {
        self.carry_out(execute(actions, v1::Wait::Completed)).await
    }

    /// Hands these actions over, without waiting for a decision; returns the transaction's id.
    pub(crate) async fn hand_over<const N: usize>(&self, actions: [v1::Action; N]) -> String {
        let request = execute(actions, v1::Wait::Accepted);
        self.carry_out(request).await.tx_id
    }

    /// Carries out an Execute.
    pub(crate) async fn carry_out(&self, request: v1::ExecuteRequest) -> v1::TransactionState {
        let state = self.coordinator().execute(request).await.unwrap();
        state.into_inner()
    }

    /// Reads a transaction.
    pub(crate) async fn get(&self, tx_id: &str) -> v1::Transaction {
        self.until(tx_id, |_| true).await
    }

    /// Reads a transaction until it has this status.
    pub(crate) async fn until_status(&self, tx_id: &str, status: v1::TxStatus) -> v1::Transaction {
        self.until(tx_id, |tx| tx.status() == status).await
    }

    /// Reads a transaction until it satisfies a condition.
    pub(crate) async fn until(
        &self,
        tx_id: &str,
        condition: impl Fn(&v1::Transaction) -> bool,
    ) -> v1::Transaction {
        let mut client = self.coordinator();
        let mut last = None;
        let found = timeout(PATIENCE, async {
            loop {
                let message = v1::GetRequest {
                    tx_id: tx_id.to_owned(),
                    ..v1::GetRequest::default()
                };
                let tx = client.get(message).await.unwrap().into_inner();
                if condition(&tx) {
                    return tx;
                }
                last = Some(tx);
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await;
        found.unwrap_or_else(|_| panic!("the condition was never satisfied: {last:?}"))
    }

    /// Returns the participants that the server knows.
    pub(crate) async fn known(&self) -> Vec<v1::ParticipantView> {
        let request = v1::ListParticipantsRequest::default();
        let reply = self.participants().list(request).await.unwrap();
        reply.into_inner().participants
    }
}

/// Waits until a condition holds.
pub(crate) async fn until(condition: impl Fn() -> bool) {
    let holds = timeout(PATIENCE, async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    holds.await.expect("the condition never held");
}

/// Returns the stable reason of a refusal, followed by the fields that it names, sorted:
/// `INVALID_ARGUMENT: outcome, reason`.
pub(crate) fn refusal<T: Debug>(result: Result<T, Status>) -> String {
    let status = result.expect_err("a refusal");
    let details = status.get_error_details();
    let info = details
        .error_info()
        .unwrap_or_else(|| panic!("no ErrorInfo in {status:?}"));
    assert_eq!(info.domain, "tercet");
    let violations = details.bad_request().map(|bad| bad.field_violations.iter());
    let fields = violations.into_iter().flatten().map(|v| v.field.as_str());
    let mut fields: Vec<_> = fields.collect();
    fields.sort_unstable();
    if fields.is_empty() {
        return info.reason.clone();
    }
    format!("{}: {}", info.reason, fields.join(", "))
}
