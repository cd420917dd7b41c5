//! The engine's boundary: every input it takes and every output it gives.
//!
//! Gate, loader and transition share these types with the engine; none of them imports it.

mod call;
mod request;

pub use self::{
    call::{AskBack, Call, CallAnswer, CallResult, CheckBackResult, Reach, Route},
    request::{Command, NewTransaction, Order, Reply, Request, Wait},
};
use crate::{
    id::{CallerId, StreamId, TxId},
    model::{Name, Transaction},
    refusal::Refusal,
    row::IllegalRow,
    write::{Due, DueQuery, Write, WriteResult},
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
    /// The transactions that [`Output::Load`] asked for; every id of that output is present.
    Loaded(Vec<(TxId, Loaded)>),
    /// The answer to [`Output::Due`].
    Due(DueQuery, Vec<Due>),
    /// [`Output::Load`] or [`Output::Due`] failed; the engine repeats it a little later.
    ReadFailed(Vec<TxId>, Option<DueQuery>),
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
    /// Answer this caller.
    Reply(CallerId, Result<Reply, Refusal>),
    /// Read these transactions.
    Load(Vec<TxId>),
    /// Read the due rows.
    Due(DueQuery),
    /// Report an illegal row to people.
    Illegal(IllegalRow),
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
