//! A participant on a database of its own, and the queries of the tests.

use std::{
    collections::VecDeque,
    future::Future,
    sync::{Arc, Mutex},
    time::Duration,
};

use sqlx::{
    AssertSqlSafe, Pool, mysql::MySqlPoolOptions, pool::PoolOptions, postgres::PgPoolOptions,
};
use sqlx::{
    MySql, Postgres, Sqlite,
    sqlite::{SqliteConnectOptions, SqlitePoolOptions},
};
use tempfile::TempDir;
use tercet_harness::{MariaDbServer, PostgresServer};
use tercet_sdk::{
    ActionError, Barrier, Call, CallContext, Connection, Database, Json, Operation, Participant,
    TccAction,
    participant::ParticipantBuilder,
    proto::{self, result::Outcome},
};
use uuid::{NoContext, Timestamp, Uuid};

/// Enough connections that operations which race have one each.
const CONNECTIONS: u32 = 8;
/// The limit of a wait in a test.
pub(crate) const SOON: Duration = Duration::from_secs(30);
/// The time for which SQLite waits for another writer.
const BUSY: Duration = Duration::from_millis(500);

/// A test's database, by dialect: the functions that the tests need beyond the SDK.
pub(crate) trait Dialect: Database {
    fn open() -> impl Future<Output = (Pool<Self>, Option<TempDir>)> + Send;
    fn run(
        connection: &mut Connection<Self>,
        sql: String,
    ) -> impl Future<Output = Result<u64, sqlx::Error>> + Send;
    /// Returns the one word that a query selects.
    #[allow(dead_code, reason = "only some tests need it")]
    fn word(connection: &mut Connection<Self>, sql: String) -> impl Future<Output = String> + Send;
    fn words(pool: &Pool<Self>, sql: String) -> impl Future<Output = Vec<String>> + Send;
}

macro_rules! dialect {
    ($database:ty, $open:expr) => {
        impl Dialect for $database {
            async fn open() -> (Pool<Self>, Option<TempDir>) {
                $open.await
            }

            async fn run(
                connection: &mut Connection<Self>,
                sql: String,
            ) -> Result<u64, sqlx::Error> {
                Ok(sqlx::raw_sql(AssertSqlSafe(sql))
                    .execute(connection)
                    .await?
                    .rows_affected())
            }

            async fn word(connection: &mut Connection<Self>, sql: String) -> String {
                sqlx::query_scalar(AssertSqlSafe(sql))
                    .fetch_one(connection)
                    .await
                    .unwrap()
            }

            async fn words(pool: &Pool<Self>, sql: String) -> Vec<String> {
                sqlx::query_scalar(AssertSqlSafe(sql))
                    .fetch_all(pool)
                    .await
                    .unwrap()
            }
        }
    };
}

dialect!(Sqlite, async {
    let folder = tempfile::tempdir().unwrap();
    let options = SqliteConnectOptions::new()
        .filename(folder.path().join("participant.db"))
        .create_if_missing(true)
        .journal_mode(sqlx::sqlite::SqliteJournalMode::Wal)
        .busy_timeout(BUSY);
    let pool = SqlitePoolOptions::new()
        .max_connections(CONNECTIONS)
        .connect_with(options);
    (pool.await.unwrap(), Some(folder))
});

dialect!(Postgres, async {
    let url = PostgresServer::shared()
        .await
        .unwrap()
        .database()
        .await
        .unwrap();
    (
        PgPoolOptions::new()
            .max_connections(CONNECTIONS)
            .connect(&url)
            .await
            .unwrap(),
        None,
    )
});

dialect!(MySql, async {
    let url = MariaDbServer::shared()
        .await
        .unwrap()
        .database()
        .await
        .unwrap();
    (
        MySqlPoolOptions::new()
            .max_connections(CONNECTIONS)
            .connect(&url)
            .await
            .unwrap(),
        None,
    )
});

/// The behaviour of the action's code in one run.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Behave {
    Well,
    Reject,
    Fail,
    Panic,
    /// Ignores an error of the database and returns success.
    Swallow,
    /// Returns a result with this number of bytes.
    Return(usize),
    /// Runs these statements and ignores their errors; [`EFFECT`] is one more effect, [`LATE`].
    Say(&'static [&'static str]),
}

/// The place of one more effect among the statements of [`Behave::Say`].
pub(crate) const EFFECT: &str = "EFFECT";
/// The operation that the effect of [`EFFECT`] records.
pub(crate) const LATE: &str = "LATE";

/// Returns the statement that records an effect.
pub(crate) fn effect(tx_id: Uuid, action: &str, operation: &str) -> String {
    format!(
        "INSERT INTO effect (tx_id, action, operation) VALUES ('{tx_id}', '{action}', '{operation}')"
    )
}

/// Returns a statement of [`Behave::Say`] as it is sent.
pub(crate) fn spelled(statement: &str, call: &CallContext) -> String {
    match statement {
        EFFECT => effect(call.tx_id, &call.action, LATE),
        other => other.to_owned(),
    }
}

/// An action that writes a row into `effect` for every operation that it carried out.
pub(crate) struct Ledger {
    external: bool,
    script: Arc<Mutex<VecDeque<Behave>>>,
}

impl Ledger {
    async fn act<D: Dialect>(
        &self,
        tx: &mut Connection<D>,
        call: &Call<Json<String>>,
    ) -> Result<Json<String>, ActionError> {
        let operation = format!("{:?}", call.operation).to_uppercase();
        D::run(tx, effect(call.tx_id, &call.action, &operation)).await?;
        let behave = self
            .script
            .lock()
            .unwrap()
            .pop_front()
            .unwrap_or(Behave::Well);
        match behave {
            Behave::Well => Ok(Json(format!("{operation} {}", Uuid::now_v7()))),
            Behave::Reject => Err(ActionError::rejected("sold out")),
            Behave::Fail => Err(ActionError::failed("the disk is full")),
            Behave::Panic => panic!("as told"),
            Behave::Swallow => {
                let _ = D::run(tx, "INSERT INTO nowhere (nothing) VALUES (1)".to_owned()).await;
                Ok(Json(String::new()))
            }
            Behave::Return(bytes) => Ok(Json("x".repeat(bytes - "\"\"".len()))),
            Behave::Say(statements) => {
                for &statement in statements {
                    let _ = D::run(tx, spelled(statement, call)).await;
                }
                Ok(Json(String::new()))
            }
        }
    }
}

impl<D: Dialect> TccAction<D> for Ledger {
    type Request = Json<String>;
    type Response = Json<String>;

    async fn try_(
        &self,
        tx: &mut Connection<D>,
        call: &Call<Json<String>>,
    ) -> Result<Json<String>, ActionError> {
        self.act::<D>(tx, call).await
    }

    async fn confirm(
        &self,
        tx: &mut Connection<D>,
        call: &Call<Json<String>>,
    ) -> Result<(), ActionError> {
        assert!(
            call.tried::<Json<String>>()?.is_some(),
            "a Confirm knows what its Try returned"
        );
        self.act::<D>(tx, call).await.map(drop)
    }

    async fn cancel(
        &self,
        tx: &mut Connection<D>,
        call: &Call<Json<String>>,
    ) -> Result<(), ActionError> {
        self.act::<D>(tx, call).await.map(drop)
    }

    fn external(&self) -> bool {
        self.external
    }
}

/// The same action in mode DELIVER.
pub(crate) struct Parcel(Ledger);

impl<D: Dialect> tercet_sdk::DeliverAction<D> for Parcel {
    type Request = Json<String>;

    async fn deliver(
        &self,
        tx: &mut Connection<D>,
        call: &Call<Json<String>>,
    ) -> Result<(), ActionError> {
        self.0.act::<D>(tx, call).await.map(drop)
    }
}

/// The same action in mode COMPENSATE.
pub(crate) struct Sale(Ledger);

impl<D: Dialect> tercet_sdk::CompensateAction<D> for Sale {
    type Request = Json<String>;
    type Response = Json<String>;

    async fn act(
        &self,
        tx: &mut Connection<D>,
        call: &Call<Json<String>>,
    ) -> Result<Json<String>, ActionError> {
        self.0.act::<D>(tx, call).await
    }

    async fn compensate(
        &self,
        tx: &mut Connection<D>,
        call: &Call<Json<String>>,
    ) -> Result<(), ActionError> {
        self.0.act::<D>(tx, call).await.map(drop)
    }
}

/// A participant with a database of its own.
pub(crate) struct World<D: Dialect> {
    pub(crate) pool: Pool<D>,
    pub(crate) barrier: Barrier<D>,
    pub(crate) participant: Participant,
    script: Arc<Mutex<VecDeque<Behave>>>,
    _folder: Option<TempDir>,
}

impl<D: Dialect> World<D> {
    pub(crate) async fn new() -> Self {
        Self::with(|barrier| barrier).await
    }

    pub(crate) async fn with(configure: impl FnOnce(Barrier<D>) -> Barrier<D>) -> Self {
        Self::built(configure, |builder| builder).await
    }

    pub(crate) async fn unfenced() -> Self {
        Self::built(
            |barrier| barrier,
            ParticipantBuilder::without_barrier_for_demonstration,
        )
        .await
    }

    async fn built(
        configure: impl FnOnce(Barrier<D>) -> Barrier<D>,
        change: impl FnOnce(ParticipantBuilder<Barrier<D>>) -> ParticipantBuilder<Barrier<D>>,
    ) -> Self {
        let (pool, folder) = D::open().await;
        Self::over(pool, folder, configure, change).await
    }

    /// Makes a world with one connection, and a pool beside it that sees what is committed.
    pub(crate) async fn of_one_connection() -> (Self, Pool<D>) {
        let (beside, folder) = D::open().await;
        let options = (*beside.connect_options()).clone();
        let pool = PoolOptions::<D>::new()
            .max_connections(1)
            .connect_lazy_with(options);
        let world = Self::over(pool, folder, |barrier| barrier, |builder| builder).await;
        (world, beside)
    }

    async fn over(
        pool: Pool<D>,
        folder: Option<TempDir>,
        configure: impl FnOnce(Barrier<D>) -> Barrier<D>,
        change: impl FnOnce(ParticipantBuilder<Barrier<D>>) -> ParticipantBuilder<Barrier<D>>,
    ) -> Self {
        let barrier = configure(Barrier::new(pool.clone()));
        let (first, second) = tokio::join!(barrier.create_table(), barrier.create_table());
        first.and(second).unwrap();
        let table =
            "CREATE TABLE effect (tx_id VARCHAR(36), action VARCHAR(128), operation VARCHAR(16))";
        D::run(&mut *pool.acquire().await.unwrap(), table.to_owned())
            .await
            .unwrap();
        let script = Arc::default();
        let ledger = |external| Ledger {
            external,
            script: Arc::clone(&script),
        };
        let builder = Participant::builder("shop")
            .barrier(barrier.clone())
            .tcc("ledger", ledger(false))
            .tcc("outside", ledger(true))
            .deliver("parcel", Parcel(ledger(false)))
            .compensate("sale", Sale(ledger(false)))
            .check_back(barrier.clone());
        let participant = change(builder).build().unwrap();
        Self {
            pool,
            barrier,
            participant,
            script,
            _folder: folder,
        }
    }

    /// Makes a new transaction.
    pub(crate) fn transaction(&self) -> Tx<'_, D> {
        self.transaction_of(Uuid::now_v7())
    }

    pub(crate) fn transaction_of(&self, tx_id: Uuid) -> Tx<'_, D> {
        Tx {
            world: self,
            id: tx_id,
            handler: "ledger",
            mode: proto::Mode::Tcc,
        }
    }

    /// Lets every row look as if it had not changed for years.
    pub(crate) async fn age_rows(&self) {
        self.run("UPDATE tercet_barrier SET changed_at = '2020-01-01 00:00:00'".to_owned())
            .await;
    }

    pub(crate) async fn run(&self, sql: String) -> u64 {
        D::run(&mut *self.pool.acquire().await.unwrap(), sql)
            .await
            .unwrap()
    }
}

/// Returns an id that was made the given number of days ago.
pub(crate) fn days_ago(days: u64) -> Uuid {
    let now = Timestamp::now(NoContext).to_unix().0;
    Uuid::new_v7(Timestamp::from_unix(
        NoContext,
        now - days * 24 * 60 * 60,
        0,
    ))
}

/// A transaction with one action of this participant.
pub(crate) struct Tx<'w, D: Dialect> {
    pub(crate) world: &'w World<D>,
    pub(crate) id: Uuid,
    pub(crate) handler: &'static str,
    pub(crate) mode: proto::Mode,
}

impl<D: Dialect> Clone for Tx<'_, D> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<D: Dialect> Copy for Tx<'_, D> {}

/// The kind of a call's outcome, without its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Is {
    Done,
    Rejected,
    Unknown,
}

pub(crate) fn is(outcome: &Outcome) -> Is {
    match outcome {
        Outcome::Done(_) => Is::Done,
        Outcome::Rejected(_) => Is::Rejected,
        Outcome::Unknown(_) => Is::Unknown,
    }
}

impl<'w, D: Dialect> Tx<'w, D> {
    pub(crate) fn handled_by(self, handler: &'static str, mode: proto::Mode) -> Self {
        Self {
            handler,
            mode,
            ..self
        }
    }

    pub(crate) fn call(&self, operation: Operation) -> proto::Call {
        let operation = match operation {
            Operation::Try => proto::Operation::Try,
            Operation::Confirm => proto::Operation::Confirm,
            Operation::Cancel => proto::Operation::Cancel,
        };
        proto::Call {
            epoch: 7,
            call_id: 8,
            tx_id: self.id.to_string(),
            action: "take".to_owned(),
            operation: operation.into(),
            mode: self.mode.into(),
            participant: "shop".to_owned(),
            handler: self.handler.to_owned(),
            business_type: "sale".to_owned(),
            business_id: "order-1".to_owned(),
            payload: "\"apple\"".into(),
            attempt: 1,
            ..proto::Call::default()
        }
    }

    pub(crate) async fn send(&self, call: proto::Call) -> Outcome {
        let result = self.world.participant.call(call.clone()).await;
        assert_eq!(
            (
                result.epoch,
                result.call_id,
                &result.tx_id,
                &result.action,
                result.operation
            ),
            (
                call.epoch,
                call.call_id,
                &call.tx_id,
                &call.action,
                call.operation
            ),
            "a result names its call"
        );
        result.outcome.unwrap()
    }

    pub(crate) async fn does(&self, operation: Operation) -> Outcome {
        self.send(self.call(operation)).await
    }

    /// Sends an operation whose code, if it runs, behaves as given.
    pub(crate) async fn behaving(&self, operation: Operation, behave: Behave) -> Outcome {
        self.world.script.lock().unwrap().push_back(behave);
        let outcome = self.does(operation).await;
        self.world.script.lock().unwrap().clear();
        outcome
    }

    /// Returns the operations that have taken effect, by name.
    pub(crate) async fn effects(&self) -> Vec<String> {
        let sql = format!(
            "SELECT operation FROM effect WHERE tx_id = '{}' ORDER BY operation",
            self.id
        );
        D::words(&self.world.pool, sql).await
    }

    /// Returns the states of the barrier's rows.
    pub(crate) async fn rows(&self) -> Vec<String> {
        let sql = format!(
            "SELECT state FROM tercet_barrier WHERE tx_id = '{}' ORDER BY state",
            self.id
        );
        D::words(&self.world.pool, sql).await
    }

    /// Asserts the operations that have taken effect, and the states of the barrier's rows.
    #[track_caller]
    pub(crate) fn left(
        &self,
        effects: &'static [&'static str],
        rows: &'static [&'static str],
    ) -> impl Future<Output = ()> + 'w {
        let caller = std::panic::Location::caller();
        let tx = *self;
        async move {
            assert_eq!(tx.effects().await, effects, "effects, at {caller}");
            assert_eq!(tx.rows().await, rows, "rows, at {caller}");
        }
    }
}

/// Runs each test on every database.
macro_rules! on_every_database {
    ($($test:ident),+ $(,)?) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $test() { super::$test::<sqlx::Sqlite>().await; })+
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $test() { super::$test::<sqlx::Postgres>().await; })+
        }
        mod mariadb {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $test() { super::$test::<sqlx::MySql>().await; })+
        }
    };
}

pub(crate) use on_every_database;
