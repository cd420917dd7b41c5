//! One transaction in memory, with the calls and callers that wait for it.

use std::collections::{BTreeSet, VecDeque};

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
    pub jobs: VecDeque<Job>,
    /// Callers that are answered once the durable transaction satisfies them.
    pub waiters: Vec<Waiter>,
    /// Calls under way, each with the action's place; `None`: the question to the initiator.
    pub open: Vec<(Option<usize>, CallId)>,
    /// Calls that wait for a place.
    pub tickets: Vec<Ticket>,
    /// Participants that are to have room for a call before it can be sought again.
    pub aside: BTreeSet<(Name, Need)>,
    /// The origin: a request, or the table.
    pub origin: Origin,
    /// The bytes that its transaction takes up, about.
    pub weight: usize,
    /// Whether it counts among those from the table that are on the move.
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
    pub waiters: Vec<Waiter>,
    /// Callers that are refused once it is durable.
    pub refusals: Vec<(CallerId, Refusal)>,
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
            jobs: VecDeque::new(),
            waiters: Vec::new(),
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

    /// Removes the waiting job of a caller that left, if nothing is lost with it.
    pub(super) fn drop_idle_job(&mut self, caller: CallerId) {
        let of_caller = |job: &Job| match job {
            Job::Request(asking, _) | Job::Joined(asking, _) => *asking == caller,
            Job::Event(_) => false,
        };
        let Some(place) = self.jobs.iter().position(of_caller) else {
            return;
        };
        let loading = matches!(self.state, State::Loading);
        let idle = match &self.jobs[place] {
            // While it is read whether there is a row, this may yet begin it.
            Job::Request(_, Request::Begin(..)) if !loading => true,
            Job::Joined(..) | Job::Request(_, Request::OnlyRepeated(..)) => true,
            Job::Request(_, request) => self.jobs.iter().enumerate().any(|(other, job)| {
                other != place && matches!(job, Job::Request(_, same) if same == request)
            }),
            Job::Event(_) => false,
        };
        if idle {
            self.jobs.remove(place);
        }
    }

    /// Takes out every caller that waits for an answer.
    pub(super) fn take_callers(&mut self) -> Vec<CallerId> {
        let mut callers: Vec<CallerId> = self.waiters.drain(..).map(|w| w.caller).collect();
        for job in self.jobs.drain(..) {
            match job {
                Job::Request(caller, _) | Job::Joined(caller, _) => callers.push(caller),
                Job::Event(_) => {}
            }
        }
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
    pub(super) fn callers(self) -> Vec<CallerId> {
        let requests = self.requests.into_iter().map(|(caller, _)| caller);
        let waiters = self.waiters.into_iter().map(|waiter| waiter.caller);
        let refusals = self.refusals.into_iter().map(|(caller, _)| caller);
        let mut callers: Vec<CallerId> = requests.chain(waiters).chain(refusals).collect();
        callers.sort_unstable();
        callers.dedup();
        callers
    }
}

impl Waiter {
    /// Returns whether the durable state satisfies the caller.
    pub(super) fn is_satisfied(&self, tx: &Transaction) -> bool {
        match self.until {
            Wait::Accepted => true,
            Wait::Decided => tx.phase.decision().is_some(),
            Wait::Completed => tx.phase.is_over(),
        }
    }
}
