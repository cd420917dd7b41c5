//! Rest: a transaction for which nothing can be done now is put down in the table, with all that is known of it.

use std::collections::BTreeMap;

use tercet_mutation::broken;

use super::{Step, Unreachable, aging, note};
use crate::{
    model::{
        Action, ActionStatus, Attempt, AttemptOutcome, Need, Operation, Phase, Rest, Sent,
        Transaction, Want,
    },
    time::{Now, Timestamp, differ},
};

/// Puts an unfinished transaction to rest. `unreachable` names the participants to which there is no way from here.
///
/// Nothing may be under way for it. What a caller reads from the row is exact then: a Try that was answered with OK
/// is TRIED, and a call that was allowed and not made is not counted.
pub(super) fn rest(tx: &Transaction, unreachable: &[Unreachable], now: Now) -> Step {
    let mut next = tx.clone();
    let tx = &mut next;
    for place in 0..tx.actions.len() {
        let Some(operation) = tx.required_call(place) else {
            continue;
        };
        let action = &mut tx.actions[place];
        let mut ways = unreachable.iter();
        let no_way = ways.find(|no_way| no_way.is_of(&action.spec));
        if let Some(no_way) = no_way {
            note_unreachable(action, operation, no_way, now);
        }
    }
    let mut wants = wants(tx, now);
    if broken("rest_names_one_participant") {
        wants.truncate(1);
    }
    let unsent = (0..tx.actions.len())
        .filter(|place| is_unsent(tx, *place))
        .map(|place| tx.actions[place].spec.name.clone())
        .collect();
    for action in &mut tx.actions {
        let keeps_tried = tx.phase == Phase::Trying && action.state.status == ActionStatus::Tried;
        action.live.dirty |= keeps_tried && !action.spec.already_tried;
        give_back(action);
    }
    let until = until(tx, now);
    let ages_from = ages_from(tx, now);
    let is_moved = match tx.phase {
        Phase::Trying => until.is_some_and(|until| until != tx.spec.deadline),
        _ => ages_from.is_some(),
    };
    tx.rest = Some(Box::new(Rest {
        wants,
        until,
        until_set_at: is_moved.then_some(now.time),
        ages_from,
        unsent,
    }));
    Step::durable_in_company(next)
}

/// Returns the calls that a state wants, and from when on.
fn wants(tx: &Transaction, now: Now) -> Vec<Want> {
    let mut wants = BTreeMap::new();
    for (place, action) in tx.actions.iter().enumerate() {
        if tx.required_call(place).is_some() {
            let at = now.time_of(action.live.not_before.max(now.moment));
            let want = (action.spec.participant.clone(), action.spec.need());
            let earliest = wants.entry(want).or_insert(at);
            *earliest = at.min(*earliest);
        }
    }
    if let (Phase::AskingBack { .. }, Some(check_back)) = (&tx.phase, &tx.spec.check_back) {
        let at = now.time_of(tx.moments.due.max(now.moment));
        let want = (check_back.participant.clone(), Need::CheckBack);
        wants.insert(want, at);
    }
    wants
        .into_iter()
        .map(|((participant, need), at)| Want {
            participant,
            need: Some(need),
            at,
        })
        .collect()
}

/// Returns when time alone takes a transaction further, by the database's clock: at the end of phase one, which is the stored
/// deadline unless that clock has jumped since, or when an action may be given up for its age.
fn until(tx: &Transaction, now: Now) -> Option<Timestamp> {
    if tx.phase != Phase::Trying {
        return aging::next_look(tx, now.moment).map(|look| now.time_of(look));
    }
    let deadline = tx.spec.deadline;
    let at = now.time_of(tx.moments.due);
    Some(if differ(at, deadline) { at } else { deadline })
}

/// Returns from when the ages of its actions count by the database's clock, where that has jumped since. `None`: from the time
/// that the phase says.
fn ages_from(tx: &Transaction, now: Now) -> Option<Timestamp> {
    let of_phase = tx.phase.ages_from()?;
    let from = now.time_of(tx.moments.ages_from);
    differ(from, of_phase).then_some(from)
}

/// Returns whether a transaction at rest stands in the table at other times than it would be put there now: the database's
/// clock was wrong then, or is now.
pub(crate) fn is_misdated(tx: &Transaction, now: Now) -> bool {
    let Some(rest) = &tx.rest else {
        return false;
    };
    let wrong =
        |stored: Timestamp, right: Timestamp| differ(stored.max(now.time), right.max(now.time));
    let is_wrong_time = match (rest.until, until(tx, now)) {
        // The pause before the next look began when it was put to rest.
        (Some(stored), Some(latest)) if aging::is_looked_at_again(tx, now.moment) => {
            stored <= now.time || stored > latest && differ(stored, latest)
        }
        (Some(stored), Some(right)) => wrong(stored, right),
        (stored, right) => stored != right,
    };
    let calls = wants(tx, now).into_iter();
    let mut calls = calls.filter_map(|want| Some((rest.wanted_at(&want)?, want.at)));
    is_wrong_time || calls.any(|(stored, right)| wrong(stored, right))
}

/// Returns whether the action's first call in the present phase was certainly never made.
fn is_unsent(tx: &Transaction, place: usize) -> bool {
    let action = &tx.actions[place];
    match tx.phase {
        Phase::Trying => action.live.sent == Sent::Never,
        Phase::Finishing { .. } => {
            tx.needs(place).is_some() && action.live.permit && action.state.retry_count == 0
        }
        _ => false,
    }
}

/// Gives back the permit of a call that was not made. That of the first call came with the decision and stays.
fn give_back(action: &mut Action) {
    if action.live.permit && action.state.retry_count > 0 && !broken("rest_keeps_permit") {
        action.live.permit = false;
        action.state.retry_count -= 1;
        action.live.dirty = true;
    }
}

/// Notes that there is no way to the participant, once in a row. That is no attempt.
fn note_unreachable(action: &mut Action, operation: Operation, no_way: &Unreachable, now: Now) {
    let noted = action.state.attempts.last().is_some_and(|last| {
        last.outcome == AttemptOutcome::Unreachable && last.operation == operation
    });
    if noted {
        return;
    }
    let error = no_way.error(&action.spec);
    let waits_until = action.live.not_before;
    let attempt = Attempt {
        operation,
        at: now.time.as_micros(),
        took: 0,
        number: 0,
        outcome: AttemptOutcome::Unreachable,
        error,
        next: (waits_until > now.moment).then(|| now.time_of(waits_until).as_micros()),
    };
    note(action, attempt);
}
