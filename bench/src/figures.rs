//! Figures for people.

use std::path::Path;
use std::time::Duration;

/// Returns a rate per second.
pub fn per_second(count: u64, took: Duration) -> f64 {
    lossy(count) / took.as_secs_f64()
}

/// Converts a count for a figure that people read.
#[allow(
    clippy::cast_precision_loss,
    reason = "figures are rounded to a few digits"
)]
pub fn lossy(count: u64) -> f64 {
    count as f64
}

/// Converts KiB to MiB.
pub fn mib(kib: u64) -> f64 {
    lossy(kib) / 1024.0
}

/// Returns the number of CPUs that this process may use; 0 if it is not known.
pub fn cpus() -> usize {
    std::thread::available_parallelism().map_or(0, std::num::NonZero::get)
}

/// Returns the kind of file system that a folder is on, from /proc/mounts.
pub fn file_system(folder: &Path) -> String {
    let mounts = std::fs::read_to_string("/proc/mounts").unwrap_or_default();
    let longest = mounts
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(' ').skip(1);
            Some((fields.next()?, fields.next()?))
        })
        .filter(|(point, _)| folder.starts_with(point))
        .max_by_key(|(point, _)| point.len());
    longest.map_or_else(
        || "an unknown file system".to_owned(),
        |(_, kind)| kind.to_owned(),
    )
}
