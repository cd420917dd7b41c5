//! The times at which the coordinator was away on purpose.

use std::fmt;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::ledger::lock;

/// The time after the return of the coordinator that still counts as its outage: clients and participants find their
/// way back in it.
pub(crate) const AFTERMATH: Duration = Duration::from_secs(5);

/// The kinds of trouble that the coordinator gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// SIGKILL and a new start.
    Kill,
    /// SIGTERM and a new start.
    Terminate,
    /// SIGSTOP, and SIGCONT some seconds later.
    Stop,
}

impl Trouble {
    pub(crate) const ALL: [Self; 3] = [Self::Kill, Self::Terminate, Self::Stop];

    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Kill => "SIGKILL",
            Self::Terminate => "SIGTERM",
            Self::Stop => "SIGSTOP",
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// One outage.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outage {
    pub(crate) trouble: Trouble,
    /// The time of the signal.
    pub(crate) from: Instant,
    /// The time of the new start, or of SIGCONT.
    pub(crate) started: Option<Instant>,
    /// The time of the first answer after it.
    pub(crate) answered: Option<Instant>,
}

impl Outage {
    /// Returns the time from the new start to the first answer.
    pub(crate) fn restart(&self) -> Option<Duration> {
        Some(self.answered? - self.started?)
    }

    /// Returns whether any moment of the span is one of the outage or its aftermath.
    fn touches(&self, from: Instant, to: Instant) -> bool {
        to >= self.from
            && self
                .answered
                .is_none_or(|answered| from <= answered + AFTERMATH)
    }
}

/// All outages so far.
#[derive(Default)]
pub(crate) struct Outages(Mutex<Vec<Outage>>);

impl Outages {
    /// Notes that a signal is sent now.
    pub(crate) fn begin(&self, trouble: Trouble) {
        lock(&self.0).push(Outage {
            trouble,
            from: Instant::now(),
            started: None,
            answered: None,
        });
    }

    /// Notes that the coordinator is started again now.
    pub(crate) fn started(&self) {
        if let Some(last) = lock(&self.0).last_mut() {
            last.started = Some(Instant::now());
        }
    }

    /// Notes that the coordinator answers again, and returns the outage.
    pub(crate) fn answered(&self) -> Option<Outage> {
        let mut all = lock(&self.0);
        let last = all.last_mut()?;
        last.answered = Some(Instant::now());
        Some(*last)
    }

    /// Returns whether any moment of the span is one of an outage or its aftermath.
    pub(crate) fn touch(&self, from: Instant, to: Instant) -> bool {
        let all = lock(&self.0);
        all.iter().rev().any(|outage| outage.touches(from, to))
    }

    /// Returns how long the coordinator was away within the span, in all; an outage without an end lasts.
    pub(crate) fn within(&self, from: Instant, to: Instant) -> Duration {
        let all = lock(&self.0);
        let touching = all.iter().filter(|outage| outage.touches(from, to));
        touching
            .map(|outage| {
                outage
                    .answered
                    .unwrap_or(to)
                    .saturating_duration_since(outage.from)
            })
            .sum()
    }

    /// Returns every outage.
    pub(crate) fn all(&self) -> Vec<Outage> {
        lock(&self.0).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_touches_an_outage_from_its_signal_to_its_aftermath() {
        let outages = Outages::default();
        let before = Instant::now();
        outages.begin(Trouble::Kill);
        assert!(outages.touch(before, Instant::now()));
        outages.started();
        let outage = outages.answered().unwrap();
        assert!(outage.restart().is_some());
        let long_before = outage.from.checked_sub(Duration::from_secs(2)).unwrap();
        let shortly_before = outage.from.checked_sub(Duration::from_secs(1)).unwrap();
        assert!(!outages.touch(long_before, shortly_before));
        let back = outage.answered.unwrap();
        assert!(outages.touch(back + AFTERMATH, back + AFTERMATH * 2));
        let late = back + AFTERMATH + Duration::from_millis(1);
        assert!(!outages.touch(late, late));
        assert_eq!(outages.within(late, late), Duration::ZERO);
        assert_eq!(outages.within(long_before, late), back - outage.from);
    }
}
