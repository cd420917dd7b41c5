//! A shop with an account of points and orders, in one SQLite file.

#![allow(unreachable_pub, reason = "shared by tests")]

use std::{
    convert::Infallible,
    task::{Context, Poll},
    time::Duration,
};

use futures::future::BoxFuture;
use sqlx::{
    SqliteConnection, SqlitePool,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions},
};
use tempfile::TempDir;
use tercet_sdk::{
    ActionError, Barrier, Call, CompensateAction, Json, Participant, Sqlite, TccAction,
    initiator::{Client, ContextLayer, LiveTransaction, TransactionContext},
    proto::{self, Methods, Protocol, RegisterRequest},
};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status, body::Body, server::NamedService, transport::Server};
use tonic_prost::ProstCodec;
use tower::{Layer, Service};
use uuid::Uuid;

/// The path of the shop's own gRPC method.
const FREEZE: &str = "/shop.Points/Freeze";

/// Takes points from `available`; they stay frozen until confirmed.
struct Freeze<T>(std::marker::PhantomData<fn() -> T>);

/// A number as JSON and as a prost message.
pub trait Points: tercet_sdk::Payload {
    fn points(&self) -> i64;
    fn of(points: i64) -> Self;
}

impl Points for Json<i64> {
    fn points(&self) -> i64 {
        self.0
    }
    fn of(points: i64) -> Self {
        Self(points)
    }
}

impl Points for i64 {
    fn points(&self) -> i64 {
        *self
    }
    fn of(points: i64) -> Self {
        points
    }
}

async fn change(
    connection: &mut SqliteConnection,
    available: i64,
    frozen: i64,
) -> Result<(), ActionError> {
    let change = sqlx::query(
        "UPDATE account SET available = available + $1, frozen = frozen + $2
         WHERE available + $1 >= 0",
    );
    let change = change.bind(available).bind(frozen);
    if change.execute(connection).await?.rows_affected() == 0 {
        return Err(ActionError::rejected("short of points"));
    }
    Ok(())
}

impl<T: Points> TccAction<Sqlite> for Freeze<T> {
    type Request = T;
    type Response = T;

    async fn try_(&self, tx: &mut SqliteConnection, call: &Call<T>) -> Result<T, ActionError> {
        let points = call.request.points();
        change(tx, -points, points).await?;
        Ok(T::of(points))
    }

    async fn confirm(&self, tx: &mut SqliteConnection, call: &Call<T>) -> Result<(), ActionError> {
        change(tx, 0, -call.request.points()).await
    }

    async fn cancel(&self, tx: &mut SqliteConnection, call: &Call<T>) -> Result<(), ActionError> {
        let points = call.request.points();
        change(tx, points, -points).await
    }
}

struct Spend;

impl CompensateAction<Sqlite> for Spend {
    type Request = Json<i64>;
    type Response = ();

    async fn act(
        &self,
        tx: &mut SqliteConnection,
        call: &Call<Json<i64>>,
    ) -> Result<(), ActionError> {
        change(tx, -call.request.0, 0).await
    }

    async fn compensate(
        &self,
        tx: &mut SqliteConnection,
        call: &Call<Json<i64>>,
    ) -> Result<(), ActionError> {
        change(tx, call.request.0, 0).await
    }
}

pub struct Shop {
    pub participant: Participant,
    pub pool: SqlitePool,
    pub barrier: Barrier<Sqlite>,
    /// The same action over prost messages, under the name "points".
    points: Participant,
    _folder: TempDir,
}

impl Shop {
    pub async fn open() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = SqliteConnectOptions::new()
            .filename(folder.path().join("shop.db"))
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .busy_timeout(Duration::from_secs(20));
        let pool = SqlitePoolOptions::new()
            .connect_with(options)
            .await
            .unwrap();
        let tables = "CREATE TABLE account (available INTEGER, frozen INTEGER);
                      INSERT INTO account VALUES (100, 0);
                      CREATE TABLE orders (tx_id TEXT PRIMARY KEY)";
        sqlx::raw_sql(tables).execute(&pool).await.unwrap();
        let barrier = Barrier::new(pool.clone());
        barrier.create_table().await.unwrap();
        let shop = Participant::builder("shop").barrier(barrier.clone());
        let shop = shop.tcc("freeze", Freeze::<Json<i64>>(std::marker::PhantomData));
        let shop = shop.compensate("spend", Spend).check_back(barrier.clone());
        let points = Participant::builder("points").barrier(barrier.clone());
        let points = points.tcc("freeze", Freeze::<i64>(std::marker::PhantomData));
        Self {
            participant: shop.build().unwrap(),
            points: points.build().unwrap(),
            pool,
            barrier,
            _folder: folder,
        }
    }

    /// Returns the points available, and the points frozen.
    pub async fn account(&self) -> (i64, i64) {
        let account = sqlx::query_as("SELECT available, frozen FROM account");
        account.fetch_one(&self.pool).await.unwrap()
    }

    /// The initiator's own change.
    pub fn insert_order(
        tx_id: Uuid,
    ) -> impl for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, Result<u64, sqlx::Error>> + Send
    {
        move |local| {
            let insert = sqlx::query("INSERT INTO orders VALUES ($1)").bind(tx_id.to_string());
            Box::pin(async move { Ok(insert.execute(local).await?.rows_affected()) })
        }
    }

    /// Runs the initiator's local transaction, without informing the coordinator.
    pub async fn store_order(&self, tx_id: Uuid) -> Result<(), Box<dyn std::error::Error>> {
        let mut local = self.pool.begin_with("BEGIN IMMEDIATE").await?;
        self.barrier.insert_initiator_row(&mut local, tx_id).await?;
        Self::insert_order(tx_id)(&mut local).await?;
        Ok(local.commit().await?)
    }

    pub async fn has_order(&self, tx_id: Uuid) -> bool {
        let count = sqlx::query_scalar("SELECT count(*) FROM orders WHERE tx_id = $1");
        let count: i64 = count
            .bind(tx_id.to_string())
            .fetch_one(&self.pool)
            .await
            .unwrap();
        count == 1
    }

    /// Calls the Try of a handler that takes JSON, as the initiator, within this process.
    pub async fn try_as(
        &self,
        context: &TransactionContext,
        handler: &str,
        points: i64,
    ) -> Result<(), String> {
        let result = self.participant.call(proto::Call {
            tx_id: context.tx_id.to_string(),
            action: context.action.clone(),
            operation: proto::Operation::Try.into(),
            mode: proto::Mode::Tcc.into(),
            participant: "shop".to_owned(),
            handler: handler.to_owned(),
            payload: points.to_string().into_bytes().into(),
            time_left_ms: Some(10_000),
            ..proto::Call::default()
        });
        match result.await.outcome {
            Some(proto::result::Outcome::Done(_)) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    }

    /// Serves the shop's own gRPC method behind the context's layer, registered with the coordinator
    /// as the participant "points".
    pub async fn serve_own_method(&self, client: &Client) -> OwnMethod {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let serving = Server::builder()
            .layer(ContextLayer::server())
            .add_service(PointsServer(self.points.clone()))
            .serve_with_incoming(TcpListenerStream::new(listener));
        let serving = tokio::spawn(async move { serving.await.unwrap() });
        let methods = Methods {
            handler: "freeze".to_owned(),
            r#try: FREEZE.to_owned(),
            confirm: FREEZE.to_owned(),
            cancel: FREEZE.to_owned(),
        };
        let registered = client.register(RegisterRequest {
            participant: "points".to_owned(),
            protocol: Protocol::Grpc.into(),
            address: address.clone(),
            methods: vec![methods],
            ..RegisterRequest::default()
        });
        registered.await.unwrap();
        let channel = tonic::transport::Channel::from_shared(address).unwrap();
        OwnMethod {
            channel: channel.connect().await.unwrap(),
            serving,
        }
    }
}

/// The counterpart of a generated client.
pub struct OwnMethod {
    channel: tonic::transport::Channel,
    serving: JoinHandle<()>,
}

impl OwnMethod {
    pub async fn freeze(&mut self, tx: &LiveTransaction, points: i64) -> Result<i64, Status> {
        let channel = ContextLayer::client().layer(self.channel.clone());
        let mut client = tonic::client::Grpc::new(channel);
        client.ready().await.unwrap();
        let request = tx.request("freeze", points).unwrap();
        let path = http::uri::PathAndQuery::from_static(FREEZE);
        let codec = ProstCodec::<i64, i64>::default();
        client
            .unary(request, path, codec)
            .await
            .map(Response::into_inner)
    }
}

impl Drop for OwnMethod {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// The counterpart of a generated server.
#[derive(Clone)]
struct PointsServer(Participant);

impl NamedService for PointsServer {
    const NAME: &'static str = "shop.Points";
}

impl tonic::server::UnaryService<i64> for PointsServer {
    type Response = i64;
    type Future = BoxFuture<'static, Result<Response<i64>, Status>>;

    /// The whole of the user's method.
    fn call(&mut self, request: Request<i64>) -> Self::Future {
        let participant = self.0.clone();
        Box::pin(async move {
            let context = TransactionContext::of(&request)?;
            let reply = context
                .serve(&participant, "freeze", request.get_ref())
                .await?;
            Ok(Response::new(reply))
        })
    }
}

impl Service<http::Request<Body>> for PointsServer {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let method = self.clone();
        Box::pin(async move {
            let codec = ProstCodec::<i64, i64>::default();
            Ok(tonic::server::Grpc::new(codec).unary(method, request).await)
        })
    }
}
