//! The healthy participants: attached, called by gRPC, posted to, and one that leaves and comes back.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use tercet_barrier::initiator::Truth;
use tercet_proto::v1;
use tercet_sdk::initiator::Client;
use tercet_sdk::{AttachOptions, CallAnswer, Mode, Participant};
use tokio::net::TcpListener;
use uuid::Uuid;

use crate::ledger::Ledger;
use crate::names::{HEALTHY, INITIATOR, MODES, WANDERER, handler};
use crate::stage::Stage;

/// Calls that one participant takes at once.
const CONCURRENCY: u32 = 1024;
/// The path of every operation of the participant that is posted to.
const PATH: &str = "/call";
/// The shortest and the longest time, in ms, for which the wanderer stays or is away.
const WANDER_MS: (u64, u64) = (2_000, 15_000);

/// Starts all of them, and waits until each is known.
pub(crate) async fn start(stage: &Arc<Stage>, client: &Client) -> anyhow::Result<()> {
    let [east, west, invoked, posted] = &stage.healthy;
    for ledger in [east, west] {
        attach_for_ever(with_ledger(ledger)?, &stage.address);
    }
    attach_for_ever(initiator(stage)?, &stage.address);
    register_invoke(client, with_ledger(invoked)?).await?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    register_http(client, posted, listener.local_addr()?).await?;
    serve_http(listener, Arc::clone(posted));
    tokio::spawn(wander(Arc::clone(stage), with_ledger(&stage.wanderer)?));
    for name in HEALTHY.into_iter().chain([INITIATOR, WANDERER]) {
        client.wait_known(name).await?;
    }
    Ok(())
}

/// Makes a participant; its handlers carry out their calls in `ledger`.
pub(crate) fn with_ledger(ledger: &Arc<Ledger>) -> anyhow::Result<Participant> {
    let mut builder = Participant::builder(ledger.name).concurrency(CONCURRENCY);
    for mode in MODES {
        let ledger = Arc::clone(ledger);
        let serve = move |call: v1::Call| std::future::ready(ledger.carry_out(&call));
        builder = builder.raw(handler(mode), sdk_mode(mode), serve);
    }
    Ok(builder.build()?)
}

fn sdk_mode(mode: v1::Mode) -> Mode {
    match mode {
        v1::Mode::Compensate => Mode::Compensate,
        v1::Mode::Deliver => Mode::Deliver,
        v1::Mode::Tcc | v1::Mode::Unspecified => Mode::Tcc,
    }
}

/// Makes the participant that is asked back: it knows the outcome of each transaction that was left to it.
fn initiator(stage: &Arc<Stage>) -> anyhow::Result<Participant> {
    let stage = Arc::clone(stage);
    let answer = move |call: v1::CheckBackCall| {
        let truth = Uuid::try_parse(&call.tx_id)
            .ok()
            .and_then(|tx_id| stage.book.truth(tx_id));
        let answer = match truth {
            Some(true) => Ok(Truth::Success),
            Some(false) => Ok(Truth::Failure),
            None => Err("it is not known here".to_owned()),
        };
        std::future::ready(answer)
    };
    let builder = Participant::builder(INITIATOR).concurrency(CONCURRENCY);
    Ok(builder.check_back_with(answer).build()?)
}

/// Attaches a participant until the program ends.
pub(crate) fn attach_for_ever(participant: Participant, address: &str) {
    tokio::spawn(attach(participant, address.to_owned()));
}

async fn attach(participant: Participant, address: String) {
    let options = AttachOptions::new([address], "soak");
    if let Err(error) = participant.attach(options, std::future::pending()).await {
        eprintln!("a participant cannot attach: {error}");
    }
}

/// Serves `tercet.v1.Participant` on a free port and registers it.
async fn register_invoke(client: &Client, participant: Participant) -> anyhow::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let request = v1::RegisterRequest {
        participant: participant.name().to_owned(),
        protocol: v1::Protocol::Invoke.into(),
        address: format!("http://{}", listener.local_addr()?),
        ..v1::RegisterRequest::default()
    };
    serve(listener, participant);
    client.register(request).await?;
    Ok(())
}

/// Serves `tercet.v1.Participant` until the program ends.
pub(crate) fn serve(listener: TcpListener, participant: Participant) {
    tokio::spawn(async move {
        if let Err(error) = participant.serve(listener, std::future::pending()).await {
            eprintln!("{}: {error}", participant.name());
        }
    });
}

/// Registers a participant that is posted to.
pub(crate) async fn register_http(
    client: &Client,
    ledger: &Ledger,
    address: SocketAddr,
) -> anyhow::Result<()> {
    let methods = MODES.map(|mode| v1::Methods {
        handler: handler(mode).to_owned(),
        r#try: PATH.to_owned(),
        confirm: PATH.to_owned(),
        cancel: PATH.to_owned(),
    });
    let request = v1::RegisterRequest {
        participant: ledger.name.to_owned(),
        protocol: v1::Protocol::Http.into(),
        address: format!("http://{address}"),
        methods: methods.to_vec(),
        ..v1::RegisterRequest::default()
    };
    client.register(request).await?;
    Ok(())
}

/// Serves a participant that is posted to, until the program ends.
pub(crate) fn serve_http(listener: TcpListener, ledger: Arc<Ledger>) {
    let name = ledger.name;
    let answer =
        move |headers: HeaderMap, body: Bytes| std::future::ready(posted(&ledger, &headers, body));
    let router = Router::new().route(PATH, post(answer));
    tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, router).await {
            eprintln!("{name}: {error}");
        }
    });
}

/// Carries out a call that came by HTTP, with its context in headers.
fn posted(ledger: &Ledger, headers: &HeaderMap, body: Bytes) -> (StatusCode, String) {
    let text = |name: &str| {
        let value = headers.get(name).and_then(|value| value.to_str().ok());
        value.unwrap_or_default().to_owned()
    };
    let mode = v1::Mode::from_str_name(&format!("MODE_{}", text("tercet-mode")));
    let operation = format!("OPERATION_{}", text("tercet-operation"));
    let call = v1::Call {
        tx_id: text("tercet-tx-id"),
        action: text("tercet-action"),
        mode: mode.unwrap_or_default().into(),
        operation: v1::Operation::from_str_name(&operation)
            .unwrap_or_default()
            .into(),
        payload: body,
        time_left_ms: text("tercet-time-left-ms").parse().ok(),
        ..v1::Call::default()
    };
    match ledger.carry_out(&call) {
        CallAnswer::Done(_) => (StatusCode::OK, String::new()),
        CallAnswer::Rejected(reason) => (StatusCode::CONFLICT, reason),
        CallAnswer::Unknown(error) => (StatusCode::SERVICE_UNAVAILABLE, error),
    }
}

/// Attaches and leaves again, by breaking its streams, until the settling phase; then it stays.
fn wander(stage: Arc<Stage>, participant: Participant) -> impl Future<Output = ()> {
    let mut dice = StdRng::seed_from_u64(stage.seed ^ 1);
    async move {
        loop {
            let attached = tokio::spawn(attach(participant.clone(), stage.address.clone()));
            pause(&mut dice).await;
            if stage.is_settling() {
                return;
            }
            attached.abort();
            pause(&mut dice).await;
        }
    }
}

async fn pause(dice: &mut StdRng) {
    let (shortest, longest) = WANDER_MS;
    tokio::time::sleep(Duration::from_millis(dice.random_range(shortest..=longest))).await;
}
