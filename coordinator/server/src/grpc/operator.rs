//! `Operator`: for people on call.

use tercet_proto::v1::{self, operator_server::Operator};
use tonic::{Request, Response, Status};

use super::{Api, taking, translate};

/// The service: a type of its own, because its `decide` differs from the initiator's.
#[derive(Clone)]
pub(crate) struct OperatorApi(pub(crate) Api);

#[tonic::async_trait]
impl Operator for OperatorApi {
    async fn retry(
        &self,
        request: Request<v1::RetryRequest>,
    ) -> Result<Response<v1::TransactionState>, Status> {
        let taking = taking(&request);
        let known = self.0.requests.known();
        let retry = translate::retry(request.into_inner(), &known);
        self.0.carry_out(retry?, taking).await
    }

    async fn resolve(
        &self,
        request: Request<v1::ResolveRequest>,
    ) -> Result<Response<v1::TransactionState>, Status> {
        let taking = taking(&request);
        let known = self.0.requests.known();
        let resolve = translate::resolve(request.into_inner(), &known);
        self.0.carry_out(resolve?, taking).await
    }

    async fn decide(
        &self,
        request: Request<v1::OperatorDecideRequest>,
    ) -> Result<Response<v1::TransactionState>, Status> {
        let taking = taking(&request);
        let known = self.0.requests.known();
        let decide = translate::operator_decide(request.into_inner(), &known);
        self.0.carry_out(decide?, taking).await
    }
}
