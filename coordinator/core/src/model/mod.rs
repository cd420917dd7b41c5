//! A transaction as the core holds it.
//!
//! The parts that never change (the *specs*) are shared behind an [`Arc`]; the parts that change are small
//! and plain, so that the next state is a cheap copy of the last.
//!
//! | file | holds |
//! |---|---|
//! | `words` | statuses, modes and operations, with the words that the database keeps |
//! | `policy` | the policies by which calls and questions are repeated |
//! | `spec` | the parts that never change |
//! | `phase` | the decision and the phases |
//! | `action`, `transaction` | the parts that change |
//! | `need` | the ability that a call needs of a participant's instance |
//! | `rest` | where an unfinished transaction is while nothing is under way for it |
//! | `progress` | the operation that each action still needs, and the order |

mod action;
mod moments;
mod need;
mod phase;
mod policy;
mod progress;
mod rest;
mod spec;
mod transaction;
mod words;

use std::{collections::BTreeMap, sync::Arc};

pub(crate) use self::spec::bytes_of;
pub use self::{
    action::{Action, ActionState, Attempt, Live, Sent, Unanswered},
    moments::Moments,
    need::{Need, UnknownNeed},
    phase::{Cause, Decision, Phase},
    policy::{CheckBack, CheckBackInEffect, RetryInEffect, RetryPolicy},
    rest::{DueRow, Queue, Rest, Want},
    spec::{ActionSpec, Begun, TxSpec},
    transaction::{Owner, Transaction},
    words::{
        ActionStatus, AttemptOutcome, BizStatus, Decider, Mode, Operation, Outcome, TxStatus,
        standing,
    },
};

/// A name: 1 to [`limits::NAME_BYTES`](crate::limits::NAME_BYTES) bytes without NUL, compared byte by byte.
pub type Name = Arc<str>;

/// Properties that the caller attaches to a transaction or an action.
pub type Ext = BTreeMap<String, String>;
