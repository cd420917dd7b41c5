//! Age: an action whose calls find no way is given up once it is too old, like one whose calls fail.

use super::{Context, Step, Unreachable, finishing::conclude, note_unsent};
use crate::{
    limits,
    model::{Action, ActionStatus, Attempt, AttemptOutcome, Operation, Phase, Transaction},
    time::Moment,
};

/// Gives up those of these actions that are due and too old.
pub(super) fn give_up(tx: &Transaction, actions: &[(usize, Unreachable)], cx: &Context) -> Step {
    let mut next = tx.clone();
    let is_too_old = |place: &usize| tx.too_old(cx.moment).any(|other| other == *place);
    for (place, no_way) in actions.iter().filter(|(place, _)| is_too_old(place)) {
        if let Some(operation) = tx.needs(*place) {
            give_up_unreached(&mut next.actions[*place], operation, no_way, cx);
        }
    }
    if next == *tx {
        return Step::unchanged(tx);
    }
    conclude(&mut next, cx.now);
    Step::durable_in_company(next)
}

fn give_up_unreached(
    action: &mut Action,
    operation: Operation,
    no_way: &Unreachable,
    cx: &Context,
) {
    let max_age = action.spec.retry.in_effect().max_age.unwrap_or_default();
    let error = no_way.error(&action.spec);
    action.state.status = ActionStatus::Failed;
    let attempt = Attempt {
        operation,
        at: cx.now.as_micros(),
        took: 0,
        number: 0,
        outcome: AttemptOutcome::Unreachable,
        error: format!("the participant was not reachable at the max_age of {max_age:?}: {error}"),
        next: None,
    };
    note_unsent(action, attempt);
}

/// Returns when a transaction at rest is looked at for the ages of its actions: once the first of those that are due is too
/// old, and from then on now and then, for as long as there is a way to its participant. `None`: no action that is wanted
/// has an age.
pub(super) fn next_look(tx: &Transaction, now: Moment) -> Option<Moment> {
    let again = now + limits::AGE_PAUSE;
    looks(tx)
        .map(|look| if look > now { look } else { again })
        .min()
}

/// Returns whether an action that is due and too old waits for a place of its participant.
pub(super) fn is_looked_at_again(tx: &Transaction, now: Moment) -> bool {
    looks(tx).any(|look| look <= now)
}

/// Returns for each action whose call is wanted and that has an age when it is both due and too old.
fn looks(tx: &Transaction) -> impl Iterator<Item = Moment> + '_ {
    let is_finishing = matches!(tx.phase, Phase::Finishing { .. });
    let places = 0..tx.actions.len();
    places.filter_map(move |place| {
        tx.required_finish(place).filter(|_| is_finishing)?;
        let from = tx.too_old_from(place)?;
        Some(from.max(tx.actions[place].live.not_before))
    })
}
