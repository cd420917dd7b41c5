//! The process that feeds the orders: an initiator that only uses the SDK.
//!
//! It keeps nothing. Killed and run again, it hands over every order once more, and `unique_business`
//! answers those that were there already.

use std::io::Write;
use std::time::Duration;

use anyhow::Context;
use demo_coupons::{CouponsService, ISSUE_COUPON, RESERVE_COUPON};
use demo_points::{DEDUCT_POINTS, FREEZE_POINTS, PointsService};
use demo_service::Service;
use futures::{StreamExt, TryStreamExt, stream};
use tercet_sdk::initiator::{Action, Client, Decision, Error, Outcome, RetryPolicy, Wait};
use tokio::time::Instant;
use uuid::Uuid;

use crate::args::{InitiatorArgs, Mode, Pace};
use crate::event::{Event, OrderAnswer};
use crate::orders::{Order, Orders};
use crate::seeds::Seeds;
use crate::{BUSINESS_TYPE, COUPON_ACTION, POINTS_ACTION};

/// The first pause before a service is asked again; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(20);
/// The longest pause before a service is asked again.
const LONGEST_PAUSE: Duration = Duration::from_millis(500);
/// The pause between two looks at a transaction that an earlier order began.
const POLL: Duration = Duration::from_millis(50);

/// Feeds every order of the file, and prints each event on standard output.
pub(crate) async fn run(args: InitiatorArgs) -> anyhow::Result<()> {
    let seed = std::fs::read_to_string(&args.seed).context("cannot read the seed file")?;
    let seeds = Seeds::parse(&seed).map_err(anyhow::Error::msg)?;
    let orders = std::fs::read(&args.orders).context("cannot read the orders")?;
    let orders = Orders::read(&orders, &seeds).map_err(anyhow::Error::msg)?;
    tokio::select! {
        ended = feed(&args, orders.good) => ended,
        stopped = demo_service::stopped(true) => stopped.context("cannot wait for signals"),
    }
}

async fn feed(args: &InitiatorArgs, orders: Vec<Order>) -> anyhow::Result<()> {
    let client = Client::builder()
        .address(&args.coordinator)
        .answer_within(args.pace.patience_ms)
        .connect()
        .await?;
    let client = &client;
    stream::iter(orders)
        .map(anyhow::Ok)
        .try_for_each_concurrent(usize::from(args.pace.concurrency), |order| async move {
            let line = order.line;
            print(&Event::Sent { line })?;
            let answer = match exchange(client, args.mode, &args.pace, &order).await {
                Ok(answer) => answer,
                Err(error) => OrderAnswer::Failed {
                    error: error.to_string(),
                },
            };
            print(&Event::Answered { line, answer })
        })
        .await?;
    print(&Event::Done)
}

fn print(event: &Event) -> anyhow::Result<()> {
    let mut line = serde_json::to_vec(event)?;
    line.push(b'\n');
    let mut out = std::io::stdout().lock();
    out.write_all(&line)?;
    Ok(out.flush()?)
}

/// Exchanges points for a coupon, and waits for the end.
async fn exchange(
    client: &Client,
    mode: Mode,
    pace: &Pace,
    order: &Order,
) -> Result<OrderAnswer, Error> {
    let [points, coupon] = actions(mode, order);
    let outcome = client
        .execute(BUSINESS_TYPE, &order.id)
        .unique_business()
        .action(points.retry(policy(pace)))
        .action(coupon.retry(policy(pace)))
        .timeout(pace.phase_one_ms)
        .wait(Wait::Completed)
        .send()
        .await?;
    let repeated = outcome.is_repeated();
    let outcome = end(client, outcome, pace.patience_ms).await?;
    Ok(match outcome.decision() {
        Some(decision) => OrderAnswer::Decided {
            tx_id: outcome.tx_id().to_string(),
            committed: decision == Decision::Success,
            repeated,
        },
        None => OrderAnswer::Failed {
            error: format!("transaction {} is not decided in time", outcome.tx_id()),
        },
    })
}

fn actions(mode: Mode, order: &Order) -> [Action; 2] {
    let points = demo_points::proto::TakePoints {
        user: order.user.clone(),
        points: order.points,
        order_id: order.id.clone(),
    };
    let coupon = demo_coupons::proto::TakeCoupon {
        user: order.user.clone(),
        kind: order.coupon.clone(),
        order_id: order.id.clone(),
    };
    let [by_points, by_coupons] = [PointsService::NAME, CouponsService::NAME];
    let [points_action, coupon_action] = match mode {
        Mode::Tcc => [
            Action::tcc(POINTS_ACTION, by_points).handler(FREEZE_POINTS),
            Action::tcc(COUPON_ACTION, by_coupons).handler(RESERVE_COUPON),
        ],
        // What is really done at once is done in order: a coupon only for points that are paid.
        Mode::Compensate => [
            Action::compensate(POINTS_ACTION, by_points).handler(DEDUCT_POINTS),
            Action::compensate(COUPON_ACTION, by_coupons)
                .handler(ISSUE_COUPON)
                .after([POINTS_ACTION]),
        ],
    };
    [
        points_action.payload(&points),
        coupon_action.payload(&coupon),
    ]
}

fn policy(pace: &Pace) -> RetryPolicy {
    RetryPolicy::new()
        .first_delay(FIRST_PAUSE)
        .max_delay(LONGEST_PAUSE)
        .max_attempts(pace.max_attempts)
        .call_timeout(pace.call_timeout_ms)
}

/// Waits for the end of a transaction that an earlier order began: its answer may come before.
async fn end(client: &Client, mut outcome: Outcome, patience: Duration) -> Result<Outcome, Error> {
    let started = Instant::now();
    let tx_id: Uuid = outcome.tx_id();
    while !outcome.is_finished()
        && !matches!(outcome, Outcome::Parked { .. })
        && started.elapsed() < patience
    {
        tokio::time::sleep(POLL).await;
        outcome = client.outcome(tx_id).await?;
    }
    Ok(outcome)
}
