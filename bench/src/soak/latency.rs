//! The latency of the healthy traffic over time, from the moment at which a request was due: a coordinator that is away
//! delays what is due meanwhile, and that counts (no coordinated omission).

use std::sync::Mutex;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde_json::{Value, json};

use crate::ledger::lock;
use crate::outages::Outages;
use crate::phases::{Class, Clock};

/// The length of a bucket of time.
pub(crate) const BUCKET: Duration = Duration::from_secs(5);
/// Gaps between two answers that are at least this long are kept.
const GAP_KEPT: Duration = Duration::from_millis(500);
/// The longest latency that a histogram holds; longer ones count as this.
const LONGEST: Duration = Duration::from_mins(5);

/// The figures of some latencies.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Figures {
    pub(crate) count: u64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) max_ms: f64,
}

impl Figures {
    fn of(histogram: &Histogram<u64>) -> Self {
        let at = |percentile| {
            let micros = histogram.value_at_percentile(percentile);
            Duration::from_micros(micros).as_secs_f64() * 1e3
        };
        Self {
            count: histogram.len(),
            p50_ms: at(50.0),
            p99_ms: at(99.0),
            max_ms: at(100.0),
        }
    }

    pub(crate) fn json(&self) -> Value {
        json!({
            "count": self.count,
            "p50": self.p50_ms,
            "p99": self.p99_ms,
            "max": self.max_ms,
        })
    }
}

/// A time without any answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Gap {
    pub(crate) from: Instant,
    pub(crate) to: Instant,
}

impl Gap {
    pub(crate) fn length(&self) -> Duration {
        self.to - self.from
    }
}

struct Recorded {
    buckets: Vec<Histogram<u64>>,
    classes: Vec<Histogram<u64>>,
    last_answer: Instant,
    gaps: Vec<Gap>,
}

/// Everything recorded so far.
pub(crate) struct Latency {
    recorded: Mutex<Recorded>,
}

impl Latency {
    pub(crate) fn new() -> anyhow::Result<Self> {
        let classes = Class::ALL.iter().map(|_| histogram());
        Ok(Self {
            recorded: Mutex::new(Recorded {
                buckets: Vec::new(),
                classes: classes.collect::<Result<_, _>>()?,
                last_answer: Instant::now(),
                gaps: Vec::new(),
            }),
        })
    }

    /// Records an answer that came now, to a request that was due at `due`.
    pub(crate) fn record(
        &self,
        due: Instant,
        clock: &Clock,
        outages: &Outages,
    ) -> anyhow::Result<()> {
        let now = Instant::now();
        let micros = u64::try_from((now - due).min(LONGEST).as_micros())?.max(1);
        let class = if outages.touch(due, now) {
            Class::Outage
        } else {
            clock.phase_at(due).class()
        };
        let number = clock.at(due).as_secs() / BUCKET.as_secs();
        let number = usize::try_from(number)?;
        let mut recorded = lock(&self.recorded);
        while recorded.buckets.len() <= number {
            recorded.buckets.push(histogram()?);
        }
        recorded.buckets[number].record(micros)?;
        recorded.classes[class.number()].record(micros)?;
        let from = std::mem::replace(&mut recorded.last_answer, now);
        if now - from >= GAP_KEPT {
            recorded.gaps.push(Gap { from, to: now });
        }
        Ok(())
    }

    /// Begins to look for gaps from now on.
    pub(crate) fn begin(&self) {
        lock(&self.recorded).last_answer = Instant::now();
    }

    /// Returns the figures of each bucket.
    pub(crate) fn buckets(&self) -> Vec<Figures> {
        let recorded = lock(&self.recorded);
        recorded.buckets.iter().map(Figures::of).collect()
    }

    /// Returns the figures of the bucket of this time, which may still get more, and the one before it together.
    pub(crate) fn lately(&self, at: Duration) -> anyhow::Result<Figures> {
        let number = usize::try_from(at.as_secs() / BUCKET.as_secs())?;
        let mut both = histogram()?;
        let recorded = lock(&self.recorded);
        for bucket in recorded
            .buckets
            .iter()
            .skip(number.saturating_sub(1))
            .take(2)
        {
            both.add(bucket)?;
        }
        Ok(Figures::of(&both))
    }

    /// Returns the figures of a class.
    pub(crate) fn class(&self, class: Class) -> Figures {
        Figures::of(&lock(&self.recorded).classes[class.number()])
    }

    /// Returns every longer gap.
    pub(crate) fn gaps(&self) -> Vec<Gap> {
        lock(&self.recorded).gaps.clone()
    }
}

fn histogram() -> anyhow::Result<Histogram<u64>> {
    Ok(Histogram::new_with_bounds(
        1,
        u64::try_from(LONGEST.as_micros())?,
        2,
    )?)
}
