//! The part of the seed file that concerns coupons: the kinds, their stock and the limit per user.

use std::collections::BTreeSet;

use demo_service::{check_name, parse_seed};
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
    /// How many there are.
    pub stock: i64,
    /// How many one user may hold.
    pub per_user: i64,
}

impl Seed {
    /// Reads a seed file; other tables than `[[coupon]]` are for other services.
    ///
    /// The error names every kind that is wrong.
    pub fn parse(text: &str) -> Result<Self, String> {
        let seed: Self = parse_seed(text)?;
        let mut wrong = Vec::new();
        let mut names = BTreeSet::new();
        for Opening {
            kind,
            stock,
            per_user,
        } in &seed.coupons
        {
            if let Err(error) = check_name("coupon.kind", kind) {
                wrong.push(error);
            }
            if !(0..=MAX_STOCK).contains(stock) {
                wrong.push(format!(
                    "coupon {kind:?} has a stock of {stock}, not 0 to {MAX_STOCK}"
                ));
            }
            if !(1..=MAX_STOCK).contains(per_user) {
                wrong.push(format!(
                    "coupon {kind:?} has {per_user} per user, not 1 to {MAX_STOCK}"
                ));
            }
            if !names.insert(kind) {
                wrong.push(format!("coupon {kind:?} is there twice"));
            }
        }
        if seed.coupons.is_empty() {
            wrong.push("no [[coupon]] with kind, stock and per_user".to_owned());
        }
        if wrong.is_empty() {
            Ok(seed)
        } else {
            Err(wrong.join("; "))
        }
    }
}
