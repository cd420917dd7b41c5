//! `Operator`: for people on call.

use std::sync::Arc;

use tercet_core::{
    engine::Request as Ask,
    limits as model,
    model::{ActionStatus, Name},
};
use tercet_proto::v1::{self, operator_server::Operator};
use tonic::{Request, Response, Status};

use super::{
    Api,
    error::ApiError,
    validate::{self, At, Violations},
};

type Answer<T> = Result<Response<T>, Status>;

fn retry(request: v1::RetryRequest) -> Result<Ask, ApiError> {
    let mut v = Violations::default();
    let id = v.tx_id(&At::field("tx_id"), &request.tx_id);
    v.reason(&request.reason);
    v.finish()?;
    id.map(|id| Ask::Retry(id, request.reason))
        .ok_or_else(|| ApiError::Invalid(Vec::new()))
}

fn resolve(request: v1::ResolveRequest) -> Result<Ask, ApiError> {
    let mut v = Violations::default();
    let id = v.tx_id(&At::field("tx_id"), &request.tx_id);
    v.reason(&request.reason);
    let root = At::field("");
    if request.actions.is_empty() {
        v.add("actions", "is empty; name the actions to resolve");
    } else if request.actions.len() > model::ACTIONS {
        v.add(
            "actions",
            format!(
                "has {} names; at most {} are accepted",
                request.actions.len(),
                model::ACTIONS
            ),
        );
    } else {
        for (i, name) in request.actions.iter().enumerate() {
            let field = root.index("actions", i);
            if request.actions[..i].contains(name) {
                v.add(&field, format!("names {name} again; name each action once"));
            } else {
                v.name(&field, name);
            }
        }
    }
    let end = match v1::ActionStatus::try_from(request.r#as) {
        Ok(v1::ActionStatus::Confirmed) => Some(ActionStatus::Confirmed),
        Ok(v1::ActionStatus::Cancelled) => Some(ActionStatus::Cancelled),
        _ => {
            v.add("as", "is neither CONFIRMED nor CANCELLED; give one of them");
            None
        }
    };
    v.finish()?;
    let names = request.actions.into_iter().map(Name::from).collect();
    id.zip(end)
        .map(|(id, end)| Ask::Resolve(id, names, end, request.reason))
        .ok_or_else(|| ApiError::Invalid(Vec::new()))
}

fn decide(request: v1::OperatorDecideRequest) -> Result<Ask, ApiError> {
    let mut v = Violations::default();
    let id = v.tx_id(&At::field("tx_id"), &request.tx_id);
    let outcome = validate::outcome(request.outcome, &mut v);
    v.reason(&request.reason);
    v.finish()?;
    id.zip(outcome)
        .map(|(id, outcome)| Ask::OperatorDecide(id, outcome, request.reason))
        .ok_or_else(|| ApiError::Invalid(Vec::new()))
}

/// The service, a type of its own because its `decide` is another one than the initiator's.
#[derive(Clone)]
pub(crate) struct OperatorApi(pub(crate) Arc<Api>);

#[tonic::async_trait]
impl Operator for OperatorApi {
    async fn retry(&self, request: Request<v1::RetryRequest>) -> Answer<v1::TransactionState> {
        self.0.ask(retry(request.into_inner())?).await
    }

    async fn resolve(&self, request: Request<v1::ResolveRequest>) -> Answer<v1::TransactionState> {
        self.0.ask(resolve(request.into_inner())?).await
    }

    async fn decide(
        &self,
        request: Request<v1::OperatorDecideRequest>,
    ) -> Answer<v1::TransactionState> {
        self.0.ask(decide(request.into_inner())?).await
    }
}
