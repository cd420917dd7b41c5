//! The effect of one event on one transaction. Pure: the same arguments give the same result.

mod aging;
mod finishing;
mod operator;
mod resting;
mod trying;

pub(crate) use self::resting::is_misdated;

use std::{sync::Arc, time::Duration};

use tercet_mutation::broken;

use crate::{
    context::Context,
    limits,
    model::{
        Action, ActionSpec, ActionStatus, Attempt, AttemptOutcome, Cause, Decision, Mode, Name,
        Need, Outcome, Phase, Sent, Transaction,
    },
    port::{CallAnswer, CheckBackAnswer, Command},
    refusal::Refusal,
    time::{Moment, Now, Timestamp},
    write::OperatorEntry,
};

/// An event of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Time has passed: the deadline may be over.
    TimePassed,
    /// A call of Try ended, with an answer or without.
    TryEnded(CallEnd),
    /// A call of Confirm or Cancel ended, with an answer or without.
    FinishEnded(CallEnd),
    /// Calls of phase two are required, there is a way for them, and no write has authorised them yet.
    Authorise {
        /// The actions' places.
        actions: Vec<usize>,
    },
    /// A question to the initiator ended, with an answer or without.
    AskedBack(CheckBackAnswer),
    /// Nothing is under way for it, and nothing can be done now.
    Rest {
        /// The participants to which there is no way from here.
        unreachable: Vec<Unreachable>,
    },
    /// Calls of phase two are due of actions that are too old, and there is no way for them.
    TooOld {
        /// The actions' places, each with the participant to which there is no way from here.
        actions: Vec<(usize, Unreachable)>,
    },
    /// The initiator adds an action.
    AddAction(Arc<ActionSpec>),
    /// The initiator decides.
    Decide {
        /// The outcome.
        outcome: Outcome,
        /// The initiator's reason.
        reason: String,
    },
    /// An operator gives a command.
    Operator(Command),
}

/// A participant to which there is no way from here for a call of this kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreachable {
    /// The participant.
    pub participant: Name,
    /// The ability that the call needs.
    pub need: Need,
    /// The last error, where it is called at an address that takes no call.
    pub down: Option<String>,
}

impl Unreachable {
    /// Returns whether this is about the calls of an action.
    fn is_of(&self, spec: &ActionSpec) -> bool {
        self.participant == spec.participant && self.need == spec.need()
    }

    /// Says that there is no way for a call of an action.
    fn error(&self, spec: &ActionSpec) -> String {
        let participant = &self.participant;
        match &self.down {
            Some(error) => format!(
                "there is no way to participant {participant}: its address takes no call: {error}"
            ),
            None => format!(
                "there is no way to participant {participant}: it is not attached, or without handler {}",
                spec.handler
            ),
        }
    }
}

/// The end of one call, with an answer or without.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallEnd {
    /// The action's place.
    pub action: usize,
    /// The answer; [`CallAnswer::Unknown`] also where none came.
    pub answer: CallAnswer,
    /// When the call was sent.
    pub sent_at: Timestamp,
    /// The time from then to its end.
    pub took: Duration,
    /// Times a rejection in phase two must be repeated before it counts.
    pub rejections_to_believe: u32,
}

/// The result of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The next state.
    pub next: Transaction,
    /// Whether the next state must be durable before anything acts on it.
    pub write: bool,
    /// Whether a caller waits for that.
    pub urgent: bool,
    /// Whether a request was a repetition of one that took effect before.
    pub repeated: bool,
    /// The row of `operator_log` that goes with it.
    pub operator: Option<OperatorEntry>,
}

impl Step {
    fn unchanged(tx: &Transaction) -> Self {
        Self::in_memory(tx.clone())
    }

    fn in_memory(next: Transaction) -> Self {
        Self {
            next,
            write: false,
            urgent: false,
            repeated: false,
            operator: None,
        }
    }

    fn durable(next: Transaction) -> Self {
        Self {
            write: true,
            urgent: true,
            ..Self::in_memory(next)
        }
    }

    /// Makes a step that must be durable and for which no caller waits: its write may linger for company.
    fn durable_in_company(next: Transaction) -> Self {
        Self {
            write: true,
            ..Self::in_memory(next)
        }
    }

    fn repeated(tx: &Transaction) -> Self {
        Self {
            repeated: true,
            ..Self::unchanged(tx)
        }
    }
}

/// Applies `event` to `tx`.
///
/// An event that the state has outlived (an answer to a call that no longer matters) changes nothing.
///
/// # Errors
/// A request that the state does not allow is refused; nothing changes.
pub fn transition(tx: &Transaction, event: &Event, cx: &Context) -> Result<Step, Refusal> {
    match (&tx.phase, event) {
        (Phase::Trying, Event::TimePassed) => Ok(trying::time_passed(tx, cx)),
        // The initiator's own Tries are not the coordinator's calls.
        (Phase::Trying, Event::TryEnded(_)) if !tx.spec.is_executed() => Ok(Step::unchanged(tx)),
        (Phase::Trying, Event::TryEnded(end)) => Ok(trying::call_ended(tx, end, cx)),
        (Phase::Finishing { .. }, Event::TryEnded(end)) => Ok(finishing::try_ended(tx, end)),
        (Phase::AskingBack { .. }, Event::AskedBack(answer)) => {
            Ok(trying::asked_back(tx, answer, cx))
        }
        (Phase::Finishing { .. }, Event::FinishEnded(end)) => {
            Ok(finishing::call_ended(tx, end, cx))
        }
        (Phase::Finishing { .. }, Event::Authorise { actions }) => {
            Ok(finishing::authorise_all(tx, actions, cx))
        }
        (
            Phase::Trying | Phase::AskingBack { .. } | Phase::Finishing { .. },
            Event::Rest { unreachable },
        ) => Ok(resting::rest(tx, unreachable, cx.present())),
        (Phase::Finishing { .. }, Event::TooOld { actions }) => Ok(aging::give_up(tx, actions, cx)),
        (_, Event::AddAction(action)) => trying::add_action(tx, action, cx),
        (_, Event::Decide { outcome, reason }) => {
            trying::decide_by_initiator(tx, *outcome, reason, cx)
        }
        (_, Event::Operator(command)) => operator::carry_out(tx, command, cx),
        // Outlived: the answer or the wake-up is for a state that has been left.
        (
            Phase::AskingBack { .. } | Phase::Finished { .. } | Phase::Parked { .. },
            Event::TimePassed | Event::TryEnded(_),
        )
        | (Phase::Finishing { .. }, Event::TimePassed)
        | (
            Phase::Trying | Phase::Finishing { .. } | Phase::Finished { .. } | Phase::Parked { .. },
            Event::AskedBack(_),
        )
        | (
            Phase::Trying
            | Phase::AskingBack { .. }
            | Phase::Finished { .. }
            | Phase::Parked { .. },
            Event::FinishEnded(_) | Event::Authorise { .. } | Event::TooOld { .. },
        )
        | (Phase::Finished { .. } | Phase::Parked { .. }, Event::Rest { .. }) => {
            Ok(Step::unchanged(tx))
        }
    }
}

/// Makes the decision. Actions that need no call get the status in which they stay; each of the others may be called
/// once without another write.
pub(crate) fn decide(tx: &mut Transaction, outcome: Outcome, cause: Cause, now: Now) {
    let cause = cut_cause(cause);
    tx.moments.ages_from = now.moment;
    let now = now.time;
    tx.phase = Phase::Finishing {
        decision: Decision { outcome, cause },
        decided_at: now,
        unparked_at: None,
    };
    for action in &mut tx.actions {
        match (outcome, action.spec.mode) {
            (Outcome::Success, Mode::Compensate) => action.end(ActionStatus::Confirmed, now),
            (Outcome::Failure, Mode::Deliver) => action.end(ActionStatus::Cancelled, now),
            (Outcome::Failure, _) if certainly_not_tried(action) => {
                action.end(ActionStatus::Cancelled, now);
            }
            _ => {}
        }
        action.live.permit = true;
        action.live.not_before = Moment::default();
    }
    finishing::conclude(tx, now);
}

/// Returns whether the action's Try has certainly never left.
fn certainly_not_tried(action: &Action) -> bool {
    let never = action.live.sent == Sent::Never;
    let in_flight = action.live.sent == Sent::Once && action.state.status == ActionStatus::Init;
    never || (in_flight && broken("in_flight_action_not_cancelled"))
}

/// Keeps the end of a call that never left, which is no attempt. Of several in a row the first and the last are kept. The
/// next may leave at once: the gate lets it, when there may be a way again.
fn note_unsent(action: &mut Action, attempt: Attempt) {
    let is_unsent = |kept: &&Attempt| {
        kept.outcome == AttemptOutcome::Unreachable && kept.operation == attempt.operation
    };
    if action
        .state
        .attempts
        .iter()
        .rev()
        .take_while(is_unsent)
        .count()
        > 1
    {
        action.state.attempts.pop();
    }
    action.live.not_before = Moment::default();
    note(action, attempt);
}

/// Adds an attempt to those that are kept for people; the oldest makes room.
fn note(action: &mut Action, mut attempt: Attempt) {
    attempt.error = cut(&attempt.error);
    action.state.last_error.clone_from(&attempt.error);
    if action.state.attempts.len() >= limits::ATTEMPTS_KEPT {
        action.state.attempts.remove(0);
    }
    action.state.attempts.push(attempt);
    action.live.dirty = true;
}

/// Returns the next wait of an exponential back-off with full jitter: uniform in `0..=min(cap, first * 2^failures)`.
/// See "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
fn back_off(first: Duration, cap: Duration, failures: u32, dice: u64) -> Duration {
    let ceiling = first
        .saturating_mul(1_u32.checked_shl(failures.min(31)).unwrap_or(u32::MAX))
        .min(cap);
    let micros = u64::try_from(ceiling.as_micros()).unwrap_or(u64::MAX);
    Duration::from_micros(dice % micros.saturating_add(1).max(1))
}

/// Returns at most [`limits::REASON_BYTES`] of a text, cut between characters.
fn cut(text: &str) -> String {
    text[..text.floor_char_boundary(limits::REASON_BYTES)].to_owned()
}

fn cut_cause(mut cause: Cause) -> Cause {
    match &mut cause {
        Cause::AllTried => {}
        Cause::Rejected { reason, .. }
        | Cause::Deadline { reason, .. }
        | Cause::Aborted { reason }
        | Cause::Initiator { reason }
        | Cause::CheckBack { reason }
        | Cause::Operator { reason } => *reason = cut(reason),
    }
    cause
}

/// Returns the result of a request to decide where a decision stands: a repetition, or a conflict.
fn standing_decision(tx: &Transaction, outcome: Outcome) -> Option<Result<Step, Refusal>> {
    let stands = tx.phase.decision()?;
    Some(if stands.outcome == outcome {
        Ok(Step::repeated(tx))
    } else {
        Err(Refusal::DecisionConflict {
            id: tx.id(),
            stands: stands.outcome,
            cause: stands.cause.clone(),
        })
    })
}
