//! The simplest initiator: hands over every action, and gets the outcome.
//!
//! Needs a coordinator and the example `participant`; the order's number may be given.

use std::time::Duration;

use tercet_sdk::{
    Json,
    initiator::{Action, Client, Outcome, Wait},
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let order = std::env::args().nth(1).unwrap_or("order-1".to_owned());
    let client = Client::connect(["http://127.0.0.1:7460"]).await?;
    let outcome = client
        .execute("points_for_coupon", order)
        .unique_business() // run it again: the same transaction answers
        .action(Action::compensate("spend", "points").payload(&Json(100)))
        .timeout(Duration::from_secs(10))
        .wait(Wait::Completed)
        .send()
        .await?;
    match outcome {
        Outcome::Committed {
            tx_id, repeated, ..
        } => println!("{tx_id} committed, repeated: {repeated}"),
        Outcome::RolledBack { tx_id, cause, .. } => println!("{tx_id} rolled back: {cause}"),
        Outcome::Running { tx_id, .. } => println!("{tx_id} is not decided yet"),
        Outcome::Parked { tx_id, failed, .. } => println!("{tx_id}: {failed:?} need a person"),
    }
    Ok(())
}
