//! The writes that no commit has taken yet: those for which a caller waits go first, and the others keep a share.

use std::{collections::VecDeque, time::Duration};

use crate::{
    limits,
    time::{Moment, earliest},
    write::Write,
};

/// A write, with the time at which it came in.
type Gathered = (Moment, Write);

/// The writes that no commit has taken yet, each kind in the order in which they came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Gathering {
    /// Those for which a caller waits.
    urgent: VecDeque<Gathered>,
    /// The others.
    patient: VecDeque<Gathered>,
}

impl Gathering {
    /// Adds a write.
    pub(super) fn push(&mut self, now: Moment, write: Write) {
        let queue = if write.urgent {
            &mut self.urgent
        } else {
            &mut self.patient
        };
        queue.push_back((now, write));
    }

    /// Returns the number of writes.
    pub(super) fn len(&self) -> usize {
        self.urgent.len() + self.patient.len()
    }

    /// Returns when a commit is to take them: at once if a caller waits for one, otherwise once the first has lingered.
    pub(super) fn due(&self, linger: Duration) -> Option<Moment> {
        let urgent = self.urgent.front().map(|(since, _)| *since);
        let patient = self.patient.front().map(|(since, _)| *since + linger);
        earliest(urgent, patient)
    }

    /// Takes at most this many, with the time at which the first of them came in: of those for which no caller waits one
    /// share in [`limits::LANE_SHARES`], or as many as the others leave.
    pub(super) fn take(&mut self, number: usize) -> Option<(Moment, Vec<Write>)> {
        let first = |queue: &VecDeque<Gathered>| queue.front().map(|(since, _)| *since);
        let (urgent, patient) = (first(&self.urgent), first(&self.patient));
        let since = earliest(urgent, patient)?;
        // Where the share is less than one write, the one that came first goes first.
        let least = usize::from(patient == Some(since));
        let share = (number / limits::LANE_SHARES).max(least);
        let kept = share.min(self.patient.len());
        let urgent = number.saturating_sub(kept).min(self.urgent.len());
        let patient = (number - urgent).min(self.patient.len());
        let taken = self.urgent.drain(..urgent);
        let taken = taken.chain(self.patient.drain(..patient));
        Some((since, taken.map(|(_, write)| write).collect()))
    }

    /// Takes those for which a caller waits.
    pub(super) fn take_urgent(&mut self) -> Vec<Write> {
        self.urgent.drain(..).map(|(_, write)| write).collect()
    }
}
