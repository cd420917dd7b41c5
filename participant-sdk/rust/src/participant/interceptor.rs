//! The interceptor around every call: for observing, limiting, and failing calls on purpose.

use async_trait::async_trait;
use futures::future::BoxFuture;
use tercet_barrier::CallAnswer;
use tercet_proto::v1;

/// Code around every call of a participant, outside the barrier.
///
/// Its result goes to the coordinator in place of the action's. It must keep the contract: REJECTED
/// only where there is no effect and never will be. To lose a reply, return [`CallAnswer::Unknown`]
/// after `next.run()`.
#[async_trait]
pub trait CallInterceptor: Send + Sync + 'static {
    /// Serves one call; `next` carries it out, or is dropped to leave it undone.
    async fn around(&self, call: &v1::Call, next: Next<'_>) -> CallAnswer;
}

/// The rest of a call's way to the action's code.
pub struct Next<'a>(pub(crate) BoxFuture<'a, CallAnswer>);

impl Next<'_> {
    /// Carries the call out.
    pub async fn run(self) -> CallAnswer {
        self.0.await
    }
}
