//! Sends every cell of the barrier's table to one action of a participant.
//!
//! ```
//! # use tercet_sdk::{*, proto::{Call, Result as CallResult}};
//! use tercet_testkit::{Conformance, Subject};
//!
//! struct Points { participant: Participant, pool: sqlx::SqlitePool }
//!
//! impl Subject for Points {
//!     type State = (i64, i64);
//!
//!     async fn reset(&self) {
//!         // Puts the business back to its beginning.
//!         # let reset = sqlx::query("UPDATE account SET available = 100, frozen = 0");
//!         # reset.execute(&self.pool).await.unwrap();
//!     }
//!
//!     async fn call(&self, call: Call) -> CallResult {
//!         self.participant.call(call).await
//!     }
//!
//!     async fn observe(&self) -> (i64, i64) {
//!         let account = sqlx::query_as("SELECT available, frozen FROM account");
//!         account.fetch_one(&self.pool).await.unwrap()
//!     }
//! }
//!
//! # async fn check(points: Points) {
//! Conformance::tcc("points", "freeze")
//!     .request(&Json(40))
//!     .rejected_request(&Json(1_000_000))
//!     .check(&points)
//!     .await
//!     .assert_passed();
//! # }
//! ```

use std::{
    fmt,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use bytes::Bytes;
use futures::future::join_all;
use tercet_sdk::{Mode, Payload, proto};
use uuid::Uuid;

use crate::cells::{Answer, Cell, Last, Stand, Step, cells};

/// Calls of one operation that race.
const RACERS: usize = 4;
/// How often each race is run.
const RACES: usize = 5;
/// How often an operation that is answered UNKNOWN is asked again, and the wait between.
const MAX_ASKS: usize = 50;
const ASK_AGAIN: Duration = Duration::from_millis(10);
/// What is left of phase one, as each call says.
const TIME_LEFT_MS: i64 = 30_000;

/// A participant under test, and how to see what its action did.
#[allow(async_fn_in_trait, reason = "a check runs within the test's own task")]
pub trait Subject {
    /// How the business stands, as far as the action changes it: balances, rows, messages sent.
    type State: PartialEq + fmt::Debug;

    /// Puts the business back to its beginning, before each cell. Barrier rows may stay: each cell has
    /// a transaction id of its own.
    async fn reset(&self);

    /// Has the participant carry out one call: [`Participant::call`](tercet_sdk::Participant::call),
    /// or the wire to a participant in another language.
    async fn call(&self, call: proto::Call) -> proto::Result;

    /// How the business stands now.
    async fn observe(&self) -> Self::State;
}

/// One action to be checked against the barrier's table.
#[derive(Debug, Clone)]
#[must_use = "nothing is checked before check()"]
pub struct Conformance {
    participant: String,
    handler: String,
    mode: Mode,
    request: Bytes,
    rejected: Option<Bytes>,
    problem: Option<String>,
}

impl Conformance {
    /// A handler in mode TCC.
    pub fn tcc(participant: impl Into<String>, handler: impl Into<String>) -> Self {
        Self::new(participant.into(), handler.into(), Mode::Tcc)
    }

    /// A handler in mode COMPENSATE.
    pub fn compensate(participant: impl Into<String>, handler: impl Into<String>) -> Self {
        Self::new(participant.into(), handler.into(), Mode::Compensate)
    }

    /// A handler in mode DELIVER.
    pub fn deliver(participant: impl Into<String>, handler: impl Into<String>) -> Self {
        Self::new(participant.into(), handler.into(), Mode::Deliver)
    }

    fn new(participant: String, handler: String, mode: Mode) -> Self {
        Self {
            participant,
            handler,
            mode,
            request: Bytes::new(),
            rejected: None,
            problem: None,
        }
    }

    /// A request that the action can carry out from the business's beginning, with a visible effect.
    pub fn request(mut self, request: &impl Payload) -> Self {
        match request.encode() {
            Ok(bytes) => self.request = bytes.into(),
            Err(error) => self.problem = Some(error.to_string()),
        }
        self
    }

    /// A request whose Try is rejected for a business reason. Without one the cells about rejections
    /// are left out.
    pub fn rejected_request(mut self, request: &impl Payload) -> Self {
        match request.encode() {
            Ok(bytes) => self.rejected = Some(bytes.into()),
            Err(error) => self.problem = Some(error.to_string()),
        }
        self
    }

    /// Checks every cell.
    pub async fn check<S: Subject>(self, subject: &S) -> Report {
        let mut report = Report {
            what: format!("{} of {}", self.handler, self.participant),
            cells: Vec::new(),
        };
        if let Some(problem) = &self.problem {
            report.add("the request", Err(problem.clone()));
            return report;
        }
        let check = Check {
            conformance: &self,
            subject,
            next_call: AtomicU64::new(1),
        };
        let stands = match check.stands().await {
            Ok(stands) => stands,
            Err(problem) => {
                report.add("one transaction that goes well", Err(problem));
                return report;
            }
        };
        for cell in cells(self.mode, self.rejected.is_some()) {
            report.add(cell.name, check.cell(&cell, &stands).await);
        }
        report
    }
}

/// What became of each cell.
#[derive(Debug, Clone)]
#[must_use = "a report of failures fails no test; see assert_passed()"]
pub struct Report {
    what: String,
    cells: Vec<(&'static str, Result<(), String>)>,
}

impl Report {
    fn add(&mut self, cell: &'static str, result: Result<(), String>) {
        self.cells.push((cell, result));
    }

    /// The cells that failed, and why.
    pub fn failures(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let failed = self.cells.iter();
        failed.filter_map(|(cell, result)| Some((*cell, result.as_ref().err()?.as_str())))
    }

    /// Whether every cell is as the barrier's table says.
    pub fn passed(&self) -> bool {
        self.failures().next().is_none()
    }

    /// Panics with the whole report unless every cell passed.
    ///
    /// # Panics
    /// If a cell failed.
    pub fn assert_passed(&self) {
        assert!(self.passed(), "{self}");
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}, cell by cell:", self.what)?;
        for (cell, result) in &self.cells {
            match result {
                Ok(()) => writeln!(f, "  ok      {cell}")?,
                Err(problem) => writeln!(f, "  FAILED  {cell}: {problem}")?,
            }
        }
        Ok(())
    }
}

/// How the business stands after an undisturbed transaction, step by step.
struct Stands<S> {
    initial: S,
    tried: S,
    confirmed: S,
}

struct Check<'a, S> {
    conformance: &'a Conformance,
    subject: &'a S,
    next_call: AtomicU64,
}

/// A definite answer.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Definite {
    Done(Bytes),
    Rejected,
}

impl<S: Subject> Check<'_, S> {
    /// Measures what each state looks like, so that every cell can be compared with it.
    async fn stands(&self) -> Result<Stands<S::State>, String> {
        let with_try = self.conformance.mode != Mode::Deliver;
        let with_confirm = self.conformance.mode != Mode::Compensate;
        let tx_id = Uuid::now_v7();
        self.subject.reset().await;
        let initial = self.subject.observe().await;
        if with_try {
            self.prepare(tx_id, Step::Try).await?;
        }
        let tried = self.subject.observe().await;
        if with_confirm {
            self.prepare(tx_id, Step::Confirm).await?;
        }
        let confirmed = self.subject.observe().await;
        if initial == tried && initial == confirmed {
            return Err(format!(
                "observe() sees no effect: {initial:?} before and after"
            ));
        }
        Ok(Stands {
            initial,
            tried,
            confirmed,
        })
    }

    async fn cell(&self, cell: &Cell, stands: &Stands<S::State>) -> Result<(), String> {
        let rounds = if matches!(cell.last, Last::Once(_)) {
            1
        } else {
            RACES
        };
        for _ in 0..rounds {
            self.subject.reset().await;
            let tx_id = Uuid::now_v7();
            let mut first_result = None;
            for step in cell.before {
                let answer = self.prepare(tx_id, *step).await?;
                first_result = first_result.or(answer);
            }
            self.last(cell, tx_id, first_result).await?;
            self.stands_as(cell.stand, stands).await?;
        }
        Ok(())
    }

    /// Sends the last step and looks at its answers.
    async fn last(
        &self,
        cell: &Cell,
        tx_id: Uuid,
        first_result: Option<Bytes>,
    ) -> Result<(), String> {
        let answers = match cell.last {
            Last::Once(step) => vec![self.ask(tx_id, step).await?],
            Last::Racing(step) => {
                let racers = (0..RACERS).map(|_| self.ask(tx_id, step));
                join_all(racers)
                    .await
                    .into_iter()
                    .collect::<Result<_, _>>()?
            }
            Last::TryRacingCancel => {
                let (tried, cancelled) =
                    tokio::join!(self.ask(tx_id, Step::Try), self.ask(tx_id, Step::Cancel));
                // The Try is done or fenced, whichever came first.
                tried?;
                if cancelled? == Definite::Rejected {
                    return Err("the Cancel was rejected".to_owned());
                }
                vec![self.ask(tx_id, Step::Try).await?]
            }
        };
        let mut first_result = first_result;
        for answer in answers {
            match (cell.answer, answer) {
                (Answer::Done, Definite::Done(_)) | (Answer::Rejected, Definite::Rejected) => {}
                (Answer::FirstResult, Definite::Done(result)) => {
                    let first = first_result.get_or_insert_with(|| result.clone());
                    if *first != result {
                        return Err(format!("returned {result:?}, but {first:?} before"));
                    }
                }
                (Answer::Rejected, answer) => {
                    return Err(format!("expected REJECTED, got {answer:?}"));
                }
                (_, answer) => return Err(format!("expected done, got {answer:?}")),
            }
        }
        Ok(())
    }

    async fn stands_as(&self, stand: Stand, stands: &Stands<S::State>) -> Result<(), String> {
        let expected = match stand {
            Stand::Initial => &stands.initial,
            Stand::Tried => &stands.tried,
            Stand::Confirmed => &stands.confirmed,
        };
        let seen = self.subject.observe().await;
        if seen == *expected {
            return Ok(());
        }
        let like = match stand {
            Stand::Initial => "as if nothing had been asked",
            Stand::Tried => "as after one Try",
            Stand::Confirmed => "as after one Confirm",
        };
        Err(format!("expected {expected:?}, {like}; observed {seen:?}"))
    }

    /// A step on the way to the cell; a Try's result.
    async fn prepare(&self, tx_id: Uuid, step: Step) -> Result<Option<Bytes>, String> {
        match (step, self.ask(tx_id, step).await?) {
            (Step::TryRejected, Definite::Done(_)) => {
                Err("the Try of the rejected request was not rejected".to_owned())
            }
            (Step::Try, Definite::Done(result)) => Ok(Some(result)),
            (Step::TryRejected, Definite::Rejected) | (_, Definite::Done(_)) => Ok(None),
            (step, Definite::Rejected) => Err(format!("on the way there, {step:?} was rejected")),
        }
    }

    /// Asks until the answer is definite, as the coordinator does.
    async fn ask(&self, tx_id: Uuid, step: Step) -> Result<Definite, String> {
        let mut last = String::new();
        for _ in 0..MAX_ASKS {
            let call = self.message(tx_id, step);
            let result = self.subject.call(call.clone()).await;
            is_answer_to(&call, &result)?;
            match result.outcome {
                Some(proto::result::Outcome::Done(done)) => return Ok(Definite::Done(done.result)),
                Some(proto::result::Outcome::Rejected(_)) => return Ok(Definite::Rejected),
                Some(proto::result::Outcome::Unknown(unknown)) => last = unknown.error,
                None => "no outcome".clone_into(&mut last),
            }
            tokio::time::sleep(ASK_AGAIN).await;
        }
        let operation = step.operation();
        Err(format!(
            "{operation:?} is UNKNOWN, {MAX_ASKS} times; the last error: {last}"
        ))
    }

    fn message(&self, tx_id: Uuid, step: Step) -> proto::Call {
        let conformance = self.conformance;
        let rejected = conformance.rejected.as_ref();
        let payload = match step {
            Step::TryRejected => rejected.unwrap_or(&conformance.request),
            _ => &conformance.request,
        };
        proto::Call {
            epoch: 1,
            call_id: self.next_call.fetch_add(1, Ordering::Relaxed),
            tx_id: tx_id.to_string(),
            action: conformance.handler.clone(),
            operation: match step {
                Step::Try | Step::TryRejected => proto::Operation::Try,
                Step::Confirm => proto::Operation::Confirm,
                Step::Cancel => proto::Operation::Cancel,
            }
            .into(),
            mode: match conformance.mode {
                Mode::Tcc => proto::Mode::Tcc,
                Mode::Compensate => proto::Mode::Compensate,
                Mode::Deliver => proto::Mode::Deliver,
            }
            .into(),
            participant: conformance.participant.clone(),
            handler: conformance.handler.clone(),
            business_type: "conformance".to_owned(),
            business_id: tx_id.to_string(),
            payload: payload.clone(),
            time_left_ms: TIME_LEFT_MS,
            attempt: 1,
            ..proto::Call::default()
        }
    }
}

/// A result counts only with all five of these as in the call.
fn is_answer_to(call: &proto::Call, result: &proto::Result) -> Result<(), String> {
    let asked = (
        call.epoch,
        call.call_id,
        &call.tx_id,
        &call.action,
        call.operation,
    );
    let answered = (
        result.epoch,
        result.call_id,
        &result.tx_id,
        &result.action,
        result.operation,
    );
    if asked == answered {
        return Ok(());
    }
    Err(format!(
        "the result must carry epoch, call_id, tx_id, action and operation as in the call: \
         {asked:?}, but it carries {answered:?}"
    ))
}
