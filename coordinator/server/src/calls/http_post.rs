//! Calls by HTTP POST: the action's payload is the body, the context travels as headers, the response's body is the
//! result of a Try.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use futures::FutureExt as _;
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::{
    body::{Body as _, Incoming},
    ext::on_informational,
};
use hyper_util::{
    client::legacy::{self, connect::HttpConnector},
    rt::{TokioExecutor, TokioIo, TokioTimer},
};
use tercet_core::{
    limits,
    model::{Operation, Outcome},
    port::{AskBack, Call, CallAnswer},
};
use thiserror::Error;
use tokio::{net::TcpStream, sync::Notify, time::timeout};
use tower::{BoxError, ServiceExt as _, service_fn, util::BoxCloneSyncService};

use super::{chain, unary::cut_bytes};
use crate::{
    bounds,
    turns::InTurns,
    wire::{calls::too_large, context, cut},
};

/// Bytes of a refusal's body that are kept: a reason, and what is needed to cut it between characters.
const REASON_BYTES: usize = limits::REASON_BYTES + 4;

type Connector = BoxCloneSyncService<http::Uri, TokioIo<InTurns<TcpStream>>, BoxError>;
type Response = http::Response<Incoming>;

/// The client of all calls, which keeps its connections by address. It follows no redirect and uses no proxy of the
/// environment.
pub(super) type Client = legacy::Client<Connector, Full<Bytes>>;

/// The reason why a call got no answer.
#[derive(Debug, Error)]
enum NoAnswer {
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
}

/// Makes the client of all calls.
pub(super) fn client() -> Client {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let connector = service_fn(move |address| connect(connector.clone(), address).boxed());
    legacy::Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(bounds::HTTP_IDLE_TIMEOUT)
        .http1_max_buf_size(bounds::HTTP_HEAD_BYTES)
        .build(BoxCloneSyncService::new(connector))
}

async fn connect(
    connector: HttpConnector,
    address: http::Uri,
) -> Result<TokioIo<InTurns<TcpStream>>, BoxError> {
    let connected = timeout(bounds::CONNECT_TIMEOUT, connector.oneshot(address)).await;
    let stream = connected.map_err(|_| {
        let limit = bounds::CONNECT_TIMEOUT.as_millis();
        format!("no connection within {limit} ms")
    })??;
    Ok(TokioIo::new(InTurns::new(stream.into_inner())))
}

/// Posts a call to a path; returns the participant's answer.
pub(super) async fn call(
    client: &Client,
    address: &str,
    path: &str,
    call: &Call,
    epoch: u64,
) -> CallAnswer {
    let pairs = match context::of_call(call, epoch) {
        Ok(pairs) => pairs,
        Err(error) => return CallAnswer::Unknown(error),
    };
    let payload = call.action.payload.clone();
    let posted = timeout(call.timeout, async {
        match post(client, address, path, pairs, payload).await {
            // Nothing leaves before there is a connection.
            Err(error) if error.is_connect() => CallAnswer::Unsent(chain(&error)),
            Err(error) => CallAnswer::Unknown(chain(&error)),
            Ok(response) => answer(response, call).await,
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
    address: &str,
    path: &str,
    ask: &AskBack,
    epoch: u64,
) -> Result<Outcome, String> {
    let pairs = context::of_ask(ask, epoch);
    let posted = timeout(
        ask.timeout,
        post(client, address, path, pairs, Bytes::new()),
    );
    let response = match posted.await {
        Ok(response) => response.map_err(|error| chain(&error))?,
        Err(_) => return Err(no_answer(ask.timeout)),
    };
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

/// Sends a request; returns the answer's head. Where it is dropped before that, its connection is closed.
async fn post(
    client: &Client,
    address: &str,
    path: &str,
    pairs: Vec<(&'static str, String)>,
    body: Bytes,
) -> Result<Response, NoAnswer> {
    let url = format!("{}{path}", address.trim_end_matches('/'));
    let mut request = Request::post(url)
        .header("accept", "*/*")
        .header("content-type", "application/octet-stream");
    for (name, value) in pairs {
        request = request.header(name, value);
    }
    let mut request = request.body(Full::new(body))?;
    let too_many = Arc::new(Notify::new());
    let (noticed, come) = (Arc::clone(&too_many), AtomicU32::new(0));
    on_informational(&mut request, move |_| {
        if come.fetch_add(1, Relaxed) == bounds::INFORMATIONAL_RESPONSES {
            noticed.notify_one();
        }
    });
    tokio::select! {
        answered = client.request(request) => Ok(answered?),
        () = too_many.notified() => Err(NoAnswer::Informational),
    }
}
