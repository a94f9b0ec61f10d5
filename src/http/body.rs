//! Request bodies that cannot grow or dawdle beyond their limits.
//!
//! Every body of a listener is guarded before a handler sees it. What a handler leaves unread is
//! read and dropped for a moment, because closing a socket with unread bytes resets it, and the
//! caller would see the reset instead of our answer.

use super::phase::Phase;
use super::{last_message, message};
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{FromRequest, Request};
use axum::http::header::CONTENT_ENCODING;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use http_body_util::BodyExt;
use hyper::body::{Frame, Incoming, SizeHint};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::time::{Instant, Sleep, sleep, timeout};

/// How long an unread rest is read and dropped.
pub(super) const LINGER: Duration = Duration::from_secs(2);
/// How much of it.
pub(super) const LINGER_BYTES: usize = 8 * 1024 * 1024;

/// A body that takes longer than this must come at [`FLOOR`] at least. It is what a body has by default:
/// the floor is for those who give theirs longer, and no reason to cut an honest caller off sooner.
const GRACE: Duration = Duration::from_secs(10);
/// Bytes per second.
const FLOOR: usize = 1024;

/// Why a body could not be read.
#[derive(Debug, thiserror::Error)]
pub enum BodyFault {
    /// It is longer than the limit.
    #[error("Body is larger than {0} bytes")]
    TooLarge(usize),
    /// It did not come in time.
    #[error("Body did not arrive in time")]
    Slow,
    /// The connection broke, or the transfer coding is wrong.
    #[error("Body was cut off")]
    Broken,
    /// It is compressed.
    #[error(
        "The body is compressed (Content-Encoding), which this gateway does not read. Send it as it is"
    )]
    Compressed,
}

impl BodyFault {
    /// The answer to whoever sent it.
    pub fn answer(&self) -> Response {
        let text = self.to_string();
        match self {
            Self::TooLarge(_) => message(StatusCode::PAYLOAD_TOO_LARGE, &text),
            Self::Slow => last_message(StatusCode::REQUEST_TIMEOUT, &text),
            Self::Broken => last_message(StatusCode::BAD_REQUEST, &text),
            Self::Compressed => message(StatusCode::UNSUPPORTED_MEDIA_TYPE, &text),
        }
    }
}

/// A body within its limits.
#[derive(Debug)]
pub(super) struct Guarded {
    /// `None` once the body has ended or was cut.
    inner: Option<Incoming>,
    limit: usize,
    left: usize,
    patience: Duration,
    /// Set at the first wait: most bodies come with their headers and need no timer.
    late: Option<Late>,
    /// Told while the caller owes us bytes.
    phase: Phase,
    /// A caller that waits for `100 Continue` has not sent the body: there is no rest to read.
    lingers: bool,
}

/// The end of the patience with a body.
#[derive(Debug)]
struct Late {
    /// The first wait.
    since: Instant,
    alarm: Pin<Box<Sleep>>,
}

impl Guarded {
    pub(super) fn new(
        inner: Incoming,
        limit: usize,
        patience: Duration,
        phase: Phase,
        lingers: bool,
    ) -> Self {
        Self {
            inner: Some(inner),
            limit,
            left: limit,
            patience,
            late: None,
            phase,
            lingers,
        }
    }

    /// Called when there is nothing to read: ready when it has taken too long, as a whole or for what
    /// has come so far.
    fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let came = self.limit - self.left;
        let late = self.late.get_or_insert_with(|| Late {
            since: Instant::now(),
            alarm: Box::pin(sleep(Duration::ZERO)),
        });
        let end = late.since + allowed(self.patience, came);
        if late.alarm.deadline() != end {
            late.alarm.as_mut().reset(end);
        }
        self.phase.owes_body(late.since);
        late.alarm.as_mut().poll(cx)
    }

    fn take(&mut self, frame: Frame<Bytes>) -> Result<Frame<Bytes>, BodyFault> {
        let length = frame.data_ref().map_or(0, Bytes::len);
        match self.left.checked_sub(length) {
            Some(left) => {
                self.left = left;
                Ok(frame)
            }
            None => Err(BodyFault::TooLarge(self.limit)),
        }
    }
}

/// How long a body may take of which so many bytes came.
fn allowed(patience: Duration, came: usize) -> Duration {
    patience.min(GRACE + Duration::from_millis((came * 1000 / FLOOR) as u64))
}

impl HttpBody for Guarded {
    type Data = Bytes;
    type Error = BodyFault;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyFault>>> {
        let this = &mut *self;
        let Some(inner) = this.inner.as_mut() else {
            return Poll::Ready(None);
        };
        if inner.size_hint().lower() > this.left as u64 {
            return Poll::Ready(Some(Err(BodyFault::TooLarge(this.limit))));
        }
        let polled = Pin::new(inner).poll_frame(cx);
        if polled.is_ready() && this.late.is_some() {
            this.phase.serving();
        }
        match polled {
            Poll::Ready(Some(Ok(frame))) => Poll::Ready(Some(this.take(frame))),
            Poll::Ready(Some(Err(_))) => {
                this.inner = None;
                Poll::Ready(Some(Err(BodyFault::Broken)))
            }
            Poll::Ready(None) => {
                this.inner = None;
                Poll::Ready(None)
            }
            Poll::Pending => this.poll_late(cx).map(|()| {
                this.inner = None;
                this.phase.serving();
                Some(Err(BodyFault::Slow))
            }),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner
            .as_ref()
            .map_or_else(SizeHint::default, HttpBody::size_hint)
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        let unread = self.inner.take().filter(|body| !body.is_end_stream());
        if let (true, Some(rest), Ok(runtime)) = (self.lingers, unread, Handle::try_current()) {
            runtime.spawn(timeout(LINGER, discard(rest)));
        }
    }
}

async fn discard(mut rest: Incoming) {
    let mut seen = 0;
    while let Some(Ok(frame)) = rest.frame().await {
        seen += frame.data_ref().map_or(0, Bytes::len);
        if seen > LINGER_BYTES {
            break;
        }
    }
}

/// Codings that make other bytes of a body. What else stands in the header says nothing of how to read it.
const COMPRESSIONS: [&str; 7] = [
    "gzip",
    "x-gzip",
    "deflate",
    "br",
    "zstd",
    "compress",
    "x-compress",
];

/// Whether a body is said to be compressed.
fn says_compressed(headers: &HeaderMap) -> bool {
    let values = headers.get_all(CONTENT_ENCODING).iter();
    let codings = values.filter_map(|value| value.to_str().ok());
    let mut codings = codings
        .flat_map(|codings| codings.split(','))
        .map(str::trim);
    codings.any(|coding| {
        COMPRESSIONS
            .iter()
            .any(|known| coding.eq_ignore_ascii_case(known))
    })
}

/// Whether a body begins as JSON of ours does.
fn begins_as_json(body: &[u8]) -> bool {
    let body = body.strip_prefix("\u{FEFF}".as_bytes()).unwrap_or(body);
    matches!(body.trim_ascii_start().first(), Some(b'{' | b'['))
}

/// A whole request body. One that is compressed, or beyond the limits, is answered here, with 415, 413, 408
/// or 400.
#[derive(Debug)]
pub struct Payload(pub Bytes);

impl<S: Sync> FromRequest<S> for Payload {
    type Rejection = Response;

    async fn from_request(request: Request, _: &S) -> Result<Self, Response> {
        let body = whole(request).await;
        body.map(Self).map_err(|fault| fault.answer())
    }
}

/// Reads the whole body of a request. What its header says is believed where it looks like that: something
/// on the way may have inflated it and kept the header. Nothing here inflates: a small body could become a
/// very large one.
pub async fn whole(request: Request) -> Result<Bytes, BodyFault> {
    let says_compressed = says_compressed(request.headers());
    let body = read(request.into_body()).await?;
    match says_compressed && !begins_as_json(&body) {
        true => Err(BodyFault::Compressed),
        false => Ok(body),
    }
}

/// Reads a body to its end; a body that came in one piece is not copied.
async fn read(mut body: Body) -> Result<Bytes, BodyFault> {
    let first = next(&mut body).await?.unwrap_or_default();
    if body.is_end_stream() {
        return Ok(first);
    }
    let Some(second) = next(&mut body).await? else {
        return Ok(first);
    };
    let mut whole = Vec::with_capacity(first.len() + second.len());
    whole.extend_from_slice(&first);
    whole.extend_from_slice(&second);
    while let Some(data) = next(&mut body).await? {
        whole.extend_from_slice(&data);
    }
    Ok(whole.into())
}

async fn next(body: &mut Body) -> Result<Option<Bytes>, BodyFault> {
    loop {
        match body.frame().await {
            None => return Ok(None),
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => return Ok(Some(data)),
                // Trailers say nothing that matters here.
                Err(_) => continue,
            },
            Some(Err(error)) => {
                let fault = error.into_inner().downcast::<BodyFault>();
                return Err(fault.map_or(BodyFault::Broken, |fault| *fault));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r_69_the_floor_takes_nothing_from_the_default_patience() {
        let seconds = Duration::from_secs;
        let usual = super::super::Limits::default().body_timeout;
        for came in [0, 1, FLOOR, 1 << 20] {
            assert_eq!(allowed(usual, came), usual, "{came}");
        }
        let long = seconds(600);
        for (came, whole) in [(0, 10), (9 * FLOOR, 19), (600 * FLOOR, 600)] {
            assert_eq!(allowed(long, came), seconds(whole), "{came}");
        }
    }
}
