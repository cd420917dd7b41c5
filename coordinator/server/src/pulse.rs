//! The time in which the process stood still: it was stopped, or got no processor. Such a time is not the silence of
//! whatever is waited for: an answer may have come and not been read.

use std::{
    future::Future,
    pin::pin,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::time::{error::Elapsed, timeout_at};

use crate::bounds;

/// Counts the time in which the process stood still, by beats that come at least every [`bounds::PULSE`].
#[derive(Debug)]
pub(crate) struct Pulse(Mutex<State>);

#[derive(Debug)]
struct State {
    /// The last beat; `None`: none comes any more.
    beat: Option<Instant>,
    /// The whole time before it in which the process stood still.
    still: Duration,
}

impl State {
    /// Returns the time from the last beat on in which the process stood still.
    fn late(&self, now: Instant) -> Option<Duration> {
        late(now.saturating_duration_since(self.beat?), bounds::PULSE)
    }
}

/// Returns by how much longer than was meant a wait took, where that is so long that the process stood still.
pub(crate) fn late(took: Duration, meant: Duration) -> Option<Duration> {
    let late = took.saturating_sub(meant);
    (late >= bounds::STANDSTILL).then_some(late)
}

impl Pulse {
    /// Makes a pulse that beats now.
    pub(crate) fn new() -> Self {
        Self(Mutex::new(State {
            beat: Some(Instant::now()),
            still: Duration::ZERO,
        }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that panics runs under the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Beats; returns for how long the process stood still since the last beat, if it did.
    pub(crate) fn beat(&self) -> Option<Duration> {
        let now = Instant::now();
        let mut state = self.state();
        let late = state.late(now);
        state.beat = Some(now);
        state.still += late.unwrap_or_default();
        late
    }

    /// Notes that no further beat comes. Times that pass from now on are taken for ordinary ones.
    pub(crate) fn end(&self) {
        self.state().beat = None;
    }

    /// Returns for how long the process stood still in all, whether or not it has beaten since.
    fn stood_still(&self) -> Duration {
        let state = self.state();
        state.still + state.late(Instant::now()).unwrap_or_default()
    }

    /// Waits for a future for at most `limit`, not counting the time in which the process stands still.
    ///
    /// # Errors
    /// The limit was reached.
    pub(crate) async fn timeout<F: Future>(
        &self,
        limit: Duration,
        future: F,
    ) -> Result<F::Output, Elapsed> {
        self.until(self.limit(limit), future).await
    }

    /// Begins a limit, which several waits may share.
    pub(crate) fn limit(&self, time: Duration) -> Limit {
        Limit {
            end: tokio::time::Instant::now() + time,
            still: self.stood_still(),
        }
    }

    /// Waits for a future until a limit at most.
    ///
    /// # Errors
    /// The limit was reached.
    pub(crate) async fn until<F: Future>(
        &self,
        limit: Limit,
        future: F,
    ) -> Result<F::Output, Elapsed> {
        let mut future = pin!(future);
        let mut moved = Duration::ZERO;
        loop {
            match timeout_at(limit.end + moved, future.as_mut()).await {
                Ok(output) => return Ok(output),
                Err(elapsed) => {
                    let stood = self.stood_still().saturating_sub(limit.still);
                    if stood <= moved {
                        return Err(elapsed);
                    }
                    moved = stood;
                }
            }
        }
    }
}

/// The end of a time in which the process does not stand still.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limit {
    end: tokio::time::Instant,
    /// The time in which the process stood still before the limit began.
    still: Duration,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::future::pending;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    impl Pulse {
        /// Makes the last beat one of so long ago.
        fn silent_for(&self, time: Duration) {
            self.state().beat = Some(Instant::now().checked_sub(time).unwrap());
        }
    }

    fn about(time: Duration) -> std::ops::Range<Duration> {
        time..time + SECOND / 4
    }

    #[test]
    fn beats_that_come_in_time_are_no_standstill() {
        let pulse = Pulse::new();
        pulse.silent_for(bounds::PULSE);
        assert_eq!(pulse.beat(), None);
        assert_eq!(pulse.stood_still(), Duration::ZERO);
    }

    #[test]
    fn a_standstill_counts_before_the_next_beat_and_once() {
        let pulse = Pulse::new();
        let stood = (9 * SECOND).checked_sub(bounds::PULSE).unwrap();
        pulse.silent_for(9 * SECOND);
        assert!(about(stood).contains(&pulse.stood_still()));
        assert!(about(stood).contains(&pulse.beat().unwrap()));
        assert_eq!(pulse.beat(), None);
        assert!(about(stood).contains(&pulse.stood_still()));
        pulse.end();
        assert!(about(stood).contains(&pulse.stood_still()));
    }

    /// An answer that comes after the limit, which ended while nothing could be read.
    #[tokio::test]
    async fn a_limit_does_not_end_by_a_standstill() {
        let pulse = Pulse::new();
        let limit = pulse.limit(SECOND / 100);
        pulse.silent_for(3_600 * SECOND);
        let (sender, answer) = tokio::sync::oneshot::channel();
        let mut waiting = pin!(pulse.until(limit, answer));
        tokio::time::sleep(SECOND / 10).await;
        assert!(futures::poll!(waiting.as_mut()).is_pending());
        sender.send(1).unwrap();
        assert_eq!(waiting.await.unwrap().unwrap(), 1);
    }

    #[tokio::test]
    async fn a_limit_ends_though_the_process_stood_still_before() {
        let pulse = Pulse::new();
        pulse.silent_for(9 * SECOND);
        pulse.beat();
        let ended = pulse.timeout(SECOND / 100, pending::<()>()).await;
        assert!(ended.is_err());
    }
}
