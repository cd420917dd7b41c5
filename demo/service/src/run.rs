//! How a service's process starts, says where it listens, and ends.

use std::io::Write;
use std::net::SocketAddr;

use anyhow::Context;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// What the line begins with that says where a process listens; the address follows.
pub const ANNOUNCEMENT: &str = "listening on ";

/// Binds, and names the address when that fails.
pub async fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address}: choose another --listen"))
}

/// Prints the line that says where this process listens, on standard output.
pub fn announce(address: SocketAddr) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{ANNOUNCEMENT}http://{address}")?;
    out.flush()
}

/// Logs to standard error, by `RUST_LOG`, else what is worth a person's notice.
pub fn log_to_stderr() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    // A second subscriber is refused; then the first one already logs.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .try_init();
}

/// Waits until the process is to stop: SIGTERM, SIGINT or, if asked for, the end of standard input.
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
    // An unreadable standard input counts as its end: nobody is there any more.
    while stdin.read(&mut ignored).await.is_ok_and(|read| read > 0) {}
}
