//! One service of the demo: its own part, and the building of the rest around it.

use std::future::Future;
use std::sync::Arc;

use anyhow::Context;
use sqlx::SqlitePool;
use tercet_sdk::participant::ParticipantBuilder;
use tercet_sdk::{Barrier, Participant, Sqlite};
use tonic::service::Routes;

use crate::chaos::Chaos;
use crate::database::open;
use crate::faults::{Faults, Target};
use crate::options::Options;
use crate::seed::SeedPart;

/// A participant that is being built, behind the barrier of a service's database.
pub type Builder = ParticipantBuilder<Barrier<Sqlite>>;

/// The business of a service; [`run`](crate::run) and [`main`](fn@crate::main) do the rest.
pub trait Service {
    /// The name under which it attaches.
    const NAME: &'static str;
    /// Which faults are meant for it.
    const TARGET: Target;
    /// Its part of the seed file.
    type Seed: SeedPart + Send + Sync;

    /// Makes its tables where they are missing, and the rows of the seed that do not exist yet.
    fn prepare(
        pool: &SqlitePool,
        seed: &Self::Seed,
    ) -> impl Future<Output = Result<(), sqlx::Error>> + Send;

    /// Adds its actions to its participant.
    fn actions(participant: Builder) -> Builder;

    /// Its query service, over its database.
    fn queries(pool: SqlitePool) -> Routes;
}

/// Prepares a service's database, and gives its participant: its actions, behind the barrier.
pub async fn participant<S: Service>(pool: &SqlitePool, seed: &S::Seed) -> anyhow::Result<Builder> {
    S::prepare(pool, seed)
        .await
        .context("cannot prepare the database")?;
    let barrier = Barrier::new(pool.clone());
    barrier
        .create_table()
        .await
        .context("cannot make the barrier's table")?;
    Ok(S::actions(Participant::builder(S::NAME).barrier(barrier)))
}

/// Opens a service's database and builds its participant, as the options say.
pub(crate) async fn build<S: Service>(
    options: &Options,
) -> anyhow::Result<(SqlitePool, Participant)> {
    let seed: S::Seed = options.seed()?;
    let pool = open(&options.database)
        .await
        .with_context(|| format!("cannot open the database {}", options.database.display()))?;
    let mut participant = participant::<S>(&pool, &seed)
        .await?
        .concurrency(options.concurrency);
    let faults = Faults::of(S::TARGET, &options.fail);
    if !faults.is_empty() {
        participant = participant.interceptor(Arc::new(Chaos { faults }));
    }
    if options.without_barrier {
        participant = participant.without_barrier_for_demonstration();
    }
    Ok((pool, participant.build()?))
}
