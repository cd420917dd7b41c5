//! The balance sheet: each order matched three ways, the coordinator's decision against the points
//! ledger against the coupons ledger, and all of it against the opening balances. Pure.

use std::collections::{BTreeMap, BTreeSet};

use demo_coupons::proto as coupons;
use demo_points::proto as points;
use prost::Message;
use serde::Serialize;
use tercet_proto::v1::{ActionView, BizStatus, CauseKind, Transaction, TxStatus};

use super::args::Mode;
use super::event::Answer;
use super::orders::{Order, Orders};
use super::seeds::Seeds;
use super::{COUPON_ACTION, POINTS_ACTION};

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
    /// What the initiator was told, by the order's line.
    pub answers: BTreeMap<usize, Answer>,
}

/// How an order ended.
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
    /// What the committed orders say must have been taken.
    pub expected: i64,
}

/// The result of the matching.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Sheet {
    /// How many orders ended how; repeated ones once for each repetition.
    #[serde(skip)]
    pub endings: BTreeMap<Ending, usize>,
    /// Different orders that could be fed.
    pub orders: usize,
    /// Those for which all three books say the same.
    pub matched: usize,
    /// Those that reached their end.
    pub ended: usize,
    /// Points.
    pub points: Sums,
    /// Coupons.
    pub coupons: Sums,
    /// What does not fit, precisely.
    pub mismatches: Vec<String>,
}

impl Sheet {
    /// Whether every book says the same.
    pub(crate) fn balances(&self) -> bool {
        self.mismatches.is_empty()
    }

    /// Matches the evidence.
    pub(crate) fn draw(mode: Mode, orders: &Orders, seeds: &Seeds, evidence: &Evidence) -> Self {
        let books = Books {
            mode,
            by_tx: ByTx::of(evidence),
            evidence,
        };
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
            wrong.extend(books.told(order, tx));
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

    /// Accounts against the seed and the ledger.
    fn accounts(&mut self, seeds: &Seeds, evidence: &Evidence) {
        let mut frozen: BTreeMap<&str, i64> = BTreeMap::new();
        let mut spent: BTreeMap<&str, i64> = BTreeMap::new();
        for entry in &evidence.points_ledger {
            let (of_frozen, of_spent) = match entry.kind() {
                points::Kind::Freeze => (entry.points, 0),
                points::Kind::Spend => (-entry.points, entry.points),
                points::Kind::Release => (-entry.points, 0),
                points::Kind::Deduct => (0, entry.points),
                points::Kind::Refund => (0, -entry.points),
                points::Kind::Unspecified => (0, 0),
            };
            *frozen.entry(&entry.user).or_default() += of_frozen;
            *spent.entry(&entry.user).or_default() += of_spent;
        }
        let found: BTreeMap<&str, &points::Account> = evidence
            .accounts
            .iter()
            .map(|account| (account.user.as_str(), account))
            .collect();
        for opening in &seeds.points.accounts {
            let user = opening.user.as_str();
            let Some(account) = found.get(user) else {
                self.mismatches.push(format!("account {user}: it is gone"));
                continue;
            };
            let frozen = frozen.get(user).copied().unwrap_or_default();
            let spent = spent.get(user).copied().unwrap_or_default();
            let book = [
                opening.points,
                opening.points - frozen - spent,
                frozen,
                spent,
            ];
            let real = [
                account.opening,
                account.available,
                account.frozen,
                account.spent,
            ];
            self.compare(
                &format!("account {user}"),
                ["available", "frozen", "spent"],
                book,
                real,
            );
            self.points.add(real);
        }
        if self.points.taken != self.points.expected {
            let Sums {
                taken, expected, ..
            } = self.points;
            self.mismatches.push(format!(
                "points: {taken} are spent, the committed orders cost {expected}"
            ));
        }
    }

    /// Stocks against the seed and the ledger.
    fn stocks(&mut self, seeds: &Seeds, evidence: &Evidence) {
        let mut reserved: BTreeMap<&str, i64> = BTreeMap::new();
        let mut issued: BTreeMap<&str, i64> = BTreeMap::new();
        for entry in &evidence.coupons_ledger {
            let (of_reserved, of_issued) = match entry.kind() {
                coupons::Kind::Reserve => (1, 0),
                coupons::Kind::Issue => (-1, 1),
                coupons::Kind::Release => (-1, 0),
                coupons::Kind::Grant => (0, 1),
                coupons::Kind::Revoke => (0, -1),
                coupons::Kind::Unspecified => (0, 0),
            };
            *reserved.entry(&entry.coupon).or_default() += of_reserved;
            *issued.entry(&entry.coupon).or_default() += of_issued;
        }
        let found: BTreeMap<&str, &coupons::Stock> = evidence
            .stocks
            .iter()
            .map(|stock| (stock.kind.as_str(), stock))
            .collect();
        for opening in &seeds.coupons.coupons {
            let kind = opening.kind.as_str();
            let Some(stock) = found.get(kind) else {
                self.mismatches.push(format!("coupon {kind}: it is gone"));
                continue;
            };
            let reserved = reserved.get(kind).copied().unwrap_or_default();
            let issued = issued.get(kind).copied().unwrap_or_default();
            let book = [
                opening.stock,
                opening.stock - reserved - issued,
                reserved,
                issued,
            ];
            let real = [stock.opening, stock.available, stock.reserved, stock.issued];
            self.compare(
                &format!("coupon {kind}"),
                ["available", "reserved", "issued"],
                book,
                real,
            );
            self.coupons.add(real);
        }
        let Sums {
            taken, expected, ..
        } = self.coupons;
        if taken != expected {
            self.mismatches.push(format!(
                "coupons: {taken} are issued, {expected} orders are committed"
            ));
        }
    }

    /// One account or stock: opening and three places, by the books and as it is.
    fn compare(&mut self, what: &str, places: [&str; 3], book: [i64; 4], real: [i64; 4]) {
        if book[0] != real[0] {
            self.mismatches.push(format!(
                "{what}: opened with {}, the seed says {}",
                real[0], book[0]
            ));
        }
        for (place, (book, real)) in places.iter().zip(book[1..].iter().zip(&real[1..])) {
            if book != real {
                self.mismatches
                    .push(format!("{what}: {real} {place}, the ledger says {book}"));
            }
        }
        if real[2] != 0 {
            self.mismatches
                .push(format!("{what}: {} still {}", real[2], places[1]));
        }
    }
}

impl Sums {
    fn add(&mut self, [opening, available, frozen, taken]: [i64; 4]) {
        self.opening += opening;
        self.available += available;
        self.frozen += frozen;
        self.taken += taken;
    }
}

/// What stands in each book, by transaction.
struct ByTx<'a> {
    points: BTreeMap<&'a str, Vec<&'a points::Entry>>,
    coupons_ledger: BTreeMap<&'a str, Vec<&'a coupons::Entry>>,
    coupons: BTreeMap<&'a str, Vec<&'a coupons::Coupon>>,
}

impl<'a> ByTx<'a> {
    fn of(evidence: &'a Evidence) -> Self {
        Self {
            points: grouped(&evidence.points_ledger, |entry| &entry.tx_id),
            coupons_ledger: grouped(&evidence.coupons_ledger, |entry| &entry.tx_id),
            coupons: grouped(&evidence.coupons, |coupon| &coupon.tx_id),
        }
    }
}

fn grouped<'a, T>(rows: &'a [T], key: impl Fn(&'a T) -> &'a str) -> BTreeMap<&'a str, Vec<&'a T>> {
    let mut groups: BTreeMap<&str, Vec<&T>> = BTreeMap::new();
    for row in rows {
        groups.entry(key(row)).or_default().push(row);
    }
    groups
}

struct Books<'a> {
    mode: Mode,
    by_tx: ByTx<'a>,
    evidence: &'a Evidence,
}

impl Books<'_> {
    /// What the ledgers say otherwise than the coordinator, about one transaction.
    fn judge(&self, tx: &Transaction, lines: &[&Order]) -> Vec<String> {
        let mut wrong = Vec::new();
        if tx.status() != TxStatus::Success {
            wrong.push(format!("it has not reached its end: {}", ending(tx)));
            return wrong;
        }
        let (Some(points), Some(coupon)) = (points_request(tx), coupon_request(tx)) else {
            wrong.push("its actions are not the two of this demo".to_owned());
            return wrong;
        };
        let fits = |order: &&&Order| {
            order.user == points.user
                && order.user == coupon.user
                && order.points == points.points
                && order.coupon == coupon.kind
        };
        if !lines.iter().any(|order| fits(&order)) {
            wrong.push("no line of the file asks for what it does".to_owned());
        }
        let committed = tx.biz_status() == BizStatus::Success;
        wrong.extend(self.judge_points(&tx.tx_id, committed, &points));
        wrong.extend(self.judge_coupons(&tx.tx_id, committed, &coupon));
        wrong
    }

    fn judge_points(
        &self,
        tx_id: &str,
        committed: bool,
        request: &points::TakePoints,
    ) -> Vec<String> {
        let entries = self
            .by_tx
            .points
            .get(tx_id)
            .map(Vec::as_slice)
            .unwrap_or_default();
        let words: Vec<&str> = entries
            .iter()
            .map(|entry| short(entry.kind().as_str_name()))
            .collect();
        let mut wrong = Vec::new();
        if !expected(
            self.mode,
            committed,
            ["FREEZE", "SPEND", "RELEASE", "DEDUCT", "REFUND"],
        )
        .contains(&words)
        {
            wrong.push(unexpected("points ledger", committed, &words));
        }
        for entry in entries {
            if entry.user != request.user || entry.points != request.points {
                let (kind, points) = (short(entry.kind().as_str_name()), entry.points);
                wrong.push(format!(
                    "points ledger: {kind} of {points} from {}, it is {} from {}",
                    entry.user, request.points, request.user
                ));
            }
        }
        wrong
    }

    fn judge_coupons(
        &self,
        tx_id: &str,
        committed: bool,
        request: &coupons::TakeCoupon,
    ) -> Vec<String> {
        let entries = self
            .by_tx
            .coupons_ledger
            .get(tx_id)
            .map(Vec::as_slice)
            .unwrap_or_default();
        let words: Vec<&str> = entries
            .iter()
            .map(|entry| short(entry.kind().as_str_name()))
            .collect();
        let mut wrong = Vec::new();
        if !expected(
            self.mode,
            committed,
            ["RESERVE", "ISSUE", "RELEASE", "GRANT", "REVOKE"],
        )
        .contains(&words)
        {
            wrong.push(unexpected("coupons ledger", committed, &words));
        }
        let held = self
            .by_tx
            .coupons
            .get(tx_id)
            .map(Vec::as_slice)
            .unwrap_or_default();
        if held.len() != usize::from(committed) {
            let (count, due) = (held.len(), usize::from(committed));
            wrong.push(format!("coupons: {count} exist, there must be {due}"));
        }
        let of_entries = entries.iter().map(|entry| (&entry.user, &entry.coupon));
        let of_held = held.iter().map(|coupon| (&coupon.user, &coupon.kind));
        for (user, kind) in of_entries.chain(of_held) {
            if *user != request.user || *kind != request.kind {
                wrong.push(format!(
                    "coupons: {kind} for {user}, it is {} for {}",
                    request.kind, request.user
                ));
            }
        }
        wrong
    }

    /// What the initiator was told otherwise than the coordinator says.
    fn told(&self, order: &Order, tx: &Transaction) -> Option<String> {
        let line = order.line;
        match self.evidence.answers.get(&line) {
            None => Some(format!("line {line} was not answered")),
            Some(Answer::Failed { error }) => Some(format!("line {line} was answered: {error}")),
            Some(Answer::Decided { tx_id, .. }) if *tx_id != tx.tx_id => {
                Some(format!("line {line} was answered with transaction {tx_id}"))
            }
            Some(Answer::Decided { committed, .. }) => {
                let stands = tx.biz_status() == BizStatus::Success;
                (*committed != stands).then(|| {
                    let words = |committed| {
                        if committed {
                            "committed"
                        } else {
                            "rolled back"
                        }
                    };
                    format!(
                        "line {line} was answered {}, it is {}",
                        words(*committed),
                        words(stands)
                    )
                })
            }
        }
    }
}

fn short(name: &'static str) -> &'static str {
    name.strip_prefix("KIND_").unwrap_or(name)
}

/// The movements, in order, that one transaction may have in one ledger. The names are those of
/// freezing, using, giving back, doing at once and undoing.
fn expected(
    mode: Mode,
    committed: bool,
    [freeze, using, release, at_once, undo]: [&'static str; 5],
) -> Vec<Vec<&'static str>> {
    match (mode, committed) {
        (Mode::Tcc, true) => vec![vec![freeze, using]],
        (Mode::Tcc, false) => vec![vec![], vec![freeze, release]],
        (Mode::Compensate, true) => vec![vec![at_once]],
        (Mode::Compensate, false) => vec![vec![], vec![at_once, undo]],
    }
}

fn unexpected(book: &str, committed: bool, words: &[&str]) -> String {
    let decision = if committed {
        "committed"
    } else {
        "rolled back"
    };
    let found = if words.is_empty() {
        "nothing".to_owned()
    } else {
        words.join(", ")
    };
    format!("{book}: {found}, though it is {decision}")
}

fn action<'a>(tx: &'a Transaction, name: &str) -> Option<&'a ActionView> {
    tx.actions.iter().find(|view| {
        view.action
            .as_ref()
            .is_some_and(|action| action.name == name)
    })
}

fn points_request(tx: &Transaction) -> Option<points::TakePoints> {
    let action = action(tx, POINTS_ACTION)?.action.as_ref()?;
    points::TakePoints::decode(action.payload.clone()).ok()
}

fn coupon_request(tx: &Transaction) -> Option<coupons::TakeCoupon> {
    let action = action(tx, COUPON_ACTION)?.action.as_ref()?;
    coupons::TakeCoupon::decode(action.payload.clone()).ok()
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

/// How a transaction ended, and why.
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
        CauseKind::Deadline => "out of time".to_owned(),
        other => {
            let name = other.as_str_name();
            name.strip_prefix("CAUSE_KIND_")
                .unwrap_or(name)
                .to_lowercase()
        }
    }
}
