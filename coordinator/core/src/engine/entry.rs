//! One transaction in memory, with the calls and callers that wait for it.

use std::collections::BTreeSet;

use super::callers::{Jobs, Waiters};
use crate::{
    gate::{Origin, Ticket},
    id::{CallId, CallerId},
    model::{Name, Need, Transaction},
    port::{Request, Wait},
    refusal::Refusal,
    time::Moment,
    transition::Event,
};

/// One transaction in memory.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    pub state: State,
    /// Events and requests that are not folded yet, in order.
    pub jobs: Jobs,
    /// Callers that are answered once the durable transaction satisfies them.
    pub waiters: Waiters,
    /// Calls under way, each with the action's place; `None`: the question to the initiator.
    pub open: Vec<(Option<usize>, CallId)>,
    /// Calls that wait for a place.
    pub tickets: Vec<Ticket>,
    /// Participants that are to have room for a call before it can be sought again.
    pub aside: BTreeSet<(Name, Need)>,
    /// The origin: a request, or the table.
    pub origin: Origin,
    /// The bytes that its transaction and its jobs take up, about.
    pub weight: usize,
    /// Set while it counts among those from the table that are on the move.
    pub counted: bool,
    /// When a request last brought something new: an initiator is likely to make another one soon.
    pub asked_at: Moment,
    /// Whether the walk through misdated rows came by its row: unless a write holds, the row is to be looked at again.
    pub recalled: bool,
    /// The time of the timer that is set.
    pub wake: Option<Moment>,
}

/// The state of an entry.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum State {
    /// Its rows are being read.
    Loading,
    /// Its jobs are being folded.
    Folding,
    /// It is in hand.
    InHand {
        /// The transaction as the write under way leaves it; without one, as it durably stands.
        tx: Box<Transaction>,
        /// The write under way.
        writing: Option<Effects>,
    },
}

/// The effects that depend on a write.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Effects {
    /// The requests that led to it: judged again if it changes nothing.
    pub requests: Vec<(CallerId, Request)>,
    /// Callers that wait once it is durable.
    pub waiters: Waiters,
    /// Callers that are refused once it is durable.
    pub refusals: Vec<(CallerId, Refusal)>,
    /// The bytes of those requests that are no part of the transaction, about.
    pub bytes: usize,
}

/// An event or a request that waits to be folded.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Job {
    Event(Event),
    Request(CallerId, Request),
    /// A begin of the same business under another id.
    Joined(CallerId, Wait),
}

/// A caller that waits for an answer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Waiter {
    pub caller: CallerId,
    pub until: Wait,
    pub repeated: bool,
}

impl Entry {
    pub(super) fn new(state: State, origin: Origin, now: Moment) -> Self {
        Self {
            state,
            aside: BTreeSet::new(),
            origin,
            weight: 0,
            counted: false,
            asked_at: now,
            jobs: Jobs::default(),
            waiters: Waiters::default(),
            open: Vec::new(),
            tickets: Vec::new(),
            recalled: false,
            wake: None,
        }
    }

    /// Returns the transaction as it durably stands; `None` while a write is under way.
    pub(super) fn durable(&self) -> Option<&Transaction> {
        match &self.state {
            State::InHand { tx, writing: None } => Some(tx),
            _ => None,
        }
    }

    /// Returns the number of callers that wait for its states, those included that wait for the write under way.
    pub(super) fn waiters_in_all(&self) -> usize {
        let behind = match &self.state {
            State::InHand {
                writing: Some(effects),
                ..
            } => effects.waiters.len(),
            _ => 0,
        };
        self.waiters.len() + behind
    }

    /// Returns whether it comes from the table and is being read or written, or is about to be read.
    pub(super) fn is_on_the_move(&self) -> bool {
        let is_moving = match &self.state {
            State::Loading => true,
            State::Folding => false,
            State::InHand { writing, .. } => writing.is_some(),
        };
        self.origin == Origin::Table && is_moving
    }

    /// Returns the same, to change the part that is held only in memory.
    pub(super) fn durable_mut(&mut self) -> Option<&mut Transaction> {
        match &mut self.state {
            State::InHand { tx, writing: None } => Some(tx),
            _ => None,
        }
    }

    /// Returns the open call of the action at this place; `None`: the open question to the initiator.
    pub(super) fn open_call(&self, action: Option<usize>) -> Option<CallId> {
        self.open
            .iter()
            .find(|(place, _)| *place == action)
            .map(|(_, call)| *call)
    }

    /// Takes out every caller that waits for an answer.
    pub(super) fn take_callers(&mut self) -> Vec<CallerId> {
        let waiters = self.waiters.drain().map(|waiter| waiter.caller);
        let mut callers: Vec<CallerId> = waiters.collect();
        callers.extend(self.jobs.take_callers());
        self.jobs = Jobs::default();
        if let State::InHand {
            writing: Some(writing),
            ..
        } = &mut self.state
        {
            callers.extend(std::mem::take(writing).callers());
        }
        callers.sort_unstable();
        callers.dedup();
        callers
    }
}

impl Effects {
    /// Returns every caller that waits for the write, once.
    pub(super) fn callers(mut self) -> Vec<CallerId> {
        let requests = self.requests.into_iter().map(|(caller, _)| caller);
        let waiters = self.waiters.drain().map(|waiter| waiter.caller);
        let refusals = self.refusals.into_iter().map(|(caller, _)| caller);
        let mut callers: Vec<CallerId> = requests.chain(waiters).chain(refusals).collect();
        callers.sort_unstable();
        callers.dedup();
        callers
    }
}
