//! What a transaction's state wants to be under way.
//!
//! Calls are not ordered by events but follow from the state: after every durable step, after a load
//! and when time has passed, what is wanted is compared with what is under way. So there is one way
//! to go on, live and in recovery.

use tercet_mutation::broken;

use crate::{
    model::{
        Action, ActionStatus, Driver, Mode, Name, Operation, Outcome, Phase, Sent, Transaction,
    },
    time::Timestamp,
    transition::Context,
};

/// What a transaction wants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pursuit {
    /// Calls that should be under way.
    pub calls: Vec<Wanted>,
    /// Whether the initiator should be being asked.
    pub ask_back: bool,
    /// When this may change by itself.
    pub wake: Option<Timestamp>,
}

/// A call that should be under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The action's place.
    pub action: usize,
    /// What to ask for.
    pub operation: Operation,
    /// Whether it may be sent, or has to be authorised by a write first.
    pub authorised: bool,
}

/// What this transaction wants to be under way now.
pub fn pursue(tx: &Transaction, now: Timestamp) -> Pursuit {
    match &tx.phase {
        Phase::Trying if tx.spec.driver == Driver::Coordinator => {
            let mut pursuit = wanted(tx, now, |place| try_is_wanted(tx, place));
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
        Phase::Finishing { .. } => wanted(tx, now, |place| tx.finish_is_wanted(place)),
        Phase::Finished { .. } | Phase::Parked { .. } => Pursuit::default(),
    }
}

fn wanted(tx: &Transaction, now: Timestamp, want: impl Fn(usize) -> Option<Operation>) -> Pursuit {
    let mut pursuit = Pursuit::default();
    for (place, action) in tx.actions.iter().enumerate() {
        let Some(operation) = want(place) else {
            continue;
        };
        if action.live.not_before > now {
            pursuit.wake = earliest(pursuit.wake, Some(action.live.not_before));
        } else {
            let authorised = operation == Operation::Try || action.live.permit;
            pursuit.calls.push(Wanted {
                action: place,
                operation,
                authorised,
            });
        }
    }
    pursuit
}

fn try_is_wanted(tx: &Transaction, place: usize) -> Option<Operation> {
    let action = &tx.actions[place];
    let wanted = action.status == ActionStatus::Init
        && action.spec.mode != Mode::Deliver
        && predecessors(tx, place, Operation::Try).all(|before| {
            before.spec.mode == Mode::Deliver || before.status == ActionStatus::Tried
        });
    wanted.then_some(Operation::Try)
}

impl Transaction {
    /// The operation that this action still needs under the decision; `None` once it needs none.
    pub fn needs(&self, place: usize) -> Option<Operation> {
        let action = &self.actions[place];
        let outcome = self.phase.decision()?.outcome;
        let needed = match action.status {
            ActionStatus::Init | ActionStatus::Tried => true,
            // A rejection of the only Try that was ever sent left nothing behind.
            ActionStatus::Rejected => {
                outcome == Outcome::Failure
                    && action.live.sent != Sent::Once
                    && !broken("rejected_after_unknown_skips_cancel")
            }
            ActionStatus::Confirmed | ActionStatus::Cancelled | ActionStatus::Failed => false,
        };
        needed.then_some(match outcome {
            Outcome::Success => Operation::Confirm,
            Outcome::Failure => Operation::Cancel,
        })
    }

    /// Whether the action is where it stays.
    pub(crate) fn is_final(&self, place: usize) -> bool {
        self.actions[place].status != ActionStatus::Failed && self.needs(place).is_none()
    }

    fn finish_is_wanted(&self, place: usize) -> Option<Operation> {
        let operation = self.needs(place)?;
        let free = order(self, place, operation).all(|before| self.is_final(before));
        (free || broken("compensation_order_ignored")).then_some(operation)
    }

    /// Whether something can still be driven to its end without a person.
    pub(crate) fn is_workable(&self) -> bool {
        let mut stuck: Vec<bool> = self
            .actions
            .iter()
            .map(|action| action.status == ActionStatus::Failed)
            .collect();
        // What stands behind something stuck is stuck; the longest chain has one link an action.
        for _ in 0..self.actions.len() {
            for place in 0..self.actions.len() {
                if let Some(operation) = self.needs(place) {
                    let behind = order(self, place, operation).any(|before| stuck[before]);
                    stuck[place] = stuck[place] || behind;
                }
            }
        }
        (0..self.actions.len()).any(|place| self.needs(place).is_some() && !stuck[place])
    }

    /// When somebody must look at the row again, and whose participant it waits for.
    pub(crate) fn due(&self, cx: &Context) -> (Option<Timestamp>, Option<Name>) {
        let in_hand = cx.now + cx.lease;
        match &self.phase {
            Phase::Trying if self.spec.driver == Driver::Coordinator => {
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
            if self.finish_is_wanted(place).is_none() {
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

/// The places of the actions that come before this one for this operation.
fn order(tx: &Transaction, place: usize, operation: Operation) -> impl Iterator<Item = usize> + '_ {
    let action = &tx.actions[place];
    tx.actions
        .iter()
        .enumerate()
        .filter_map(move |(other, before)| {
            let comes_before = match operation {
                Operation::Try | Operation::Confirm => {
                    action.spec.after.contains(&before.spec.name)
                }
                Operation::Cancel => before.spec.after.contains(&action.spec.name),
            };
            comes_before.then_some(other)
        })
}

/// The actions that come before this one for this operation.
pub(crate) fn predecessors(
    tx: &Transaction,
    place: usize,
    operation: Operation,
) -> impl Iterator<Item = &Action> + '_ {
    order(tx, place, operation).map(|before| &tx.actions[before])
}

pub(crate) fn earliest(a: Option<Timestamp>, b: Option<Timestamp>) -> Option<Timestamp> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (one, other) => one.or(other),
    }
}
