//! The query service: what the accounts hold and what moved.

use demo_service::{Listed, Reader};
use sqlx::sqlite::SqliteRow;
use sqlx::{FromRow, Row, SqlitePool};
use tonic::{Request, Response, Status};

use crate::accounts::kind_from_word;
use crate::proto::points_server::Points;
use crate::proto::{
    Account, Entry, GetBalanceRequest, GetTotalsRequest, ListAccountsReply, ListAccountsRequest,
    ListLedgerReply, ListLedgerRequest, Totals,
};

const ACCOUNT: &str = "SELECT * FROM account WHERE user = ?";
const ACCOUNTS: &str = "SELECT * FROM account WHERE user > ? ORDER BY user LIMIT ?";
const LEDGER: &str = "SELECT * FROM ledger WHERE number > ?1 AND (?2 = '' OR user = ?2) \
                      ORDER BY number LIMIT ?3";
const TOTALS: &str = "SELECT COUNT(*) AS accounts, COALESCE(SUM(opening), 0) AS opening, \
                      COALESCE(SUM(available), 0) AS available, \
                      COALESCE(SUM(frozen), 0) AS frozen, COALESCE(SUM(spent), 0) AS spent \
                      FROM account";

/// Answers queries from the database.
#[derive(Clone, Debug)]
pub struct Query(Reader);

impl Query {
    /// Over the service's database.
    pub fn new(pool: SqlitePool) -> Self {
        Self(Reader::new("points", pool))
    }
}

#[tonic::async_trait]
impl Points for Query {
    async fn get_balance(
        &self,
        request: Request<GetBalanceRequest>,
    ) -> Result<Response<Account>, Status> {
        let user = request.into_inner().user;
        let account = self.0.optional(sqlx::query_as(ACCOUNT).bind(&user)).await?;
        account
            .map(Response::new)
            .ok_or_else(|| Status::not_found(format!("no account of {user:?}")))
    }

    async fn list_accounts(
        &self,
        request: Request<ListAccountsRequest>,
    ) -> Result<Response<ListAccountsReply>, Status> {
        let ListAccountsRequest { page_size, cursor } = request.into_inner();
        let (accounts, next_cursor) = self.0.by_name(ACCOUNTS, page_size, &cursor).await?;
        Ok(Response::new(ListAccountsReply {
            accounts,
            next_cursor,
        }))
    }

    async fn list_ledger(
        &self,
        request: Request<ListLedgerRequest>,
    ) -> Result<Response<ListLedgerReply>, Status> {
        let ListLedgerRequest {
            user,
            page_size,
            cursor,
        } = request.into_inner();
        let (entries, next_cursor) = self.0.by_number(LEDGER, &user, page_size, &cursor).await?;
        Ok(Response::new(ListLedgerReply {
            entries,
            next_cursor,
        }))
    }

    async fn get_totals(
        &self,
        _request: Request<GetTotalsRequest>,
    ) -> Result<Response<Totals>, Status> {
        self.0.one(sqlx::query_as(TOTALS)).await.map(Response::new)
    }
}

impl FromRow<'_, SqliteRow> for Account {
    fn from_row(row: &SqliteRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            user: row.try_get("user")?,
            opening: row.try_get("opening")?,
            available: row.try_get("available")?,
            frozen: row.try_get("frozen")?,
            spent: row.try_get("spent")?,
        })
    }
}

impl Listed for Account {
    fn key(&self) -> String {
        self.user.clone()
    }
}

impl FromRow<'_, SqliteRow> for Entry {
    fn from_row(row: &SqliteRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            number: row.try_get("number")?,
            tx_id: row.try_get("tx_id")?,
            action: row.try_get("action")?,
            order_id: row.try_get("order_id")?,
            user: row.try_get("user")?,
            kind: kind_from_word(row.try_get("kind")?)?.into(),
            points: row.try_get("points")?,
            at_micros: row.try_get("at_micros")?,
        })
    }
}

impl Listed for Entry {
    fn key(&self) -> String {
        self.number.to_string()
    }
}

impl FromRow<'_, SqliteRow> for Totals {
    fn from_row(row: &SqliteRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            accounts: row.try_get("accounts")?,
            opening: row.try_get("opening")?,
            available: row.try_get("available")?,
            frozen: row.try_get("frozen")?,
            spent: row.try_get("spent")?,
        })
    }
}
