//! The ways in for bytes of strangers, without a server behind them: for property tests and fuzzing.

use prost::Message as _;
use tercet_core::{
    id::{StreamId, TxId},
    model::Name,
};
use tercet_proto::v1::{self, session_request::Request};
use uuid::Uuid;

use super::{
    attach, coordinator,
    error::ApiError,
    participants,
    validate::{self, Beginning},
};
use crate::directory::{Directory, Known, Participant};

/// The only participant that is known behind these doors.
pub const KNOWN: &str = "points";

fn known() -> std::sync::Arc<Known> {
    Directory::new([Participant::attaching(KNOWN.into())]).snapshot()
}

/// Reads a message of a session. Each request is taken, or refused with everything that is wrong; none
/// where the bytes are no message.
pub fn session(bytes: &[u8]) -> Option<Vec<Result<(), ApiError>>> {
    let message = v1::SessionRequests::decode(bytes).ok()?;
    let known = known();
    let requests = message.requests.into_iter().filter_map(|it| it.request);
    Some(requests.map(|it| request(it, &known)).collect())
}

fn request(request: Request, known: &Known) -> Result<(), ApiError> {
    let new_id = || TxId(Uuid::now_v7());
    match request {
        Request::Begin(begin) => validate::begin(begin, Beginning::Begin, known, new_id).map(drop),
        Request::Execute(execute) => {
            let begin = execute.begin.unwrap_or_default();
            validate::begin(begin, Beginning::Execute, known, new_id).map(drop)
        }
        Request::AddAction(add) => coordinator::add_action(add, known).map(drop),
        Request::Decide(decide) => coordinator::decide(decide).map(drop),
        Request::Get(get) => super::lookup(get).map(drop),
        Request::Forget(_) => Ok(()),
    }
}

/// Reads a registration.
pub fn register(bytes: &[u8]) -> Option<Result<(), ApiError>> {
    let message = v1::RegisterRequest::decode(bytes).ok()?;
    Some(participants::registered(message).map(drop))
}

/// Reads results of a participant; how many of them reach the engine.
pub fn results(bytes: &[u8]) -> Option<usize> {
    let message = v1::Results::decode(bytes).ok()?;
    Some(attach::inputs(StreamId(1), &Name::from(KNOWN), message).len())
}
