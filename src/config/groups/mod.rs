//! The groups of settings, each declared in its own file: what they mean, their types and bounds,
//! defaults, variables. A new setting is one more field there; the documents are written from it
//! (`UPDATE_DOCS=1 cargo tidy`).

mod account;
mod channel;
pub(super) mod datastore;
mod http;
mod inbound;
mod ops;
mod policy;
mod relay;
mod store;

pub use account::Account;
pub use channel::Channel;
pub use datastore::Datastore;
pub use http::{Http, Process};
pub use inbound::Inbound;
pub use ops::{Alerts, Log, LogFormat, Ops};
pub use policy::{Breaker, Sending};
pub use relay::{Moengage, TimestampUnit};
pub use store::Store;

use super::setting::Setting;

/// The settings of all groups.
pub(super) const ALL: [&[Setting]; 13] = [
    Process::SETTINGS,
    Http::SETTINGS,
    Channel::SETTINGS,
    Moengage::SETTINGS,
    Account::SETTINGS,
    Sending::SETTINGS,
    Breaker::SETTINGS,
    Inbound::SETTINGS,
    Store::SETTINGS,
    Datastore::SETTINGS,
    Ops::SETTINGS,
    Log::SETTINGS,
    Alerts::SETTINGS,
];
