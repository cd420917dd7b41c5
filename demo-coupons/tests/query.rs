//! The queries: pages that join without a gap, and what is not there.

#![allow(clippy::unwrap_used)]

use demo_coupons::Query;
use demo_coupons::proto::coupons_server::Coupons;
use demo_coupons::proto::{
    GetStockRequest, GetTotalsRequest, Kind, ListCouponsRequest, ListLedgerRequest,
    ListStocksRequest, Totals,
};
use demo_coupons::seed::Seed;
use demo_coupons::stock::{Movement, apply, prepare};
use demo_service::SeedPart;
use tonic::{Code, Request};

const SEED: &str = "[[coupon]]\nkind = \"tea\"\nstock = 9\nper_user = 2\n\
                    [[coupon]]\nkind = \"rum\"\nstock = 1\nper_user = 1\n";

async fn service() -> (Query, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let pool = demo_service::open(&folder.path().join("coupons.db"))
        .await
        .unwrap();
    prepare(&pool, &Seed::parse(SEED).unwrap()).await.unwrap();
    let mut conn = pool.acquire().await.unwrap();
    for user in ["ann", "bob", "cid"] {
        let movement = Movement {
            tx_id: user,
            action: "coupon",
            order_id: "o-1",
            user,
            coupon: "tea",
        };
        apply(&mut conn, Kind::Grant, &movement).await.unwrap();
    }
    drop(conn);
    (Query::new(pool), folder)
}

#[tokio::test]
async fn pages_join_without_a_gap() {
    let (query, _folder) = service().await;
    let mut request = ListCouponsRequest {
        page_size: 2,
        ..ListCouponsRequest::default()
    };
    let first = query
        .list_coupons(Request::new(request.clone()))
        .await
        .unwrap()
        .into_inner();
    request.cursor.clone_from(&first.next_cursor);
    let last = query
        .list_coupons(Request::new(request))
        .await
        .unwrap()
        .into_inner();
    let users: Vec<_> = first
        .coupons
        .iter()
        .chain(&last.coupons)
        .map(|coupon| &coupon.user)
        .collect();
    assert_eq!(users, ["ann", "bob", "cid"]);
    assert_eq!(last.next_cursor, "");

    let request = ListLedgerRequest {
        user: "bob".to_owned(),
        ..ListLedgerRequest::default()
    };
    let ledger = query
        .list_ledger(Request::new(request))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(ledger.entries.len(), 1);
    assert_eq!(ledger.entries[0].kind(), Kind::Grant);

    let stocks = query
        .list_stocks(Request::new(ListStocksRequest::default()))
        .await
        .unwrap();
    let kinds: Vec<_> = stocks
        .into_inner()
        .stocks
        .into_iter()
        .map(|stock| stock.kind)
        .collect();
    assert_eq!(kinds, ["rum", "tea"]);
}

#[tokio::test]
async fn one_kind_and_the_sums() {
    let (query, _folder) = service().await;
    let request = GetStockRequest {
        kind: "tea".to_owned(),
    };
    let stock = query
        .get_stock(Request::new(request))
        .await
        .unwrap()
        .into_inner();
    assert_eq!((stock.available, stock.reserved, stock.issued), (6, 0, 3));
    let request = GetStockRequest {
        kind: "gin".to_owned(),
    };
    let refused = query.get_stock(Request::new(request)).await.unwrap_err();
    assert_eq!(refused.code(), Code::NotFound);
    let totals = query
        .get_totals(Request::new(GetTotalsRequest {}))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        totals,
        Totals {
            kinds: 2,
            opening: 10,
            available: 7,
            reserved: 0,
            issued: 3
        }
    );
}
