//! A number to send from: what `[[channel]]` may say.

use crate::config::Purpose;
use crate::config::parse::{self, Parsed, choice, digits};
use crate::config::reader::{Reader, list, long, maybe, one, served};
use crate::config::setting::{Need, Setting, Show, setting};
use crate::domain::policy::{Ambiguous, Policy};
use crate::domain::{AccountId, BusinessNumber, ChannelId};
use secrecy::SecretString;
use std::time::Duration;

settings! {
    /// A number to send from: who may, with what, and where its statuses and replies go.
    struct Channel {
        names {
            /// Its name.
            id: ChannelId;
            /// The account that sends for it; one of [`crate::config::Config::accounts`].
            account: AccountId;
            /// Whether it stands still until an operator resumes it.
            paused: bool;
        }
        /// MoEngage's URL for statuses and replies, whole, as its dashboard shows it. `serve` needs it.
        callback_url: Option<String> = served(parse::url),
            setting("moengage.callback_url").var("MOENGAGE_CALLBACK_URL").show(Show::Url).own()
                .example("https://api-01.moengage.com/whatsapp/dlr/example").need(Need::ToServe)
                .source(
                    "the delivery tracking URL that MoEngage's dashboard shows for the WhatsApp \
                     sender, whole, such as https://api-01.moengage.com/whatsapp/dlr/...",
                );
        /// The tokens that let MoEngage in, of 16 characters or more, as it presents them in
        /// `Authorization: Bearer ...`; several during a rotation: with commas between them, or as a list
        /// in a file. `serve` needs one.
        tokens: Vec<SecretString> = callers,
            setting("moengage.auth_against").var("MOENGAGE_AUTH_AGAINST")
                .alias("MOENGAGE_AUTH_AGAINTS").show(Show::Secret).own().need(Need::ToServe)
                .example("<the new token>,<the old token>").source(
                    "the token that MoEngage's WhatsApp sender form sends in its Authorization \
                     header; choose one (openssl rand -hex 24) and enter it in both places",
                );
        /// What the webhook's path must carry, because Jumper does not sign what it posts: 16 to 256
        /// letters, digits, '-', '_'. To change it, several with commas: the first is registered, the
        /// others count too. Unset, the gateway makes one and keeps it in its store.
        webhook_secret: Vec<SecretString> = list(parse::webhook_secret),
            setting("jumper.webhook_secret").var("WEBHOOK_SECRET").show(Show::Secret).own()
                .example("<openssl rand -hex 24>");
        /// Whether the webhook asks for no secret: then anybody who knows the URL can post statuses and
        /// opt out people you wrote to.
        webhook_open: bool = one(parse::switch),
            setting("jumper.webhook_open").var("WEBHOOK_OPEN").default("false");
        /// The one WhatsApp Business number to send from, with country code, as MoEngage's sender has it.
        /// Set, no other `from` is accepted and the provider is told it as sender. Unset, any `from` of
        /// MoEngage is accepted and the provider sends from the account's own number.
        waba_number: Option<BusinessNumber> = maybe(parse::business_number),
            setting("sending.waba_number").was("jumper.waba_number").var("WABA_NUMBER").show(Show::Number).own()
                .example("+12025550100");
        /// A send whose outcome stays unknown: fail (nobody gets it twice) or resend (once).
        ambiguous_send: Ambiguous = one(ambiguous),
            setting("policy.ambiguous_send").var("AMBIGUOUS_SEND").default("fail");
        /// How long such a send waits for evidence.
        ambiguous_hold: Duration = long(),
            setting("policy.ambiguous_hold").var("AMBIGUOUS_HOLD").default("10m");
        /// The age at which an unsent message is failed, counted from its acceptance.
        max_age: Duration = long(),
            setting("policy.max_age").var("MAX_AGE").default("24h");
        /// The most messages that may wait; beyond it MoEngage gets 429. A number, or "off".
        max_queue: Option<u64> = one(queue),
            setting("policy.max_queue").var("MAX_QUEUE").default("off");
        /// Refusals of Jumper that are worth another try: parts of their text, in any case.
        retryable_texts: Vec<String> = list(|text| Ok(text.to_owned())),
            setting("policy.retryable_texts").list(&[]);
    }
}

impl Channel {
    /// What it does with failures.
    pub fn policy(&self) -> Policy {
        Policy {
            retryable_texts: self.retryable_texts.clone(),
            ambiguous: self.ambiguous_send,
            ambiguous_hold: self.ambiguous_hold,
            max_age: self.max_age,
        }
    }
}

fn callers(r: &mut Reader<'_>, setting: &'static Setting) -> Option<Vec<SecretString>> {
    let tokens = r.list(setting, parse::caller_token);
    if r.purpose == Purpose::Serve && tokens.as_ref().is_some_and(Vec::is_empty) {
        r.missing(setting);
    }
    r.long_enough(setting, tokens.as_deref().unwrap_or_default());
    tokens
}

/// Reads what becomes of a send whose outcome stays unknown.
fn ambiguous(text: &str) -> Parsed<Ambiguous> {
    choice(
        text,
        &[("fail", Ambiguous::Fail), ("resend", Ambiguous::Resend)],
    )
}

/// Reads a number of messages, or `off`.
fn queue(text: &str) -> Parsed<Option<u64>> {
    if text.eq_ignore_ascii_case("off") {
        return Ok(None);
    }
    digits(text)
        .filter(|most| *most > 0)
        .map(Some)
        .ok_or_else(|| "must be a whole number of messages above 0, or off".to_owned())
}
