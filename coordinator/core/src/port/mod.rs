//! The engine's boundary: every input it takes and every output it gives.
//!
//! Gate, loader and transition share these types with the engine; none of them imports it.

mod call;
mod request;

use std::time::Duration;

pub use self::{
    call::{
        Abilities, AskBack, Call, CallAnswer, CallResult, CheckBackAnswer, CheckBackResult, Reach,
        Route,
    },
    request::{Command, NewTransaction, Order, Reply, Request, Wait},
};
use crate::{
    id::{CallId, CallerId, StreamId, TxId},
    model::{DueRow, Name, Transaction},
    refusal::Refusal,
    row::IllegalRow,
    time::Timestamp,
    write::{Due, DueQuery, QueuesQuery, Write, WriteResult},
};

/// An input of the engine. It learns of the world by nothing else.
#[derive(Clone, Debug)]
pub enum Input {
    /// A caller makes a request and waits for its reply.
    Request {
        /// The caller; an id is never used twice in an epoch.
        caller: CallerId,
        /// The request, already valid by the rules of [`check`](crate::check).
        request: Request,
    },
    /// A caller no longer waits. Its request goes on.
    CallerLeft {
        /// The caller.
        caller: CallerId,
        /// The transaction of its request.
        id: TxId,
    },
    /// Results of writes, as the [lane](crate::lane) gives them.
    Written(Vec<(TxId, WriteResult)>),
    /// The database's clock jumped, and the engine's time does not follow it at once: it was read `difference`
    /// microseconds ahead of the engine's, or behind it where that is negative.
    DatabaseClock {
        /// Microseconds.
        difference: i64,
    },
    /// The process stood still for this time until now: stopped, or without a processor. Answers to open calls may have
    /// come and not been read.
    StoodStill(Duration),
    /// The answer to [`Read::Transactions`]; every id of it is present.
    Loaded(Vec<(TxId, Loaded)>),
    /// The answer to [`Read::Due`].
    Due(DueQuery, Vec<Due>),
    /// The answer to [`Read::Queues`]: each queue with its first row.
    Queues(QueuesQuery, Vec<DueRow>),
    /// A read failed; the engine repeats it a little later.
    ReadFailed(Read),
    /// The way to a participant, at the start and after each change.
    Participant {
        /// The participant.
        name: Name,
        /// The way to it.
        reach: Reach,
    },
    /// A participant opened a stream.
    Attached {
        /// The stream.
        stream: StreamId,
        /// The participant.
        participant: Name,
        /// Calls that the stream takes at once.
        concurrency: u32,
        /// The calls that it can answer.
        abilities: Abilities,
    },
    /// A stream takes no new calls; its open ones may still be answered.
    Draining(StreamId),
    /// A stream is gone, and the answers to its open calls with it.
    Detached(StreamId),
    /// A participant's answer to a call.
    CallResult(CallResult),
    /// An initiator's answer to a check-back.
    CheckBackResult(CheckBackResult),
    /// Time has passed.
    Tick,
}

/// An output of the engine: work for its surroundings. Nothing else leaves the engine.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Give this write to the lane. At most one write of a transaction is under way.
    Write(Box<Write>),
    /// Send this call.
    Call(Call),
    /// Send this question to an initiator.
    AskBack(AskBack),
    /// Drop this call or question if the participant's connection has not taken it yet: it was closed without an
    /// answer, and one that still comes does not count. Each call that leaves the engine ends with its answer or with
    /// this, once.
    Withdraw {
        /// The call.
        call: CallId,
        /// The way on which it was to leave.
        route: Route,
    },
    /// Answer this caller.
    Reply(CallerId, Result<Reply, Refusal>),
    /// Read from the table.
    Read(Read),
    /// Report an illegal row to people.
    Illegal(IllegalRow),
    /// Report to people that a participant's address is down, and with which error; `None`: that it takes calls again.
    Outage(Name, Option<Outage>),
}

/// The time for which a registered address has taken no call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outage {
    /// Its beginning.
    pub since: Timestamp,
    /// The error of the last call that did not leave.
    pub error: String,
}

/// A read from the table.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Read {
    /// These transactions.
    Transactions(Vec<TxId>),
    /// Rows of one queue.
    Due(DueQuery),
    /// The queues that have rows.
    Queues(QueuesQuery),
}

/// The outcome of loading one transaction.
#[derive(Clone, Debug)]
pub enum Loaded {
    /// The transaction.
    Found(Box<Transaction>),
    /// No row has the id.
    Absent,
    /// Its rows are not legal.
    Illegal(IllegalRow),
}
