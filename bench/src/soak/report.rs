//! The findings and figures of a run, for people and for scripts.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tercet_bench::figures::{cpus, lossy, mib};

use crate::audit::Audit;
use crate::latency::BUCKET;
use crate::log::LogLines;
use crate::options::Options;
use crate::outages::{Outage, Trouble};
use crate::phases::{Class, Phase};
use crate::sample::{Extremes, Sample};
use crate::stage::Stage;

/// The coordinator's memory without load.
pub(crate) struct Memory {
    /// After its first start.
    pub(crate) idle_kib: u64,
    /// When everything had come to its end.
    pub(crate) end_kib: u64,
}

/// A whole run.
pub(crate) struct Report {
    pub(crate) options: Options,
    pub(crate) stage: Arc<Stage>,
    pub(crate) file_system: String,
    pub(crate) memory: Memory,
    pub(crate) samples: Vec<Sample>,
    /// The most parked transactions that were seen at once.
    pub(crate) parked: usize,
    pub(crate) log: LogLines,
    /// The time since the start at which everything had come to its end.
    pub(crate) settled: Duration,
    /// Transactions that did not.
    pub(crate) unfinished: Vec<String>,
    pub(crate) audit: Audit,
}

/// The way of the stuck transactions to their end.
struct Drain {
    /// The actions that were stuck when their participants were healed.
    stuck: u64,
    /// The time from there until none was left; absent: some were left.
    took: Option<Duration>,
    /// The most actions done per second, over ten seconds.
    fastest: f64,
}

impl Report {
    /// Returns everything that is wrong; empty after a good run.
    pub(crate) fn failures(&self) -> Vec<String> {
        let mut failures = self.unfinished.clone();
        failures.extend(self.stage.book.findings());
        failures.extend(self.audit.wrong.iter().cloned());
        failures.extend(self.log.panics.iter().cloned());
        let errors = self.stage.book.errors();
        if !errors.is_empty() {
            failures.push(format!("requests got no answer: {errors:?}"));
        }
        if self.parked > 0 {
            failures.push(format!("{} transactions were parked", self.parked));
        }
        let peak = mib(self.extremes().peak_kib);
        let limit = self.options.memory_limit;
        if peak > lossy(limit) {
            failures.push(format!(
                "{peak:.0} MiB of memory were used; the limit is {limit}"
            ));
        }
        failures.extend(self.long_gaps());
        failures
    }

    /// Returns the gaps between two answers of the healthy traffic that no outage explains.
    fn long_gaps(&self) -> Vec<String> {
        let gaps = self.stage.latency.gaps().into_iter();
        gaps.filter_map(|gap| {
            let away = self.stage.outages.within(gap.from, gap.to);
            let allowed = self.options.gap_limit() + away;
            let at = self.stage.clock.at(gap.from);
            (gap.length() > allowed).then(|| {
                format!(
                    "no answer to the healthy traffic for {:.1} s at {:.0} s, of which the coordinator was away \
                     {:.1} s",
                    gap.length().as_secs_f64(),
                    at.as_secs_f64(),
                    away.as_secs_f64()
                )
            })
        })
        .collect()
    }

    fn extremes(&self) -> Extremes {
        Extremes::of(&self.samples)
    }

    fn drain(&self) -> Drain {
        let healed = self.stage.clock.began(Phase::Draining).unwrap_or_default();
        let after: Vec<&Sample> = self.samples.iter().filter(|one| one.at >= healed).collect();
        let empty = after.iter().find(|one| one.backlog == 0);
        let rates = after.windows(11).filter_map(|ten| {
            let (first, last) = (ten.first()?, ten.last()?);
            let done = first.backlog.saturating_sub(last.backlog);
            Some(lossy(done) / last.at.saturating_sub(first.at).as_secs_f64().max(1.0))
        });
        Drain {
            stuck: after.first().map_or(0, |one| one.backlog),
            took: empty.map(|one| one.at.saturating_sub(healed)),
            fastest: rates.fold(0.0, f64::max),
        }
    }

    fn outages_of(&self, trouble: Trouble) -> Vec<Outage> {
        let all = self.stage.outages.all().into_iter();
        all.filter(|outage| outage.trouble == trouble).collect()
    }

    pub(crate) fn json(&self) -> Value {
        let most = self.extremes();
        let drain = self.drain();
        let classes = Class::ALL.map(|class| {
            let figures = self.stage.latency.class(class);
            (class.key().to_owned(), figures.json())
        });
        json!({
            "minutes": self.options.minutes,
            "stuck": self.options.stuck,
            "rate": self.options.rate,
            "seed": self.options.seed,
            "cpus": cpus(),
            "file_system": self.file_system,
            "healthy_ms": serde_json::Map::from_iter(classes),
            "memory_mib": {
                "idle": mib(self.memory.idle_kib),
                "most": mib(most.peak_kib),
                "end": mib(self.memory.end_kib),
                "limit": self.options.memory_limit,
            },
            "cpu_percent": most.cpu_percent,
            "threads": most.threads,
            "files": most.files,
            "database_mib": mib(most.database_bytes / 1024),
            "log_mib": mib(most.log_bytes / 1024),
            "drain": {
                "stuck": drain.stuck,
                "seconds": drain.took.map(|took| took.as_secs_f64()),
                "fastest_per_second": drain.fastest,
            },
            "settled_after_seconds": self.settled.as_secs_f64(),
            "outages": self.stage.outages.all().iter().map(|one| self.outage(one)).collect::<Vec<_>>(),
            "begun": self.stage.book.len(),
            "committed": self.audit.committed,
            "rolled_back": self.audit.rolled_back,
            "never_begun": self.audit.never_begun,
            "actions_compared": self.audit.actions,
            "contradictions": self.audit.contradictions,
            "errors": self.stage.book.errors(),
            "log": self.log.counts,
            "failures": self.failures(),
            "samples": self.samples.iter().map(Sample::json).collect::<Vec<_>>(),
            "buckets": self.buckets(),
        })
    }

    fn outage(&self, outage: &Outage) -> Value {
        let at = |moment| self.stage.clock.at(moment).as_secs_f64();
        json!({
            "signal": outage.trouble.word(),
            "at": at(outage.from),
            "started": outage.started.map(at),
            "answered": outage.answered.map(at),
        })
    }

    fn buckets(&self) -> Vec<Value> {
        let buckets = self.stage.latency.buckets();
        let from = (0..).map(|number| BUCKET.as_secs() * number);
        let with_time = from.zip(&buckets).map(|(from, figures)| {
            let mut value = figures.json();
            value["from"] = from.into();
            value
        });
        with_time.collect()
    }

    fn write_outages(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for trouble in Trouble::ALL {
            let outages = self.outages_of(trouble);
            let restarts = outages.iter().filter_map(Outage::restart);
            let mut restarts: Vec<Duration> = restarts.collect();
            restarts.sort_unstable();
            let (Some(middle), Some(longest)) = (restarts.get(restarts.len() / 2), restarts.last())
            else {
                continue;
            };
            let from = match trouble {
                Trouble::Stop => "SIGCONT",
                Trouble::Kill | Trouble::Terminate => "the new start",
            };
            writeln!(
                f,
                "{:>3} {trouble}: first answer {:.2} s after {from} (median), {:.2} s at most",
                outages.len(),
                middle.as_secs_f64(),
                longest.as_secs_f64()
            )?;
        }
        Ok(())
    }

    fn write_drain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let drain = self.drain();
        match drain.took {
            Some(took) => writeln!(
                f,
                "drain: {} stuck actions were done {:.0} s after their participants were healed ({:.0} per second, {:.0} \
                 in the fastest ten seconds)",
                drain.stuck,
                took.as_secs_f64(),
                lossy(drain.stuck) / took.as_secs_f64().max(1.0),
                drain.fastest
            ),
            None => writeln!(
                f,
                "drain: of {} stuck actions some were left; {:.0} per second in the fastest ten seconds",
                drain.stuck, drain.fastest
            ),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let most = self.extremes();
        writeln!(
            f,
            "\n{} minutes with {} stuck transactions and {} healthy ones per second; SQLite with synchronous=FULL on {}; {} \
             CPUs for all processes; seed {}\n",
            self.options.minutes,
            self.options.stuck,
            self.options.rate,
            self.file_system,
            cpus(),
            self.options.seed
        )?;
        writeln!(
            f,
            "{:<32} {:>9} {:>9} {:>9} {:>9}",
            "healthy traffic", "answers", "p50 ms", "p99 ms", "max ms"
        )?;
        for class in Class::ALL {
            let figures = self.stage.latency.class(class);
            writeln!(
                f,
                "{:<32} {:>9} {:>9.1} {:>9.1} {:>9.0}",
                class.words(),
                figures.count,
                figures.p50_ms,
                figures.p99_ms,
                figures.max_ms
            )?;
        }
        writeln!(
            f,
            "\nmemory (MiB): {:.0} idle, {:.0} at most (limit {}), {:.0} at the end",
            mib(self.memory.idle_kib),
            mib(most.peak_kib),
            self.options.memory_limit,
            mib(self.memory.end_kib)
        )?;
        writeln!(
            f,
            "CPU {:.0} % of one on average; at most {} threads, {} files, {:.0} MiB of database, {:.0} MiB of its log",
            most.cpu_percent,
            most.threads,
            most.files,
            mib(most.database_bytes / 1024),
            mib(most.log_bytes / 1024)
        )?;
        self.write_drain(f)?;
        self.write_outages(f)?;
        let Audit {
            committed,
            rolled_back,
            never_begun,
            actions,
            contradictions,
            ..
        } = &self.audit;
        writeln!(
            f,
            "books: {} begun, {committed} committed, {rolled_back} rolled back, {never_begun} never begun, \
             {actions} actions compared, {contradictions} contradictions; all ended {:.0} s after the start",
            self.stage.book.len(),
            self.settled.as_secs_f64()
        )?;
        for (message, count) in &self.log.counts {
            writeln!(f, "log: {count} x {message}")?;
        }
        let failures = self.failures();
        if failures.is_empty() {
            return writeln!(f, "good");
        }
        for failure in failures {
            writeln!(f, "NOT GOOD: {failure}")?;
        }
        Ok(())
    }
}
