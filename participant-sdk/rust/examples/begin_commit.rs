//! An initiator that calls the Try itself, and commits an order in its own database atomically with
//! the transaction.
//!
//! Needs a coordinator, and a service at port 7501 whose method `/shop.Points/Spend` is the Try of an
//! action and which is registered as the participant `points`, so that its Cancel is called.

use sqlx::SqlitePool;
use tercet_sdk::{
    AttachOptions, Barrier, Participant,
    initiator::{Action, CheckBack, Client, ContextLayer, LiveTransaction},
};
use tonic::{client::Grpc, transport::Channel};
use tower::Layer;

const COORDINATOR: &str = "http://127.0.0.1:7460";

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let pool = SqlitePool::connect("sqlite://orders.db?mode=rwc").await?;
    let barrier = Barrier::new(pool.clone());
    barrier.create_table().await?;
    let orders = "CREATE TABLE IF NOT EXISTS orders (id TEXT PRIMARY KEY)";
    sqlx::query(orders).execute(&pool).await?;

    // If this process dies before it decides, the coordinator asks the next one for the outcome.
    let answering = Participant::builder("orders")
        .check_back(barrier.clone())
        .build()?;
    let options = AttachOptions::new([COORDINATOR], "orders-1");
    tokio::spawn(async move { answering.attach(options, std::future::pending()).await });

    let points = Channel::from_static("http://127.0.0.1:7501")
        .connect()
        .await?;
    let client = Client::connect([COORDINATOR]).await?;
    client.wait_known("orders").await?;
    let order = std::env::args().nth(1).unwrap_or("order-1".to_owned());
    let mut tx = client
        .begin("order", &order)
        .check_back(CheckBack::ask("orders"))
        .action(Action::compensate("spend", "points"))
        .send()
        .await?;

    if let Err(refused) = spend(&tx, points, 100).await {
        tx.rollback_with(&barrier, refused.message()).await?;
        return Err(refused.into());
    }
    let (_, outcome) = tx
        .commit_with(&barrier, move |local| {
            let insert = sqlx::query("INSERT INTO orders VALUES ($1)").bind(order);
            Box::pin(async move { insert.execute(local).await })
        })
        .await?;
    println!("{outcome:?}");
    Ok(())
}

/// Makes a unary call in the context of the action, as a generated client does.
async fn spend(tx: &LiveTransaction, points: Channel, amount: i64) -> Result<(), tonic::Status> {
    let request = tx.request("spend", amount);
    let request = request.map_err(|error| tonic::Status::internal(error.to_string()))?;
    let mut client = Grpc::new(ContextLayer::client().layer(points));
    client
        .ready()
        .await
        .map_err(|error| tonic::Status::from_error(error.into()))?;
    let path = http::uri::PathAndQuery::from_static("/shop.Points/Spend");
    let codec = tonic_prost::ProstCodec::<i64, ()>::default();
    client
        .unary(request, path, codec)
        .await
        .map(tonic::Response::into_inner)
}
