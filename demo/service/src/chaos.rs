//! Makes calls fail as the faults say.

use std::time::Duration;

use tercet_sdk::proto::{Call, Operation};
use tercet_sdk::{CallAnswer, CallInterceptor, Next};

use crate::faults::{Faults, Step, When};

/// Time for which a call that hangs is kept; every coordinator has given it up by then.
const HANG: Duration = Duration::from_secs(15);

/// Stands around every call of a service, and fails the share of them that its faults ask for.
#[derive(Debug)]
pub(crate) struct Chaos {
    pub(crate) faults: Faults,
}

#[async_trait::async_trait]
impl CallInterceptor for Chaos {
    async fn around(&self, call: &Call, next: Next<'_>) -> CallAnswer {
        let step = match call.operation() {
            Operation::Try => Some(Step::Try),
            Operation::Confirm => Some(Step::Confirm),
            Operation::Cancel => Some(Step::Cancel),
            Operation::Unspecified => None,
        };
        match step.and_then(|step| self.faults.draw(step)) {
            None => next.run().await,
            Some(When::Before) => {
                CallAnswer::Unknown("failed on purpose before it began".to_owned())
            }
            Some(When::After) => {
                let lost = next.run().await;
                tracing::debug!(
                    tx_id = call.tx_id,
                    action = call.action,
                    ?lost,
                    "a reply is lost"
                );
                CallAnswer::Unknown("the reply was lost on purpose".to_owned())
            }
            Some(When::Hang) => {
                drop(next);
                tokio::time::sleep(HANG).await;
                CallAnswer::Unknown("hung on purpose".to_owned())
            }
            // A Try's rejection promises that no earlier attempt had an effect: only the first can know.
            Some(When::Reject) if step == Some(Step::Try) && call.attempt > 1 => next.run().await,
            Some(When::Reject) => CallAnswer::Rejected("rejected on purpose".to_owned()),
        }
    }
}
