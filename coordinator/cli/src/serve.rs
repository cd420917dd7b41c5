//! `tercet serve`.

use std::{
    future::Future,
    io::{self, IsTerminal},
    sync::Arc,
};

use clap::Args;
use tercet_server::{Config, config::LogFormat, descriptors, serve};
use tokio::{
    io::AsyncReadExt,
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};
use tracing_subscriber::{filter::Targets, fmt, layer::SubscriberExt, util::SubscriberInitExt};

use crate::{
    configuration::Settings,
    failure::{CommandResult, Failure},
    print,
};

#[derive(Args)]
pub(crate) struct ServeArgs {
    #[command(flatten)]
    settings: Settings,
    /// Stop when standard input ends, so that this process never outlives the one that started it.
    #[arg(long, hide = true)]
    until_stdin_ends: bool,
}

pub(crate) fn run(args: &ServeArgs) -> CommandResult {
    let config = args.settings.effective()?.config;
    log(&config)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::because("the runtime cannot be started", error))?;
    let result = runtime.block_on(start(config, args.until_stdin_ends));
    // The tasks that still run are of no consequence: nothing that was acknowledged depends on them.
    runtime.shutdown_background();
    result
}

async fn start(config: Config, until_stdin_ends: bool) -> CommandResult {
    let database = config.database.clone();
    let stop = stopped(until_stdin_ends)
        .map_err(|error| Failure::because("signals cannot be caught", error))?;
    descriptors::raise();
    // Refused before anything is opened, written or announced.
    descriptors::connections()
        .map_err(|error| Failure::because("the coordinator cannot start", error))?;
    let store = tercet_store::open(&database).await.map_err(|error| {
        let what = format!("the database {database} cannot be opened");
        Failure::because(what, error)
    })?;
    let listener = TcpListener::bind(config.listen).await.map_err(|error| {
        Failure::because(format!("{} cannot be listened on", config.listen), error)
    })?;
    let address = listener
        .local_addr()
        .map_err(|error| Failure::because("the listener has no address", error))?;
    print(&format!("listening on http://{address}\n"))?;
    serve(listener, Arc::clone(&store), config, stop)
        .await
        .map_err(|error| Failure::because("the coordinator stopped", error))?;
    store
        .close()
        .await
        .map_err(|error| Failure::because("the database cannot be closed", error))?;
    Ok(0)
}

/// Ready at the first SIGTERM or SIGINT, or when standard input ends if that is asked for.
fn stopped(until_stdin_ends: bool) -> io::Result<impl Future<Output = ()> + Send> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            () = stdin_ended(), if until_stdin_ends => {}
        }
    })
}

async fn stdin_ended() {
    let mut stdin = tokio::io::stdin();
    let mut ignored = [0_u8; 64];
    // A standard input that cannot be read has ended too.
    while stdin.read(&mut ignored).await.is_ok_and(|read| read > 0) {}
}

fn log(config: &Config) -> Result<(), Failure> {
    let filter: Targets = config
        .log_level
        .parse()
        .map_err(|error| Failure::because("log_level is not understood", error))?;
    let lines = tracing_subscriber::registry().with(filter);
    let layer = fmt::layer()
        .with_ansi(io::stderr().is_terminal())
        .with_writer(io::stderr);
    match config.log_format {
        LogFormat::Text => lines.with(layer).try_init(),
        LogFormat::Json => lines.with(layer.json().flatten_event(true)).try_init(),
    }
    .map_err(|error| Failure::because("logging cannot be set up", error))
}
