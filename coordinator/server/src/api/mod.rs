//! The services of `tercet.v1`: requests are checked whole, handed on, and answered.

mod attach;
pub(crate) use attach::outcome;
pub(crate) mod convert;
mod coordinator;
#[doc(hidden)]
pub mod doors;
pub mod error;
pub(crate) mod operator;
mod participants;
pub(crate) mod read;
mod session;
mod validate;
mod violations;

use std::sync::Arc;

use tercet_core::{id::TxId, refusal::Refusal};
use tercet_proto::v1;
use tokio_util::sync::CancellationToken;
use uuid::Builder;

use self::{
    error::ApiError,
    read::Reader,
    validate::{At, Beginning, Violations},
};
use crate::{
    clock::Clock,
    directory::{Directory, Known},
    driver::{Driver, Lookup},
};

/// What every service works with. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Api {
    pub(crate) driver: Driver,
    pub(crate) reader: Reader,
    pub(crate) node: Node,
    /// Cancelled when every stream has to end.
    pub(crate) closing: CancellationToken,
    /// One registration at a time.
    pub(crate) registering: Arc<tokio::sync::Mutex<()>>,
}

/// Who this process is, for its participants.
#[derive(Clone)]
pub(crate) struct Node {
    pub(crate) name: Arc<str>,
    pub(crate) epoch: u64,
    pub(crate) address: Arc<str>,
}

impl Api {
    fn directory(&self) -> &Directory {
        &self.reader.directory
    }

    fn begin(
        &self,
        request: v1::BeginRequest,
        beginning: Beginning,
        known: &Known,
    ) -> Result<tercet_core::engine::NewTransaction, ApiError> {
        validate::begin(request, beginning, known, || new_id(&self.reader.clock))
    }

    async fn ask(
        &self,
        request: tercet_core::engine::Request,
    ) -> Result<tonic::Response<v1::TransactionState>, tonic::Status> {
        match self.driver.ask(request).await {
            Ok(reply) => Ok(tonic::Response::new(convert::state(reply))),
            Err(refusal) => Err(refused(refusal)),
        }
    }
}

fn refused(refusal: Refusal) -> tonic::Status {
    ApiError::from(refusal).into()
}

/// An id of its own for a transaction whose caller gave none, by the database's clock.
fn new_id(clock: &Clock) -> TxId {
    let millis = u64::try_from(clock.now().as_micros() / 1_000).unwrap_or(0);
    TxId(Builder::from_unix_timestamp_millis(millis, &rand::random()).into_uuid())
}

/// Which transaction a Get means.
fn lookup(request: v1::GetRequest) -> Result<Lookup, ApiError> {
    let mut v = Violations::default();
    let business = !request.business_type.is_empty() || !request.business_id.is_empty();
    let lookup = if request.tx_id.is_empty() && business {
        v.name(&At::field("business_type"), &request.business_type);
        v.name(&At::field("business_id"), &request.business_id);
        Some(Lookup::Business(request.business_type, request.business_id))
    } else {
        if business {
            v.add(
                "business_type",
                "is not accepted together with tx_id; give one or the other",
            );
        }
        v.tx_id(&At::field("tx_id"), &request.tx_id).map(Lookup::Id)
    };
    v.finish()?;
    lookup.ok_or_else(|| ApiError::Invalid(Vec::new()))
}
