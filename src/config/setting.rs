//! The list of all settings: key, environment variable, and how its value may be shown.
//!
//! Everything that goes through settings one by one walks this list: reading the layers, naming
//! faults, `gateway config`, the tests. Meaning, unit and default of each stand in
//! `config/default.toml`; its type and its bounds in `check.rs`.

use super::{redis_url, show};

/// One setting.
#[derive(Debug)]
pub struct Setting {
    /// Its name in a configuration file and for `--set`: table, dot, key.
    pub key: &'static str,
    /// Its environment variable, if it has one.
    pub var: Option<&'static str>,
    /// A second spelling of the variable.
    pub alias: Option<&'static str>,
    /// Where the operator finds the value; empty where that needs no telling.
    pub source: &'static str,
    show: Show,
}

/// How much of a value may be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Show {
    /// All of it.
    Plain,
    /// All but the middle digits.
    Number,
    /// All but credentials.
    Url,
    /// Our own webhook address: all but what may be the webhook secret.
    Webhook,
    /// The address of Redis: all but the password.
    Redis,
    /// Nothing.
    Secret,
}

const fn setting(key: &'static str) -> Setting {
    Setting {
        key,
        var: None,
        alias: None,
        source: "",
        show: Show::Plain,
    }
}

impl Setting {
    const fn var(mut self, name: &'static str) -> Self {
        self.var = Some(name);
        self
    }

    const fn alias(mut self, name: &'static str) -> Self {
        self.alias = Some(name);
        self
    }

    const fn show(mut self, show: Show) -> Self {
        self.show = show;
        self
    }

    const fn source(mut self, source: &'static str) -> Self {
        self.source = source;
        self
    }

    /// The setting of this key.
    pub fn named(key: &str) -> Option<&'static Self> {
        SETTINGS.iter().find(|setting| setting.key == key)
    }

    /// The name that an operator most likely knows it by.
    pub fn known_as(&self) -> &'static str {
        self.var.unwrap_or(self.key)
    }

    /// Whether the value holds a secret.
    pub(super) fn hides(&self, value: &str) -> bool {
        let may = !matches!(self.show, Show::Plain | Show::Number);
        may && self.shown(value) != value
    }

    /// The value as it may be printed.
    pub fn shown(&self, value: &str) -> String {
        match self.show {
            Show::Plain => value.to_owned(),
            Show::Number => show::number(value),
            Show::Url => show::url(value),
            Show::Webhook => show::webhook(value),
            Show::Redis => redis_url::shown(value),
            Show::Secret => show::MASK.to_owned(),
        }
    }
}

/// All settings, in the order in which they are shown.
pub static SETTINGS: &[Setting] = &[
    setting("drain_timeout"),
    setting("http.port").var("PORT"),
    setting("http.bind"),
    setting("http.response_timeout").var("RESPONSE_TIMEOUT"),
    setting("http.header_timeout"),
    setting("http.body_timeout"),
    setting("http.idle_timeout"),
    setting("http.body_limit"),
    setting("http.max_connections"),
    setting("http.allow_short_tokens").var("ALLOW_SHORT_TOKENS"),
    setting("moengage.callback_url")
        .var("MOENGAGE_CALLBACK_URL")
        .show(Show::Url)
        .source(
            "the delivery tracking URL that MoEngage's dashboard shows for the WhatsApp sender, \
             whole, such as https://api-01.moengage.com/whatsapp/dlr/...",
        ),
    setting("moengage.auth_against")
        .var("MOENGAGE_AUTH_AGAINST")
        .alias("MOENGAGE_AUTH_AGAINTS")
        .show(Show::Secret)
        .source(
            "the token that MoEngage's WhatsApp sender form sends in its Authorization header; \
             choose one (openssl rand -hex 24) and enter it in both places",
        ),
    setting("moengage.timestamp_unit").var("MOENGAGE_TIMESTAMP_UNIT"),
    setting("moengage.callback_timeout"),
    setting("moengage.callback_concurrency"),
    setting("moengage.batch_entries"),
    setting("moengage.batch_bytes"),
    setting("moengage.retry_for"),
    setting("moengage.max_pause"),
    setting("jumper.api_url")
        .var("JUMPER_API_URL")
        .show(Show::Url),
    setting("jumper.basic_auth")
        .var("JUMPER_BASIC_AUTH")
        .show(Show::Secret)
        .source(
            "Basic and the base64 of key:secret, both shown with the application in Jumper's \
             developer portal (printf %s 'key:secret' | base64 -w0)",
        ),
    setting("jumper.seed_refresh_token")
        .var("SEED_REFRESH_TOKEN")
        .show(Show::Secret),
    setting("jumper.subscribed_callback_url")
        .var("SUBSCRIBED_CALLBACK_URL")
        .show(Show::Webhook),
    setting("jumper.webhook_secret")
        .var("WEBHOOK_SECRET")
        .show(Show::Secret),
    setting("jumper.webhook_open").var("WEBHOOK_OPEN"),
    setting("jumper.waba_number")
        .var("WABA_NUMBER")
        .show(Show::Number),
    setting("jumper.rate_per_second").var("RATE_PER_SECOND"),
    setting("jumper.rate_tolerance"),
    setting("jumper.concurrent_api_calls").var("CONCURRENT_API_CALLS"),
    setting("jumper.connect_timeout"),
    setting("jumper.socket_timeout").var("SOCKET_TIMEOUT"),
    setting("jumper.max_sockets").var("MAX_SOCKETS"),
    setting("jumper.max_free_sockets").var("MAX_FREE_SOCKETS"),
    setting("jumper.free_socket_keepalive").var("FREE_SOCKET_KEEPALIVE"),
    setting("jumper.template_refresh"),
    setting("jumper.subscription_check"),
    setting("policy.ambiguous_send").var("AMBIGUOUS_SEND"),
    setting("policy.ambiguous_hold").var("AMBIGUOUS_HOLD"),
    setting("policy.max_age").var("MAX_AGE"),
    setting("policy.max_queue").var("MAX_QUEUE"),
    setting("policy.retryable_texts"),
    setting("policy.retry_base"),
    setting("policy.retry_max"),
    setting("policy.hold_probe"),
    setting("breaker.failures"),
    setting("breaker.open_min"),
    setting("breaker.open_max"),
    setting("inbound.stop_words"),
    setting("inbound.stop_marketing_words"),
    setting("inbound.start_words"),
    setting("inbound.relay_unmatched"),
    setting("inbound.reply_window"),
    setting("store.redis_url")
        .var("REDIS_URL")
        .show(Show::Redis),
    setting("store.redis_wait_replicas").var("REDIS_WAIT_REPLICAS"),
    setting("store.take_over").var("STORE_TAKE_OVER"),
    setting("store.data_dir").var("DATA_DIR"),
    setting("store.min_free"),
    setting("store.retention"),
    setting("store.event_retention"),
    setting("datastore.project_id").var("DT_PROJECT_ID"),
    setting("datastore.kind").var("DT_KIND"),
    setting("datastore.credentials_file").var("DT_JSON_PATH"),
    setting("datastore.emulator_host")
        .var("DATASTORE_EMULATOR_HOST")
        .show(Show::Url),
    setting("datastore.expire_after"),
    setting("datastore.ask_after"),
    setting("ops.addr").var("OPS_ADDR"),
    setting("ops.token").var("OPS_TOKEN").show(Show::Secret),
    setting("log.format").var("LOG_FORMAT"),
    setting("log.filter").var("RUST_LOG"),
    setting("alerts.slack_webhook_url")
        .var("SLACK_WEBHOOK_URL")
        .show(Show::Secret),
];

/// A variable of the old connector, or of a later version, that this version does not serve.
#[derive(Debug)]
pub(super) struct Unserved {
    /// Its name.
    pub(super) var: &'static str,
    /// What is so, and what to do.
    pub(super) advice: &'static str,
}

const fn ignored(var: &'static str, advice: &'static str) -> Unserved {
    Unserved { var, advice }
}

/// The variable that names the configuration file.
pub(super) const FILE_VAR: &str = "GATEWAY_CONFIG";

/// Variables that are known and not served. Their values are never shown.
pub(super) static UNSERVED: &[Unserved] = &[ignored(
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "has no effect: this version exports no traces",
)];

/// Whether a setting or anything else here reads this variable.
pub(super) fn is_known_variable(name: &str) -> bool {
    name == FILE_VAR
        || UNSERVED.iter().any(|unserved| unserved.var == name)
        || SETTINGS
            .iter()
            .any(|s| s.var == Some(name) || s.alias == Some(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn no_name_is_given_twice() {
        let mut names = BTreeSet::new();
        for setting in SETTINGS {
            for name in [Some(setting.key), setting.var, setting.alias] {
                assert!(name.is_none_or(|name| names.insert(name)), "{name:?}");
            }
        }
        for unserved in UNSERVED {
            assert!(names.insert(unserved.var), "{}", unserved.var);
        }
    }
}
