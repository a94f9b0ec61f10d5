//! What a connection is doing, as the socket, the service and the body of it tell each other.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::time::Instant;

/// What the connection is doing, shared by the socket, the service and the body of the same
/// connection.
#[derive(Debug, Clone)]
pub(super) struct Phase(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    doing: Mutex<Doing>,
    /// Whether a caller has shown a token or a secret on it; set by a handler, for as long as it lasts.
    known: AtomicBool,
    /// Whether the caller of this request has: a proxy puts requests of many callers on one connection.
    /// Set by a handler, taken back when a request begins.
    shown: AtomicBool,
}

/// What a connection does, and since when.
#[derive(Debug, Clone, Copy)]
pub(super) enum Doing {
    /// Waits for a request since then.
    Idle(Instant),
    /// Receives headers since then.
    Headers(Instant),
    /// A handler waits for the body since then.
    Body(Instant),
    /// A handler has the request.
    Serving,
}

/// How readily a connection gives way, the readiest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Readiness {
    /// A stranger's, between two requests.
    Idle,
    /// A stranger's that owes us bytes of a request.
    Owes,
    /// One on which a caller has shown a token or a secret.
    Known,
}

impl Phase {
    /// A connection that was just made owes us its first headers.
    pub(super) fn new() -> Self {
        Self(Arc::new(Shared {
            doing: Mutex::new(Doing::Headers(Instant::now())),
            known: AtomicBool::new(false),
            shown: AtomicBool::new(false),
        }))
    }

    /// What it does now.
    pub(super) fn doing(&self) -> Doing {
        self.change(|doing| doing)
    }

    fn change(&self, step: impl FnOnce(Doing) -> Doing) -> Doing {
        let doing = self.0.doing.lock();
        let mut doing = doing.unwrap_or_else(PoisonError::into_inner);
        *doing = step(*doing);
        *doing
    }

    /// The headers of a request are complete.
    pub(super) fn begins(&self) {
        self.0.shown.store(false, Ordering::Relaxed);
        self.serving();
    }

    /// We have to answer: the body is complete, or given up.
    pub(super) fn serving(&self) {
        self.change(|_| Doing::Serving);
    }

    /// The request's body is waited for since then.
    pub(super) fn owes_body(&self, since: Instant) {
        self.change(|_| Doing::Body(since));
    }

    /// The answer is on its way.
    pub(super) fn answered(&self) {
        self.change(|_| Doing::Idle(Instant::now()));
    }

    /// The caller of this request has shown a token or a secret.
    pub(super) fn vouch(&self) {
        self.0.shown.store(true, Ordering::Relaxed);
        self.0.known.store(true, Ordering::Relaxed);
    }

    /// Whether the caller of this request has shown a token or a secret.
    pub(super) fn has_shown(&self) -> bool {
        self.0.shown.load(Ordering::Relaxed)
    }

    /// How readily it gives way, and since when it waits for its caller; nothing while we have to
    /// answer, or while the body of a request with a token or a secret comes in.
    pub(super) fn waits(&self) -> Option<(Readiness, Instant)> {
        let known = self.0.known.load(Ordering::Relaxed);
        match self.doing() {
            Doing::Serving => None,
            Doing::Body(_) if self.has_shown() => None,
            Doing::Idle(since) | Doing::Headers(since) if known => Some((Readiness::Known, since)),
            Doing::Idle(since) => Some((Readiness::Idle, since)),
            Doing::Headers(since) | Doing::Body(since) => Some((Readiness::Owes, since)),
        }
    }

    /// The caller sent something.
    pub(super) fn bytes_came(&self) {
        self.change(|doing| match doing {
            Doing::Idle(_) => Doing::Headers(Instant::now()),
            other => other,
        });
    }
}
