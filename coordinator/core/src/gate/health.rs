//! The health of a participant, by the ends of its calls: how many more may leave now.
//!
//! A registered address that takes no call is *down*: no call leaves but one probe at a time, with pauses that grow.
//! A participant that takes its calls and answers none of them is *failing*: its calls leave a number at a time, so that
//! the retries of any number of transactions are gathered, and their writes take little from other transactions.

use std::time::Duration;

use tercet_mutation::broken;

use super::Ticket;
use crate::{
    limits,
    port::{Outage, Route},
    time::{Moment, Now, earliest},
};

/// The end of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End<'a> {
    /// The call.
    pub ticket: Ticket,
    /// The way on which it left.
    pub route: Route,
    /// When it left.
    pub sent_at: Moment,
    /// What it tells of the participant's health.
    pub ending: Ending<'a>,
}

/// The end of a call, as far as it tells of the participant's health.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending<'a> {
    /// The participant answered it.
    Answered,
    /// It was taken, and there is no answer, or none that says anything.
    Failed,
    /// It never left: the error.
    Unsent(&'a str),
}

/// The change in the ways to a participant that the end of a call makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// None.
    None,
    /// There is no way any more: the address is down.
    Down,
    /// There is a way again.
    Up,
}

/// An address that is down.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Down {
    outage: Outage,
    probes: u32,
    stage: Stage,
}

/// The stage of the next probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// It does not leave before this time.
    Pause(Moment),
    /// It may leave. Those that could make it are looked for again at this time.
    Open(Moment),
    /// It is under way. If it has not come back by this time, it has left.
    UnderWay(Ticket, Moment),
}

/// The calls of a failing participant that may leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Pace {
    left: u32,
    /// When as many may leave again; `None`: none has left since the last time.
    next: Option<Moment>,
}

/// The health of one participant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Health {
    down: Option<Down>,
    /// The end of the last outage: calls that left before it say nothing of the time after.
    up_since: Moment,
    /// Calls in a row that failed.
    failures: u32,
    pace: Option<Pace>,
}

impl Health {
    pub(super) fn outage(&self) -> Option<&Outage> {
        self.down.as_ref().map(|down| &down.outage)
    }

    /// Returns whether the last call failed.
    pub(super) fn is_failing(&self) -> bool {
        self.failures > 0
    }

    /// Returns whether a call may leave now, or soon.
    pub(super) fn is_up(&self) -> bool {
        let down = self.down.as_ref();
        down.is_none_or(|down| matches!(down.stage, Stage::Open(_)))
    }

    /// Returns how many of these free places calls may take now.
    pub(super) fn places(&self, free: u32) -> u32 {
        match (&self.down, &self.pace) {
            (Some(_), _) => free.min(u32::from(self.is_up())),
            (None, Some(pace)) => free.min(pace.left),
            (None, None) => free,
        }
    }

    /// Notes that a call leaves.
    pub(super) fn left(&mut self, ticket: Ticket, now: Moment) {
        if let Some(down) = &mut self.down {
            down.stage = Stage::UnderWay(ticket, now + limits::PROBE_PATIENCE);
        } else if let Some(pace) = &mut self.pace {
            pace.left = pace.left.saturating_sub(1);
            pace.next
                .get_or_insert_with(|| now + limits::RETRY_INTERVAL);
        }
    }

    /// Notes the end of a call.
    pub(super) fn ended(&mut self, end: &End<'_>, now: Now, dice: u64) -> Change {
        match (&mut self.down, end.ending) {
            (Some(down), Ending::Unsent(error)) => {
                error.clone_into(&mut down.outage.error);
                if down.is_probe(end.ticket) {
                    down.stage = Stage::Pause(now.moment + pause(down.probes, dice));
                    down.probes = down.probes.saturating_add(1);
                }
                Change::None
            }
            (None, Ending::Unsent(error)) if end.sent_at >= self.up_since => {
                self.down = Some(Down {
                    outage: Outage {
                        since: now.time,
                        error: error.to_owned(),
                    },
                    probes: 1,
                    stage: Stage::Pause(now.moment + pause(0, dice)),
                });
                Change::Down
            }
            (None, Ending::Unsent(_)) => Change::None,
            (Some(down), Ending::Answered | Ending::Failed) if down.is_probe(end.ticket) => {
                self.comes_up(now.moment);
                self.note(end.ending);
                Change::Up
            }
            (_, Ending::Answered | Ending::Failed) => {
                self.note(end.ending);
                Change::None
            }
        }
    }

    /// Counts calls that fail in a row.
    fn note(&mut self, ending: Ending<'_>) {
        if ending == Ending::Answered {
            self.failures = 0;
            self.pace = None;
            return;
        }
        self.failures = self.failures.saturating_add(1);
        if self.failures >= limits::FAILURES_IN_A_ROW && self.pace.is_none() {
            self.pace = Some(Pace {
                left: limits::RETRIES_AT_ONCE,
                next: None,
            });
        }
    }

    /// Notes that a call was given up whose end says nothing: another one may be the probe.
    pub(super) fn given_up(&mut self, ticket: Ticket, now: Moment) {
        if let Some(down) = &mut self.down
            && down.is_probe(ticket)
        {
            down.stage = Stage::Open(now + limits::PROBE_DELAY_MAX);
        }
    }

    fn comes_up(&mut self, now: Moment) {
        self.down = None;
        self.up_since = now;
    }

    /// Returns when something changes by the passing of time.
    pub(super) fn next_wakeup(&self) -> Option<Moment> {
        let probe = self.down.as_ref().map(|down| match down.stage {
            Stage::Pause(at) | Stage::Open(at) | Stage::UnderWay(_, at) => at,
        });
        earliest(probe, self.pace.and_then(|pace| pace.next))
    }

    /// Lets the calls leave for which it is time; returns whether the address was down until now.
    pub(super) fn wake(&mut self, now: Moment) -> bool {
        if let Some(pace) = &mut self.pace
            && pace.next.is_some_and(|at| at <= now)
        {
            pace.next = None;
            if !broken("measure_never_renewed") {
                pace.left = limits::RETRIES_AT_ONCE;
            }
        }
        let Some(down) = &mut self.down else {
            return false;
        };
        let again = now + limits::PROBE_DELAY_MAX;
        match down.stage {
            Stage::Pause(at) if at <= now && broken("probe_never_leaves") => {
                down.stage = Stage::Pause(again);
                false
            }
            Stage::Pause(at) | Stage::Open(at) if at <= now => {
                down.stage = Stage::Open(again);
                true
            }
            Stage::UnderWay(_, at) if at <= now => {
                self.comes_up(now);
                true
            }
            _ => false,
        }
    }
}

impl Down {
    fn is_probe(&self, ticket: Ticket) -> bool {
        matches!(self.stage, Stage::UnderWay(probe, _) if probe == ticket)
    }
}

/// Returns the pause before the next probe: doubled with each, up to a cap, and between half of that and all of it.
fn pause(probes: u32, dice: u64) -> Duration {
    let whole = limits::PROBE_DELAY
        .saturating_mul(1 << probes.min(16))
        .min(limits::PROBE_DELAY_MAX);
    let half = whole / 2;
    let micros = u64::try_from(half.as_micros()).unwrap_or(u64::MAX);
    half + Duration::from_micros(dice % micros.saturating_add(1))
}
