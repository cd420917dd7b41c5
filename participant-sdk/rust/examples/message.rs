//! A transactional message: an order is stored, and the mail about it is sent if and only if it was.
//!
//! Needs a coordinator. One process plays both the initiator and the receiver.

use sqlx::{SqliteConnection, SqlitePool};
use tercet_sdk::{
    ActionError, AttachOptions, Barrier, Call, DeliverAction, Json, Participant, Sqlite,
    initiator::{Action, CheckBack, Client},
};

const COORDINATOR: &str = "http://127.0.0.1:7460";

struct StoreMail;

impl DeliverAction<Sqlite> for StoreMail {
    type Request = Json<String>;

    async fn deliver(
        &self,
        tx: &mut SqliteConnection,
        call: &Call<Json<String>>,
    ) -> Result<(), ActionError> {
        let insert = sqlx::query("INSERT INTO outbox VALUES ($1)").bind(&call.request.0);
        insert.execute(tx).await?; // once, also when the message is repeated
        println!("delivered: {}", call.request.0);
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let pool = SqlitePool::connect("sqlite://shop.db?mode=rwc").await?;
    let tables = "CREATE TABLE IF NOT EXISTS orders (id TEXT PRIMARY KEY);
                  CREATE TABLE IF NOT EXISTS outbox (mail TEXT)";
    sqlx::raw_sql(tables).execute(&pool).await?;
    let barrier = Barrier::new(pool.clone());
    barrier.create_table().await?;

    let shop = Participant::builder("shop")
        .barrier(barrier.clone())
        .deliver("mail", StoreMail)
        .check_back(barrier.clone()) // answers from the same database whether the order was stored
        .build()?;
    let options = AttachOptions::new([COORDINATOR], "shop-1");
    let (end, ended) = tokio::sync::oneshot::channel::<()>();
    let attached = tokio::spawn(async move {
        shop.attach(options, async { ended.await.unwrap_or_default() })
            .await
    });

    let client = Client::connect([COORDINATOR]).await?;
    client.wait_known("shop").await?;
    let order = std::env::args().nth(1).unwrap_or("order-1".to_owned());
    let mail = format!("thank you for {order}");
    let mut tx = client
        .begin("order", &order)
        .check_back(CheckBack::ask("shop"))
        .action(Action::deliver("mail", "shop").payload(&Json(mail)))
        .wait(tercet_sdk::initiator::Wait::Completed)
        .send()
        .await?;
    // A crash from here on loses nothing: the check-back finds the row, or prevents the commit.
    let stored = tx
        .commit_with(&barrier, move |local| {
            let insert = sqlx::query("INSERT INTO orders VALUES ($1)").bind(order);
            Box::pin(async move { insert.execute(local).await })
        })
        .await;
    match stored {
        Ok((_, outcome)) => println!("{outcome:?}"),
        Err(error) => println!("not stored, no mail: {error}"),
    }
    drop(end);
    attached.await??;
    Ok(())
}
