//! File descriptors of this process: how many connections fit, beside those of the database and of calls.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use thiserror::Error;

use crate::bounds;

/// The limit of open files is too low for the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error(
    "this process may have {limit} files open, and {} is the least; raise the limit, as by `ulimit -n`",
    bounds::DESCRIPTORS_MIN
)]
pub struct TooFew {
    /// The limit.
    pub limit: u64,
}

/// Raises the soft limit of open files to the hard one. Without permission it stays as it is.
pub fn raise() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    // The limit that there is decides in any case.
    let _ = setrlimit(Resource::Nofile, raised);
}

/// Returns the soft limit of open files; `u64::MAX` where there is none.
pub(crate) fn limit() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Returns how many connections may be open at once: [`CONNECTIONS`](bounds::CONNECTIONS), or as many as the limit of
/// open files leaves room for.
///
/// # Errors
/// The limit is below [`DESCRIPTORS_MIN`](bounds::DESCRIPTORS_MIN).
pub fn connections() -> Result<usize, TooFew> {
    connections_within(limit())
}

fn connections_within(limit: u64) -> Result<usize, TooFew> {
    let descriptors = usize::try_from(limit).unwrap_or(usize::MAX);
    if descriptors < bounds::DESCRIPTORS_MIN {
        return Err(TooFew { limit });
    }
    let free = descriptors - bounds::DESCRIPTORS_KEPT;
    let of_calls = bounds::CHANNELS.min(free / bounds::DESCRIPTORS_OF_CALLS);
    Ok(bounds::CONNECTIONS.min(free - of_calls))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_room_for_the_database_and_for_calls() {
        for (limit, expected) in [
            (20, None),
            (127, None),
            (128, Some(48)),
            (256, Some(144)),
            (1_024, Some(720)),
            (5_183, Some(4_095)),
            (5_184, Some(4_096)),
            (u64::MAX, Some(4_096)),
        ] {
            let connections = connections_within(limit);
            assert_eq!(connections.ok(), expected, "{limit}");
        }
        let error = TooFew { limit: 20 }.to_string();
        assert!(
            error.contains("20 files") && error.contains("128"),
            "{error}"
        );
    }
}
