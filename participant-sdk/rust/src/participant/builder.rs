//! The parts of a participant, validated together before it serves anything.

use std::{collections::BTreeMap, future::Future, sync::Arc};

use futures::future::BoxFuture;
use sqlx::Pool;
use tercet_barrier::{CallAnswer, Mode, initiator::Truth};
use tercet_proto::v1;

use super::{
    CheckBackHandler, Inner, Participant,
    action::{CompensateAction, DeliverAction, TccAction},
    handler::{Compensate, Deliver, Handler, Tcc},
    interceptor::CallInterceptor,
};
use crate::{
    context::{name_problem, read_tx_id},
    database::{Barrier, Database},
    error::{BuildError, chain},
};

/// The default number of calls served at once.
pub const DEFAULT_CONCURRENCY: u32 = 64;
/// The largest number of calls that may be served at once.
pub const MAX_CONCURRENCY: u32 = 100_000;
/// The largest number of handlers per participant.
pub const MAX_HANDLERS: usize = 256;

/// A participant without a database, which has only [`raw`](ParticipantBuilder::raw) handlers.
#[derive(Debug)]
pub struct NoDatabase(());

/// A handler that is complete once it gets the barrier that it stands behind.
type Pending<B> = Box<dyn FnOnce(&B) -> Handler>;

/// Builds a [`Participant`]. `B` is [`NoDatabase`] until [`database`](Self::database) or
/// [`barrier`](Self::barrier) is called.
pub struct ParticipantBuilder<B> {
    name: String,
    barrier: B,
    handlers: Vec<(String, Pending<B>)>,
    check_back: Option<CheckBackHandler>,
    concurrency: u32,
    interceptor: Option<Arc<dyn CallInterceptor>>,
}

impl ParticipantBuilder<NoDatabase> {
    pub(super) fn new(name: String) -> Self {
        Self {
            name,
            barrier: NoDatabase(()),
            handlers: Vec::new(),
            check_back: None,
            concurrency: DEFAULT_CONCURRENCY,
            interceptor: None,
        }
    }

    /// Sets the participant's own database, whose barrier every typed action stands behind. The table
    /// must exist: [`Barrier::create_table`].
    pub fn database<D: Database>(self, pool: Pool<D>) -> ParticipantBuilder<Barrier<D>> {
        self.barrier(Barrier::new(pool))
    }

    /// Like [`database`](Self::database), with a configured barrier.
    pub fn barrier<D: Database>(self, barrier: Barrier<D>) -> ParticipantBuilder<Barrier<D>> {
        let with_any_barrier = |pending: Pending<NoDatabase>| -> Pending<Barrier<D>> {
            Box::new(move |_| pending(&NoDatabase(())))
        };
        ParticipantBuilder {
            name: self.name,
            barrier,
            handlers: self
                .handlers
                .into_iter()
                .map(|(name, pending)| (name, with_any_barrier(pending)))
                .collect(),
            check_back: self.check_back,
            concurrency: self.concurrency,
            interceptor: self.interceptor,
        }
    }
}

impl<D: Database> ParticipantBuilder<Barrier<D>> {
    /// Adds an action in mode TCC.
    #[must_use]
    pub fn tcc<A: TccAction<D>>(self, handler: impl Into<String>, action: A) -> Self {
        self.handler(handler, |barrier: &Barrier<D>| {
            Handler::fenced(Mode::Tcc, barrier.clone(), Tcc(action))
        })
    }

    /// Adds an action in mode COMPENSATE.
    #[must_use]
    pub fn compensate<A: CompensateAction<D>>(self, handler: impl Into<String>, action: A) -> Self {
        self.handler(handler, |barrier: &Barrier<D>| {
            Handler::fenced(Mode::Compensate, barrier.clone(), Compensate(action))
        })
    }

    /// Adds an action in mode DELIVER.
    #[must_use]
    pub fn deliver<A: DeliverAction<D>>(self, handler: impl Into<String>, action: A) -> Self {
        self.handler(handler, |barrier: &Barrier<D>| {
            Handler::fenced(Mode::Deliver, barrier.clone(), Deliver(action))
        })
    }

    /// Runs every typed action without its barrier: repeated, late and misordered calls then take
    /// effect as often as they come, and the books do not balance. Exists only to demonstrate that.
    #[must_use]
    pub fn without_barrier_for_demonstration(mut self) -> Self {
        self.barrier = self.barrier.without_fence();
        self
    }
}

impl<B> ParticipantBuilder<B> {
    /// Adds a handler that gets the call itself, with neither database nor barrier: for load tests,
    /// and for systems with a fence of their own. **You must satisfy the barrier's table yourself**,
    /// see [`tercet_barrier`], and leave a Try whose `time_left_ms` is 0 undone. It runs within the
    /// task of its stream, so it must not block.
    #[must_use]
    pub fn raw<F, R>(self, handler: impl Into<String>, mode: Mode, serve: F) -> Self
    where
        F: Fn(v1::Call) -> R + Send + Sync + 'static,
        R: Future<Output = CallAnswer> + Send + 'static,
    {
        self.handler(handler, move |_: &B| Handler::raw(mode, serve))
    }

    /// Answers check-backs through the initiator's row in this barrier's table: see
    /// [`Barrier::check_back`]. It is the barrier through which the initiator commits, with the same
    /// retention.
    #[must_use]
    pub fn check_back<D: Database>(self, barrier: Barrier<D>) -> Self {
        self.check_back_with(move |call| {
            let barrier = barrier.clone();
            async move {
                let tx_id = read_tx_id(&call.tx_id)?;
                let answer = barrier.check_back(tx_id).await;
                answer.map_err(|error| chain(&error))
            }
        })
    }

    /// Answers check-backs through code of your own. Its answer must remain true for ever; an error is
    /// UNKNOWN, and the check-back is repeated.
    #[must_use]
    pub fn check_back_with<F, R>(mut self, answer: F) -> Self
    where
        F: Fn(v1::CheckBackCall) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Truth, String>> + Send + 'static,
    {
        self.check_back = Some(Box::new(move |call| -> BoxFuture<'static, _> {
            Box::pin(answer(call))
        }));
        self
    }

    /// Sets the number of calls served at once, on each stream and on the served port: 1 to
    /// [`MAX_CONCURRENCY`], by default [`DEFAULT_CONCURRENCY`]. Calls beyond the pool's connections
    /// wait.
    #[must_use]
    pub fn concurrency(mut self, calls: u32) -> Self {
        self.concurrency = calls;
        self
    }

    /// Sets the interceptor around every call.
    #[must_use]
    pub fn interceptor(mut self, interceptor: Arc<dyn CallInterceptor>) -> Self {
        self.interceptor = Some(interceptor);
        self
    }

    /// Builds the participant; the error names the setting that is wrong.
    pub fn build(self) -> Result<Participant, BuildError> {
        check_name("participant", &self.name)?;
        if !(1..=MAX_CONCURRENCY).contains(&self.concurrency) {
            let problem = format!(
                "is {}; 1 to {MAX_CONCURRENCY} are accepted",
                self.concurrency
            );
            return Err(BuildError {
                field: "concurrency".to_owned(),
                problem,
            });
        }
        if self.handlers.len() > MAX_HANDLERS {
            let problem = format!("are {}; at most {MAX_HANDLERS} fit", self.handlers.len());
            return Err(BuildError {
                field: "handlers".to_owned(),
                problem,
            });
        }
        let mut handlers = BTreeMap::new();
        for (name, pending) in self.handlers {
            let field = format!("handler {name:?}");
            check_name(&field, &name)?;
            if handlers.insert(name, pending(&self.barrier)).is_some() {
                let problem = "is there twice; a name has one handler".to_owned();
                return Err(BuildError { field, problem });
            }
        }
        Ok(Participant(Arc::new(Inner {
            name: self.name,
            handlers,
            check_back: self.check_back,
            concurrency: self.concurrency,
            interceptor: self.interceptor,
        })))
    }

    fn handler(
        mut self,
        name: impl Into<String>,
        pending: impl FnOnce(&B) -> Handler + 'static,
    ) -> Self {
        self.handlers.push((name.into(), Box::new(pending)));
        self
    }
}

fn check_name(field: &str, name: &str) -> Result<(), BuildError> {
    match name_problem(name) {
        None => Ok(()),
        Some(problem) => Err(BuildError {
            field: field.to_owned(),
            problem,
        }),
    }
}
