//! What goes into an engine and what comes out.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;

use crate::{
    id::{CallId, CallerId, StreamId, TxId},
    model::{
        ActionSpec, ActionStatus, CheckBack, Driver, Ext, Name, Operation, Outcome, Transaction,
    },
    refusal::Refusal,
    row::IllegalRow,
    write::{Due, DueQuery, Write},
};

/// What an engine is told. Everything that it knows of the world comes in here.
#[derive(Clone, Debug)]
pub enum Input {
    /// A caller asks for something and waits.
    Request {
        /// Who waits; never used twice in an epoch.
        caller: CallerId,
        /// What for, already checked by [`Request`]'s own rules.
        request: Request,
    },
    /// A caller waits no longer. What it asked for goes on.
    CallerLeft {
        /// Which one.
        caller: CallerId,
        /// The transaction of its request.
        id: TxId,
    },
    /// What became of writes, as the [lane](crate::lane) tells.
    Settled(Vec<(TxId, Settled)>),
    /// Transactions that [`Output::Load`] asked for; every id that was asked for is there.
    Loaded(Vec<(TxId, Loaded)>),
    /// The answer to [`Output::Due`].
    Due(DueQuery, Vec<Due>),
    /// [`Output::Load`] or [`Output::Due`] could not be answered; they are asked again a little later.
    ReadFailed(Vec<TxId>, Option<DueQuery>),
    /// How a participant is reached, at start and whenever that changes.
    Participant {
        /// Its name.
        name: Name,
        /// How it is reached.
        reach: Reach,
    },
    /// A participant opened a stream.
    Attached {
        /// The stream.
        stream: StreamId,
        /// Whose.
        participant: Name,
        /// Calls it takes at once.
        concurrency: u32,
    },
    /// A stream takes no new calls; its open ones may still be answered.
    Draining(StreamId),
    /// A stream is gone, and the answers to its open calls with it.
    Detached(StreamId),
    /// What a participant answered to a call.
    Answered(Answer),
    /// What an initiator answered when it was asked back.
    AskedBack(CheckBackAnswer),
    /// Time has passed.
    Tick,
}

/// How a participant is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reach {
    /// On the streams that it attaches.
    Attach,
    /// At a registered address, with at most this many calls at once.
    /// A rejection in phase two has to be repeated before it counts (see
    /// [`limits::REJECTIONS_TO_BELIEVE`](crate::limits::REJECTIONS_TO_BELIEVE)).
    Direct {
        /// Calls at once.
        concurrency: u32,
    },
}

/// What a caller asks for. Fields are checked by whoever makes one: names, sizes, cycles, known
/// participants.
#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    /// Begin or Execute.
    Begin(Arc<NewTransaction>, Wait),
    /// `AddAction`.
    AddAction(TxId, Arc<ActionSpec>),
    /// Decide, by the initiator.
    Decide(TxId, Outcome, String, Wait),
    /// Decide, by an operator.
    OperatorDecide(TxId, Outcome, String),
    /// Retry, by an operator.
    Retry(TxId, String),
    /// Resolve, by an operator: actions, as [`ActionStatus::Confirmed`] or
    /// [`ActionStatus::Cancelled`], reason.
    Resolve(TxId, Vec<Name>, ActionStatus, String),
}

impl Request {
    /// The transaction it is for.
    pub fn id(&self) -> TxId {
        match self {
            Self::Begin(new, _) => new.id,
            Self::AddAction(id, ..)
            | Self::Decide(id, ..)
            | Self::OperatorDecide(id, ..)
            | Self::Retry(id, ..)
            | Self::Resolve(id, ..) => *id,
        }
    }
}

/// A transaction to begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewTransaction {
    /// Its id.
    pub id: TxId,
    /// What kind of business this is.
    pub business_type: Name,
    /// Which one.
    pub business_id: Name,
    /// Whether a second begin of the same business is answered with the first.
    pub unique_business: bool,
    /// Who makes the Tries and decides.
    pub driver: Driver,
    /// How long phase one may take.
    pub timeout: Duration,
    /// Whom to ask when no decision came in time.
    pub check_back: Option<CheckBack>,
    /// The caller's own words.
    pub ext: Ext,
    /// Its actions: names unique, `after` within them and without cycles.
    pub actions: Vec<Arc<ActionSpec>>,
}

/// When a caller is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Wait {
    /// When what it asked for is durable.
    Accepted,
    /// When the decision is durable.
    Decided,
    /// When the transaction is finished or parked, and that is durable.
    Completed,
}

/// What an engine wants done. Nothing else leaves it.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Give this to the lane. At most one write of a transaction is under way.
    Write(Box<Write>),
    /// Send this call.
    Call(Call),
    /// Ask this initiator.
    AskBack(AskBack),
    /// Answer this caller.
    Reply(CallerId, Result<Reply, Refusal>),
    /// Read these transactions.
    Load(Vec<TxId>),
    /// Read which rows are due.
    Due(DueQuery),
    /// For people: a row that is not legal.
    Illegal(IllegalRow),
}

/// The answer to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The transaction as it durably stands.
    pub transaction: Transaction,
    /// Whether the request was a repetition.
    pub repeated: bool,
}

/// What became of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Settled {
    /// It is durable.
    Held,
    /// It changed nothing: the row has moved on, or is not there.
    Moved,
    /// It changed nothing: this other transaction has the unique key, or this very one exists.
    Exists(TxId),
    /// It changed nothing: the database refuses one of its values.
    Refused,
    /// Nobody knows, and nobody will try again.
    Lost,
}

/// What a load found.
#[derive(Clone, Debug)]
pub enum Loaded {
    /// The transaction.
    Found(Box<Transaction>),
    /// There is none.
    Absent,
    /// It cannot be.
    Illegal(IllegalRow),
}

/// On which way a call leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Route {
    /// On this stream; only there its answer counts.
    Stream(StreamId),
    /// At the participant's registered address.
    Direct,
}

/// One call of one operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// The call.
    pub id: CallId,
    /// On which way it leaves.
    pub route: Route,
    /// The transaction.
    pub tx: TxId,
    /// Its business type.
    pub business_type: Name,
    /// Its business id.
    pub business_id: Name,
    /// The transaction's words.
    pub tx_ext: Ext,
    /// The action, as begun.
    pub action: Arc<ActionSpec>,
    /// What to do.
    pub operation: Operation,
    /// Which call of this operation this is, from 1.
    pub attempt: u32,
    /// Try: results of the actions it comes after. Otherwise what its own Try returned.
    pub results: Vec<(Name, Bytes)>,
    /// How long the answer is waited for.
    pub timeout: Duration,
    /// Try: what is left of phase one. Otherwise as `timeout`.
    pub time_left: Duration,
}

/// One question to an initiator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AskBack {
    /// The call.
    pub id: CallId,
    /// On which way it leaves.
    pub route: Route,
    /// The transaction.
    pub tx: TxId,
    /// Whom to ask.
    pub participant: Name,
    /// The transaction's business type.
    pub business_type: Name,
    /// The transaction's business id.
    pub business_id: Name,
    /// The transaction's words.
    pub ext: Ext,
    /// Which question this is, from 1.
    pub attempt: u32,
    /// How long the answer is waited for.
    pub timeout: Duration,
}

/// What came back for a call. It counts only if the call is open, left on this route, and was for
/// this transaction, action and operation, in this epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// On which way it came.
    pub route: Route,
    /// The epoch it names.
    pub epoch: u64,
    /// The call it names.
    pub call: CallId,
    /// The transaction it names.
    pub tx: TxId,
    /// The action it names.
    pub action: Name,
    /// The operation it names.
    pub operation: Operation,
    /// What it says.
    pub outcome: CallOutcome,
}

/// What a participant says of a call.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum CallOutcome {
    /// Done; what a Try returned.
    Ok(Bytes),
    /// Definitely not.
    Rejected(String),
    /// Nobody can say.
    Unknown(String),
}

/// What came back for a question; it counts under the same conditions as an [`Answer`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckBackAnswer {
    /// On which way it came.
    pub route: Route,
    /// The epoch it names.
    pub epoch: u64,
    /// The call it names.
    pub call: CallId,
    /// The transaction it names.
    pub tx: TxId,
    /// The outcome, or why there is none.
    pub outcome: Result<Outcome, String>,
}

/// How an engine is set up. Every bound of it is here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineConfig {
    /// Transactions in memory; further begins are refused, further due rows stay in the table.
    pub capacity: usize,
    /// Requests of one transaction that wait for its write or for their answer; further ones are
    /// refused.
    pub waiting_events: usize,
    /// How long work in hand may go without a write before another look at its row is due.
    pub lease: Duration,
    /// Waits up to this long are spent in memory, longer ones in the table.
    pub hold: Duration,
    /// How often the table is asked for due rows.
    pub poll: Duration,
    /// Rows of one question.
    pub page: u32,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            capacity: 100_000,
            waiting_events: 64,
            lease: Duration::from_secs(10),
            hold: Duration::from_secs(5),
            poll: Duration::from_millis(500),
            page: 256,
        }
    }
}
