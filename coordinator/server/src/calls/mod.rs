//! Calls to participants that do not attach: to `tercet.v1.Participant`, to any unary gRPC method, and by HTTP POST.
//! Each is a task; the engine bounds their number.
//!
//! | file | makes |
//! |---|---|
//! | `invoke`, `generic`, `http_post` | a call or a question by one protocol |
//! | `unary` | a unary gRPC call as bytes |
//! | `connections` | the connections of gRPC |

mod connections;
mod generic;
mod http_post;
mod invoke;
mod unary;

use std::{error::Error, future::Future, panic::AssertUnwindSafe, sync::Arc};

use futures::FutureExt as _;
use tercet_core::{
    model::{Operation, Outcome},
    port::{AskBack, Call, CallAnswer, CallResult, CheckBackResult, Input, Route},
};
use tokio::sync::mpsc;
use tracing::debug;

use self::connections::Connections;
use crate::{
    directory::{Directory, Participant, Protocol},
    driver::{CallBatch, Driver},
    wire::cut,
};

/// Makes calls to registered addresses. Cheap to clone.
#[derive(Clone)]
pub(crate) struct DirectCalls {
    directory: Arc<Directory>,
    driver: Driver,
    connections: Arc<Connections>,
    http: http_post::Client,
    epoch: u64,
}

impl DirectCalls {
    pub(crate) fn new(directory: Arc<Directory>, driver: Driver, epoch: u64) -> Self {
        Self {
            directory,
            driver,
            connections: Arc::new(Connections::new()),
            http: http_post::client(),
            epoch,
        }
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
        let answer = caught(self.call_answer(&call)).await;
        let answer = answer.unwrap_or_else(CallAnswer::Unknown);
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
            return CallAnswer::Unsent(format!("participant {name} is no longer known"));
        };
        match participant.protocol {
            Protocol::Attach => {
                CallAnswer::Unsent(format!("participant {name} attaches instead now"))
            }
            Protocol::Invoke => {
                invoke::call(&self.connections, &participant.address, call, self.epoch).await
            }
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
        let address = &participant.address;
        if participant.protocol == Protocol::Http {
            return http_post::call(&self.http, address, path, call, self.epoch).await;
        }
        generic::call(&self.connections, address, path, call, self.epoch).await
    }

    /// Asks an initiator back, and gives the result to the engine.
    async fn ask_back(self, ask: AskBack) {
        let answer = caught(self.check_back_answer(&ask)).await.flatten();
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
        let (address, path) = (&participant.address, participant.check_back.as_str());
        match participant.protocol {
            Protocol::Attach => Err(format!("participant {name} attaches instead now")),
            Protocol::Invoke => invoke::ask_back(&self.connections, address, ask, self.epoch).await,
            Protocol::Grpc | Protocol::Http if path.is_empty() => Err(format!(
                "no method registered for a check-back of participant {name}; register it with one"
            )),
            Protocol::Grpc => {
                generic::ask_back(&self.connections, address, path, ask, self.epoch).await
            }
            Protocol::Http => http_post::ask_back(&self.http, address, path, ask, self.epoch).await,
        }
    }
}

/// Returns an error in words, down to its cause.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let cause = error.to_string();
        if !text.contains(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
        source = error.source();
    }
    cut(&text)
}

/// Makes an answer; a panic on the way to it becomes an error, so that its call does not stay open.
async fn caught<T>(answer: impl Future<Output = T>) -> Result<T, String> {
    let answer = AssertUnwindSafe(answer).catch_unwind().await;
    answer.map_err(|_| "the coordinator failed to make the call; its log has the reason".to_owned())
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
