//! From merged texts to the checked configuration: all groups, and what must agree between them.
//!
//! Reads on after a fault, so that all of them are told at once.

use super::accounts;
use super::fault::Fault;
use super::groups::{
    Alerts, Breaker, Datastore, Http, Inbound, Log, Moengage, Ops, Process, Sending, Store,
};
use super::raw::Given;
use super::reader::Reader;
use super::setting::Setting;
use super::table::Table;
use super::{Groups, Purpose};
use crate::domain::{Keyword, Keywords};
use std::collections::BTreeMap;

/// Checks all groups and what must agree between them.
pub(super) fn check(
    given: &BTreeMap<&'static str, Given>,
    tables: &[Table],
    purpose: Purpose,
    faults: &mut Vec<Fault>,
) -> Option<Groups> {
    let mut reader = Reader {
        given,
        table: None,
        purpose,
        faults,
    };
    let r = &mut reader;
    let process = Process::read(r);
    let http = Http::read(r);
    let all = accounts::read(r, tables);
    let moengage = Moengage::read(r);
    let sending = Sending::read(r);
    let breaker = Breaker::read(r);
    let inbound = Inbound::read(r);
    let store = Store::read(r);
    let datastore = Datastore::read(r);
    let ops = Ops::read(r);
    let log = Log::read(r);
    let alerts = Alerts::read(r);
    if sending
        .as_ref()
        .is_some_and(|one| one.retry_base > one.retry_max)
    {
        let right = "must not be longer than policy.retry_max";
        fault(r, "policy.retry_base", right);
    }
    if breaker
        .as_ref()
        .is_some_and(|one| one.open_min > one.open_max)
    {
        let right = "must not be longer than breaker.open_max";
        fault(r, "breaker.open_min", right);
    }
    if let Some(inbound) = &inbound {
        words(r, inbound);
    }
    if let Some(ops) = &ops {
        listeners(r, http.as_ref(), ops);
    }
    Some(Groups {
        process: process?,
        http: http?,
        accounts_and_channels: all?,
        moengage: moengage?,
        sending: sending?,
        breaker: breaker?,
        inbound: inbound?,
        store: store?,
        datastore: datastore?,
        ops: ops?,
        log: log?,
        alerts: alerts?,
    })
}

fn fault(r: &mut Reader<'_>, key: &str, right: &str) {
    if let Some(setting) = Setting::named(key) {
        r.fault(setting, right);
    }
}

/// No word opts a person out and in again. As a reply is compared: two spellings of one word are one
/// word.
fn words(r: &mut Reader<'_>, inbound: &Inbound) {
    let words = Keywords::new(
        &inbound.stop_words,
        &inbound.stop_marketing_words,
        &inbound.start_words,
    );
    let is_both = |word: &String| matches!(words.meaning(word), Some(Keyword::Stop(_)));
    if inbound.start_words.iter().any(is_both) {
        fault(
            r,
            "inbound.start_words",
            "must not share a word with inbound.stop_words or inbound.stop_marketing_words",
        );
    }
}

/// The ops listener is for this machine or asks for a token. Two listeners cannot have one port, unless
/// the system chooses or the addresses differ.
fn listeners(r: &mut Reader<'_>, http: Option<&Http>, ops: &Ops) {
    if ops.token.is_none() && !ops.addr.ip().is_loopback() {
        fault(
            r,
            "ops.addr",
            "must be a loopback address, or OPS_TOKEN must be set",
        );
    }
    let Some(http) = http else { return };
    let (public, private) = (http.bind, ops.addr.ip());
    let shared = public == private || public.is_unspecified() || private.is_unspecified();
    if http.port != 0 && http.port == ops.addr.port() && shared {
        fault(
            r,
            "ops.addr",
            "must have another port than the public listener (PORT)",
        );
    }
}
