//! Calls by HTTP POST: the action's payload is the body, the context travels as headers, the response's body is the
//! result of a Try.

use std::error::Error;

use bytes::{Bytes, BytesMut};
use reqwest::{Client, Response, StatusCode, redirect::Policy};
use tercet_core::{
    limits,
    model::{Operation, Outcome},
    port::{AskBack, Call, CallAnswer},
};

use crate::{
    bounds,
    wire::{context, cut},
};

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
    address: &str,
    path: &str,
    call: &Call,
    epoch: u64,
) -> CallAnswer {
    let payload = call.action.payload.clone();
    let mut pairs = context::of_call(call, epoch);
    match context::binary(call, epoch) {
        Ok(binary) => pairs.push((context::BINARY, context::base64(&binary))),
        Err(error) => return CallAnswer::Unknown(error),
    }
    let response = match post(client, address, path, pairs, payload).await {
        Ok(response) => response,
        Err(error) => return CallAnswer::Unknown(error),
    };
    let status = response.status();
    let body = body(response).await;
    if status == StatusCode::CONFLICT {
        let reason = body.unwrap_or_default();
        return CallAnswer::Rejected(cut(&String::from_utf8_lossy(&reason)));
    }
    if !status.is_success() {
        let reason = body.unwrap_or_default();
        let text = String::from_utf8_lossy(&reason);
        return CallAnswer::Unknown(cut(&format!("HTTP {status}: {text}")));
    }
    match body {
        Ok(_) if call.operation != Operation::Try => CallAnswer::Ok(Bytes::new()),
        Ok(result) => CallAnswer::Ok(result),
        Err(error) => CallAnswer::Unknown(error),
    }
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
    let response = post(client, address, path, pairs, Bytes::new()).await?;
    let status = response.status();
    if !status.is_success() {
        return Err(format!("HTTP {status}"));
    }
    let outcome = response.headers().get(context::OUTCOME);
    context::outcome(outcome.and_then(|value| value.to_str().ok()))
}

async fn post(
    client: &Client,
    address: &str,
    path: &str,
    pairs: Vec<(&'static str, String)>,
    body: Bytes,
) -> Result<Response, String> {
    let url = format!("{}{path}", address.trim_end_matches('/'));
    let mut request = client
        .post(url)
        .header("content-type", "application/octet-stream")
        .body(body);
    for (name, value) in pairs {
        request = request.header(name, value);
    }
    request.send().await.map_err(|error| chain(&error))
}

/// Reads the body of a response; one above the limit of a result is refused without reading further.
async fn body(mut response: Response) -> Result<Bytes, String> {
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| chain(&error))? {
        if body.len() + chunk.len() > limits::RESULT_BYTES {
            return Err(format!(
                "the participant returned more than the {} bytes that are accepted",
                limits::RESULT_BYTES
            ));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}

fn chain(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    cut(&text)
}
