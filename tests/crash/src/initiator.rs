//! The initiator: it sends every order, prints every answer, and stays to be asked back.
//!
//! It keeps only its own orders. After a kill and a restart it sends every order once more,
//! and `unique_business` answers those that exist.

use std::{io::Write, time::Duration};

use anyhow::Context as _;
use demo_coupons::{ISSUE_COUPON, RESERVE_COUPON, proto::TakeCoupon};
use demo_points::{DEDUCT_POINTS, FREEZE_POINTS, proto::TakePoints};
use futures::{StreamExt as _, stream};
use prost::Message as _;
use tercet_proto::v1::{self, participant_client::ParticipantClient, result};
use tercet_sdk::{
    AttachOptions, Barrier, Participant, Sqlite,
    initiator::{
        Action, CheckBack, Client, LiveTransaction, Outcome, RetryPolicy, TransactionContext, Wait,
    },
};
use tokio::time::{Instant, sleep};
use tonic::transport::{Channel, Endpoint};

use crate::{
    cast::{COUPON, DELIVER, POOR, Places, Role, user_name},
    points::Exchange,
};

/// The business type of every transaction.
pub const BUSINESS_TYPE: &str = "exchange";
/// The action that takes points.
pub const POINTS_ACTION: &str = "points";
/// The action that gives a coupon.
pub const COUPON_ACTION: &str = "coupon";
/// The line that it prints when every order was answered.
pub const DONE: &str = "done";

/// The length of phase one where the initiator leads: short, so that check-backs come soon.
const LED_TIMEOUT: Duration = Duration::from_millis(1_500);
/// The length of phase one of an Execute: long enough for a participant to restart.
const EXECUTE_TIMEOUT: Duration = Duration::from_secs(8);
/// The longest wait for an answer, after which the order counts as unanswered.
const PATIENCE: Duration = Duration::from_secs(30);
/// The interval at which an undecided transaction is read.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// The longest wait for the answer to a Try that the initiator calls itself.
const TRY_TIMEOUT: Duration = Duration::from_millis(500);

/// One order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// Its number.
    pub number: usize,
    /// The user.
    pub user: String,
    /// The number of points.
    pub points: i64,
}

impl Order {
    /// Makes the order with this number.
    pub fn new(mode: Exchange, number: usize) -> Self {
        let is_poor = number % 6 == 1 && mode != Exchange::Deliver;
        Self {
            number,
            user: if is_poor {
                POOR.to_owned()
            } else {
                user_name(number)
            },
            points: 10 + i64::try_from(number).unwrap_or(0),
        }
    }

    /// Returns its id, which is the business id.
    pub fn id(&self) -> String {
        format!("order-{}", self.number)
    }

    /// Returns whether the initiator's own change fails.
    fn changes_its_mind(&self) -> bool {
        self.number % 6 == 4
    }

    /// Returns whether the initiator never decides, so that it has to be asked back.
    fn is_forgotten(&self) -> bool {
        self.number % 6 == 3
    }

    fn points_request(&self) -> TakePoints {
        TakePoints {
            user: self.user.clone(),
            points: self.points,
            order_id: self.id(),
        }
    }

    fn coupon_request(&self) -> TakeCoupon {
        TakeCoupon {
            user: self.user.clone(),
            kind: COUPON.to_owned(),
            order_id: self.id(),
        }
    }

    fn actions(&self, mode: Exchange) -> [Action; 2] {
        let points = Role::Points.word();
        let coupons = Role::Coupons.word();
        let [points, coupon] = match mode {
            Exchange::Tcc | Exchange::Led => [
                Action::tcc(POINTS_ACTION, points).handler(FREEZE_POINTS),
                Action::tcc(COUPON_ACTION, coupons).handler(RESERVE_COUPON),
            ],
            Exchange::Compensate => [
                Action::compensate(POINTS_ACTION, points).handler(DEDUCT_POINTS),
                Action::compensate(COUPON_ACTION, coupons)
                    .handler(ISSUE_COUPON)
                    .after([POINTS_ACTION]),
            ],
            Exchange::Deliver => [
                Action::deliver(POINTS_ACTION, points).handler(DELIVER),
                Action::deliver(COUPON_ACTION, coupons).handler(DELIVER),
            ],
        };
        let retry = RetryPolicy::new()
            .first_delay(Duration::from_millis(20))
            .max_delay(Duration::from_millis(500))
            .call_timeout(Duration::from_secs(2));
        [
            points.payload(&self.points_request()).retry(retry),
            coupon.payload(&self.coupon_request()).retry(retry),
        ]
    }
}

/// The initiator's task.
#[derive(clap::Args, Clone, Debug)]
pub struct Task {
    /// The mode of the exchange
    #[arg(long)]
    pub mode: Exchange,
    /// Orders, from number 0
    #[arg(long)]
    pub orders: usize,
    /// Orders that are open at once
    #[arg(long, default_value_t = 8)]
    pub at_once: usize,
}

/// Runs the initiator until it is killed.
pub async fn run(places: &Places, task: &Task) -> anyhow::Result<()> {
    let pool = demo_service::open(&places.database(Role::Initiator)).await?;
    let barrier = Barrier::new(pool.clone());
    barrier.create_table().await?;
    sqlx::query(
        "CREATE TABLE IF NOT EXISTS orders (order_id TEXT PRIMARY KEY, tx_id TEXT NOT NULL)",
    )
    .execute(&pool)
    .await?;
    let participant = Participant::builder(Role::Initiator.word())
        .check_back(barrier.clone())
        .build()?;
    let attach = AttachOptions::new([places.coordinator_url()], "initiator-1");
    let client = Client::builder()
        .address(places.coordinator_url())
        .answer_within(PATIENCE)
        .connect()
        .await?;
    let initiator = Initiator {
        client,
        barrier,
        mode: task.mode,
        points: channel(places.points)?,
        coupons: channel(places.coupons)?,
    };
    let feeding = async {
        initiator.is_known().await?;
        stream::iter(0..task.orders)
            .for_each_concurrent(task.at_once, |number| initiator.order(number))
            .await;
        print(DONE);
        // Transactions that are still open may be asked back.
        std::future::pending::<anyhow::Result<()>>().await
    };
    tokio::select! {
        ended = feeding => ended,
        ended = participant.attach(attach, std::future::pending()) => ended.context("cannot attach"),
    }
}

fn channel(at: std::net::SocketAddr) -> anyhow::Result<Channel> {
    Ok(Endpoint::from_shared(format!("http://{at}"))?
        .connect_timeout(TRY_TIMEOUT)
        .connect_lazy())
}

fn print(line: &str) {
    // Without the pipe there is no reader left.
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}

struct Initiator {
    client: Client,
    barrier: Barrier<Sqlite>,
    mode: Exchange,
    points: Channel,
    coupons: Channel,
}

impl Initiator {
    /// Waits until the coordinator knows this process as a participant, which check-backs name.
    async fn is_known(&self) -> anyhow::Result<()> {
        let give_up = Instant::now() + PATIENCE;
        while Instant::now() < give_up {
            let draft = self
                .client
                .begin("knock", "knock")
                .timeout(LED_TIMEOUT)
                .check_back(CheckBack::ask(Role::Initiator.word()));
            match draft.send().await {
                Ok(mut live) => {
                    live.rollback("only asked whether it is known").await?;
                    return Ok(());
                }
                Err(error) if error.reason() == Some("PARTICIPANT_UNKNOWN") => {}
                Err(error) => return Err(error.into()),
            }
            sleep(LOOK_EVERY).await;
        }
        anyhow::bail!("the coordinator does not get to know this process")
    }

    /// Carries out one order, and prints its outcome.
    async fn order(&self, number: usize) {
        let order = Order::new(self.mode, number);
        let outcome = if self.mode.is_led() {
            self.lead(&order).await
        } else {
            self.execute(&order).await
        };
        match outcome {
            Ok(outcome) => match outcome.decision() {
                Some(decision) => {
                    print(&format!("answered {number} {} {decision}", outcome.tx_id()));
                }
                None => print(&format!("undecided {number} {}", outcome.tx_id())),
            },
            Err(error) => print(&format!("unanswered {number} {error:#}")),
        }
    }

    async fn execute(&self, order: &Order) -> anyhow::Result<Outcome> {
        let mut draft = self
            .client
            .execute(BUSINESS_TYPE, order.id())
            .unique_business()
            .timeout(EXECUTE_TIMEOUT);
        for action in order.actions(self.mode) {
            draft = draft.action(action);
        }
        let outcome = draft.wait(Wait::Decided).send().await?;
        self.decided(outcome).await
    }

    async fn lead(&self, order: &Order) -> anyhow::Result<Outcome> {
        let draft = self
            .client
            .begin(BUSINESS_TYPE, order.id())
            .unique_business()
            .timeout(LED_TIMEOUT)
            .check_back(
                CheckBack::ask(Role::Initiator.word())
                    .interval(Duration::from_millis(100))
                    .max_interval(Duration::from_millis(500)),
            );
        let mut live = match self.mode {
            Exchange::Deliver => {
                let [points, coupon] = order.actions(self.mode);
                draft.action(points).action(coupon).send().await?
            }
            _ => draft.send().await?,
        };
        if live.latest().is_repeated() {
            // Begun by an earlier run of this process: by now its local commit is done, or never will be.
            return self.decided(live.latest().clone()).await;
        }
        if self.mode == Exchange::Led
            && let Err(reason) = self.try_all(&mut live, order).await
        {
            return match live.rollback(reason).await {
                Ok(outcome) => Ok(outcome),
                Err(_) => self.decided(live.latest().clone()).await,
            };
        }
        if order.is_forgotten() {
            live.leave();
            return self.decided(live.latest().clone()).await;
        }
        self.commit(live, order).await
    }

    async fn commit(&self, mut live: LiveTransaction, order: &Order) -> anyhow::Result<Outcome> {
        let (order_id, tx_id) = (order.id(), live.id().to_string());
        let fails = order.changes_its_mind();
        let committed = live
            .commit_with::<Sqlite, (), String>(&self.barrier, move |local| {
                Box::pin(async move {
                    if fails {
                        return Err("changed its mind".to_owned());
                    }
                    sqlx::query("INSERT INTO orders (order_id, tx_id) VALUES (?, ?)")
                        .bind(order_id)
                        .bind(tx_id)
                        .execute(local)
                        .await
                        .map(drop)
                        .map_err(|error| error.to_string())
                })
            })
            .await;
        match committed {
            Ok((_, outcome)) => Ok(outcome),
            // After any error the transaction is still decided in the end.
            Err(_) => self.decided(live.latest().clone()).await,
        }
    }

    /// Adds both actions and calls their Tries.
    async fn try_all(&self, live: &mut LiveTransaction, order: &Order) -> Result<(), String> {
        let [points, coupon] = order.actions(self.mode);
        let parts = [
            (
                points,
                POINTS_ACTION,
                Role::Points,
                FREEZE_POINTS,
                order.points_request().encode_to_vec(),
            ),
            (
                coupon,
                COUPON_ACTION,
                Role::Coupons,
                RESERVE_COUPON,
                order.coupon_request().encode_to_vec(),
            ),
        ];
        for (action, name, role, handler, payload) in parts {
            live.add_action(action)
                .await
                .map_err(|error| error.to_string())?;
            let context = live.context(name).map_err(|error| error.to_string())?;
            self.try_one(&context, role, handler, payload).await?;
        }
        Ok(())
    }

    /// Calls one Try until it is answered or phase one is over.
    async fn try_one(
        &self,
        context: &TransactionContext,
        role: Role,
        handler: &str,
        payload: Vec<u8>,
    ) -> Result<(), String> {
        let channel = if role == Role::Points {
            &self.points
        } else {
            &self.coupons
        };
        let mut client = ParticipantClient::new(channel.clone());
        let give_up = Instant::now() + context.time_left.unwrap_or_default();
        let mut last = "no time was left".to_owned();
        let mut attempt = 0;
        while Instant::now() < give_up {
            attempt += 1;
            let call = v1::Call {
                tx_id: context.tx_id.to_string(),
                action: context.action.clone(),
                operation: v1::Operation::Try.into(),
                mode: v1::Mode::Tcc.into(),
                participant: role.word().to_owned(),
                handler: handler.to_owned(),
                business_type: BUSINESS_TYPE.to_owned(),
                payload: payload.clone().into(),
                time_left_ms: i64::try_from((give_up - Instant::now()).as_millis()).ok(),
                attempt,
                ..v1::Call::default()
            };
            match tokio::time::timeout(TRY_TIMEOUT, client.invoke(call)).await {
                Ok(Ok(answer)) => match answer.into_inner().outcome {
                    Some(result::Outcome::Done(_)) => return Ok(()),
                    Some(result::Outcome::Rejected(rejected)) => return Err(rejected.reason),
                    Some(result::Outcome::Unknown(unknown)) => last = unknown.error,
                    None => "no outcome".clone_into(&mut last),
                },
                Ok(Err(status)) => status.message().clone_into(&mut last),
                Err(_) => "no answer in time".clone_into(&mut last),
            }
            sleep(LOOK_EVERY).await;
        }
        Err(last)
    }

    /// Waits until the transaction is decided, by any party.
    async fn decided(&self, mut outcome: Outcome) -> anyhow::Result<Outcome> {
        let give_up = Instant::now() + PATIENCE;
        while outcome.decision().is_none() && Instant::now() < give_up {
            sleep(LOOK_EVERY).await;
            outcome = self.client.outcome(outcome.tx_id()).await?;
        }
        Ok(outcome)
    }
}
