//! The phases of a run, and its clock.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::ledger::lock;

/// A phase of the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Healthy traffic alone.
    Quiet,
    /// The stuck transactions are begun, at full speed.
    Filling,
    /// They are stuck; the coordinator gets its troubles.
    Stuck,
    /// Their participants are healed; the troubles go on.
    Draining,
    /// No new traffic; everything comes to its end.
    Settling,
}

impl Phase {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Quiet => "quiet",
            Self::Filling => "filling",
            Self::Stuck => "stuck",
            Self::Draining => "draining",
            Self::Settling => "settling",
        }
    }

    /// Returns the class of a latency in this phase, outside of outages.
    pub(crate) fn class(self) -> Class {
        match self {
            Self::Quiet => Class::Quiet,
            Self::Filling => Class::Filling,
            Self::Stuck => Class::Stuck,
            Self::Draining | Self::Settling => Class::Draining,
        }
    }
}

/// The classes into which latencies are sorted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    Quiet,
    Filling,
    Stuck,
    Draining,
    /// While the coordinator was away, and shortly after.
    Outage,
}

impl Class {
    pub(crate) const ALL: [Self; 5] = [
        Self::Quiet,
        Self::Filling,
        Self::Stuck,
        Self::Draining,
        Self::Outage,
    ];

    /// Returns its place in [`ALL`](Self::ALL).
    pub(crate) fn number(self) -> usize {
        self as usize
    }

    /// Returns its name in JSON.
    pub(crate) fn key(self) -> &'static str {
        match self {
            Self::Quiet => "quiet",
            Self::Filling => "filling",
            Self::Stuck => "stuck",
            Self::Draining => "draining",
            Self::Outage => "outage",
        }
    }

    /// Returns its description for people.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Quiet => "quiet: healthy traffic alone",
            Self::Filling => "while the stuck ones are begun",
            Self::Stuck => "with all of them stuck",
            Self::Draining => "while they drain, and after",
            Self::Outage => "outages, and 5 s after each",
        }
    }
}

/// The time since the start, and the phases so far.
pub(crate) struct Clock {
    started: Instant,
    phases: Mutex<Vec<(Instant, Phase)>>,
}

impl Clock {
    /// Starts with the quiet phase.
    pub(crate) fn start() -> Self {
        let started = Instant::now();
        Self {
            started,
            phases: Mutex::new(vec![(started, Phase::Quiet)]),
        }
    }

    /// Begins a phase.
    pub(crate) fn begin(&self, phase: Phase) {
        lock(&self.phases).push((Instant::now(), phase));
    }

    /// Returns the time since the start.
    pub(crate) fn now(&self) -> Duration {
        self.started.elapsed()
    }

    /// Returns a moment as the time since the start.
    pub(crate) fn at(&self, moment: Instant) -> Duration {
        moment.saturating_duration_since(self.started)
    }

    /// Returns the moment at which the run is this old.
    pub(crate) fn moment(&self, age: Duration) -> Instant {
        self.started + age
    }

    /// Returns the phase of a moment.
    pub(crate) fn phase_at(&self, moment: Instant) -> Phase {
        let phases = lock(&self.phases);
        let begun = phases.iter().rev().find(|(from, _)| *from <= moment);
        begun.map_or(Phase::Quiet, |(_, phase)| *phase)
    }

    /// Returns the phase now.
    pub(crate) fn phase(&self) -> Phase {
        self.phase_at(Instant::now())
    }

    /// Returns the time since the start at which a phase began.
    pub(crate) fn began(&self, phase: Phase) -> Option<Duration> {
        let phases = lock(&self.phases);
        let begun = phases.iter().find(|(_, other)| *other == phase)?;
        Some(self.at(begun.0))
    }
}
