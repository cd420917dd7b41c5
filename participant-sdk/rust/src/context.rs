//! What an action is told about the call that it serves.

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

/// The longest name, in bytes.
pub const MAX_NAME_BYTES: usize = 128;

/// One call, as the coordinator made it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CallContext {
    /// The transaction.
    pub tx_id: Uuid,
    /// The action's name, unique within the transaction.
    pub action: String,
    /// The handler that is called.
    pub handler: String,
    /// What to do.
    pub operation: Operation,
    /// The action's mode.
    pub mode: Mode,
    /// The participant, as the initiator named it.
    pub participant: String,
    /// What kind of business the transaction is.
    pub business_type: String,
    /// Which one: an order number, say.
    pub business_id: String,
    /// The action's payload.
    pub payload: Bytes,
    /// In a Try that asked for them: the results of the actions it comes after, by name. In a Confirm
    /// or Cancel: what the coordinator knows of its own Try's result; see [`Call::tried`].
    pub results: BTreeMap<String, Bytes>,
    /// The transaction's properties, overlaid with the action's.
    pub ext: BTreeMap<String, String>,
    /// In a Try: what was left of phase one when the call arrived; otherwise how long the coordinator
    /// waits for the answer. `None`: it did not say.
    pub time_left: Option<Duration>,
    /// Which call of this operation this is, from 1.
    pub attempt: u32,
    /// When the call arrived, by this process's monotonic clock.
    pub received: Instant,
}

impl CallContext {
    /// Reads a call, or says which of its fields makes no sense.
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

    /// When what [`time_left`](Self::time_left) says is over.
    pub fn deadline(&self) -> Option<Instant> {
        self.time_left
            .and_then(|left| self.received.checked_add(left))
    }

    /// Reads the result of an action that this one comes after; `None` if there is none.
    pub fn result_of<T: Payload>(&self, action: &str) -> Result<Option<T>, PayloadError> {
        self.results.get(action).map(T::decode).transpose()
    }
}

/// One call with its request, read from the payload. It gives every field of [`CallContext`] too.
#[derive(Clone, Debug)]
pub struct Call<T> {
    /// What is asked for; the same in Try, Confirm and Cancel.
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

    /// In a Confirm or Cancel: what this action's own Try returned, as its barrier row says. `None`
    /// where no Try is known to have ended.
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

/// What is wrong with a name; `None`: nothing.
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

/// When a transaction's id was made, by what the id says: milliseconds since 1970.
pub(crate) fn begun_ms(tx_id: Uuid) -> u64 {
    let (seconds, nanos) = tx_id.get_timestamp().map_or((0, 0), |time| time.to_unix());
    seconds
        .saturating_mul(1_000)
        .saturating_add(u64::from(nanos) / 1_000_000)
}

pub(crate) fn time_left(ms: i64) -> Option<Duration> {
    // A negative one is over already; 0 is not given.
    (ms != 0).then(|| Duration::from_millis(u64::try_from(ms).unwrap_or(0)))
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
