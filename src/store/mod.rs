//! What is kept, and where. Every backend takes and gives the same types; a value is only ever
//! changed by one atomic step of a backend.

mod archive;
pub mod embedded;
mod record;
pub mod redis;
mod refusals;
mod role;
mod row;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod types;

pub use archive::{Adopted, Dirty, DirtyEnd, MARK_HIDDEN, Unmatched};
pub use record::{Ledger, Record, Search};
pub use role::{Cache, Outbox, Tokens};
pub use row::Moment;
pub use types::*;
