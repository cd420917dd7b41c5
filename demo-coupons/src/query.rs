//! The query service: what the stocks hold, which coupons exist, and what moved.

use demo_service::{Listed, Reader};
use sqlx::sqlite::SqliteRow;
use sqlx::{FromRow, Row, SqlitePool};
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
const LEDGER: &str = "SELECT * FROM ledger WHERE number > ?1 AND (?2 = '' OR user = ?2) \
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
        let stock = self.0.optional(sqlx::query_as(STOCK).bind(&kind)).await?;
        stock
            .map(Response::new)
            .ok_or_else(|| Status::not_found(format!("no kind of coupon {kind:?}")))
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

impl FromRow<'_, SqliteRow> for Stock {
    fn from_row(row: &SqliteRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            kind: row.try_get("kind")?,
            opening: row.try_get("opening")?,
            available: row.try_get("available")?,
            reserved: row.try_get("reserved")?,
            issued: row.try_get("issued")?,
            per_user: row.try_get("per_user")?,
        })
    }
}

impl Listed for Stock {
    fn key(&self) -> String {
        self.kind.clone()
    }
}

impl FromRow<'_, SqliteRow> for Coupon {
    fn from_row(row: &SqliteRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            number: row.try_get("number")?,
            kind: row.try_get("kind")?,
            user: row.try_get("user")?,
            order_id: row.try_get("order_id")?,
            tx_id: row.try_get("tx_id")?,
            at_micros: row.try_get("at_micros")?,
        })
    }
}

impl Listed for Coupon {
    fn key(&self) -> String {
        self.number.to_string()
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
            coupon: row.try_get("coupon")?,
            kind: kind_from_word(row.try_get("kind")?)?.into(),
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
            kinds: row.try_get("kinds")?,
            opening: row.try_get("opening")?,
            available: row.try_get("available")?,
            reserved: row.try_get("reserved")?,
            issued: row.try_get("issued")?,
        })
    }
}
