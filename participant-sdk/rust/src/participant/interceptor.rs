//! Stands around every call: to watch, to limit, to make things fail on purpose.

use async_trait::async_trait;
use futures::future::BoxFuture;
use tercet_barrier::Outcome;
use tercet_proto::v1;

/// Stands around every call of a participant, outside the barrier.
///
/// What it answers goes to the coordinator in place of what the action answered. It must keep the
/// contract: REJECTED only where there is no effect and never will be. A lost reply is
/// [`Outcome::Unknown`] after `next.run()`.
#[async_trait]
pub trait CallInterceptor: Send + Sync + 'static {
    /// Serves one call; `next` carries it out, or is dropped to leave it undone.
    async fn around(&self, call: &v1::Call, next: Next<'_>) -> Outcome;
}

/// The rest of the way to the action's code.
pub struct Next<'a>(pub(crate) BoxFuture<'a, Outcome>);

impl Next<'_> {
    /// Carries the call out.
    pub async fn run(self) -> Outcome {
        self.0.await
    }
}
