//! The answers the fakes give besides plain JSON: gateway faults, HTML pages, and the two ways an answer can
//! be lost (the connection closed before it, or in its middle). Decides nothing.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    Json,
    body::{Body, Bytes},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use hyper::body::Frame;
use serde_json::{Value, json};
use tokio::time::Sleep;

/// Marks a response that the accept loop must not write: it closes the connection instead.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the sandbox cut the connection on purpose")]
pub(super) struct Cut;

/// A response standing for no response at all.
pub(super) fn cut() -> Response {
    let mut response = Response::new(Body::empty());
    response.extensions_mut().insert(Cut);
    response
}

/// JSON under a status.
pub(super) fn json(status: u16, body: Value) -> Response {
    (code(status), Json(body)).into_response()
}

/// An answer written by a rule.
#[derive(Debug, PartialEq)]
pub(super) struct Written {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// The answer of a rule, as it was written.
pub(super) fn written(written: &Written) -> Response {
    let headers = written.headers.clone();
    (code(written.status), headers, written.body.clone()).into_response()
}

/// Text under a status, for bodies that must not be JSON.
pub(super) fn html(status: u16, title: &str) -> Response {
    let page =
        format!("<html><head><title>{title}</title></head><body><h1>{title}</h1></body></html>");
    (code(status), [(header::CONTENT_TYPE, "text/html")], page).into_response()
}

/// A fault in Apigee's shape (contracts/jumper.md 3.3).
pub(super) fn fault(status: u16, errorcode: &str, text: &str) -> Response {
    let body = json!({"fault": {"faultstring": text, "detail": {"errorcode": errorcode}}});
    json(status, body)
}

/// A control request that cannot be done, with the reason.
pub(super) fn bad(status: u16, reason: impl Into<String>) -> Response {
    json(status, json!({"error": reason.into()}))
}

/// A status; one that is none becomes 500.
pub(super) fn code(status: u16) -> StatusCode {
    StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

/// The first half of a response under the length of the whole, then the end of the connection.
pub(super) async fn truncated(response: Response) -> Response {
    let (mut parts, body) = response.into_parts();
    let whole = axum::body::to_bytes(body, usize::MAX)
        .await
        .unwrap_or_default();
    parts
        .headers
        .insert(header::CONTENT_LENGTH, whole.len().into());
    let half = HalfBody {
        half: Some(whole.slice(..whole.len() / 2)),
        pause: None,
    };
    Response::from_parts(parts, Body::new(half))
}

/// Half a response, complete as HTTP but not as JSON.
pub(super) async fn half(response: Response) -> Response {
    let (mut parts, body) = response.into_parts();
    let whole = axum::body::to_bytes(body, usize::MAX)
        .await
        .unwrap_or_default();
    parts.headers.remove(header::CONTENT_LENGTH);
    Response::from_parts(parts, Body::from(whole.slice(..whole.len() / 2)))
}

/// A body that breaks off. It pauses before the break because the server drops what it has not flushed yet.
struct HalfBody {
    half: Option<Bytes>,
    pause: Option<Pin<Box<Sleep>>>,
}

impl hyper::body::Body for HalfBody {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        if let Some(half) = self.half.take() {
            return Poll::Ready(Some(Ok(Frame::data(half))));
        }
        let pause = self
            .pause
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(Duration::from_millis(20))));
        pause.as_mut().poll(context).map(|()| Some(Err(Cut)))
    }
}

/// Turns the router's answer into what the connection does: write it, or close.
pub(super) fn or_cut(answer: Result<Response, Infallible>) -> Result<Response, Cut> {
    let response = answer.unwrap_or_else(|never| match never {});
    match response.extensions().get::<Cut>() {
        Some(&cut) => Err(cut),
        None => Ok(response),
    }
}
