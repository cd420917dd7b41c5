//! The service as a whole: its database, its actions and its queries.

use std::future::Future;

use anyhow::Context;
use demo_service::{Options, Service, Target, open, participant};
use tercet_sdk::{Barrier, Participant};
use tokio::net::TcpListener;
use tonic::service::Routes;

use crate::actions::{IssueCoupon, ReserveCoupon};
use crate::proto::coupons_server::CouponsServer;
use crate::query::Query;
use crate::seed::Seed;
use crate::stock;

/// The name under which the service attaches.
pub const PARTICIPANT: &str = "coupons";

/// Opens the database, attaches to the coordinators and answers queries on `listener`, until
/// `shutdown` is ready; then finishes what is open.
pub async fn serve(
    listener: TcpListener,
    options: &Options,
    shutdown: impl Future<Output = ()> + Send,
) -> anyhow::Result<()> {
    let seed = match options.seed_text()? {
        Some(text) => Seed::parse(&text)
            .map_err(anyhow::Error::msg)
            .context("the seed file")?,
        None => Seed::default(),
    };
    let pool = open(&options.database)
        .await
        .with_context(|| format!("cannot open the database {}", options.database.display()))?;
    stock::prepare(&pool, &seed)
        .await
        .context("cannot prepare the database")?;
    let barrier = Barrier::new(pool.clone());
    barrier
        .create_table()
        .await
        .context("cannot make the barrier's table")?;
    let actions = Participant::builder(PARTICIPANT)
        .barrier(barrier)
        .tcc("reserve-coupon", ReserveCoupon)
        .compensate("issue-coupon", IssueCoupon);
    let service = Service {
        participant: participant(actions, Target::Coupons, options)?,
        queries: Routes::new(CouponsServer::new(Query::new(pool.clone()))),
    };
    service
        .run(listener, &options.coordinator, shutdown)
        .await?;
    pool.close().await;
    Ok(())
}

/// Runs the service as a process of its own: binds, says where, and serves until it is told to stop.
pub async fn run(options: &Options) -> anyhow::Result<()> {
    let listener = demo_service::bind(options.listen).await?;
    demo_service::announce(listener.local_addr()?)?;
    let until_stdin_ends = options.until_stdin_ends;
    let shutdown = async move {
        if let Err(error) = demo_service::stopped(until_stdin_ends).await {
            tracing::error!(%error, "cannot wait for signals; stopping");
        }
    };
    serve(listener, options, shutdown).await
}
