//! `Watch`: the states of one transaction, until it is finished or parked.

use std::sync::Arc;

use futures::{Stream, stream};
use prost::Message as _;
use tercet_core::id::TxId;
use tercet_proto::v1;
use tonic::Status;

use super::{Api, draining, room_after};
use crate::{
    backlog::{Held, Peer},
    bounds,
    requests::{Lookup, Seen, Watching},
    wire::views,
};

/// A transaction as it was read, and the room that is kept for it on the connection.
pub(super) type First = (Seen, Held);

/// The progress of a watch.
enum Progress {
    /// It begins with this state.
    First(Box<First>),
    /// It has shown this version.
    Shown(u32, Option<Watching>),
    /// It has shown the last.
    Over,
}

/// Returns the states of a transaction, beginning with the first. The next is read only when the connection has room
/// for it.
pub(super) fn states(
    api: Api,
    peer: Peer,
    id: TxId,
    first: First,
) -> impl Stream<Item = Result<v1::Transaction, Status>> {
    let (seen, mut room) = first;
    let bytes = views::transaction(seen.view.clone(), Vec::new()).encoded_len();
    room.set(bytes);
    let start = Progress::First(Box::new((seen, room)));
    stream::unfold(
        (api, peer, start),
        move |(api, peer, progress)| async move {
            let (shown, watching) = match progress {
                Progress::First(first) => {
                    let (seen, _room) = *first;
                    let next = after(&seen, None);
                    let state = views::transaction(seen.view, seen.obstacles);
                    return Some((Ok(state), (api, peer, next)));
                }
                Progress::Shown(version, watching) => (version, watching),
                Progress::Over => return None,
            };
            match newer(&api, &peer, id, shown, watching).await {
                Err(status) => Some((Err(status), (api, peer, Progress::Over))),
                Ok((seen, watching)) => {
                    let next = after(&seen, Some(watching));
                    let seen = Arc::unwrap_or_clone(seen);
                    let state = views::transaction(seen.view, seen.obstacles);
                    Some((Ok(state), (api, peer, next)))
                }
            }
        },
    )
}

/// Waits for a state newer than the version shown last.
async fn newer(
    api: &Api,
    peer: &Peer,
    id: TxId,
    shown: u32,
    watching: Option<Watching>,
) -> Result<(Arc<Seen>, Watching), Status> {
    let newer = async {
        let mut watching = match watching {
            Some(watching) => watching,
            None => api.requests.watch(id)?,
        };
        let seen = if let Some(seen) = watching.newer(shown).await? {
            room_after(peer, async {}).await;
            seen
        } else {
            let _room = peer.room(bounds::ANSWER_BYTES).await;
            Arc::new(api.requests.get(Lookup::Id(id)).await?)
        };
        Ok((seen, watching))
    };
    tokio::select! {
        newer = newer => newer,
        () = api.closing.cancelled() => Err(draining()),
    }
}

fn after(shown: &Seen, watching: Option<Watching>) -> Progress {
    if shown.is_over() {
        Progress::Over
    } else {
        Progress::Shown(shown.view.tx.version, watching)
    }
}
