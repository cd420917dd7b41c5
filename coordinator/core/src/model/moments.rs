//! The times of a transaction on the monotonic clock.

use std::time::Duration;

use tercet_mutation::broken;

use super::{Action, Operation, Phase, Transaction};
use crate::time::{Course, Moment, Now, Timestamp};

/// The times of a transaction on the monotonic clock of the process that has it in memory. No jump of the database's clock
/// moves them, and they are never stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Moments {
    /// When time alone takes it further: the end of phase one, then the next question to the initiator.
    pub due: Moment,
    /// From when the ages of its actions count: see [`Phase::ages_from`].
    pub ages_from: Moment,
}

impl Transaction {
    /// Sets the moments of a loaded transaction by the times that were stored.
    ///
    /// A wait is never longer than it was when it was stored, however far ahead of the present a clock that was wrong put its
    /// end. Phase one is never shorter than that either, as far as this process saw the clock jump. Other waits end at
    /// once where their end cannot be right.
    pub fn resume(&mut self, course: &Course) {
        let now = course.now();
        self.moments = Moments {
            due: match self.phase {
                Phase::Trying => self.end_of_phase_one(course),
                Phase::AskingBack { next } => self.next_question(next, now),
                _ => Moment::default(),
            },
            ages_from: self.start_of_ages(course).unwrap_or_default(),
        };
        let phase_two = self.phase.decision().is_some();
        for action in &mut self.actions {
            action.live.not_before = next_call(action, phase_two, course);
        }
    }

    /// Returns the moment from which on the action at this place is too old: it is given up when a call of it does not
    /// succeed or cannot be made. `None`: it has no age.
    pub(crate) fn too_old_from(&self, place: usize) -> Option<Moment> {
        let max = self.actions[place].spec.retry.in_effect().max_age?;
        Some(self.moments.ages_from + max)
    }

    /// Returns the places of the actions that are too old and have a call due.
    pub(crate) fn too_old(&self, now: Moment) -> impl Iterator<Item = usize> + '_ {
        let is_finishing = matches!(self.phase, Phase::Finishing { .. });
        let is_too_old = move |place: &usize| {
            is_finishing
                && !broken("absent_never_too_old")
                && self.too_old_from(*place).is_some_and(|from| from <= now)
                && self.required_finish(*place).is_some()
                && self.actions[*place].live.not_before <= now
        };
        (0..self.actions.len()).filter(is_too_old)
    }

    fn start_of_ages(&self, course: &Course) -> Option<Moment> {
        let of_phase = self.phase.ages_from().map(|at| (at, at));
        let rest = self.rest.as_ref();
        let of_rest = rest.and_then(|rest| rest.ages_from.zip(rest.until_set_at));
        let (from, set_at) = of_rest.or(of_phase)?;
        // A time that is still to come is that of a clock that was wrong.
        Some(course.moment_of(from, set_at).min(course.now().moment))
    }

    fn end_of_phase_one(&self, course: &Course) -> Moment {
        let spec = &self.spec;
        let of_rest = self.rest.as_ref().and_then(|rest| {
            let set_at = rest.until_set_at.unwrap_or(spec.create_time);
            Some((rest.until?, set_at))
        });
        let (until, set_at) = of_rest.unwrap_or((spec.deadline, spec.create_time));
        let latest = course.now().moment + until.since(set_at);
        course.moment_of(until, set_at).min(latest)
    }

    fn next_question(&self, next: Timestamp, now: Now) -> Moment {
        let longest = self.spec.check_back.as_ref().map(|check_back| {
            let check_back = check_back.in_effect();
            let pauses = check_back.interval.max(check_back.max_interval);
            check_back.first_delay.max(pauses)
        });
        within(now.moment_of(next), longest.unwrap_or_default(), now)
    }
}

/// Returns the moment from which the policy of a loaded action allows its next call.
fn next_call(action: &Action, phase_two: bool, course: &Course) -> Moment {
    // A pause of phase one does not delay phase two.
    let last = action.state.attempts.last();
    let last = last.filter(|last| (last.operation == Operation::Try) != phase_two);
    let next = last.and_then(|last| Some((last.next?, last.at)));
    next.map_or_else(Moment::default, |(next, sent_at)| {
        let (next, sent_at) = (
            Timestamp::from_micros(next),
            Timestamp::from_micros(sent_at),
        );
        let next = course.moment_of(next, sent_at);
        within(next, action.spec.retry.in_effect().max_delay, course.now())
    })
}

/// Returns the end of a wait; the present where that lies further ahead than the longest such wait.
fn within(end: Moment, longest: Duration, now: Now) -> Moment {
    if end > now.moment + longest {
        now.moment
    } else {
        end
    }
}
