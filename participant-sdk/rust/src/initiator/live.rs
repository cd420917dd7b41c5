//! A transaction whose Tries the initiator calls itself.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use tercet_barrier::{Mode, Operation};
use tercet_failpoint::reach;
use tercet_proto::v1::{self, session_request::Request};
use uuid::Uuid;

use super::{Action, Client, Decision, Error, Outcome, TransactionContext, Wait};

/// A transaction that this initiator began and has to decide.
///
/// Call each participant with the [`context`](Self::context) of its action, then
/// [`commit`](Self::commit) or [`rollback`](Self::rollback). Dropping an undecided transaction rolls
/// it back on a best-effort basis: in the background, once, within the client's time. If that fails,
/// the deadline decides. Dropping does nothing to a transaction that an earlier request began, for which
/// a decision was requested, or that has a check-back: there the initiator may have committed, and its
/// answer decides.
#[derive(Debug)]
pub struct LiveTransaction {
    client: Client,
    begun: v1::BeginRequest,
    tx_id: Uuid,
    actions: BTreeMap<String, Known>,
    latest: Outcome,
    deadline: Instant,
    wait: Wait,
    decision_asked: bool,
}

/// The part of an action that the context of its Try has.
#[derive(Debug)]
struct Known {
    mode: Mode,
    properties: BTreeMap<String, String>,
}

impl LiveTransaction {
    pub(super) fn begun(
        client: Client,
        mut begun: v1::BeginRequest,
        latest: Outcome,
        timeout: Duration,
        wait: Wait,
    ) -> Self {
        let actions = std::mem::take(&mut begun.actions).into_iter();
        let now = Instant::now();
        Self {
            client,
            tx_id: latest.tx_id(),
            actions: actions.map(known).collect(),
            begun,
            latest,
            deadline: now.checked_add(timeout).unwrap_or(now),
            wait,
            decision_asked: false,
        }
    }

    /// Returns the transaction's id.
    pub fn id(&self) -> Uuid {
        self.tx_id
    }

    /// Returns the newest outcome that was received. A repeated Begin may find the transaction
    /// decided.
    pub fn latest(&self) -> &Outcome {
        &self.latest
    }

    /// Returns the time left of phase one by this process's clock. The coordinator's clock decides.
    pub fn time_left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// Adds an action. When this returns, the action is durable and its Try may be called.
    pub async fn add_action(&mut self, action: Action) -> Result<(), Error> {
        let action = action.into_message()?;
        let (name, known) = known(action.clone());
        let request = Request::AddAction(v1::AddActionRequest {
            tx_id: self.tx_id.to_string(),
            action: Some(action),
        });
        let within = self.client.answer_within();
        reach("initiator.add_action.before");
        let state = self.client.ask_state(request, self.tx_id, within).await?;
        reach("initiator.add_action.after");
        self.note(state);
        self.actions.insert(name, known);
        Ok(())
    }

    /// Returns the context in which the action's Try is called, with the transaction's properties overlaid with the
    /// action's, as in every call of the coordinator; see [`ContextLayer`](super::ContextLayer). Fails for an action that
    /// the transaction does not have: its Try must not be sent.
    pub fn context(&self, action: &str) -> Result<TransactionContext, Error> {
        let Known { mode, properties } = self.actions.get(action).ok_or_else(|| {
            let problem = "not an action of this transaction; begin with it or add it first";
            Error::invalid(format!("action {action:?}"), problem)
        })?;
        if *mode == Mode::Deliver {
            let problem = "a DELIVER action has no Try; the coordinator delivers it";
            return Err(Error::invalid(format!("action {action:?}"), problem));
        }
        let mut overlaid = self.begun.ext_properties.clone();
        overlaid.extend(properties.clone());
        Ok(TransactionContext {
            tx_id: self.tx_id,
            action: action.to_owned(),
            operation: Operation::Try,
            mode: *mode,
            business_type: self.begun.business_type.clone(),
            business_id: self.begun.business_id.clone(),
            time_left: Some(self.time_left()),
            attempt: 1,
            properties: overlaid,
        })
    }

    /// Makes a tonic request in the context of the action, for a client with
    /// [`ContextLayer::client`](super::ContextLayer::client):
    /// `points.freeze(tx.request("freeze", FreezeRequest { … })?).await?`.
    pub fn request<M>(&self, action: &str, message: M) -> Result<tonic::Request<M>, Error> {
        Ok(self.context(action)?.request(message))
    }

    /// Decides SUCCESS. May be called again after [`Error::OutcomeUnknown`]. Fails with
    /// [`Error::DecisionConflict`] if the deadline or a person has decided FAILURE.
    pub async fn commit(&mut self) -> Result<Outcome, Error> {
        self.decide(Decision::Success, String::new()).await
    }

    /// Decides FAILURE. May be called again after [`Error::OutcomeUnknown`].
    ///
    /// Where a local transaction of this id may have committed, in an earlier run too, call
    /// [`rollback_with`](Self::rollback_with).
    pub async fn rollback(&mut self, reason: impl Into<String>) -> Result<Outcome, Error> {
        self.decide(Decision::Failure, reason.into()).await
    }

    /// Leaves the transaction undecided: dropping it no longer has an effect. The deadline or the
    /// check-back decides, or [`Client::decide`] with its id.
    pub fn leave(&mut self) {
        self.decision_asked = true;
    }

    pub(super) fn has_check_back(&self) -> bool {
        self.begun.check_back.is_some()
    }

    async fn decide(&mut self, decision: Decision, reason: String) -> Result<Outcome, Error> {
        // Set before the request leaves: from now on a roll-back could contradict an answer that is
        // lost.
        self.decision_asked = true;
        let answer = self.client.decide(self.tx_id, decision, reason, self.wait);
        reach("initiator.decide.before");
        let outcome = answer.await?;
        reach("initiator.decide.after");
        self.note(outcome);
        Ok(self.latest.clone())
    }

    /// Keeps the outcome unless it is older than the newest one.
    fn note(&mut self, outcome: Outcome) {
        if outcome.version() >= self.latest.version() {
            self.latest = outcome;
        }
    }
}

/// Returns an action's name, and what the context of its Try has of it.
fn known(action: v1::Action) -> (String, Known) {
    let known = Known {
        mode: mode(action.mode()),
        properties: action.ext_properties,
    };
    (action.name, known)
}

impl Drop for LiveTransaction {
    fn drop(&mut self) {
        let undecided = self.latest.decision().is_none() && !self.latest.is_repeated();
        if self.decision_asked || !undecided || self.has_check_back() {
            return;
        }
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        let (client, tx_id) = (self.client.clone(), self.tx_id);
        runtime.spawn(async move {
            let reason = "dropped by its initiator without a decision";
            let decided = client.decide(tx_id, Decision::Failure, reason, Wait::Decided);
            if let Err(error) = decided.await {
                tracing::warn!(%tx_id, %error, "a dropped transaction could not be rolled back");
            }
        });
    }
}

fn mode(mode: v1::Mode) -> Mode {
    match mode {
        v1::Mode::Compensate => Mode::Compensate,
        v1::Mode::Deliver => Mode::Deliver,
        v1::Mode::Tcc | v1::Mode::Unspecified => Mode::Tcc,
    }
}
