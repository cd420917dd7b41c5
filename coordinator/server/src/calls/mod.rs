//! Calls to participants that do not attach: to `tercet.v1.Participant`, to any unary gRPC method, and
//! by HTTP POST. How many are made at once is the engine's to bound; here each is a task.

mod channels;
mod context;
mod generic;
mod http_post;
mod invoke;
pub(crate) mod wire;

use std::{future::Future, sync::Arc, time::Duration};

use tercet_core::{
    engine::{Answer, AskBack, Call, CallOutcome, CheckBackAnswer, Input, Route},
    model::{Operation, Outcome},
};
use tokio::{sync::mpsc, time::timeout};
use tracing::debug;

use self::channels::Channels;
use crate::{
    directory::{Directory, Participant, Protocol},
    driver::{Driver, Message},
};

/// Makes the calls. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Caller {
    directory: Arc<Directory>,
    driver: Driver,
    channels: Arc<Channels>,
    http: reqwest::Client,
    epoch: u64,
}

impl Caller {
    pub(crate) fn new(
        directory: Arc<Directory>,
        driver: Driver,
        epoch: u64,
    ) -> Result<Self, reqwest::Error> {
        Ok(Self {
            directory,
            driver,
            channels: Arc::new(Channels::default()),
            http: http_post::client()?,
            epoch,
        })
    }

    /// Makes every call that comes, until the driver ends.
    pub(crate) async fn run(self, mut calls: mpsc::UnboundedReceiver<(Vec<Call>, Vec<AskBack>)>) {
        while let Some((calls, asks)) = calls.recv().await {
            for call in calls {
                let caller = self.clone();
                tokio::spawn(async move { caller.call(call).await });
            }
            for ask in asks {
                let caller = self.clone();
                tokio::spawn(async move { caller.ask(ask).await });
            }
        }
    }

    async fn call(self, call: Call) {
        let outcome = within(call.timeout, self.outcome(&call))
            .await
            .unwrap_or_else(CallOutcome::Unknown);
        debug!(tx_id = %call.tx, action = %call.action.name, operation = %call.operation, ?outcome, "answer");
        let answer = Answer {
            route: Route::Direct,
            epoch: self.epoch,
            call: call.id,
            tx: call.tx,
            action: Arc::clone(&call.action.name),
            operation: call.operation,
            outcome,
        };
        self.driver
            .send(Message::Inputs(vec![Input::Answered(answer)]))
            .await;
    }

    async fn outcome(&self, call: &Call) -> CallOutcome {
        let name = &call.action.participant;
        let known = self.directory.snapshot();
        let Some(participant) = known.get(name) else {
            return CallOutcome::Unknown(format!("participant {name} is not known any more"));
        };
        match participant.protocol {
            Protocol::Attach => CallOutcome::Unknown(format!("participant {name} attaches now")),
            Protocol::Invoke => match self.channels.get(&participant.address).await {
                Ok(channel) => invoke::call(channel, call, self.epoch).await,
                Err(error) => CallOutcome::Unknown(error),
            },
            Protocol::Grpc | Protocol::Http => match method(participant, call) {
                Err(error) => CallOutcome::Unknown(error),
                Ok(path) => self.raw(participant, path, call).await,
            },
        }
    }

    async fn raw(&self, participant: &Participant, path: &str, call: &Call) -> CallOutcome {
        if participant.protocol == Protocol::Http {
            return http_post::call(&self.http, &participant.address, path, call, self.epoch).await;
        }
        match self.channels.get(&participant.address).await {
            Ok(channel) => generic::call(channel, path, call, self.epoch).await,
            Err(error) => CallOutcome::Unknown(error),
        }
    }

    async fn ask(self, ask: AskBack) {
        let outcome = within(ask.timeout, self.asked_back(&ask))
            .await
            .unwrap_or_else(Err);
        debug!(tx_id = %ask.tx, participant = %ask.participant, ?outcome, "answer to a check-back");
        let answer = CheckBackAnswer {
            route: Route::Direct,
            epoch: self.epoch,
            call: ask.id,
            tx: ask.tx,
            outcome,
        };
        self.driver
            .send(Message::Inputs(vec![Input::AskedBack(answer)]))
            .await;
    }

    async fn asked_back(&self, ask: &AskBack) -> Result<Outcome, String> {
        let name = &ask.participant;
        let known = self.directory.snapshot();
        let Some(participant) = known.get(name) else {
            return Err(format!("participant {name} is not known any more"));
        };
        let path = participant.check_back.as_str();
        match participant.protocol {
            Protocol::Attach => Err(format!("participant {name} attaches now")),
            Protocol::Invoke => {
                let channel = self.channels.get(&participant.address).await?;
                invoke::ask(channel, ask, self.epoch).await
            }
            Protocol::Grpc | Protocol::Http if path.is_empty() => Err(format!(
                "no method registered for a check-back of participant {name}; register it with one"
            )),
            Protocol::Grpc => {
                let channel = self.channels.get(&participant.address).await?;
                generic::ask(channel, path, ask, self.epoch).await
            }
            Protocol::Http => {
                http_post::ask(&self.http, &participant.address, path, ask, self.epoch).await
            }
        }
    }
}

async fn within<T>(limit: Duration, answer: impl Future<Output = T>) -> Result<T, String> {
    timeout(limit, answer)
        .await
        .map_err(|_| format!("no answer came within {} ms", limit.as_millis()))
}

fn method<'a>(participant: &'a Participant, call: &Call) -> Result<&'a str, String> {
    let handler = &*call.action.handler;
    let path = participant
        .methods
        .get(handler)
        .map(|methods| match call.operation {
            Operation::Try => methods.tries.as_str(),
            Operation::Confirm => methods.confirm.as_str(),
            Operation::Cancel => methods.cancel.as_str(),
        });
    path.filter(|path| !path.is_empty()).ok_or_else(|| {
        format!(
            "no method registered for {} of handler {handler} of participant {}; register it",
            call.operation, participant.name
        )
    })
}

/// What an answer to a check-back says in its metadata or header `tercet-outcome`.
fn said(outcome: Option<&str>) -> Result<Outcome, String> {
    match outcome {
        Some("SUCCESS") => Ok(Outcome::Success),
        Some("FAILURE") => Ok(Outcome::Failure),
        Some("UNKNOWN") => Err("the initiator cannot say".to_owned()),
        Some(other) => Err(wire::cut(&format!(
            "{} is {other}; SUCCESS, FAILURE or UNKNOWN is accepted",
            context::OUTCOME
        ))),
        None => Err(format!("the answer carries no {}", context::OUTCOME)),
    }
}
