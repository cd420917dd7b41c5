//! Actions written as closures, each `|tx, call| Box::pin(async move { … })`.

use std::marker::PhantomData;

use futures::future::BoxFuture;

use super::{
    action::{CompensateAction, DeliverAction, TccAction},
    builder::ParticipantBuilder,
};
use crate::{
    context::Call,
    database::{Barrier, Connection, Database},
    error::ActionError,
    payload::Payload,
};

/// The code of one operation; takes the open local transaction and the call.
pub trait Step<D: Database, Q, R>:
    for<'a> Fn(&'a mut Connection<D>, &'a Call<Q>) -> BoxFuture<'a, Result<R, ActionError>>
    + Send
    + Sync
    + 'static
{
}

impl<D: Database, Q, R, F> Step<D, Q, R> for F where
    F: for<'a> Fn(&'a mut Connection<D>, &'a Call<Q>) -> BoxFuture<'a, Result<R, ActionError>>
        + Send
        + Sync
        + 'static
{
}

/// The closures of one action; `()` for an operation that the mode does not have.
struct Closures<Q, R, F, C, U> {
    first: F,
    confirm: C,
    undo: U,
    types: PhantomData<fn(Q) -> R>,
}

impl<D, Q, R, F, C, U> TccAction<D> for Closures<Q, R, F, C, U>
where
    D: Database,
    Q: Payload,
    R: Payload,
    F: Step<D, Q, R>,
    C: Step<D, Q, ()>,
    U: Step<D, Q, ()>,
{
    type Request = Q;
    type Response = R;

    async fn try_(&self, tx: &mut Connection<D>, call: &Call<Q>) -> Result<R, ActionError> {
        (self.first)(tx, call).await
    }

    async fn confirm(&self, tx: &mut Connection<D>, call: &Call<Q>) -> Result<(), ActionError> {
        (self.confirm)(tx, call).await
    }

    async fn cancel(&self, tx: &mut Connection<D>, call: &Call<Q>) -> Result<(), ActionError> {
        (self.undo)(tx, call).await
    }
}

impl<D, Q, R, F, U> CompensateAction<D> for Closures<Q, R, F, (), U>
where
    D: Database,
    Q: Payload,
    R: Payload,
    F: Step<D, Q, R>,
    U: Step<D, Q, ()>,
{
    type Request = Q;
    type Response = R;

    async fn act(&self, tx: &mut Connection<D>, call: &Call<Q>) -> Result<R, ActionError> {
        (self.first)(tx, call).await
    }

    async fn compensate(&self, tx: &mut Connection<D>, call: &Call<Q>) -> Result<(), ActionError> {
        (self.undo)(tx, call).await
    }
}

impl<D, Q, C> DeliverAction<D> for Closures<Q, (), (), C, ()>
where
    D: Database,
    Q: Payload,
    C: Step<D, Q, ()>,
{
    type Request = Q;

    async fn deliver(&self, tx: &mut Connection<D>, call: &Call<Q>) -> Result<(), ActionError> {
        (self.confirm)(tx, call).await
    }
}

/// Actions as closures. A closure names the request in its parameter `call`:
///
/// ```
/// # use tercet_sdk::{Call, Json, Participant};
/// # #[tokio::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let pool = sqlx::SqlitePool::connect("sqlite::memory:").await?;
/// let mail = Participant::builder("mail").database(pool).deliver_fn(
///     "welcome",
///     |tx, call: &Call<Json<String>>| Box::pin(async move {
///         let insert = sqlx::query("INSERT INTO outbox (address) VALUES ($1)");
///         insert.bind(&call.request.0).execute(tx).await?;
///         Ok(())
///     }),
/// );
/// # mail.build()?;
/// # Ok(())
/// # }
/// ```
impl<D: Database> ParticipantBuilder<Barrier<D>> {
    /// Adds an action in mode TCC, as closures: see [`TccAction`].
    #[must_use]
    pub fn tcc_fn<Q: Payload, R: Payload>(
        self,
        handler: impl Into<String>,
        try_: impl Step<D, Q, R>
        + for<'a> Fn(
            &'a mut Connection<D>,
            &'a Call<Q>,
        ) -> BoxFuture<'a, Result<R, ActionError>>,
        confirm: impl Step<D, Q, ()>
        + for<'a> Fn(
            &'a mut Connection<D>,
            &'a Call<Q>,
        ) -> BoxFuture<'a, Result<(), ActionError>>,
        cancel: impl Step<D, Q, ()>
        + for<'a> Fn(
            &'a mut Connection<D>,
            &'a Call<Q>,
        ) -> BoxFuture<'a, Result<(), ActionError>>,
    ) -> Self {
        self.tcc(
            handler,
            Closures {
                first: try_,
                confirm,
                undo: cancel,
                types: PhantomData,
            },
        )
    }

    /// Adds an action in mode COMPENSATE, as closures: see [`CompensateAction`].
    #[must_use]
    pub fn compensate_fn<Q: Payload, R: Payload>(
        self,
        handler: impl Into<String>,
        act: impl Step<D, Q, R>
        + for<'a> Fn(
            &'a mut Connection<D>,
            &'a Call<Q>,
        ) -> BoxFuture<'a, Result<R, ActionError>>,
        compensate: impl Step<D, Q, ()>
        + for<'a> Fn(
            &'a mut Connection<D>,
            &'a Call<Q>,
        ) -> BoxFuture<'a, Result<(), ActionError>>,
    ) -> Self {
        let types = PhantomData;
        self.compensate(
            handler,
            Closures {
                first: act,
                confirm: (),
                undo: compensate,
                types,
            },
        )
    }

    /// Adds an action in mode DELIVER, as a closure: see [`DeliverAction`].
    #[must_use]
    pub fn deliver_fn<Q: Payload>(
        self,
        handler: impl Into<String>,
        deliver: impl Step<D, Q, ()>
        + for<'a> Fn(
            &'a mut Connection<D>,
            &'a Call<Q>,
        ) -> BoxFuture<'a, Result<(), ActionError>>,
    ) -> Self {
        let types = PhantomData::<fn(Q) -> ()>;
        self.deliver(
            handler,
            Closures {
                first: (),
                confirm: deliver,
                undo: (),
                types,
            },
        )
    }
}
