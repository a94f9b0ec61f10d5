//! From merged texts to the checked configuration: all groups, and what must agree between them.
//!
//! Reads on after a fault, so that all of them are told at once.

use super::accounts;
use super::fault::Fault;
use super::groups::{
    Alerts, Breaker, Datastore, Failures, Http, Inbound, Log, Moengage, Ops, Process, Store,
    inbound,
};
use super::parse::{self, Bare};
use super::raw::Given;
use super::reader::{Reader, SHORT};
use super::setting::Setting;
use super::table::Table;
use super::{Groups, Purpose};
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
    let failures = Failures::read(r);
    ordered(r, "policy.retry_base", "policy.retry_max");
    let breaker = Breaker::read(r);
    ordered(r, "breaker.open_min", "breaker.open_max");
    let replies = Inbound::read(r);
    if inbound::is_contradictory(r) {
        fault(
            r,
            "inbound.start_words",
            "must not share a word with inbound.stop_words or inbound.stop_marketing_words",
        );
    }
    let store = Store::read(r);
    let datastore = Datastore::read(r);
    let ops = Ops::read(r);
    let log = Log::read(r);
    let alerts = Alerts::read(r);
    if let Some(ops) = &ops {
        listeners(r, http.as_ref(), ops);
    }
    Some(Groups {
        process: process?,
        http: http?,
        accounts_and_channels: all?,
        moengage: moengage?,
        failures: failures?,
        breaker: breaker?,
        inbound: replies?,
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

/// Of two pauses the first must not be the longer one; one that is wrong by itself was told.
fn ordered(r: &mut Reader<'_>, shorter: &str, longer: &str) {
    let pause = |key| r.if_right(key, parse::time(SHORT, Bare::Refused));
    if let (Some(a), Some(b)) = (pause(shorter), pause(longer))
        && a > b
    {
        fault(r, shorter, &format!("must not be longer than {longer}"));
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
