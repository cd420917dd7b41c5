//! Sends every cell of the barrier's table to one action of a participant.
//!
//! ```
//! # use tercet_sdk::{Json, Participant, proto};
//! use tercet_testkit::{Conformance, Subject};
//!
//! struct Points { participant: Participant, pool: sqlx::SqlitePool }
//!
//! impl Subject for Points {
//!     type State = (i64, i64);
//!
//!     async fn reset(&self) {
//!         // Puts the business back to its initial state.
//!         # let reset = sqlx::query("UPDATE account SET available = 100, frozen = 0");
//!         # reset.execute(&self.pool).await.unwrap();
//!     }
//!
//!     async fn call(&self, call: proto::Call) -> proto::Result {
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

use crate::cells::{self, Cell, Exchange, Expected, Stand, Step, Table};

/// A participant under test, and access to the effects of its action.
#[allow(async_fn_in_trait, reason = "a check runs within the test's own task")]
pub trait Subject {
    /// The state of the business, as far as the action changes it: balances, rows, messages sent.
    type State: PartialEq + fmt::Debug;

    /// Puts the business back to its initial state; called before each cell. Barrier rows may stay,
    /// because each cell has a transaction id of its own.
    async fn reset(&self);

    /// Makes the participant carry out one call: through
    /// [`Participant::call`](tercet_sdk::Participant::call), or over the wire for a participant in
    /// another language.
    async fn call(&self, call: proto::Call) -> proto::Result;

    /// Returns the present state of the business.
    async fn observe(&self) -> Self::State;
}

/// An action to be checked against the barrier's table.
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
    /// Checks a handler in mode TCC.
    pub fn tcc(participant: impl Into<String>, handler: impl Into<String>) -> Self {
        Self::new(participant.into(), handler.into(), Mode::Tcc)
    }

    /// Checks a handler in mode COMPENSATE.
    pub fn compensate(participant: impl Into<String>, handler: impl Into<String>) -> Self {
        Self::new(participant.into(), handler.into(), Mode::Compensate)
    }

    /// Checks a handler in mode DELIVER.
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

    /// Sets a request that the action can carry out from the initial state, with a visible effect.
    pub fn request(mut self, request: &impl Payload) -> Self {
        match request.encode() {
            Ok(bytes) => self.request = bytes.into(),
            Err(error) => self.problem = Some(error.to_string()),
        }
        self
    }

    /// Sets a request whose Try is rejected for a business reason. Without one the cells about
    /// rejections are left out.
    pub fn rejected_request(mut self, request: &impl Payload) -> Self {
        match request.encode() {
            Ok(bytes) => self.rejected = Some(bytes.into()),
            Err(error) => self.problem = Some(error.to_string()),
        }
        self
    }

    /// Plays every cell of the mode.
    pub async fn check<S: Subject>(self, subject: &S) -> Report {
        let mut report = Report {
            what: format!("{} of {}", self.handler, self.participant),
            cells: Vec::new(),
        };
        if let Some(problem) = &self.problem {
            report.add("the request", Err(problem.clone()));
            return report;
        }
        let table = match cells::table() {
            Ok(table) => table,
            Err(problem) => {
                report.add(cells::FILE, Err(problem.to_owned()));
                return report;
            }
        };
        let check = Check {
            conformance: &self,
            subject,
            table,
            next_call: AtomicU64::new(1),
        };
        let stands = match check.stands().await {
            Ok(stands) => stands,
            Err(problem) => {
                report.add("one transaction that goes well", Err(problem));
                return report;
            }
        };
        for cell in table.cells(self.mode, self.rejected.is_some()) {
            report.add(&cell.name, check.cell(cell, &stands).await);
        }
        report
    }
}

/// The result of each cell.
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

    /// Iterates over the failed cells and their problems.
    pub fn failures(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let failed = self.cells.iter();
        failed.filter_map(|(cell, result)| Some((*cell, result.as_ref().err()?.as_str())))
    }

    /// Returns true if every cell agrees with the barrier's table.
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

/// The states of the business after each step of an undisturbed transaction.
struct Stands<S> {
    initial: S,
    tried: S,
    confirmed: S,
}

struct Check<'a, S> {
    conformance: &'a Conformance,
    subject: &'a S,
    table: &'static Table,
    next_call: AtomicU64,
}

/// A definite answer.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Definite {
    Done(Bytes),
    Rejected,
}

impl<S: Subject> Check<'_, S> {
    /// Records the states with which every cell is compared.
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
        for _ in 0..cell.rounds {
            self.subject.reset().await;
            let tx_id = Uuid::now_v7();
            let mut first_result = None;
            for step in &cell.before {
                let answer = self.prepare(tx_id, *step).await?;
                first_result = first_result.or(answer);
            }
            self.send(cell, tx_id, first_result).await?;
            self.stands_as(cell.stands, stands).await?;
        }
        Ok(())
    }

    /// Sends the calls of the cell itself and checks their answers.
    async fn send(
        &self,
        cell: &Cell,
        tx_id: Uuid,
        mut first_result: Option<Bytes>,
    ) -> Result<(), String> {
        let asking = cell.send.iter().map(|sent| self.ask(tx_id, sent.call));
        let answers = join_all(asking).await.into_iter();
        let answers = answers.collect::<Result<Vec<_>, _>>()?;
        for (sent, answer) in cell.send.iter().zip(answers) {
            if cell.is_mixed() && sent.answer == Expected::Done && answer == Definite::Rejected {
                return Err(format!("the {:?} was rejected", sent.call));
            }
            check_answer(*sent, answer, &mut first_result)?;
        }
        if let Some(then) = cell.then {
            let answer = self.ask(tx_id, then.call).await?;
            check_answer(then, answer, &mut first_result)?;
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

    /// Sends a call on the way to the cell; returns the result of a Try.
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

    /// Sends a call until its answer is definite, as the coordinator does.
    async fn ask(&self, tx_id: Uuid, step: Step) -> Result<Definite, String> {
        let mut last = String::new();
        let Table {
            max_asks,
            ask_again_ms,
            ..
        } = *self.table;
        for _ in 0..max_asks {
            let call = self.message(tx_id, step);
            let result = self.subject.call(call.clone()).await;
            is_answer_to(&call, &result)?;
            match result.outcome {
                Some(proto::result::Outcome::Done(done)) => return Ok(Definite::Done(done.result)),
                Some(proto::result::Outcome::Rejected(_)) => return Ok(Definite::Rejected),
                Some(proto::result::Outcome::Unknown(unknown)) => last = unknown.error,
                None => "no outcome".clone_into(&mut last),
            }
            tokio::time::sleep(Duration::from_millis(ask_again_ms)).await;
        }
        let operation = step.operation();
        Err(format!(
            "{operation:?} is UNKNOWN, {max_asks} times; the last error: {last}"
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
            time_left_ms: Some(self.table.time_left_ms),
            attempt: 1,
            ..proto::Call::default()
        }
    }
}

/// Compares a definite answer with the one that the call must get. `first_result` is the result of the
/// first Try of the transaction, once that is known.
fn check_answer(
    sent: Exchange,
    answer: Definite,
    first_result: &mut Option<Bytes>,
) -> Result<(), String> {
    match (sent.answer, answer) {
        (Expected::DoneOrRejected, _)
        | (Expected::Done, Definite::Done(_))
        | (Expected::Rejected, Definite::Rejected) => Ok(()),
        (Expected::FirstResult, Definite::Done(result)) => {
            let first = first_result.get_or_insert_with(|| result.clone());
            if *first == result {
                return Ok(());
            }
            Err(format!("returned {result:?}, but {first:?} before"))
        }
        (Expected::Rejected, answer) => Err(format!("expected REJECTED, got {answer:?}")),
        (_, answer) => Err(format!("expected done, got {answer:?}")),
    }
}

/// Checks that a result repeats the five fields by which it belongs to its call.
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
