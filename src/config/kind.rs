//! Which keys `[[account]]` and `[[channel]]` may have: names of settings, of which each account or
//! channel either has its own or takes what the rest of the configuration says.

/// What a table is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Account,
    Channel,
}

/// Settings of which every account has its own; nobody inherits them.
pub(super) const OWN_OF_ACCOUNT: [&str; 3] = [
    "jumper.basic_auth",
    "jumper.seed_refresh_token",
    "jumper.subscribed_callback_url",
];
/// The same for channels.
pub(super) const OWN_OF_CHANNEL: [&str; 4] = [
    "moengage.callback_url",
    "moengage.auth_against",
    "jumper.webhook_secret",
    "jumper.waba_number",
];
/// Settings that an account takes from the rest of the configuration unless it has its own.
const OF_ACCOUNT: [&str; 11] = [
    "jumper.api_url",
    "jumper.rate_per_second",
    "jumper.rate_tolerance",
    "jumper.concurrent_api_calls",
    "jumper.connect_timeout",
    "jumper.socket_timeout",
    "jumper.max_sockets",
    "jumper.max_free_sockets",
    "jumper.free_socket_keepalive",
    "jumper.template_refresh",
    "jumper.subscription_check",
];
/// The same for channels.
const OF_CHANNEL: [&str; 6] = [
    "jumper.webhook_open",
    "policy.ambiguous_send",
    "policy.ambiguous_hold",
    "policy.max_age",
    "policy.max_queue",
    "policy.retryable_texts",
];

impl Kind {
    /// The kind of this name.
    pub(super) fn named(name: &str) -> Option<Self> {
        [Self::Account, Self::Channel]
            .into_iter()
            .find(|kind| kind.name() == name)
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Account => "account",
            Self::Channel => "channel",
        }
    }

    /// Settings of which each has its own.
    pub(super) fn own(self) -> &'static [&'static str] {
        match self {
            Self::Account => &OWN_OF_ACCOUNT,
            Self::Channel => &OWN_OF_CHANNEL,
        }
    }

    /// Every key that a table may have, as `Table::said` names it.
    pub(super) fn keys(self) -> impl Iterator<Item = &'static str> {
        let (plain, inherited): (&[_], &[_]) = match self {
            Self::Account => (&["id"], &OF_ACCOUNT),
            Self::Channel => (&["id", "account", "paused"], &OF_CHANNEL),
        };
        [plain, self.own(), inherited]
            .into_iter()
            .flatten()
            .copied()
    }
}
