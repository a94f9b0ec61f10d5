//! Tests of `[[account]]` and `[[channel]]`: what is right arrives, what is wrong is told by line.

use crate::cli;
use crate::config::{Config, Layer, Purpose, Sources, load};
use crate::domain::policy::Ambiguous;
use secrecy::ExposeSecret;
use std::time::Duration;

/// Two tenants: one with two numbers, one with one.
const COMPLETE: &str = r#"
[jumper]
rate_per_second = 20
[policy]
max_age = "12h"

[[account]]
id = "acme"
basic_auth = { env = "ACME_BASIC" }
seed_refresh_token = "acme-seed"
subscribed_callback_url = "https://gw.test/channels/acme-uk/callback"
rate_per_second = 80
concurrent_api_calls = 40

[[account]]
id = "birch"
api_url = "http://127.0.0.1:9/"
basic_auth = "Basic a2V5OnNlY3JldA=="

[[channel]]
id = "acme-uk"
account = "acme"
auth_against = ["acme-token-of-moengage", { env = "ACME_TOKEN" }]
callback_url = "https://api-01.moengage.com/whatsapp/dlr/uk"
waba_number = "+442079460000"
webhook_secret = "acme-webhook-secret-uk"

[[channel]]
id = "acme-us"
account = "acme"
auth_against = "acme-token-of-moengage"
callback_url = "https://api-01.moengage.com/whatsapp/dlr/us"
waba_number = "12025550100"
webhook_secret = { env = "ACME_US_SECRET" }
max_age = "2h"
max_queue = 1000
ambiguous_send = "resend"
retryable_texts = ["busy, try later"]
paused = true

[[channel]]
id = "birch"
account = "birch"
auth_against = { env = "BIRCH_TOKENS" }
callback_url = "https://api-02.moengage.com/x"
"#;

fn sources(text: &str) -> Sources {
    let env = [
        ("ACME_BASIC", "Basic YWNtZTphY21lLXNlY3JldA=="),
        ("ACME_TOKEN", "acme-new-token-of-moengage"),
        ("ACME_US_SECRET", "acme-webhook-secret-us"),
        ("BIRCH_TOKENS", "birch-token-number-1, birch-token-number-2"),
    ];
    Sources {
        env: env.map(|(n, v)| (n.to_owned(), v.to_owned())).into(),
        file: Some(("gw.toml".into(), text.to_owned())),
        ..Sources::default()
    }
}

fn serve(sources: &Sources) -> Config {
    load(sources, Purpose::Serve).unwrap_or_else(|faults| panic!("{faults}"))
}

/// The faults for serving, one line each.
fn faults(sources: &Sources) -> Vec<String> {
    match load(sources, Purpose::Serve) {
        Ok(_) => Vec::new(),
        Err(faults) => faults.0.iter().map(ToString::to_string).collect(),
    }
}

/// `COMPLETE` with a text replaced, which must be there.
fn with(old: &str, new: &str) -> Sources {
    assert!(COMPLETE.contains(old), "{old}");
    sources(&COMPLETE.replace(old, new))
}

/// The line of a text in `COMPLETE`, from 1.
fn line(text: &str) -> usize {
    COMPLETE[..COMPLETE.find(text).unwrap()]
        .matches('\n')
        .count()
        + 1
}

#[test]
fn tables_arrive_typed_and_inherit_what_they_do_not_say() {
    let config = serve(&sources(COMPLETE));
    assert!(config.has_tables());
    let [acme, birch] = config.accounts.as_slice() else {
        panic!("{:?}", config.accounts)
    };
    assert_eq!((acme.id.as_str(), birch.id.as_str()), ("acme", "birch"));
    assert_eq!(acme.rate_per_second, Some(80.0));
    assert_eq!(
        (acme.concurrent_api_calls, birch.concurrent_api_calls),
        (40, 10)
    );
    assert_eq!(birch.rate_per_second, Some(20.0), "from [jumper]");
    assert_eq!(acme.api_url, "https://api.jumper.ai", "built in");
    assert_eq!(birch.api_url, "http://127.0.0.1:9");
    let basic = acme.basic_auth.as_ref().unwrap().expose_secret();
    assert_eq!(basic, "Basic YWNtZTphY21lLXNlY3JldA==");
    assert!(birch.seed_refresh_token.is_none());
    let [uk, us, only] = config.channels.as_slice() else {
        panic!("{:?}", config.channels)
    };
    let tokens = |one: &crate::config::Channel| {
        let tokens = one.tokens.iter();
        tokens
            .map(|token| token.expose_secret().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        tokens(uk),
        ["acme-token-of-moengage", "acme-new-token-of-moengage"]
    );
    assert_eq!(
        tokens(only),
        ["birch-token-number-1", "birch-token-number-2"]
    );
    assert_eq!((us.account.as_str(), us.paused), ("acme", true));
    assert!(!uk.paused && uk.max_queue.is_none());
    assert_eq!(us.max_queue, Some(1000));
    assert_eq!(uk.max_age, Duration::from_secs(12 * 3600));
    assert_eq!(us.max_age, Duration::from_secs(2 * 3600));
    assert_eq!(us.ambiguous_send, Ambiguous::Resend);
    assert_eq!(us.retryable_texts, ["busy, try later"]);
    let secret = us.webhook_secret[0].expose_secret();
    assert_eq!(secret, "acme-webhook-secret-us");
    assert!(only.webhook_secret.is_empty() && only.waba_number.is_none());
}

#[test]
fn the_webhook_of_an_account_carries_the_secret_of_the_channel_that_it_names() {
    let registered = |sources: &Sources| {
        let config = serve(sources);
        config.webhook_of(&config.accounts[0]).unwrap()
    };
    let url = "https://gw.test/channels/acme-uk/callback";
    assert_eq!(
        registered(&sources(COMPLETE)),
        format!("{url}/acme-webhook-secret-uk")
    );
    let us = "https://gw.test/channels/acme-us/callback";
    assert_eq!(
        registered(&with(url, us)),
        format!("{us}/acme-webhook-secret-us")
    );
    // The plain route is that of the first channel; another path is a proxy's business.
    for plain in ["https://gw.test/jumper_callback", "https://gw.test/in"] {
        assert_eq!(
            registered(&with(url, plain)),
            format!("{plain}/acme-webhook-secret-uk")
        );
    }
}

/// It says whose events come there, and the host is a proxy's business.
#[test]
fn r_31_two_accounts_do_not_share_a_path_of_their_own() {
    let api = "api_url = \"http://127.0.0.1:9/\"";
    let birch = format!("{api}\nsubscribed_callback_url = \"https://other.test/hook/\"");
    let text = COMPLETE
        .replace(
            "https://gw.test/channels/acme-uk/callback",
            "https://gw.test/hook",
        )
        .replace(api, &birch);
    let faults = load(&sources(&text), Purpose::Serve)
        .unwrap_err()
        .to_string();
    let right = "must have another path than that of account.acme";
    assert!(faults.contains(right), "{faults}");
}

#[test]
fn without_tables_the_variables_define_one_of_each() {
    let config = load(&Sources::default(), Purpose::Client).unwrap();
    assert!(!config.has_tables());
    let names = (
        config.accounts[0].id.as_str(),
        config.channels[0].id.as_str(),
        config.channels[0].account.as_str(),
    );
    assert_eq!(names, ("default", "default", "default"));
    assert_eq!((config.accounts.len(), config.channels.len()), (1, 1));
}

#[test]
fn what_belongs_to_one_must_not_be_given_for_all() {
    let mut both = sources(COMPLETE);
    both.env.insert(
        "MOENGAGE_CALLBACK_URL".into(),
        "https://api-01.moengage.com/x".into(),
    );
    both.dotenv
        .insert("WEBHOOK_SECRET".into(), "a-secret-for-all-000".into());
    both.flags
        .push(("jumper.seed_refresh_token".into(), "hunter2".into()));
    let lines = faults(&both);
    let beside = format!(
        "must not be given beside account.acme (gw.toml:{})",
        line("[[account]]")
    );
    let begins = [
        "jumper.seed_refresh_token = \"***\" (flag): ",
        "MOENGAGE_CALLBACK_URL = \"https://api-01.moengage.com/x\" (environment): ",
        "WEBHOOK_SECRET = \"***\" (.env): ",
    ];
    assert_eq!(lines.len(), 3, "{lines:?}");
    for (line, begin) in lines.iter().zip(begins) {
        assert!(line.starts_with(&format!("{begin}{beside}")), "{line}");
    }
    assert!(lines[2].ends_with("move it to its [[channel]] as webhook_secret"));
    assert!(lines[0].ends_with("move it to its [[account]] as seed_refresh_token"));
    // A table that names the variable has it for itself.
    let mut named = with("ACME_BASIC", "JUMPER_BASIC_AUTH");
    let basic = named.env.remove("ACME_BASIC").unwrap();
    named.env.insert("JUMPER_BASIC_AUTH".into(), basic);
    assert_eq!(faults(&named), Vec::<String>::new());
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn each_mistake_is_told_with_its_line() {
    let cases: &[(&str, &str, &str, &str)] = &[
        // (what is replaced, by what, in the line of, the fault after its place)
        (
            "id = \"birch\"\napi_url",
            "id = \"acme\"\napi_url",
            "id = \"birch\"\napi_url",
            "account.acme.id = \"acme\" (@): must differ from the id at gw.toml:",
        ),
        (
            "id = \"acme-us\"",
            "id = \"acme-uk\"",
            "id = \"acme-us\"",
            "channel.acme-uk.id = \"acme-uk\" (@): must differ from the id at gw.toml:",
        ),
        (
            "id = \"acme-us\"",
            "id = \"Acme US\"",
            "id = \"acme-us\"",
            "channel[2].id = \"Acme US\" (@): may hold only lower-case letters",
        ),
        (
            "id = \"acme-us\"\n",
            "\n",
            "[[channel]]\nid = \"acme-us\"",
            "channel[2].id (@): must be given",
        ),
        (
            "account = \"birch\"",
            "account = \"brich\"",
            "account = \"birch\"",
            "channel.birch.account = \"brich\" (@): must be the id of an [[account]]; known: acme, birch",
        ),
        (
            "account = \"birch\"\n",
            "\n",
            "[[channel]]\nid = \"birch\"",
            "channel.birch.account (@): must be given",
        ),
        (
            "basic_auth = { env = \"ACME_BASIC\" }",
            "",
            "[[account]]\nid = \"acme\"",
            "account.acme.basic_auth (@): needs Basic and the base64 of key:secret",
        ),
        (
            "{ env = \"ACME_BASIC\" }",
            "{ env = \"ACME_BSAIC\" }",
            "basic_auth = { env",
            "account.acme.basic_auth (@): needs the variable ACME_BSAIC, which is not set",
        ),
        (
            "{ env = \"ACME_TOKEN\" }",
            "{ env = \"NOBODY\" }",
            "auth_against = [",
            "channel.acme-uk.auth_against (@): needs the variable NOBODY, which is not set",
        ),
        (
            "{ env = \"ACME_US_SECRET\" }",
            "{ file = \"x\" }",
            "webhook_secret = { env",
            "channel.acme-us.webhook_secret (@): must be a text, a number, true, false, { env = \"NAME\" }",
        ),
        (
            "auth_against = { env = \"BIRCH_TOKENS\" }",
            "",
            "[[channel]]\nid = \"birch\"",
            "channel.birch.auth_against (@): needs the token that MoEngage's WhatsApp sender form",
        ),
        (
            "callback_url = \"https://api-02.moengage.com/x\"",
            "callback_url = \"api-02.moengage.com\"",
            "callback_url = \"https://api-02",
            "channel.birch.callback_url = \"api-02.moengage.com\" (@): must be an http or https URL",
        ),
        (
            "paused = true",
            "paused = \"yes\"",
            "paused = true",
            "channel.acme-us.paused = \"yes\" (@): must be true or false",
        ),
        (
            "max_queue = 1000",
            "max_queue = 0",
            "max_queue = 1000",
            "channel.acme-us.max_queue = \"0\" (@): must be a whole number of messages",
        ),
        (
            "rate_per_second = 80",
            "rate_per_second = \"fast\"",
            "rate_per_second = 80",
            "account.acme.rate_per_second = \"fast\" (@): must be calls per second",
        ),
        (
            "paused = true",
            "waba = \"1\"",
            "paused = true",
            "channel.acme-us.waba (@): unknown setting of [[channel]]; it may have: id, account, paused,",
        ),
        (
            "paused = true",
            "basic_auth = \"hunter2\"",
            "paused = true",
            "channel.acme-us.basic_auth (@): must stand in a [[account]], not here",
        ),
        (
            "waba_number = \"12025550100\"",
            "waba_number = \"+44 20 7946 0000\"",
            "auth_against = \"acme-token-of-moengage\"",
            "channel.acme-us.auth_against = \"***\" (@): must hold no token of channel.acme-uk, or",
        ),
        (
            "waba_number = \"12025550100\"",
            "",
            "auth_against = \"acme-token-of-moengage\"",
            "channel.acme-us.auth_against = \"***\" (@): must hold no token of channel.acme-uk, or",
        ),
        (
            "api_url = \"http://127.0.0.1:9/\"",
            "seed_refresh_token = \"acme-seed\"",
            "api_url = \"http://127.0.0.1:9/\"",
            "account.birch.seed_refresh_token = \"***\" (@): must differ from that of account.acme",
        ),
        (
            "callback_url = \"https://api-02.moengage.com/x\"",
            "callback_url = \"https://api-02.moengage.com/x\"\nwebhook_secret = \"acme-webhook-secret-uk\"",
            "callback_url = \"https://api-02",
            "channel.birch.webhook_secret = \"***\" (@+1): must differ from that of channel.acme-uk, which",
        ),
        (
            "https://gw.test/channels/acme-uk/callback",
            "https://gw.test/channels/birch/callback",
            "subscribed_callback_url",
            "account.acme.subscribed_callback_url = \"https://gw.test/channels/birch/callback\" (@): must lead to a channel of this account, with the path /channels/<id>/callback; its channels: acme-uk, acme-us",
        ),
        (
            "[[account]]\nid = \"birch\"",
            "[account]\nid = \"birch\"",
            "[[account]]\nid = \"birch\"",
            "TOML (@): cannot be read as TOML",
        ),
    ];
    for (old, new, at, expected) in cases {
        let lines = faults(&with(old, new));
        let at = line(at);
        let expected = expected
            .replace("@+1", &format!("gw.toml:{}", at + 1))
            .replace('@', &format!("gw.toml:{at}"));
        assert!(
            lines.iter().any(|line| line.starts_with(&expected)),
            "{old} -> {new}:\n  wanted {expected}\n  got {lines:#?}"
        );
        assert!(!lines.concat().contains("hunter2"), "{lines:?}");
        assert!(
            !lines.concat().contains("acme-token-of-moengage"),
            "{lines:?}"
        );
    }
}

/// Every refusal says why, also to a command that asks a running gateway and needs few of the variables.
#[test]
fn a_variable_that_is_not_set_is_told_to_whoever_needs_it() {
    let names = [
        ("id = \"acme\"", "id = { env = \"NOBODY\" }", true),
        (
            "account = \"birch\"",
            "account = { env = \"NOBODY\" }",
            true,
        ),
        (
            "rate_per_second = 80",
            "rate_per_second = { env = \"NOBODY\" }",
            false,
        ),
        ("\"acme-seed\"", "{ env = \"NOBODY\" }", false),
        ("{ env = \"ACME_BASIC\" }", "{ env = \"NOBODY\" }", false),
    ];
    for (old, new, needed) in names {
        for purpose in [Purpose::Serve, Purpose::Client] {
            let lines = match load(&with(old, new), purpose) {
                Ok(_) => Vec::new(),
                Err(faults) => faults.0.iter().map(ToString::to_string).collect(),
            };
            let told = lines
                .iter()
                .filter(|line| line.contains("needs the variable NOBODY"));
            let expected = needed || purpose == Purpose::Serve;
            assert_eq!(told.count(), usize::from(expected), "{new}: {lines:?}");
            assert_eq!(lines.is_empty(), !expected, "{new}: {lines:?}");
        }
    }
}

#[test]
fn tables_stand_in_pairs() {
    let only = |from: &str, to: &str| {
        let end = COMPLETE.find(to).unwrap_or(COMPLETE.len());
        sources(&COMPLETE[COMPLETE.find(from).unwrap()..end])
    };
    let lines = faults(&only("[[account]]", "[[channel]]"));
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert_eq!(
        lines[0],
        "account.acme (gw.toml:1): needs a [[channel]] that names it as its account, or must go"
    );
    let lines = faults(&only("[[channel]]", "nothing of that kind"));
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert!(lines[0].ends_with("must be the id of an [[account]]; there is none"));
    for single in ["[channel]\nid = \"a\"", "account = 3"] {
        let lines = faults(&sources(single));
        assert!(lines[0].contains("with two brackets"), "{lines:?}");
    }
    let lines = faults(&sources("channel = [1]"));
    assert!(
        lines[0].contains("must be tables, each written as [[channel]]"),
        "{lines:?}"
    );
}

#[test]
fn mistakes_in_three_tables_are_told_together() {
    let text = COMPLETE
        .replace("rate_per_second = 80", "rate_per_second = \"fast\"")
        .replace("max_age = \"2h\"", "max_age = \"2\"")
        .replace("account = \"birch\"", "account = \"pine\"")
        .replace("rate_per_second = 20", "rate_per_second = \"slow\"");
    let lines = faults(&sources(&text));
    let begins = [
        "sending.rate_per_second = \"slow\"",
        "account.acme.rate_per_second = \"fast\"",
        "channel.acme-us.max_age = \"2\"",
        "channel.birch.account = \"pine\"",
        "account.birch (gw.toml:",
    ];
    assert_eq!(
        lines.len(),
        begins.len(),
        "an inherited mistake is told once: {lines:#?}"
    );
    for (line, begin) in lines.iter().zip(begins) {
        assert!(line.starts_with(begin), "{line}");
    }
}

#[test]
fn a_client_command_needs_no_secret_of_a_table() {
    let mut bare = sources(COMPLETE);
    bare.env.clear();
    assert_eq!(faults(&bare).len(), 4, "{:?}", faults(&bare));
    let config = load(&bare, Purpose::Client).unwrap();
    assert_eq!((config.accounts.len(), config.channels.len()), (2, 3));
}

#[test]
fn the_table_shows_each_account_and_channel_without_secrets() {
    let mut given = sources(COMPLETE);
    given
        .dotenv
        .extend([("BIRCH_TOKENS".to_owned(), "birch-token-number-3".to_owned())]);
    let config = serve(&given);
    let table = cli::config::table(&config);
    let row = |key: &str| {
        let start = format!("{key} ");
        let row = table.lines().find(|line| line.starts_with(&start));
        let cells = row.unwrap_or_else(|| panic!("{key}: {table}"));
        cells.split_whitespace().skip(1).collect::<Vec<_>>()
    };
    assert_eq!(
        row("account.acme.basic_auth"),
        ["***", "environment", "ACME_BASIC"]
    );
    assert_eq!(row("account.acme.rate_per_second"), ["80", "file", "-"]);
    assert_eq!(row("channel.acme-us.waba_number")[0], "12*******00");
    assert_eq!(row("channel.acme-us.paused"), ["true", "file", "-"]);
    assert_eq!(
        row("account.acme.subscribed_callback_url")[0],
        "https://gw.test/channels/acme-uk/callback"
    );
    for secret in [
        "acme-token-of-moengage",
        "acme-new-token-of-moengage",
        "acme-seed",
        "acme-webhook",
        "birch-token-number-1",
        "YWNtZ",
    ] {
        assert!(!table.contains(secret), "{secret}: {table}");
        assert!(!format!("{config:?}").contains(secret), "{secret}");
    }
    let warnings = config.warnings();
    assert_eq!(
        warnings,
        [
            "account.birch.subscribed_callback_url is not set: the webhook has to be subscribed at \
             Jumper by hand",
        ],
        "a variable of .env that a table names has an effect"
    );
    assert!(config.effective().iter().all(|one| {
        one.value
            .as_ref()
            .is_none_or(|(_, layer)| *layer != Layer::Flag)
    }));
}

#[test]
fn quotes_in_a_variable_of_a_table_are_a_fault() {
    let mut quoted = sources(COMPLETE);
    quoted
        .env
        .insert("ACME_TOKEN".into(), "\"hunter2-hunter2\"".into());
    let lines = faults(&quoted);
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(
        lines[0].contains("without quotes") && !lines[0].contains("hunter2"),
        "{lines:?}"
    );
}

#[test]
fn the_example_of_the_page_is_right() {
    let page = include_str!("../../../docs/configuration.md");
    let chapter = page.split("## Many numbers").nth(1).unwrap();
    let example = chapter.split("```toml\n").nth(1).unwrap();
    let example = example.split("```").next().unwrap();
    let mut given = sources(example);
    let names = example.split("env = \"").skip(1);
    for name in names.map(|rest| rest.split('"').next().unwrap()) {
        let value = match name {
            _ if name.ends_with("BASIC_AUTH") => "Basic a2V5OnNlY3JldA==".to_owned(),
            _ => format!("value-of-{}", name.to_lowercase()),
        };
        given.env.insert(name.to_owned(), value);
    }
    let config = serve(&given);
    assert_eq!((config.accounts.len(), config.channels.len()), (2, 3));
    assert_eq!(config.warnings(), Vec::<String>::new());
    assert_eq!(config.accounts[0].rate_per_second, Some(80.0));
    assert!(config.channels[2].paused);
}

/// What `default.toml` says of tables is right too, once it is not commented out.
#[test]
fn the_example_of_the_defaults_is_right() {
    let defaults = include_str!("../../../config/default.toml");
    let example = &defaults[defaults.find("# [[account]]").unwrap()..];
    let keys = example.lines().map(|line| line.trim_start_matches("# "));
    let keys: Vec<_> = keys
        .filter(|line| line.starts_with('[') || line.contains(" = "))
        .collect();
    let config = load(&sources(&keys.join("\n")), Purpose::Client).unwrap();
    assert_eq!(config.channels[0].id.as_str(), "acme-uk");
}
