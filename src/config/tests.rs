//! Tests of the configuration as a whole; the pieces are tested in their own files.

use super::*;
use crate::cli;
use crate::domain::policy::Ambiguous;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::time::Duration;

/// The base64 of `key:secret`.
const BASIC: &str = "Basic a2V5OnNlY3JldA==";

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    pairs.iter().map(owned).collect()
}

fn env(pairs: &[(&str, &str)]) -> Sources {
    Sources {
        env: map(pairs),
        ..Sources::default()
    }
}

fn file(text: &str) -> Sources {
    Sources {
        file: Some(("gateway.toml".into(), text.to_owned())),
        ..Sources::default()
    }
}

fn flag(key: &str, value: &str) -> Sources {
    Sources {
        flags: vec![(key.to_owned(), value.to_owned())],
        ..Sources::default()
    }
}

fn client(sources: &Sources) -> Config {
    load(sources, Purpose::Client).unwrap_or_else(|faults| panic!("{faults}"))
}

/// The faults, one line each, without the line that counts them.
fn faults(sources: &Sources, purpose: Purpose) -> Vec<String> {
    match load(sources, purpose) {
        Ok(_) => Vec::new(),
        Err(faults) => {
            let text = faults.to_string();
            let lines = text.lines().skip(1);
            lines.map(|line| line.trim().to_owned()).collect()
        }
    }
}

fn webhook(config: &Config) -> Option<String> {
    config.webhook_of(&config.accounts[0])
}

fn in_force(config: &Config, key: &str) -> Option<(String, Layer)> {
    let one = config.effective().iter().find(|e| e.key == key);
    one.unwrap().value.clone()
}

#[test]
fn nothing_given_is_designs_defaults() {
    let config = client(&Sources::default());
    assert_eq!(config.http.port, 3001);
    assert_eq!(config.http.bind.to_string(), "0.0.0.0");
    assert_eq!(config.http.response_timeout, Duration::from_secs(30));
    assert_eq!(config.http.body_limit, 1_048_576);
    assert_eq!(config.http.max_connections, 16_384);
    assert_eq!(config.accounts[0].api_url, "https://api.jumper.ai");
    assert_eq!(config.accounts[0].rate_per_second, Some(10.0));
    assert_eq!(config.accounts[0].concurrent_api_calls, 10);
    assert_eq!(config.accounts[0].rate_tolerance, Duration::from_millis(4));
    assert_eq!(config.accounts[0].socket_timeout, Duration::from_secs(60));
    assert_eq!(
        config.accounts[0].free_socket_keepalive,
        Duration::from_secs(3)
    );
    assert_eq!(
        (
            config.accounts[0].max_sockets,
            config.accounts[0].max_free_sockets
        ),
        (100, 10)
    );
    assert_eq!(config.moengage.timestamp_unit, TimestampUnit::Seconds);
    assert_eq!(
        (config.moengage.batch_entries, config.moengage.batch_bytes),
        (50, 150_000)
    );
    assert_eq!(config.moengage.retry_for, Duration::from_hours(8 * 24));
    assert_eq!(
        config.channels[0].policy(),
        crate::domain::policy::Policy::default()
    );
    assert_eq!(config.channels[0].max_queue, None);
    assert_eq!(
        (config.breaker.failures, config.breaker.open_max),
        (5, Duration::from_secs(60))
    );
    assert!(config.inbound.stop_words.contains(&"STOP".to_owned()));
    assert!(config.inbound.start_words.contains(&"UNSTOP".to_owned()));
    assert!(!config.inbound.relay_unmatched);
    assert_eq!(config.store.data_dir, PathBuf::from("./data"));
    assert_eq!(config.store.min_free, 268_435_456);
    assert_eq!(config.ops.addr.to_string(), "127.0.0.1:3002");
    assert_eq!(
        (config.log.format, config.log.filter.as_str()),
        (LogFormat::Text, "info")
    );
    assert_eq!(config.process.drain_timeout, Duration::from_secs(20));
    assert!(config.channels[0].callback_url.is_none() && config.channels[0].tokens.is_empty());
    assert!(config.accounts[0].basic_auth.is_none() && webhook(&config).is_none());
}

/// Key, values that are right, values that are wrong.
type Case = (
    &'static str,
    &'static [&'static str],
    &'static [&'static str],
);

const CASES: &[Case] = &[
    (
        "drain_timeout",
        &["0s", "20s", "1h"],
        &["20", "2h", "soon", "-1s", "1.5s"],
    ),
    (
        "http.port",
        &["0", "80", "65535"],
        &["65536", "-1", "+80", "http", "8 0", "0x50", "٣"],
    ),
    (
        "http.bind",
        &["0.0.0.0", "::", "127.0.0.1"],
        &["localhost", "0.0.0.0:80"],
    ),
    (
        "http.response_timeout",
        &["30s", "500ms", "10m", "30", "10 s"],
        &[
            "24h",
            "30000",
            "0",
            "1ms",
            "30 seconds",
            "s",
            "99999999999999999999d",
        ],
    ),
    ("http.header_timeout", &["10s"], &["10", "0s"]),
    ("http.body_timeout", &["10s"], &["10", "never"]),
    ("http.idle_timeout", &["75s"], &["75", "2d"]),
    (
        "http.body_limit",
        &["262144", "64KB", "1 MB", "1MiB"],
        &["100", "1TB", "-1", "1GB", "256mb"],
    ),
    ("http.max_connections", &["1"], &["0", "many", "1e3"]),
    ("http.allow_short_tokens", &["true", "false"], &["yes", "1"]),
    (
        "moengage.callback_url",
        &[
            "https://api-01.moengage.com/whatsapp/dlr/x",
            "http://127.0.0.1:9000",
            "http://[::1]:9/x?y=z",
        ],
        &[
            "api-01.moengage.com/x",
            "ftp://x.test/",
            "https://",
            "https:///x",
            "https://u:p@x.test/",
            "https://x.test:/",
            "https://x.test:99999/",
            "https://x.test/a b",
            "/x",
        ],
    ),
    (
        "moengage.auth_against",
        &["t", "a,b", "Bearer abc", " a , b ,"],
        &["ü", "a,\u{7}b"],
    ),
    (
        "moengage.timestamp_unit",
        &["s", "ms", "MS"],
        &["us", "seconds"],
    ),
    ("moengage.callback_timeout", &["5s"], &["5", "0s"]),
    ("moengage.callback_concurrency", &["8"], &["0"]),
    ("moengage.batch_entries", &["50"], &["0", "1001"]),
    ("moengage.batch_bytes", &["150000"], &["10", "1GB"]),
    ("moengage.retry_for", &["8d"], &["8", "500ms", "400d"]),
    ("moengage.max_pause", &["15m"], &["2d"]),
    (
        "jumper.api_url",
        &["https://api.jumper.ai/", "http://127.0.0.1:1"],
        &["jumper", "https://x.test/?a=b"],
    ),
    (
        "jumper.basic_auth",
        &[BASIC, "basic a2V5OnNlY3JldA", "a2V5OnNlY3JldA=="],
        &[
            "Basic",
            "key:secret",
            "Basic a2V5",
            "Basic !!!",
            "Bearer abc",
            "Basic Og==",
            "Basic a2V5Og==",
        ],
    ),
    (
        "jumper.seed_refresh_token",
        &["eyJ.abc.def"],
        &["two words", "ü"],
    ),
    (
        "jumper.subscribed_callback_url",
        &["https://gw.test/jumper_callback"],
        &["gw.test/jumper_callback", "https://gw.test/#x"],
    ),
    (
        "jumper.webhook_secret",
        &["abcdefghijklmnop", "ABC_def-0123456789"],
        &[
            "short",
            "abcdefghijklmno/",
            "abcdefghijklmno p",
            "äbcdefghijklmnopq",
        ],
    ),
    ("jumper.webhook_open", &["true", "false"], &["yes", "1"]),
    (
        "sending.waba_number",
        &["+1 202 555 0100", "12025550100"],
        &["0049151234567", "12", "1-800-FLOWERS"],
    ),
    (
        "sending.rate_per_second",
        &["10", "0.5", "80", "off", "OFF", "100000"],
        &[
            "0", "-1", "fast", "inf", "NaN", "1e3", "100001", ".", "10/s",
        ],
    ),
    (
        "sending.rate_tolerance",
        &["0ms", "4ms", "5ms", "0s"],
        &["6ms", "4", "1s"],
    ),
    (
        "sending.concurrent_api_calls",
        &["1", "10"],
        &["0", "-1", "off"],
    ),
    (
        "sending.provider",
        &["jumper", "Jumper"],
        &["nobody", "a,b"],
    ),
    ("sending.connect_timeout", &["10s"], &["10"]),
    (
        "sending.socket_timeout",
        &["60000", "60s"],
        &["0", "60 sec", "9999999"],
    ),
    ("sending.max_sockets", &["100"], &["0"]),
    ("sending.max_free_sockets", &["0", "10"], &["-1"]),
    (
        "sending.free_socket_keepalive",
        &["3000", "3s"],
        &["3 seconds"],
    ),
    ("sending.template_refresh", &["10m"], &["10"]),
    ("jumper.subscription_check", &["1h"], &["hourly"]),
    (
        "policy.ambiguous_send",
        &["fail", "resend"],
        &["retry", "true"],
    ),
    ("policy.ambiguous_hold", &["10m"], &["10"]),
    ("policy.max_age", &["24h", "1s"], &["24", "0s"]),
    (
        "policy.max_queue",
        &["off", "1", "5000000"],
        &["0", "none", "-5"],
    ),
    ("policy.retryable_texts", &["paused", "a,b"], &[]),
    ("policy.retry_base", &["1s"], &["6m", "0s"]),
    ("policy.retry_max", &["5m"], &["500", "2d"]),
    ("policy.hold_probe", &["5m"], &["5"]),
    ("breaker.failures", &["5"], &["0"]),
    ("breaker.open_min", &["1s"], &["61s"]),
    ("breaker.open_max", &["60s"], &["60"]),
    ("inbound.stop_words", &["STOP,HALT", "halt"], &[]),
    (
        "inbound.stop_marketing_words",
        &["no offers,STOP", "x"],
        &[],
    ),
    (
        "inbound.start_words",
        &["START"],
        &[
            "STOP",
            "start,Stop",
            "*stöp*",
            "Unsubscrıbe",
            "Stop promotions",
        ],
    ),
    ("inbound.relay_unmatched", &["true", "false"], &["yes", "1"]),
    ("inbound.reply_window", &["7d"], &["7"]),
    (
        "store.redis_url",
        &[
            "redis://127.0.0.1",
            "redis://user:p%40ss@redis.test:6379/3",
            "rediss://:word@[::1]:6380",
            "unix:///run/redis.sock?db=1",
            "redis+unix:///run/redis.sock",
            "valkey://v.test",
        ],
        &[
            "redis.test:6379",
            "http://redis.test",
            "redis://",
            "redis://redis.test:x",
            "redis://:6379",
            "redis://redis.test/zero",
            "unix://",
            "redis://two words@redis.test",
        ],
    ),
    (
        "store.redis_wait_replicas",
        &["0", "2"],
        &["-1", "all", "101"],
    ),
    (
        "store.take_over",
        &["1f0c7a93-5be2d884", "1F0C7A93.2", "1f0c7a93, 5be2d884.3"],
        &[
            "1f0c7a9",
            "1f0c7a93-",
            "-1f0c7a93",
            "1f0c7a9g",
            "1f0c7a93.",
            "default",
        ],
    ),
    ("store.data_dir", &["./data", "/var/lib/gateway"], &[]),
    (
        "store.min_free",
        &["256MB", "0", "268435456", "1GiB"],
        &["lots", "1.5GB"],
    ),
    ("store.retention", &["30d"], &["30"]),
    ("store.event_retention", &["24h"], &["1month"]),
    (
        "datastore.project_id",
        &["my-project-1", "example.com:old"],
        &["A Project", "a/b"],
    ),
    ("datastore.kind", &["MOENGAGE_MESSAGES"], &["__x", "a/b"]),
    ("datastore.credentials_file", &["/keys/key.json"], &[]),
    (
        "datastore.emulator_host",
        &["127.0.0.1:8081", "http://[::1]:8081/", "emulator:8081"],
        &["localhost", "https://h:1", "u@h:1", "h:1/x"],
    ),
    ("datastore.expire_after", &["365d"], &["1year"]),
    ("datastore.ask_after", &["60s"], &["60"]),
    (
        "ops.addr",
        &["127.0.0.1:0", "localhost:3002", "[::1]:3002"],
        &["3002", "0.0.0.0:3002", "127.0.0.1:3001", "gw:1"],
    ),
    ("ops.token", &["secret"], &["two words"]),
    ("log.format", &["text", "json"], &["xml"]),
    (
        "log.filter",
        &["info", "OFF", "warn,tower=debug", "warn, tower=debug"],
        &[
            "info,=,[",
            "gateway=loud",
            "loud",
            "info,loud",
            "info,",
            "tower",
        ],
    ),
    (
        "alerts.slack_webhook_url",
        &["https://hooks.slack.test/x"],
        &["#alerts"],
    ),
];

#[test]
fn every_setting_takes_what_is_right_and_names_what_is_wrong() {
    let has_case = |key: &str| CASES.iter().any(|(known, ..)| *known == key);
    for setting in SETTINGS.iter().filter(|one| !has_case(one.key)) {
        let lines = faults(&flag(setting.key, "\u{7} no value"), Purpose::Client);
        assert_eq!(lines.len(), 1, "{}: {lines:?}", setting.key);
    }
    for (key, good, bad) in CASES {
        for value in *good {
            let config = client(&flag(key, value));
            assert_eq!(
                in_force(&config, key).unwrap().1,
                Layer::Flag,
                "{key} = {value}"
            );
        }
        for value in *bad {
            let lines = faults(&flag(key, value), Purpose::Client);
            assert_eq!(lines.len(), 1, "{key} = {value}: {lines:?}");
            assert!(
                lines[0].starts_with(key) && lines[0].contains("(flag): must"),
                "{lines:?}"
            );
        }
        let var = Setting::named(key).unwrap().var;
        if let (Some(var), Some(value)) = (var, bad.first()) {
            let lines = faults(&env(&[(var, value)]), Purpose::Client);
            assert_eq!(lines.len(), 1, "{var} = {value}: {lines:?}");
            assert!(lines[0].starts_with(var), "{lines:?}");
            assert!(lines[0].contains("(environment): must"), "{lines:?}");
        }
    }
}

/// What a provider has in common with others stood in `[jumper]` once.
#[test]
fn keys_of_an_older_version_keep_their_meaning() {
    for setting in SETTINGS.iter() {
        let Some(was) = setting.was else { continue };
        let value = match CASES.iter().find(|(key, ..)| *key == setting.key) {
            Some((_, good, _)) => good[0],
            None => panic!("{}: no case", setting.key),
        };
        let text = |key: &str| file(&format!("{key} = \"{value}\"\n"));
        let (old, new) = (client(&text(was)), client(&text(setting.key)));
        assert_eq!(in_force(&old, setting.key), in_force(&new, setting.key));
        assert_eq!(in_force(&old, setting.key).unwrap().1, Layer::File);
        client(&flag(was, value));
        let both = format!("{was} = \"{value}\"\n{} = \"{value}\"\n", setting.key);
        let lines = faults(&file(&both), Purpose::Client);
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(
            lines[0].contains(&format!("{was} is its older name")),
            "{lines:?}"
        );
    }
}

#[test]
fn values_arrive_typed() {
    let sources = env(&[
        ("PORT", "8080"),
        ("MOENGAGE_AUTH_AGAINST", "Bearer one, two,,"),
        ("JUMPER_BASIC_AUTH", "a2V5OnNlY3JldA"),
        ("JUMPER_API_URL", "http://127.0.0.1:9/"),
        ("RATE_PER_SECOND", "off"),
        ("AMBIGUOUS_SEND", "resend"),
        ("MAX_QUEUE", "7"),
        ("SEED_REFRESH_TOKEN", "  token\n"),
        ("RESPONSE_TIMEOUT", "5"),
        ("SOCKET_TIMEOUT", "250"),
        ("MOENGAGE_TIMESTAMP_UNIT", "ms"),
    ]);
    let config = client(&sources);
    let secret = |secret: &Option<secrecy::SecretString>| {
        secret.as_ref().map(|s| s.expose_secret().to_owned())
    };
    assert_eq!(config.http.port, 8080);
    let tokens: Vec<_> = config.channels[0]
        .tokens
        .iter()
        .map(|t| t.expose_secret())
        .collect();
    assert_eq!(tokens, ["one", "two"]);
    assert_eq!(
        secret(&config.accounts[0].basic_auth).as_deref(),
        Some(BASIC)
    );
    assert_eq!(
        secret(&config.accounts[0].seed_refresh_token).as_deref(),
        Some("token")
    );
    assert_eq!(config.accounts[0].api_url, "http://127.0.0.1:9");
    assert_eq!(config.accounts[0].rate_per_second, None);
    assert_eq!(config.channels[0].ambiguous_send, Ambiguous::Resend);
    assert_eq!(config.channels[0].max_queue, Some(7));
    assert_eq!(config.http.response_timeout, Duration::from_secs(5));
    assert_eq!(
        config.accounts[0].socket_timeout,
        Duration::from_millis(250)
    );
    assert_eq!(config.moengage.timestamp_unit, TimestampUnit::Millis);
    let words = client(&file("[inbound]\nstop_words = [\" halt \"]\n"))
        .inbound
        .stop_words;
    assert_eq!(words, ["STOP", "HALT"]);
    let texts = client(&file("[policy]\nretryable_texts = [\"a, b\", \"\"]\n"));
    assert_eq!(texts.channels[0].retryable_texts, ["a, b"]);
}

#[test]
fn each_layer_beats_the_ones_below() {
    let mut sources = Sources::default();
    let port = |sources: &Sources| {
        let config = client(sources);
        let (shown, layer) = in_force(&config, "http.port").unwrap();
        assert_eq!(shown, config.http.port.to_string());
        (config.http.port, layer)
    };
    assert_eq!(port(&sources), (3001, Layer::Default));
    sources.file = Some(("gateway.toml".into(), "[http]\nport = 1".to_owned()));
    assert_eq!(port(&sources), (1, Layer::File));
    sources.dotenv = map(&[("PORT", "2")]);
    assert_eq!(port(&sources), (2, Layer::DotEnv));
    sources.env = map(&[("PORT", "")]);
    assert_eq!(
        port(&sources),
        (2, Layer::DotEnv),
        "an empty variable counts as unset"
    );
    sources.env = map(&[("PORT", "3")]);
    assert_eq!(
        port(&sources),
        (3, Layer::Environment),
        ".env never overrides"
    );
    sources.flags = vec![("http.port".to_owned(), "4".to_owned())];
    assert_eq!(port(&sources), (4, Layer::Flag));
    sources.flags.push(("http.port".to_owned(), "5".to_owned()));
    assert_eq!(port(&sources), (5, Layer::Flag));
}

#[test]
fn five_mistakes_are_five_lines() {
    let mut sources = env(&[
        ("RATE_PER_SECOND", "fast"),
        ("WEBHOOK_SECRET", "hunter2"),
        ("MAX_AGE", "24"),
    ]);
    sources.file = Some((
        "gateway.toml".into(),
        "[http]\nprot = 3001\n\n[store]\nretention = \"long\"\n".to_owned(),
    ));
    let text = load(&sources, Purpose::Client).unwrap_err().to_string();
    let expected = "5 faults in the configuration:
  http.prot (gateway.toml:2): unknown setting; did you mean http.port?
  WEBHOOK_SECRET = \"***\" (environment): must be 16 to 256 letters, digits, '-' or '_' (openssl rand -hex 24)
  MAX_AGE = \"24\" (environment): must be a time with its unit (ms, s, m, h, d), from 1s to 366d
  RATE_PER_SECOND = \"fast\" (environment): must be calls per second, from 0.01 to 100000, or off
  store.retention = \"long\" (gateway.toml:5): must be a time with its unit (ms, s, m, h, d), from 1s to 366d";
    assert_eq!(text, expected);
}

#[test]
fn what_contradicts_is_told_beside_what_is_wrong_by_itself() {
    let sources = file(
        "[policy]\nretry_base = \"10m\"\nretry_max = \"5m\"\nhold_probe = \"5\"\n[breaker]\nfailures = 0\n\
         open_min = \"2m\"\n[inbound]\nstart_words = [\"STOP\"]\nreply_window = \"7\"\n",
    );
    let lines = faults(&sources, Purpose::Client);
    let names = lines.iter().map(|line| line.split(' ').next().unwrap());
    assert_eq!(
        names.collect::<Vec<_>>(),
        [
            "policy.hold_probe",
            "policy.retry_base",
            "breaker.failures",
            "breaker.open_min",
            "inbound.reply_window",
            "inbound.start_words"
        ]
    );
}

#[test]
fn serving_needs_three_and_says_where_to_find_them() {
    let lines = faults(&Sources::default(), Purpose::Serve);
    assert_eq!(lines.len(), 3, "{lines:?}");
    let wanted = [
        (
            "MOENGAGE_CALLBACK_URL, moengage.callback_url (not set): needs ",
            "dashboard",
        ),
        (
            "MOENGAGE_AUTH_AGAINST, moengage.auth_against (not set): needs ",
            "sender form",
        ),
        (
            "JUMPER_BASIC_AUTH, jumper.basic_auth (not set): needs ",
            "developer portal",
        ),
    ];
    for (line, (start, hint)) in lines.iter().zip(wanted) {
        assert!(line.starts_with(start) && line.contains(hint), "{line}");
    }
    let complete = [
        (
            "MOENGAGE_CALLBACK_URL",
            "https://api-01.moengage.com/whatsapp/dlr/x",
        ),
        ("MOENGAGE_AUTH_AGAINTS", "token-of-moengage"),
        ("JUMPER_BASIC_AUTH", BASIC),
    ];
    assert!(faults(&env(&complete), Purpose::Serve).is_empty());
    let mut commas = complete;
    commas[1].1 = " , ";
    assert_eq!(faults(&env(&commas), Purpose::Serve).len(), 1);
}

#[test]
fn two_spellings_must_agree() {
    let both = |a, b| env(&[("MOENGAGE_AUTH_AGAINST", a), ("MOENGAGE_AUTH_AGAINTS", b)]);
    assert!(faults(&both("same", " same "), Purpose::Client).is_empty());
    assert!(faults(&both("", "one"), Purpose::Client).is_empty());
    let lines = faults(&both("hunter2", "other1"), Purpose::Client);
    assert_eq!(lines.len(), 1);
    assert!(
        !lines[0].contains("hunter2") && !lines[0].contains("other1"),
        "{lines:?}"
    );
}

#[test]
fn what_is_not_served_is_said() {
    let mut sources = env(&[("MOENGAGE_CALLBACK_URL", "http://api.moengage.com/x")]);
    sources.dotenv = map(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "x"),
        ("DT_KIND", ""),
        ("DT_JSON_PATH", "key.json"),
        ("WEBHOOK_OPEN", "true"),
        ("MOENGAGE_CALBACK_URL", "x"),
        ("REDIS_WAIT_REPLICAS", "1"),
    ]);
    let warnings = client(&sources).warnings();
    let begin = [
        "OTEL_EXPORTER_OTLP_ENDPOINT (.env): has no effect",
        "MOENGAGE_CALBACK_URL (.env): has no effect",
        "MOENGAGE_CALLBACK_URL is not https on a host of moengage.com",
        "WEBHOOK_OPEN is true",
        "SUBSCRIBED_CALLBACK_URL is not set",
        "REDIS_WAIT_REPLICAS has no effect without REDIS_URL",
        "DT_JSON_PATH has no effect without DT_PROJECT_ID",
    ];
    assert_eq!(warnings.len(), begin.len(), "{warnings:?}");
    assert!(
        warnings.iter().zip(begin).all(|(w, b)| w.starts_with(b)),
        "{warnings:?}"
    );
    let quiet = env(&[
        ("MOENGAGE_CALLBACK_URL", "https://API-02.moengage.com/x"),
        ("WEBHOOK_SECRET", "abcdefghijklmnop"),
        ("SUBSCRIBED_CALLBACK_URL", "https://gw.test/jumper_callback"),
    ]);
    assert_eq!(client(&quiet).warnings(), Vec::<String>::new());
    for (url, told) in [
        ("http://jumper.test", true),
        ("http://10.0.0.1:4010", true),
        ("http://127.0.0.1:4010", false),
        ("http://[::1]:4010", false),
        ("http://localhost:4010", false),
        ("https://jumper.test", false),
    ] {
        let warnings = client(&env(&[("JUMPER_API_URL", url)])).warnings();
        let words = "JUMPER_API_URL is not https";
        assert_eq!(
            warnings.iter().any(|one| one.starts_with(words)),
            told,
            "{url}"
        );
    }
    for url in [
        "https://moengage.com.evil.test/",
        "https://notmoengage.com/",
    ] {
        let config = client(&env(&[("MOENGAGE_CALLBACK_URL", url)]));
        assert!(config.warnings()[0].contains("moengage.com"), "{url}");
    }
}

#[test]
fn redis_is_the_store_when_its_address_is_given_and_keeps_a_message_for_eight_days() {
    let days = |config: &Config| config.store.retention.as_secs() / 86_400;
    let file_store = client(&Sources::default());
    assert!(file_store.store.redis().is_none());
    assert_eq!(days(&file_store), 30);
    let shown = in_force(&file_store, "store.retention");
    assert_eq!(shown, Some(("30d".to_owned(), Layer::Default)));
    let redis = client(&env(&[
        ("REDIS_URL", "redis://me:hunter2@redis.test/1"),
        ("REDIS_WAIT_REPLICAS", "2"),
    ]));
    let settings = redis.store.redis().unwrap();
    assert_eq!(
        settings.url.expose_secret(),
        "redis://me:hunter2@redis.test/1"
    );
    assert_eq!((settings.wait_replicas, days(&redis)), (2, 8));
    let (shown, layer) = in_force(&redis, "store.redis_url").unwrap();
    assert_eq!(shown, "redis://me:***@redis.test/1");
    assert_eq!(layer, Layer::Environment);
    assert!(!format!("{redis:?}").contains("hunter2"));
    let mut kept = env(&[("REDIS_URL", "unix:///run/redis.sock")]);
    kept.flags = vec![("store.retention".to_owned(), "3d".to_owned())];
    assert_eq!(days(&client(&kept)), 3);
    let bad = faults(
        &env(&[("REDIS_URL", "http://:hunter2@x.test")]),
        Purpose::Serve,
    );
    assert!(
        bad.iter()
            .any(|line| line.starts_with("REDIS_URL = \"***\" (environment)"))
    );
}

#[test]
fn the_secret_is_registered_once() {
    let secret = "abcdefghijklmnop";
    let cases = [
        (
            "https://gw.test/jumper_callback",
            "https://gw.test/jumper_callback/abcdefghijklmnop",
        ),
        (
            "https://gw.test/jumper_callback/",
            "https://gw.test/jumper_callback/abcdefghijklmnop",
        ),
        (
            "https://gw.test/cb?a=b",
            "https://gw.test/cb/abcdefghijklmnop?a=b",
        ),
        (
            "https://gw.test/jumper_callback/abcdefghijklmnop",
            "https://gw.test/jumper_callback/abcdefghijklmnop",
        ),
        (
            "https://gw.test/cb?key=abcdefghijklmnop",
            "https://gw.test/cb?key=abcdefghijklmnop",
        ),
        (
            "https://gw.test/abcdefghijklmnopq",
            "https://gw.test/abcdefghijklmnopq/abcdefghijklmnop",
        ),
    ];
    for (url, registered) in cases {
        let set = env(&[("SUBSCRIBED_CALLBACK_URL", url), ("WEBHOOK_SECRET", secret)]);
        assert_eq!(webhook(&client(&set)).as_deref(), Some(registered));
    }
    let url = ("SUBSCRIBED_CALLBACK_URL", "https://gw.test/cb");
    let open = client(&env(&[url, ("WEBHOOK_OPEN", "true")]));
    assert_eq!(webhook(&open).as_deref(), Some(url.1));
    let made = client(&env(&[url]));
    assert_eq!(webhook(&made), None, "the gateway makes the secret");
}

#[test]
fn mistakes_in_the_file_are_named_by_line() {
    let cases = [
        (
            "port = 1",
            "port (gateway.toml:1): unknown setting; did you mean http.port?",
        ),
        ("\n[htp]\nport = 1", "htp (gateway.toml:2): unknown setting"),
        (
            "PORT = 1",
            "PORT (gateway.toml:1): unknown setting; did you mean http.port?",
        ),
        (
            "[http]\nport = [1, 2]",
            "http.port = \"1, 2\" (gateway.toml:2): must be one value",
        ),
        (
            "[http.port]\na = 1",
            "http.port (gateway.toml:1): must be a text, a number",
        ),
        ("http = 3", "http (gateway.toml:1): unknown setting"),
        (
            "[http]\nport = 1\nport = 2",
            "TOML (gateway.toml:3): cannot be read as TOML: duplicate key",
        ),
        (
            "[http]\n\nport = ",
            "TOML (gateway.toml:3): cannot be read as TOML",
        ),
        (
            "\n[ops]\ntoken = hunter2",
            "TOML (gateway.toml:3): cannot be read as TOML",
        ),
        (
            "[jumper]\nwebhook_secrt = \"hunter2\"",
            "jumper.webhook_secrt (gateway.toml:2): unknown setting; did you mean jumper.webhook_secret?",
        ),
        (
            "[http]\nport = 70000",
            "http.port = \"70000\" (gateway.toml:2): must be a whole",
        ),
    ];
    for (text, start) in cases {
        let lines = faults(&file(text), Purpose::Client);
        assert_eq!(lines.len(), 1, "{text}: {lines:?}");
        assert!(
            lines[0].starts_with(start) && !lines[0].contains("hunter2"),
            "{lines:?}"
        );
    }
    let lines = faults(&flag("port", "1"), Purpose::Client);
    assert_eq!(
        lines,
        ["port (flag): unknown setting; did you mean http.port?"]
    );
}

#[test]
fn quotes_meant_for_a_shell_are_one_fault() {
    let lines = faults(&env(&[("PORT", "\"3001\"")]), Purpose::Client);
    assert_eq!(lines.len(), 1);
    assert!(lines[0].contains("without the quotes"), "{lines:?}");
}

#[test]
fn an_open_ops_listener_demands_a_token() {
    let open = [("OPS_ADDR", "0.0.0.0:3002")];
    assert!(faults(&env(&open), Purpose::Client)[0].contains("OPS_TOKEN"));
    let guarded = [open[0], ("OPS_TOKEN", "t0ken")];
    assert!(faults(&env(&guarded), Purpose::Client).is_empty());
}

#[test]
fn the_sample_as_it_is_changes_nothing_and_uncommented_is_valid() {
    let sample = include_str!("../../.env.sample");
    let (variables, bad) = dotenv::read(sample);
    assert!(
        bad.is_empty() && variables.values().all(String::is_empty),
        "{bad:?}"
    );
    assert!(
        variables.keys().all(|name| groups::is_known_variable(name)),
        "{variables:?}"
    );
    let assigns = |line: &str| {
        let name = line
            .strip_prefix("# ")
            .and_then(|line| line.split_once('='));
        name.is_some_and(|(name, _)| groups::is_known_variable(name))
    };
    let uncommented: Vec<_> = sample
        .lines()
        .map(|line| if assigns(line) { &line[2..] } else { line })
        .collect();
    let (variables, bad) = dotenv::read(&uncommented.join("\n"));
    assert!(bad.is_empty() && variables["RATE_PER_SECOND"] == "10");
    let sources = Sources {
        dotenv: variables,
        ..Sources::default()
    };
    assert_eq!(faults(&sources, Purpose::Client), Vec::<String>::new());
}

#[test]
fn the_table_shows_values_layers_and_variables() {
    let mut sources = env(&[
        ("PORT", "8080"),
        ("OPS_TOKEN", "hunter2"),
        ("WABA_NUMBER", "12025550100"),
    ]);
    sources.file = Some(("gateway.toml".into(), "[log]\nformat = \"json\"".to_owned()));
    let table = cli::config::table(&client(&sources));
    let row = |key: &str| {
        let row = table.lines().find(|line| line.starts_with(key)).unwrap();
        row.split_whitespace()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert!(table.starts_with("configuration file: gateway.toml\n"));
    assert_eq!(row("KEY"), ["KEY", "VALUE", "LAYER", "VARIABLE"]);
    assert_eq!(
        row("http.port"),
        ["http.port", "8080", "environment", "PORT"]
    );
    assert_eq!(
        row("ops.token"),
        ["ops.token", "***", "environment", "OPS_TOKEN"]
    );
    assert_eq!(
        row("log.format"),
        ["log.format", "json", "file", "LOG_FORMAT"]
    );
    assert_eq!(row("http.bind"), ["http.bind", "0.0.0.0", "default", "-"]);
    assert_eq!(
        row("jumper.basic_auth"),
        ["jumper.basic_auth", "-", "-", "JUMPER_BASIC_AUTH"]
    );
    assert_eq!(row("sending.waba_number")[1], "12*******00");
    assert_eq!(row("policy.retryable_texts")[1], "[]");
    assert!(table.contains("\nwarning: SUBSCRIBED_CALLBACK_URL is not set"));
    assert!(!table.contains("hunter2"));
}

/// All that a configuration or its faults can print.
fn printed(sources: &Sources) -> String {
    [Purpose::Serve, Purpose::Client]
        .map(|purpose| match load(sources, purpose) {
            Ok(config) => format!("{config:?} {}", cli::config::table(&config)),
            Err(faults) => format!("{faults:?} {faults} {sources:?}"),
        })
        .concat()
}

/// Every place that a secret may be written to.
fn with_secret_everywhere(secret: &str) -> Vec<(&'static str, String)> {
    use base64::Engine as _;
    let pair = format!("key:{secret}");
    let basic = base64::engine::general_purpose::STANDARD.encode(pair);
    vec![
        ("moengage.auth_against", format!("{secret},{secret}2")),
        ("jumper.basic_auth", format!("Basic {basic}")),
        ("jumper.seed_refresh_token", secret.to_owned()),
        ("jumper.webhook_secret", secret.to_owned()),
        ("store.redis_url", format!("redis://u:{secret}@r.test")),
        (
            "jumper.subscribed_callback_url",
            format!("https://gw.test/jumper_callback/{secret}?key={secret}"),
        ),
        ("ops.token", secret.to_owned()),
        (
            "alerts.slack_webhook_url",
            format!("https://hooks.test/{secret}"),
        ),
        (
            "moengage.callback_url",
            "https://api-01.moengage.com/x".to_owned(),
        ),
    ]
}

proptest! {
    /// Right or spoilt by a character that no secret may hold: no secret is ever printed.
    #[test]
    fn secrets_are_never_printed(
        secret in "[A-Za-z0-9_-]{16,40}",
        spoil in prop::sample::select(vec!["", " ", "é", "\u{7}"]),
        by_file in any::<bool>(),
    ) {
        use base64::Engine as _;
        let secret = format!("{}{spoil}{}", &secret[..8], &secret[8..]);
        let values = with_secret_everywhere(&secret);
        let sources = if by_file {
            file(&values.iter().map(|(key, value)| format!("{key} = {value:?}\n")).collect::<String>())
        } else {
            let var = |key| Setting::named(key).unwrap().var.unwrap();
            let env = values.iter().map(|(key, value)| (var(key).to_owned(), value.clone()));
            Sources { env: env.collect(), ..Sources::default() }
        };
        if spoil.is_empty() {
            prop_assert!(load(&sources, Purpose::Serve).is_ok());
        }
        let text = printed(&sources);
        let encoded = base64::engine::general_purpose::STANDARD.encode(format!("key:{secret}"));
        for hidden in [&secret[..8], &secret[secret.len() - 8..], &encoded[6..]] {
            prop_assert!(!text.contains(hidden), "{hidden}: {text}");
        }
    }

    #[test]
    fn loading_never_panics_on_any_file(
        lines in prop::collection::vec(
            prop_oneof![
                ".{0,30}",
                "\\[{0,2}(http|jumper|ops|log|account|channel)\\]{0,2}",
                "(port|bind|token|filter|http\\.port|id|account|auth_against|paused) ?= ?(\"[^\"]{0,9}\"|[0-9.e_-]{0,9}|\\[.{0,9}\\]|\\{.{0,9}\\}|'''|true)",
            ],
            0..12,
        ),
        serve in any::<bool>(),
    ) {
        let purpose = if serve { Purpose::Serve } else { Purpose::Client };
        if let Err(faults) = load(&file(&lines.join("\n")), purpose) {
            prop_assert_eq!(faults.to_string().lines().count(), faults.0.len() + 1);
        }
    }

    #[test]
    fn loading_never_panics_on_any_value(
        values in prop::collection::vec((0..SETTINGS.len(), "\\PC{0,12}|[0-9]{1,25}(ms|s|d|GB)?|https?://\\PC{0,12}"), 0..10),
    ) {
        let mut sources = Sources::default();
        for (at, value) in values {
            if let Some(var) = SETTINGS[at].var {
                sources.env.insert(var.to_owned(), value.clone());
            }
            sources.flags.push((SETTINGS[at].key.to_owned(), value));
        }
        if let Err(faults) = load(&sources, Purpose::Client) {
            prop_assert_eq!(faults.to_string().lines().count(), faults.0.len() + 1);
        }
    }
}

#[test]
fn datastore_is_used_when_a_project_is_named() {
    assert!(
        client(&env(&[("DATASTORE_EMULATOR_HOST", "127.0.0.1:8081")]))
            .datastore
            .is_none()
    );
    let config = client(&env(&[
        ("DT_PROJECT_ID", "my-project-1"),
        ("DT_JSON_PATH", "/keys/key.json"),
        ("DATASTORE_EMULATOR_HOST", "http://127.0.0.1:8081/"),
    ]));
    let warnings = config.warnings();
    let told = |one: &String| one.contains("not to Google");
    assert!(warnings.iter().any(told), "{warnings:?}");
    let datastore = config.datastore.unwrap();
    assert_eq!(datastore.kind, "MOENGAGE_MESSAGES");
    assert_eq!(datastore.emulator_host.as_deref(), Some("127.0.0.1:8081"));
    assert_eq!(datastore.credentials, Some("/keys/key.json".into()));
    let bad = env(&[
        ("DT_PROJECT_ID", "a project"),
        ("DT_KIND", "__x"),
        ("DATASTORE_EMULATOR_HOST", "localhost"),
    ]);
    let lines = faults(&bad, Purpose::Client);
    assert_eq!(lines.len(), 3, "{lines:?}");
}

/// What `.env`, the file and the flags say, and which of the files everybody may read.
fn said(dotenv: &[(&str, &str)], file: &str, flags: &[(&str, &str)], open: &[Layer]) -> Sources {
    Sources {
        env: BTreeMap::new(),
        dotenv: map(dotenv),
        file: (!file.is_empty()).then(|| ("gw.toml".into(), file.to_owned())),
        flags: map(flags).into_iter().collect(),
        read: Vec::new(),
        open: open.iter().copied().collect(),
    }
}

const LONG_SECRET: &str = "hunter2-hunter2-hunter2";

#[test]
fn secrets_that_others_can_read_or_guess_are_told() {
    let secret = [("WEBHOOK_SECRET", LONG_SECRET)];
    let flags = [
        ("jumper.webhook_secret", LONG_SECRET),
        ("ops.token", LONG_SECRET),
    ];
    let token = format!("[ops]\ntoken = \"{LONG_SECRET}\"");
    let redis = "[store]\nredis_url = \"redis://:hunter2@r.test\"";
    let tokens = format!("{LONG_SECRET}, hunter2");
    let cases = [
        (
            said(&secret, "", &[], &[Layer::DotEnv]),
            ".env holds secrets",
        ),
        (
            said(&[], &token, &[], &[Layer::File]),
            "gw.toml holds secrets",
        ),
        (
            said(&[], redis, &[], &[Layer::File]),
            "gw.toml holds secrets",
        ),
        (
            said(&[], "", &flags, &[]),
            "jumper.webhook_secret, ops.token given with --set",
        ),
        (
            env(&[("OPS_TOKEN", "hunter2")]),
            "OPS_TOKEN has a token of fewer",
        ),
        (
            env(&[("MOENGAGE_AUTH_AGAINST", &tokens)]),
            "MOENGAGE_AUTH_AGAINST has a token of fewer",
        ),
    ];
    for (sources, told) in cases {
        let warnings = client(&sources).warnings();
        let found = warnings.iter().filter(|one| one.starts_with(told)).count();
        assert_eq!(found, 1, "{told}: {warnings:?}");
        assert!(!format!("{warnings:?}").contains("hunter2"), "{warnings:?}");
    }
}

#[test]
fn secrets_that_only_the_operator_can_read_are_no_matter() {
    let secret = [("WEBHOOK_SECRET", LONG_SECRET)];
    let both = [Layer::DotEnv, Layer::File];
    let plain = [("http.port", "3005"), ("store.redis_url", "redis://r.test")];
    for sources in [
        said(&[("PORT", "3005")], "[http]\nport = 3005", &[], &both),
        said(&secret, "", &[], &[Layer::File]),
        said(&secret, "", &[], &[]),
        said(&[], "", &plain, &[]),
        env(&[
            ("OPS_TOKEN", LONG_SECRET),
            ("MOENGAGE_AUTH_AGAINST", LONG_SECRET),
        ]),
    ] {
        let warnings = client(&sources).warnings();
        let words = ["holds secrets", "--set", "guessed"];
        let told = |one: &String| words.iter().any(|word| one.contains(word));
        assert!(!warnings.iter().any(told), "{warnings:?}");
    }
}

#[test]
fn r_47_a_variable_that_is_nearly_one_of_ours_is_asked_about_and_never_shown() {
    let sources = env(&[
        ("MOENGAGE_CALBACK_URL", "https://hunter2.test/"),
        ("WEBHOOK_SECERT", "hunter2"),
        ("REDIS_PORT", "tcp://10.0.0.1:6379"),
        ("PATH", "/bin"),
    ]);
    let lines = faults(&sources, Purpose::Serve);
    let meant = |name: &str| {
        let found = lines.iter().find(|line| line.starts_with(name));
        found.cloned().unwrap_or_default()
    };
    assert!(
        meant("MOENGAGE_CALBACK_URL (environment)")
            .ends_with("did you mean MOENGAGE_CALLBACK_URL?"),
        "{lines:#?}"
    );
    assert!(meant("WEBHOOK_SECERT").ends_with("did you mean WEBHOOK_SECRET?"));
    let text = lines.join("\n");
    assert!(!text.contains("hunter2") && !text.contains("PATH") && !text.contains("REDIS_PORT"));
    // Nothing else is wrong: a warning, and the gateway starts.
    let warnings = load(&sources, Purpose::Client).unwrap().warnings();
    let told = warnings.iter().filter(|one| one.contains("did you mean"));
    assert_eq!(told.count(), 2, "{warnings:#?}");
    // Who has the right one too knows what the other is.
    let both = env(&[("RATE_PER_SECOND", "5"), ("RATE_PER_SECONDS", "6")]);
    let warnings = load(&both, Purpose::Client).unwrap().warnings();
    assert!(!warnings.iter().any(|one| one.contains("did you mean")));
}

#[test]
fn r_47_a_file_that_is_no_toml_is_the_only_fault() {
    for text in [
        "[http]\nport = \n[jumper]\nbasic_auth = \"x\"",
        "[http\nport = 1",
        "[ops]\ntoken = hunter2\nx = y z",
    ] {
        let lines = faults(&file(text), Purpose::Serve);
        assert_eq!(lines.len(), 1, "{lines:#?}");
        assert!(lines[0].starts_with("TOML (gateway.toml:"), "{lines:#?}");
        assert!(!lines[0].contains("hunter2"), "{lines:#?}");
    }
}

#[test]
fn r_46_a_list_on_the_command_line_is_a_list() {
    for written in [
        "a,b",
        "[\"a\",\"b\"]",
        "[ 'a' , 'b' ]",
        " a , b ",
        "[\"a,b\"]",
    ] {
        let config = client(&flag("inbound.start_words", written));
        let words = &config.inbound.start_words;
        match written.contains("a,b\"") {
            true => assert_eq!(words, &["A,B"], "{written}"),
            false => assert_eq!(words, &["A", "B"], "{written}"),
        }
    }
    let lines = faults(&flag("http.port", "[1, 2]"), Purpose::Client);
    assert!(
        lines[0].contains("must be one value, not a list"),
        "{lines:?}"
    );
}
