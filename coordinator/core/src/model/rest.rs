//! A transaction at rest, and the rows of `tx_due` by which each unfinished transaction is found.

use serde::{Deserialize, Serialize};

use super::{Name, Need, Owner, Phase, Transaction};
use crate::time::Timestamp;

/// A transaction at rest: nothing is under way for it, and no incarnation has it in hand. The column `rest`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Rest {
    /// The calls that it wants, one entry per participant and need.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub wants: Vec<Want>,
    /// When time alone takes it further: the end of phase one, or the age at which the first action of an absent participant
    /// is given up.
    #[serde(
        with = "crate::time::micros::optional",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub until: Option<Timestamp>,
    /// When `until` and `ages_from` were set, where they do not follow from the begin or the decision: the database's clock has
    /// jumped since.
    #[serde(
        with = "crate::time::micros::optional",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub until_set_at: Option<Timestamp>,
    /// From when the ages of its actions count, where that is not the time that its phase says.
    #[serde(
        with = "crate::time::micros::optional",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub ages_from: Option<Timestamp>,
    /// The actions for which the first call of the present phase was certainly never made. It can be relied on only
    /// here: a transaction in hand may have called.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unsent: Vec<Name>,
}

/// A call that is wanted of a participant.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Want {
    /// The participant.
    pub participant: Name,
    /// The ability that the call needs of an instance. `None` in a row of before this was kept: any instance will do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub need: Option<Need>,
    /// The time from which the transaction's own policy allows it. An absent or busy participant does not change it.
    #[serde(with = "crate::time::micros")]
    pub at: Timestamp,
}

/// A queue of the table `tx_due`: its columns `kind`, `name`, `need` and `business_type`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Queue {
    /// In hand of this incarnation.
    Hand(Owner),
    /// Parked: only an operator's command goes on.
    Parked,
    /// At rest until a time.
    Time,
    /// At rest, wanting a call of this participant.
    Wait {
        /// The participant.
        participant: Name,
        /// The ability that the call needs of an instance; `None`: any instance will do.
        need: Option<Need>,
        /// The transaction's business type.
        business_type: Name,
    },
}

/// One row of `tx_due`, but for its transaction.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DueRow {
    /// The queue in which it stands.
    pub queue: Queue,
    /// Its place there: when the transaction can go on. Zero in hand.
    pub at: Timestamp,
}

impl Rest {
    /// Returns the time of the want of the same call; `None` where there is none.
    pub(crate) fn wanted_at(&self, call: &Want) -> Option<Timestamp> {
        let mut same = self.wants.iter().filter(|want| {
            want.participant == call.participant && (want.need.is_none() || want.need == call.need)
        });
        same.next().map(|want| want.at)
    }

    /// Returns the earliest time at which something can be done.
    pub fn earliest(&self) -> Option<Timestamp> {
        let wants = self.wants.iter().map(|want| want.at);
        wants.chain(self.until).min()
    }
}

impl Transaction {
    /// Returns the rows of `tx_due` that go with this state, in order: a function of phase, owner and rest alone.
    pub fn due_rows(&self) -> Vec<DueRow> {
        let rest = match (&self.phase, &self.rest) {
            (Phase::Finished { .. }, _) => return Vec::new(),
            (Phase::Parked { decided_at, .. }, _) => {
                return vec![DueRow {
                    queue: Queue::Parked,
                    at: *decided_at,
                }];
            }
            (_, None) => {
                return vec![DueRow {
                    queue: Queue::Hand(self.owner.clone()),
                    at: Timestamp::default(),
                }];
            }
            (_, Some(rest)) => rest,
        };
        let until = rest.until.map(|at| DueRow {
            queue: Queue::Time,
            at,
        });
        let wants = rest.wants.iter().map(|want| DueRow {
            queue: Queue::Wait {
                participant: want.participant.clone(),
                need: want.need.clone(),
                business_type: self.spec.business_type.clone(),
            },
            at: want.at,
        });
        let mut rows: Vec<DueRow> = until.into_iter().chain(wants).collect();
        rows.sort();
        rows
    }
}
