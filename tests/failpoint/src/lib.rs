//! Kills or stops a process at a named point, so that a test can see what comes after.
//!
//! A place where a crash would be interesting says [`reach`] with its name. Without the feature
//! `enabled` nothing is left of it. With it, the environment variable `TERCET_FAILPOINT` chooses one
//! point: `NAME=kill@N` sends SIGKILL to the own process when the point is reached for the N-th time,
//! `NAME=stop@N` SIGSTOP. Before that the line `failpoint NAME reached` goes to standard error.

/// The environment variable that chooses a point.
pub const VARIABLE: &str = "TERCET_FAILPOINT";

/// Whether this build has its points.
pub const ENABLED: bool = cfg!(feature = "enabled");

/// Says that the point `name` is reached.
#[cfg(not(feature = "enabled"))]
#[inline(always)]
#[allow(
    clippy::inline_always,
    reason = "the whole point is that nothing is left of it"
)]
pub const fn reach(_name: &str) {}

#[cfg(feature = "enabled")]
pub use enabled::reach;

#[cfg(feature = "enabled")]
mod enabled {
    use std::{
        env,
        sync::{
            OnceLock,
            atomic::{AtomicU64, Ordering},
        },
    };

    use nix::{
        sys::signal::{Signal, kill},
        unistd::Pid,
    };

    struct Chosen {
        name: String,
        signal: Signal,
        at: u64,
        reached: AtomicU64,
    }

    static CHOSEN: OnceLock<Option<Chosen>> = OnceLock::new();

    /// Says that the point `name` is reached.
    ///
    /// # Panics
    /// When `TERCET_FAILPOINT` is set and not of the form `NAME=kill@N` or `NAME=stop@N`.
    pub fn reach(name: &str) {
        let Some(chosen) = CHOSEN.get_or_init(chosen) else {
            return;
        };
        if chosen.name != name {
            return;
        }
        if chosen.reached.fetch_add(1, Ordering::Relaxed) + 1 == chosen.at {
            eprintln!("failpoint {name} reached");
            // The signal goes to this very process; there is nobody to tell if it cannot be sent.
            let _ = kill(Pid::this(), chosen.signal);
        }
    }

    fn chosen() -> Option<Chosen> {
        let text = env::var(super::VARIABLE).ok()?;
        Some(parse(&text).unwrap_or_else(|| {
            panic!(
                "{}={text:?}: expected NAME=kill@N or NAME=stop@N",
                super::VARIABLE
            )
        }))
    }

    fn parse(text: &str) -> Option<Chosen> {
        let (name, what) = text.split_once('=')?;
        let (signal, at) = what.split_once('@')?;
        let signal = match signal {
            "kill" => Signal::SIGKILL,
            "stop" => Signal::SIGSTOP,
            _ => return None,
        };
        let at = at.parse().ok().filter(|at| *at > 0)?;
        Some(Chosen {
            name: name.to_owned(),
            signal,
            at,
            reached: AtomicU64::new(0),
        })
    }
}
