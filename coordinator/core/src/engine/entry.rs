//! One transaction in memory, and what waits for it.

use std::collections::VecDeque;

use crate::{
    engine::{Request, Wait},
    gate::Ticket,
    id::{CallId, CallerId},
    model::{Name, Transaction},
    refusal::Refusal,
    time::Timestamp,
    transition::Event,
};

/// One transaction in memory.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    pub state: State,
    /// What has happened and is not judged yet, in order.
    pub jobs: VecDeque<Job>,
    /// Callers to be answered when the transaction is durably there.
    pub waiters: Vec<Waiter>,
    /// Calls under way: the action's place, or `None` for the question to the initiator.
    pub open: Vec<(Option<usize>, CallId)>,
    /// Calls that wait for a place.
    pub tickets: Vec<Ticket>,
    /// The timer that is set.
    pub wake: Option<Timestamp>,
}

/// What is known of a transaction.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum State {
    /// Nothing: it is being read.
    Loading {
        /// The participant because of which it is read before its time.
        reachable_again: Option<Name>,
    },
    /// All, and it is being judged.
    Folding,
    /// All.
    Held {
        /// As it will stand when the write under way has held; without one, as it stands.
        tx: Box<Transaction>,
        /// The write under way.
        writing: Option<Writing>,
    },
}

/// What depends on a write.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Writing {
    /// The requests that led to it: judged again if it does not hold.
    pub requests: Vec<(CallerId, Request)>,
    /// Callers who wait from then on.
    pub waiters: Vec<Waiter>,
    /// Callers who are refused because of it.
    pub refusals: Vec<(CallerId, Refusal)>,
}

/// Something to be judged.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Job {
    Event(Event),
    Request(CallerId, Request),
    /// A begin of the same business under another id.
    Joined(CallerId, Wait),
}

/// A caller to be answered.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Waiter {
    pub caller: CallerId,
    pub until: Wait,
    pub repeated: bool,
}

impl Entry {
    pub(super) fn new(state: State) -> Self {
        Self {
            state,
            jobs: VecDeque::new(),
            waiters: Vec::new(),
            open: Vec::new(),
            tickets: Vec::new(),
            wake: None,
        }
    }

    /// The transaction as it durably stands, if no write is under way.
    pub(super) fn durable(&self) -> Option<&Transaction> {
        match &self.state {
            State::Held { tx, writing: None } => Some(tx),
            _ => None,
        }
    }

    /// The same, to note what is known only in memory.
    pub(super) fn durable_mut(&mut self) -> Option<&mut Transaction> {
        match &mut self.state {
            State::Held { tx, writing: None } => Some(tx),
            _ => None,
        }
    }

    /// The open call for this action, or to the initiator.
    pub(super) fn open_call(&self, action: Option<usize>) -> Option<CallId> {
        self.open
            .iter()
            .find(|(place, _)| *place == action)
            .map(|(_, call)| *call)
    }

    /// Everybody who has to be told something if the transaction is let go of.
    pub(super) fn callers(&mut self) -> Vec<CallerId> {
        let mut callers: Vec<CallerId> = self.waiters.drain(..).map(|w| w.caller).collect();
        for job in self.jobs.drain(..) {
            match job {
                Job::Request(caller, _) | Job::Joined(caller, _) => callers.push(caller),
                Job::Event(_) => {}
            }
        }
        if let State::Held {
            writing: Some(writing),
            ..
        } = &mut self.state
        {
            let Writing {
                requests,
                waiters,
                refusals,
            } = std::mem::take(writing);
            callers.extend(requests.into_iter().map(|(caller, _)| caller));
            callers.extend(waiters.into_iter().map(|waiter| waiter.caller));
            callers.extend(refusals.into_iter().map(|(caller, _)| caller));
        }
        callers.sort_unstable();
        callers.dedup();
        callers
    }
}

impl Waiter {
    /// Whether the durable state is what the caller waits for.
    pub(super) fn is_satisfied(&self, tx: &Transaction) -> bool {
        match self.until {
            Wait::Accepted => true,
            Wait::Decided => tx.phase.decision().is_some(),
            Wait::Completed => tx.phase.is_settled(),
        }
    }
}
