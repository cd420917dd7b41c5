//! The queries: pages that join without a gap, and what is refused.

#![allow(clippy::unwrap_used)]

use demo_points::Query;
use demo_points::accounts::{Movement, apply, prepare};
use demo_points::proto::points_server::Points;
use demo_points::proto::{
    GetBalanceRequest, GetTotalsRequest, Kind, ListAccountsRequest, ListLedgerRequest, Totals,
};
use demo_points::seed::Seed;
use demo_service::SeedPart;
use tonic::{Code, Request};

async fn service() -> (Query, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let pool = demo_service::open(&folder.path().join("points.db"))
        .await
        .unwrap();
    let users = ["ann", "bob", "cid"];
    let seed = users
        .map(|user| {
            format!(
                "[[account]]
user = \"{user}\"
points = 10
"
            )
        })
        .concat();
    prepare(&pool, &Seed::parse(&seed).unwrap()).await.unwrap();
    let mut conn = pool.acquire().await.unwrap();
    for user in users {
        let movement = Movement {
            tx_id: user,
            action: "points",
            order_id: "o-1",
            user,
            points: 4,
        };
        apply(&mut conn, Kind::Freeze, &movement).await.unwrap();
    }
    drop(conn);
    (Query::new(pool), folder)
}

#[tokio::test]
async fn pages_join_without_a_gap() {
    let (query, _folder) = service().await;
    let mut request = ListAccountsRequest {
        page_size: 2,
        ..ListAccountsRequest::default()
    };
    let first = query
        .list_accounts(Request::new(request.clone()))
        .await
        .unwrap()
        .into_inner();
    request.cursor.clone_from(&first.next_cursor);
    let last = query
        .list_accounts(Request::new(request))
        .await
        .unwrap()
        .into_inner();
    let users: Vec<_> = first
        .accounts
        .iter()
        .chain(&last.accounts)
        .map(|account| &account.user)
        .collect();
    assert_eq!(users, ["ann", "bob", "cid"]);
    assert_eq!(last.next_cursor, "");

    let mut request = ListLedgerRequest {
        page_size: 2,
        ..ListLedgerRequest::default()
    };
    let first = query
        .list_ledger(Request::new(request.clone()))
        .await
        .unwrap()
        .into_inner();
    request.cursor.clone_from(&first.next_cursor);
    let last = query
        .list_ledger(Request::new(request))
        .await
        .unwrap()
        .into_inner();
    let entries: Vec<_> = first
        .entries
        .iter()
        .chain(&last.entries)
        .map(|entry| (entry.tx_id.as_str(), entry.kind(), entry.points))
        .collect();
    assert_eq!(
        entries,
        ["ann", "bob", "cid"].map(|user| (user, Kind::Freeze, 4))
    );
    assert!(first.entries[0].at_micros > 1_600_000_000_000_000);
}

#[tokio::test]
async fn one_user_and_the_sums() {
    let (query, _folder) = service().await;
    let request = GetBalanceRequest {
        user: "bob".to_owned(),
    };
    let account = query
        .get_balance(Request::new(request))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        (account.available, account.frozen, account.spent),
        (6, 4, 0)
    );
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
    let totals = query
        .get_totals(Request::new(GetTotalsRequest {}))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        totals,
        Totals {
            accounts: 3,
            opening: 30,
            available: 18,
            frozen: 12,
            spent: 0
        }
    );
}

#[tokio::test]
async fn what_makes_no_sense_is_refused() {
    let (query, _folder) = service().await;
    let unknown = GetBalanceRequest {
        user: "dan".to_owned(),
    };
    let refused = query.get_balance(Request::new(unknown)).await.unwrap_err();
    assert_eq!(refused.code(), Code::NotFound);
    let cursor = ListLedgerRequest {
        cursor: "x".to_owned(),
        ..ListLedgerRequest::default()
    };
    let refused = query.list_ledger(Request::new(cursor)).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(refused.message().contains("cursor"), "{refused}");
    let size = ListAccountsRequest {
        page_size: 5_001,
        ..ListAccountsRequest::default()
    };
    let refused = query.list_accounts(Request::new(size)).await.unwrap_err();
    assert!(refused.message().contains("at most 5000"), "{refused}");
}
