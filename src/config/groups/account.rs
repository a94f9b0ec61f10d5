//! An account at the provider and how it is called: what `[[account]]` may say.

use crate::config::parse::{self, Bare, Parsed, choice, whole};
use crate::config::reader::{Reader, count, long, maybe, millis, one, served, short, time};
use crate::config::setting::{Need, Setting, Show, setting};
use crate::config::webhook_path;
use crate::domain::AccountId;
use crate::limit::Rate;
use crate::providers::ProviderName;
use secrecy::SecretString;
use std::ops::RangeInclusive;
use std::time::Duration;

/// The exactness of the limit rests on a tolerance this small (design.md G5).
const EXACT: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_millis(5);

settings! {
    /// An account at Jumper and how it is called.
    struct Account {
        names {
            /// Its name.
            id: AccountId;
        }
        /// The base of Jumper's API.
        api_url: String = one(parse::base_url),
            setting("jumper.api_url").var("JUMPER_API_URL").show(Show::Url)
                .default("https://api.jumper.ai");
        /// Basic and the base64 of key:secret of the application in Jumper's developer portal. `serve`
        /// needs it.
        basic_auth: Option<SecretString> = served(parse::basic_auth),
            setting("jumper.basic_auth").var("JUMPER_BASIC_AUTH").show(Show::Secret).own()
                .example("Basic <base64 of key:secret>").need(Need::ToServe).source(
                    "Basic and the base64 of key:secret, both shown with the application in Jumper's \
                     developer portal (printf %s 'key:secret' | base64 -w0)",
                );
        /// The refresh token to begin with, of the Jumper merchant that authorised the application; used
        /// when none is stored, by this gateway or in the Redis of the old connector. The gateway renews
        /// and stores its own from then on.
        seed_refresh_token: Option<SecretString> = maybe(parse::token),
            setting("jumper.seed_refresh_token").var("SEED_REFRESH_TOKEN").show(Show::Secret).own()
                .need(Need::ToServe).example("<refresh token>");
        /// Our webhook as Jumper reaches it from outside; unset, nothing is subscribed and it has to be
        /// done by hand. The webhook secret is added by itself.
        subscribed_callback_url: Option<SecretString> = maybe(webhook_url),
            setting("jumper.subscribed_callback_url").var("SUBSCRIBED_CALLBACK_URL")
                .show(Show::Webhook).own().need(Need::ToServe)
                .example("https://gateway.example.com/jumper_callback");
        /// Who takes the messages of the account: jumper.
        provider: ProviderName = one(provider),
            setting("sending.provider").default("jumper");
        /// Calls per second to the provider, all calls counted; a decimal, or "off".
        rate_per_second: Option<f64> = one(parse::rate),
            setting("sending.rate_per_second").was("jumper.rate_per_second").var("RATE_PER_SECOND").need(Need::OfOld).default("10");
        /// How late a call may start after its slot and cost nothing, 0ms to 5ms; the rate is lowered by
        /// the same share. Where replicas share the rate it grows on a busy machine, to 50 ms at most.
        rate_tolerance: Duration = time(EXACT, Bare::Refused),
            setting("sending.rate_tolerance").was("jumper.rate_tolerance").default("4ms");
        /// Sends to the provider at once.
        concurrent_api_calls: usize = count(),
            setting("sending.concurrent_api_calls").was("jumper.concurrent_api_calls").var("CONCURRENT_API_CALLS").need(Need::OfOld)
                .default("10");
        /// How long a connection to the provider may take to open.
        connect_timeout: Duration = short(),
            setting("sending.connect_timeout").was("jumper.connect_timeout").default("10s");
        /// The deadline of one call to the provider, in milliseconds or with a unit.
        socket_timeout: Duration = millis(),
            setting("sending.socket_timeout").was("jumper.socket_timeout").var("SOCKET_TIMEOUT").need(Need::OfOld).default("60000");
        /// The most connections to the provider.
        max_sockets: usize = count(),
            setting("sending.max_sockets").was("jumper.max_sockets").var("MAX_SOCKETS").need(Need::OfOld).default("100");
        /// Idle connections to the provider that are kept: so many, or as many as there are sends at once where that is more.
        max_free_sockets: usize = one(whole(0..=1_000_000)),
            setting("sending.max_free_sockets").was("jumper.max_free_sockets").var("MAX_FREE_SOCKETS").need(Need::OfOld).default("10");
        /// How long an idle connection to the provider is kept, in milliseconds or with a unit.
        free_socket_keepalive: Duration = millis(),
            setting("sending.free_socket_keepalive").was("jumper.free_socket_keepalive").var("FREE_SOCKET_KEEPALIVE").need(Need::OfOld)
                .default("3000");
        /// How often the template list is fetched.
        template_refresh: Duration = long(),
            setting("sending.template_refresh").was("jumper.template_refresh").default("10m");
        /// How often the webhook subscription at Jumper is looked at.
        subscription_check: Duration = long(),
            setting("jumper.subscription_check").default("1h");
    }
}

impl Account {
    /// Calls per second, and calls at once.
    pub fn rate(&self) -> Rate {
        Rate {
            per_second: self.rate_per_second,
            concurrency: self.concurrent_api_calls,
        }
    }
}

fn webhook_url(text: &str) -> Parsed<SecretString> {
    parse::secret_url(text).and_then(webhook_path::with_free_path)
}

/// Reads the name of a provider.
fn provider(text: &str) -> Parsed<ProviderName> {
    choice(text, &ProviderName::ALL.map(|one| (one.as_str(), one)))
}
