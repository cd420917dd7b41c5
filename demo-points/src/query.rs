//! The query service: what the accounts hold and what moved.

use demo_service::{Page, next_cursor};
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqlitePool};
use tonic::{Request, Response, Status};

use crate::accounts::kind_from_word;
use crate::proto::points_server::Points;
use crate::proto::{
    Account, Entry, GetBalanceRequest, GetTotalsRequest, ListAccountsReply, ListAccountsRequest,
    ListLedgerReply, ListLedgerRequest, Totals,
};

/// Answers queries from the database.
#[derive(Clone, Debug)]
pub struct Query {
    pool: SqlitePool,
}

impl Query {
    /// Over the service's database.
    pub fn new(pool: SqlitePool) -> Self {
        Self { pool }
    }
}

#[allow(clippy::needless_pass_by_value, reason = "as map_err hands it over")]
fn failed(error: sqlx::Error) -> Status {
    tracing::error!(%error, "a query failed");
    Status::internal("the points database failed; the service's log says why")
}

fn account(row: &SqliteRow) -> Result<Account, sqlx::Error> {
    Ok(Account {
        user: row.try_get("user")?,
        opening: row.try_get("opening")?,
        available: row.try_get("available")?,
        frozen: row.try_get("frozen")?,
        spent: row.try_get("spent")?,
    })
}

fn entry(row: &SqliteRow) -> Result<Entry, sqlx::Error> {
    let kind = kind_from_word(row.try_get("kind")?)
        .ok_or_else(|| sqlx::Error::Decode("the ledger has an unknown kind".into()))?;
    Ok(Entry {
        number: row.try_get("number")?,
        tx_id: row.try_get("tx_id")?,
        action: row.try_get("action")?,
        order_id: row.try_get("order_id")?,
        user: row.try_get("user")?,
        kind: kind.into(),
        points: row.try_get("points")?,
        at_micros: row.try_get("at_micros")?,
    })
}

#[tonic::async_trait]
impl Points for Query {
    async fn get_balance(
        &self,
        request: Request<GetBalanceRequest>,
    ) -> Result<Response<Account>, Status> {
        let user = request.into_inner().user;
        let row = sqlx::query("SELECT * FROM account WHERE user = ?")
            .bind(&user)
            .fetch_optional(&self.pool)
            .await
            .map_err(failed)?
            .ok_or_else(|| Status::not_found(format!("no account of {user:?}")))?;
        account(&row).map(Response::new).map_err(failed)
    }

    async fn list_accounts(
        &self,
        request: Request<ListAccountsRequest>,
    ) -> Result<Response<ListAccountsReply>, Status> {
        let request = request.into_inner();
        let page = Page::new(request.page_size, &request.cursor)?;
        let rows = sqlx::query("SELECT * FROM account WHERE user > ? ORDER BY user LIMIT ?")
            .bind(page.after_name())
            .bind(page.size)
            .fetch_all(&self.pool)
            .await
            .map_err(failed)?;
        let accounts: Vec<_> = rows
            .iter()
            .map(account)
            .collect::<Result<_, _>>()
            .map_err(failed)?;
        let last = accounts
            .last()
            .map(|account: &Account| account.user.clone());
        let next_cursor = next_cursor(page, accounts.len(), last);
        Ok(Response::new(ListAccountsReply {
            accounts,
            next_cursor,
        }))
    }

    async fn list_ledger(
        &self,
        request: Request<ListLedgerRequest>,
    ) -> Result<Response<ListLedgerReply>, Status> {
        let request = request.into_inner();
        let page = Page::new(request.page_size, &request.cursor)?;
        let rows = sqlx::query(
            "SELECT * FROM ledger WHERE number > ?1 AND (?2 = '' OR user = ?2) \
             ORDER BY number LIMIT ?3",
        )
        .bind(page.after_number()?)
        .bind(&request.user)
        .bind(page.size)
        .fetch_all(&self.pool)
        .await
        .map_err(failed)?;
        let entries: Vec<_> = rows
            .iter()
            .map(entry)
            .collect::<Result<_, _>>()
            .map_err(failed)?;
        let last = entries.last().map(|entry: &Entry| entry.number.to_string());
        let next_cursor = next_cursor(page, entries.len(), last);
        Ok(Response::new(ListLedgerReply {
            entries,
            next_cursor,
        }))
    }

    async fn get_totals(
        &self,
        _request: Request<GetTotalsRequest>,
    ) -> Result<Response<Totals>, Status> {
        let row = sqlx::query(
            "SELECT COUNT(*) AS accounts, COALESCE(SUM(opening), 0) AS opening, \
             COALESCE(SUM(available), 0) AS available, COALESCE(SUM(frozen), 0) AS frozen, \
             COALESCE(SUM(spent), 0) AS spent FROM account",
        )
        .fetch_one(&self.pool)
        .await
        .map_err(failed)?;
        totals(&row).map(Response::new).map_err(failed)
    }
}

fn totals(row: &SqliteRow) -> Result<Totals, sqlx::Error> {
    Ok(Totals {
        accounts: row.try_get("accounts")?,
        opening: row.try_get("opening")?,
        available: row.try_get("available")?,
        frozen: row.try_get("frozen")?,
        spent: row.try_get("spent")?,
    })
}
