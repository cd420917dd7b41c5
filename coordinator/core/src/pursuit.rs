//! The calls and wake-ups that a transaction's state requires.
//!
//! Calls are not ordered by events but follow from the state: after every durable step, after a load
//! and when time has passed, the engine compares the required calls with those under way. So there is one way
//! to go on, live and in recovery.

use crate::{
    model::{Operation, Phase, Transaction},
    time::{Moment, earliest},
};

/// The calls and the wake-up that a state requires.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pursuit {
    /// Calls that should be under way.
    pub calls: Vec<RequiredCall>,
    /// Whether a question to the initiator should be under way.
    pub ask_back: bool,
    /// When the requirements may change by the passing of time.
    pub wake: Option<Moment>,
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
///
/// None is required from the deadline of phase one on: a participant that is asked to try then would do so in vain.
pub fn pursue(tx: &Transaction, now: Moment) -> Pursuit {
    let due = tx.moments.due;
    match &tx.phase {
        Phase::Trying if tx.spec.is_executed() && now < due => {
            let mut pursuit = required(tx, now);
            pursuit.wake = earliest(pursuit.wake, Some(due));
            pursuit
        }
        Phase::AskingBack { .. } if due <= now => Pursuit {
            ask_back: true,
            ..Pursuit::default()
        },
        Phase::Trying | Phase::AskingBack { .. } => Pursuit {
            wake: Some(due),
            ..Pursuit::default()
        },
        Phase::Finishing { .. } => required(tx, now),
        Phase::Finished { .. } | Phase::Parked { .. } => Pursuit::default(),
    }
}

fn required(tx: &Transaction, now: Moment) -> Pursuit {
    let mut pursuit = Pursuit::default();
    let is_decided = tx.phase.decision().is_some();
    for (place, action) in tx.actions.iter().enumerate() {
        let Some(operation) = tx.required_call(place) else {
            continue;
        };
        // From then on it is given up where there is no way for its call.
        let too_old_from = tx.too_old_from(place);
        let age = too_old_from.filter(|from| is_decided && *from > now);
        pursuit.wake = earliest(pursuit.wake, age);
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
