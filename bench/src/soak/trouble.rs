//! Makes trouble for the coordinator, at times and of kinds that the seed determines.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rand::Rng as _;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;

use crate::coordinator::Coordinator;
use crate::outages::Trouble;
use crate::stage::Stage;

/// The share of each kind of trouble, in percent.
const KINDS: [(Trouble, u32); 3] = [
    (Trouble::Kill, 60),
    (Trouble::Terminate, 15),
    (Trouble::Stop, 25),
];
/// The shortest and the longest stop, in ms.
const STOP_MS: (u64, u64) = (2_000, 8_000);
/// The interval at which it is checked that the coordinator runs.
const CHECK_EVERY: Duration = Duration::from_secs(1);

/// Makes trouble about every `period` until `until`. Each kind comes once before any comes by chance.
pub(crate) async fn run(
    stage: Arc<Stage>,
    mut coordinator: Coordinator,
    pid: Arc<AtomicU32>,
    mut dice: StdRng,
    period: Duration,
    until: Instant,
) -> anyhow::Result<Coordinator> {
    let mut first = Trouble::ALL.into_iter();
    loop {
        let wait = period.mul_f64(dice.random_range(2.0 / 3.0..4.0 / 3.0));
        let next = Instant::now() + wait;
        while Instant::now() < next.min(until) {
            coordinator.check()?;
            let left = next.min(until).saturating_duration_since(Instant::now());
            tokio::time::sleep(CHECK_EVERY.min(left)).await;
        }
        if next >= until {
            return Ok(coordinator);
        }
        let by_chance = KINDS.choose_weighted(&mut dice, |(_, weight)| *weight);
        let trouble = first.next().unwrap_or(by_chance?.0);
        let pause = Duration::from_millis(dice.random_range(STOP_MS.0..=STOP_MS.1));
        let at = stage.clock.now().as_secs();
        let outage = coordinator.suffer(trouble, pause).await?;
        pid.store(coordinator.pid(), Ordering::Relaxed);
        let away = outage.answered.unwrap_or(outage.from) - outage.from;
        println!(
            "{:>6} s  {trouble} at {at} s; answers again after {:.1} s, {:.2} s after its start",
            stage.clock.now().as_secs(),
            away.as_secs_f64(),
            outage.restart().unwrap_or_default().as_secs_f64(),
        );
    }
}
