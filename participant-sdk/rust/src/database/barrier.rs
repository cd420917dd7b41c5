//! The barrier on a database: opens the local transaction, applies the pure decision, runs the
//! participant's code inside, and commits the row together with the effect.

use std::{
    error::Error,
    ops::ControlFlow,
    panic::AssertUnwindSafe,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use futures::{FutureExt, future::BoxFuture};
use sqlx::Pool;
use tercet_barrier::{
    Arrival, CallAnswer, DEFAULT_RETENTION, Operation, Row, RowState, Stored, Verdict, after_run,
    decide,
};
use tercet_failpoint::reach;
use tokio::sync::{Mutex, MutexGuard};

use super::{
    Connection, Database,
    local::{ENDED, Lease, Local},
    retention::{self, MIN_RETENTION},
    rows::{self, Key},
};
use crate::{
    context::CallContext,
    error::{ActionError, chain},
};

/// Attempts at the local transaction of one call, when the database reports an error after which a
/// repetition may succeed: a deadlock, a serialization failure, a busy database.
pub const MAX_LOCAL_ATTEMPTS: u32 = 8;
/// The longest wait before the second attempt; it doubles with each one.
const FIRST_PAUSE_MS: u64 = 4;
/// The length of the longest result of a Try, in bytes.
pub(crate) const MAX_RESULT_BYTES: usize = 64 * 1024;

/// The code of one action, independent of its types.
pub(crate) trait Code<D: Database>: Send + Sync {
    /// Returns true if the action has an effect outside the database.
    fn external(&self) -> bool;

    /// Carries out the call; `tried` is the result of the action's own Try.
    fn run<'a>(
        &'a self,
        connection: &'a mut Connection<D>,
        call: &'a Arc<CallContext>,
        tried: Option<Bytes>,
    ) -> BoxFuture<'a, Result<Vec<u8>, ActionError>>;
}

/// The barrier's table in the participant's own database.
#[derive(Debug)]
pub struct Barrier<D: Database> {
    pool: Pool<D>,
    retention: Duration,
    fenced: bool,
    /// Held by the local transaction whose turn it is, if the database has one writer at a time.
    turn: Option<Arc<Mutex<()>>>,
}

impl<D: Database> Clone for Barrier<D> {
    fn clone(&self) -> Self {
        Self {
            pool: self.pool.clone(),
            turn: self.turn.clone(),
            ..*self
        }
    }
}

/// A local transaction that ended without an answer.
enum Broken {
    /// A repetition may succeed.
    Transient(String),
    /// Anything else.
    Failed(String),
}

/// Creates the table `tercet_barrier` if it is absent.
pub async fn create_table<D: Database>(pool: &Pool<D>) -> Result<(), sqlx::Error> {
    let mut connection = pool.acquire().await?;
    let create = D::STATEMENTS.create_table;
    if D::execute(&mut connection, create, &[]).await.is_ok() {
        return Ok(());
    }
    // PostgreSQL refuses one of two sessions that create the table at the same time.
    D::execute(&mut connection, create, &[]).await.map(drop)
}

impl<D: Database> Barrier<D> {
    /// Makes a barrier in the database behind `pool`, whose table must exist: see
    /// [`create_table`](Self::create_table).
    pub fn new(pool: Pool<D>) -> Self {
        Self {
            pool,
            retention: DEFAULT_RETENTION,
            fenced: true,
            turn: D::ONE_WRITER.then(Arc::default),
        }
    }

    /// Sets the time for which final rows are kept; default 30 days, at least [`MIN_RETENTION`], to
    /// which a shorter time is raised. [`purge`](Self::purge) keeps to it, and an operation or a
    /// [`check_back`](Self::check_back) that finds no row for a transaction older than this is UNKNOWN.
    #[must_use]
    pub fn retention(self, retention: Duration) -> Self {
        Self {
            retention: retention.max(MIN_RETENTION),
            ..self
        }
    }

    pub(crate) fn without_fence(self) -> Self {
        Self {
            fenced: false,
            ..self
        }
    }

    /// Creates the table `tercet_barrier` if it is absent.
    pub async fn create_table(&self) -> Result<(), sqlx::Error> {
        create_table(&self.pool).await
    }

    /// Returns the pool of the database.
    pub(crate) fn pool(&self) -> &Pool<D> {
        &self.pool
    }

    /// Returns the time for which final rows are kept.
    pub(super) fn kept_for(&self) -> Duration {
        self.retention
    }

    /// Waits for the turn to write, if the database has one writer at a time.
    pub(crate) async fn turn(&self) -> Option<MutexGuard<'_, ()>> {
        match &self.turn {
            Some(turn) => Some(turn.lock().await),
            None => None,
        }
    }

    /// Carries out one call; its row and its effect are committed together, or neither is.
    pub(crate) async fn carry_out(
        &self,
        call: &Arc<CallContext>,
        code: &dyn Code<D>,
    ) -> CallAnswer {
        for attempt in 1..=MAX_LOCAL_ATTEMPTS {
            match self.attempt(call, code).await {
                Ok(ControlFlow::Break(result)) => return result,
                Ok(ControlFlow::Continue(())) => {}
                Err(Broken::Failed(error)) => return CallAnswer::Unknown(error),
                Err(Broken::Transient(error)) => {
                    tracing::debug!(tx_id = %call.tx_id, action = call.action, attempt, error,
                        "the local transaction is tried again");
                    pause(attempt).await;
                }
            }
        }
        CallAnswer::Unknown(format!(
            "the local transaction did not succeed in {MAX_LOCAL_ATTEMPTS} attempts"
        ))
    }

    /// Runs one local transaction; `Continue` if it only announced the Try of an external action.
    async fn attempt(
        &self,
        call: &Arc<CallContext>,
        code: &dyn Code<D>,
    ) -> Result<ControlFlow<CallAnswer>, Broken> {
        let _turn = self.turn().await;
        let mut lease = Lease::take(&self.pool).await.map_err(broken::<D>)?;
        let ended = self.attempt_on(&mut lease, call, code).await;
        lease.settle();
        ended
    }

    async fn attempt_on(
        &self,
        lease: &mut Lease<D>,
        call: &Arc<CallContext>,
        code: &dyn Code<D>,
    ) -> Result<ControlFlow<CallAnswer>, Broken> {
        let mut local = lease.begin().await.map_err(broken::<D>)?;
        let judged = self.judge(local.connection(), call, code.external());
        let (verdict, found) = judged.await?;
        match verdict {
            Verdict::Answer(result) => {
                local.rollback().await.map_err(broken::<D>)?;
                Ok(ControlFlow::Break(result))
            }
            Verdict::Announce => {
                commit(local).await?;
                Ok(ControlFlow::Continue(()))
            }
            Verdict::Empty { .. } => {
                commit(local).await?;
                Ok(ControlFlow::Break(CallAnswer::done()))
            }
            Verdict::Run { then } => self
                .run(local, call, code, then, found.as_ref())
                .await
                .map(ControlFlow::Break),
        }
    }

    /// Returns the verdict and the row that was found. A row that the verdict leaves is already
    /// inserted: inserting comes first, so that of two operations that race one waits for the other.
    async fn judge(
        &self,
        local: &mut Connection<D>,
        call: &CallContext,
        external: bool,
    ) -> Result<(Verdict, Option<Row>), Broken> {
        let arrival = Arrival {
            mode: call.mode,
            operation: call.operation,
            external,
            expired: self.is_expired(call.tx_id),
        };
        if !self.fenced {
            return Ok((
                Verdict::Run {
                    then: RowState::Tried,
                },
                None,
            ));
        }
        if is_over(call) {
            let found = read::<D>(local, call).await?;
            let verdict = found.map(|row| decide(arrival, Some(&row)));
            return Ok((answer_or_over(verdict), None));
        }
        let absent = decide(arrival, None);
        let leaves = left_by(&absent);
        reach("barrier.insert.before");
        if let Some(state) = leaves
            && insert::<D>(local, call, state).await?
        {
            return Ok((
                unless_removed::<D>(local, call, arrival, absent).await?,
                None,
            ));
        }
        match read::<D>(local, call).await? {
            Some(row) => Ok((decide(arrival, Some(&row)), Some(row))),
            None if leaves.is_some() => Err(Broken::Transient(
                "the barrier's row was removed meanwhile".to_owned(),
            )),
            None => Ok((
                unless_removed::<D>(local, call, arrival, absent).await?,
                None,
            )),
        }
    }

    /// Runs the participant's code behind a savepoint and ends the local transaction. The row is
    /// RUNNING meanwhile: should the code commit it, no later call runs the code again.
    async fn run(
        &self,
        mut local: Local<'_, D>,
        call: &Arc<CallContext>,
        code: &dyn Code<D>,
        then: RowState,
        found: Option<&Row>,
    ) -> Result<CallAnswer, Broken> {
        let tried = (call.operation != Operation::Try)
            .then(|| found.map(|row| Bytes::from(row.result.clone())))
            .flatten();
        if let Some(row) = found {
            let running = running(row, call.operation);
            self.store(local.connection(), call, &running).await?;
        }
        local.open_for_code().await.map_err(broken::<D>)?;
        let result = run_code::<D>(local.connection(), call, code, tried).await?;
        match after_run(call.operation, then, found, &result) {
            Stored::WithEffect(row) => {
                local.keep().await.map_err(ended::<D>)?;
                self.store(local.connection(), call, &row).await?;
                commit(local).await?;
            }
            Stored::WithoutEffect(row) => {
                local.undo().await.map_err(ended::<D>)?;
                self.store(local.connection(), call, &row).await?;
                commit(local).await?;
            }
            Stored::Nothing => local.rollback().await.map_err(broken::<D>)?,
        }
        Ok(result)
    }

    /// Changes the row to `row`.
    async fn store(
        &self,
        local: &mut Connection<D>,
        call: &CallContext,
        row: &Row,
    ) -> Result<(), Broken> {
        if !self.fenced {
            return Ok(());
        }
        let key = Key::of(call.tx_id, &call.action);
        let state = row.state.as_str();
        let changed = rows::update::<D>(local, &key, state, &row.result, &row.rejection)
            .await
            .map_err(broken::<D>)?;
        if changed == 1 {
            Ok(())
        } else {
            Err(Broken::Failed(format!(
                "the barrier's row was gone at the end: {changed} changed"
            )))
        }
    }
}

/// Runs the code; returns UNKNOWN for a panic, an error or a result that is too long.
async fn run_code<D: Database>(
    connection: &mut Connection<D>,
    call: &Arc<CallContext>,
    code: &dyn Code<D>,
    tried: Option<Bytes>,
) -> Result<CallAnswer, Broken> {
    let returned = AssertUnwindSafe(code.run(connection, call, tried))
        .catch_unwind()
        .await;
    match returned {
        Ok(Ok(result)) if result.len() > MAX_RESULT_BYTES => {
            Ok(CallAnswer::Unknown(crate::text::too_long(result.len())))
        }
        Ok(Ok(result)) => Ok(CallAnswer::Done(result)),
        Ok(Err(ActionError::Rejected(reason))) => {
            Ok(CallAnswer::Rejected(crate::text::cut(reason)))
        }
        Ok(Err(ActionError::Failed(error))) => match database_error(error.as_ref()) {
            Some(inner) if D::is_transient(inner) => Err(Broken::Transient(chain(error.as_ref()))),
            _ => Ok(CallAnswer::Unknown(chain(error.as_ref()))),
        },
        Err(panic) => Ok(crate::text::panicked(call, panic.as_ref())),
    }
}

/// Returns true if a Try can no longer count, because phase one has ended.
fn is_over(call: &CallContext) -> bool {
    call.operation == Operation::Try
        && call
            .deadline()
            .is_some_and(|deadline| Instant::now() >= deadline)
}

/// Returns the verdict about a Try whose time is over: the answer from its row, or UNKNOWN where the
/// code would run.
fn answer_or_over(verdict: Option<Verdict>) -> Verdict {
    match verdict {
        Some(Verdict::Answer(result)) => Verdict::Answer(result),
        _ => Verdict::Answer(CallAnswer::Unknown(
            "phase one is over: not tried".to_owned(),
        )),
    }
}

/// Returns the verdict about an absent row, which is UNKNOWN if the row may have been removed.
async fn unless_removed<D: Database>(
    local: &mut Connection<D>,
    call: &CallContext,
    arrival: Arrival,
    absent: Verdict,
) -> Result<Verdict, Broken> {
    let removed = retention::may_be_removed::<D>(local, call.tx_id).await;
    if removed.map_err(broken::<D>)? {
        let expired = true;
        Ok(decide(Arrival { expired, ..arrival }, None))
    } else {
        Ok(absent)
    }
}

/// Returns the state of the row that is inserted before the verdict is carried out.
fn left_by(verdict: &Verdict) -> Option<RowState> {
    match verdict {
        Verdict::Run { .. } => Some(RowState::Running),
        Verdict::Announce => Some(RowState::Trying),
        Verdict::Empty { leave } => Some(*leave),
        Verdict::Answer(_) => None,
    }
}

/// Returns the form of a row while the code of `operation` runs.
fn running(found: &Row, operation: Operation) -> Row {
    Row {
        state: RowState::Running,
        rejection: operation.as_str().to_owned(),
        ..found.clone()
    }
}

async fn insert<D: Database>(
    local: &mut Connection<D>,
    call: &CallContext,
    state: RowState,
) -> Result<bool, Broken> {
    let key = Key::of(call.tx_id, &call.action);
    let operation = match state {
        RowState::Running => call.operation.as_str(),
        _ => "",
    };
    let inserted = rows::insert::<D>(local, &key, state.as_str(), operation).await;
    inserted.map_err(broken::<D>)
}

async fn read<D: Database>(
    local: &mut Connection<D>,
    call: &CallContext,
) -> Result<Option<Row>, Broken> {
    let key = Key::of(call.tx_id, &call.action);
    let Some(stored) = rows::read::<D>(local, &key).await.map_err(broken::<D>)? else {
        return Ok(None);
    };
    let Some(state) = RowState::parse(&stored.state) else {
        return Err(Broken::Failed(format!(
            "the barrier's row of {} {:?} has the state {:?}, which no action has",
            call.tx_id, call.action, stored.state
        )));
    };
    Ok(Some(Row {
        state,
        result: stored.result,
        rejection: stored.rejection,
    }))
}

/// Commits. A crash before this loses the effect, a crash afterwards does not.
async fn commit<D: Database>(local: Local<'_, D>) -> Result<(), Broken> {
    reach("barrier.commit.before");
    local.commit().await.map_err(broken::<D>)?;
    reach("barrier.commit.after");
    Ok(())
}

#[allow(clippy::needless_pass_by_value, reason = "it is given to map_err")]
fn broken<D: Database>(error: sqlx::Error) -> Broken {
    let line = chain(&error);
    match error.as_database_error() {
        Some(inner) if D::is_transient(inner) => Broken::Transient(line),
        _ => Broken::Failed(line),
    }
}

/// Describes the error by which a local transaction turned out to have ended while the code ran.
#[allow(clippy::needless_pass_by_value, reason = "it is given to map_err")]
fn ended<D: Database>(error: sqlx::Error) -> Broken {
    match error.as_database_error() {
        Some(_) => Broken::Failed(format!("{ENDED}: {}", chain(&error))),
        None => broken::<D>(error),
    }
}

/// Finds the database's own error among the causes of an error.
fn database_error<'e>(
    error: &'e (dyn Error + 'static),
) -> Option<&'e (dyn sqlx::error::DatabaseError + 'static)> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(sqlx::Error::Database(inner)) = error.downcast_ref() {
            return Some(inner.as_ref());
        }
        next = error.source();
    }
    None
}

async fn pause(attempt: u32) {
    let longest = FIRST_PAUSE_MS << attempt.min(MAX_LOCAL_ATTEMPTS);
    tokio::time::sleep(Duration::from_millis(rand::random_range(0..=longest))).await;
}

/// Returns the milliseconds since 1970 by this machine's clock, which are only compared with days.
pub(super) fn now_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, millis)
}

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
