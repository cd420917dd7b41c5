//! Connections that read in turns: a peer that sends faster than its bytes are worked off holds no other task up.
//!
//! HTTP is read in loops that end only when nothing is there to be read. The runtime ends such a loop after a number of
//! reads; but the bytes of one read are thousands of frames or heads, which take long. So the loop ends after a number of
//! bytes too.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll},
};

use hyper_util::client::legacy::connect::{Connected, Connection};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::bounds;

/// A stream whose reader lets other tasks go on after [`READ_TURN_BYTES`](bounds::READ_TURN_BYTES).
pub(crate) struct InTurns<S> {
    stream: S,
    /// Bytes read since the reader last let others go on.
    read: usize,
}

impl<S> InTurns<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self { stream, read: 0 }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for InTurns<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.read >= bounds::READ_TURN_BYTES {
            self.read = 0;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if polled.is_pending() {
            self.read = 0;
        } else {
            self.read += buffer.filled().len() - before;
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for InTurns<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl<S: Connection> Connection for InTurns<S> {
    fn connected(&self) -> Connected {
        self.stream.connected()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::poll_fn,
        sync::{
            Arc,
            atomic::{AtomicBool, Ordering::SeqCst},
        },
    };

    use tokio::io::{AsyncReadExt as _, repeat};

    use super::*;

    /// A source that never runs dry, and that the runtime does not bound.
    #[tokio::test]
    async fn a_reader_of_an_endless_stream_lets_others_go_on() {
        let others = Arc::new(AtomicBool::new(false));
        let other = Arc::clone(&others);
        let other = tokio::spawn(async move { other.store(true, SeqCst) });
        let mut stream = InTurns::new(repeat(7));
        let mut buffer = vec![0; 8 * 1024];
        let mut read = 0;
        while !others.load(SeqCst) {
            read += stream.read(&mut buffer).await.unwrap();
            assert!(read <= 2 * bounds::READ_TURN_BYTES, "{read} bytes at once");
        }
        other.await.unwrap();
    }

    #[tokio::test]
    async fn a_reader_that_waited_begins_a_new_turn() {
        let (ours, mut theirs) = tokio::io::duplex(bounds::READ_TURN_BYTES);
        let mut stream = InTurns::new(ours);
        let mut bytes = vec![0; bounds::READ_TURN_BYTES / 2];
        for _ in 0..4 {
            let mut buffer = ReadBuf::new(&mut bytes);
            poll_fn(|cx| {
                let polled = Pin::new(&mut stream).poll_read(cx, &mut buffer);
                assert!(polled.is_pending(), "nothing has come");
                Poll::Ready(())
            })
            .await;
            tokio::io::AsyncWriteExt::write_all(&mut theirs, &vec![0; 1_000])
                .await
                .unwrap();
            let mut buffer = ReadBuf::new(&mut bytes);
            poll_fn(|cx| {
                let polled = Pin::new(&mut stream).poll_read(cx, &mut buffer);
                assert!(polled.is_ready());
                Poll::Ready(())
            })
            .await;
        }
    }
}
