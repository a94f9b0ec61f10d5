//! All that plays Jumper.ai. `routes` has its routes and the small ones' work, `oauth` and `token` its OAuth,
//! `send` its sends and `roll` what becomes of one, `gate` and `limiter` what stands before each call. Of the
//! webhooks, `plan` decides, `shape` and `strange` write, `courier` posts, and `speak` posts one on demand.
//! `state` is all it has, `account` what a merchant has, `ledger` what was seen of one. Every foreign fact is
//! from contracts/jumper.md.

pub(super) mod account;
pub(super) mod courier;
mod form;
mod gate;
pub(super) mod ledger;
pub(super) mod limiter;
pub(super) mod modes;
mod oauth;
mod plan;
pub(super) mod record;
mod roll;
pub(super) mod routes;
mod send;
pub(super) mod shape;
pub(super) mod speak;
pub(super) mod state;
pub(super) mod strange;
pub(super) mod template;
pub(super) mod token;
