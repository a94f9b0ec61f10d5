//! Opens the listeners. A port that cannot be had is told with its cure, here and by `gateway check`.

use std::io::ErrorKind;
use std::net::SocketAddr;
use tokio::net::TcpListener;

/// Listens there, or says which setting must change.
pub(super) async fn bind(addr: SocketAddr, setting: &str) -> anyhow::Result<TcpListener> {
    let listener = TcpListener::bind(addr).await;
    listener.map_err(|error| anyhow::anyhow!(cannot_listen(addr, setting, &error)))
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
