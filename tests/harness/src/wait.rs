//! Waiting for a condition, and finding a place to listen.

use std::{future::Future, io, net::TcpListener, time::Duration};

use tokio::time::Instant;

/// How often a condition is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Waits until `look` gives something, and gives it back.
///
/// # Panics
///
/// When `deadline` has passed, with `what` was waited for.
#[track_caller]
pub fn wait_until<T, F, R>(what: &str, deadline: Duration, mut look: F) -> impl Future<Output = T>
where
    F: FnMut() -> R,
    R: Future<Output = Option<T>>,
{
    let caller = std::panic::Location::caller();
    async move {
        let give_up = Instant::now() + deadline;
        loop {
            if let Some(found) = look().await {
                return found;
            }
            assert!(
                Instant::now() < give_up,
                "{caller}: waited {deadline:?} for {what}"
            );
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

/// A TCP port of this machine that nobody listened on a moment ago.
pub fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}
