//! The query service: what the stocks hold, which coupons exist, and what moved.

use demo_service::{Reader, record};
use sqlx::SqlitePool;
use tonic::{Request, Response, Status};

use crate::proto::coupons_server::Coupons;
use crate::proto::{
    Coupon, Entry, GetStockRequest, GetTotalsRequest, ListCouponsReply, ListCouponsRequest,
    ListLedgerReply, ListLedgerRequest, ListStocksReply, ListStocksRequest, Stock, Totals,
};
use crate::stock::kind_from_word;

const STOCK: &str = "SELECT * FROM stock WHERE kind = ?";
const STOCKS: &str = "SELECT * FROM stock WHERE kind > ? ORDER BY kind LIMIT ?";
const COUPONS: &str = "SELECT * FROM coupon WHERE number > ?1 AND (?2 = '' OR user = ?2) \
                       ORDER BY number LIMIT ?3";
const TOTALS: &str = "SELECT COUNT(*) AS kinds, COALESCE(SUM(opening), 0) AS opening, \
                      COALESCE(SUM(available), 0) AS available, \
                      COALESCE(SUM(reserved), 0) AS reserved, \
                      COALESCE(SUM(issued), 0) AS issued FROM stock";

/// Answers queries from the database.
#[derive(Clone, Debug)]
pub struct Query(Reader);

impl Query {
    /// Over the service's database.
    pub fn new(pool: SqlitePool) -> Self {
        Self(Reader::new("coupons", pool))
    }
}

#[tonic::async_trait]
impl Coupons for Query {
    async fn get_stock(
        &self,
        request: Request<GetStockRequest>,
    ) -> Result<Response<Stock>, Status> {
        let kind = request.into_inner().kind;
        let stock = self.0.named(STOCK, "kind of coupon", &kind).await;
        stock.map(Response::new)
    }

    async fn list_stocks(
        &self,
        request: Request<ListStocksRequest>,
    ) -> Result<Response<ListStocksReply>, Status> {
        let ListStocksRequest { page_size, cursor } = request.into_inner();
        let (stocks, next_cursor) = self.0.by_name(STOCKS, page_size, &cursor).await?;
        Ok(Response::new(ListStocksReply {
            stocks,
            next_cursor,
        }))
    }

    async fn list_coupons(
        &self,
        request: Request<ListCouponsRequest>,
    ) -> Result<Response<ListCouponsReply>, Status> {
        let ListCouponsRequest {
            user,
            page_size,
            cursor,
        } = request.into_inner();
        let (coupons, next_cursor) = self.0.by_number(COUPONS, &user, page_size, &cursor).await?;
        Ok(Response::new(ListCouponsReply {
            coupons,
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

record!(Stock { kind, opening, available, reserved, issued, per_user }, by kind);
record!(Coupon { number, kind, user, order_id, tx_id, at_micros }, by number);
record!(
    Entry { number, tx_id, action, order_id, user, coupon, at_micros } with kind = kind_from_word,
    by number
);
record!(Totals {
    kinds,
    opening,
    available,
    reserved,
    issued
});
