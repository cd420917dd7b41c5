//! A unary gRPC call as bytes. Whatever a participant answers takes a bounded part of memory: of the message and the
//! status no more is kept than is used, and the rest is read and thrown away.

use std::{future::poll_fn, sync::Arc, task::Poll};

use bytes::{BufMut, Bytes, BytesMut};
use futures::FutureExt as _;
use h2::{
    Reason, RecvStream,
    client::{ResponseFuture, SendRequest},
};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri, Version, header};
use percent_encoding::percent_decode;
use tercet_core::{
    limits,
    port::{CallAnswer, CheckBackAnswer},
};
use tokio::time::{Duration, Instant};
use tonic::{Code, Status};

use super::{
    chain,
    connections::{Connection, Connections},
    departure::{Departure, Withdrawn},
};
use crate::{
    bounds,
    pulse::{Limit, Pulse},
    wire::cut,
};

/// Bytes before each message of gRPC: a flag and a length.
const PREFIX_BYTES: usize = 5;
/// The longest character of UTF-8, less one byte: what a text needs beyond its bound to be cut between characters.
const CHAR_TAIL_BYTES: usize = 3;

/// A call to make.
pub(super) struct Outgoing<'a> {
    /// The registered address.
    pub(super) address: &'a str,
    /// The method: `/package.Service/Method`.
    pub(super) path: &'a str,
    /// The metadata.
    pub(super) metadata: HeaderMap,
    /// The encoded request.
    pub(super) message: Bytes,
    /// Bytes of the answer's message that are kept.
    pub(super) keep: usize,
    /// The longest time for all of it.
    pub(super) limit: Duration,
    /// The call, until it leaves.
    pub(super) departure: &'a Departure,
}

/// The reason why a call got no answer.
#[derive(Debug)]
pub(super) enum Lost {
    /// The participant certainly did not take the call.
    Unsent(String),
    /// The participant may have taken the call.
    Unknown(String),
}

/// An answer, whatever its status.
pub(super) struct Answer {
    pub(super) code: Code,
    /// The status message, at most as long as a reason.
    text: String,
    /// The metadata before and after the message.
    pub(super) metadata: HeaderMap,
    /// The message; `None` where none came.
    pub(super) message: Option<Message>,
}

/// The message of an answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Message {
    /// Its first bytes, or all.
    pub(super) bytes: Bytes,
    /// The bytes that it has.
    pub(super) length: u64,
}

impl Message {
    /// Returns whether all of the message was kept.
    pub(super) fn is_whole(&self) -> bool {
        self.bytes.len() as u64 == self.length
    }
}

impl Answer {
    /// Returns the status in words.
    pub(super) fn words(&self) -> String {
        cut(&format!("{}: {}", self.code, self.text))
    }

    /// Returns what a status other than OK stands for; `None` for OK.
    pub(super) fn refusal(&self) -> Option<CallAnswer> {
        match self.code {
            Code::Ok => None,
            Code::Aborted => Some(CallAnswer::Rejected(self.text.clone())),
            _ => Some(CallAnswer::Unknown(self.words())),
        }
    }
}

impl From<Withdrawn> for Lost {
    fn from(withdrawn: Withdrawn) -> Self {
        Self::Unsent(withdrawn.to_string())
    }
}

impl From<Lost> for CallAnswer {
    fn from(lost: Lost) -> Self {
        match lost {
            Lost::Unsent(error) => Self::Unsent(cut(&error)),
            Lost::Unknown(error) => Self::Unknown(cut(&error)),
        }
    }
}

impl From<Lost> for CheckBackAnswer {
    fn from(lost: Lost) -> Self {
        match lost {
            Lost::Unsent(error) => Self::Unsent(cut(&error)),
            Lost::Unknown(error) => Self::Unknown(cut(&error)),
        }
    }
}

/// Makes a call; returns the participant's answer.
///
/// A connection that closes before it takes the call is replaced, and the call leaves on the next one. A call that has
/// not left after half of its time, or until it is withdrawn, does not leave any more.
pub(super) async fn exchange(
    connections: &Connections,
    outgoing: Outgoing<'_>,
) -> Result<Answer, Lost> {
    let pulse = connections.pulse();
    let times = Times {
        pulse,
        leave_by: pulse.limit(outgoing.limit / 2),
        until: pulse.limit(outgoing.limit),
    };
    let (request, message) = head(&outgoing).map_err(Lost::Unknown)?;
    let mut error = String::new();
    for _ in 0..bounds::CONNECTIONS_TRIED {
        let connecting = pulse.until(times.leave_by, connections.get(outgoing.address));
        let connection = match outgoing.departure.before(connecting).await? {
            Ok(connection) => connection.map_err(Lost::Unsent)?,
            Err(_) => return Err(Lost::Unsent(no_way(&outgoing, "no connection"))),
        };
        let ended = on_connection(&connection, &request, message.clone(), &outgoing, times).await;
        if connection.is_over() {
            connections.let_go(outgoing.address);
        }
        match ended {
            Err(Lost::Unsent(cause)) if connection.is_over() => error = cause,
            ended => return ended,
        }
    }
    Err(Lost::Unsent(error))
}

fn no_way(outgoing: &Outgoing<'_>, what: &str) -> String {
    let waited = (outgoing.limit / 2).as_millis();
    format!("{}: {what} within {waited} ms", outgoing.address)
}

#[derive(Clone, Copy)]
struct Times<'a> {
    pulse: &'a Pulse,
    leave_by: Limit,
    until: Limit,
}

/// Makes the head of the request, and the framed message.
fn head(outgoing: &Outgoing<'_>) -> Result<(Request<()>, Bytes), String> {
    let uri: Uri = format!(
        "{}{}",
        outgoing.address.trim_end_matches('/'),
        outgoing.path
    )
    .parse()
    .map_err(|error| format!("{}{}: {error}", outgoing.address, outgoing.path))?;
    let mut request = Request::new(());
    *request.method_mut() = Method::POST;
    *request.version_mut() = Version::HTTP_2;
    *request.uri_mut() = uri;
    let headers = request.headers_mut();
    headers.clone_from(&outgoing.metadata);
    headers.insert(header::TE, HeaderValue::from_static("trailers"));
    let grpc = HeaderValue::from_static("application/grpc");
    headers.insert(header::CONTENT_TYPE, grpc);
    let agent = HeaderValue::from_static(concat!("tercet/", env!("CARGO_PKG_VERSION")));
    headers.insert(header::USER_AGENT, agent);
    let length = u32::try_from(outgoing.message.len())
        .map_err(|_| "a message of more than 4 GiB cannot be sent".to_owned())?;
    let mut framed = BytesMut::with_capacity(PREFIX_BYTES + outgoing.message.len());
    framed.put_u8(0);
    framed.put_u32(length);
    framed.put_slice(&outgoing.message);
    Ok((request, framed.freeze()))
}

async fn on_connection(
    connection: &Arc<Connection>,
    request: &Request<()>,
    message: Bytes,
    outgoing: &Outgoing<'_>,
    times: Times<'_>,
) -> Result<Answer, Lost> {
    let mut requests = connection.requests();
    let asked_at = Instant::now();
    let left = async {
        let opened = requests.send_request(request.clone(), false)?;
        // The server may take no further call for now: then this one has not left.
        ready(&mut requests).await?;
        Ok(opened)
    };
    let leaving = times.pulse.until(times.leave_by, left);
    let (response, mut stream) = match outgoing.departure.before(leaving).await? {
        Err(_) => {
            connection.suspect(asked_at);
            return Err(Lost::Unsent(no_way(
                outgoing,
                "no free place on the connection",
            )));
        }
        Ok(Err(error)) => return Err(not_left(connection, &error)),
        Ok(Ok(opened)) => opened,
    };
    let left_at = Instant::now();
    // Refused where the server has already closed the call: then it may have answered.
    let sent = stream.send_data(message, true).is_ok();
    let mut begun = false;
    let answered = answer(connection, response, outgoing.keep, &mut begun);
    match times.pulse.until(times.until, answered).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) if !sent => Err(not_left(connection, &error)),
        Ok(Err(error)) => Err(broken(connection, &error)),
        Err(_) => {
            connection.suspect(left_at);
            if begun {
                // The rest of the answer may come without end, and would be read for nothing.
                connection.retire();
            }
            let waited = outgoing.limit.as_millis();
            Err(Lost::Unknown(format!("no answer came within {waited} ms")))
        }
    }
}

async fn ready(requests: &mut SendRequest<Bytes>) -> Result<(), h2::Error> {
    poll_fn(|cx| requests.poll_ready(cx)).await
}

/// Returns the end of a call of which no message has left.
fn not_left(connection: &Connection, error: &h2::Error) -> Lost {
    connection.retire();
    if error.is_io() || error.is_go_away() || error.is_reset() {
        Lost::Unsent(chain(error))
    } else {
        // A request that cannot be sent at all: it is counted, so that it ends.
        Lost::Unknown(chain(error))
    }
}

/// Returns the end of a call that left and broke off. Only the server itself can say that it did not take the call.
fn broken(connection: &Connection, error: &h2::Error) -> Lost {
    if !error.is_reset() {
        connection.retire();
    }
    // A GOAWAY reaches only the calls after the last one that the server took.
    let refused = error.is_reset() && error.reason() == Some(Reason::REFUSED_STREAM);
    if error.is_remote() && (error.is_go_away() || refused) {
        Lost::Unsent(chain(error))
    } else if error.reason() == Some(Reason::ENHANCE_YOUR_CALM) && !error.is_remote() {
        let most = bounds::INFORMATIONAL_RESPONSES;
        let flood = format!("more than {most} informational responses came, or too many frames");
        Lost::Unknown(format!("{flood}: {}", chain(error)))
    } else {
        Lost::Unknown(chain(error))
    }
}

async fn answer(
    connection: &Connection,
    mut response: ResponseFuture,
    keep: usize,
    begun: &mut bool,
) -> Result<Answer, h2::Error> {
    let mut informational = 0;
    let response = poll_fn(|cx| {
        while let Poll::Ready(Some(come)) = response.poll_informational(cx) {
            come?;
            informational += 1;
            if informational > bounds::INFORMATIONAL_RESPONSES {
                return Poll::Ready(Err(Reason::ENHANCE_YOUR_CALM.into()));
            }
        }
        response.poll_unpin(cx)
    });
    let (head, mut body) = response.await?.into_parts();
    *begun = true;
    connection.heard();
    let mut reader = Reader::new(keep);
    while let Some(chunk) = body.data().await {
        let chunk = chunk?;
        reader.take(&chunk);
        body.flow_control().release_capacity(chunk.len())?;
    }
    let trailers = trailers(&mut body).await?;
    connection.heard();
    Ok(judged(head.status, head.headers, trailers, reader.end()))
}

async fn trailers(body: &mut RecvStream) -> Result<HeaderMap, h2::Error> {
    Ok(body.trailers().await?.unwrap_or_default())
}

/// Puts an answer together. Its status comes with the trailers, or with the headers where there is no message.
fn judged(
    status: StatusCode,
    mut metadata: HeaderMap,
    trailers: HeaderMap,
    message: Result<Option<Message>, &'static str>,
) -> Answer {
    metadata.extend(trailers);
    let (code, text) = match metadata.get(Status::GRPC_STATUS) {
        Some(code) => (Code::from_bytes(code.as_bytes()), reason(&metadata)),
        None => (
            Code::Unknown,
            format!("HTTP {status} without a grpc-status"),
        ),
    };
    match message {
        Err(error) if code == Code::Ok => Answer {
            code: Code::Internal,
            text: error.to_owned(),
            metadata,
            message: None,
        },
        message => Answer {
            code,
            text,
            metadata,
            message: message.unwrap_or_default(),
        },
    }
}

/// Returns the status message, which is percent-encoded, cut between characters.
fn reason(metadata: &HeaderMap) -> String {
    let encoded = metadata
        .get(Status::GRPC_MESSAGE)
        .map_or(&b""[..], HeaderValue::as_bytes);
    let decoded = percent_decode(encoded).take(limits::REASON_BYTES + CHAR_TAIL_BYTES);
    cut_bytes(&decoded.collect::<Vec<_>>())
}

/// Returns at most a reason's bytes of a text, cut between characters.
pub(super) fn cut_bytes(text: &[u8]) -> String {
    let kept = text.len().min(limits::REASON_BYTES + CHAR_TAIL_BYTES);
    cut(&String::from_utf8_lossy(&text[..kept]))
}

/// Takes in the message of an answer.
struct Reader {
    prefix: Vec<u8>,
    kept: BytesMut,
    received: u64,
    keep: usize,
}

impl Reader {
    fn new(keep: usize) -> Self {
        Self {
            prefix: Vec::with_capacity(PREFIX_BYTES),
            kept: BytesMut::new(),
            received: 0,
            keep,
        }
    }

    fn take(&mut self, chunk: &[u8]) {
        let of_prefix = (PREFIX_BYTES - self.prefix.len()).min(chunk.len());
        let (prefix, message) = chunk.split_at(of_prefix);
        self.prefix.extend_from_slice(prefix);
        self.received += message.len() as u64;
        let room = (self.keep - self.kept.len()).min(message.len());
        self.kept.extend_from_slice(&message[..room]);
    }

    fn end(self) -> Result<Option<Message>, &'static str> {
        let Ok([flag, length @ ..]) = <[u8; PREFIX_BYTES]>::try_from(self.prefix.as_slice()) else {
            return if self.prefix.is_empty() {
                Ok(None)
            } else {
                Err("the message broke off")
            };
        };
        let length = u64::from(u32::from_be_bytes(length));
        if self.received < length {
            return Err("the message broke off");
        }
        if self.received > length {
            return Err("more than one message came");
        }
        if flag != 0 {
            return Err("the message is compressed, which was not asked for");
        }
        Ok(Some(Message {
            bytes: self.kept.freeze(),
            length,
        }))
    }
}
