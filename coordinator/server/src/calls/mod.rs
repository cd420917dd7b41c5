//! Calls to participants that do not attach: to `tercet.v1.Participant`, to any unary gRPC method, and by HTTP POST.
//! Each is a task; the engine bounds their number.

mod channels;
mod generic;
mod http_post;
mod invoke;

use std::{future::Future, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures::FutureExt as _;
use tercet_core::{
    model::{Operation, Outcome},
    port::{AskBack, Call, CallAnswer, CallResult, CheckBackResult, Input, Route},
};
use tokio::{sync::mpsc, time::timeout};
use tracing::debug;

use self::channels::Channels;
use crate::{
    directory::{Directory, Participant, Protocol},
    driver::{CallBatch, Driver},
};

/// Makes calls to registered addresses. Cheap to clone.
#[derive(Clone)]
pub(crate) struct DirectCalls {
    directory: Arc<Directory>,
    driver: Driver,
    channels: Arc<Channels>,
    http: reqwest::Client,
    epoch: u64,
}

impl DirectCalls {
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
    pub(crate) async fn run(self, mut batches: mpsc::UnboundedReceiver<CallBatch>) {
        while let Some(CallBatch { calls, questions }) = batches.recv().await {
            for call in calls {
                tokio::spawn(self.clone().call(call));
            }
            for ask in questions {
                tokio::spawn(self.clone().ask_back(ask));
            }
        }
    }

    /// Makes a call, and gives its result to the engine.
    async fn call(self, call: Call) {
        let answer = within(call.timeout, self.call_answer(&call))
            .await
            .unwrap_or_else(CallAnswer::Unknown);
        debug!(tx_id = %call.tx, action = %call.action.name, operation = %call.operation, ?answer, "answer");
        let result = CallResult {
            route: Route::Direct,
            epoch: self.epoch,
            call: call.id,
            tx: call.tx,
            action: Arc::clone(&call.action.name),
            operation: call.operation,
            answer,
        };
        self.driver.inform(vec![Input::CallResult(result)]).await;
    }

    async fn call_answer(&self, call: &Call) -> CallAnswer {
        let name = &call.action.participant;
        let known = self.directory.snapshot();
        let Some(participant) = known.get(name) else {
            return CallAnswer::Unknown(format!("participant {name} is no longer known"));
        };
        match participant.protocol {
            Protocol::Attach => {
                CallAnswer::Unknown(format!("participant {name} attaches instead now"))
            }
            Protocol::Invoke => match self.channels.get(&participant.address).await {
                Ok(channel) => invoke::call(channel, call, self.epoch).await,
                Err(error) => CallAnswer::Unknown(error),
            },
            Protocol::Grpc | Protocol::Http => match method(participant, call) {
                Err(error) => CallAnswer::Unknown(error),
                Ok(path) => self.generic_answer(participant, path, call).await,
            },
        }
    }

    async fn generic_answer(
        &self,
        participant: &Participant,
        path: &str,
        call: &Call,
    ) -> CallAnswer {
        if participant.protocol == Protocol::Http {
            return http_post::call(&self.http, &participant.address, path, call, self.epoch).await;
        }
        match self.channels.get(&participant.address).await {
            Ok(channel) => generic::call(channel, path, call, self.epoch).await,
            Err(error) => CallAnswer::Unknown(error),
        }
    }

    /// Asks an initiator back, and gives the result to the engine.
    async fn ask_back(self, ask: AskBack) {
        let answer = within(ask.timeout, self.check_back_answer(&ask))
            .await
            .unwrap_or_else(Err);
        debug!(tx_id = %ask.tx, participant = %ask.participant, ?answer, "answer to a check-back");
        let result = CheckBackResult {
            route: Route::Direct,
            epoch: self.epoch,
            call: ask.id,
            tx: ask.tx,
            answer,
        };
        self.driver
            .inform(vec![Input::CheckBackResult(result)])
            .await;
    }

    async fn check_back_answer(&self, ask: &AskBack) -> Result<Outcome, String> {
        let name = &ask.participant;
        let known = self.directory.snapshot();
        let Some(participant) = known.get(name) else {
            return Err(format!("participant {name} is no longer known"));
        };
        let path = participant.check_back.as_str();
        match participant.protocol {
            Protocol::Attach => Err(format!("participant {name} attaches instead now")),
            Protocol::Invoke => {
                let channel = self.channels.get(&participant.address).await?;
                invoke::ask_back(channel, ask, self.epoch).await
            }
            Protocol::Grpc | Protocol::Http if path.is_empty() => Err(format!(
                "no method registered for a check-back of participant {name}; register it with one"
            )),
            Protocol::Grpc => {
                let channel = self.channels.get(&participant.address).await?;
                generic::ask_back(channel, path, ask, self.epoch).await
            }
            Protocol::Http => {
                http_post::ask_back(&self.http, &participant.address, path, ask, self.epoch).await
            }
        }
    }
}

async fn within<T>(limit: Duration, answer: impl Future<Output = T>) -> Result<T, String> {
    match timeout(limit, AssertUnwindSafe(answer).catch_unwind()).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(_)) => {
            Err("the coordinator failed to make the call; its log has the reason".to_owned())
        }
        Err(_) => Err(format!("no answer came within {} ms", limit.as_millis())),
    }
}

/// Returns the method or path of a call at the participant.
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
