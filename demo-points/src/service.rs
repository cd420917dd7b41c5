//! The service as a whole: its database, its actions and its queries.

use demo_service::{Builder, Service, Target};
use sqlx::SqlitePool;
use tonic::service::Routes;

use crate::proto::points_server::PointsServer;
use crate::query::Query;
use crate::seed::Seed;
use crate::{accounts, actions};

/// The points service.
#[derive(Clone, Copy, Debug)]
pub struct PointsService;

impl Service for PointsService {
    const NAME: &'static str = "points";
    const TARGET: Target = Target::Points;
    type Seed = Seed;

    async fn prepare(pool: &SqlitePool, seed: &Seed) -> Result<(), sqlx::Error> {
        accounts::prepare(pool, seed).await
    }

    fn actions(participant: Builder) -> Builder {
        actions::add(participant)
    }

    fn queries(pool: SqlitePool) -> Routes {
        Routes::new(PointsServer::new(Query::new(pool)))
    }
}
