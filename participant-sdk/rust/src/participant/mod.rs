//! The participant: its handlers, and the way of a call, independent of the transport.

mod action;
mod attach;
mod builder;
mod closures;
mod handler;
mod interceptor;
mod serve;

use std::{
    any::Any, collections::BTreeMap, fmt, panic::AssertUnwindSafe, sync::Arc, time::Duration,
};

use futures::{FutureExt, future::BoxFuture};
use tercet_barrier::{CallAnswer, Mode, initiator::Truth};
use tercet_proto::v1;

pub use action::{CompensateAction, DeliverAction, TccAction};
pub use attach::{AttachError, AttachOptions, DEFAULT_DRAIN_TIMEOUT, MAX_ADDRESSES};
pub use builder::{
    DEFAULT_CONCURRENCY, MAX_CONCURRENCY, MAX_HANDLERS, NoDatabase, ParticipantBuilder,
};
pub use closures::Step;
pub use interceptor::{CallInterceptor, Next};
pub use serve::ServeError;

use handler::{CarryOut, Handler, Kind};

use crate::{
    context::{CallContext, time_left},
    database::MAX_RESULT_BYTES,
    text::{cut, panic_words, too_long},
};

/// Answers a check-back.
type CheckBackHandler =
    Box<dyn Fn(v1::CheckBackCall) -> BoxFuture<'static, Result<Truth, String>> + Send + Sync>;

/// A service that implements actions. Cheap to clone; serves any number of streams and connections.
#[derive(Clone)]
pub struct Participant(Arc<Inner>);

struct Inner {
    name: String,
    handlers: BTreeMap<String, Handler>,
    check_back: Option<CheckBackHandler>,
    concurrency: u32,
    interceptor: Option<Arc<dyn CallInterceptor>>,
}

impl fmt::Debug for Participant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Participant")
            .field("name", &self.0.name)
            .field("handlers", &self.0.handlers.keys().collect::<Vec<_>>())
            .field("concurrency", &self.0.concurrency)
            .finish_non_exhaustive()
    }
}

impl Participant {
    /// Starts to build a participant; its name has 1 to 128 bytes and no NUL.
    pub fn builder(name: impl Into<String>) -> ParticipantBuilder<NoDatabase> {
        ParticipantBuilder::new(name.into())
    }

    /// Returns the participant's name.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Carries out one call. Never fails: a call that cannot be carried out is UNKNOWN, with the
    /// error.
    pub async fn call(&self, call: v1::Call) -> v1::Result {
        let mut result = v1::Result {
            epoch: call.epoch,
            call_id: call.call_id,
            tx_id: call.tx_id.clone(),
            action: call.action.clone(),
            operation: call.operation,
            outcome: None,
        };
        let operation = call.operation();
        result.outcome = Some(wire(operation, self.intercepted(call).await));
        result
    }

    /// Answers one check-back; one that cannot be answered is UNKNOWN, with the error.
    pub async fn answer_check_back(&self, call: v1::CheckBackCall) -> v1::CheckBackResult {
        let mut result = v1::CheckBackResult {
            epoch: call.epoch,
            call_id: call.call_id,
            tx_id: call.tx_id.clone(),
            outcome: v1::Outcome::Unspecified.into(),
            error: String::new(),
        };
        match self.truth(call).await {
            Ok(Truth::Success) => result.set_outcome(v1::Outcome::Success),
            Ok(Truth::Failure) => result.set_outcome(v1::Outcome::Failure),
            Err(error) => {
                tracing::warn!(tx_id = result.tx_id, error, "a check-back is unanswered");
                result.error = cut(error);
            }
        }
        result
    }

    async fn truth(&self, call: v1::CheckBackCall) -> Result<Truth, String> {
        let Some(answer) = &self.0.check_back else {
            return Err(format!(
                "participant {:?} answers no check-backs",
                self.0.name
            ));
        };
        let left = time_left(call.time_left_ms).unwrap_or(CHECK_BACK_TIME);
        let answering = AssertUnwindSafe(answer(call)).catch_unwind();
        match tokio::time::timeout(left, answering).await {
            Ok(Ok(truth)) => truth,
            Ok(Err(panic)) => {
                let words = panic_words(panic.as_ref());
                Err(format!("the check-back panicked: {words}"))
            }
            Err(_) => Err(format!("the check-back was not answered within {left:?}")),
        }
    }

    /// Returns the handlers as they are announced to the coordinator.
    fn handlers(&self) -> Vec<v1::Handler> {
        let handler = |(name, handler): (&String, &Handler)| v1::Handler {
            name: name.clone(),
            mode: wire_mode(handler.mode).into(),
        };
        self.0.handlers.iter().map(handler).collect()
    }

    /// Returns true if a call runs to its end without waiting for a database, so that a task of its
    /// own would gain nothing.
    fn is_light(&self, call: &v1::Call) -> bool {
        self.0.interceptor.is_none()
            && !matches!(
                self.0.handlers.get(&call.handler),
                Some(Handler {
                    kind: Kind::Fenced(_),
                    ..
                })
            )
    }

    async fn intercepted(&self, call: v1::Call) -> CallAnswer {
        match &self.0.interceptor {
            None => self.carry_out(call).await,
            Some(interceptor) => {
                let next = Next(Box::pin(self.carry_out(call.clone())));
                AssertUnwindSafe(interceptor.around(&call, next))
                    .catch_unwind()
                    .await
                    .unwrap_or_else(|panic| panicked("the interceptor", panic.as_ref()))
            }
        }
    }

    async fn carry_out(&self, call: v1::Call) -> CallAnswer {
        let (name, handler) = match self.find(&call) {
            Ok(found) => found,
            Err(error) => {
                tracing::warn!(
                    tx_id = call.tx_id,
                    action = call.action,
                    error,
                    "a call is refused"
                );
                return CallAnswer::Unknown(error);
            }
        };
        match &handler.kind {
            Kind::Raw(serve) => AssertUnwindSafe(async { serve(call).await })
                .catch_unwind()
                .await
                .unwrap_or_else(|panic| panicked(name, panic.as_ref())),
            Kind::Fenced(action) => match CallContext::read(call) {
                Ok(context) => fenced(action.as_ref(), &Arc::new(context)).await,
                Err(error) => CallAnswer::Unknown(error),
            },
        }
    }

    fn find(&self, call: &v1::Call) -> Result<(&str, &Handler), String> {
        if call.participant != self.0.name {
            return Err(format!(
                "participant: the call is for {:?}, this is {:?}",
                call.participant, self.0.name
            ));
        }
        let Some((name, handler)) = self.0.handlers.get_key_value(&call.handler) else {
            return Err(format!(
                "handler: participant {:?} has no handler {:?}",
                self.0.name, call.handler
            ));
        };
        if wire_mode(handler.mode) == call.mode() {
            Ok((name, handler))
        } else {
            Err(format!(
                "mode: handler {name:?} of participant {:?} is {}, the action was begun as {}",
                self.0.name,
                wire_mode(handler.mode).as_str_name(),
                call.mode().as_str_name()
            ))
        }
    }
}

/// The time for a check-back that carries no limit.
const CHECK_BACK_TIME: Duration = Duration::from_secs(10);
/// The least time for a call, so that a Try whose time is over can still be answered from the
/// barrier's row.
const LEAST_TIME: Duration = Duration::from_secs(1);

/// Carries out a call behind the barrier, for no longer than the coordinator waits for its answer. If
/// it has not committed by then, it is rolled back.
async fn fenced(action: &dyn CarryOut, call: &Arc<CallContext>) -> CallAnswer {
    let Some(left) = call.time_left else {
        return action.carry_out(call).await;
    };
    match tokio::time::timeout(left.max(LEAST_TIME), action.carry_out(call)).await {
        Ok(result) => result,
        Err(_) => CallAnswer::Unknown(format!(
            "not done within {left:?}, which was all that was left"
        )),
    }
}

fn panicked(whose: &str, panic: &(dyn Any + Send)) -> CallAnswer {
    let words = panic_words(panic);
    tracing::error!(handler = whose, panic = words, "a handler panicked");
    CallAnswer::Unknown(format!("{whose} panicked: {words}"))
}

fn wire(operation: v1::Operation, result: CallAnswer) -> v1::result::Outcome {
    match result {
        // Only a Try has a result, and a size to keep.
        CallAnswer::Done(_) if operation != v1::Operation::Try => {
            v1::result::Outcome::Done(v1::Done::default())
        }
        CallAnswer::Done(result) if result.len() > MAX_RESULT_BYTES => {
            let error = too_long(result.len());
            v1::result::Outcome::Unknown(v1::Unknown { error })
        }
        CallAnswer::Done(result) => v1::result::Outcome::Done(v1::Done {
            result: result.into(),
        }),
        CallAnswer::Rejected(reason) => v1::result::Outcome::Rejected(v1::Rejected {
            reason: cut(reason),
        }),
        CallAnswer::Unknown(error) => {
            v1::result::Outcome::Unknown(v1::Unknown { error: cut(error) })
        }
    }
}

fn wire_mode(mode: Mode) -> v1::Mode {
    match mode {
        Mode::Tcc => v1::Mode::Tcc,
        Mode::Compensate => v1::Mode::Compensate,
        Mode::Deliver => v1::Mode::Deliver,
    }
}
