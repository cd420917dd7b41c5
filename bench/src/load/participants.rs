//! The participants' process: two participants that do nothing and answer OK.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::ensure;
use tercet_proto::v1::participants_client::ParticipantsClient;
use tercet_proto::v1::{Call, ListParticipantsRequest, Operation};
use tercet_sdk::{AttachOptions, CallAnswer, Mode, Participant};
use tokio::io::AsyncReadExt as _;
use tokio::sync::watch;

/// The participant of the first action.
pub(crate) const FIRST: &str = "load-first";
/// The participant of the second action.
pub(crate) const SECOND: &str = "load-second";
/// The handler of both, which does nothing.
pub(crate) const HANDLER: &str = "nothing";

/// Calls that one participant takes at once.
const CONCURRENCY: u32 = 4096;
/// The longest wait until both are attached.
const ATTACH_TIMEOUT: Duration = Duration::from_secs(20);
/// The interval between two looks whether both are attached.
const ATTACH_POLL: Duration = Duration::from_millis(20);

/// The number of calls by operation.
#[derive(Default)]
struct Counts {
    tries: AtomicU64,
    confirms: AtomicU64,
    cancels: AtomicU64,
}

impl Counts {
    fn count(&self, call: &Call) {
        let counter = match call.operation() {
            Operation::Try => &self.tries,
            Operation::Confirm => &self.confirms,
            Operation::Cancel => &self.cancels,
            Operation::Unspecified => return,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// Serves until standard input ends, then prints the numbers of calls.
pub(crate) fn run(coordinator: &str) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(serve(coordinator))
}

async fn serve(coordinator: &str) -> anyhow::Result<()> {
    let counts = Arc::new(Counts::default());
    let stop = watch::Sender::new(());
    let mut attached = Vec::new();
    for name in [FIRST, SECOND] {
        let participant = participant(name, Arc::clone(&counts))?;
        let options = AttachOptions::new([coordinator], "load");
        let mut stopped = stop.subscribe();
        attached.push(tokio::spawn(async move {
            let stopped = async move {
                // An error means that the sender is gone, which is a reason to stop, too.
                let _ = stopped.changed().await;
            };
            participant.attach(options, stopped).await
        }));
    }
    wait_until_attached(coordinator).await?;
    println!("attached");

    let mut nothing = Vec::new();
    tokio::io::stdin().read_to_end(&mut nothing).await?;
    stop.send_replace(());
    for task in attached {
        task.await??;
    }
    println!(
        "{} Try, {} Confirm, {} Cancel",
        counts.tries.load(Ordering::Relaxed),
        counts.confirms.load(Ordering::Relaxed),
        counts.cancels.load(Ordering::Relaxed)
    );
    Ok(())
}

fn participant(name: &str, counts: Arc<Counts>) -> anyhow::Result<Participant> {
    let handler = move |call: Call| {
        counts.count(&call);
        std::future::ready(CallAnswer::done())
    };
    let builder = Participant::builder(name).concurrency(CONCURRENCY);
    Ok(builder.raw(HANDLER, Mode::Tcc, handler).build()?)
}

/// Asks the coordinator until it lists both as attached.
async fn wait_until_attached(coordinator: &str) -> anyhow::Result<()> {
    let mut client = ParticipantsClient::connect(coordinator.to_owned()).await?;
    let started = Instant::now();
    loop {
        let reply = client
            .list(ListParticipantsRequest::default())
            .await?
            .into_inner();
        let attached = |name: &&str| {
            reply
                .participants
                .iter()
                .any(|p| p.participant == **name && p.attached > 0)
        };
        if [FIRST, SECOND].iter().all(attached) {
            return Ok(());
        }
        ensure!(
            started.elapsed() < ATTACH_TIMEOUT,
            "not attached in time: {reply:?}"
        );
        tokio::time::sleep(ATTACH_POLL).await;
    }
}
