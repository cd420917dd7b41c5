//! `Watch`: the states of one transaction, read again and again until it is finished or parked.

use std::time::Duration;

use futures::{Stream, stream};
use tercet_core::{id::TxId, model::TxStatus};
use tercet_proto::v1;
use tonic::Status;

use super::{Api, draining};
use crate::{
    bounds,
    requests::{Lookup, Seen},
    wire::views,
};

/// The progress of a watch.
enum Watching {
    /// It begins with this state.
    First(Box<Seen>),
    /// It has shown this version and waits this long before the next read.
    Shown(u32, Duration),
    /// It has shown the last.
    Over,
}

/// Returns the states of a transaction, beginning with the first.
pub(super) fn states(
    api: Api,
    id: TxId,
    first: Seen,
) -> impl Stream<Item = Result<v1::Transaction, Status>> {
    let start = Watching::First(Box::new(first));
    stream::unfold((api, start), move |(api, watching)| async move {
        let (shown, wait) = match watching {
            Watching::First(first) => {
                let next = after(&first);
                let state = views::transaction(first.view, first.obstacles);
                return Some((Ok(state), (api, next)));
            }
            Watching::Shown(version, wait) => (version, wait),
            Watching::Over => return None,
        };
        let state = match newer(&api, id, shown, wait).await {
            Ok(seen) => seen,
            Err(status) => return Some((Err(status), (api, Watching::Over))),
        };
        let next = after(&state);
        let state = views::transaction(state.view, state.obstacles);
        Some((Ok(state), (api, next)))
    })
}

/// Waits for a state newer than the version shown last.
async fn newer(api: &Api, id: TxId, shown: u32, mut wait: Duration) -> Result<Seen, Status> {
    loop {
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = api.closing.cancelled() => return Err(draining()),
        }
        let seen = api.requests.get(Lookup::Id(id)).await?;
        if seen.view.tx.version > shown {
            return Ok(seen);
        }
        wait = (wait * 3 / 2).min(bounds::WATCH_MAX);
    }
}

fn after(shown: &Seen) -> Watching {
    let tx = &shown.view.tx;
    match tx.status {
        TxStatus::Success | TxStatus::Failure => Watching::Over,
        TxStatus::ProcessWaiting | TxStatus::Processing => {
            Watching::Shown(tx.version, bounds::WATCH_FIRST)
        }
    }
}
