//! Kills or stops a process at a named point, or hangs a thread there, so that a test can see the consequences.
//!
//! A place where a crash matters calls [`reach`] with its name. Without the feature
//! `enabled` the program contains no trace of it. With it, the environment variable `TERCET_FAILPOINT` chooses one
//! point: `NAME=kill@N` sends SIGKILL to the process itself when the point is reached for the N-th time,
//! `NAME=stop@N` SIGSTOP; `NAME=hang@N` keeps the thread that reaches it for ever, while the others go on. Before that the line `failpoint NAME reached` goes to standard error.

/// The environment variable that chooses a point.
pub const VARIABLE: &str = "TERCET_FAILPOINT";

/// Whether this build has its fail points.
pub const ENABLED: bool = cfg!(feature = "enabled");

/// Marks the point `name` in the code.
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
        thread,
    };

    use nix::{
        sys::signal::{Signal, kill},
        unistd::Pid,
    };

    /// The consequence of reaching the chosen point.
    #[derive(Clone, Copy)]
    enum Fault {
        /// The process gets a signal.
        Signal(Signal),
        /// The thread never goes on.
        Hang,
    }

    struct Chosen {
        name: String,
        fault: Fault,
        at: u64,
        reached: AtomicU64,
    }

    static CHOSEN: OnceLock<Option<Chosen>> = OnceLock::new();

    /// Notes that the point `name` is reached, and kills or stops the process, or never returns, if it is the chosen
    /// one.
    ///
    /// # Panics
    /// When `TERCET_FAILPOINT` is set and not of the form `NAME=kill@N`, `NAME=stop@N` or `NAME=hang@N`.
    pub fn reach(name: &str) {
        let Some(chosen) = CHOSEN.get_or_init(chosen) else {
            return;
        };
        if chosen.name != name {
            return;
        }
        if chosen.reached.fetch_add(1, Ordering::Relaxed) + 1 == chosen.at {
            eprintln!("failpoint {name} reached");
            match chosen.fault {
                // A signal to the process itself fails only where the system forbids it; then the test sees no hit.
                Fault::Signal(signal) => drop(kill(Pid::this(), signal)),
                // A thread may be woken without a reason.
                Fault::Hang => loop {
                    thread::park();
                },
            }
        }
    }

    fn chosen() -> Option<Chosen> {
        let text = env::var(super::VARIABLE).ok()?;
        Some(parse(&text).unwrap_or_else(|| {
            panic!(
                "{}={text:?}: expected NAME=kill@N, NAME=stop@N or NAME=hang@N",
                super::VARIABLE
            )
        }))
    }

    fn parse(text: &str) -> Option<Chosen> {
        let (name, what) = text.split_once('=')?;
        let (fault, at) = what.split_once('@')?;
        let fault = match fault {
            "kill" => Fault::Signal(Signal::SIGKILL),
            "stop" => Fault::Signal(Signal::SIGSTOP),
            "hang" => Fault::Hang,
            _ => return None,
        };
        let at = at.parse().ok().filter(|at| *at > 0)?;
        Some(Chosen {
            name: name.to_owned(),
            fault,
            at,
            reached: AtomicU64::new(0),
        })
    }
}
