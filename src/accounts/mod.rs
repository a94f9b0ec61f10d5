//! Accounts and channels: who may call, with what, to where; paused or held, and at what rate.
//!
//! What is configured never changes while the process lives. What changes at run time stands behind a
//! lock of its own and is only a signal: queues and messages live in the outbox. `runtime` stores
//! what an operator says; `holding` is what the answers of the provider brought about, which `hold` stores
//! and tells.

mod account;
mod channel;
mod hold;
mod holding;
mod opt_outs;
mod pause;
mod runtime;

pub use account::{Account, AccountHold};
pub use channel::{Channel, Channels, same};
pub use hold::{BackError, HoldError, Holds};
pub use holding::{HoldSeen, Holding};
pub use opt_outs::OptOutsKnown;
pub use pause::Pause;
pub use runtime::{LEAST_RATE, MOST_RATE, load_pause, load_rate, save_pause, save_rate};
