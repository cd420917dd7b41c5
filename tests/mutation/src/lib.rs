//! Breaks the code on purpose, so that a test can show that the checks notice.
//!
//! A place that an invariant rests on asks [`broken`] with the name of its mutation. Without the
//! feature `enabled` the answer is a constant `false`, and the program contains no trace of it. With it, a
//! test chooses one mutation for its thread with `with`.

/// Returns whether the mutation `name` is chosen on this thread.
#[cfg(not(feature = "enabled"))]
#[inline(always)]
#[allow(
    clippy::inline_always,
    reason = "the whole point is that nothing is left of it"
)]
pub const fn broken(_name: &str) -> bool {
    false
}

#[cfg(feature = "enabled")]
pub use enabled::{broken, with};

#[cfg(feature = "enabled")]
mod enabled {
    use std::cell::Cell;

    thread_local! {
        static CHOSEN: Cell<Option<&'static str>> = const { Cell::new(None) };
    }

    /// Returns whether the mutation `name` is chosen on this thread.
    pub fn broken(name: &str) -> bool {
        CHOSEN.get() == Some(name)
    }

    /// Runs `body` with `mutation` chosen on this thread, then restores the choice before.
    pub fn with<R>(mutation: Option<&'static str>, body: impl FnOnce() -> R) -> R {
        struct Restore(Option<&'static str>);
        impl Drop for Restore {
            fn drop(&mut self) {
                CHOSEN.set(self.0);
            }
        }
        let _restore = Restore(CHOSEN.replace(mutation));
        body()
    }
}
