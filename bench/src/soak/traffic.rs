//! The healthy traffic: transactions of several kinds, due at a fixed rate whatever the coordinator does.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::ensure;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};
use tercet_proto::v1;
use tercet_sdk::initiator::{
    Action, CauseKind, CheckBack, Client, Decision, Error, LiveTransaction, Outcome, Wait,
};
use tercet_sdk::{CallAnswer, Raw};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::ledger::{Ledger, REJECT};
use crate::names::{INITIATOR, WANDERER, handler};
use crate::stage::Stage;

/// Requests that may be open at once; more mean that the coordinator does not keep up.
const OPEN: usize = 20_000;
/// The time-out of a transaction; longer than any outage.
const TIMEOUT: Duration = Duration::from_mins(1);
/// The time-out of one that is left to the check-back.
const LEFT_TIMEOUT: Duration = Duration::from_secs(2);
/// The payload of an action that is not rejected.
const PAYLOAD: &[u8] = b"nothing in particular";

/// The kinds of exchanges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Exchange {
    /// Execute of two TCC actions.
    Tcc,
    /// Execute of two COMPENSATE actions.
    Compensate,
    /// Execute of two actions in this mode: the second one is rejected.
    Rejected(v1::Mode),
    /// Execute with a DELIVER action.
    Deliver,
    /// Execute with the participant that leaves and comes back; not part of the latency.
    Wandering,
    /// Begin, `AddAction`, the Tries by the initiator, Decide.
    Led(Decision),
    /// Begin, the Tries, and no Decide: the check-back finds the outcome.
    Left(Decision),
}

/// The kinds with their weights, in percent.
const MIX: [(Exchange, u32); 10] = [
    (Exchange::Tcc, 48),
    (Exchange::Compensate, 12),
    (Exchange::Rejected(v1::Mode::Tcc), 5),
    (Exchange::Rejected(v1::Mode::Compensate), 5),
    (Exchange::Deliver, 6),
    (Exchange::Wandering, 4),
    (Exchange::Led(Decision::Success), 8),
    (Exchange::Led(Decision::Failure), 4),
    (Exchange::Left(Decision::Success), 4),
    (Exchange::Left(Decision::Failure), 4),
];

/// Sends `rate` transactions per second until `until`, and waits for the last answers.
pub(crate) async fn run(
    stage: Arc<Stage>,
    clients: Vec<Client>,
    rate: u32,
    until: Instant,
) -> anyhow::Result<()> {
    let mut dice = StdRng::seed_from_u64(stage.seed);
    let mut open = JoinSet::new();
    let every = Duration::from_secs(1) / rate;
    let mut due = Instant::now();
    stage.latency.begin();
    while due < until {
        tokio::time::sleep_until(due.into()).await;
        while let Some(ended) = open.try_join_next() {
            ended??;
        }
        ensure!(open.len() < OPEN, "{OPEN} requests are open at once");
        if let (Some(client), Some(exchange)) = (clients.choose(&mut dice), choose(&mut dice)) {
            let exchanging = Exchanging {
                stage: Arc::clone(&stage),
                client: client.clone(),
                tx_id: Uuid::now_v7(),
                pair: pair(&stage, &mut dice),
                due,
            };
            open.spawn(exchanging.run(exchange));
        }
        due += every;
    }
    while let Some(ended) = open.join_next().await {
        ended??;
    }
    Ok(())
}

fn choose(dice: &mut StdRng) -> Option<Exchange> {
    let chosen = MIX.choose_weighted(dice, |(_, weight)| *weight).ok()?;
    Some(chosen.0)
}

/// Chooses two different healthy participants.
fn pair(stage: &Stage, dice: &mut StdRng) -> [Arc<Ledger>; 2] {
    let count = stage.healthy.len();
    let first = dice.random_range(0..count);
    let second = (first + dice.random_range(1..count)) % count;
    [first, second].map(|number| Arc::clone(&stage.healthy[number]))
}

/// One transaction, from the moment at which it was due.
struct Exchanging {
    stage: Arc<Stage>,
    client: Client,
    tx_id: Uuid,
    pair: [Arc<Ledger>; 2],
    due: Instant,
}

impl Exchanging {
    async fn run(self, exchange: Exchange) -> anyhow::Result<()> {
        self.stage.book.begins(self.tx_id, must_be(exchange));
        let done = match exchange {
            Exchange::Led(decision) => self.led(decision).await,
            Exchange::Left(decision) => self.left(decision).await,
            _ => self.execute(exchange).await,
        };
        match done {
            Err(error) => self.stage.book.error(&error),
            Ok(()) if exchange == Exchange::Wandering => {}
            Ok(()) => self.stage.answered(self.due)?,
        }
        Ok(())
    }

    async fn execute(&self, exchange: Exchange) -> Result<(), Error> {
        let [first, second] = self.actions(exchange);
        let draft = self.client.execute("soak", self.tx_id.to_string());
        let draft = draft.tx_id(self.tx_id).timeout(TIMEOUT);
        let outcome = draft.action(first).action(second).send().await?;
        self.stage.book.answered(self.tx_id, outcome.decision());
        if exchange != Exchange::Wandering {
            self.judge(&outcome);
        }
        Ok(())
    }

    fn actions(&self, exchange: Exchange) -> [Action; 2] {
        let [one, other] = [self.pair[0].name, self.pair[1].name];
        match exchange {
            Exchange::Compensate => [
                action("first", one, v1::Mode::Compensate, PAYLOAD),
                action("second", other, v1::Mode::Compensate, PAYLOAD).after(["first"]),
            ],
            Exchange::Rejected(mode) => [
                action("first", one, mode, PAYLOAD),
                action("second", other, mode, REJECT),
            ],
            Exchange::Deliver => [
                action("first", one, v1::Mode::Tcc, PAYLOAD),
                action("second", other, v1::Mode::Deliver, PAYLOAD),
            ],
            Exchange::Wandering => [
                action("first", one, v1::Mode::Tcc, PAYLOAD),
                action("second", WANDERER, v1::Mode::Tcc, PAYLOAD),
            ],
            Exchange::Tcc | Exchange::Led(_) | Exchange::Left(_) => [
                action("first", one, v1::Mode::Tcc, PAYLOAD),
                action("second", other, v1::Mode::Tcc, PAYLOAD),
            ],
        }
    }

    /// Begins with one action, adds the other, calls both Tries, and decides.
    async fn led(&self, decision: Decision) -> Result<(), Error> {
        let [first, second] = self.actions(Exchange::Led(decision));
        let draft = self.client.begin("soak-led", self.tx_id.to_string());
        let draft = draft.tx_id(self.tx_id).timeout(TIMEOUT).action(first);
        let mut live = draft.send().await?;
        self.stage.book.begun(self.tx_id);
        live.add_action(second).await?;
        let decision = self.tries(&live, decision);
        live.leave();
        let wait = Wait::Decided;
        let decided = self.client.decide(self.tx_id, decision, "as meant", wait);
        match decided.await {
            Ok(outcome) => {
                self.stage.book.answered(self.tx_id, outcome.decision());
                self.judge(&outcome);
            }
            Err(Error::DecisionConflict { stands, .. }) => {
                self.stage.book.answered(self.tx_id, Some(stands));
                self.late("its deadline decided against the initiator");
            }
            Err(other) => return Err(other),
        }
        Ok(())
    }

    /// Begins, calls both Tries, and leaves the decision to the check-back.
    async fn left(&self, decision: Decision) -> Result<(), Error> {
        let [first, second] = self.actions(Exchange::Left(decision));
        let draft = self.client.begin("soak-left", self.tx_id.to_string());
        let draft = draft.tx_id(self.tx_id).timeout(LEFT_TIMEOUT);
        let draft = draft.check_back(CheckBack::ask(INITIATOR));
        let begun = draft.action(first).action(second).send().await;
        // From here on a check-back gets an answer.
        let truth = match &begun {
            Ok(live) => self.tries(live, decision),
            Err(_) => Decision::Failure,
        };
        self.stage.book.must_be(self.tx_id, truth);
        begun?.leave();
        self.stage.book.begun(self.tx_id);
        Ok(())
    }

    /// Calls the Tries as the initiator does, and returns the decision that is left: FAILURE unless both are done. Of a
    /// transaction that is late a Try may be fenced, or has no time left.
    fn tries(&self, live: &LiveTransaction, decision: Decision) -> Decision {
        for (name, ledger) in ["first", "second"].into_iter().zip(&self.pair) {
            let time_left = i64::try_from(live.time_left().as_millis()).unwrap_or(i64::MAX);
            let answer = try_led(ledger, self.tx_id, name, time_left);
            if answer != CallAnswer::done() {
                self.late(&format!("a Try by the initiator: {answer:?}"));
                return Decision::Failure;
            }
        }
        decision
    }

    /// Checks that the outcome is what the exchange must have; only an outage may make it late.
    fn judge(&self, outcome: &Outcome) {
        match outcome {
            Outcome::RolledBack { cause, .. } if cause.kind == CauseKind::Deadline => {
                self.late(&cause.to_string());
            }
            Outcome::Parked { failed, .. } => {
                let words = format!("{}: parked, {failed:?}", self.tx_id);
                self.stage.book.strange(words);
            }
            Outcome::Running { .. } => {
                let words = format!("{}: answered without a decision", self.tx_id);
                self.stage.book.strange(words);
            }
            _ => {}
        }
    }

    fn late(&self, why: &str) {
        if !self.stage.outages.touch(self.due, Instant::now()) {
            let words = format!("{}: late without an outage: {why}", self.tx_id);
            self.stage.book.strange(words);
        }
    }
}

/// Returns the decision that an exchange must have, if the initiator knows it before it begins: a deadline may make a
/// success a failure.
fn must_be(exchange: Exchange) -> Option<Decision> {
    match exchange {
        Exchange::Rejected(_) | Exchange::Led(Decision::Failure) => Some(Decision::Failure),
        _ => None,
    }
}

/// Makes an action with the handler of its mode.
pub(crate) fn action(name: &str, participant: &str, mode: v1::Mode, payload: &[u8]) -> Action {
    let action = match mode {
        v1::Mode::Compensate => Action::compensate(name, participant),
        v1::Mode::Deliver => Action::deliver(name, participant),
        v1::Mode::Tcc | v1::Mode::Unspecified => Action::tcc(name, participant),
    };
    let payload = Raw(bytes::Bytes::copy_from_slice(payload));
    action.handler(handler(mode)).payload(&payload)
}

/// Makes a Try as an initiator calls it, at once.
pub(crate) fn try_led(ledger: &Ledger, tx_id: Uuid, name: &str, time_left_ms: i64) -> CallAnswer {
    ledger.carry_out(&v1::Call {
        tx_id: tx_id.to_string(),
        action: name.to_owned(),
        operation: v1::Operation::Try.into(),
        mode: v1::Mode::Tcc.into(),
        payload: PAYLOAD.into(),
        time_left_ms: Some(time_left_ms),
        ..v1::Call::default()
    })
}
