//! One connection for each registered address, made when it is first needed.

use std::collections::HashMap;

use tokio::sync::Mutex;
use tonic::transport::{Channel, Endpoint};

use crate::bounds;

/// Connections by address; the one that was made first goes when there are too many.
#[derive(Default)]
pub(super) struct Channels {
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    by_address: HashMap<String, (u64, Channel)>,
    made: u64,
}

impl Channels {
    /// Returns the connection to an address, made if there is none yet.
    pub(super) async fn get(&self, address: &str) -> Result<Channel, String> {
        let mut kept = self.kept.lock().await;
        if let Some((_, channel)) = kept.by_address.get(address) {
            return Ok(channel.clone());
        }
        let channel = Endpoint::from_shared(address.to_owned())
            .map_err(|error| format!("{address} is no address: {error}"))?
            .connect_timeout(bounds::CONNECT_TIMEOUT)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(bounds::KEEPALIVE_INTERVAL)
            .keep_alive_timeout(bounds::KEEPALIVE_TIMEOUT)
            .connect_lazy();
        if kept.by_address.len() >= bounds::CHANNELS {
            let oldest = kept
                .by_address
                .iter()
                .min_by_key(|(_, (made, _))| *made)
                .map(|(address, _)| address.clone());
            if let Some(oldest) = oldest {
                kept.by_address.remove(&oldest);
            }
        }
        kept.made += 1;
        let made = kept.made;
        kept.by_address
            .insert(address.to_owned(), (made, channel.clone()));
        Ok(channel)
    }
}
