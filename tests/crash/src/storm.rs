//! Kills and stops at random, under load. The seed determines the process, the signal and the time of each hit.

use std::{
    fmt,
    time::{Duration, Instant},
};

use rand::{Rng as _, SeedableRng as _, rngs::StdRng, seq::IndexedRandom as _};

use crate::{
    books::Sheet,
    cast::Role,
    points::Exchange,
    stage::{Load, Stage},
};

/// The number of orders that are open at once.
const AT_ONCE: usize = 16;
/// The longest time from the last hit to the end.
const END_WITHIN: Duration = Duration::from_mins(2);

/// The settings of a storm.
#[derive(Clone, Copy, Debug)]
pub struct Storm {
    /// The seed of every choice.
    pub seed: u64,
    /// The mode of the exchange.
    pub mode: Exchange,
    /// The number of orders.
    pub orders: usize,
    /// The number of hits after which it ends at the latest.
    pub hits: usize,
}

/// The result of a storm.
#[derive(Clone, Debug)]
pub struct StormResult {
    storm: Storm,
    kills: usize,
    stops: usize,
    calm_after: Duration,
    sheet: Sheet,
    kept: Option<String>,
}

impl StormResult {
    /// Returns whether the books agree.
    pub fn is_good(&self) -> bool {
        self.sheet.balances()
    }

    /// Returns the number of processes that were killed.
    pub fn kills(&self) -> usize {
        self.kills
    }
}

impl fmt::Display for StormResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Storm {
            seed, mode, orders, ..
        } = self.storm;
        let Sheet {
            committed,
            rolled_back,
            parked,
            wrong,
        } = &self.sheet;
        write!(
            f,
            "seed {seed}, {mode}, {orders} orders: {} kills and {} stops; {committed} committed, \
             {rolled_back} rolled back, {parked} parked; final {:.1} s after the last hit",
            self.kills,
            self.stops,
            self.calm_after.as_secs_f64()
        )?;
        if !wrong.is_empty() {
            write!(f, "; **NOT GOOD**: {}", wrong.join("; "))?;
        }
        match &self.kept {
            Some(kept) => write!(f, "; see {kept}"),
            None => Ok(()),
        }
    }
}

/// Runs a storm.
pub async fn run(storm: Storm) -> anyhow::Result<StormResult> {
    let mut dice = StdRng::seed_from_u64(storm.seed);
    let load = Load {
        mode: storm.mode,
        orders: storm.orders,
        at_once: AT_ONCE,
    };
    let mut stage = Stage::set(load, None).await?;
    let (mut kills, mut stops) = (0, 0);
    while kills + stops < storm.hits && !stage.is_fed() {
        tokio::time::sleep(Duration::from_millis(dice.random_range(100..900))).await;
        let role = *Role::ALL.choose(&mut dice).unwrap_or(&Role::Coordinator);
        if dice.random_bool(0.7) {
            stage.restart(role)?;
            kills += 1;
        } else {
            let pause = Duration::from_millis(dice.random_range(50..2_000));
            stage.stand_still(role, pause).await?;
            stops += 1;
        }
    }
    let calm = Instant::now();
    stage.end(END_WITHIN).await?;
    let calm_after = calm.elapsed();
    let sheet = stage.sheet().await?;
    let kept = (!sheet.balances()).then(|| stage.keep());
    Ok(StormResult {
        storm,
        kills,
        stops,
        calm_after,
        sheet,
        kept,
    })
}
