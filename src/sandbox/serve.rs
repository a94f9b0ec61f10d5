//! The listener: all routes of both fakes and of the control API on one port. Its own accept loop, because
//! some outcomes must close the connection instead of answering. Nagle's algorithm is off.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{Router, body::Body, extract::DefaultBodyLimit};
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tower::ServiceExt as _;

use super::{control, inspect, jumper, moengage, reply, world::World};

/// Largest body taken; over MoEngage's limit, so that one over it is counted instead of cut off.
const MAX_BODY: usize = 32 * 1024 * 1024;

fn router(world: Arc<World>) -> Router {
    Router::new()
        .merge(jumper::routes::router())
        .merge(moengage::dlr::router())
        .nest("/_sandbox", inspect::router().merge(control::router()))
        .fallback(jumper::routes::nowhere)
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(world)
}

/// Accepts connections until told to stop.
pub(super) async fn run(listener: TcpListener, world: Arc<World>) {
    let router = router(Arc::clone(&world));
    loop {
        let accepted = tokio::select! {
            () = world.stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                let connection = connection(stream, router.clone(), Arc::clone(&world));
                let stop = world.stop.clone();
                world.tasks.spawn(async move {
                    tokio::select! {
                        () = stop.cancelled() => {}
                        () = connection => {}
                    }
                });
            }
            // Out of file descriptors, most likely: give others time to close theirs.
            Err(error) => {
                tracing::warn!(%error, "the sandbox cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

async fn connection(stream: TcpStream, router: Router, world: Arc<World>) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "no TCP_NODELAY");
    }
    let counted = AtomicBool::new(false);
    let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
        if request.uri().path() == jumper::routes::SEND && !counted.swap(true, Ordering::Relaxed) {
            world
                .jumper
                .send_connections
                .fetch_add(1, Ordering::Relaxed);
        }
        let answer = router.clone().oneshot(request.map(Body::new));
        async move { reply::or_cut(answer.await) }
    });
    let served = http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "connection ended");
    }
}
