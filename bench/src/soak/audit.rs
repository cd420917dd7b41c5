//! The comparison of the books at the end: the coordinator's, the initiators', the participants'.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use tercet_barrier::RowState;
use tercet_proto::v1::{self, ActionStatus, BizStatus, Mode, TxStatus};
use tercet_sdk::initiator::{Client, Decision};
use uuid::Uuid;

use crate::book::Entry;
use crate::ledger::Ledger;
use crate::stage::Stage;

/// Rows per page.
const PAGE: u32 = 500;
/// Transactions that are read at once.
const READS: usize = 32;
/// The interval between two looks whether everything has come to its end.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Contradictions that are kept in words.
const WRONG_KEPT: usize = 20;

/// The result of the comparison.
#[derive(Debug, Default)]
pub(crate) struct Audit {
    pub(crate) committed: usize,
    pub(crate) rolled_back: usize,
    /// Transactions that the initiators began and the coordinator does not have: only without an answer.
    pub(crate) never_begun: usize,
    /// The number of actions that were compared, each with the row of its participant.
    pub(crate) actions: usize,
    /// The number of contradictions.
    pub(crate) contradictions: usize,
    /// The first of them, in words.
    pub(crate) wrong: Vec<String>,
}

impl Audit {
    fn wrong(&mut self, words: String) {
        self.contradictions += 1;
        if self.wrong.len() < WRONG_KEPT {
            self.wrong.push(words);
        }
    }
}

/// Waits until no transaction is unfinished; returns the first obstacles if that takes longer than `patience`.
pub(crate) async fn settle(client: &Client, patience: Duration) -> anyhow::Result<Vec<String>> {
    let give_up = Instant::now() + patience;
    loop {
        let request = v1::ListRequest {
            statuses: vec![TxStatus::ProcessWaiting.into(), TxStatus::Processing.into()],
            page_size: 5,
            ..v1::ListRequest::default()
        };
        let unfinished = client.list(request).await?.transactions;
        if unfinished.is_empty() {
            return Ok(Vec::new());
        }
        if Instant::now() > give_up {
            let words = unfinished.iter().map(|tx| {
                format!(
                    "{} ({}) is unfinished after {patience:?}: {}",
                    tx.tx_id,
                    tx.business_type,
                    tx.obstacles.join("; ")
                )
            });
            return Ok(words.collect());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Compares everything.
pub(crate) async fn compare(stage: &Arc<Stage>, client: &Client) -> anyhow::Result<Audit> {
    let mut audit = Audit::default();
    let listed = list(client, &mut audit).await?;
    let entries = stage.book.entries();
    for (tx_id, entry) in &entries {
        match listed.get(tx_id) {
            None if entry.begun => {
                audit.wrong(format!("{tx_id} was answered, and is not listed"));
            }
            None => audit.never_begun += 1,
            Some((status, biz_status)) => audit.judge(*tx_id, *entry, *status, *biz_status),
        }
    }
    let ledgers: HashMap<&str, &Arc<Ledger>> = stage
        .ledgers()
        .map(|ledger| (ledger.name, ledger))
        .collect();
    let mut reads = stream::iter(listed.keys().copied())
        .map(|tx_id| client.get(tx_id))
        .buffer_unordered(READS);
    while let Some(tx) = reads.try_next().await? {
        if !entries.contains_key(&Uuid::try_parse(&tx.tx_id)?) {
            audit.wrong(format!("{} is listed, and was not begun here", tx.tx_id));
        }
        audit.actions(&tx, &ledgers)?;
    }
    for ledger in stage.ledgers() {
        for tx_id in ledger.transactions() {
            if !listed.contains_key(&tx_id) {
                let name = ledger.name;
                audit.wrong(format!("{name} has a row of {tx_id}, which is not listed"));
            }
        }
        for violation in ledger.violations() {
            audit.wrong(format!("{}: {violation}", ledger.name));
        }
    }
    Ok(audit)
}

/// Lists everything, with its statuses.
async fn list(
    client: &Client,
    audit: &mut Audit,
) -> anyhow::Result<BTreeMap<Uuid, (TxStatus, BizStatus)>> {
    let mut listed = BTreeMap::new();
    let mut cursor = String::new();
    loop {
        let request = v1::ListRequest {
            page_size: PAGE,
            cursor,
            ..v1::ListRequest::default()
        };
        let page = client.list(request).await?;
        for tx in &page.transactions {
            let tx_id = Uuid::try_parse(&tx.tx_id).context("a listed id is none")?;
            let statuses = (tx.status(), tx.biz_status());
            if listed.insert(tx_id, statuses).is_some() {
                audit.wrong(format!("{tx_id} is listed twice"));
            }
        }
        if page.next_cursor.is_empty() {
            return Ok(listed);
        }
        cursor = page.next_cursor;
    }
}

impl Audit {
    /// Compares the end of a transaction with what its initiator knows.
    fn judge(&mut self, tx_id: Uuid, entry: Entry, status: TxStatus, biz_status: BizStatus) {
        let decision = match biz_status {
            BizStatus::Success => Some(Decision::Success),
            BizStatus::Failure => Some(Decision::Failure),
            _ => None,
        };
        match (status, decision) {
            (TxStatus::Success, Some(Decision::Success)) => self.committed += 1,
            (TxStatus::Success, Some(Decision::Failure)) => self.rolled_back += 1,
            _ => {
                let (status, biz_status) = (status.as_str_name(), biz_status.as_str_name());
                self.wrong(format!("{tx_id} has not ended: {status}, {biz_status}"));
            }
        }
        if entry.answered.is_some() && entry.answered != decision {
            let answered = entry.answered;
            self.wrong(format!("{tx_id}: answered {answered:?}, is {decision:?}"));
        }
        if entry.must_be.is_some() && entry.must_be != decision {
            let must_be = entry.must_be;
            self.wrong(format!("{tx_id}: must be {must_be:?}, is {decision:?}"));
        }
    }

    /// Compares the actions of a transaction with the rows of their participants.
    fn actions(
        &mut self,
        tx: &v1::Transaction,
        ledgers: &HashMap<&str, &Arc<Ledger>>,
    ) -> anyhow::Result<()> {
        let tx_id = Uuid::try_parse(&tx.tx_id)?;
        let committed = tx.biz_status() == BizStatus::Success;
        for view in &tx.actions {
            let action = view.action.as_ref().context("a view without its action")?;
            let row = ledgers
                .get(action.participant.as_str())
                .and_then(|ledger| ledger.state(tx_id, &action.name));
            self.actions += 1;
            if !agrees(committed, action.mode(), view.status(), row) {
                self.wrong(format!(
                    "{tx_id}, decided {}: {} is {}, and at {} its row is {row:?}",
                    tx.biz_status().as_str_name(),
                    action.name,
                    view.status().as_str_name(),
                    action.participant,
                ));
            }
        }
        Ok(())
    }
}

/// Returns whether an action's status and its participant's row are both what the decision wants.
fn agrees(committed: bool, mode: Mode, status: ActionStatus, row: Option<RowState>) -> bool {
    match (committed, mode) {
        (true, Mode::Compensate) => {
            status == ActionStatus::Confirmed && row == Some(RowState::Tried)
        }
        (true, _) => status == ActionStatus::Confirmed && row == Some(RowState::Confirmed),
        // A DELIVER action is never called then; one that was not tried is not cancelled.
        (false, Mode::Deliver) => row.is_none(),
        (false, _) => match status {
            ActionStatus::Rejected => row == Some(RowState::Rejected),
            ActionStatus::Cancelled => {
                matches!(row, None | Some(RowState::Cancelled | RowState::Rejected))
            }
            _ => false,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_row_and_decision_must_agree() {
        let confirmed = ActionStatus::Confirmed;
        let cancelled = ActionStatus::Cancelled;
        assert!(agrees(
            true,
            Mode::Tcc,
            confirmed,
            Some(RowState::Confirmed)
        ));
        assert!(!agrees(true, Mode::Tcc, confirmed, Some(RowState::Tried)));
        assert!(!agrees(
            true,
            Mode::Tcc,
            ActionStatus::Tried,
            Some(RowState::Confirmed)
        ));
        assert!(agrees(
            true,
            Mode::Compensate,
            confirmed,
            Some(RowState::Tried)
        ));
        assert!(!agrees(
            true,
            Mode::Compensate,
            confirmed,
            Some(RowState::Cancelled)
        ));
        assert!(agrees(
            false,
            Mode::Tcc,
            cancelled,
            Some(RowState::Cancelled)
        ));
        assert!(agrees(false, Mode::Tcc, cancelled, None));
        assert!(!agrees(false, Mode::Tcc, cancelled, Some(RowState::Tried)));
        assert!(!agrees(
            false,
            Mode::Tcc,
            confirmed,
            Some(RowState::Confirmed)
        ));
        assert!(!agrees(
            false,
            Mode::Deliver,
            cancelled,
            Some(RowState::Confirmed)
        ));
    }
}
