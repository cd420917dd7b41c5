//! The stuck transactions: decided, or about to be, and in need of a participant that does not answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::future::try_join_all;
use tercet_proto::v1;
use tercet_sdk::initiator::{Action, Client, Decision, Error, RetryPolicy, Wait};
use uuid::Uuid;

use crate::names::{HEALTHY, Sick};
use crate::stage::Stage;
use crate::traffic::{action, try_led};

/// Initiators that begin them at once.
const AT_ONCE: usize = 128;
/// So many attempts per action that none parks during a run.
const ATTEMPTS: u32 = 10_000;
/// The time-out of those that are not decided before their participant is healed: longer than any run.
const UNDECIDED_TIMEOUT: Duration = Duration::from_hours(24);
/// The length of phase one where the Tries are called at once.
const TIMEOUT: Duration = Duration::from_mins(5);

/// The ways in which they get stuck.
#[derive(Clone, Copy, Debug)]
enum Way {
    /// Execute of a DELIVER action: decided at once, its Confirm is stuck.
    Delivery,
    /// Led by its initiator to this decision: a Confirm or a Cancel is stuck, the other participant's is not.
    Led(Decision),
    /// Begun with Execute: its Try is stuck.
    Undecided,
}

impl Way {
    /// Returns the way of the transaction with this number.
    fn of(number: usize) -> Self {
        // Shifts by one with every thousand, so that each participant gets every way in time.
        match (number * 7 + number / 1000) % 20 {
            0..12 => Self::Delivery,
            12..16 => Self::Led(Decision::Success),
            16..19 => Self::Led(Decision::Failure),
            _ => Self::Undecided,
        }
    }
}

/// Begins `count` of them at full speed.
pub(crate) async fn fill(stage: &Arc<Stage>, client: &Client, count: usize) -> anyhow::Result<()> {
    let next = Arc::new(AtomicUsize::new(0));
    let tasks = (0..AT_ONCE).map(|_| {
        let (stage, client, next) = (Arc::clone(stage), client.clone(), Arc::clone(&next));
        tokio::spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= count {
                    return;
                }
                begin(&stage, &client, number).await;
            }
        })
    });
    try_join_all(tasks).await?;
    Ok(())
}

async fn begin(stage: &Stage, client: &Client, number: usize) {
    let (sick, way) = (sick(number), Way::of(number));
    let tx_id = Uuid::now_v7();
    let must_be = match way {
        Way::Delivery | Way::Undecided => Decision::Success,
        Way::Led(decision) => decision,
    };
    stage.book.begins(tx_id, Some(must_be));
    let begun = match way {
        Way::Delivery => deliver(stage, client, sick, tx_id).await,
        Way::Led(decision) => lead(stage, client, sick, tx_id, decision).await,
        Way::Undecided => hand_over(stage, client, sick, tx_id).await,
    };
    match begun {
        Ok(()) => stage.stuck_begun(),
        Err(error) => stage.book.error(&error),
    }
}

/// Spreads the transactions over the sick participants by their shares.
fn sick(number: usize) -> Sick {
    // A number of steps that has no divisor in common with 1,000 visits each place of it.
    let mut place = number * 619 % 1000;
    for sick in Sick::ALL {
        if place < sick.share() {
            return sick;
        }
        place -= sick.share();
    }
    Sick::Hung
}

/// Makes an action of a sick participant, which is repeated for as long as it takes.
pub(crate) fn stuck_action(name: &str, sick: Sick, mode: v1::Mode, payload: usize) -> Action {
    let payload = vec![b'x'; payload];
    let retry = RetryPolicy::new().max_attempts(ATTEMPTS);
    action(name, sick.name(), mode, &payload).retry(retry)
}

async fn deliver(stage: &Stage, client: &Client, sick: Sick, tx_id: Uuid) -> Result<(), Error> {
    let draft = client
        .execute("soak-stuck", tx_id.to_string())
        .tx_id(tx_id)
        .action(stuck_action(
            "later",
            sick,
            v1::Mode::Deliver,
            sick.payload(),
        ));
    let outcome = draft.send().await?;
    stage.book.answered(tx_id, outcome.decision());
    Ok(())
}

async fn lead(
    stage: &Stage,
    client: &Client,
    sick: Sick,
    tx_id: Uuid,
    decision: Decision,
) -> Result<(), Error> {
    let draft = client
        .begin("soak-stuck", tx_id.to_string())
        .tx_id(tx_id)
        .timeout(TIMEOUT)
        .action(action("first", HEALTHY[0], v1::Mode::Tcc, b"healthy"))
        .action(stuck_action("second", sick, v1::Mode::Tcc, sick.payload()));
    let mut live = draft.send().await?;
    stage.book.begun(tx_id);
    for (name, ledger) in [("first", &stage.healthy[0]), ("second", stage.ledger(sick))] {
        try_led(ledger, tx_id, name, 1_000);
    }
    live.leave();
    let outcome = client
        .decide(tx_id, decision, "as meant", Wait::Decided)
        .await?;
    stage.book.answered(tx_id, outcome.decision());
    Ok(())
}

async fn hand_over(stage: &Stage, client: &Client, sick: Sick, tx_id: Uuid) -> Result<(), Error> {
    let draft = client
        .execute("soak-stuck", tx_id.to_string())
        .tx_id(tx_id)
        .timeout(UNDECIDED_TIMEOUT)
        .wait(Wait::Accepted)
        .action(stuck_action("later", sick, v1::Mode::Tcc, sick.payload()));
    let outcome = draft.send().await?;
    stage.book.answered(tx_id, outcome.decision());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thousand_in_a_row_have_the_shares() {
        for sick_one in Sick::ALL {
            let found = (5_000..6_000).filter(|number| sick(*number) == sick_one);
            assert_eq!(found.count(), sick_one.share(), "{sick_one:?}");
        }
    }

    #[test]
    fn every_sick_participant_gets_every_way() {
        for sick_one in Sick::ALL {
            let ways = (0..140_000).filter(|number| sick(*number) == sick_one);
            let ways: std::collections::BTreeSet<String> = ways
                .map(|number| format!("{:?}", Way::of(number)))
                .collect();
            assert_eq!(ways.len(), 4, "{sick_one:?}: {ways:?}");
        }
    }
}
