//! A participant behind a connection that carries some bytes a second to it.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::ledger::Ledger;
use crate::participants::{attach_for_ever, with_ledger};
use crate::sick::healed;
use crate::stage::Stage;
use crate::stream::{self, Reading};

/// The bytes that are carried at once.
const BYTES: usize = 64;
/// The interval at which they are carried.
const EVERY: Duration = Duration::from_millis(100);

/// Starts the slow connection and the participant behind it, which is replaced by one without when it is healed.
pub(crate) async fn start(stage: &Arc<Stage>, ledger: Arc<Ledger>) -> anyhow::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let slow = format!("http://{}", listener.local_addr()?);
    let fast = stage.address.clone();
    let target = fast.trim_start_matches("http://").to_owned();
    let healthy = with_ledger(&ledger)?;
    tokio::spawn(carry(listener, target, stage.health()));
    let health = stage.health();
    tokio::spawn(async move {
        tokio::select! {
            () = stream::attach_for_ever(&slow, &ledger, Reading::Answers) => {}
            () = healed(health) => attach_for_ever(healthy, &fast),
        }
    });
    Ok(())
}

/// Carries every connection until the participant is healed.
async fn carry(listener: TcpListener, target: String, health: watch::Receiver<bool>) {
    let accept = async {
        loop {
            if let Ok((near, _)) = listener.accept().await
                && let Ok(far) = TcpStream::connect(&target).await
            {
                tokio::spawn(slowly(near, far, health.clone()));
            }
        }
    };
    tokio::select! {
        () = accept => {}
        () = healed(health.clone()) => {}
    }
}

/// Carries bytes of `near` at once, and those of `far` slowly, until one side ends.
async fn slowly(near: TcpStream, far: TcpStream, health: watch::Receiver<bool>) {
    let (mut from_near, mut to_near) = near.into_split();
    let (mut from_far, mut to_far) = far.into_split();
    let back = async {
        let mut bytes = [0; BYTES];
        while let Ok(count @ 1..) = from_far.read(&mut bytes).await {
            if to_near.write_all(&bytes[..count]).await.is_err() {
                break;
            }
            tokio::time::sleep(EVERY).await;
        }
    };
    tokio::select! {
        _ = tokio::io::copy(&mut from_near, &mut to_far) => {}
        () = back => {}
        () = healed(health) => {}
    }
}
