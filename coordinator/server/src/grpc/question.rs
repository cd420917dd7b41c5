//! The body of a request: its messages are measured as they come, and held back while there is no room for more.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tercet_core::refusal::Refusal;
use tokio::time::{error::Elapsed, timeout};
use tonic::Status;
use tower::BoxError;

use super::elements::{Elements, Unfit};
use crate::{backlog::Inbound, bounds, error::RequestError};

/// The body of a request: its bytes are counted, and handed on only while there is room. It ends with an error where
/// there is none for long, or a message would take too much to decode.
pub(super) struct Question<B> {
    body: B,
    inbound: Inbound,
    progress: Progress,
    /// Bytes that wait for room.
    held_back: Option<Bytes>,
    /// The wait for that room; an error: it lasted too long.
    waiting: Option<Wait>,
    /// The end of the body, once a message is refused.
    refused: Option<Status>,
}

/// A wait for room.
type Wait = Pin<Box<dyn Future<Output = Result<(), Elapsed>> + Send>>;

/// The progress of the messages of a body: each has a head of five bytes, of which the last four are its length.
#[derive(Default)]
struct Progress {
    head: Vec<u8>,
    /// Bytes that have come of the message whose head is complete.
    come: usize,
    /// Bytes that still have to come of it.
    left: usize,
    /// Bytes of memory of each message that has become complete and is not counted yet.
    complete: Vec<usize>,
    /// The elements of messages of ours; `None`: it is a method of another package, or none.
    elements: Option<Elements>,
    /// Whether those of the current message are counted.
    counts: bool,
}

/// A message that is not decoded.
struct Refused {
    /// The bytes before it, of those that came with it.
    before: usize,
    unfit: Unfit,
}

impl Progress {
    fn new(elements: Option<Elements>) -> Self {
        Self {
            elements,
            ..Self::default()
        }
    }

    /// Goes on with the next bytes.
    fn advance(&mut self, mut bytes: &[u8]) -> Result<(), Refused> {
        let length = bytes.len();
        let mut before = 0;
        while let Some((first, rest)) = bytes.split_first() {
            if self.left > 0 {
                let (now, rest) = bytes.split_at(self.left.min(bytes.len()));
                self.come += now.len();
                self.left -= now.len();
                if self.counts
                    && let Some(elements) = &mut self.elements
                {
                    let counted = elements.advance(now);
                    counted.map_err(|unfit| Refused { before, unfit })?;
                }
                bytes = rest;
            } else {
                self.head.push(*first);
                bytes = rest;
                let [flag, a, b, c, d] = *self.head else {
                    continue;
                };
                self.head.clear();
                let length = u32::from_be_bytes([a, b, c, d]);
                self.begin(flag, usize::try_from(length).unwrap_or(usize::MAX));
            }
            if self.left == 0 {
                self.complete.push(self.memory());
                before = length - bytes.len();
            }
        }
        Ok(())
    }

    /// Begins with the message after this head. One that is compressed or too long is refused for that.
    fn begin(&mut self, flag: u8, length: usize) {
        (self.come, self.left) = (0, length);
        self.counts = flag == 0 && length <= bounds::MESSAGE_BYTES;
        if let Some(elements) = &mut self.elements {
            elements.begin(length);
        }
    }

    /// Returns the bytes of memory of the current message, as far as it has come: its own, and those of its elements.
    fn memory(&self) -> usize {
        let elements = self.elements.as_ref().map_or(0, Elements::count);
        self.come + elements * bounds::ELEMENT_BYTES
    }

    /// Returns the bytes of memory of the message that has begun and is not complete.
    fn begun(&self) -> usize {
        if self.left == 0 { 0 } else { self.memory() }
    }
}

impl<B> Question<B> {
    /// Makes the body of a request whose elements are counted so. Messages of a method of ours count until they are
    /// taken in, others as long as they come.
    pub(super) fn new(body: B, inbound: Inbound, elements: Option<Elements>) -> Self {
        Self {
            body,
            inbound,
            progress: Progress::new(elements),
            held_back: None,
            waiting: None,
            refused: None,
        }
    }

    /// Hands on the bytes that were held back, once there is room. Without room for long the request is refused: what its
    /// client has sent ahead of it fills the window that all requests of the connection share, and the one that goes on
    /// could be behind.
    fn poll_held_back(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if self.held_back.is_none() {
            return Poll::Ready(None);
        }
        if self.waiting.is_some() || !self.inbound.has_room() {
            let inbound = &self.inbound;
            let waiting = self.waiting.get_or_insert_with(|| {
                let inbound = inbound.clone();
                Box::pin(async move { timeout(bounds::ROOM_WAIT, inbound.room()).await })
            });
            let waited = ready!(waiting.as_mut().poll(cx));
            self.waiting = None;
            if waited.is_err() {
                self.held_back = None;
                self.refused = Some(RequestError::from(Refusal::Overloaded).into());
                return Poll::Ready(None);
            }
        }
        let mut bytes = self.held_back.take();
        if let Some(bytes) = &mut bytes {
            let refused = self.progress.advance(bytes).err();
            let complete = self.progress.complete.drain(..);
            if let Some(Refused { before, unfit }) = refused {
                // The messages before it count; of this one nothing is decoded.
                bytes.truncate(before);
                self.refused = Some(RequestError::from(unfit).into());
                self.inbound.came(complete, 0);
            } else {
                let complete: Vec<_> = complete.collect();
                self.inbound.came(complete, self.progress.begun());
            }
            if self.progress.elements.is_none() {
                self.inbound.take_all();
            }
        }
        Poll::Ready(bytes)
    }
}

impl<B> Body for Question<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Some(bytes) = ready!(self.poll_held_back(cx)) {
            return Poll::Ready(Some(Ok(Frame::data(bytes))));
        }
        if let Some(refused) = &self.refused {
            return Poll::Ready(Some(Err(refused.clone().into())));
        }
        let frame = match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
            Some(Ok(frame)) => frame,
            Some(Err(error)) => return Poll::Ready(Some(Err(error.into()))),
            None => return Poll::Ready(None),
        };
        let frame = match frame.into_data() {
            Ok(bytes) => {
                self.held_back = Some(bytes);
                let bytes = ready!(self.poll_held_back(cx)).unwrap_or_default();
                Frame::data(bytes)
            }
            Err(frame) => frame,
        };
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.held_back.is_none() && self.refused.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::Progress;

    #[test]
    fn the_bytes_of_a_message_count_until_it_is_complete() {
        let message = |bytes: u32| {
            let body = vec![0; usize::try_from(bytes).unwrap()];
            [vec![0], bytes.to_be_bytes().to_vec(), body].concat()
        };
        let body = [message(3), message(0), message(300), message(10)].concat();
        // In pieces of every size the same bytes lead to the same count.
        for size in 1..body.len() {
            let mut progress = Progress::default();
            let mut come = 0;
            for piece in body[..body.len() - 4].chunks(size) {
                progress.advance(piece).ok().unwrap();
                come = progress.begun();
            }
            assert_eq!(come, 6, "in pieces of {size}");
            assert_eq!(progress.complete, [3, 0, 300], "in pieces of {size}");
            progress.advance(&body[body.len() - 4..]).ok().unwrap();
            assert_eq!(progress.begun(), 0);
        }
        let mut progress = Progress::default();
        let counts: Vec<_> = body
            .chunks(50)
            .map(|piece| {
                progress.advance(piece).ok().unwrap();
                progress.begun()
            })
            .collect();
        assert_eq!(counts, [32, 82, 132, 182, 232, 282, 0]);
    }
}
