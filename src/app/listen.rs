//! Opens the listeners, and says what each allows its callers. A port that cannot be had is told with
//! its cure, here and by `gateway check`.

use crate::config::Config;
use crate::http::{GivesWay, Limits};
use std::io::ErrorKind;
use std::net::SocketAddr;
use tokio::net::TcpListener;

/// Listens there, or says which setting must change.
pub(super) async fn bind(addr: SocketAddr, setting: &str) -> anyhow::Result<TcpListener> {
    let listener = TcpListener::bind(addr).await;
    listener.map_err(|error| anyhow::anyhow!(cannot_listen(addr, setting, &error)))
}

/// Says at which ports it listens; 0 in the settings takes any.
pub(super) fn say_ready(public: SocketAddr, ops: SocketAddr) {
    tracing::info!(%public, %ops, event = "ready", "the gateway is ready");
}

/// Why there can be no listener at an address, and what to do.
pub(crate) fn cannot_listen(addr: SocketAddr, setting: &str, error: &std::io::Error) -> String {
    let (why, cure) = match error.kind() {
        ErrorKind::AddrInUse => ("another program listens there", "stop it, or set"),
        ErrorKind::PermissionDenied => (
            "this user may not open that port (below 1024 only root may)",
            "set",
        ),
        ErrorKind::AddrNotAvailable => ("this machine does not have that address", "set"),
        _ => return format!("cannot listen at {addr}: {error}; set {setting}"),
    };
    format!("cannot listen at {addr}: {why}; {cure} {setting}")
}

/// Connections to the ops listener: a few people and a few programs that watch, and whoever else can
/// reach it. Below [`FILES_OF_OUR_OWN`], so that they never take the place of MoEngage.
const OPS_CONNECTIONS: usize = 256;
/// How many of them strangers are made to leave to who holds the token.
const OPS_KEPT: usize = 2;

/// `files` is how many the process may open.
pub(super) fn ops_limits(files: usize) -> Limits {
    Limits {
        max_connections: OPS_CONNECTIONS.min(files / 4).max(2 * OPS_KEPT),
        kept_connections: OPS_KEPT,
        // What watches is there before a crowd comes.
        gives_way: GivesWay::NewestFirst,
        ..Limits::default()
    }
}

/// Files kept for everything that is no connection to the public listener: the store, the ops
/// listener, Jumper, MoEngage.
const FILES_OF_OUR_OWN: usize = 512;

/// As many connections as are wanted, as far as the process may open files for them.
fn connections(wanted: usize, files: usize) -> usize {
    let possible = files.saturating_sub(FILES_OF_OUR_OWN).max(files / 2);
    if possible < wanted {
        tracing::warn!(
            wanted,
            possible,
            event = "open_files_limit_low",
            "the limit of open files allows fewer connections than \
            http.max_connections; raise it (ulimit -n)"
        );
    }
    wanted.min(possible)
}

/// The limits of the public listener; `files` is how many the process may open.
pub(super) fn limits(config: &Config, files: usize) -> Limits {
    Limits {
        max_connections: connections(config.http.max_connections, files),
        header_timeout: config.http.header_timeout,
        idle_timeout: config.http.idle_timeout,
        body_timeout: config.http.body_timeout,
        response_timeout: config.http.response_timeout,
        body_limit: config.http.body_limit,
        ..Limits::default()
    }
}
