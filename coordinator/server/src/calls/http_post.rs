//! Calls by HTTP POST: the action's payload is the body, the context travels as headers, the response's body is the
//! result of a Try.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use hyper::body::{Body, Frame, SizeHint};
use reqwest::{Client, Response, StatusCode, redirect::Policy};
use tercet_core::{
    limits,
    model::{Operation, Outcome},
    port::{AskBack, Call, CallAnswer, CheckBackAnswer},
};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::{
    chain,
    departure::{Departure, Withdrawn},
    unary::cut_bytes,
};
use crate::{
    bounds,
    wire::{calls::too_large, context, cut},
};

/// Bytes of a refusal's body that are kept: a reason, and what is needed to cut it between characters.
const REASON_BYTES: usize = limits::REASON_BYTES + 4;

/// Makes the client of all calls, which keeps its connections by address. It follows no redirect and uses no proxy of
/// the environment.
pub(super) fn client() -> Result<Client, reqwest::Error> {
    Client::builder()
        .redirect(Policy::none())
        .no_proxy()
        .connect_timeout(bounds::CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .build()
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
    let posted = timeout(call.timeout, async {
        match post(client, to, pairs, payload, departure).await {
            Err(withdrawn) => CallAnswer::Unsent(withdrawn.to_string()),
            // Nothing leaves before there is a connection.
            Ok(Err(error)) if error.is_connect() => CallAnswer::Unsent(chain(&error)),
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
        while let Ok(Some(chunk)) = response.chunk().await
            && text.len() < REASON_BYTES
        {
            text.extend_from_slice(&chunk[..chunk.len().min(REASON_BYTES)]);
        }
    });
    let _ = read.await;
    cut_bytes(&text)
}

/// Reads the result of a Try; one above the limit is not read further.
async fn result(mut response: Response) -> Result<CallAnswer, reqwest::Error> {
    let declared = response.content_length();
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > limits::RESULT_BYTES {
            let so_far = (body.len() + chunk.len()) as u64;
            return Ok(too_large(declared.unwrap_or(so_far)));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(CallAnswer::Ok(body.freeze()))
}

/// Reads the body of a Confirm or Cancel to its end, and keeps nothing: only then is it known to be done.
async fn read_away(mut response: Response) -> Result<CallAnswer, reqwest::Error> {
    while response.chunk().await?.is_some() {}
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
    let posted = timeout(
        ask.timeout,
        post(client, to, pairs, Bytes::new(), departure),
    );
    match posted.await {
        Ok(Ok(Ok(response))) => outcome(&response).into(),
        // Nothing leaves before there is a connection.
        Ok(Ok(Err(error))) if error.is_connect() => CheckBackAnswer::Unsent(chain(&error)),
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

/// Posts a body, unless the call is withdrawn before a connection takes it.
pub(super) async fn post(
    client: &Client,
    (address, path): (&str, &str),
    pairs: Vec<(&'static str, String)>,
    body: Bytes,
    departure: &Departure,
) -> Result<Result<Response, reqwest::Error>, Withdrawn> {
    let taken = CancellationToken::new();
    let body = Taken {
        bytes: Some(body),
        taken: taken.clone(),
    };
    let url = format!("{}{path}", address.trim_end_matches('/'));
    let mut request = client
        .post(url)
        .header("content-type", "application/octet-stream")
        .body(reqwest::Body::wrap(body));
    for (name, value) in pairs {
        request = request.header(name, value);
    }
    let sent = request.send();
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

/// A body that notes when a connection takes it: asks for its bytes, or drops it where it is empty.
struct Taken {
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
