//! The feed: counts the events of the initiator, and kills processes in the middle of it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context, bail};
use serde::Serialize;
use tokio::time::timeout;

use crate::args::{DemoArgs, Role};
use crate::event::{Event, OrderAnswer};
use crate::process::Process;
use crate::progress::Progress;
use crate::stage::Stage;

/// Orders under way when processes are killed, unless the file has too few.
const IN_FLIGHT_AT_KILL: usize = 8;
/// Time beyond the initiator's own patience after which it counts as stuck.
const GRACE: Duration = Duration::from_secs(15);

/// One process that was killed and started again.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Kill {
    /// Which.
    pub process: Role,
    /// Orders sent until then.
    pub sent: usize,
    /// Orders under way then.
    pub in_flight: usize,
}

/// The result of the feed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fed {
    /// The answers, by the order's line.
    pub answers: BTreeMap<usize, OrderAnswer>,
    /// The processes that were killed.
    pub kills: Vec<Kill>,
}

/// The count of the initiator's events so far.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Lines of the orders that were sent.
    sent: BTreeSet<usize>,
    /// Lines of those under way.
    open: BTreeSet<usize>,
    /// The answers, by line.
    answers: BTreeMap<usize, OrderAnswer>,
}

impl Tally {
    fn take(&mut self, event: Event) {
        match event {
            Event::Sent { line } => {
                self.sent.insert(line);
                self.open.insert(line);
            }
            Event::Answered { line, answer } => {
                self.open.remove(&line);
                self.answers.insert(line, answer);
            }
            Event::Done => {}
        }
    }

    pub(crate) fn sent(&self) -> usize {
        self.sent.len()
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.open.len()
    }

    /// Orders answered with the decision SUCCESS, with FAILURE, and without a decision.
    pub(crate) fn decided(&self) -> (usize, usize, usize) {
        let mut counts = (0, 0, 0);
        for answer in self.answers.values() {
            match answer {
                OrderAnswer::Decided {
                    committed: true, ..
                } => counts.0 += 1,
                OrderAnswer::Decided {
                    committed: false, ..
                } => counts.1 += 1,
                OrderAnswer::Failed { .. } => counts.2 += 1,
            }
        }
        counts
    }
}

/// Feeds all orders; kills the processes of `--kill` when a third of them is sent.
pub(crate) async fn feed(
    stage: &mut Stage<'_>,
    args: &DemoArgs,
    orders: usize,
) -> anyhow::Result<Fed> {
    let mut tally = Tally::default();
    let mut progress = Progress::new(orders);
    let mut kills = Vec::new();
    let mut to_kill: BTreeSet<Role> = args.kill.iter().copied().collect();
    let needed = IN_FLIGHT_AT_KILL
        .min(usize::from(args.pace.concurrency))
        .min(orders.div_ceil(3));
    let mut initiator = stage.initiator()?;
    loop {
        let Some(event) = next(stage, &mut initiator, args).await? else {
            return Err(initiator.death().await);
        };
        let done = event == Event::Done;
        tally.take(event);
        progress.show(&tally);
        if done {
            break;
        }
        if tally.sent() >= orders.div_ceil(3) && tally.in_flight() >= needed {
            for process in std::mem::take(&mut to_kill) {
                let kill = Kill {
                    process,
                    sent: tally.sent(),
                    in_flight: tally.in_flight(),
                };
                progress.print_line(&format!(
                    "SIGKILL to the {} with {} orders sent and {} in flight",
                    process.title(),
                    kill.sent,
                    kill.in_flight
                ));
                kill_one(stage, &mut initiator, process, &mut tally).await?;
                progress.print_line(&format!(
                    "the {} runs again on the same data",
                    process.title()
                ));
                kills.push(kill);
            }
        }
    }
    progress.end(&tally);
    initiator.stop().await?;
    if let Some(process) = to_kill.first() {
        bail!(
            "--kill {}: there are too few orders to be in their middle",
            process.name()
        );
    }
    Ok(Fed {
        answers: tally.answers,
        kills,
    })
}

/// Waits for the initiator's next event; none: it has ended.
async fn next(
    stage: &mut Stage<'_>,
    initiator: &mut Process,
    args: &DemoArgs,
) -> anyhow::Result<Option<Event>> {
    let pace = &args.pace;
    let patience = pace.patience_ms * 2 + pace.phase_one_ms + GRACE;
    let line = tokio::select! {
        line = timeout(patience, initiator.line()) => {
            line.with_context(|| format!("the initiator says nothing for {patience:?}"))??
        }
        death = stage.death() => return Err(death),
    };
    line.map(|line| {
        serde_json::from_str(&line).with_context(|| format!("the initiator said {line:?}"))
    })
    .transpose()
}

/// Kills one process and starts it again on the same data.
async fn kill_one(
    stage: &mut Stage<'_>,
    initiator: &mut Process,
    process: Role,
    tally: &mut Tally,
) -> anyhow::Result<()> {
    if process != Role::Initiator {
        stage.kill(process).await?;
        return stage.restart(process).await;
    }
    initiator.kill().await?;
    // Its events until then still stand in the pipe; the last line may be cut.
    while let Some(line) = initiator.line().await? {
        if let Ok(event) = serde_json::from_str(&line) {
            tally.take(event);
        }
    }
    tally.open.clear();
    *initiator = stage.initiator()?;
    Ok(())
}
