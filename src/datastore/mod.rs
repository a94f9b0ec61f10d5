//! Google Cloud Datastore over its REST API, version 1: five calls, and one that asks what the database is.
//!
//! The official Rust crate of that name was never published, so this is ours: `wire` has the JSON,
//! `auth` and `key` the access tokens, `client` the calls, `scan` a query in parts, `proof` whether they may be made, `error` what can go wrong. Knows nothing of messages, retries nothing but a
//! refused token, and never shows one. Full entities only: neither masks nor conditions work the same everywhere.

mod auth;
mod client;
mod error;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod key;
mod proof;
mod scan;
mod wire;

pub use client::{Client, MOST_TEXTS, Transaction};
pub use error::Error;
pub use proof::{Mode, Proof, own_kind};
pub use scan::Part;
pub use wire::{Entity, Property, Value};

use std::path::PathBuf;
use std::time::Duration;

/// How long one call may take, its token included.
const DEADLINE: Duration = Duration::from_secs(8);

/// Where Datastore is and what is kept there.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Google's id of the project.
    pub project_id: String,
    /// The kind of the entities.
    pub kind: String,
    /// A service-account key file; without one, application default credentials are used.
    pub credentials: Option<PathBuf>,
    /// The file of the application default credentials; without one, those of the machine are used.
    pub default_credentials: Option<PathBuf>,
    /// `host:port` of an emulator: plain HTTP, no credentials.
    pub emulator_host: Option<String>,
    /// How long after its creation an entity may be removed by Datastore's expiry.
    pub expire_after: Duration,
}

impl Settings {
    /// Where records go, in words for an operator.
    pub fn place(&self) -> String {
        let (project, kind) = (&self.project_id, &self.kind);
        match &self.emulator_host {
            Some(host) => format!("project {project}, kind {kind}, in the emulator at {host}"),
            None => format!("project {project}, kind {kind}"),
        }
    }
}
