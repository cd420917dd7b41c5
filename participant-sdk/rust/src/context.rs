//! The call that an action serves.

use std::{
    collections::BTreeMap,
    ops::Deref,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use tercet_barrier::{Mode, Operation};
use tercet_proto::v1;
use uuid::Uuid;

use crate::{error::PayloadError, payload::Payload};

/// The length of the longest name, in bytes.
pub const MAX_NAME_BYTES: usize = 128;

/// A call, as the coordinator made it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CallContext {
    /// The transaction.
    pub tx_id: Uuid,
    /// The action's name, unique within the transaction.
    pub action: String,
    /// The handler that is called.
    pub handler: String,
    /// The operation to carry out.
    pub operation: Operation,
    /// The action's mode.
    pub mode: Mode,
    /// The participant, as the initiator named it.
    pub participant: String,
    /// The kind of business that the transaction is.
    pub business_type: String,
    /// The key of that business, such as an order number.
    pub business_id: String,
    /// The action's payload.
    pub payload: Bytes,
    /// In a Try that asked for them: the results of the actions that it comes after, by name. In a
    /// Confirm or Cancel: the result of its own Try, if the coordinator has it; see [`Call::tried`].
    pub results: BTreeMap<String, Bytes>,
    /// The transaction's properties, overlaid with the action's.
    pub ext: BTreeMap<String, String>,
    /// In a Try: the time left of phase one when the call arrived, zero once it is over; otherwise the
    /// time for which the coordinator waits for the answer. `None` if the call has no such limit.
    pub time_left: Option<Duration>,
    /// The number of this call among those of the operation, from 1.
    pub attempt: u32,
    /// The time of arrival, by this process's monotonic clock.
    pub received: Instant,
}

impl CallContext {
    /// Reads a call; the error names the field that makes no sense.
    pub(crate) fn read(call: v1::Call) -> Result<Self, String> {
        let operation = read_operation(call.operation())?;
        let mode = read_mode(call.mode())?;
        let tx_id = read_tx_id(&call.tx_id)?;
        if let Some(problem) = name_problem(&call.action) {
            return Err(format!("action: {problem}"));
        }
        Ok(Self {
            tx_id,
            operation,
            mode,
            results: call
                .results
                .into_iter()
                .map(|state| (state.name, state.result))
                .collect(),
            time_left: time_left(call.time_left_ms),
            action: call.action,
            handler: call.handler,
            participant: call.participant,
            business_type: call.business_type,
            business_id: call.business_id,
            payload: call.payload,
            ext: call.ext_properties,
            attempt: call.attempt,
            received: Instant::now(),
        })
    }

    /// Returns the end of the [time that is left](Self::time_left).
    pub fn deadline(&self) -> Option<Instant> {
        self.time_left
            .and_then(|left| self.received.checked_add(left))
    }

    /// Reads the result of an action that this one comes after; returns `None` if there is none.
    pub fn result_of<T: Payload>(&self, action: &str) -> Result<Option<T>, PayloadError> {
        self.results.get(action).map(T::decode).transpose()
    }
}

/// A call with its request, read from the payload. Dereferences to its [`CallContext`].
#[derive(Clone, Debug)]
pub struct Call<T> {
    /// The request; the same in Try, Confirm and Cancel.
    pub request: T,
    context: Arc<CallContext>,
    tried: Option<Bytes>,
}

impl<T> Call<T> {
    pub(crate) fn new(request: T, context: Arc<CallContext>, tried: Option<Bytes>) -> Self {
        Self {
            request,
            context,
            tried,
        }
    }

    /// Returns, in a Confirm or Cancel, the result of this action's own Try, from its barrier row.
    /// `None` if the row records no Try that ended.
    pub fn tried<R: Payload>(&self) -> Result<Option<R>, PayloadError> {
        self.tried.as_ref().map(R::decode).transpose()
    }
}

impl<T> Deref for Call<T> {
    type Target = CallContext;

    fn deref(&self) -> &CallContext {
        &self.context
    }
}

/// Returns the problem with a name, if it has one.
pub(crate) fn name_problem(name: &str) -> Option<String> {
    if name.is_empty() {
        Some(format!(
            "is empty; 1 to {MAX_NAME_BYTES} bytes are accepted"
        ))
    } else if name.len() > MAX_NAME_BYTES {
        Some(format!(
            "has {} bytes; 1 to {MAX_NAME_BYTES} are accepted",
            name.len()
        ))
    } else if name.contains('\0') {
        Some("contains NUL, which no name may".to_owned())
    } else {
        None
    }
}

/// Reads a transaction's id: a `UUIDv7`, whose time the barrier's retention rests on.
pub(crate) fn read_tx_id(text: &str) -> Result<Uuid, String> {
    let id = Uuid::try_parse(text).map_err(|error| format!("tx_id {text:?}: {error}"))?;
    if id.get_version_num() == 7 {
        Ok(id)
    } else {
        Err(format!("tx_id {text:?} is not a UUIDv7"))
    }
}

/// Returns the time that is encoded in a transaction's id, in milliseconds since 1970.
pub(crate) fn begun_ms(tx_id: Uuid) -> u64 {
    let (seconds, nanos) = tx_id.get_timestamp().map_or((0, 0), |time| time.to_unix());
    seconds
        .saturating_mul(1_000)
        .saturating_add(u64::from(nanos) / 1_000_000)
}

/// Reads the time that is left; `None` where the call gives none. A negative time is over, as 0 is.
pub(crate) fn time_left(ms: Option<i64>) -> Option<Duration> {
    ms.map(|ms| Duration::from_millis(u64::try_from(ms).unwrap_or(0)))
}

fn read_operation(operation: v1::Operation) -> Result<Operation, String> {
    match operation {
        v1::Operation::Try => Ok(Operation::Try),
        v1::Operation::Confirm => Ok(Operation::Confirm),
        v1::Operation::Cancel => Ok(Operation::Cancel),
        v1::Operation::Unspecified => Err("operation: not one that is known".to_owned()),
    }
}

fn read_mode(mode: v1::Mode) -> Result<Mode, String> {
    match mode {
        v1::Mode::Tcc => Ok(Mode::Tcc),
        v1::Mode::Compensate => Ok(Mode::Compensate),
        v1::Mode::Deliver => Ok(Mode::Deliver),
        v1::Mode::Unspecified => Err("mode: not one that is known".to_owned()),
    }
}
