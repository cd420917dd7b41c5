//! Accounts and stocks against the seed and the ledgers.

use std::collections::BTreeMap;

use demo_coupons::proto as coupons;
use demo_points::proto as points;

use super::{Evidence, Sheet, Sums};
use crate::seeds::Seeds;

impl Sheet {
    /// Accounts against the seed and the ledger.
    pub(super) fn accounts(&mut self, seeds: &Seeds, evidence: &Evidence) {
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
    pub(super) fn stocks(&mut self, seeds: &Seeds, evidence: &Evidence) {
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
