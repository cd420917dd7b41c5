//! The layer that every request passes, whatever its service: the caller's own deadline, a reason code for every
//! refusal, and the count of the bytes that have come and of those that the caller has not read yet.

use std::{
    convert::Infallible,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use futures::FutureExt as _;
use http::{HeaderMap, Request, Response};
use http_body_util::BodyExt as _;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::time::timeout;
use tonic::{Code, Status, service::Routes};
use tower::Service as _;

use crate::{
    backlog::{Held, Inbound, OpenRequest, Peer},
    error::RequestError,
    grpc::{elements::Elements, question::Question},
    wire,
};

/// The front of one connection. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Front {
    routes: Routes,
    peer: Peer,
}

impl Front {
    /// Makes the front of a connection.
    pub(crate) fn new(routes: Routes, peer: Peer) -> Self {
        Self { routes, peer }
    }

    /// Answers a request, within its caller's deadline.
    pub(crate) async fn answer(
        mut self,
        mut request: Request<Incoming>,
    ) -> Result<Response<Answer>, Infallible> {
        let open = self.peer.open_request();
        let deadline = deadline(request.headers());
        let inbound = Inbound::new(self.peer.clone());
        let elements = Elements::of_method(request.uri().path());
        request.extensions_mut().insert(self.peer.clone());
        request.extensions_mut().insert(inbound.clone());
        let request = request.map(|body| Question::new(body, inbound, elements));
        let answer = AssertUnwindSafe(self.routes.call(request)).catch_unwind();
        let answer = match deadline {
            Some(deadline) => timeout(deadline, answer).await,
            None => Ok(answer.await),
        };
        let response = match answer {
            Ok(Ok(Ok(response))) => response,
            Ok(Ok(Err(never))) => match never {},
            // The panic is in the log.
            Ok(Err(_)) => Status::from(RequestError::Internal).into_http(),
            Err(_) => Status::from(RequestError::CallerDeadline).into_http(),
        };
        let (mut head, body) = response.into_parts();
        give_a_reason(&mut head.headers);
        let answer = Answer::new(body, self.peer, open);
        Ok(Response::from_parts(head, answer))
    }
}

/// The body of an answer: its bytes are counted as unread until they are written to the socket.
pub(crate) struct Answer {
    body: tonic::body::Body,
    peer: Peer,
    /// What was made before the connection asked for it.
    first: Option<Polled>,
    over: bool,
    _open: OpenRequest,
}

/// A part of the body of an answer; `None`: its end.
type Polled = Option<Result<Frame<Bytes>, Status>>;

impl Answer {
    /// Makes the body, and what is ready of it already: a connection asks for that only once its peer takes something,
    /// and until then it would count nowhere.
    fn new(body: tonic::body::Body, peer: Peer, open: OpenRequest) -> Self {
        let mut answer = Self {
            body,
            peer,
            first: None,
            over: false,
            _open: open,
        };
        if !answer.body.is_end_stream() {
            answer.first = answer.frame().now_or_never();
        }
        answer
    }
}

/// Bytes that are counted while they exist.
struct Counted {
    bytes: Bytes,
    _held: Held,
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(first);
        }
        if self.over {
            return Poll::Ready(None);
        }
        let body = Pin::new(&mut self.body);
        let polled = catch_unwind(AssertUnwindSafe(|| body.poll_frame(cx)));
        // The panic is in the log.
        let Ok(polled) = polled else {
            self.over = true;
            let mut trailers = HeaderMap::new();
            let status = Status::from(RequestError::Internal);
            let added = status.add_header(&mut trailers);
            return Poll::Ready(Some(added.map(|()| Frame::trailers(trailers))));
        };
        let frame = match ready!(polled) {
            Some(Ok(frame)) => frame,
            Some(Err(status)) => return Poll::Ready(Some(Err(status))),
            None => return Poll::Ready(None),
        };
        let frame = match frame.into_data() {
            Ok(bytes) => {
                let held = self.peer.hold(bytes.len());
                Frame::data(Bytes::from_owner(Counted { bytes, _held: held }))
            }
            Err(frame) => match frame.into_trailers() {
                Ok(mut trailers) => {
                    give_a_reason(&mut trailers);
                    Frame::trailers(trailers)
                }
                Err(frame) => frame,
            },
        };
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.first.is_none() && (self.over || self.body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        // What was made first is no part of the body's any more.
        SizeHint::default()
    }
}

/// Gives a status that is not OK a reason code, if it has none: it comes from the layers below the services then.
fn give_a_reason(headers: &mut HeaderMap) {
    let has_one = headers.contains_key(Status::GRPC_STATUS_DETAILS);
    let refused = headers
        .get(Status::GRPC_STATUS)
        .is_some_and(|code| code.as_bytes() != b"0");
    if has_one || !refused {
        return;
    }
    let Some(status) = Status::from_header_map(headers) else {
        return;
    };
    if status.code() != Code::Ok {
        headers.remove(Status::GRPC_MESSAGE);
        // The words of an error are cut and encoded so that they fit.
        let _ = wire::with_reason(&status).add_header(headers);
    }
}

/// Reads the time that the caller waits: `grpc-timeout`, up to eight digits and a unit. One that cannot be read is
/// none.
fn deadline(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.len() > 8 || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let number: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(number * 3_600)),
        "M" => Some(Duration::from_secs(number * 60)),
        "S" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_millis(number)),
        "u" => Some(Duration::from_micros(number)),
        "n" => Some(Duration::from_nanos(number)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::time::Duration;

    use http::{HeaderMap, HeaderValue};

    use super::{Answer, deadline};
    use crate::backlog::Peer;

    /// A peer that takes nothing is never asked for a body; what is made for it counts all the same.
    #[test]
    fn an_answer_counts_before_its_connection_asks_for_it() {
        let peer = Peer::nowhere();
        let body = http_body_util::Full::new(bytes::Bytes::from(vec![7; 1_000]));
        let answer = Answer::new(
            tonic::body::Body::new(body),
            peer.clone(),
            peer.open_request(),
        );
        assert_eq!(peer.bytes(), 1_000);
        drop(answer);
        assert_eq!(peer.bytes(), 0);
    }

    #[test]
    fn deadlines_in_every_unit_and_none_that_cannot_be_read() {
        let read = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("grpc-timeout", HeaderValue::from_str(text).unwrap());
            deadline(&headers)
        };
        for (text, micros) in [
            ("2H", 7_200_000_000),
            ("3M", 180_000_000),
            ("4S", 4_000_000),
            ("5m", 5_000),
            ("6u", 6),
            ("7000n", 7),
            ("99999999H", 99_999_999 * 3_600_000_000),
            ("0m", 0),
        ] {
            assert_eq!(read(text), Some(Duration::from_micros(micros)), "{text}");
        }
        for text in [
            "",
            "S",
            "5",
            "-1S",
            "+1S",
            "1 S",
            "123456789S",
            "5h",
            "1.5S",
            "5é",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
        assert_eq!(deadline(&HeaderMap::new()), None);
    }
}
