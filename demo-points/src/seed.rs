//! The part of the seed file that concerns points: the accounts and what they open with.

use std::collections::BTreeSet;

use demo_service::{check_name, parse_seed};
use serde::Deserialize;

use crate::accounts::MAX_POINTS;

/// The accounts to open.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Seed {
    /// Every `[[account]]` of the file.
    #[serde(rename = "account", default)]
    pub accounts: Vec<Opening>,
}

/// One account to open.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Opening {
    /// Whose.
    pub user: String,
    /// The points in it.
    pub points: i64,
}

impl Seed {
    /// Reads a seed file; other tables than `[[account]]` are for other services.
    ///
    /// The error names every account that is wrong.
    pub fn parse(text: &str) -> Result<Self, String> {
        let seed: Self = parse_seed(text)?;
        let mut wrong = Vec::new();
        let mut users = BTreeSet::new();
        for Opening { user, points } in &seed.accounts {
            if let Err(error) = check_name("account.user", user) {
                wrong.push(error);
            }
            if !(0..=MAX_POINTS).contains(points) {
                wrong.push(format!(
                    "account {user:?} has {points} points, not 0 to {MAX_POINTS}"
                ));
            }
            if !users.insert(user) {
                wrong.push(format!("account {user:?} is there twice"));
            }
        }
        if seed.accounts.is_empty() {
            wrong.push("no [[account]] with user and points".to_owned());
        }
        if wrong.is_empty() {
            Ok(seed)
        } else {
            Err(wrong.join("; "))
        }
    }
}
