//! The service as a whole: its database, its actions and its queries.

use demo_service::{Builder, Service, Target};
use sqlx::SqlitePool;
use tonic::service::Routes;

use crate::proto::coupons_server::CouponsServer;
use crate::query::Query;
use crate::seed::Seed;
use crate::{actions, stock};

/// The coupons service.
#[derive(Clone, Copy, Debug)]
pub struct CouponsService;

impl Service for CouponsService {
    const NAME: &'static str = "coupons";
    const TARGET: Target = Target::Coupons;
    type Seed = Seed;

    async fn prepare(pool: &SqlitePool, seed: &Seed) -> Result<(), sqlx::Error> {
        stock::prepare(pool, seed).await
    }

    fn actions(participant: Builder) -> Builder {
        actions::add(participant)
    }

    fn queries(pool: SqlitePool) -> Routes {
        Routes::new(CouponsServer::new(Query::new(pool)))
    }
}
