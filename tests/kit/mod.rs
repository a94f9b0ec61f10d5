//! What the suites share: processes of the gateway and of the sandbox, a Redis, what stands between them and
//! harms them.

pub(crate) mod disk;
pub(crate) mod event_bodies;
pub(crate) mod harness;
pub(crate) mod log;
pub(crate) mod proxy;
pub(crate) mod redis_server;
pub(crate) mod shim;
