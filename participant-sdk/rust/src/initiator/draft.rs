//! A transaction that is about to begin: the builder behind [`Client::execute`] and [`Client::begin`].

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tercet_failpoint::reach;
use tercet_proto::v1::{self, session_request::Request};
use uuid::Uuid;

use super::{
    Action, AlreadyTried, CheckBack, Client, Error, LiveTransaction, Outcome, action::millis,
};

/// The default length of phase one; the server's default too.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);

/// The moment at which a request is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Wait {
    /// Answers once the decision is durable.
    #[default]
    Decided,
    /// Answers once every action is durably confirmed or cancelled as decided, or the transaction is
    /// parked.
    Completed,
    /// Answers once the begin is durable. Only for Execute.
    Accepted,
}

impl From<Wait> for v1::Wait {
    fn from(wait: Wait) -> Self {
        match wait {
            Wait::Decided => Self::Decided,
            Wait::Completed => Self::Completed,
            Wait::Accepted => Self::Accepted,
        }
    }
}

/// The kind of a [`Draft`] that the coordinator tries and decides.
#[derive(Debug, Clone)]
pub struct Execute {
    /// The ids under which the initiator's own Tries were done.
    tried_as: Vec<Uuid>,
}

/// The kind of a [`Draft`] that the initiator tries and decides.
#[derive(Debug, Clone)]
pub struct Begin {
    check_back: Option<CheckBack>,
}

/// A transaction that is about to begin. Nothing is sent before [`send`](Draft::send).
#[derive(Debug, Clone)]
#[must_use = "nothing is sent before send()"]
pub struct Draft<K> {
    client: Client,
    request: v1::BeginRequest,
    tx_id: Option<Uuid>,
    actions: Vec<Action>,
    timeout: Duration,
    wait: Wait,
    answer_within: Option<Duration>,
    kind: K,
}

impl<K> Draft<K> {
    fn with_kind(client: Client, business_type: String, business_id: String, kind: K) -> Self {
        Self {
            client,
            request: v1::BeginRequest {
                business_type,
                business_id,
                ..v1::BeginRequest::default()
            },
            tx_id: None,
            actions: Vec::new(),
            timeout: DEFAULT_TIMEOUT,
            wait: Wait::Decided,
            answer_within: None,
            kind,
        }
    }

    /// Sets the transaction's id, a `UUIDv7` (`Uuid::now_v7()`) that the caller keeps, so that it can
    /// send the request again after a crash of its own. Default: a new one. The same id with the same
    /// body is the same transaction; with another body it is refused.
    pub fn tx_id(mut self, tx_id: Uuid) -> Self {
        self.tx_id = Some(tx_id);
        self
    }

    /// Makes the business type and id unique among the requests that are: a second one with the same two is answered with
    /// the first transaction, whatever its own actions are. They are neither compared nor carried out.
    pub fn unique_business(mut self) -> Self {
        self.request.unique_business = true;
        self
    }

    /// Adds an action; at most 64.
    pub fn action(mut self, action: Action) -> Self {
        self.actions.push(action);
        self
    }

    /// Sets the time limit of phase one; default 30 s, at most 7 days.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Adds a property, which is kept with the transaction and sent to participants.
    pub fn property(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.request.ext_properties.insert(key.into(), value.into());
        self
    }

    /// Sets the time within which the request must be answered, repetitions included; default: the
    /// client's, and for an Execute its time-out on top.
    pub fn answer_within(mut self, within: Duration) -> Self {
        self.answer_within = Some(within);
        self
    }

    /// Sets the moment at which the decision is answered; default [`Wait::Decided`].
    pub fn wait(mut self, wait: Wait) -> Self {
        self.wait = wait;
        self
    }

    /// Returns the request, and the id with which it is sent.
    fn request(&mut self) -> Result<(v1::BeginRequest, Uuid), Error> {
        if self.timeout.is_zero() {
            let problem = "must be longer than zero; left out it is 30 s";
            return Err(Error::invalid("timeout", problem));
        }
        let tx_id = self.tx_id.unwrap_or_else(Uuid::now_v7);
        let mut request = std::mem::take(&mut self.request);
        request.tx_id = tx_id.to_string();
        request.timeout_ms = millis(self.timeout);
        let actions = std::mem::take(&mut self.actions).into_iter();
        request.actions = actions
            .map(Action::into_message)
            .collect::<Result<_, _>>()?;
        Ok((request, tx_id))
    }

    /// Returns true if the transaction is of this draft's own request: the id was made here. A
    /// repetition by this client is none to the caller.
    fn is_ours(&self, sent: Uuid, answered: Uuid) -> bool {
        self.tx_id.is_none() && sent == answered
    }
}

impl Draft<Execute> {
    pub(super) fn new(client: Client, business_type: String, business_id: String) -> Self {
        let tried_as = Vec::new();
        Self::with_kind(client, business_type, business_id, Execute { tried_as })
    }

    /// Adds the initiator's own action, whose Try it has already done: no Try is sent, and it is confirmed
    /// or cancelled like any other. The transaction gets the id under which that was done.
    ///
    /// Not with [`unique_business`](Self::unique_business): a second request for the same business would
    /// be answered with the first transaction, which knows nothing of a Try under another id.
    pub fn already_tried(mut self, tried: AlreadyTried) -> Self {
        let (tx_id, action) = tried.into_parts();
        self.kind.tried_as.push(tx_id);
        self.tx_id.get_or_insert(tx_id);
        self.action(action)
    }

    /// Returns an error if the initiator's own Tries would be left behind.
    fn check_tried(&self) -> Result<(), Error> {
        let Some(tx_id) = self.kind.tried_as.first() else {
            return Ok(());
        };
        if self.request.unique_business {
            let problem = "is not possible with an action that is already tried: its id is the key";
            return Err(Error::invalid("unique_business", problem));
        }
        match self
            .kind
            .tried_as
            .iter()
            .chain(&self.tx_id)
            .find(|id| *id != tx_id)
        {
            None => Ok(()),
            Some(other) => {
                let problem = format!("is {other}, and an action is already tried as {tx_id}");
                Err(Error::invalid("tx_id", problem))
            }
        }
    }

    /// Sends the request, repeatedly with the same id if necessary, and returns the outcome: after
    /// [`Wait::Decided`] and [`Wait::Completed`] never [`Outcome::Running`], except for a repeated
    /// request.
    ///
    /// Dropping the future gives up waiting; the transaction goes on.
    pub async fn send(mut self) -> Result<Outcome, Error> {
        self.check_tried()?;
        let (begin, tx_id) = self.request()?;
        let default_within = self.client.answer_within().saturating_add(self.timeout);
        let within = self.answer_within.unwrap_or(default_within);
        let request = Request::Execute(v1::ExecuteRequest {
            begin: Some(begin),
            wait: v1::Wait::from(self.wait).into(),
        });
        reach("initiator.execute.before");
        let mut outcome = self.client.ask_state(request, tx_id, within).await?;
        reach("initiator.execute.after");
        if self.is_ours(tx_id, outcome.tx_id()) {
            outcome.set_first();
        }
        Ok(outcome)
    }
}

impl Draft<Begin> {
    pub(super) fn new(client: Client, business_type: String, business_id: String) -> Self {
        let kind = Begin { check_back: None };
        Self::with_kind(client, business_type, business_id, kind)
    }

    /// Sets the participant that is asked when no decision came in time. Without it the deadline
    /// decides FAILURE.
    pub fn check_back(mut self, check_back: CheckBack) -> Self {
        self.kind.check_back = Some(check_back);
        self
    }

    /// Sends the request, repeatedly with the same id if necessary. When this returns, the transaction
    /// and its actions are durable and their Tries may be called.
    pub async fn send(mut self) -> Result<LiveTransaction, Error> {
        if self.wait == Wait::Accepted {
            let problem = "Accepted is for Execute; a decision is waited for, or its completion";
            return Err(Error::invalid("wait", problem));
        }
        let (mut begin, tx_id) = self.request()?;
        begin.check_back = self.kind.check_back.take().map(CheckBack::into_message);
        let within = self.answer_within.unwrap_or(self.client.answer_within());
        let request = Request::Begin(begin.clone());
        reach("initiator.begin.before");
        let mut outcome = self.client.ask_state(request, tx_id, within).await?;
        reach("initiator.begin.after");
        if self.is_ours(tx_id, outcome.tx_id()) {
            outcome.set_first();
        }
        let mut timeout = self.timeout;
        if outcome.tx_id() != tx_id {
            // Another transaction has the business: its actions are the ones to try, whatever this request has.
            let stored = self.client.get(outcome.tx_id()).await?;
            timeout = time_left(&stored);
            begin = as_begun(stored);
        }
        Ok(LiveTransaction::begun(
            self.client,
            begin,
            outcome,
            timeout,
            self.wait,
        ))
    }
}

/// Returns the request that would begin a transaction as it is stored.
fn as_begun(stored: v1::Transaction) -> v1::BeginRequest {
    v1::BeginRequest {
        tx_id: stored.tx_id,
        business_type: stored.business_type,
        business_id: stored.business_id,
        unique_business: stored.unique_business,
        check_back: stored.check_back,
        ext_properties: stored.ext_properties,
        actions: stored
            .actions
            .into_iter()
            .filter_map(|view| view.action)
            .collect(),
        ..v1::BeginRequest::default()
    }
}

/// Returns the time left of phase one by this machine's clock.
fn time_left(stored: &v1::Transaction) -> Duration {
    let deadline = u64::try_from(stored.deadline_at_micros).unwrap_or(0);
    (UNIX_EPOCH + Duration::from_micros(deadline))
        .duration_since(SystemTime::now())
        .unwrap_or_default()
}
