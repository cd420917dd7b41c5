//! The balance sheet: each order matched three ways, the coordinator's decision against the points
//! ledger against the coupons ledger, and all of it against the opening balances. Pure.

mod balances;
mod judge;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use demo_coupons::proto as coupons;
use demo_points::proto as points;
use serde::Serialize;
use tercet_proto::v1::{BizStatus, CauseKind, Transaction, TxStatus};

use judge::{Books, points_request};

use crate::args::Mode;
use crate::event::OrderAnswer;
use crate::orders::{Order, Orders};
use crate::seeds::Seeds;

/// All that was read after the feed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Evidence {
    /// From the coordinator, with actions.
    pub transactions: Vec<Transaction>,
    /// From the points service.
    pub accounts: Vec<points::Account>,
    /// From the points service.
    pub points_ledger: Vec<points::Entry>,
    /// From the coupons service.
    pub stocks: Vec<coupons::Stock>,
    /// From the coupons service.
    pub coupons: Vec<coupons::Coupon>,
    /// From the coupons service.
    pub coupons_ledger: Vec<coupons::Entry>,
    /// The answers to the initiator, by the order's line.
    pub answers: BTreeMap<usize, OrderAnswer>,
}

/// The end of an order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) struct Ending {
    /// In a word: "committed", "rolled back", "parked", "unfinished", "repeated", "unknown".
    pub outcome: &'static str,
    /// Why.
    pub reason: String,
}

/// Sums of one service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Sums {
    /// At first.
    pub opening: i64,
    /// Free at the end.
    pub available: i64,
    /// Frozen or reserved at the end; 0 if the books balance.
    pub frozen: i64,
    /// Spent or issued at the end.
    pub taken: i64,
    /// Taken, by the committed orders.
    pub expected: i64,
}

/// The result of the matching.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Sheet {
    /// The number of orders per ending; repeated ones count once for each repetition.
    #[serde(skip)]
    pub endings: BTreeMap<Ending, usize>,
    /// Different orders that could be fed.
    pub orders: usize,
    /// Those for which all three books agree.
    pub matched: usize,
    /// Those that reached their end.
    pub ended: usize,
    /// Points.
    pub points: Sums,
    /// Coupons.
    pub coupons: Sums,
    /// Everything that does not fit.
    pub mismatches: Vec<String>,
}

impl Sheet {
    /// True if all books agree.
    pub(crate) fn balances(&self) -> bool {
        self.mismatches.is_empty()
    }

    /// Matches the evidence.
    pub(crate) fn draw(mode: Mode, orders: &Orders, seeds: &Seeds, evidence: &Evidence) -> Self {
        let books = Books::of(mode, evidence);
        let mut sheet = Self::default();
        let mut by_id: BTreeMap<&str, Vec<&Order>> = BTreeMap::new();
        for order in &orders.good {
            by_id.entry(&order.id).or_default().push(order);
        }
        let mut transactions: BTreeMap<&str, Vec<&Transaction>> = BTreeMap::new();
        for tx in &evidence.transactions {
            transactions.entry(&tx.business_id).or_default().push(tx);
        }
        sheet.orders = by_id.len();
        for (id, lines) in &by_id {
            let known = transactions.remove(id).unwrap_or_default();
            sheet.order(&books, id, lines, &known);
        }
        for (id, _) in transactions {
            sheet.mismatches.push(format!(
                "order {id}: the coordinator has it, the file has not"
            ));
        }
        sheet.strangers(evidence);
        sheet.accounts(seeds, evidence);
        sheet.stocks(seeds, evidence);
        sheet
    }

    /// One order: exactly one transaction, and every book agrees with it.
    fn order(&mut self, books: &Books<'_>, id: &str, lines: &[&Order], known: &[&Transaction]) {
        let first = lines[0].line;
        let [tx] = known else {
            let count = known.len();
            self.count("unknown", format!("{count} transactions"), 1);
            self.mismatches.push(format!(
                "order {id} (line {first}): {count} transactions, not one"
            ));
            return;
        };
        let ending = ending(tx);
        let committed = tx.biz_status() == BizStatus::Success;
        if tx.status() == TxStatus::Success {
            self.ended += 1;
        }
        if committed && let Some(request) = points_request(tx) {
            self.points.expected += request.points;
            self.coupons.expected += 1;
        }
        let mut wrong = books.judge(tx, lines);
        for order in lines {
            wrong.extend(books.judge_answer(order, tx));
        }
        self.count(ending.outcome, ending.reason, 1);
        self.count(
            "repeated",
            "answered with the first".to_owned(),
            lines.len() - 1,
        );
        if wrong.is_empty() {
            self.matched += 1;
        }
        let at = format!("order {id} (line {first}, {})", tx.tx_id);
        self.mismatches
            .extend(wrong.into_iter().map(|wrong| format!("{at}: {wrong}")));
    }

    fn count(&mut self, outcome: &'static str, reason: String, orders: usize) {
        if orders > 0 {
            *self.endings.entry(Ending { outcome, reason }).or_default() += orders;
        }
    }

    /// Movements that no transaction asked for.
    fn strangers(&mut self, evidence: &Evidence) {
        let known: BTreeSet<&str> = evidence
            .transactions
            .iter()
            .map(|tx| tx.tx_id.as_str())
            .collect();
        let points = evidence
            .points_ledger
            .iter()
            .map(|entry| ("points ledger", &entry.tx_id));
        let coupons = evidence
            .coupons_ledger
            .iter()
            .map(|entry| ("coupons ledger", &entry.tx_id));
        let held = evidence
            .coupons
            .iter()
            .map(|coupon| ("coupons", &coupon.tx_id));
        for (book, tx_id) in points.chain(coupons).chain(held) {
            if !known.contains(tx_id.as_str()) {
                self.mismatches
                    .push(format!("{book}: unknown transaction {tx_id}"));
            }
        }
    }
}

impl std::fmt::Display for Ending {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.outcome)?;
        if self.reason.is_empty() {
            Ok(())
        } else {
            write!(f, ", {}", self.reason)
        }
    }
}

/// The end of a transaction, and its reason.
fn ending(tx: &Transaction) -> Ending {
    let committed = tx.biz_status() == BizStatus::Success;
    match tx.status() {
        TxStatus::Success if committed => Ending {
            outcome: "committed",
            reason: String::new(),
        },
        TxStatus::Success => Ending {
            outcome: "rolled back",
            reason: cause(tx),
        },
        TxStatus::Failure => {
            let doing = if committed {
                "while confirming"
            } else {
                "while cancelling"
            };
            Ending {
                outcome: "parked",
                reason: doing.to_owned(),
            }
        }
        TxStatus::ProcessWaiting | TxStatus::Processing | TxStatus::Unspecified => {
            let doing = match tx.biz_status() {
                BizStatus::Success => "confirming",
                BizStatus::Failure => "cancelling",
                _ => "trying",
            };
            Ending {
                outcome: "unfinished",
                reason: doing.to_owned(),
            }
        }
    }
}

fn cause(tx: &Transaction) -> String {
    let cause = tx.cause.clone().unwrap_or_default();
    match cause.kind() {
        CauseKind::Rejected => format!("{}: {}", cause.action, cause.reason),
        CauseKind::Deadline if cause.action.is_empty() => "out of time".to_owned(),
        CauseKind::Deadline => format!("out of time: {}: {}", cause.action, cause.reason),
        other => {
            let name = other.as_str_name();
            name.strip_prefix("CAUSE_KIND_")
                .unwrap_or(name)
                .to_lowercase()
        }
    }
}
