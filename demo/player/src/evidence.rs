//! Reads the books: the coordinator's transactions and what both services hold.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use demo_coupons::proto as coupons;
use demo_coupons::proto::coupons_client::CouponsClient;
use demo_points::proto as points;
use demo_points::proto::points_client::PointsClient;
use futures::{StreamExt, TryStreamExt, stream};
use tercet_proto::v1::coordinator_client::CoordinatorClient;
use tercet_proto::v1::{GetRequest, ListRequest, Transaction, TxStatus};
use tonic::transport::Channel;

use crate::BUSINESS_TYPE;
use crate::books::Evidence;

/// Rows read at once.
const PAGE: u32 = 500;
/// Transactions read at once.
const READERS: usize = 16;
/// The pause between two looks at what the coordinator still works on.
const POLL: Duration = Duration::from_millis(50);

/// The addresses of the books.
#[derive(Clone, Debug)]
pub(crate) struct Addresses {
    /// The coordinator's.
    pub coordinator: String,
    /// The points service's.
    pub points: String,
    /// The coupons service's.
    pub coupons: String,
}

/// Waits until the coordinator works on no transaction any more, or `patience` is over.
pub(crate) async fn settled(addresses: &Addresses, patience: Duration) -> anyhow::Result<()> {
    let mut client = CoordinatorClient::connect(addresses.coordinator.clone()).await?;
    let started = Instant::now();
    loop {
        let open = ListRequest {
            business_type: BUSINESS_TYPE.to_owned(),
            statuses: vec![TxStatus::ProcessWaiting.into(), TxStatus::Processing.into()],
            page_size: 1,
            ..ListRequest::default()
        };
        let open = client.list(open).await?.into_inner().transactions;
        if open.is_empty() || started.elapsed() > patience {
            return Ok(());
        }
        tokio::time::sleep(POLL).await;
    }
}

/// Reads everything but the initiator's answers.
pub(crate) async fn read(addresses: &Addresses) -> anyhow::Result<Evidence> {
    let mut points = PointsClient::connect(addresses.points.clone())
        .await
        .context("the points service does not answer")?;
    let mut coupons = CouponsClient::connect(addresses.coupons.clone())
        .await
        .context("the coupons service does not answer")?;
    let coordinator = CoordinatorClient::connect(addresses.coordinator.clone())
        .await
        .context("the coordinator does not answer")?;
    Ok(Evidence {
        transactions: transactions(coordinator).await?,
        accounts: accounts(&mut points).await?,
        points_ledger: points_ledger(&mut points).await?,
        stocks: stocks(&mut coupons).await?,
        coupons: held(&mut coupons).await?,
        coupons_ledger: coupons_ledger(&mut coupons).await?,
        answers: std::collections::BTreeMap::new(),
    })
}

async fn transactions(mut client: CoordinatorClient<Channel>) -> anyhow::Result<Vec<Transaction>> {
    let mut ids = Vec::new();
    let mut cursor = String::new();
    loop {
        let request = ListRequest {
            business_type: BUSINESS_TYPE.to_owned(),
            page_size: PAGE,
            cursor: cursor.clone(),
            ..ListRequest::default()
        };
        let page = client.list(request).await?.into_inner();
        ids.extend(page.transactions.into_iter().map(|tx| tx.tx_id));
        if !advance(&mut cursor, page.next_cursor)? {
            break;
        }
    }
    stream::iter(ids)
        .map(|tx_id| {
            let mut client = client.clone();
            async move {
                let request = GetRequest {
                    tx_id,
                    ..GetRequest::default()
                };
                anyhow::Ok(client.get(request).await?.into_inner())
            }
        })
        .buffered(READERS)
        .try_collect()
        .await
}

/// Takes the next cursor; false: that was the last page.
fn advance(cursor: &mut String, next: String) -> anyhow::Result<bool> {
    if next.is_empty() {
        return Ok(false);
    }
    if next == *cursor {
        bail!("a list gives the same page again and again (cursor {next:?})");
    }
    *cursor = next;
    Ok(true)
}

/// Reads all pages of a list of one of the services.
macro_rules! all_pages {
    ($client:expr, $method:ident, $request:ty, $rows:ident) => {{
        let mut rows = Vec::new();
        let mut request = <$request>::default();
        request.page_size = PAGE;
        loop {
            let page = $client.$method(request.clone()).await?.into_inner();
            rows.extend(page.$rows);
            if !advance(&mut request.cursor, page.next_cursor)? {
                break Ok(rows);
            }
        }
    }};
}

async fn accounts(client: &mut PointsClient<Channel>) -> anyhow::Result<Vec<points::Account>> {
    all_pages!(client, list_accounts, points::ListAccountsRequest, accounts)
}

async fn points_ledger(client: &mut PointsClient<Channel>) -> anyhow::Result<Vec<points::Entry>> {
    all_pages!(client, list_ledger, points::ListLedgerRequest, entries)
}

async fn stocks(client: &mut CouponsClient<Channel>) -> anyhow::Result<Vec<coupons::Stock>> {
    all_pages!(client, list_stocks, coupons::ListStocksRequest, stocks)
}

async fn held(client: &mut CouponsClient<Channel>) -> anyhow::Result<Vec<coupons::Coupon>> {
    all_pages!(client, list_coupons, coupons::ListCouponsRequest, coupons)
}

async fn coupons_ledger(
    client: &mut CouponsClient<Channel>,
) -> anyhow::Result<Vec<coupons::Entry>> {
    all_pages!(client, list_ledger, coupons::ListLedgerRequest, entries)
}
