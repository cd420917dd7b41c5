//! Reads of transactions.

use tercet_core::{
    id::TxId,
    refusal::Refusal,
    row::IllegalRow,
    violation::{At, Invalid, Violations},
};
use tercet_store::{ListQuery, TxView};
use tokio::sync::{Semaphore, SemaphorePermit};
use tracing::error;

use super::{
    Requests,
    obstacles::{self, obstacles},
};
use crate::{bounds, error::RequestError};

/// The transaction to read.
#[derive(Clone, Debug)]
pub(crate) enum Lookup {
    /// The one with this id.
    Id(TxId),
    /// The newest one of this business type and business id.
    Business(String, String),
}

impl Lookup {
    /// Makes a lookup of an id, or of a business where no id is given.
    pub(crate) fn checked(
        tx_id: &str,
        business_type: String,
        business_id: String,
    ) -> Result<Self, Invalid> {
        let mut v = Violations::default();
        let business = !business_type.is_empty() || !business_id.is_empty();
        if tx_id.is_empty() && business {
            v.name(&At::field("business_type"), &business_type);
            v.name(&At::field("business_id"), &business_id);
            return v.give(Self::Business(business_type, business_id));
        }
        if business {
            v.add(
                "business_type",
                "is not accepted together with tx_id; give one or the other",
            );
        }
        let id = v.tx_id(&At::field("tx_id"), tx_id);
        v.give(Self::Id(id))
    }
}

/// A transaction as it stands in the database, and the obstacles in its way.
#[derive(Clone)]
pub(crate) struct Seen {
    pub(crate) view: TxView,
    pub(crate) obstacles: Vec<String>,
}

/// A page of transactions, newest first.
pub(crate) struct Page {
    /// Each with the first obstacle in its way.
    pub(crate) seen: Vec<Seen>,
    /// The last transaction of the page; `None`: no page follows.
    pub(crate) next: Option<TxId>,
}

/// Checks a query for a list.
pub(crate) fn check_list(query: &ListQuery, v: &mut Violations) {
    let names = [
        ("business_type", &query.business_type),
        ("business_id", &query.business_id),
        ("participant", &query.participant),
    ];
    for (field, name) in names {
        if let Some(name) = name {
            v.name(&At::field(field), name);
        }
    }
    v.count(&At::field("page_size"), query.limit, bounds::PAGE_MAX);
}

impl Requests {
    /// Returns one transaction.
    pub(crate) async fn get(&self, lookup: Lookup) -> Result<Seen, RequestError> {
        let _place = self.turn(&self.reads).await?;
        let id = match lookup {
            Lookup::Id(id) => id,
            Lookup::Business(business_type, business_id) => {
                let found = self
                    .answered(self.store.find(&business_type, &business_id))
                    .await?;
                found.ok_or(RequestError::BusinessNotFound {
                    business_type,
                    business_id,
                })?
            }
        };
        let view = match self.answered(self.store.view(id)).await? {
            None => return Err(Refusal::NotFound { id }.into()),
            Some(Err(row)) => return Err(corrupt(&row)),
            Some(Ok(view)) => view,
        };
        Ok(Seen {
            obstacles: obstacles(&view, self.clock.time(), &self.directory),
            view,
        })
    }

    /// Returns a page of transactions. Illegal rows are left out, and logged.
    pub(crate) async fn list(&self, query: &ListQuery) -> Result<Page, RequestError> {
        let _place = self.turn(&self.lists).await?;
        let rows = self.answered(self.store.list(query)).await?;
        let full = rows.len() >= query.limit as usize;
        let mut seen = Vec::with_capacity(rows.len());
        let mut last = None;
        let now = self.clock.now();
        for row in rows {
            match row {
                Ok(view) => {
                    last = Some(view.tx.spec.id);
                    let obstacles = obstacles::of_list(&view, now.time, &self.directory);
                    seen.push(Seen { view, obstacles });
                }
                Err(row) => {
                    error!(tx_id = %row.id, what = row.what, "a row is not legal");
                    last = Some(row.id);
                }
            }
        }
        Ok(Page {
            seen,
            next: last.filter(|_| full),
        })
    }

    /// Waits for a place among the reads that are under way.
    async fn turn<'a>(&self, places: &'a Semaphore) -> Result<SemaphorePermit<'a>, RequestError> {
        let waited = self
            .pulse
            .timeout(bounds::READ_WAIT, places.acquire())
            .await;
        // The semaphore is never closed.
        waited.ok().and_then(Result::ok).ok_or_else(|| {
            RequestError::StoreUnavailable(format!(
                "as many reads of this kind are under way as may be, for {} s",
                bounds::READ_WAIT.as_secs()
            ))
        })
    }
}

fn corrupt(row: &IllegalRow) -> RequestError {
    Refusal::Corrupt {
        what: row.to_string(),
    }
    .into()
}
