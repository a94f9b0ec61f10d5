//! The contract of the store, told by driving its public interface by hand, the same stories on
//! every backend. Time is an argument everywhere, so nothing here sleeps.
//!
//! A story is a function of [`NewWorld`]; `stories!` makes a test of it for each backend, so that a
//! failure names both: `store::tests::claim::embedded::what_is_not_due_waits`.

/// Keeps what needs the Redis store. Switched off, it keeps nothing: `=> {}`.
macro_rules! on_redis {
    ($($item:item)*) => { $($item)* };
}

/// Tests of these stories on every backend. Those after `at_once` need several threads.
macro_rules! stories {
    ($($story:ident),+ $(,)? $(; at_once: $($at_once:ident),+ $(,)?)?) => {
        mod embedded {
            use crate::store::tests::on_embedded::world;
            $(#[tokio::test]
            async fn $story() {
                super::$story(world).await;
            })+
            $($(#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $at_once() {
                super::$at_once(world).await;
            })+)?
        }
        on_redis! {
            mod redis {
                use crate::store::tests::on_redis::world;
                $(#[tokio::test]
                async fn $story() {
                    super::$story(world).await;
                })+
                $($(#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
                async fn $at_once() {
                    super::$at_once(world).await;
                })+)?
            }
        }
    };
}

mod accept;
mod alias;
mod callbacks;
mod claim;
mod evidence;
mod fold;
mod made_up;
mod model;
pub(in crate::store) mod on_embedded;
mod opt_out;
mod records;
on_redis! {
    mod damage;
    mod on_redis;
    mod leases;
    mod replicas;
    mod reset;
    mod road;
    mod shared;
    mod went_back;
}
mod opt_out_entries;
mod replies;
mod restart;
mod retention;
mod settle;
mod sweep;
pub(in crate::store) mod words;
mod world;

pub(in crate::store) use words::*;
pub(in crate::store) use world::{Home, NewWorld, World};

use super::{
    Accepted, Arrival, CallbackLease, CallbackQueue, ClaimFrom, ClaimedMessage, Claims, EventRules,
    Folded, Ledger, Outbox, PendingCallback, Record, RelayOutcome, Search, Settlement, SweepRule,
    SweepScope, Swept, Trial,
};
use crate::domain::{
    AccountId, BusinessNumber, Callback, ChannelId, Destination, Incoming, Keywords, Message,
    Moment, MsgId, OptOut, Phone, ProviderId, Receipt, Refusal, RefusalKind, Reply, State, Status,
    StatusEvent, Template, UnixMs,
};
use crate::store::testing::in_time;
use std::sync::Arc;
use std::time::Duration;
