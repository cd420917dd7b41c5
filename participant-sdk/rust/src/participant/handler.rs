//! Handlers: an action of any mode and type, behind one interface that carries out a call.

use std::{future::Future, sync::Arc};

use bytes::Bytes;
use futures::future::BoxFuture;
use tercet_barrier::{CallAnswer, Mode, Operation};
use tercet_proto::v1;

use super::action::{CompensateAction, DeliverAction, TccAction};
use crate::{
    context::{Call, CallContext},
    database::{Barrier, Code, Connection, Database},
    error::{ActionError, PayloadError},
    payload::Payload,
};

/// The handler behind a name.
pub(crate) struct Handler {
    pub(crate) mode: Mode,
    pub(crate) kind: Kind,
}

/// The two kinds of handlers.
pub(crate) enum Kind {
    /// Typed code behind the barrier, which runs as a task of its own.
    Fenced(Box<dyn CarryOut>),
    /// A closure that gets the call itself, and runs within the stream's task.
    Raw(Box<dyn Fn(v1::Call) -> BoxFuture<'static, CallAnswer> + Send + Sync>),
}

impl Handler {
    pub(crate) fn fenced<D: Database>(
        mode: Mode,
        barrier: Barrier<D>,
        code: impl Code<D> + 'static,
    ) -> Self {
        Self {
            mode,
            kind: Kind::Fenced(Box::new(Fenced { barrier, code })),
        }
    }

    pub(crate) fn raw<F, R>(mode: Mode, handler: F) -> Self
    where
        F: Fn(v1::Call) -> R + Send + Sync + 'static,
        R: Future<Output = CallAnswer> + Send + 'static,
    {
        Self {
            mode,
            kind: Kind::Raw(Box::new(move |call| Box::pin(handler(call)))),
        }
    }
}

/// Carries out calls; hides the type of the database.
pub(crate) trait CarryOut: Send + Sync {
    fn carry_out<'a>(&'a self, call: &'a Arc<CallContext>) -> BoxFuture<'a, CallAnswer>;
}

struct Fenced<D: Database, C> {
    barrier: Barrier<D>,
    code: C,
}

impl<D: Database, C: Code<D>> CarryOut for Fenced<D, C> {
    fn carry_out<'a>(&'a self, call: &'a Arc<CallContext>) -> BoxFuture<'a, CallAnswer> {
        Box::pin(self.barrier.carry_out(call, &self.code))
    }
}

/// Reads the request and joins it with the rest of the call.
fn read<T: Payload>(
    call: &Arc<CallContext>,
    tried: Option<Bytes>,
) -> Result<Call<T>, PayloadError> {
    Ok(Call::new(
        T::decode(&call.payload)?,
        Arc::clone(call),
        tried,
    ))
}

fn no_such(call: &CallContext, mode: &str) -> Result<Vec<u8>, ActionError> {
    Err(ActionError::failed(format!(
        "an action in mode {mode} has no {:?}",
        call.operation
    )))
}

pub(crate) struct Tcc<A>(pub(crate) A);

impl<D: Database, A: TccAction<D>> Code<D> for Tcc<A> {
    fn external(&self) -> bool {
        self.0.external()
    }

    fn run<'a>(
        &'a self,
        tx: &'a mut Connection<D>,
        call: &'a Arc<CallContext>,
        tried: Option<Bytes>,
    ) -> BoxFuture<'a, Result<Vec<u8>, ActionError>> {
        Box::pin(async move {
            let call = read(call, tried)?;
            match call.operation {
                Operation::Try => Ok(self.0.try_(tx, &call).await?.encode()?),
                Operation::Confirm => self.0.confirm(tx, &call).await.map(|()| Vec::new()),
                Operation::Cancel => self.0.cancel(tx, &call).await.map(|()| Vec::new()),
            }
        })
    }
}

pub(crate) struct Compensate<A>(pub(crate) A);

impl<D: Database, A: CompensateAction<D>> Code<D> for Compensate<A> {
    fn external(&self) -> bool {
        self.0.external()
    }

    fn run<'a>(
        &'a self,
        tx: &'a mut Connection<D>,
        call: &'a Arc<CallContext>,
        tried: Option<Bytes>,
    ) -> BoxFuture<'a, Result<Vec<u8>, ActionError>> {
        Box::pin(async move {
            let call = read(call, tried)?;
            match call.operation {
                Operation::Try => Ok(self.0.act(tx, &call).await?.encode()?),
                Operation::Confirm => no_such(&call, "COMPENSATE"),
                Operation::Cancel => self.0.compensate(tx, &call).await.map(|()| Vec::new()),
            }
        })
    }
}

pub(crate) struct Deliver<A>(pub(crate) A);

impl<D: Database, A: DeliverAction<D>> Code<D> for Deliver<A> {
    fn external(&self) -> bool {
        false
    }

    fn run<'a>(
        &'a self,
        tx: &'a mut Connection<D>,
        call: &'a Arc<CallContext>,
        tried: Option<Bytes>,
    ) -> BoxFuture<'a, Result<Vec<u8>, ActionError>> {
        Box::pin(async move {
            let call = read(call, tried)?;
            match call.operation {
                Operation::Confirm => self.0.deliver(tx, &call).await.map(|()| Vec::new()),
                Operation::Try | Operation::Cancel => no_such(&call, "DELIVER"),
            }
        })
    }
}
