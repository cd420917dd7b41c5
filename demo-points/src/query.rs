//! The query service: what the accounts hold and what moved.

use demo_service::{Reader, record};
use sqlx::SqlitePool;
use tonic::{Request, Response, Status};

use crate::accounts::kind_from_word;
use crate::proto::points_server::Points;
use crate::proto::{
    Account, Entry, GetBalanceRequest, GetTotalsRequest, ListAccountsReply, ListAccountsRequest,
    ListLedgerReply, ListLedgerRequest, Totals,
};

const ACCOUNT: &str = "SELECT * FROM account WHERE user = ?";
const ACCOUNTS: &str = "SELECT * FROM account WHERE user > ? ORDER BY user LIMIT ?";
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
        let account = self.0.named(ACCOUNT, "account of", &user).await;
        account.map(Response::new)
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
        let (entries, next_cursor) = self.0.ledger(&user, page_size, &cursor).await?;
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

record!(Account { user, opening, available, frozen, spent }, by user);
record!(
    Entry { number, tx_id, action, order_id, user, points, at_micros } with kind = kind_from_word,
    by number
);
record!(Totals {
    accounts,
    opening,
    available,
    frozen,
    spent
});
