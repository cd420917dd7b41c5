//! Looking at transactions: what the database says, and what is in the way.

use std::sync::Arc;

use tercet_core::{
    id::TxId,
    model::{ActionStatus, BizStatus, TxStatus},
    refusal::Refusal,
    row::ActionInfoRow,
    time::Timestamp,
};
use tercet_proto::v1;
use tercet_store::{ListQuery, Store, TxView};
use tokio::sync::Semaphore;

use super::{convert, error::ApiError};
use crate::{
    clock::Clock,
    directory::{Directory, Protocol},
    driver::Lookup,
    limits,
};

/// Reads for callers and people, a bounded number at once. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Reader {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) directory: Arc<Directory>,
    pub(crate) clock: Arc<Clock>,
    places: Arc<Semaphore>,
}

impl Reader {
    pub(crate) fn new(store: Arc<dyn Store>, directory: Arc<Directory>, clock: Arc<Clock>) -> Self {
        Self {
            store,
            directory,
            clock,
            places: Arc::new(Semaphore::new(limits::READS_AT_ONCE)),
        }
    }

    /// One transaction as it stands in the database.
    pub(crate) async fn get(&self, lookup: Lookup) -> Result<v1::Transaction, ApiError> {
        // The semaphore is never closed.
        let _place = self.places.acquire().await;
        let id = match lookup {
            Lookup::Id(id) => id,
            Lookup::Business(business_type, business_id) => {
                match self.store.find(&business_type, &business_id).await? {
                    Some(id) => id,
                    None => {
                        return Err(ApiError::BusinessNotFound {
                            business_type,
                            business_id,
                        });
                    }
                }
            }
        };
        let view = self.view(id).await?;
        let obstacles = obstacles(&view, self.clock.now(), &self.directory);
        let mut transaction = convert::transaction(view);
        transaction.obstacles = obstacles;
        Ok(transaction)
    }

    async fn view(&self, id: TxId) -> Result<TxView, ApiError> {
        match self.store.view(id).await? {
            None => Err(Refusal::NotFound { id }.into()),
            Some(Ok(view)) => Ok(view),
            Some(Err(row)) => Err(corrupt(&row)),
        }
    }

    /// A page, newest first.
    pub(crate) async fn list(&self, query: &ListQuery) -> Result<v1::ListReply, ApiError> {
        let _place = self.places.acquire().await;
        let page = self.store.list(query).await?;
        let full = page.len() >= query.limit as usize;
        let mut transactions = Vec::with_capacity(page.len());
        let mut last = None;
        for row in page {
            match row {
                Ok(view) => {
                    last = Some(view.tx.spec.id);
                    transactions.push(convert::transaction(view));
                }
                Err(row) => {
                    tracing::error!(tx_id = %row.id, what = row.what, "a row is not legal");
                    last = Some(row.id);
                }
            }
        }
        Ok(v1::ListReply {
            transactions,
            next_cursor: last
                .filter(|_| full)
                .map(|id| id.to_string())
                .unwrap_or_default(),
        })
    }
}

fn corrupt(row: &tercet_core::row::IllegalRow) -> ApiError {
    Refusal::Corrupt {
        what: row.to_string(),
    }
    .into()
}

/// Why it is not finished, one sentence an obstacle.
fn obstacles(view: &TxView, now: Timestamp, directory: &Directory) -> Vec<String> {
    let tx = &view.tx;
    let id = tx.spec.id;
    let mut sentences = Vec::new();
    if tx.status == TxStatus::Success {
        return sentences;
    }
    for action in &view.actions {
        if let Some(sentence) = of_action(action) {
            sentences.push(sentence);
        }
    }
    if tx.status == TxStatus::Failure {
        sentences.push(format!(
            "The transaction is parked: put the failed actions back to work with `tercet tx retry {id}`, \
             or end them by hand with `tercet tx resolve {id}`."
        ));
        return sentences;
    }
    if tx.biz_status == BizStatus::Unknown
        && let Some(check_back) = &tx.spec.check_back
    {
        sentences.push(format!(
            "Phase one is over and the initiator did not decide; {} was asked {} time(s) and could \
             not say. An operator may decide: `tercet tx decide {id}`.",
            check_back.participant, tx.check_backs
        ));
    }
    let asked = tx
        .spec
        .check_back
        .as_ref()
        .map(|check_back| &check_back.participant);
    let phase_one = tx.status == TxStatus::ProcessWaiting;
    let waits = view
        .actions
        .iter()
        // In phase one of a Begin it is the initiator that calls.
        .filter(|action| is_open(action) && (!phase_one || tx.spec.is_executed()))
        .map(|action| &action.spec.participant);
    let mut seen = Vec::new();
    let asked = asked.filter(|_| tx.biz_status == BizStatus::Unknown);
    for name in waits.chain(asked) {
        if !seen.contains(&name) {
            seen.push(name);
            sentences.extend(of_participant(name, directory));
        }
    }
    if let Some(at) = tx.next_attempt_at
        && now.since(at) >= limits::STUCK_AFTER
    {
        sentences.push(format!(
            "The next step was due {} s ago and was not taken by {}.",
            now.since(at).as_secs(),
            tx.owner
        ));
    }
    sentences
}

fn is_open(action: &ActionInfoRow) -> bool {
    matches!(action.status, ActionStatus::Init | ActionStatus::Tried)
}

fn of_action(action: &ActionInfoRow) -> Option<String> {
    let (name, participant) = (&action.spec.name, &action.spec.participant);
    match action.status {
        ActionStatus::Failed => Some(format!(
            "Action {name} of {participant} failed: {}.",
            or(&action.last_error, "no reason was given")
        )),
        ActionStatus::Init | ActionStatus::Tried if !action.last_error.is_empty() => Some(format!(
            "Action {name} of {participant} did not go well: {}.",
            action.last_error
        )),
        _ => None,
    }
}

fn or<'a>(text: &'a str, instead: &'a str) -> &'a str {
    if text.is_empty() { instead } else { text }
}

fn of_participant(name: &str, directory: &Directory) -> Option<String> {
    let known = directory.snapshot();
    let Some(participant) = known.get(name) else {
        return Some(format!(
            "Participant {name} is not known any more; let it attach, or register it."
        ));
    };
    (participant.protocol == Protocol::Attach && directory.attached(name) == 0)
        .then(|| format!("Participant {name} is not attached; its calls wait until it is."))
}
