//! Waiting for a condition, and finding a free port.

use std::{future::Future, io, net::TcpListener, time::Duration};

use tokio::time::Instant;

/// The interval between two looks at a condition.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Waits until `look` returns a value, and returns it.
///
/// # Panics
///
/// When `deadline` has passed; the message names `what`.
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

/// Returns a TCP port of this machine that was free a moment ago.
pub fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}
