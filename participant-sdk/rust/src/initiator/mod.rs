//! The initiator's side: begins transactions, decides them, and reads their outcome.
//!
//! The simplest initiator hands over all actions and gets the outcome as a typed value. The
//! coordinator calls every Try, decides, and repeats every Confirm or Cancel until it is done, through
//! crashes of every process:
//!
//! ```no_run
//! use std::time::Duration;
//! use tercet_sdk::{Json, initiator::{Action, Client, Outcome, Wait}};
//!
//! # async fn exchange(order_id: &str) -> Result<(), tercet_sdk::initiator::Error> {
//! let client = Client::connect(["http://127.0.0.1:7460"]).await?;
//! let outcome = client
//!     .execute("points_for_coupon", order_id)
//!     .unique_business()
//!     .action(Action::tcc("freeze", "points").payload(&Json(100)))
//!     .action(Action::tcc("reserve", "coupons").after(["freeze"]).wants_results())
//!     .timeout(Duration::from_secs(30))
//!     .wait(Wait::Completed)
//!     .send()
//!     .await?;
//! match outcome {
//!     Outcome::Committed { results, .. } => {
//!         let Json(coupon) = results.read::<Json<u64>>("reserve")?;
//!         println!("coupon {coupon}");
//!     }
//!     Outcome::RolledBack { cause, .. } => println!("no coupon: {cause}"),
//!     Outcome::Running { tx_id, .. } => println!("ask again for {tx_id}"),
//!     Outcome::Parked { tx_id, failed, .. } => println!("{tx_id}: {failed:?} need a person"),
//! }
//! # Ok(())
//! # }
//! ```
//!
//! An initiator that calls participants itself [begins](Client::begin) a [`LiveTransaction`], calls
//! each participant in the [context](LiveTransaction::context) of an action, and
//! [commits](LiveTransaction::commit) or [rolls back](LiveTransaction::rollback).
//!
//! Its own database takes part in two ways: a change that is committed with the decision
//! ([`commit_with`](LiveTransaction::commit_with)), or an action of its own that is tried, and confirmed or
//! cancelled later ([`try_own`](LiveTransaction::try_own), [`AlreadyTried`]).
//!
//! **After a failure**: [`Error::Refused`] and [`Error::DecisionConflict`] are definite.
//! [`Error::OutcomeUnknown`] is not: call [`Client::outcome`], or send the same request with the same
//! [`tx_id`](Draft::tx_id) again. The client itself repeats every request that lost its answer until
//! [`answer_within`](Draft::answer_within) is over.

mod action;
mod client;
mod context;
mod draft;
mod error;
mod frame;
mod live;
mod local;
mod outcome;
mod own_try;
mod session;
mod watch;

pub use self::{
    action::{Action, CheckBack, RetryPolicy},
    client::{Client, ClientBuilder, DEFAULT_ANSWER_WITHIN, DEFAULT_MAX_IN_FLIGHT},
    context::{ContextLayer, ContextService, TransactionContext, key},
    draft::{Begin, Draft, Execute, Wait},
    error::{Error, Refused},
    live::LiveTransaction,
    local::{CommitWithError, LocalFailure, RollbackWithError},
    outcome::{Cause, CauseKind, Decision, Outcome, Results},
    own_try::{AlreadyTried, OwnTryError},
    watch::Watch,
};
