//! The process of a service: its start, the line with its address, and its end.

use std::io::Write;
use std::net::SocketAddr;

use anyhow::Context;
use clap::{Args, FromArgMatches};
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use crate::options::Options;
use crate::serve::serve;
use crate::service::{Service, build};

/// The beginning of the line in which a process prints its address.
pub const ANNOUNCEMENT: &str = "listening on ";

/// Runs a service as a program of its own, with the options of its command line.
#[tokio::main]
pub async fn main<S: Service>() -> anyhow::Result<()> {
    let command =
        clap::Command::new(format!("demo-{}", S::NAME)).version(env!("CARGO_PKG_VERSION"));
    // After the options, whose own description would stand in its place.
    let command =
        Options::augment_args(command).about(format!("The {} service of the demo", S::NAME));
    let matches = command.get_matches();
    let options = Options::from_arg_matches(&matches).unwrap_or_else(|wrong| wrong.exit());
    log_to_stderr();
    run::<S>(&options).await
}

/// Runs a service as the work of this process: binds, prints the address, and serves until it is to stop.
pub async fn run<S: Service>(options: &Options) -> anyhow::Result<()> {
    let listener = bind(options.listen).await?;
    announce(listener.local_addr()?)?;
    let (pool, participant) = build::<S>(options).await?;
    let queries = S::queries(pool.clone());
    let until_stdin_ends = options.until_stdin_ends;
    let shutdown = async move {
        if let Err(error) = stopped(until_stdin_ends).await {
            tracing::error!(%error, "cannot wait for signals; stopping");
        }
    };
    serve(
        participant,
        queries,
        listener,
        &options.coordinator,
        shutdown,
    )
    .await?;
    pool.close().await;
    Ok(())
}

/// Binds, and names the address when that fails.
async fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address}: choose another --listen"))
}

/// Prints the address of this process on standard output.
fn announce(address: SocketAddr) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{ANNOUNCEMENT}http://{address}")?;
    out.flush()
}

/// Logs to standard error, filtered by `RUST_LOG`, else from level `info` on.
pub fn log_to_stderr() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    // A second subscriber is refused; then the first one already logs.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .try_init();
}

/// Waits until the process is to stop: SIGTERM, SIGINT or, if wanted, the end of standard input.
pub async fn stopped(until_stdin_ends: bool) -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        () = stdin_ended(), if until_stdin_ends => {}
    }
    Ok(())
}

async fn stdin_ended() {
    let mut stdin = tokio::io::stdin();
    let mut ignored = [0_u8; 64];
    // A standard input that cannot be read has ended too.
    while stdin.read(&mut ignored).await.is_ok_and(|read| read > 0) {}
}
