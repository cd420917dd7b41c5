//! Calls by HTTP POST: the action's payload is the body, the context travels as headers, the response's body is the
//! result of a Try.

use std::{
    convert::Infallible,
    error,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use futures::FutureExt as _;
use http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use hyper::{
    body::{Body, Frame, Incoming, SizeHint},
    ext::on_informational,
};
use hyper_util::{
    client::legacy::{self, connect::HttpConnector},
    rt::{TokioExecutor, TokioIo, TokioTimer},
};
use tercet_core::{
    limits,
    model::{Operation, Outcome},
    port::{AskBack, Call, CallAnswer, CheckBackAnswer},
};
use thiserror::Error;
use tokio::{net::TcpStream, sync::Notify, time::timeout};
use tokio_util::sync::CancellationToken;
use tower::{BoxError, ServiceExt as _, service_fn, util::BoxCloneSyncService};

use super::{
    chain,
    departure::{Departure, Withdrawn},
    unary::cut_bytes,
};
use crate::{
    bounds,
    pulse::Pulse,
    turns::InTurns,
    wire::{calls::too_large, context, cut},
};

/// Bytes of a refusal's body that are kept: a reason, and what is needed to cut it between characters.
const REASON_BYTES: usize = limits::REASON_BYTES + 4;

type Connector = BoxCloneSyncService<http::Uri, TokioIo<InTurns<TcpStream>>, BoxError>;
type Response = http::Response<Incoming>;

/// The client of all calls, which keeps its connections by address. It follows no redirect and uses no proxy of the
/// environment.
#[derive(Clone)]
pub(super) struct Client {
    http: legacy::Client<Connector, Taken>,
    pulse: Arc<Pulse>,
}

/// The reason why a call got no answer.
#[derive(Debug, Error)]
pub(super) enum NoAnswer {
    #[error("the request cannot be made")]
    Request(#[from] http::Error),
    #[error("the request failed")]
    Client(#[from] legacy::Error),
    #[error(
        "more than {} informational responses came in place of an answer",
        bounds::INFORMATIONAL_RESPONSES
    )]
    Informational,
}

impl NoAnswer {
    /// Returns whether there was no connection, so that nothing has left.
    fn is_connect(&self) -> bool {
        matches!(self, Self::Client(error) if error.is_connect())
    }

    /// Returns the reason why there was no connection to this address. The client's own words add nothing to it.
    fn at(&self, address: &str) -> String {
        let cause = error::Error::source(self).and_then(error::Error::source);
        let cause = cause.map_or_else(|| chain(self), chain);
        cut(&format!("{address}: {cause}"))
    }
}

/// Makes the client of all calls.
pub(super) fn client(pulse: Arc<Pulse>) -> Client {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let connecting = Arc::clone(&pulse);
    let connector = service_fn(move |address| {
        connect(connector.clone(), Arc::clone(&connecting), address).boxed()
    });
    let http = legacy::Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(bounds::HTTP_IDLE_TIMEOUT)
        .http1_max_buf_size(bounds::HTTP_HEAD_BYTES)
        .build(BoxCloneSyncService::new(connector));
    Client { http, pulse }
}

async fn connect(
    connector: HttpConnector,
    pulse: Arc<Pulse>,
    address: http::Uri,
) -> Result<TokioIo<InTurns<TcpStream>>, BoxError> {
    let connected = pulse.timeout(bounds::CONNECT_TIMEOUT, connector.oneshot(address));
    let stream = connected.await.map_err(|_| {
        let limit = bounds::CONNECT_TIMEOUT.as_millis();
        format!("no connection within {limit} ms")
    })??;
    Ok(TokioIo::new(InTurns::new(stream.into_inner())))
}

/// Posts a call to a path; returns the participant's answer.
pub(super) async fn call(
    client: &Client,
    to: (&str, &str),
    call: &Call,
    departure: &Departure,
    epoch: u64,
) -> CallAnswer {
    let pairs = match context::of_call(call, epoch) {
        Ok(pairs) => pairs,
        Err(error) => return CallAnswer::Unknown(error),
    };
    let payload = call.action.payload.clone();
    let posted = client.pulse.timeout(call.timeout, async {
        match post(client, to, pairs, payload, departure).await {
            Err(withdrawn) => CallAnswer::Unsent(withdrawn.to_string()),
            // Nothing leaves before there is a connection.
            Ok(Err(error)) if error.is_connect() => CallAnswer::Unsent(error.at(to.0)),
            Ok(Err(error)) => CallAnswer::Unknown(chain(&error)),
            Ok(Ok(response)) => answer(response, call).await,
        }
    });
    posted
        .await
        .unwrap_or_else(|_| CallAnswer::Unknown(no_answer(call.timeout)))
}

fn no_answer(limit: Duration) -> String {
    format!("no answer came within {} ms", limit.as_millis())
}

/// Reads the participant's answer. The status decides; of the body no more is kept than is used.
async fn answer(response: Response, call: &Call) -> CallAnswer {
    let status = response.status();
    if status == StatusCode::CONFLICT || !status.is_success() {
        let text = refusal(response, call.timeout / 4).await;
        return if status == StatusCode::CONFLICT {
            CallAnswer::Rejected(text)
        } else {
            CallAnswer::Unknown(cut(&format!("HTTP {status}: {text}")))
        };
    }
    let read = if call.operation == Operation::Try {
        result(response).await
    } else {
        read_away(response).await
    };
    read.unwrap_or_else(|error| CallAnswer::Unknown(chain(&error)))
}

/// Returns the reason of a refusal: as much of it as is kept, whatever comes after. The status has decided already, so
/// words that do not come are not waited for any longer.
async fn refusal(mut response: Response, limit: Duration) -> String {
    let mut text = Vec::new();
    let read = timeout(limit, async {
        while let Ok(Some(chunk)) = chunk(&mut response).await
            && text.len() < REASON_BYTES
        {
            text.extend_from_slice(&chunk[..chunk.len().min(REASON_BYTES)]);
        }
    });
    let _ = read.await;
    cut_bytes(&text)
}

/// Reads the result of a Try; one above the limit is not read further.
async fn result(mut response: Response) -> Result<CallAnswer, hyper::Error> {
    let declared = response.body().size_hint().exact();
    let mut body = BytesMut::new();
    while let Some(chunk) = chunk(&mut response).await? {
        if body.len() + chunk.len() > limits::RESULT_BYTES {
            let so_far = (body.len() + chunk.len()) as u64;
            return Ok(too_large(declared.unwrap_or(so_far)));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(CallAnswer::Ok(body.freeze()))
}

/// Reads the body of a Confirm or Cancel to its end, and keeps nothing: only then is it known to be done.
async fn read_away(mut response: Response) -> Result<CallAnswer, hyper::Error> {
    while chunk(&mut response).await?.is_some() {}
    Ok(CallAnswer::Ok(Bytes::new()))
}

/// Asks an initiator back; returns its answer.
pub(super) async fn ask_back(
    client: &Client,
    to: (&str, &str),
    ask: &AskBack,
    departure: &Departure,
    epoch: u64,
) -> CheckBackAnswer {
    let pairs = context::of_ask(ask, epoch);
    let posted = client.pulse.timeout(
        ask.timeout,
        post(client, to, pairs, Bytes::new(), departure),
    );
    match posted.await {
        Ok(Ok(Ok(response))) => outcome(&response).into(),
        // Nothing leaves before there is a connection.
        Ok(Ok(Err(error))) if error.is_connect() => CheckBackAnswer::Unsent(error.at(to.0)),
        Ok(Ok(Err(error))) => CheckBackAnswer::Unknown(chain(&error)),
        Ok(Err(withdrawn)) => CheckBackAnswer::Unsent(withdrawn.to_string()),
        Err(_) => CheckBackAnswer::Unknown(no_answer(ask.timeout)),
    }
}

/// Returns the outcome that an initiator answered with.
fn outcome(response: &Response) -> Result<Outcome, String> {
    let status = response.status();
    if !status.is_success() {
        return Err(format!("HTTP {status}"));
    }
    let outcome = response.headers().get(context::OUTCOME);
    context::outcome(outcome.and_then(|value| value.to_str().ok()))
}

/// Returns the next bytes of an answer's body; `None` after the last.
async fn chunk(response: &mut Response) -> Result<Option<Bytes>, hyper::Error> {
    while let Some(frame) = response.body_mut().frame().await {
        // Trailers are of no use here.
        if let Ok(bytes) = frame?.into_data() {
            return Ok(Some(bytes));
        }
    }
    Ok(None)
}

/// Posts a body, unless the call is withdrawn before a connection takes it; returns the answer's head.
pub(super) async fn post(
    client: &Client,
    (address, path): (&str, &str),
    pairs: Vec<(&'static str, String)>,
    body: Bytes,
    departure: &Departure,
) -> Result<Result<Response, NoAnswer>, Withdrawn> {
    let taken = CancellationToken::new();
    let body = Taken {
        bytes: Some(body),
        taken: taken.clone(),
    };
    let url = format!("{}{path}", address.trim_end_matches('/'));
    let mut request = Request::post(url)
        .header("accept", "*/*")
        .header("content-type", "application/octet-stream");
    for (name, value) in pairs {
        request = request.header(name, value);
    }
    let request = match request.body(body) {
        Ok(request) => request,
        Err(error) => return Ok(Err(error.into())),
    };
    let sent = send(client, request);
    tokio::pin!(sent);
    tokio::select! {
        biased;
        () = departure.withdrawn() => {
            if taken.is_cancelled() {
                Ok(sent.await)
            } else {
                Err(Withdrawn)
            }
        }
        response = &mut sent => Ok(response),
    }
}

/// Sends a request; returns the answer's head. Where it is dropped before that, its connection is closed.
async fn send(client: &Client, mut request: Request<Taken>) -> Result<Response, NoAnswer> {
    let too_many = Arc::new(Notify::new());
    let (noticed, come) = (Arc::clone(&too_many), AtomicU32::new(0));
    on_informational(&mut request, move |_| {
        if come.fetch_add(1, Relaxed) == bounds::INFORMATIONAL_RESPONSES {
            noticed.notify_one();
        }
    });
    tokio::select! {
        answered = client.http.request(request) => Ok(answered?),
        () = too_many.notified() => Err(NoAnswer::Informational),
    }
}

/// A body that notes when a connection takes it: asks for its bytes, or drops it where it is empty.
pub(super) struct Taken {
    bytes: Option<Bytes>,
    taken: CancellationToken,
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.taken.cancel();
    }
}

impl Body for Taken {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.taken.cancel();
        Poll::Ready(self.bytes.take().map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
    }
}
