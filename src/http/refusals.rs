//! Tells the log of requests that were refused: route, method, status, reason; one line a second of a
//! kind, because strangers bring these about. Never a path, because a path may hold a secret.

use crate::telemetry::OncePerSecond;
use axum::http::{Method, Response, StatusCode};
use std::borrow::Cow;

/// Why a request was refused, in our words. Goes with the answer to where it is told, never out.
#[derive(Debug, Clone)]
pub struct Reason(Cow<'static, str>);

/// An answer with the reason that is told for it.
pub fn because<B>(mut answer: Response<B>, reason: impl Into<Cow<'static, str>>) -> Response<B> {
    answer.extensions_mut().insert(Reason(reason.into()));
    answer
}

/// How often each kind of refusal of one route is told.
pub(super) struct Refusals {
    malformed: OncePerSecond,
    missing: OncePerSecond,
    method: OncePerSecond,
    body: OncePerSecond,
    others: OncePerSecond,
}

impl Refusals {
    pub(super) const fn new() -> Self {
        Self {
            malformed: OncePerSecond::new(),
            missing: OncePerSecond::new(),
            method: OncePerSecond::new(),
            body: OncePerSecond::new(),
            others: OncePerSecond::new(),
        }
    }

    fn gate(&self, status: StatusCode) -> &OncePerSecond {
        match status.as_u16() {
            400 => &self.malformed,
            404 => &self.missing,
            405 => &self.method,
            408 | 413 | 415 => &self.body,
            _ => &self.others,
        }
    }

    /// Tells of an answer, if it is a refusal.
    pub(super) fn tell<B>(&self, route: &str, method: &Method, answer: &Response<B>) {
        let status = answer.status();
        if !status.is_client_error() || !self.gate(status).passes() {
            return;
        }
        let reason = answer.extensions().get::<Reason>();
        let reason = reason.map_or(status.canonical_reason().unwrap_or("refused"), |one| &one.0);
        let (method, status) = (known(method), status.as_u16());
        tracing::warn!(
            route,
            method,
            status,
            reason,
            event = "request_refused",
            "refused a request"
        );
    }
}

/// A method of a closed set: anybody can make up others.
fn known(method: &Method) -> &'static str {
    let methods = ["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH"];
    let found = methods.into_iter().find(|name| *name == method.as_str());
    found.unwrap_or("other")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::testing::Log;

    fn refused(status: u16, reason: Option<&'static str>) -> Response<()> {
        let mut answer = Response::new(());
        *answer.status_mut() = StatusCode::from_u16(status).unwrap();
        match reason {
            Some(reason) => because(answer, reason),
            None => answer,
        }
    }

    #[test]
    fn r_44_a_refusal_is_told_by_route_and_reason_once_a_second() {
        let refusals = Refusals::new();
        let log = Log::of(|| {
            for _ in 0..100 {
                refusals.tell(
                    "/x/{secret}",
                    &Method::POST,
                    &refused(404, Some("wrong secret")),
                );
                refusals.tell("/x/{secret}", &Method::POST, &refused(413, None));
                refusals.tell("/x/{secret}", &Method::POST, &refused(200, None));
                refusals.tell("/x/{secret}", &Method::POST, &refused(503, None));
            }
            let strange = Method::from_bytes(b"SECRET").unwrap();
            refusals.tell("unmatched", &strange, &refused(405, None));
        });
        for part in [
            "/x/{secret}",
            "wrong secret",
            "POST",
            "Payload Too Large",
            "other",
        ] {
            assert!(log.contains(part), "{part}: {log}");
        }
        assert!((3..=5).contains(&log.lines().count()), "{log}");
        assert!(!log.contains("SECRET"), "{log}");
    }
}
