//! One transaction against the ledgers, and against the answers to the initiator.

use std::collections::BTreeMap;

use demo_coupons::proto as coupons;
use demo_points::proto as points;
use prost::Message;
use tercet_proto::v1::{ActionView, BizStatus, Transaction, TxStatus};

use super::{Evidence, ending};
use crate::args::Mode;
use crate::event::OrderAnswer;
use crate::orders::Order;
use crate::{COUPON_ACTION, POINTS_ACTION};

/// The rows of each book, by transaction.
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

fn rows<'r, 'a, T>(groups: &'r BTreeMap<&str, Vec<&'a T>>, tx_id: &str) -> &'r [&'a T] {
    groups.get(tx_id).map(Vec::as_slice).unwrap_or_default()
}

/// The ledgers by transaction, and the mode that says which movements they may have.
pub(super) struct Books<'a> {
    mode: Mode,
    by_tx: ByTx<'a>,
    evidence: &'a Evidence,
}

impl<'a> Books<'a> {
    pub(super) fn of(mode: Mode, evidence: &'a Evidence) -> Self {
        Self {
            mode,
            by_tx: ByTx::of(evidence),
            evidence,
        }
    }

    /// The contradictions between the ledgers and the coordinator about one transaction.
    pub(super) fn judge(&self, tx: &Transaction, lines: &[&Order]) -> Vec<String> {
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
        let entries = rows(&self.by_tx.points, tx_id);
        let kinds = entries.iter().map(|entry| entry.kind().as_str_name());
        let allowed = self.movements(
            committed,
            ["FREEZE", "SPEND", "RELEASE", "DEDUCT", "REFUND"],
        );
        let mut wrong = Vec::from_iter(unexpected("points ledger", committed, kinds, &allowed));
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
        let entries = rows(&self.by_tx.coupons_ledger, tx_id);
        let kinds = entries.iter().map(|entry| entry.kind().as_str_name());
        let allowed = self.movements(
            committed,
            ["RESERVE", "ISSUE", "RELEASE", "GRANT", "REVOKE"],
        );
        let mut wrong = Vec::from_iter(unexpected("coupons ledger", committed, kinds, &allowed));
        let held = rows(&self.by_tx.coupons, tx_id);
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

    /// The movements, in order, that one transaction may have in one ledger. The names are those of
    /// freezing, using, giving back, doing at once and undoing.
    fn movements(
        &self,
        committed: bool,
        [freeze, using, release, at_once, undo]: [&'static str; 5],
    ) -> Vec<Vec<&'static str>> {
        match (self.mode, committed) {
            (Mode::Tcc, true) => vec![vec![freeze, using]],
            (Mode::Tcc, false) => vec![vec![], vec![freeze, release]],
            (Mode::Compensate, true) => vec![vec![at_once]],
            (Mode::Compensate, false) => vec![vec![], vec![at_once, undo]],
        }
    }

    /// The contradiction between the answer to one order and the coordinator, if there is one.
    pub(super) fn judge_answer(&self, order: &Order, tx: &Transaction) -> Option<String> {
        let line = order.line;
        match self.evidence.answers.get(&line) {
            None => Some(format!("line {line} was not answered")),
            Some(OrderAnswer::Failed { error }) => {
                Some(format!("line {line} was answered: {error}"))
            }
            Some(OrderAnswer::Decided { tx_id, .. }) if *tx_id != tx.tx_id => {
                Some(format!("line {line} was answered with transaction {tx_id}"))
            }
            Some(OrderAnswer::Decided { committed, .. }) => {
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

/// Refuses the movements of one transaction in one ledger if they are not among those allowed.
fn unexpected(
    book: &str,
    committed: bool,
    kinds: impl Iterator<Item = &'static str>,
    allowed: &[Vec<&str>],
) -> Option<String> {
    let words: Vec<&str> = kinds.map(short).collect();
    if allowed.contains(&words) {
        return None;
    }
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
    Some(format!("{book}: {found}, though it is {decision}"))
}

fn action<'a>(tx: &'a Transaction, name: &str) -> Option<&'a ActionView> {
    tx.actions.iter().find(|view| {
        view.action
            .as_ref()
            .is_some_and(|action| action.name == name)
    })
}

pub(super) fn points_request(tx: &Transaction) -> Option<points::TakePoints> {
    let action = action(tx, POINTS_ACTION)?.action.as_ref()?;
    points::TakePoints::decode(action.payload.clone()).ok()
}

fn coupon_request(tx: &Transaction) -> Option<coupons::TakeCoupon> {
    let action = action(tx, COUPON_ACTION)?.action.as_ref()?;
    coupons::TakeCoupon::decode(action.payload.clone()).ok()
}
