//! The part of the seed file that concerns points: the accounts and what they open with.

use std::collections::BTreeSet;

use demo_service::{SeedPart, check_name};
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

impl SeedPart for Seed {
    fn mistakes(&self) -> Vec<String> {
        let mut mistakes = Vec::new();
        let mut users = BTreeSet::new();
        for Opening { user, points } in &self.accounts {
            if let Err(error) = check_name("account.user", user) {
                mistakes.push(error);
            }
            if !(0..=MAX_POINTS).contains(points) {
                mistakes.push(format!(
                    "account {user:?} has {points} points, not 0 to {MAX_POINTS}"
                ));
            }
            if !users.insert(user) {
                mistakes.push(format!("account {user:?} is there twice"));
            }
        }
        if self.accounts.is_empty() {
            mistakes.push("no [[account]] with user and points".to_owned());
        }
        mistakes
    }
}
