//! All that plays MoEngage: it takes callbacks and keeps what it was told. `dlr` has the routes, `verdict`
//! checks a callback against the contract (contracts/moengage.md sections 5 and 6), `receiver` remembers. It
//! never reads what a provider's fake knows.

pub(super) mod dlr;
pub(super) mod receiver;
mod verdict;
