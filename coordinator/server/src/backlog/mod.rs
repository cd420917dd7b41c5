//! Bounds for everything that peers send and that waits to be read by them: no queue grows for a peer that never reads.
//!
//! Two places hold what a peer has not read yet. What waits for a stream of replies or calls is in an [`Outbox`], from
//! which the connection takes as the peer reads. What was taken from there, or is the answer to a single request, is
//! counted by the [`Peer`] of its connection until the last byte is written to the socket. A peer that leaves too much
//! unread in either place, or takes nothing for too long, is cut off: its connection is closed, and everything that
//! waited for it is dropped.
//!
//! | file | holds |
//! |---|---|
//! | `inbound` | the bytes of requests that have come and are not taken in |
//! | `outbox` | the queue of one stream |
//! | `peer` | the bytes of each connection that are not written yet, and those of all |

mod inbound;
mod outbox;
mod peer;

pub(crate) use self::{
    inbound::{Inbound, Taking},
    outbox::{Outbox, Unread},
    peer::{Held, OpenRequest, Peer, Peers},
};
