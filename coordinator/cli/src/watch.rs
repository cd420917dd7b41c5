//! `tercet tx watch`.

use std::time::{Duration, Instant};

use tercet_proto::v1;
use tokio::time::sleep;

use crate::{
    client::{refused, request},
    failure::{CommandResult, Failure},
    json, print, print_error,
    tx::Client,
    words,
};

/// The time for which a coordinator that does not answer is tried again.
const PATIENCE: Duration = Duration::from_mins(2);
/// The pause between two attempts to reach it.
const PAUSE: Duration = Duration::from_millis(500);

/// The progress of a watch.
struct Watched {
    /// The version shown last; 0: none.
    shown: u32,
    /// The exit code that its state gives, once it is finished or parked.
    over: Option<u8>,
    as_json: bool,
}

/// Follows a transaction to its end. A coordinator that stops answering is tried again.
pub(crate) async fn run(mut client: Client, which: v1::GetRequest, as_json: bool) -> CommandResult {
    let mut watched = Watched {
        shown: 0,
        over: None,
        as_json,
    };
    let tx_id = if which.tx_id.is_empty() {
        let found = client.get(request(which)).await.map_err(refused)?;
        found.into_inner().tx_id
    } else {
        which.tx_id
    };
    let mut lost: Option<Instant> = None;
    loop {
        let shown = watched.shown;
        let end = watched.follow(&mut client, &tx_id).await;
        if watched.shown > shown {
            lost = None;
        }
        let error = match (end, watched.over) {
            (Ok(()), Some(code)) => return Ok(code),
            (Ok(()), None) => {
                Failure::Unreachable("the coordinator ended the watch".to_owned(), None)
            }
            (Err(error), _) if error.is_passing() => error,
            (Err(error), _) => return Err(error),
        };
        match lost {
            Some(since) if since.elapsed() >= PATIENCE => return Err(error),
            Some(_) => {}
            None => {
                lost = Some(Instant::now());
                let seconds = PATIENCE.as_secs();
                print_error(&format!("{}; trying again for {seconds} s", error.text()));
            }
        }
        sleep(PAUSE).await;
    }
}

impl Watched {
    /// Shows every state that is newer than the one shown last, until the stream ends.
    async fn follow(&mut self, client: &mut Client, tx_id: &str) -> Result<(), Failure> {
        let message = v1::WatchRequest {
            tx_id: tx_id.to_owned(),
        };
        let mut states = client.watch(message).await.map_err(refused)?.into_inner();
        while let Some(tx) = states.message().await.map_err(refused)? {
            // The same state again, after the connection was lost.
            if tx.version <= self.shown {
                continue;
            }
            self.shown = tx.version;
            if self.as_json {
                print(&format!("{}\n", json::transaction(&tx)))?;
            } else {
                print(&format!("version {}: {}\n", tx.version, line(&tx)))?;
            }
            self.over = match (tx.status(), tx.biz_status()) {
                (v1::TxStatus::Success, v1::BizStatus::Failure) => Some(3),
                (v1::TxStatus::Success, _) => Some(0),
                (v1::TxStatus::Failure, _) => Some(4),
                _ => None,
            };
        }
        Ok(())
    }
}

fn line(tx: &v1::Transaction) -> String {
    let actions: Vec<_> = tx
        .actions
        .iter()
        .map(|view| {
            let name = view.action.as_ref().map(|action| action.name.as_str());
            let status = words::short(view.status().as_str_name(), "ACTION_STATUS_");
            format!("{} {status}", words::plain(name.unwrap_or_default()))
        })
        .collect();
    format!("{}; {}", words::standing(tx), actions.join(", "))
}
