//! A participant: points are spent, and given back if the transaction fails.
//!
//! Needs a coordinator (`tercet serve`), whose address may be given as the first argument.

use sqlx::{SqliteConnection, SqlitePool};
use tercet_sdk::{
    ActionError, AttachOptions, Barrier, Call, CompensateAction, Json, Participant, Sqlite,
};

struct Spend;

impl CompensateAction<Sqlite> for Spend {
    type Request = Json<i64>; // or a prost message, without a wrapper
    type Response = ();

    async fn act(
        &self,
        tx: &mut SqliteConnection,
        call: &Call<Json<i64>>,
    ) -> Result<(), ActionError> {
        let spend = "UPDATE account SET points = points - $1 WHERE points >= $1";
        let changed = sqlx::query(spend).bind(call.request.0).execute(tx).await?;
        if changed.rows_affected() == 0 {
            return Err(ActionError::rejected("short of points"));
        }
        Ok(())
    }

    async fn compensate(
        &self,
        tx: &mut SqliteConnection,
        call: &Call<Json<i64>>,
    ) -> Result<(), ActionError> {
        let give_back = "UPDATE account SET points = points + $1";
        sqlx::query(give_back)
            .bind(call.request.0)
            .execute(tx)
            .await?;
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let coordinator = std::env::args()
        .nth(1)
        .unwrap_or("http://127.0.0.1:7460".to_owned());
    let pool = SqlitePool::connect("sqlite://points.db?mode=rwc").await?;
    let account = "CREATE TABLE IF NOT EXISTS account (id INTEGER PRIMARY KEY, points INTEGER);
                   INSERT OR IGNORE INTO account VALUES (1, 1000)";
    sqlx::raw_sql(account).execute(&pool).await?;
    let barrier = Barrier::new(pool);
    barrier.create_table().await?;

    let points = Participant::builder("points")
        .barrier(barrier)
        .compensate("spend", Spend)
        .build()?;
    let options = AttachOptions::new([coordinator], "points-1");
    let shutdown = async {
        tokio::signal::ctrl_c().await.ok();
    };
    points.attach(options, shutdown).await?;
    Ok(())
}
