//! The accept loop of one listener, and its orderly end.
//!
//! axum's own loop has no header timeout and no cap on connections (STACK.md 5.1). A fault of one
//! connection or of `accept` itself never ends the loop; only `shutdown` does.

use super::body::Guarded;
use super::connections::{Connections, Slot};
use super::phase::Phase;
use super::read_timeouts::ReadTimeouts;
use super::{Limits, host, message};
use axum::Router;
use axum::body::Body;
use axum::http::header::{CONNECTION, EXPECT};
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::any::Any;
use std::convert::Infallible;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::{Layer, Service};
use tower_http::catch_panic::CatchPanicLayer;

/// What a connection buffers: headers of twice this are answered 431 for sure, shorter ones that
/// are longer than this only when they come in several pieces.
const BUFFER: usize = 64 * 1024;
/// After a failed accept (no file descriptors left), before the next try.
const PAUSE: Duration = Duration::from_millis(50);

/// Serves `router` until `shutdown`; then takes no more connections, lets requests under way end
/// within `drain`, and cuts what is left.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    limits: Limits,
    shutdown: CancellationToken,
    drain: Duration,
) {
    let site = Arc::new(Site {
        // Given its state here, once, the router does not build its routes for each request.
        router: router.with_state(()),
        connections: Connections::new(&limits),
        limits,
        shutdown,
        cut: CancellationToken::new(),
    });
    let connections = TaskTracker::new();
    while let Some((stream, slot)) = site.next(&listener).await {
        connections.spawn(site.clone().connection(stream, slot));
    }
    drop(listener);
    connections.close();
    if timeout(drain, connections.wait()).await.is_err() {
        tracing::warn!(
            connections = connections.len(),
            event = "connections_cut",
            "connections were still busy at the end of the drain time and are cut"
        );
        site.cut.cancel();
        connections.wait().await;
    }
}

struct Site {
    router: Router,
    limits: Limits,
    connections: Connections,
    /// Fired by the owner: no more connections, no more requests on those there are.
    shutdown: CancellationToken,
    /// Fired here when the drain time is over.
    cut: CancellationToken,
}

impl Site {
    /// The next connection, or `None` at the end.
    async fn next(&self, listener: &TcpListener) -> Option<(TcpStream, Slot)> {
        let accepted = async {
            loop {
                match listener.accept().await {
                    Ok((stream, _)) => return Some((stream, self.connections.slot().await?)),
                    Err(error) => survive(&error).await,
                }
            }
        };
        tokio::select! {
            biased;
            () = self.shutdown.cancelled() => None,
            next = accepted => next,
        }
    }

    async fn connection(self: Arc<Self>, stream: TcpStream, slot: Slot) {
        // Small answers must not wait for the caller's acknowledgement. A socket that refuses the
        // option is already gone.
        let _ = stream.set_nodelay(true);
        let phase = slot.phase().clone();
        let io = TokioIo::new(ReadTimeouts::new(
            stream,
            phase.clone(),
            self.limits.header_timeout,
            self.limits.idle_timeout,
        ));
        let site = self.clone();
        let app = CatchPanicLayer::custom(panicked).layer(tower::service_fn(move |request| {
            site.clone().answer(request)
        }));
        let site = self.clone();
        let service = service_fn(move |mut request: Request<Incoming>| {
            phase.begins();
            request.extensions_mut().insert(phase.clone());
            let (mut app, phase, site) = (app.clone(), phase.clone(), site.clone());
            async move {
                let answer = app.call(request).await;
                phase.answered();
                answer.map(|answer| site.parted(answer, &phase))
            }
        });
        let mut connection = pin!(
            http1::Builder::new()
                .half_close(true)
                .keep_alive(true)
                .max_buf_size(BUFFER)
                .header_read_timeout(None)
                .serve_connection(io, service)
        );
        // A token of its own: a shared one would be a lock that every connection takes at each turn.
        let shutdown = self.shutdown.child_token();
        let ended = tokio::select! {
            biased;
            ended = connection.as_mut() => ended,
            () = slot.given_away() => Ok(()),
            () = shutdown.cancelled() => {
                connection.as_mut().graceful_shutdown();
                tokio::select! {
                    ended = connection.as_mut() => ended,
                    () = self.cut.cancelled() => Ok(()),
                }
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "a connection ended early");
        }
    }

    /// While somebody waits for a place, a stranger's request is the last of its connection: one that
    /// always has the next ready would never lie idle, and never give way.
    fn parted<B>(&self, mut answer: hyper::Response<B>, phase: &Phase) -> hyper::Response<B> {
        if !phase.has_shown() && self.connections.is_wanted() {
            let close = HeaderValue::from_static("close");
            answer.headers_mut().insert(CONNECTION, close);
        }
        answer
    }

    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Result<Response, Infallible> {
        let refusal = host::refusal(&request);
        let phase = request.extensions().get::<Phase>().cloned();
        let phase = phase.unwrap_or_else(Phase::new);
        let lingers = !request.headers().contains_key(EXPECT);
        let Limits {
            body_limit,
            body_timeout,
            response_timeout,
            ..
        } = self.limits;
        let request = request.map(|body| {
            let body = Guarded::new(body, body_limit, body_timeout, phase, lingers);
            Body::new(body)
        });
        // Guarded first: what comes of the body after the answer is read and dropped.
        if let Some(refusal) = refusal {
            return Ok(refusal);
        }
        match timeout(response_timeout, self.router.clone().call(request)).await {
            Ok(answer) => answer,
            Err(_) => {
                metrics::counter!("gateway_http_timeouts_total").increment(1);
                tracing::warn!(
                    event = "request_timed_out",
                    "a request was not answered in time"
                );
                Ok(message(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "No answer in time: try again",
                ))
            }
        }
    }
}

/// Waits out a failed accept; a caller that hung up before we accepted is no fault at all.
async fn survive(error: &io::Error) {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    if matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset
    ) {
        return;
    }
    metrics::counter!("gateway_http_accept_errors_total").increment(1);
    tracing::warn!(
        %error, event = "accept_failed",
        "no connection could be accepted, the next try follows shortly"
    );
    sleep(PAUSE).await;
}

/// The answer after a panic. What the panic said stays in the log of the panic hook.
fn panicked(_: Box<dyn Any + Send>) -> Response {
    metrics::counter!("gateway_http_panics_total").increment(1);
    message(
        StatusCode::INTERNAL_SERVER_ERROR,
        "Internal error: try again",
    )
}
