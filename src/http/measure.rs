//! Counts requests by route, never by path: a path may hold a secret or an id.
//!
//! axum makes one service of the layer for each route, so each keeps its own handles and a request
//! costs no lookup in the registry.

use super::refusals::Refusals;
use axum::extract::{MatchedPath, Request};
use axum::http::Method;
use axum::response::Response;
use metrics::{Counter, Histogram, counter, histogram};
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Instant;
use tower::{Layer, Service};

/// The layer: `gateway_http_requests_total{route, status}` and `gateway_http_request_seconds{route}`.
#[derive(Debug, Clone, Copy)]
pub struct Measure {
    tells: bool,
}

impl Measure {
    /// Counts only: whoever refuses tells the log.
    pub fn only() -> Self {
        Self { tells: false }
    }

    /// Counts, and tells the log of refused requests.
    pub fn and_tell() -> Self {
        Self { tells: true }
    }
}

impl<S> Layer<S> for Measure {
    type Service = Measured<S>;

    fn layer(&self, inner: S) -> Measured<S> {
        Measured {
            inner,
            tells: self.tells,
            figures: Arc::default(),
        }
    }
}

/// One measured route.
#[derive(Clone)]
pub struct Measured<S> {
    inner: S,
    tells: bool,
    /// Registered by the first request, which tells the route; shared by all clones.
    figures: Arc<OnceLock<Figures>>,
}

struct Figures {
    route: String,
    seconds: Histogram,
    /// The status of nearly every request; the others are looked up.
    ok: Counter,
    refusals: Refusals,
}

impl Figures {
    fn register(request: &Request) -> Self {
        let route = request
            .extensions()
            .get::<MatchedPath>()
            .map_or("unmatched", MatchedPath::as_str)
            .to_owned();
        Self {
            seconds: histogram!("gateway_http_request_seconds", "route" => route.clone()),
            ok: requests(&route, 200),
            refusals: Refusals::new(),
            route,
        }
    }

    fn record(&self, status: u16, began: Instant) {
        self.seconds.record(began.elapsed());
        if status == 200 {
            self.ok.increment(1);
        } else {
            requests(&self.route, status).increment(1);
        }
    }
}

fn requests(route: &str, status: u16) -> Counter {
    counter!("gateway_http_requests_total", "route" => route.to_owned(), "status" => status.to_string())
}

impl<S> Service<Request> for Measured<S>
where
    S: Service<Request, Response = Response>,
    S::Future: Unpin,
{
    type Response = Response;
    type Error = S::Error;
    type Future = Measuring<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        self.figures.get_or_init(|| Figures::register(&request));
        Measuring {
            began: Instant::now(),
            method: self.tells.then(|| request.method().clone()),
            figures: self.figures.clone(),
            inner: self.inner.call(request),
        }
    }
}

/// One measured request.
pub struct Measuring<F> {
    inner: F,
    began: Instant,
    /// Where refusals are told.
    method: Option<Method>,
    figures: Arc<OnceLock<Figures>>,
}

impl<F, E> Future for Measuring<F>
where
    F: Future<Output = Result<Response, E>> + Unpin,
{
    type Output = Result<Response, E>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = ready!(Pin::new(&mut self.inner).poll(cx));
        if let (Ok(response), Some(figures)) = (&answer, self.figures.get()) {
            figures.record(response.status().as_u16(), self.began);
            if let Some(method) = &self.method {
                figures.refusals.tell(&figures.route, method, response);
            }
        }
        Poll::Ready(answer)
    }
}
