//! What is kept, and where. Every backend takes and gives the same types; a value is only ever
//! changed by one atomic step of a backend.

mod aside;
pub mod embedded;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod inbound;
mod listed;
mod lock;
mod mark;
mod opt_outs;
mod owner;
mod record;
mod records;
pub mod redis;
mod refusals;
mod report;
mod role;
mod row;
mod seen;
mod settings;
mod settlement;
mod shared;
mod sweep;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod types;

pub use aside::Aside;
pub use inbound::*;
pub use lock::{Guard, Locked};
pub use mark::{Mark, Marked, Steps};
pub use opt_outs::{Entrance, Page};
use owner::OWNER_KEY;
pub use owner::{Owned, Owner};
pub use record::{Ledger, Record, Search, Uncounted};
pub use records::{Adopted, Dirty, DirtyEnd, MARK_HIDDEN, Unmatched};
pub use report::{Promise, Report};
pub use role::Outbox;
pub use row::Moment;
pub use settings::{Cache, Tokens};
pub use settlement::{QuickReply, Settlement};
pub use sweep::{SweepRule, SweepScope, Swept};
pub use types::*;
