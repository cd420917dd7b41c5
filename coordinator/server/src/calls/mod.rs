//! Calls to participants that do not attach: to `tercet.v1.Participant`, to any unary gRPC method, and by HTTP POST.
//! Each is a task; the engine bounds their number.
//!
//! | file | makes |
//! |---|---|
//! | `invoke`, `generic`, `http_post` | a call or a question by one protocol |
//! | `unary` | a unary gRPC call as bytes |
//! | `connections` | the connections of gRPC |
//! | `departure` | nothing: it withdraws calls that have not left |

mod connections;
mod departure;
mod generic;
mod http_post;
mod invoke;
mod unary;

use std::{error::Error, future::Future, panic::AssertUnwindSafe, sync::Arc};

use futures::FutureExt as _;
use tercet_core::{
    model::Operation,
    port::{AskBack, Call, CallAnswer, CallResult, CheckBackAnswer, CheckBackResult, Input, Route},
};
use tokio::sync::mpsc;
use tracing::debug;

use self::{
    connections::Connections,
    departure::{Departure, Departures},
};
use crate::{
    directory::{Directory, Participant, Protocol},
    driver::{CallBatch, Driver},
    pulse::Pulse,
    wire::cut,
};

/// Makes calls to registered addresses. Cheap to clone.
#[derive(Clone)]
pub(crate) struct DirectCalls {
    directory: Arc<Directory>,
    driver: Driver,
    connections: Arc<Connections>,
    http: http_post::Client,
    departures: Departures,
    epoch: u64,
}

impl DirectCalls {
    pub(crate) fn new(
        directory: Arc<Directory>,
        driver: Driver,
        pulse: Arc<Pulse>,
        epoch: u64,
    ) -> Self {
        Self {
            directory,
            driver,
            http: http_post::client(Arc::clone(&pulse)),
            connections: Arc::new(Connections::new(pulse)),
            departures: Departures::default(),
            epoch,
        }
    }

    /// Makes every call that comes, until the driver ends.
    pub(crate) async fn run(self, mut batches: mpsc::UnboundedReceiver<CallBatch>) {
        while let Some(batch) = batches.recv().await {
            for call in batch.calls {
                let departure = self.departures.add(call.id);
                tokio::spawn(self.clone().call(call, departure));
            }
            for ask in batch.questions {
                let departure = self.departures.add(ask.id);
                tokio::spawn(self.clone().ask_back(ask, departure));
            }
            for call in batch.withdrawn {
                self.departures.withdraw(call);
            }
        }
    }

    /// Makes a call, and gives its result to the engine.
    async fn call(self, call: Call, departure: Departure) {
        let answer = caught(self.call_answer(&call, &departure)).await;
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

    async fn call_answer(&self, call: &Call, departure: &Departure) -> CallAnswer {
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
                let address = &participant.address;
                invoke::call(&self.connections, address, call, departure, self.epoch).await
            }
            Protocol::Grpc | Protocol::Http => match method(participant, call) {
                Err(error) => CallAnswer::Unknown(error),
                Ok(path) => {
                    self.generic_answer(participant, path, call, departure)
                        .await
                }
            },
        }
    }

    async fn generic_answer(
        &self,
        participant: &Participant,
        path: &str,
        call: &Call,
        departure: &Departure,
    ) -> CallAnswer {
        let to = (participant.address.as_str(), path);
        if participant.protocol == Protocol::Http {
            return http_post::call(&self.http, to, call, departure, self.epoch).await;
        }
        generic::call(&self.connections, to, call, departure, self.epoch).await
    }

    /// Asks an initiator back, and gives the result to the engine.
    async fn ask_back(self, ask: AskBack, departure: Departure) {
        let answer = caught(self.check_back_answer(&ask, &departure)).await;
        let answer = answer.unwrap_or_else(CheckBackAnswer::Unknown);
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

    async fn check_back_answer(&self, ask: &AskBack, departure: &Departure) -> CheckBackAnswer {
        let name = &ask.participant;
        let known = self.directory.snapshot();
        let Some(participant) = known.get(name) else {
            return CheckBackAnswer::Unsent(format!("participant {name} is no longer known"));
        };
        let (address, path) = (
            participant.address.as_str(),
            participant.check_back.as_str(),
        );
        let to = (address, path);
        match participant.protocol {
            Protocol::Attach => {
                CheckBackAnswer::Unsent(format!("participant {name} attaches instead now"))
            }
            Protocol::Invoke => {
                invoke::ask_back(&self.connections, address, ask, departure, self.epoch).await
            }
            Protocol::Grpc | Protocol::Http if path.is_empty() => {
                CheckBackAnswer::Unknown(format!(
                    "no method registered for a check-back of participant {name}; register it with one"
                ))
            }
            Protocol::Grpc => {
                generic::ask_back(&self.connections, to, ask, departure, self.epoch).await
            }
            Protocol::Http => http_post::ask_back(&self.http, to, ask, departure, self.epoch).await,
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
