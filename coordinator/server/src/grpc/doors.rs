//! Decoders for foreign bytes, without a server behind them: for property tests and fuzzing.

use prost::Message as _;
use tercet_core::{
    id::{StreamId, TxId},
    model::Name,
};
use tercet_proto::v1::{self, session_request::Request};
use uuid::Uuid;

use super::{attach, translate};
use crate::{
    directory::{Directory, Known, Participant},
    error::RequestError,
};

/// The only participant that is known here.
pub const KNOWN: &str = "points";

fn known() -> std::sync::Arc<Known> {
    let directory = Directory::default();
    directory.put(Participant::attaching(KNOWN.into()));
    directory.snapshot()
}

/// Reads a message of a session. Each request is accepted, or refused with every violation; `None` where the bytes
/// are no message.
pub fn session(bytes: &[u8]) -> Option<Vec<Result<(), RequestError>>> {
    let message = v1::SessionRequests::decode(bytes).ok()?;
    let known = known();
    let requests = message.requests.into_iter().filter_map(|it| it.request);
    Some(requests.map(|it| request(it, &known)).collect())
}

fn request(request: Request, known: &Known) -> Result<(), RequestError> {
    let new_id = || TxId(Uuid::now_v7());
    match request {
        Request::Begin(begin) => translate::begin(begin, known, new_id).map(drop),
        Request::Execute(execute) => translate::execute(execute, known, new_id).map(drop),
        Request::AddAction(add) => translate::add_action(add, known).map(drop),
        Request::Decide(decide) => translate::decide(decide, known).map(drop),
        Request::Get(get) => translate::lookup(get).map(drop),
        Request::Forget(_) => Ok(()),
    }
}

/// Reads a registration; `None` where the bytes are no message.
pub fn register(bytes: &[u8]) -> Option<Result<(), RequestError>> {
    let message = v1::RegisterRequest::decode(bytes).ok()?;
    Some(translate::registration(message).map(drop))
}

/// Reads results of a participant; returns how many of them reach the engine.
pub fn results(bytes: &[u8]) -> Option<usize> {
    let message = v1::Results::decode(bytes).ok()?;
    Some(attach::inputs(StreamId(1), &Name::from(KNOWN), message).len())
}
