//! The Try of an initiator's own action: done by the initiator in its own database, behind the barrier
//! by which the action is confirmed or cancelled later.

use std::{collections::BTreeMap, marker::PhantomData, sync::Arc, time::Instant};

use bytes::Bytes;
use futures::future::BoxFuture;
use tercet_barrier::{CallAnswer, Mode, Operation};
use uuid::Uuid;

use super::{Action, Error, LiveTransaction, TransactionContext};
use crate::{
    context::{CallContext, name_problem},
    database::{Barrier, Code, Connection, Database},
    error::{ActionError, PayloadError},
    payload::Payload,
};

/// The reason for which an initiator's own Try did not take effect, or may not have.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OwnTryError {
    /// Definitely no effect, and none later: the change refused with [`ActionError::Rejected`], or a
    /// Cancel came first. Roll the transaction back.
    #[error("the own Try is rejected: {0}")]
    Rejected(String),
    /// The change failed, or the database did. Make the same call again, or roll the transaction back:
    /// its Cancel undoes what may be there.
    #[error("whether the own Try took effect is unknown: {0}")]
    Unknown(String),
    /// The stored result of an earlier run cannot be read. The Try took effect.
    #[error("the own Try took effect, and its result cannot be read")]
    Result(#[source] PayloadError),
    /// The call itself is invalid. Nothing was done.
    #[error(transparent)]
    Invalid(#[from] Error),
}

/// An action whose Try the initiator has already done, in a local transaction of its own that is
/// committed. Made only by [`commit`](Self::commit), which writes the barrier's row with the change.
///
/// It is for [`Draft::already_tried`](super::Draft::already_tried). An initiator that
/// [begins](super::Client::begin) its transactions calls [`LiveTransaction::try_own`] instead: there the
/// coordinator knows the action before its Try is done, so that a crash in between leaves nothing behind.
#[derive(Debug, Clone)]
pub struct AlreadyTried {
    tx_id: Uuid,
    action: Action,
}

impl AlreadyTried {
    /// Does the Try of the initiator's own action: runs `change` in a local transaction of `barrier`'s
    /// database and commits it with the row `(tx_id, action)` as TRIED. The participant that the action
    /// names confirms or cancels it behind the same table.
    ///
    /// Returns the change's result, and the action for the transaction `tx_id`, a new `UUIDv7` that is
    /// kept with the change. As in the code of an action, `change` may run more than once after a
    /// deadlock, and takes effect once: repeated with the same id and name, the call returns the first
    /// result and does not run `change`.
    ///
    /// Until the Execute with this id is answered, nothing else knows of the Try: after a crash send it
    /// again, with the id that was kept.
    pub async fn commit<D: Database, R: Payload>(
        barrier: &Barrier<D>,
        tx_id: Uuid,
        action: Action,
        change: impl for<'c> Fn(&'c mut Connection<D>) -> BoxFuture<'c, Result<R, ActionError>>
        + Send
        + Sync,
    ) -> Result<(R, Self), OwnTryError> {
        if tx_id.get_version_num() != 7 {
            return Err(Error::invalid("tx_id", "is not a UUIDv7: use Uuid::now_v7()").into());
        }
        let (name, mode) = (action.name().to_owned(), action.mode());
        let properties = action.properties().clone();
        let context = TransactionContext {
            tx_id,
            action: name,
            operation: Operation::Try,
            mode,
            business_type: String::new(),
            business_id: String::new(),
            time_left: None,
            attempt: 1,
            properties,
        };
        let result = try_own(barrier, context, change).await?;
        let action = action.tried();
        Ok((result, Self { tx_id, action }))
    }

    pub(super) fn into_parts(self) -> (Uuid, Action) {
        (self.tx_id, self.action)
    }
}

impl LiveTransaction {
    /// Does the Try of the initiator's own action: runs `change` in a local transaction of `barrier`'s
    /// database and commits it with the row `(tx_id, action)` as TRIED. The participant that the action
    /// names, usually the initiator itself, confirms or cancels it behind the same table; its own code
    /// for the Try is not called.
    ///
    /// The transaction was begun with the action, or it was [added](Self::add_action): from then on a
    /// crash leaves nothing behind, because the action is cancelled at the deadline. A Cancel that comes
    /// before the Try refuses it.
    ///
    /// As in the code of an action, `change` may run more than once after a deadlock, and takes effect
    /// once: a repetition, also by a later run of the same id, returns the first result.
    ///
    /// ```no_run
    /// # use tercet_sdk::{Barrier, Sqlite, initiator::*};
    /// # async fn order(client: Client, orders: Barrier<Sqlite>) -> Result<(), Box<dyn std::error::Error>> {
    /// let draft = client.begin("order", "order-7").action(Action::tcc("order", "orders"));
    /// let mut tx = draft.send().await?;
    /// tx.try_own(&orders, "order", |local| {
    ///     let insert = sqlx::query("INSERT INTO orders VALUES ('order-7', 'pending')");
    ///     Box::pin(async move { Ok(insert.execute(local).await.map(drop)?) })
    /// })
    /// .await?;
    /// // … the Tries of the other actions …
    /// tx.commit().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn try_own<D: Database, R: Payload>(
        &self,
        barrier: &Barrier<D>,
        action: &str,
        change: impl for<'c> Fn(&'c mut Connection<D>) -> BoxFuture<'c, Result<R, ActionError>>
        + Send
        + Sync,
    ) -> Result<R, OwnTryError> {
        try_own(barrier, self.context(action)?, change).await
    }
}

async fn try_own<D: Database, R: Payload>(
    barrier: &Barrier<D>,
    context: TransactionContext,
    change: impl for<'c> Fn(&'c mut Connection<D>) -> BoxFuture<'c, Result<R, ActionError>>
    + Send
    + Sync,
) -> Result<R, OwnTryError> {
    if context.mode == Mode::Deliver {
        let problem = "an action in mode DELIVER has no Try";
        return Err(Error::invalid("mode", problem).into());
    }
    if let Some(problem) = name_problem(&context.action) {
        return Err(Error::invalid("action", problem).into());
    }
    let call = CallContext {
        tx_id: context.tx_id,
        handler: context.action.clone(),
        action: context.action,
        operation: Operation::Try,
        mode: context.mode,
        participant: String::new(),
        business_type: context.business_type,
        business_id: context.business_id,
        payload: Bytes::new(),
        results: BTreeMap::new(),
        ext: context.properties,
        time_left: context.time_left,
        attempt: context.attempt,
        received: Instant::now(),
    };
    let result = PhantomData;
    let change = OwnTry { change, result };
    match barrier.carry_out(&Arc::new(call), &change).await {
        CallAnswer::Done(result) => R::decode(&result.into()).map_err(OwnTryError::Result),
        CallAnswer::Rejected(reason) => Err(OwnTryError::Rejected(reason)),
        CallAnswer::Unknown(error) => Err(OwnTryError::Unknown(error)),
    }
}

/// The change as the code of an action.
struct OwnTry<F, R> {
    change: F,
    result: PhantomData<fn() -> R>,
}

impl<D, R, F> Code<D> for OwnTry<F, R>
where
    D: Database,
    R: Payload,
    F: for<'c> Fn(&'c mut Connection<D>) -> BoxFuture<'c, Result<R, ActionError>> + Send + Sync,
{
    fn external(&self) -> bool {
        false
    }

    fn run<'a>(
        &'a self,
        connection: &'a mut Connection<D>,
        _call: &'a Arc<CallContext>,
        _tried: Option<Bytes>,
    ) -> BoxFuture<'a, Result<Vec<u8>, ActionError>> {
        Box::pin(async move { Ok((self.change)(connection).await?.encode()?) })
    }
}
