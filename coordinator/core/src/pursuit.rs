//! The calls and wake-ups that a transaction's state requires.
//!
//! Calls are not ordered by events but follow from the state: after every durable step, after a load
//! and when time has passed, the engine compares the required calls with those under way. So there is one way
//! to go on, live and in recovery.

use crate::{
    context::Context,
    model::{ActionStatus, Decider, Mode, Name, Operation, Phase, Transaction},
    time::{Timestamp, earliest},
};

/// The calls and the wake-up that a state requires.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pursuit {
    /// Calls that should be under way.
    pub calls: Vec<RequiredCall>,
    /// Whether a question to the initiator should be under way.
    pub ask_back: bool,
    /// When the requirements may change by the passing of time.
    pub wake: Option<Timestamp>,
}

/// A call that should be under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequiredCall {
    /// The action's place.
    pub action: usize,
    /// The operation.
    pub operation: Operation,
    /// Whether it may be sent now; otherwise a write has to authorise it first.
    pub authorised: bool,
}

/// Computes the calls that this transaction requires now.
pub fn pursue(tx: &Transaction, now: Timestamp) -> Pursuit {
    match &tx.phase {
        Phase::Trying if tx.spec.decider == Decider::Coordinator => {
            let mut pursuit = required(tx, now, |place| required_try(tx, place));
            pursuit.wake = earliest(pursuit.wake, Some(tx.spec.deadline));
            pursuit
        }
        Phase::Trying => Pursuit {
            wake: Some(tx.spec.deadline),
            ..Pursuit::default()
        },
        Phase::AskingBack { next } if *next <= now => Pursuit {
            ask_back: true,
            ..Pursuit::default()
        },
        Phase::AskingBack { next } => Pursuit {
            wake: Some(*next),
            ..Pursuit::default()
        },
        Phase::Finishing { .. } => required(tx, now, |place| tx.required_finish(place)),
        Phase::Finished { .. } | Phase::Parked { .. } => Pursuit::default(),
    }
}

fn required(
    tx: &Transaction,
    now: Timestamp,
    next: impl Fn(usize) -> Option<Operation>,
) -> Pursuit {
    let mut pursuit = Pursuit::default();
    for (place, action) in tx.actions.iter().enumerate() {
        let Some(operation) = next(place) else {
            continue;
        };
        if action.live.not_before > now {
            pursuit.wake = earliest(pursuit.wake, Some(action.live.not_before));
        } else {
            let authorised = operation == Operation::Try || action.live.permit;
            pursuit.calls.push(RequiredCall {
                action: place,
                operation,
                authorised,
            });
        }
    }
    pursuit
}

fn required_try(tx: &Transaction, place: usize) -> Option<Operation> {
    let action = &tx.actions[place];
    let required = action.state.status == ActionStatus::Init
        && action.spec.mode != Mode::Deliver
        && tx.actions_before(place, Operation::Try).all(|before| {
            before.spec.mode == Mode::Deliver || before.state.status == ActionStatus::Tried
        });
    required.then_some(Operation::Try)
}

impl Transaction {
    /// Computes when the row's next step is due, and the participant that it waits for.
    pub(crate) fn due(&self, cx: &Context) -> (Option<Timestamp>, Option<Name>) {
        let in_hand = cx.now + cx.lease;
        match &self.phase {
            Phase::Trying if self.spec.decider == Decider::Coordinator => {
                (Some(in_hand.min(self.spec.deadline)), None)
            }
            Phase::Trying => (Some(self.spec.deadline), None),
            Phase::AskingBack { next } => (Some(*next), None),
            Phase::Finished { .. } | Phase::Parked { .. } => (None, None),
            Phase::Finishing { .. } => self.due_in_phase_two(cx.now, in_hand),
        }
    }

    fn due_in_phase_two(
        &self,
        now: Timestamp,
        in_hand: Timestamp,
    ) -> (Option<Timestamp>, Option<Name>) {
        let mut first: Option<(Timestamp, &Name)> = None;
        for (place, action) in self.actions.iter().enumerate() {
            if self.required_finish(place).is_none() {
                continue;
            }
            let at = match (action.live.unreachable, action.live.not_before > now) {
                (true, _) => in_hand.max(action.live.not_before),
                (false, true) => action.live.not_before,
                (false, false) => return (Some(in_hand), None),
            };
            if first.is_none_or(|(earliest, _)| at < earliest) {
                first = Some((at, &action.spec.participant));
            }
        }
        match first {
            Some((at, participant)) => (Some(at), Some(participant.clone())),
            None => (Some(in_hand), None),
        }
    }
}
