//! The small worlds, and the faults of each.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use tercet_core::model::{ActionSpec, Ext, Mode, Name, RetryPolicy};

/// A small world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SmallWorld {
    /// Execute of two TCC actions side by side.
    Parallel,
    /// Execute of a compensable action and another after it, which is refused.
    RefusedInOrder,
    /// Execute of two TCC actions, one of which is refused while the other is under way.
    RefusedInParallel,
    /// `Parallel` with fewer faults, for a quick look.
    Brief,
    /// `Parallel` with time passing while something is under way, instead of messages lost or repeated.
    Impatient,
    /// `Parallel` with a participant that leaves and returns, and a message lost.
    Returns,
    /// `Returns` where each call of phase two may be made once only, with a crash instead of the loss.
    OneCall,
}

impl SmallWorld {
    /// Every small world.
    pub const ALL: &[Self] = &[
        Self::Brief,
        Self::Returns,
        Self::OneCall,
        Self::Impatient,
        Self::RefusedInOrder,
        Self::Parallel,
        Self::RefusedInParallel,
    ];

    /// Returns its number of distinct states.
    pub fn states(self) -> usize {
        match self {
            Self::Parallel => 105_982,
            Self::RefusedInOrder => 60_371,
            Self::RefusedInParallel => 262_067,
            Self::Impatient => 76_065,
            Self::Brief => 2_609,
            Self::Returns => 4_111,
            Self::OneCall => 18_337,
        }
    }

    /// Returns its faults, each at most once.
    pub(super) fn budget(self) -> Budget {
        match self {
            Self::Brief => Budget {
                lost: 0,
                repeated: 0,
                early: 0,
                ..Budget::ALL
            },
            Self::Impatient => Budget {
                lost: 0,
                repeated: 0,
                ..Budget::ALL
            },
            Self::Returns => Budget {
                leaves: 1,
                lost: 1,
                ..Budget::NONE
            },
            Self::OneCall => Budget {
                leaves: 1,
                crash: 1,
                ..Budget::NONE
            },
            _ => Budget {
                early: 0,
                ..Budget::ALL
            },
        }
    }

    pub(super) fn actions(self) -> Vec<Arc<ActionSpec>> {
        match self {
            Self::Parallel
            | Self::RefusedInParallel
            | Self::Brief
            | Self::Impatient
            | Self::Returns => {
                vec![
                    action("a", Mode::Tcc, &[], 5),
                    action("b", Mode::Tcc, &[], 5),
                ]
            }
            Self::OneCall => {
                vec![
                    action("a", Mode::Tcc, &[], 1),
                    action("b", Mode::Tcc, &[], 1),
                ]
            }
            Self::RefusedInOrder => vec![
                action("a", Mode::Compensate, &[], 5),
                action("b", Mode::Tcc, &["a"], 5),
            ],
        }
    }

    pub(super) fn refuses(self, action: &str) -> bool {
        let refused = matches!(self, Self::RefusedInOrder | Self::RefusedInParallel);
        refused && action == "b"
    }
}

fn action(name: &str, mode: Mode, after: &[&str], max_attempts: u32) -> Arc<ActionSpec> {
    Arc::new(ActionSpec {
        name: name.into(),
        mode,
        participant: format!("service-{name}").into(),
        handler: "take".into(),
        payload: Bytes::new(),
        after: after.iter().map(|before| Name::from(*before)).collect(),
        wants_results: !after.is_empty(),
        already_tried: false,
        retry: RetryPolicy {
            first_delay: Some(Duration::ZERO),
            max_delay: Some(Duration::ZERO),
            max_attempts: Some(max_attempts),
            max_age: None,
            call_timeout: Some(Duration::from_secs(1)),
        },
        ext: Ext::new(),
    })
}

/// The number of times that each fault may still strike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Budget {
    pub(super) crash: u8,
    pub(super) lost: u8,
    pub(super) repeated: u8,
    pub(super) unknown: u8,
    pub(super) early: u8,
    pub(super) leaves: u8,
}

impl Budget {
    pub(super) const ALL: Self = Self {
        crash: 1,
        lost: 1,
        repeated: 1,
        unknown: 1,
        early: 1,
        leaves: 0,
    };
    const NONE: Self = Self {
        crash: 0,
        lost: 0,
        repeated: 0,
        unknown: 0,
        early: 0,
        leaves: 0,
    };
}
