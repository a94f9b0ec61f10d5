//! From merged texts to the checked configuration: types, bounds, and what must agree.
//!
//! Reads on after a fault, so that all of them are told at once. A group function returns `None`
//! only when it has put down at least one fault.

use super::accounts;
use super::datastore;
use super::fault::Fault;
use super::parse::{self, Bare, whole};
use super::raw::Given;
use super::reader::{Reader, SHORT_TOKENS};
use super::redis_url;
use super::tables::Table;
use super::values::{Alerts, Breaker, Http, Inbound, Log, Moengage, Ops, Sending, Store};
use super::{Groups, Purpose};
use crate::domain::{Keyword, Keywords};
use crate::store;
use secrecy::SecretString;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

const HOUR: Duration = secs(3600);
const DAY: Duration = secs(24 * 3600);

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
    let drain_timeout = r.one("drain_timeout", parse::time(ms(0)..=HOUR, Bare::Refused));
    let http = http(r);
    let estate = accounts::read(r, tables);
    let moengage = moengage(r);
    let sending = sending(r);
    let breaker = breaker(r);
    let inbound = inbound(r);
    let store = store(r);
    let datastore = datastore::check(r);
    let ops = ops(r);
    let log = log(r);
    let alerts = alerts(r);
    if let (Some(http), Some(ops)) = (&http, &ops) {
        listeners(r, http, ops);
    }
    Some(Groups {
        drain_timeout: drain_timeout?,
        http: http?,
        estate: estate?,
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

fn http(r: &mut Reader<'_>) -> Option<Http> {
    let port = r.one("http.port", whole(0..=65535));
    let bind = r.one("http.bind", |text| {
        text.parse()
            .map_err(|_| "must be an IP address, such as 0.0.0.0 or ::".to_owned())
    });
    let response_timeout = r.one(
        "http.response_timeout",
        parse::time(ms(10)..=secs(600), Bare::Seconds),
    );
    let header_timeout = r.short("http.header_timeout");
    let body_timeout = r.short("http.body_timeout");
    let idle_timeout = r.short("http.idle_timeout");
    let body_limit = r.one("http.body_limit", parse::bytes(1024..=64 << 20));
    let max_connections = r.count("http.max_connections");
    let allow_short_tokens = r.one(SHORT_TOKENS, parse::switch);
    Some(Http {
        port: port?,
        bind: bind?,
        response_timeout: response_timeout?,
        header_timeout: header_timeout?,
        body_timeout: body_timeout?,
        idle_timeout: idle_timeout?,
        body_limit: usize::try_from(body_limit?).unwrap_or(usize::MAX),
        max_connections: max_connections?,
        allow_short_tokens: allow_short_tokens?,
    })
}

fn moengage(r: &mut Reader<'_>) -> Option<Moengage> {
    let timestamp_unit = r.one("moengage.timestamp_unit", parse::timestamp_unit);
    let callback_timeout = r.short("moengage.callback_timeout");
    let callback_concurrency = r.count("moengage.callback_concurrency");
    let batch_entries = r.one("moengage.batch_entries", whole(1..=1000));
    let batch_bytes = r.one("moengage.batch_bytes", parse::bytes(1024..=16 << 20));
    let retry_for = r.long("moengage.retry_for");
    let max_pause = r.pause("moengage.max_pause");
    Some(Moengage {
        timestamp_unit: timestamp_unit?,
        callback_timeout: callback_timeout?,
        callback_concurrency: callback_concurrency?,
        batch_entries: batch_entries?,
        batch_bytes: usize::try_from(batch_bytes?).unwrap_or(usize::MAX),
        retry_for: retry_for?,
        max_pause: max_pause?,
    })
}

fn sending(r: &mut Reader<'_>) -> Option<Sending> {
    let retry_base = r.short("policy.retry_base");
    let retry_max = r.pause("policy.retry_max");
    r.ordered(
        ("policy.retry_base", retry_base),
        ("policy.retry_max", retry_max),
    );
    let hold_probe = r.one(
        "policy.hold_probe",
        parse::time(ms(10)..=DAY, Bare::Refused),
    );
    Some(Sending {
        retry_base: retry_base?,
        retry_max: retry_max?,
        hold_probe: hold_probe?,
    })
}

fn breaker(r: &mut Reader<'_>) -> Option<Breaker> {
    let failures = r.one("breaker.failures", whole(1..=10_000));
    let open_min = r.short("breaker.open_min");
    let open_max = r.short("breaker.open_max");
    r.ordered(
        ("breaker.open_min", open_min),
        ("breaker.open_max", open_max),
    );
    Some(Breaker {
        failures: failures?,
        open_min: open_min?,
        open_max: open_max?,
    })
}

fn inbound(r: &mut Reader<'_>) -> Option<Inbound> {
    let word = |text: &str| Ok(text.to_uppercase());
    let stop_words = r.list("inbound.stop_words", word).map(|mut words| {
        // MoEngage's form of an opt-out (contracts/moengage.md section 11, Q22).
        if !words.iter().any(|word| word == "STOP") {
            words.insert(0, "STOP".to_owned());
        }
        words
    });
    let stop_marketing_words = r.list("inbound.stop_marketing_words", word);
    let start_words = r.list("inbound.start_words", word);
    // As a reply is compared: two spellings of one word are one word.
    if let (Some(stop), Some(marketing), Some(start)) =
        (&stop_words, &stop_marketing_words, &start_words)
        && let words = Keywords::new(stop, marketing, start)
        && (start.iter()).any(|word| matches!(words.meaning(word), Some(Keyword::Stop(_))))
    {
        r.fault(
            "inbound.start_words",
            "must not share a word with inbound.stop_words or inbound.stop_marketing_words",
        );
    }
    let relay_unmatched = r.one("inbound.relay_unmatched", parse::switch);
    let reply_window = r.long("inbound.reply_window");
    Some(Inbound {
        stop_words: stop_words?,
        stop_marketing_words: stop_marketing_words?,
        start_words: start_words?,
        relay_unmatched: relay_unmatched?,
        reply_window: reply_window?,
    })
}

fn store(r: &mut Reader<'_>) -> Option<Store> {
    let redis_url = r.maybe("store.redis_url", redis_url::parse);
    let wait_replicas = r.one("store.redis_wait_replicas", whole(0..=100));
    let take_over = r.maybe("store.take_over", parse::fingerprints);
    let data_dir = r.one("store.data_dir", |text| Ok(PathBuf::from(text)));
    let min_free = r.one("store.min_free", parse::bytes(0..=1 << 50));
    let retention = r.long("store.retention");
    let event_retention = r.long("store.event_retention");
    let (redis_url, wait_replicas) = (redis_url?, wait_replicas?);
    Some(Store {
        redis: redis_url.map(|url| store::redis::Settings { url, wait_replicas }),
        take_over: take_over?.unwrap_or_default(),
        data_dir: data_dir?,
        min_free: min_free?,
        hold: false,
        retention: retention?,
        event_retention: event_retention?,
    })
}

fn ops(r: &mut Reader<'_>) -> Option<Ops> {
    let addr = r.one("ops.addr", parse::socket_addr);
    let token = r.maybe("ops.token", parse::ops_token);
    if let Some(Some(token)) = &token {
        r.long_enough("ops.token", std::slice::from_ref(token));
    }
    if let (Some(addr), Some(None)) = (&addr, &token)
        && !addr.ip().is_loopback()
    {
        r.fault(
            "ops.addr",
            "must be a loopback address, or OPS_TOKEN must be set",
        );
    }
    Some(Ops {
        addr: addr?,
        token: token?,
    })
}

/// Two listeners cannot have one port, unless the system chooses or the addresses differ.
fn listeners(r: &mut Reader<'_>, http: &Http, ops: &Ops) {
    let (public, private) = (http.bind, ops.addr.ip());
    let shared = public == private || public.is_unspecified() || private.is_unspecified();
    if http.port != 0 && http.port == ops.addr.port() && shared {
        r.fault(
            "ops.addr",
            "must have another port than the public listener (PORT)",
        );
    }
}

fn log(r: &mut Reader<'_>) -> Option<Log> {
    let format = r.one("log.format", parse::log_format);
    let filter = r.one("log.filter", parse::log_filter);
    Some(Log {
        format: format?,
        filter: filter?,
    })
}

fn alerts(r: &mut Reader<'_>) -> Option<Alerts> {
    let slack_webhook_url: Option<Option<SecretString>> =
        r.maybe("alerts.slack_webhook_url", parse::secret_url);
    Some(Alerts {
        slack_webhook_url: slack_webhook_url?,
    })
}
