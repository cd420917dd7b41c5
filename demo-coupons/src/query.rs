//! The query service: what the stocks hold, which coupons exist, and what moved.

use demo_service::{Page, next_cursor};
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqlitePool};
use tonic::{Request, Response, Status};

use crate::proto::coupons_server::Coupons;
use crate::proto::{
    Coupon, Entry, GetStockRequest, GetTotalsRequest, ListCouponsReply, ListCouponsRequest,
    ListLedgerReply, ListLedgerRequest, ListStocksReply, ListStocksRequest, Stock, Totals,
};
use crate::stock::kind_from_word;

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
    Status::internal("the coupons database failed; the service's log says why")
}

fn stock(row: &SqliteRow) -> Result<Stock, sqlx::Error> {
    Ok(Stock {
        kind: row.try_get("kind")?,
        opening: row.try_get("opening")?,
        available: row.try_get("available")?,
        reserved: row.try_get("reserved")?,
        issued: row.try_get("issued")?,
        per_user: row.try_get("per_user")?,
    })
}

fn coupon(row: &SqliteRow) -> Result<Coupon, sqlx::Error> {
    Ok(Coupon {
        number: row.try_get("number")?,
        kind: row.try_get("kind")?,
        user: row.try_get("user")?,
        order_id: row.try_get("order_id")?,
        tx_id: row.try_get("tx_id")?,
        at_micros: row.try_get("at_micros")?,
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
        coupon: row.try_get("coupon")?,
        kind: kind.into(),
        at_micros: row.try_get("at_micros")?,
    })
}

fn totals(row: &SqliteRow) -> Result<Totals, sqlx::Error> {
    Ok(Totals {
        kinds: row.try_get("kinds")?,
        opening: row.try_get("opening")?,
        available: row.try_get("available")?,
        reserved: row.try_get("reserved")?,
        issued: row.try_get("issued")?,
    })
}

#[tonic::async_trait]
impl Coupons for Query {
    async fn get_stock(
        &self,
        request: Request<GetStockRequest>,
    ) -> Result<Response<Stock>, Status> {
        let kind = request.into_inner().kind;
        let row = sqlx::query("SELECT * FROM stock WHERE kind = ?")
            .bind(&kind)
            .fetch_optional(&self.pool)
            .await
            .map_err(failed)?
            .ok_or_else(|| Status::not_found(format!("no kind of coupon {kind:?}")))?;
        stock(&row).map(Response::new).map_err(failed)
    }

    async fn list_stocks(
        &self,
        request: Request<ListStocksRequest>,
    ) -> Result<Response<ListStocksReply>, Status> {
        let request = request.into_inner();
        let page = Page::new(request.page_size, &request.cursor)?;
        let rows = sqlx::query("SELECT * FROM stock WHERE kind > ? ORDER BY kind LIMIT ?")
            .bind(page.after_name())
            .bind(page.size)
            .fetch_all(&self.pool)
            .await
            .map_err(failed)?;
        let stocks: Vec<_> = rows
            .iter()
            .map(stock)
            .collect::<Result<_, _>>()
            .map_err(failed)?;
        let last = stocks.last().map(|stock: &Stock| stock.kind.clone());
        let next_cursor = next_cursor(page, stocks.len(), last);
        Ok(Response::new(ListStocksReply {
            stocks,
            next_cursor,
        }))
    }

    async fn list_coupons(
        &self,
        request: Request<ListCouponsRequest>,
    ) -> Result<Response<ListCouponsReply>, Status> {
        let request = request.into_inner();
        let page = Page::new(request.page_size, &request.cursor)?;
        let rows = sqlx::query(
            "SELECT * FROM coupon WHERE number > ?1 AND (?2 = '' OR user = ?2) \
             ORDER BY number LIMIT ?3",
        )
        .bind(page.after_number()?)
        .bind(&request.user)
        .bind(page.size)
        .fetch_all(&self.pool)
        .await
        .map_err(failed)?;
        let coupons: Vec<_> = rows
            .iter()
            .map(coupon)
            .collect::<Result<_, _>>()
            .map_err(failed)?;
        let last = coupons
            .last()
            .map(|coupon: &Coupon| coupon.number.to_string());
        let next_cursor = next_cursor(page, coupons.len(), last);
        Ok(Response::new(ListCouponsReply {
            coupons,
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
            "SELECT COUNT(*) AS kinds, COALESCE(SUM(opening), 0) AS opening, \
             COALESCE(SUM(available), 0) AS available, COALESCE(SUM(reserved), 0) AS reserved, \
             COALESCE(SUM(issued), 0) AS issued FROM stock",
        )
        .fetch_one(&self.pool)
        .await
        .map_err(failed)?;
        totals(&row).map(Response::new).map_err(failed)
    }
}
