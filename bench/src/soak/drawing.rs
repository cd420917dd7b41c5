//! The run as a picture: the healthy traffic's latency, the coordinator's memory, what is stuck, CPU.

use std::time::Duration;

use tercet_bench::figures::{lossy, mib};

use crate::latency::{BUCKET, Figures};
use crate::outages::Trouble;
use crate::phases::Phase;
use crate::picture::{Caption, Line, Mark, Panel, Picture, Point, Scale};
use crate::report::Report;
use crate::sample::{Process, Sample};

/// The colour of each kind of outage.
fn colour(trouble: Trouble) -> &'static str {
    match trouble {
        Trouble::Kill => "#e15759",
        Trouble::Terminate => "#f28e2b",
        Trouble::Stop => "#76b7b2",
    }
}

/// Makes the picture of a run.
pub(crate) fn of(report: &Report) -> Picture {
    let stage = &report.stage;
    let last = report.samples.last().map_or(report.settled, |one| one.at);
    let marks = stage.outages.all().into_iter().map(|outage| Mark {
        from: stage.clock.at(outage.from),
        to: stage.clock.at(outage.answered.unwrap_or(outage.from)),
        colour: colour(outage.trouble),
    });
    let captions = [
        (Phase::Quiet, "quiet"),
        (Phase::Filling, "filling"),
        (Phase::Stuck, "stuck"),
        (Phase::Draining, "healed"),
        (Phase::Settling, "settling"),
    ];
    let captions = captions.into_iter().filter_map(|(phase, words)| {
        let from = stage.clock.began(phase)?;
        Some(Caption { from, words })
    });
    Picture {
        title: format!(
            "{} stuck transactions, {} healthy ones per second, seed {}",
            report.options.stuck, report.options.rate, report.options.seed
        ),
        length: last,
        captions: captions.collect(),
        marks: marks.collect(),
        mark_names: Trouble::ALL
            .map(|trouble| (trouble.word(), colour(trouble)))
            .to_vec(),
        panels: vec![
            latency(&stage.latency.buckets()),
            memory(&report.samples, report.options.memory_limit),
            stuck(&report.samples),
            cpu(&report.samples),
        ],
    }
}

fn latency(buckets: &[Figures]) -> Panel {
    let line = |name, colour, value: fn(&Figures) -> f64| {
        let points = (0..).zip(buckets).map(|(number, figures)| {
            let value = if figures.count == 0 {
                f64::NAN
            } else {
                value(figures)
            };
            (BUCKET * number + BUCKET / 2, value)
        });
        Line {
            name,
            colour,
            points: points.collect(),
        }
    };
    Panel {
        title: "healthy traffic: latency in ms, by the time at which it was due (5 s each)",
        scale: Scale::Log,
        lines: vec![
            line("p50", "#59a14f", |figures| figures.p50_ms),
            line("p99", "#4e79a7", |figures| figures.p99_ms),
            line("max", "#bab0ac", |figures| figures.max_ms),
        ],
        limit: None,
    }
}

fn memory(samples: &[Sample], limit: u64) -> Panel {
    Panel {
        title: "coordinator: memory in MiB",
        scale: Scale::Linear,
        lines: vec![
            of_process(samples, "VmHWM", "#bab0ac", |one| mib(one.peak_kib)),
            of_process(samples, "VmRSS", "#4e79a7", |one| mib(one.resident_kib)),
        ],
        limit: Some((lossy(limit), "limit")),
    }
}

fn stuck(samples: &[Sample]) -> Panel {
    Panel {
        title: "stuck actions (begun, and not done by their participants)",
        scale: Scale::Linear,
        lines: vec![Line {
            name: "stuck",
            colour: "#af7aa1",
            points: points(samples, |one| lossy(one.backlog)),
        }],
        limit: None,
    }
}

fn cpu(samples: &[Sample]) -> Panel {
    Panel {
        title: "coordinator: CPU in % of one; database with its log in MiB",
        scale: Scale::Linear,
        lines: vec![
            of_process(samples, "CPU", "#edc948", |one| one.cpu_percent),
            Line {
                name: "database",
                colour: "#9c755f",
                points: points(samples, |one| mib(one.database_bytes / 1024)),
            },
        ],
        limit: None,
    }
}

fn points(samples: &[Sample], value: impl Fn(&Sample) -> f64) -> Vec<Point> {
    let point = |one: &Sample| -> (Duration, f64) { (one.at, value(one)) };
    samples.iter().map(point).collect()
}

/// Makes a line that is interrupted while the process is away.
fn of_process(
    samples: &[Sample],
    name: &'static str,
    colour: &'static str,
    value: fn(&Process) -> f64,
) -> Line {
    let or_nothing = |one: &Sample| one.process.as_ref().map_or(f64::NAN, value);
    Line {
        name,
        colour,
        points: points(samples, or_nothing),
    }
}
