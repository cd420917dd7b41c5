//! The client, its builder, and the requests that need no builder of their own.

use std::{sync::Arc, time::Duration};

use backon::{BackoffBuilder, ExponentialBuilder};
use tercet_proto::v1::{
    self, coordinator_client::CoordinatorClient, participants_client::ParticipantsClient,
    session_reply::Reply, session_request::Request,
};
use tokio::time::timeout;
use tonic::{
    Code, Status,
    transport::{Channel, Endpoint},
};
use tonic_types::StatusExt;
use uuid::Uuid;

use super::{
    Begin, Decision, Draft, Error, Execute, Outcome, Wait, Watch, error::Refused, frame,
    session::Session,
};

/// The default of [`ClientBuilder::max_in_flight`].
pub const DEFAULT_MAX_IN_FLIGHT: usize = 10_000;
/// The default of [`ClientBuilder::answer_within`].
pub const DEFAULT_ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// HTTP/2 windows: large enough that a stream does not wait for one at a few GB/s on a LAN.
const STREAM_WINDOW_BYTES: u32 = 8 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Participants asked for at once; the coordinator gives no more.
const PARTICIPANTS_PAGE: u32 = 500;
/// The connection to a silent peer is closed after the sum of these.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(5);
/// The waits before a request that the coordinator could not accept is sent again.
const ASK_AGAIN: ExponentialBuilder = ExponentialBuilder::new()
    .with_min_delay(Duration::from_millis(20))
    .with_max_delay(Duration::from_secs(1))
    .with_jitter()
    .without_max_times();

/// An initiator's connection to the coordinator. Cheap to clone; every clone shares one stream.
///
/// Requests of all callers travel batched on one bidirectional stream. When it breaks, the client
/// opens another one, at the next of its addresses, and sends every request without an answer again,
/// with the same transaction ids, until the caller's own time is over: a lost reply is no lost
/// transaction.
///
/// Dropping a future gives up waiting; the request takes its course.
#[derive(Debug, Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    session: Session,
    channels: Vec<Channel>,
    addresses: String,
    answer_within: Duration,
}

/// Builds a [`Client`].
#[derive(Debug, Clone)]
#[must_use]
pub struct ClientBuilder {
    addresses: Vec<String>,
    max_in_flight: usize,
    answer_within: Duration,
}

impl ClientBuilder {
    /// Adds the address of a coordinator, `http://host:port`; all coordinators must share one
    /// database.
    pub fn address(mut self, address: impl Into<String>) -> Self {
        self.addresses.push(address.into());
        self
    }

    /// Sets the number of requests that may be without an answer at once; default
    /// [`DEFAULT_MAX_IN_FLIGHT`]. Further requests wait for a place.
    pub fn max_in_flight(mut self, requests: usize) -> Self {
        self.max_in_flight = requests;
        self
    }

    /// Sets the time within which a request must be answered, repetitions included; default
    /// [`DEFAULT_ANSWER_WITHIN`]. An Execute adds its own time-out.
    pub fn answer_within(mut self, within: Duration) -> Self {
        self.answer_within = within;
        self
    }

    /// Connects; the stream is open when this returns. Fails with [`Error::Unavailable`] if that takes
    /// longer than [`answer_within`](Self::answer_within).
    pub async fn connect(self) -> Result<Client, Error> {
        let client = self.connect_lazy()?;
        let link = &client.inner.session.link;
        match timeout(client.inner.answer_within, link.wait_up()).await {
            Ok(()) => Ok(client),
            Err(_) => Err(client.unavailable(link.last_error())),
        }
    }

    /// Connects in the background; requests wait until the stream is open. Must be called within a
    /// tokio runtime.
    pub fn connect_lazy(self) -> Result<Client, Error> {
        if self.addresses.is_empty() {
            return Err(Error::invalid("addresses", "give at least one"));
        }
        if self.max_in_flight == 0 {
            return Err(Error::invalid("max_in_flight", "must be at least 1"));
        }
        let channels = self.addresses.iter().map(|address| channel(address));
        let channels = channels.collect::<Result<Vec<_>, _>>()?;
        Ok(Client {
            inner: Arc::new(Inner {
                session: Session::start(channels.clone(), self.max_in_flight),
                channels,
                addresses: self.addresses.join(", "),
                answer_within: self.answer_within,
            }),
        })
    }
}

fn channel(address: &str) -> Result<Channel, Error> {
    let endpoint = Endpoint::from_shared(address.to_owned())
        .map_err(|error| Error::invalid(format!("address {address:?}"), error))?;
    let has_host = endpoint.uri().host().is_some();
    if !has_host || endpoint.uri().scheme_str() != Some("http") {
        return Err(Error::invalid(
            format!("address {address:?}"),
            "expected \"http://host:port\"",
        ));
    }
    Ok(endpoint
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
        .keep_alive_while_idle(true)
        .connect_lazy())
}

impl Client {
    /// Connects to the first of these addresses that answers.
    ///
    /// ```no_run
    /// # async fn connect() -> Result<(), tercet_sdk::initiator::Error> {
    /// use tercet_sdk::initiator::Client;
    ///
    /// let client = Client::connect(["http://127.0.0.1:7460"]).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn connect<A: Into<String>>(
        addresses: impl IntoIterator<Item = A>,
    ) -> Result<Self, Error> {
        let mut builder = Self::builder();
        for address in addresses {
            builder = builder.address(address);
        }
        builder.connect().await
    }

    /// Starts to build a client with settings of its own.
    pub fn builder() -> ClientBuilder {
        ClientBuilder {
            addresses: Vec::new(),
            max_in_flight: DEFAULT_MAX_IN_FLIGHT,
            answer_within: DEFAULT_ANSWER_WITHIN,
        }
    }

    /// Hands over a transaction: the coordinator makes every Try and decides.
    pub fn execute(
        &self,
        business_type: impl Into<String>,
        business_id: impl Into<String>,
    ) -> Draft<Execute> {
        Draft::<Execute>::new(self.clone(), business_type.into(), business_id.into())
    }

    /// Begins a transaction whose Tries the initiator calls itself, and which it decides.
    pub fn begin(
        &self,
        business_type: impl Into<String>,
        business_id: impl Into<String>,
    ) -> Draft<Begin> {
        Draft::<Begin>::new(self.clone(), business_type.into(), business_id.into())
    }

    /// Decides a transaction by its id: for an initiator that lost its
    /// [`LiveTransaction`](super::LiveTransaction), for example in a crash. A repetition of the same
    /// decision is answered with the outcome, the opposite one with [`Error::DecisionConflict`].
    pub async fn decide(
        &self,
        tx_id: Uuid,
        decision: Decision,
        reason: impl Into<String>,
        wait: Wait,
    ) -> Result<Outcome, Error> {
        let request = v1::DecideRequest {
            tx_id: tx_id.to_string(),
            outcome: v1::Outcome::from(decision).into(),
            reason: reason.into(),
            wait: v1::Wait::from(wait).into(),
        };
        let within = self.inner.answer_within;
        self.ask_state(Request::Decide(request), tx_id, within)
            .await
    }

    /// Reads the outcome of a transaction, for example after [`Error::OutcomeUnknown`].
    pub async fn outcome(&self, tx_id: Uuid) -> Result<Outcome, Error> {
        Outcome::from_transaction(self.get(tx_id).await?)
    }

    /// Reads one transaction, with all its details.
    pub async fn get(&self, tx_id: Uuid) -> Result<v1::Transaction, Error> {
        self.read(v1::GetRequest {
            tx_id: tx_id.to_string(),
            ..v1::GetRequest::default()
        })
        .await
    }

    /// Reads the newest transaction of a business type and id.
    pub async fn get_business(
        &self,
        business_type: impl Into<String>,
        business_id: impl Into<String>,
    ) -> Result<v1::Transaction, Error> {
        self.read(v1::GetRequest {
            business_type: business_type.into(),
            business_id: business_id.into(),
            ..v1::GetRequest::default()
        })
        .await
    }

    async fn read(&self, request: v1::GetRequest) -> Result<v1::Transaction, Error> {
        let within = self.inner.answer_within;
        match self.ask(Request::Get(request), None, within).await? {
            Reply::Transaction(transaction) => Ok(transaction),
            other => Err(unexpected("Get", &other)),
        }
    }

    /// Reads one page of transactions, newest first, without their actions.
    pub async fn list(&self, request: v1::ListRequest) -> Result<v1::ListReply, Error> {
        self.unary(|channel| {
            let (mut coordinator, request) = (CoordinatorClient::new(channel), request.clone());
            async move { coordinator.list(request).await }
        })
        .await
    }

    /// Follows a transaction until it is final or parked.
    pub fn watch(&self, tx_id: Uuid) -> Watch {
        Watch::new(self.clone(), tx_id)
    }

    /// Registers how a participant that does not attach is called. Replaces an earlier registration,
    /// and may be repeated.
    pub async fn register(&self, request: v1::RegisterRequest) -> Result<v1::RegisterReply, Error> {
        self.unary(|channel| {
            let (mut participants, request) = (ParticipantsClient::new(channel), request.clone());
            async move { participants.register(request).await }
        })
        .await
    }

    /// Waits until a participant is known to the coordinator, so that a transaction may name it: for a
    /// process that attaches one and begins at once. Participants stay known for ever. Fails with
    /// [`Error::Unavailable`] if that takes longer than the client's time.
    pub async fn wait_known(&self, participant: &str) -> Result<(), Error> {
        let waiting = async {
            let mut delays = ASK_AGAIN.build();
            loop {
                let known = self.participants().await?;
                if known.iter().any(|known| known.participant == participant) {
                    return Ok(());
                }
                tokio::time::sleep(delays.next().unwrap_or(CONNECT_TIMEOUT)).await;
            }
        };
        match timeout(self.inner.answer_within, waiting).await {
            Ok(known) => known,
            Err(_) => Err(self.unavailable(format!("participant {participant:?} is not known"))),
        }
    }

    /// Lists the participants that the coordinator knows, by name.
    pub async fn participants(&self) -> Result<Vec<v1::ParticipantView>, Error> {
        let mut all = Vec::new();
        let mut request = v1::ListParticipantsRequest {
            page_size: PARTICIPANTS_PAGE,
            ..v1::ListParticipantsRequest::default()
        };
        loop {
            let page = self.unary(|channel| {
                let mut participants = ParticipantsClient::new(channel);
                let request = request.clone();
                async move { participants.list(request).await }
            });
            let page = page.await?;
            all.extend(page.participants);
            request.cursor = page.next_cursor;
            if request.cursor.is_empty() {
                return Ok(all);
            }
        }
    }

    pub(super) fn answer_within(&self) -> Duration {
        self.inner.answer_within
    }

    /// Sends a request that is answered with a transaction's state.
    pub(super) async fn ask_state(
        &self,
        request: Request,
        tx_id: Uuid,
        within: Duration,
    ) -> Result<Outcome, Error> {
        match self.ask(request, Some(tx_id), within).await? {
            Reply::State(state) => Outcome::from_state(state),
            other => Err(unexpected("a transaction's state", &other)),
        }
    }

    /// Sends a request until its answer is definite, or the time is over.
    async fn ask(
        &self,
        request: Request,
        tx_id: Option<Uuid>,
        within: Duration,
    ) -> Result<Reply, Error> {
        let body = frame::body(request);
        let mark = self.inner.session.link.mark();
        let mut last = None;
        match timeout(within, self.ask_until_definite(&body, &mut last)).await {
            Ok(Ok(reply)) => Ok(reply),
            Ok(Err(refused)) => Err(Error::from_refusal(refused, tx_id)),
            Err(_) => Err(self.no_answer(mark, last, tx_id, within)),
        }
    }

    async fn ask_until_definite(
        &self,
        body: &[u8],
        last: &mut Option<Refused>,
    ) -> Result<Reply, Refused> {
        let mut delays = ASK_AGAIN.build();
        loop {
            match self.inner.session.ask(body).await {
                Some(Reply::Error(error)) => {
                    let refused = Refused::from(error);
                    if !refused.is_passing() {
                        return Err(refused);
                    }
                    *last = Some(refused);
                }
                Some(reply) => return Ok(reply),
                None => return Err(Refused::runtime_gone()),
            }
            // The iterator is without end.
            tokio::time::sleep(delays.next().unwrap_or(CONNECT_TIMEOUT)).await;
        }
    }

    fn no_answer(
        &self,
        mark: u64,
        last: Option<Refused>,
        tx_id: Option<Uuid>,
        within: Duration,
    ) -> Error {
        let link = &self.inner.session.link;
        if link.was_down_since(mark) {
            return self.unavailable(link.last_error());
        }
        let last = last.map_or_else(
            || format!("waited {within:?}; {}", link.last_error()),
            |refused| refused.to_string(),
        );
        match tx_id {
            Some(tx_id) => Error::OutcomeUnknown { tx_id, last },
            None => self.unavailable(last),
        }
    }

    pub(super) fn unavailable(&self, last: String) -> Error {
        Error::Unavailable {
            addresses: self.inner.addresses.clone(),
            last,
        }
    }

    /// Makes a unary call, which must be repeatable, at one address after the other.
    async fn unary<T, F>(&self, call: impl Fn(Channel) -> F) -> Result<T, Error>
    where
        F: Future<Output = Result<tonic::Response<T>, Status>>,
    {
        let mut last = String::new();
        let attempts = async {
            let mut delays = ASK_AGAIN.build();
            for channel in self.channels() {
                match call(channel).await {
                    Ok(response) => return Ok(response.into_inner()),
                    Err(status) if is_passing(&status) => status.message().clone_into(&mut last),
                    Err(status) => return Err(Error::from_refusal(Refused::from(&status), None)),
                }
                tokio::time::sleep(delays.next().unwrap_or(CONNECT_TIMEOUT)).await;
            }
            Err(Error::Reply("no address".to_owned()))
        };
        match timeout(self.inner.answer_within, attempts).await {
            Ok(answer) => answer,
            Err(_) => Err(self.unavailable(last)),
        }
    }

    /// Iterates over the channels without end, the one in use first.
    pub(super) fn channels(&self) -> impl Iterator<Item = Channel> {
        let first = self.inner.session.link.current();
        let channels = self.inner.channels.iter().cycle().skip(first);
        channels.cloned()
    }
}

fn unexpected(wanted: &str, got: &Reply) -> Error {
    Error::Reply(format!("asked for {wanted}, got {got:?}"))
}

/// Returns true if a unary call may soon be answered differently, perhaps at another address: by the
/// reason of the coordinator's refusal, or because the transport failed.
pub(super) fn is_passing(status: &Status) -> bool {
    if status.get_details_error_info().is_some() {
        return Refused::from(status).is_passing();
    }
    matches!(
        status.code(),
        Code::Unavailable | Code::Unknown | Code::Cancelled | Code::Internal
    )
}
