//! Every coordinator that a participant is attached to: the configured ones, and the replicas that
//! these list.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::{sync::mpsc, task::JoinSet};
use tokio_util::sync::CancellationToken;

use super::{AttachOptions, MAX_ADDRESSES, endpoint, link::Link};
use crate::participant::Participant;

/// Lists of replicas that were received and not yet processed.
const HEARD: usize = 16;

/// The address through which each node is attached. A node may have several, and gets one stream.
#[derive(Clone, Debug, Default)]
pub(super) struct Nodes(Arc<Mutex<BTreeMap<String, String>>>);

impl Nodes {
    /// Takes the node for `address`; returns false if another address has it.
    pub(super) fn take(&self, node: &str, address: &str) -> bool {
        let mut nodes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        nodes
            .entry(node.to_owned())
            .or_insert_with(|| address.to_owned())
            == address
    }

    /// Releases the node that `address` took.
    pub(super) fn release(&self, address: &str) {
        let mut nodes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        nodes.retain(|_, holder| holder != address);
    }
}

/// The replicas that the stream of one address lists; empty once that stream has ended.
#[derive(Debug)]
pub(super) struct Heard {
    pub(super) from: String,
    pub(super) replicas: Vec<String>,
}

/// One task per address.
pub(super) struct Fleet {
    participant: Participant,
    options: Arc<AttachOptions>,
    nodes: Nodes,
    stop: CancellationToken,
    heard: mpsc::Sender<Heard>,
    replicas: mpsc::Receiver<Heard>,
    /// The replicas that each open stream lists.
    lists: BTreeMap<String, Vec<String>>,
    links: BTreeMap<String, CancellationToken>,
    tasks: JoinSet<()>,
}

impl Fleet {
    pub(super) fn new(participant: Participant, options: AttachOptions) -> Self {
        let (heard, replicas) = mpsc::channel(HEARD);
        Self {
            participant,
            options: Arc::new(options),
            nodes: Nodes::default(),
            stop: CancellationToken::new(),
            heard,
            replicas,
            lists: BTreeMap::new(),
            links: BTreeMap::new(),
            tasks: JoinSet::new(),
        }
    }

    /// Serves until `shutdown`, then until every link has drained.
    pub(super) async fn run(mut self, shutdown: impl Future<Output = ()>) {
        for address in self.options.addresses.clone() {
            self.link(address);
        }
        let mut shutdown = pin!(shutdown);
        loop {
            tokio::select! {
                () = &mut shutdown => break,
                Some(heard) = self.replicas.recv() => self.follow(heard),
                // A link that was left; the reason for its end is already logged.
                Some(_) = self.tasks.join_next() => {}
            }
        }
        self.stop.cancel();
        while self.tasks.join_next().await.is_some() {}
    }

    /// Attaches to replicas that are new, and leaves those that are neither configured nor listed by
    /// an open stream.
    fn follow(&mut self, heard: Heard) {
        if heard.replicas.is_empty() {
            self.lists.remove(&heard.from);
        } else {
            self.lists.insert(heard.from, heard.replicas);
        }
        let configured = self.options.addresses.iter();
        let wanted: BTreeSet<String> = configured
            .chain(self.lists.values().flatten())
            .cloned()
            .collect();
        self.links.retain(|address, stop| {
            let stays = wanted.contains(address);
            if !stays {
                stop.cancel();
            }
            stays
        });
        for address in wanted {
            match endpoint(&address) {
                Ok(_) => self.link(address),
                Err(problem) => tracing::warn!(problem, "a replica's address is ignored"),
            }
        }
    }

    fn link(&mut self, address: String) {
        if self.links.contains_key(&address) || self.links.len() >= MAX_ADDRESSES {
            return;
        }
        let stop = self.stop.child_token();
        self.links.insert(address.clone(), stop.clone());
        let link = Link {
            participant: self.participant.clone(),
            options: Arc::clone(&self.options),
            nodes: self.nodes.clone(),
            heard: self.heard.clone(),
            address,
            stop,
        };
        self.tasks.spawn(link.run());
    }
}
