//! The part of the seed file that concerns coupons: the kinds, their stock and the limit per user.

use std::collections::BTreeSet;

use demo_service::{SeedPart, check_name};
use serde::Deserialize;

/// The largest stock of one kind.
pub const MAX_STOCK: i64 = 1_000_000_000;

/// The kinds to stock.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Seed {
    /// Every `[[coupon]]` of the file.
    #[serde(rename = "coupon", default)]
    pub coupons: Vec<Opening>,
}

/// One kind to stock.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Opening {
    /// Its name.
    pub kind: String,
    /// Its number of coupons.
    pub stock: i64,
    /// The number that one user may hold.
    pub per_user: i64,
}

impl SeedPart for Seed {
    fn mistakes(&self) -> Vec<String> {
        let mut mistakes = Vec::new();
        let mut names = BTreeSet::new();
        for Opening {
            kind,
            stock,
            per_user,
        } in &self.coupons
        {
            if let Err(error) = check_name("coupon.kind", kind) {
                mistakes.push(error);
            }
            if !(0..=MAX_STOCK).contains(stock) {
                mistakes.push(format!(
                    "coupon {kind:?} has a stock of {stock}, not 0 to {MAX_STOCK}"
                ));
            }
            if !(1..=MAX_STOCK).contains(per_user) {
                mistakes.push(format!(
                    "coupon {kind:?} has {per_user} per user, not 1 to {MAX_STOCK}"
                ));
            }
            if !names.insert(kind) {
                mistakes.push(format!("coupon {kind:?} is there twice"));
            }
        }
        if self.coupons.is_empty() {
            mistakes.push("no [[coupon]] with kind, stock and per_user".to_owned());
        }
        mistakes
    }
}
