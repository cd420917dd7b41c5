//! Runs of many seeds.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
};

use super::{
    coverage::Coverage,
    faults::Fault,
    world::{Report, World},
};

/// The summary of a run.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// The number of seeds.
    pub seeds: u64,
    /// The number of transactions.
    pub transactions: u64,
    /// The number of events.
    pub events: u64,
    /// The fewest faults in one seed.
    pub fewest_faults: Option<u64>,
    /// The number of times each fault struck, in the order of [`Fault::ALL`].
    pub faults: Vec<u64>,
    /// The pairs of state and event that were reached.
    pub coverage: Coverage,
    /// Seeds in which an invariant was broken, each with the breach.
    pub broken: Vec<(u64, String)>,
    /// Seeds in which the code panicked, each with the message.
    pub crashed: Vec<(u64, String)>,
}

impl Summary {
    fn add(&mut self, seed: u64, result: Result<Report, String>) {
        self.seeds += 1;
        let report = match result {
            Ok(report) => report,
            Err(panic) => {
                self.crashed.push((seed, panic));
                return;
            }
        };
        self.transactions += report.transactions;
        self.events += report.events;
        self.faults.resize(Fault::ALL.len(), 0);
        for (sum, count) in self.faults.iter_mut().zip(&report.faults) {
            *sum += count;
        }
        let faults: u64 = report.faults.iter().sum();
        self.fewest_faults = Some(self.fewest_faults.map_or(faults, |least| least.min(faults)));
        self.coverage.add(&report.coverage);
        if let Some(breach) = report.breach {
            self.broken.push((seed, breach.to_string()));
        }
    }

    fn merge(&mut self, other: Self) {
        self.seeds += other.seeds;
        self.transactions += other.transactions;
        self.events += other.events;
        self.faults.resize(Fault::ALL.len(), 0);
        for (sum, count) in self.faults.iter_mut().zip(&other.faults) {
            *sum += count;
        }
        self.fewest_faults = match (self.fewest_faults, other.fewest_faults) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (one, two) => one.or(two),
        };
        self.coverage.add(&other.coverage);
        self.broken.extend(other.broken);
        self.crashed.extend(other.crashed);
    }

    /// Returns whether every invariant held and nothing panicked.
    pub fn held(&self) -> bool {
        self.broken.is_empty() && self.crashed.is_empty()
    }
}

/// Runs one seed.
///
/// # Errors
/// The message, if the code panics.
pub fn seed(seed: u64, keep_history: bool) -> Result<Report, String> {
    catch_unwind(AssertUnwindSafe(|| World::new(seed, keep_history).run())).map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
            .unwrap_or_else(|| "panicked".to_owned())
    })
}

/// Runs seeds `from..from + seeds` on `jobs` threads; with `stop_early` it ends with the first that breaks.
/// `around` runs each thread's work, so that it can choose a mutation for it.
pub fn seeds(
    from: u64,
    seeds: u64,
    jobs: usize,
    stop_early: bool,
    around: impl Fn(&mut dyn FnMut()) + Sync,
) -> Summary {
    let next = AtomicU64::new(from);
    let stopped = AtomicBool::new(false);
    let work = || {
        let mut summary = Summary::default();
        around(&mut || {
            while !stopped.load(Ordering::Relaxed) {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= from + seeds {
                    break;
                }
                summary.add(number, seed(number, false));
                if stop_early && !summary.broken.is_empty() {
                    stopped.store(true, Ordering::Relaxed);
                }
            }
        });
        summary
    };
    let mut summary = Summary::default();
    thread::scope(|scope| {
        let threads: Vec<_> = (0..jobs.max(1)).map(|_| scope.spawn(work)).collect();
        for thread in threads {
            match thread.join() {
                Ok(part) => summary.merge(part),
                Err(_) => summary
                    .crashed
                    .push((0, "a thread of the run panicked".into())),
            }
        }
    });
    summary.broken.sort();
    summary.crashed.sort();
    summary
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::seeds;

    /// `cargo simulate` runs thousands of seeds.
    const SEEDS: u64 = 150;

    #[test]
    fn every_invariant_holds_in_the_first_seeds() {
        let summary = seeds(1, SEEDS, 2, false, |work| work());
        let mut found = String::new();
        for (seed, what) in summary.broken.iter().chain(&summary.crashed) {
            let _ = writeln!(found, "seed {seed}: {what}");
        }
        assert_eq!(found, "", "replay with `cargo simulate --seed N`");
        assert!(summary.transactions >= SEEDS * 80);
        assert!(
            summary.fewest_faults >= Some(10),
            "{:?}",
            summary.fewest_faults
        );
    }

    #[test]
    fn a_seed_decides_everything() {
        let run = || super::seed(7, false).map(|report| (report.events, report.faults));
        assert_eq!(run(), run());
    }

    #[cfg(feature = "mutations")]
    #[test]
    fn code_that_is_broken_on_purpose_breaks_an_invariant() {
        let name = "fence_skipped";
        let summary = seeds(1, 50, 1, true, |work| {
            tercet_mutation::with(Some(name), work);
        });
        assert!(!summary.broken.is_empty());
    }
}
