//! Clients that ask and do not read the answers.

use std::sync::Arc;
use std::time::Duration;

use tercet_proto::v1;
use tercet_proto::v1::coordinator_client::CoordinatorClient;
use tercet_sdk::initiator::{Client, Decision};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint};
use uuid::Uuid;

use crate::backlog::stuck_action;
use crate::names::Sick;
use crate::stage::Stage;

/// Actions of the large transaction that they ask for.
const ACTIONS: usize = 32;
/// Bytes of the payload of each.
const PAYLOAD: usize = 32 * 1024;
/// The pause between two Gets of a session that reads nothing.
const GET_EVERY: Duration = Duration::from_millis(20);
/// Watches of one connection that reads nothing.
const WATCHES: usize = 16;
/// The time for which they stay open: longer than a silent peer is kept.
const WATCH_FOR: Duration = Duration::from_secs(45);
/// The pause before a client connects again.
const AGAIN_AFTER: Duration = Duration::from_secs(5);

/// Begins a large transaction, which is stuck like the others, and starts the clients.
pub(crate) async fn start(stage: &Arc<Stage>, client: &Client) -> anyhow::Result<()> {
    let tx_id = Uuid::now_v7();
    stage.book.begins(tx_id, Some(Decision::Success));
    let mut draft = client.execute("soak-large", tx_id.to_string()).tx_id(tx_id);
    for number in 0..ACTIONS {
        let name = format!("large-{number}");
        let mode = v1::Mode::Deliver;
        draft = draft.action(stuck_action(&name, Sick::Absent, mode, PAYLOAD));
        stage.stuck_begun();
    }
    let outcome = draft.send().await?;
    stage.book.answered(tx_id, outcome.decision());
    tokio::spawn(session(stage.address.clone(), tx_id));
    tokio::spawn(watches(stage.address.clone(), tx_id));
    Ok(())
}

async fn connect(address: &str) -> anyhow::Result<CoordinatorClient<Channel>> {
    let channel = Endpoint::from_shared(address.to_owned())?.connect().await?;
    Ok(CoordinatorClient::new(channel))
}

/// Opens sessions, one after the other, sends Gets, and reads none of their answers.
async fn session(address: String, tx_id: Uuid) {
    loop {
        // The coordinator cuts it off, or goes away.
        let _ = gets(&address, tx_id).await;
        tokio::time::sleep(AGAIN_AFTER).await;
    }
}

async fn gets(address: &str, tx_id: Uuid) -> anyhow::Result<()> {
    let mut client = connect(address).await?;
    let (outgoing, messages) = mpsc::channel(1);
    let unread = client.session(ReceiverStream::new(messages)).await?;
    let mut id = 0;
    let sending = async {
        loop {
            id += 1;
            let get = v1::GetRequest {
                tx_id: tx_id.to_string(),
                ..v1::GetRequest::default()
            };
            let request = v1::SessionRequest {
                id,
                request: Some(v1::session_request::Request::Get(get)),
            };
            let requests = vec![request];
            if outgoing
                .send(v1::SessionRequests { requests })
                .await
                .is_err()
            {
                return;
            }
            tokio::time::sleep(GET_EVERY).await;
        }
    };
    sending.await;
    drop(unread);
    Ok(())
}

/// Opens Watches, and reads none of their states.
async fn watches(address: String, tx_id: Uuid) {
    loop {
        if let Ok(mut client) = connect(&address).await {
            let mut unread = Vec::new();
            for _ in 0..WATCHES {
                let request = v1::WatchRequest {
                    tx_id: tx_id.to_string(),
                };
                unread.extend(client.watch(request).await);
            }
            tokio::time::sleep(WATCH_FOR).await;
        }
        tokio::time::sleep(AGAIN_AFTER).await;
    }
}
