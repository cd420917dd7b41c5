//! The initiators: each sends an Execute, waits until the decision is durable, and sends the next one.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use futures::future::try_join_all;
use hdrhistogram::Histogram;
use tercet_proto::v1::{ActionStatus, BizStatus, ListRequest, TxStatus};
use tercet_sdk::Raw;
use tercet_sdk::initiator::{Action, Client};
use uuid::Uuid;

use crate::participants::{FIRST, HANDLER, SECOND};

/// The business type of every transaction.
const BUSINESS_TYPE: &str = "load";
/// The longest latency that the histogram can hold.
const LONGEST: Duration = Duration::from_mins(1);
/// Rows per page when all are counted.
const PAGE: u32 = 500;
/// The longest wait for the last completion after the last decision.
const FINISH_TIMEOUT: Duration = Duration::from_mins(1);
/// The interval between two looks for unfinished transactions.
const FINISH_POLL: Duration = Duration::from_millis(100);
/// The number of transactions whose actions are read, too.
const SAMPLE: usize = 200;

/// The initiators of a run, which share one client as in a service with many open requests.
pub(crate) struct Initiators {
    client: Client,
    payload: Bytes,
    begun: std::sync::Mutex<u64>,
}

/// The measurements of one level.
pub(crate) struct Run {
    /// The number of transactions that were answered as committed.
    pub(crate) committed: u64,
    /// The time from the first request to the last answer.
    pub(crate) took: Duration,
    /// The latencies from request to answer, in microseconds.
    pub(crate) latency: Histogram<u64>,
}

/// The coordinator's list of everything that was begun here, counted.
pub(crate) struct Tally {
    /// The number of transactions by status and business status.
    pub(crate) by_status: BTreeMap<String, u64>,
    /// The number of transactions that were begun.
    pub(crate) begun: u64,
    /// The number of sampled transactions with every action CONFIRMED, and the size of the sample.
    pub(crate) sample: (usize, usize),
}

impl Tally {
    /// Returns whether everything that was begun is committed and finished, and no other transaction exists.
    pub(crate) fn all_committed(&self) -> bool {
        let finished = self.by_status.get("SUCCESS/SUCCESS").copied();
        finished == Some(self.begun) && self.by_status.len() == 1 && self.sample.0 == self.sample.1
    }
}

impl Initiators {
    pub(crate) async fn connect(address: &str, payload: usize) -> anyhow::Result<Arc<Self>> {
        let client = Client::connect([address]).await?;
        let payload = Bytes::from(vec![b'x'; payload]);
        Ok(Arc::new(Self {
            client,
            payload,
            begun: std::sync::Mutex::new(0),
        }))
    }

    /// Runs `concurrency` initiators for a time.
    pub(crate) async fn run(
        self: &Arc<Self>,
        concurrency: usize,
        length: Duration,
    ) -> anyhow::Result<Run> {
        let started = Instant::now();
        let until = started + length;
        let tasks = (0..concurrency).map(|_| tokio::spawn(Arc::clone(self).initiate(until)));
        let mut latency = histogram()?;
        for one in try_join_all(tasks).await? {
            latency.add(one?)?;
        }
        let took = started.elapsed();
        let committed = latency.len();
        *self
            .begun
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner) += committed;
        Ok(Run {
            committed,
            took,
            latency,
        })
    }

    /// Runs one initiator.
    async fn initiate(self: Arc<Self>, until: Instant) -> anyhow::Result<Histogram<u64>> {
        let mut latency = histogram()?;
        while Instant::now() < until {
            let sent = Instant::now();
            let outcome = self
                .client
                .execute(BUSINESS_TYPE, Uuid::new_v4().to_string())
                .action(self.action("first", FIRST))
                .action(self.action("second", SECOND))
                .send()
                .await?;
            ensure!(outcome.is_committed(), "not committed: {outcome:?}");
            latency.record(u64::try_from(sent.elapsed().as_micros())?)?;
        }
        Ok(latency)
    }

    fn action(&self, name: &str, participant: &str) -> Action {
        Action::tcc(name, participant)
            .handler(HANDLER)
            .payload(&Raw(self.payload.clone()))
    }

    /// Waits until nothing is unfinished, then counts every transaction through List and reads a sample
    /// through Get.
    pub(crate) async fn tally(&self) -> anyhow::Result<Tally> {
        let started = Instant::now();
        while self.any_unfinished().await? {
            if started.elapsed() > FINISH_TIMEOUT {
                bail!("transactions are unfinished {FINISH_TIMEOUT:?} after the last decision");
            }
            tokio::time::sleep(FINISH_POLL).await;
        }
        let mut by_status = BTreeMap::new();
        let mut sample = Vec::new();
        let mut cursor = String::new();
        loop {
            let request = ListRequest {
                page_size: PAGE,
                cursor,
                ..ListRequest::default()
            };
            let page = self.client.list(request).await?;
            for tx in &page.transactions {
                let word = format!("{}/{}", tx_word(tx.status()), biz_word(tx.biz_status()));
                *by_status.entry(word).or_insert(0) += 1;
            }
            // The first one of each page, so that the sample covers all levels.
            sample.extend(page.transactions.first().map(|tx| tx.tx_id.clone()));
            cursor = page.next_cursor;
            if cursor.is_empty() {
                break;
            }
        }
        let begun = *self
            .begun
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let sample = self.look_at(&sample).await?;
        Ok(Tally {
            by_status,
            begun,
            sample,
        })
    }

    async fn any_unfinished(&self) -> anyhow::Result<bool> {
        let statuses = vec![TxStatus::ProcessWaiting.into(), TxStatus::Processing.into()];
        let request = ListRequest {
            page_size: 1,
            statuses,
            ..ListRequest::default()
        };
        Ok(!self.client.list(request).await?.transactions.is_empty())
    }

    /// Returns the number of these with both actions CONFIRMED, and the number that was read.
    async fn look_at(&self, ids: &[String]) -> anyhow::Result<(usize, usize)> {
        let step = ids.len().div_ceil(SAMPLE).max(1);
        let (mut good, mut looked) = (0, 0);
        for id in ids.iter().step_by(step) {
            let id: Uuid = id
                .parse()
                .context("the coordinator listed an id that is none")?;
            let tx = self.client.get(id).await?;
            let confirmed = tx
                .actions
                .iter()
                .filter(|a| a.status() == ActionStatus::Confirmed)
                .count();
            looked += 1;
            good += usize::from(confirmed == 2 && tx.actions.len() == 2);
        }
        Ok((good, looked))
    }
}

fn histogram() -> anyhow::Result<Histogram<u64>> {
    Ok(Histogram::new_with_bounds(
        1,
        u64::try_from(LONGEST.as_micros())?,
        3,
    )?)
}

fn tx_word(status: TxStatus) -> &'static str {
    let name = status.as_str_name();
    name.strip_prefix("TX_STATUS_").unwrap_or(name)
}

fn biz_word(status: BizStatus) -> &'static str {
    let name = status.as_str_name();
    name.strip_prefix("BIZ_STATUS_").unwrap_or(name)
}
