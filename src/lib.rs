//! A gateway between MoEngage and Jumper.ai for WhatsApp template messages.
//!
//! A message's path, which is the order to read the code in; no station calls an earlier one:
//!
//! | # | station | where | durable write |
//! |---|---|---|---|
//! | 1 | who is calling | [`doors::moengage::caller`] | |
//! | 2 | accept | [`doors::moengage::accept`], [`intake`] | A: the message, once per (channel, `msg_id`) |
//! | 3 | claim | [`outbox`], looped by [`worker`] | B: `attempting`, synced before the first byte goes out |
//! | 4 | template | [`templates`] | the list, for a start without the provider |
//! | 5 | send | [`send`], [`limit`], [`providers`], [`providers::jumper::client`] | C: receipt, its early events, the end of the attempt |
//! | 6 | status arrives | [`providers::jumper::webhook`], [`providers::inbox`] | D and E in one: event, fold, callback |
//! | 7 | relay | [`relay`], [`doors::moengage::callback`] | the callback's end |
//!
//! A to E are each one atomic step of the store: a transaction of the one writer of
//! [`store::embedded`], or a script on [`store::redis`], where other processes work on the same
//! messages under leases. An event is matched and folded in the step that stores it, so a webhook
//! costs one write, and a receipt and an event can never miss each other. A message's row is its
//! record too: what happens to it is appended there in the same step, so the two cannot disagree.
//!
//! Beside the path: [`domain`] has the words and the pure decisions (state machine, fold, policy);
//! [`accounts`] says who may send what where, and what is paused or held; [`breaker`] and
//! [`maintenance`] watch over accounts; [`records`] writes the records into Datastore, by the calls of
//! [`datastore`], and asks it for messages that only it still knows; [`ops`] is the listener of
//! operators; [`sandbox`] plays both counterparties for the demo and the tests; [`json`] reads what
//! others write, damage and all; [`config`] is the only reader of files and environment; [`app`] builds
//! all of it; [`cli`] has the commands.
//!
//! Who may import whom (checked by `tests/tidy.rs`): domain, clock, breaker < store < telemetry < http,
//! limit, outbox < accounts, providers::inbox < each provider < providers < templates < send < worker;
//! accounts, templates < intake < each door < relay; datastore, accounts < records; all of these < ops <
//! config < app < cli. `send` and `relay` never see each other, nor do a door and a provider; `sandbox`
//! sees nobody.

pub mod accounts;
pub mod alert;
pub mod app;
pub mod breaker;
pub mod cli;
pub mod clock;
pub mod config;
pub mod datastore;
pub mod domain;
pub mod doors;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
pub mod http;
pub mod intake;
pub mod json;
pub mod limit;
pub mod maintenance;
pub mod ops;
pub mod outbox;
pub mod providers;
pub mod records;
pub mod relay;
pub mod sandbox;
pub mod send;
pub mod store;
pub mod telemetry;
pub mod templates;
pub mod worker;
