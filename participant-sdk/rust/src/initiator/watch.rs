//! Follows one transaction.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use tercet_proto::v1::{self, coordinator_client::CoordinatorClient};
use tokio::time::{Instant, timeout_at};
use tonic::{Status, Streaming};
use uuid::Uuid;

use super::{Client, Error, client::is_passing, error::Refused};

/// The waits before a broken stream is opened again.
const REOPEN: ExponentialBuilder = ExponentialBuilder::new()
    .with_min_delay(Duration::from_millis(20))
    .with_max_delay(Duration::from_secs(1))
    .with_jitter()
    .without_max_times();

/// A stream of the states of one transaction, each newer than the one before. If it breaks, it is
/// opened again.
#[derive(Debug)]
pub struct Watch {
    client: Client,
    tx_id: Uuid,
    stream: Option<Streaming<v1::Transaction>>,
    seen: Option<u32>,
    over: bool,
}

impl Watch {
    pub(super) fn new(client: Client, tx_id: Uuid) -> Self {
        Self {
            client,
            tx_id,
            stream: None,
            seen: None,
            over: false,
        }
    }

    /// Waits for the next state and returns it; `None` after a final or parked one. Fails with
    /// [`Error::Unavailable`] if no stream can be opened within the client's time, and may be called
    /// again then.
    pub async fn next(&mut self) -> Result<Option<v1::Transaction>, Error> {
        while !self.over {
            let Some(stream) = &mut self.stream else {
                self.stream = Some(self.open().await?);
                continue;
            };
            match stream.message().await {
                Ok(Some(transaction)) => {
                    self.over = is_over(&transaction);
                    if self.seen.is_none_or(|seen| transaction.version > seen) {
                        self.seen = Some(transaction.version);
                        return Ok(Some(transaction));
                    }
                }
                Ok(None) => self.stream = None,
                Err(status) if is_passing(&status) => self.stream = None,
                Err(status) => return Err(Error::from_refusal(Refused::from(&status), None)),
            }
        }
        Ok(None)
    }

    async fn open(&self) -> Result<Streaming<v1::Transaction>, Error> {
        let deadline = Instant::now() + self.client.answer_within();
        let mut last = String::new();
        let mut delays = REOPEN.build();
        for channel in self.client.channels() {
            let request = v1::WatchRequest {
                tx_id: self.tx_id.to_string(),
            };
            let mut coordinator = CoordinatorClient::new(channel);
            match timeout_at(deadline, coordinator.watch(request)).await {
                Ok(Ok(response)) => return Ok(response.into_inner()),
                Ok(Err(status)) if is_passing(&status) => last = message(&status),
                Ok(Err(status)) => {
                    return Err(Error::from_refusal(Refused::from(&status), None));
                }
                Err(_) => break,
            }
            let delay = delays.next().unwrap_or_default();
            if Instant::now() + delay >= deadline {
                break;
            }
            tokio::time::sleep(delay).await;
        }
        Err(self.client.unavailable(last))
    }
}

fn message(status: &Status) -> String {
    status.message().to_owned()
}

fn is_over(transaction: &v1::Transaction) -> bool {
    matches!(
        transaction.status(),
        v1::TxStatus::Success | v1::TxStatus::Failure
    )
}
