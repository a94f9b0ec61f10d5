//! A socket that loses patience: slow headers are cut soon, an idle connection much later.
//!
//! hyper's own header timeout runs while a kept-alive connection lies idle, so it can only be as
//! short as the idle time. Here the clock of the headers starts with their first byte. Never
//! speaks during a request: bodies and handlers have limits of their own.
//!
//! Headers that hyper refuses by itself (431, 400) are read to their end after the answer: a socket
//! closed with unread bytes is reset, and the reset may overtake the answer.

use super::body::{LINGER, LINGER_BYTES};
use super::phase::{Doing, Phase};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

/// A socket with its phase.
#[derive(Debug)]
pub(super) struct ReadTimeouts<S> {
    inner: S,
    phase: Phase,
    headers: Duration,
    idle: Duration,
    /// Wakes at or before the deadline; moved only when it fires too early or would fire too late,
    /// so that a busy connection does not touch the timer wheel for each request.
    alarm: Pin<Box<Sleep>>,
    /// An answer went out while headers still came in: no handler gave it.
    refused: bool,
    /// What is read and dropped after such an answer, and until when.
    rest: Option<Rest>,
}

#[derive(Debug)]
struct Rest {
    until: Instant,
    left: usize,
}

impl<S> ReadTimeouts<S> {
    pub(super) fn new(inner: S, phase: Phase, headers: Duration, idle: Duration) -> Self {
        Self {
            inner,
            phase,
            headers,
            idle,
            alarm: Box::pin(sleep_until(Instant::now() + headers)),
            refused: false,
            rest: None,
        }
    }

    fn wrote(&mut self) {
        self.refused = matches!(self.phase.doing(), Doing::Headers(_));
    }

    /// Called whenever the socket has nothing to give or to take.
    fn wait<T>(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        let deadline = match self.phase.doing() {
            Doing::Serving | Doing::Body(_) => return Poll::Pending,
            Doing::Headers(since) => since + self.headers,
            Doing::Idle(since) => since + self.idle,
        };
        if self.alarm.deadline() > deadline {
            self.alarm.as_mut().reset(deadline);
        }
        loop {
            ready!(self.alarm.as_mut().poll(cx));
            if Instant::now() >= deadline {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            self.alarm.as_mut().reset(deadline);
        }
    }
}

impl<S: AsyncRead + Unpin> ReadTimeouts<S> {
    /// Drops what the caller still sends, until it closes its side.
    fn poll_rest(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let rest = self.rest.get_or_insert_with(|| Rest {
            until: Instant::now() + LINGER,
            left: LINGER_BYTES,
        });
        if self.alarm.deadline() != rest.until {
            self.alarm.as_mut().reset(rest.until);
        }
        let mut dropped = [0; 8 * 1024];
        loop {
            let mut dropped = ReadBuf::new(&mut dropped);
            match Pin::new(&mut self.inner).poll_read(cx, &mut dropped) {
                Poll::Pending => return self.alarm.as_mut().poll(cx),
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Ready(Ok(())) => {
                    let length = dropped.filled().len();
                    rest.left = rest.left.saturating_sub(length);
                    if length == 0 || rest.left == 0 {
                        return Poll::Ready(());
                    }
                }
            }
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for ReadTimeouts<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        match Pin::new(&mut self.inner).poll_read(cx, buf) {
            Poll::Pending => self.wait(cx),
            ready => {
                if buf.filled().len() > before {
                    self.phase.bytes_came();
                }
                ready
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for ReadTimeouts<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match Pin::new(&mut self.inner).poll_write(cx, buf) {
            Poll::Pending => self.wait(cx),
            ready => {
                self.wrote();
                ready
            }
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match Pin::new(&mut self.inner).poll_write_vectored(cx, bufs) {
            Poll::Pending => self.wait(cx),
            ready => {
                self.wrote();
                ready
            }
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.rest.is_none() {
            ready!(Pin::new(&mut self.inner).poll_shutdown(cx))?;
        }
        if self.refused {
            ready!(self.poll_rest(cx));
        }
        Poll::Ready(Ok(()))
    }
}
