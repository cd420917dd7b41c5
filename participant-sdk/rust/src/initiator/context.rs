//! The context of a transaction in gRPC metadata: makes an initiator's call of a participant's own
//! method the Try of an action.

use std::{
    collections::BTreeMap,
    fmt,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};
use percent_encoding::{AsciiSet, CONTROLS, percent_decode, utf8_percent_encode};
use prost::Message;
use tercet_barrier::{Mode, Operation};
use tercet_proto::v1;
use tonic::{
    Status,
    metadata::{BinaryMetadataValue, MetadataMap, errors::InvalidMetadataValueBytes},
};
use tower::{Layer, Service};
use uuid::Uuid;

use crate::{Participant, context::time_left};

/// The names of the metadata entries; HTTP headers are the same. Names and business ids are
/// percent-encoded where they are not visible ASCII, `%` included.
pub mod key {
    /// The transaction, a hyphenated UUID.
    pub const TX_ID: &str = "tercet-tx-id";
    /// The action's name.
    pub const ACTION: &str = "tercet-action";
    /// TRY, CONFIRM or CANCEL.
    pub const OPERATION: &str = "tercet-operation";
    /// TCC, COMPENSATE or DELIVER.
    pub const MODE: &str = "tercet-mode";
    /// The transaction's business type.
    pub const BUSINESS_TYPE: &str = "tercet-business-type";
    /// The transaction's business id.
    pub const BUSINESS_ID: &str = "tercet-business-id";
    /// The time left of phase one, in milliseconds; 0: it is over.
    pub const TIME_LEFT_MS: &str = "tercet-time-left-ms";
    /// The number of this call among those of the operation, from 1.
    pub const ATTEMPT: &str = "tercet-attempt";
    /// The parts of the context that have no entry of their own, such as the properties: an encoded
    /// `tercet.v1.Call`. A field that it does have counts instead of the entry.
    pub const CONTEXT: &str = "tercet-context-bin";
}

/// The operation, the action and the transaction that a call belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TransactionContext {
    /// The transaction.
    pub tx_id: Uuid,
    /// The action's name: with `tx_id` the key of the barrier.
    pub action: String,
    /// The operation; an initiator's own call is a Try.
    pub operation: Operation,
    /// The action's mode.
    pub mode: Mode,
    /// The transaction's business type.
    pub business_type: String,
    /// The transaction's business id.
    pub business_id: String,
    /// The time left of phase one: zero once it is over, `None` where it has no limit.
    pub time_left: Option<Duration>,
    /// The number of this call among those of the operation, from 1.
    pub attempt: u32,
    /// The transaction's properties.
    pub properties: BTreeMap<String, String>,
}

impl TransactionContext {
    /// Makes a request in this context, for a client with [`ContextLayer::client`].
    pub fn request<M>(self, message: M) -> tonic::Request<M> {
        let mut request = tonic::Request::new(message);
        request.extensions_mut().insert(self);
        request
    }

    /// Returns the context of a request, in a service behind [`ContextLayer::server`]. A request
    /// without one is refused with `INVALID_ARGUMENT`: outside of a transaction it must have no
    /// effect.
    ///
    /// # Errors
    /// The status to return to the caller.
    #[allow(
        clippy::result_large_err,
        reason = "a tonic method returns it unchanged"
    )]
    pub fn of<M>(request: &tonic::Request<M>) -> Result<&Self, Status> {
        request.extensions().get::<Self>().ok_or_else(|| {
            Status::invalid_argument(
                "this method is the Try of a transaction and was called without one: the metadata \
                 tercet-tx-id and tercet-action are missing, or the service has no ContextLayer",
            )
        })
    }

    /// Carries out a participant's own gRPC method behind its barrier: calls the handler in this
    /// context, with the request as its payload. Serves an initiator's Try and, if the method is
    /// registered for generic invocation, the coordinator's Confirm and Cancel.
    ///
    /// ```
    /// # use tercet_sdk::{Participant, initiator::TransactionContext};
    /// # struct Points { participant: Participant }
    /// # impl Points {
    /// async fn freeze(&self, request: tonic::Request<String>) -> Result<tonic::Response<()>, tonic::Status> {
    ///     let context = TransactionContext::of(&request)?;
    ///     let reply = context.serve(&self.participant, "freeze", request.get_ref()).await?;
    ///     Ok(tonic::Response::new(reply))
    /// }
    /// # }
    /// ```
    ///
    /// # Errors
    /// The status to return to the caller: `ABORTED` with the reason of a rejection; `UNAVAILABLE`
    /// with the error where the outcome is unknown.
    pub async fn serve<Q: prost::Message, R: prost::Message + Default>(
        &self,
        participant: &Participant,
        handler: &str,
        request: &Q,
    ) -> Result<R, Status> {
        let result = participant
            .call(v1::Call {
                participant: participant.name().to_owned(),
                handler: handler.to_owned(),
                payload: request.encode_to_vec().into(),
                ..self.to_call()
            })
            .await;
        match result.outcome {
            Some(v1::result::Outcome::Done(done)) => R::decode(done.result)
                .map_err(|error| Status::internal(format!("result of {handler:?}: {error}"))),
            Some(v1::result::Outcome::Rejected(rejected)) => Err(Status::aborted(rejected.reason)),
            Some(v1::result::Outcome::Unknown(unknown)) => Err(Status::unavailable(unknown.error)),
            None => Err(Status::unavailable("no outcome")),
        }
    }

    /// Writes the context into headers: each part separately, and the properties as [`key::CONTEXT`].
    fn write(&self, headers: &mut HeaderMap) {
        let plain = [
            (key::TX_ID, self.tx_id.to_string()),
            (key::ACTION, encoded(&self.action)),
            (key::OPERATION, self.operation.as_str().to_owned()),
            (key::MODE, mode_word(self.mode).to_owned()),
            (key::BUSINESS_TYPE, encoded(&self.business_type)),
            (key::BUSINESS_ID, encoded(&self.business_id)),
            (key::ATTEMPT, self.attempt.to_string()),
        ];
        let time_left = self
            .time_left
            .map(|left| (key::TIME_LEFT_MS, left.as_millis().to_string()));
        for (name, text) in plain.into_iter().chain(time_left) {
            if let Ok(value) = HeaderValue::from_str(&text) {
                headers.insert(name, value);
            }
        }
        let mut metadata = MetadataMap::from_headers(std::mem::take(headers));
        let rest = v1::Call {
            ext_properties: self.properties.clone(),
            ..v1::Call::default()
        };
        let rest = BinaryMetadataValue::from_bytes(&rest.encode_to_vec());
        metadata.insert_bin(key::CONTEXT, rest);
        *headers = metadata.into_headers();
    }

    /// Reads the context from headers; returns `None` outside of a transaction. An unreadable context
    /// is an error, because the call does belong to a transaction.
    fn read(headers: &HeaderMap) -> Result<Option<Self>, String> {
        let mut call = match headers.get(key::CONTEXT) {
            Some(value) => {
                let problem = |error: &dyn fmt::Display| format!("{}: {error}", key::CONTEXT);
                let bytes = decode_bin(value).map_err(|error| problem(&error))?;
                v1::Call::decode(bytes).map_err(|error| problem(&error))?
            }
            None if headers.contains_key(key::TX_ID) => v1::Call::default(),
            None => return Ok(None),
        };
        complete(&mut call, headers)?;
        Self::from_call(call).map(Some)
    }

    fn to_call(&self) -> v1::Call {
        v1::Call {
            tx_id: self.tx_id.to_string(),
            action: self.action.clone(),
            operation: match self.operation {
                Operation::Try => v1::Operation::Try,
                Operation::Confirm => v1::Operation::Confirm,
                Operation::Cancel => v1::Operation::Cancel,
            }
            .into(),
            mode: match self.mode {
                Mode::Tcc => v1::Mode::Tcc,
                Mode::Compensate => v1::Mode::Compensate,
                Mode::Deliver => v1::Mode::Deliver,
            }
            .into(),
            business_type: self.business_type.clone(),
            business_id: self.business_id.clone(),
            ext_properties: self.properties.clone(),
            time_left_ms: self.time_left.map(super::action::millis),
            attempt: self.attempt,
            ..v1::Call::default()
        }
    }

    fn from_call(call: v1::Call) -> Result<Self, String> {
        let (operation, mode) = (call.operation(), call.mode());
        if call.action.is_empty() {
            return Err(format!("{} is missing", key::ACTION));
        }
        Ok(Self {
            tx_id: Uuid::try_parse(&call.tx_id).map_err(|e| format!("{}: {e}", key::TX_ID))?,
            action: call.action,
            operation: match operation {
                v1::Operation::Confirm => Operation::Confirm,
                v1::Operation::Cancel => Operation::Cancel,
                v1::Operation::Try => Operation::Try,
                v1::Operation::Unspecified => return Err(format!("{} is missing", key::OPERATION)),
            },
            mode: match mode {
                v1::Mode::Tcc => Mode::Tcc,
                v1::Mode::Compensate => Mode::Compensate,
                v1::Mode::Deliver => Mode::Deliver,
                v1::Mode::Unspecified => return Err(format!("{} is missing", key::MODE)),
            },
            business_type: call.business_type,
            business_id: call.business_id,
            time_left: time_left(call.time_left_ms),
            attempt: call.attempt,
            properties: call.ext_properties,
        })
    }
}

/// Reads the fields that a call does not have from their own entries.
fn complete(call: &mut v1::Call, headers: &HeaderMap) -> Result<(), String> {
    let text = |name: &str| {
        let value = headers.get(name).map_or(&b""[..], HeaderValue::as_bytes);
        let decoded = percent_decode(value).decode_utf8();
        decoded.map_or_else(
            |e| Err(format!("{name}: {e}")),
            |text| Ok(text.into_owned()),
        )
    };
    let number = |name: &str| match text(name)?.as_str() {
        "" => Ok(None),
        digits => digits
            .parse::<i64>()
            .map(Some)
            .map_err(|e| format!("{name} is {digits:?}: {e}")),
    };
    for (field, name) in [
        (&mut call.tx_id, key::TX_ID),
        (&mut call.action, key::ACTION),
        (&mut call.business_type, key::BUSINESS_TYPE),
        (&mut call.business_id, key::BUSINESS_ID),
    ] {
        if field.is_empty() {
            *field = text(name)?;
        }
    }
    if call.operation == 0 {
        call.operation = parse_operation(&text(key::OPERATION)?)?.into();
    }
    if call.mode == 0 {
        call.mode = parse_mode(&text(key::MODE)?)?.into();
    }
    if call.time_left_ms.is_none() {
        call.time_left_ms = number(key::TIME_LEFT_MS)?;
    }
    if call.attempt == 0 {
        let attempt = number(key::ATTEMPT)?;
        call.attempt = attempt.map_or(0, |number| u32::try_from(number).unwrap_or(1));
    }
    Ok(())
}

/// Decodes a `-bin` value by gRPC's rules.
fn decode_bin(value: &HeaderValue) -> Result<Bytes, InvalidMetadataValueBytes> {
    let entry = (http::HeaderName::from_static(key::CONTEXT), value.clone());
    let metadata = MetadataMap::from_headers(HeaderMap::from_iter([entry]));
    let value = metadata
        .get_bin(key::CONTEXT)
        .map(BinaryMetadataValue::to_bytes);
    value.unwrap_or(Ok(Bytes::new()))
}

const ENCODED: &AsciiSet = &CONTROLS.add(b' ').add(b'%');

fn encoded(value: &str) -> String {
    utf8_percent_encode(value, ENCODED).to_string()
}

fn mode_word(mode: Mode) -> &'static str {
    match mode {
        Mode::Tcc => "TCC",
        Mode::Compensate => "COMPENSATE",
        Mode::Deliver => "DELIVER",
    }
}

fn parse_operation(word: &str) -> Result<v1::Operation, String> {
    let name = format!("OPERATION_{word}");
    v1::Operation::from_str_name(&name)
        .ok_or_else(|| format!("{} is {word:?}, not TRY, CONFIRM or CANCEL", key::OPERATION))
}

fn parse_mode(word: &str) -> Result<v1::Mode, String> {
    let name = format!("MODE_{word}");
    v1::Mode::from_str_name(&name)
        .ok_or_else(|| format!("{} is {word:?}, not TCC, COMPENSATE or DELIVER", key::MODE))
}

/// A tower layer that carries the [`TransactionContext`] between gRPC metadata and the extensions of
/// requests.
///
/// On the initiator's side it wraps the channel of any tonic client, and writes the context of a
/// request made by [`LiveTransaction::request`](super::LiveTransaction::request) into its metadata:
///
/// ```no_run
/// use tercet_sdk::initiator::ContextLayer;
/// use tower::Layer;
///
/// # fn wrap(channel: tonic::transport::Channel) {
/// let channel = ContextLayer::client().layer(channel);
/// // let mut points = PointsClient::new(channel);
/// # drop(channel);
/// # }
/// ```
///
/// On the participant's side it wraps the server, and the method finds the context with
/// [`TransactionContext::of`]:
///
/// ```
/// use tercet_sdk::initiator::ContextLayer;
///
/// let server = tonic::transport::Server::builder().layer(ContextLayer::server());
/// # drop(server);
/// ```
#[derive(Debug, Clone, Copy)]
pub struct ContextLayer {
    side: Side,
}

#[derive(Debug, Clone, Copy)]
enum Side {
    Client,
    Server,
}

impl ContextLayer {
    /// Writes contexts into metadata.
    pub fn client() -> Self {
        Self { side: Side::Client }
    }

    /// Reads contexts from metadata. A request with an unreadable one is refused with
    /// `INVALID_ARGUMENT`, and the service is not called.
    pub fn server() -> Self {
        Self { side: Side::Server }
    }
}

impl<S> Layer<S> for ContextLayer {
    type Service = ContextService<S>;

    fn layer(&self, inner: S) -> ContextService<S> {
        ContextService {
            inner,
            side: self.side,
        }
    }
}

/// The service that [`ContextLayer`] makes.
#[derive(Debug, Clone)]
pub struct ContextService<S> {
    inner: S,
    side: Side,
}

impl<S, B, R> Service<Request<B>> for ContextService<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    R: Default,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = futures::future::Either<
        S::Future,
        futures::future::Ready<Result<Self::Response, Self::Error>>,
    >;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        use futures::future::{Either, ready};
        match self.side {
            Side::Client => {
                if let Some(context) = request.extensions_mut().remove::<TransactionContext>() {
                    context.write(request.headers_mut());
                }
            }
            Side::Server => match TransactionContext::read(request.headers()) {
                Ok(Some(context)) => {
                    request.extensions_mut().insert(context);
                }
                Ok(None) => {}
                Err(problem) => {
                    let status =
                        Status::invalid_argument(format!("transaction context: {problem}"));
                    return Either::Right(ready(Ok(status.into_http())));
                }
            },
        }
        Either::Left(self.inner.call(request))
    }
}
