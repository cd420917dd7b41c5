//! The comparison of the books, order by order: the coordinator's decision, the points ledger, the coupons
//! ledger, the initiator's own orders, and the answers that the initiator got.

use std::{collections::BTreeMap, path::Path};

use anyhow::Context as _;
use sqlx::{Row as _, SqlitePool};
use tercet_proto::v1::{BizStatus, ListRequest, Transaction, TxStatus};
use tercet_sdk::initiator::Client;
use uuid::Uuid;

use crate::{
    cast::{COUPON, Places, Role, look},
    initiator::{BUSINESS_TYPE, Order},
    points::Exchange,
};

/// Rows per page.
const PAGE: u32 = 500;
const POINTS_LEDGER: &str = "SELECT tx_id, kind, points AS amount FROM ledger";
const COUPONS_LEDGER: &str = "SELECT tx_id, kind, 1 AS amount FROM ledger";

/// The balance of all orders.
#[derive(Clone, Debug, Default)]
pub struct Sheet {
    /// Orders decided SUCCESS and finished.
    pub committed: usize,
    /// Orders decided FAILURE and finished.
    pub rolled_back: usize,
    /// Parked orders.
    pub parked: usize,
    /// Contradictions between the books.
    pub wrong: Vec<String>,
}

/// The movements of one service for one transaction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Moved {
    /// The number of movements by kind.
    kinds: BTreeMap<String, i64>,
    /// The amount that is frozen or reserved.
    held: i64,
    /// The amount that is spent or issued.
    taken: i64,
}

/// Reads all books and compares them.
pub async fn match_all(
    places: &Places,
    mode: Exchange,
    orders: usize,
    printed: &str,
) -> anyhow::Result<Sheet> {
    let client = Client::connect([places.coordinator_url()]).await?;
    let transactions = transactions(&client).await?;
    let points = ledger(&places.database(Role::Points), POINTS_LEDGER).await?;
    let coupons = ledger(&places.database(Role::Coupons), COUPONS_LEDGER).await?;
    let own = own_orders(&look(&places.database(Role::Initiator)).await?).await?;
    let mut sheet = Sheet::default();
    for number in 0..orders {
        let order = Order::new(mode, number);
        let found = transactions.get(&order.id()).map_or(&[][..], Vec::as_slice);
        let [tx] = found else {
            sheet.wrong.push(format!(
                "{}: {} transactions, not one",
                order.id(),
                found.len()
            ));
            continue;
        };
        let wrong = sheet.judge(
            &order,
            tx,
            points.get(&tx.tx_id).cloned().unwrap_or_default(),
            coupons.get(&tx.tx_id).cloned().unwrap_or_default(),
        );
        sheet.wrong.extend(
            wrong
                .into_iter()
                .map(|what| format!("{} ({}): {what}", order.id(), tx.tx_id)),
        );
        if mode.is_led() {
            let committed = tx.biz_status() == BizStatus::Success;
            if own.contains_key(&order.id()) != committed {
                sheet.wrong.push(format!(
                    "{} ({}): decided {}, but its own row is {}",
                    order.id(),
                    tx.tx_id,
                    tx.biz_status().as_str_name(),
                    if committed { "missing" } else { "there" }
                ));
            }
        }
    }
    sheet.strangers(&transactions, &points, &coupons);
    sheet.accounts(places).await?;
    sheet.answers(printed, &transactions);
    Ok(sheet)
}

impl Sheet {
    /// Returns whether the books agree.
    pub fn balances(&self) -> bool {
        self.wrong.is_empty()
    }

    fn judge(
        &mut self,
        order: &Order,
        tx: &Transaction,
        points: Moved,
        coupons: Moved,
    ) -> Vec<String> {
        let committed = tx.biz_status() == BizStatus::Success;
        match tx.status() {
            TxStatus::Success if committed => self.committed += 1,
            TxStatus::Success => self.rolled_back += 1,
            TxStatus::Failure => {
                self.parked += 1;
                return Vec::new();
            }
            other => {
                return vec![format!(
                    "it has not reached its end: {}",
                    other.as_str_name()
                )];
            }
        }
        let mut wrong = Vec::new();
        let due = [
            ("points", points, if committed { order.points } else { 0 }),
            ("coupons", coupons, i64::from(committed)),
        ];
        for (book, moved, taken) in due {
            if moved.held != 0 || moved.taken != taken {
                wrong.push(format!(
                    "{book}: decided {}, yet {} held and {} taken, not {taken} ({:?})",
                    tx.biz_status().as_str_name(),
                    moved.held,
                    moved.taken,
                    moved.kinds
                ));
            }
            if moved.kinds.values().any(|count| *count > 1) {
                wrong.push(format!(
                    "{book}: a movement was made twice ({:?})",
                    moved.kinds
                ));
            }
        }
        wrong
    }

    fn strangers(
        &mut self,
        transactions: &BTreeMap<String, Vec<Transaction>>,
        points: &BTreeMap<String, Moved>,
        coupons: &BTreeMap<String, Moved>,
    ) {
        let known: Vec<&str> = transactions
            .values()
            .flatten()
            .map(|tx| tx.tx_id.as_str())
            .collect();
        for tx_id in points.keys().chain(coupons.keys()) {
            if !known.contains(&tx_id.as_str()) {
                self.wrong.push(format!(
                    "a ledger knows transaction {tx_id}, the coordinator does not"
                ));
            }
        }
    }

    /// Checks that nothing stays frozen when nothing is parked; the tables' constraints check the sums themselves.
    async fn accounts(&mut self, places: &Places) -> anyhow::Result<()> {
        let pool = look(&places.database(Role::Points)).await?;
        let frozen: i64 = sqlx::query("SELECT COALESCE(SUM(frozen), 0) FROM account")
            .fetch_one(&pool)
            .await?
            .get(0);
        let pool = look(&places.database(Role::Coupons)).await?;
        let row = sqlx::query(
            "SELECT reserved, issued, (SELECT COUNT(*) FROM coupon) FROM stock WHERE kind = ?",
        )
        .bind(COUPON)
        .fetch_one(&pool)
        .await?;
        let (reserved, issued, coupons): (i64, i64, i64) = (row.get(0), row.get(1), row.get(2));
        if self.parked == 0 && (frozen != 0 || reserved != 0) {
            self.wrong.push(format!(
                "{frozen} points are still frozen, {reserved} coupons reserved"
            ));
        }
        if issued != coupons {
            self.wrong
                .push(format!("{issued} coupons are issued, {coupons} exist"));
        }
        Ok(())
    }

    /// Checks that every answer to the initiator agrees with the decision.
    fn answers(&mut self, printed: &str, transactions: &BTreeMap<String, Vec<Transaction>>) {
        for line in printed
            .lines()
            .filter_map(|line| line.strip_prefix("answered "))
        {
            let mut words = line.split(' ');
            let (Some(_), Some(tx_id), Some(decision)) = (words.next(), words.next(), words.next())
            else {
                continue;
            };
            let stands = transactions
                .values()
                .flatten()
                .find(|tx| tx.tx_id == tx_id)
                .map_or("nothing", |tx| match tx.biz_status() {
                    BizStatus::Success => "SUCCESS",
                    BizStatus::Failure => "FAILURE",
                    _ => "no decision",
                });
            if stands != decision {
                self.wrong.push(format!(
                    "{tx_id}: its initiator was answered {decision}, it is {stands}"
                ));
            }
        }
    }
}

/// Reads every transaction, by its order.
async fn transactions(client: &Client) -> anyhow::Result<BTreeMap<String, Vec<Transaction>>> {
    let mut found: BTreeMap<String, Vec<Transaction>> = BTreeMap::new();
    let mut cursor = String::new();
    loop {
        let page = client
            .list(ListRequest {
                business_type: BUSINESS_TYPE.to_owned(),
                page_size: PAGE,
                cursor,
                ..ListRequest::default()
            })
            .await?;
        for listed in page.transactions {
            let id = Uuid::try_parse(&listed.tx_id).context("the id of a listed transaction")?;
            let tx = client.get(id).await?;
            found.entry(tx.business_id.clone()).or_default().push(tx);
        }
        if page.next_cursor.is_empty() {
            return Ok(found);
        }
        cursor = page.next_cursor;
    }
}

/// Returns the number of transactions that are neither finished nor parked, up to 10; `None` without an answer.
async fn ledger(file: &Path, select: &'static str) -> anyhow::Result<BTreeMap<String, Moved>> {
    let pool = look(file).await?;
    let mut found: BTreeMap<String, Moved> = BTreeMap::new();
    for row in sqlx::query(select).fetch_all(&pool).await? {
        let (tx_id, kind, amount): (String, String, i64) =
            (row.get("tx_id"), row.get("kind"), row.get("amount"));
        let moved = found.entry(tx_id).or_default();
        let (held, taken) = match kind.as_str() {
            "FREEZE" | "RESERVE" => (amount, 0),
            "SPEND" | "ISSUE" => (-amount, amount),
            "RELEASE" => (-amount, 0),
            "DEDUCT" | "GRANT" => (0, amount),
            "REFUND" | "REVOKE" => (0, -amount),
            other => anyhow::bail!("the ledger has an unknown kind {other:?}"),
        };
        moved.held += held;
        moved.taken += taken;
        *moved.kinds.entry(kind).or_default() += 1;
    }
    Ok(found)
}

/// Reads the initiator's own orders, with their transactions.
async fn own_orders(pool: &SqlitePool) -> anyhow::Result<BTreeMap<String, String>> {
    let rows = sqlx::query("SELECT order_id, tx_id FROM orders")
        .fetch_all(pool)
        .await?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}
