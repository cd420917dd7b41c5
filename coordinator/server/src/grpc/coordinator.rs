//! `Coordinator`: for initiators, and for people who read.

use tercet_proto::v1::{self, coordinator_server::Coordinator};
use tonic::{Request, Response, Status, Streaming};

use super::{Api, Replies, inbound, peer, session, taking, translate, watch};
use crate::{bounds, requests::Lookup, wire::views};

#[tonic::async_trait]
impl Coordinator for Api {
    async fn begin(
        &self,
        request: Request<v1::BeginRequest>,
    ) -> Result<Response<v1::TransactionState>, Status> {
        let taking = taking(&request);
        let known = self.requests.known();
        let new_id = || self.requests.new_id();
        let begin = translate::begin(request.into_inner(), &known, new_id);
        self.carry_out(begin?, taking).await
    }

    async fn add_action(
        &self,
        request: Request<v1::AddActionRequest>,
    ) -> Result<Response<v1::TransactionState>, Status> {
        let taking = taking(&request);
        let known = self.requests.known();
        let add = translate::add_action(request.into_inner(), &known);
        self.carry_out(add?, taking).await
    }

    async fn decide(
        &self,
        request: Request<v1::DecideRequest>,
    ) -> Result<Response<v1::TransactionState>, Status> {
        let taking = taking(&request);
        let known = self.requests.known();
        let decide = translate::decide(request.into_inner(), &known);
        self.carry_out(decide?, taking).await
    }

    async fn execute(
        &self,
        request: Request<v1::ExecuteRequest>,
    ) -> Result<Response<v1::TransactionState>, Status> {
        let taking = taking(&request);
        let known = self.requests.known();
        let new_id = || self.requests.new_id();
        let execute = translate::execute(request.into_inner(), &known, new_id);
        self.carry_out(execute?, taking).await
    }

    async fn get(
        &self,
        request: Request<v1::GetRequest>,
    ) -> Result<Response<v1::Transaction>, Status> {
        let peer = peer(&request);
        let lookup = translate::lookup(request.into_inner())?;
        // Until the answer is made, and counted by its connection.
        let _room = peer.room(bounds::ANSWER_BYTES).await;
        let seen = self.requests.get(lookup).await?;
        Ok(Response::new(views::transaction(seen.view, seen.obstacles)))
    }

    async fn list(
        &self,
        request: Request<v1::ListRequest>,
    ) -> Result<Response<v1::ListReply>, Status> {
        let peer = peer(&request);
        let query = translate::list(request.into_inner(), self.requests.clock.time())?;
        let _room = peer.room(bounds::ANSWER_BYTES).await;
        let page = self.requests.list(&query).await?;
        let transactions = page.seen.into_iter();
        Ok(Response::new(v1::ListReply {
            transactions: transactions
                .map(|seen| views::transaction(seen.view, seen.obstacles))
                .collect(),
            next_cursor: page.next.map(|id| id.to_string()).unwrap_or_default(),
        }))
    }

    type WatchStream = Replies<v1::Transaction>;

    async fn watch(
        &self,
        request: Request<v1::WatchRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let peer = peer(&request);
        let id = translate::watched(request.get_ref())?;
        let room = peer.room(bounds::ANSWER_BYTES).await;
        let first = self.requests.get(Lookup::Id(id)).await?;
        let states = watch::states(self.clone(), peer, id, (first, room));
        Ok(Response::new(Box::pin(states)))
    }

    type SessionStream = Replies<v1::SessionReplies>;

    async fn session(
        &self,
        request: Request<Streaming<v1::SessionRequests>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let (peer, inbound) = (peer(&request), inbound(&request));
        let replies = session::open(self.clone(), peer, inbound, request.into_inner()).await;
        Ok(Response::new(Box::pin(replies)))
    }
}
