//! Who is calling: the channels that the presented token opens (design.md section 4, station 1).
//!
//! Runs before the body is read. A presented token is compared and forgotten; it is never logged,
//! not even in part.

use super::reply::Reply;
use crate::accounts::{Channel, Channels};
use crate::alert::{self, Many};
use crate::domain::{BusinessNumber, Refusal, RefusalKind};
use crate::http::vouch;
use crate::telemetry::OncePerSecond;
use axum::extract::{FromRef, FromRequestParts};
use axum::http::HeaderMap;
use axum::http::request::Parts;
use std::sync::Arc;

/// Where a token may stand (contracts/moengage.md section 3.1). Header names know no letter case.
const HEADERS: [&str; 4] = ["authorization", "authentication", "x-api-key", "apikey"];
/// Words before a token that are not part of it.
const SCHEMES: [&str; 2] = ["bearer", "basic"];
/// So many credentials of one request are looked at: who brings more is guessing, many for the price of
/// one.
const MOST_CREDENTIALS: usize = HEADERS.len();

/// Refused callers are counted each and logged once a second: a log must not be a way in for load.
static LOG: OncePerSecond = OncePerSecond::new();
static GUESSES: Many = Many::of(
    alert::Code::SecretsGuessed,
    "send route",
    100,
    "requests had no token or a wrong one. Somebody guesses it, or MoEngage's sender form has another token \
     than MOENGAGE_AUTH_AGAINST. They are answered no.",
);

/// A caller whose token opens at least one channel.
#[derive(Debug)]
pub struct Caller {
    /// In the order of the configuration; never empty.
    opened: Vec<Arc<Channel>>,
}

impl Caller {
    /// Lets a caller in by its headers.
    pub fn identify(channels: &Channels, headers: &HeaderMap) -> Result<Self, Refusal> {
        let mut presented = false;
        let mut opened: Vec<Arc<Channel>> = Vec::new();
        for token in tokens(headers) {
            presented = true;
            for channel in channels.opened_by(token) {
                if !opened.iter().any(|known| Arc::ptr_eq(known, &channel)) {
                    opened.push(channel);
                }
            }
        }
        if opened.is_empty() {
            return Err(refused(presented));
        }
        if opened.len() > 1 {
            let by_order = channels.iter();
            opened = by_order
                .filter(|channel| opened.iter().any(|known| Arc::ptr_eq(known, channel)))
                .cloned()
                .collect();
        }
        Ok(Self { opened })
    }

    /// The same caller, on the one channel that the URL names.
    pub fn on(mut self, id: &str) -> Result<Self, Refusal> {
        self.opened.retain(|channel| channel.id.as_str() == id);
        if self.opened.is_empty() {
            return Err(refused(true));
        }
        Ok(self)
    }

    /// The first channel that sends from this number.
    pub fn sending_from(&self, from: &BusinessNumber) -> Result<&Arc<Channel>, Refusal> {
        let mut opened = self.opened.iter();
        opened
            .find(|channel| channel.sends_from(from))
            .ok_or_else(|| {
                Refusal::new(
                    RefusalKind::Credentials,
                    "No channel of this token sends from this number",
                )
            })
    }
}

impl<S> FromRequestParts<S> for Caller
where
    S: Sync,
    Arc<Channels>: FromRef<S>,
{
    type Rejection = Reply;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Reply> {
        let channels = Arc::<Channels>::from_ref(state);
        let caller = Self::identify(&channels, &parts.headers).map_err(Reply::Failure)?;
        vouch(&parts.extensions);
        Ok(caller)
    }
}

/// Every presented token, whole and without its scheme: a configured token may hold the scheme.
fn tokens(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    HEADERS
        .iter()
        .flat_map(|name| headers.get_all(*name))
        .filter_map(|value| std::str::from_utf8(value.as_bytes()).ok())
        .map(str::trim)
        .filter(|value| !value.is_empty())
        .take(MOST_CREDENTIALS)
        .flat_map(|value| [Some(value), bare(value)].into_iter().flatten())
}

fn bare(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(char::is_whitespace)?;
    let known = |word: &&str| scheme.eq_ignore_ascii_case(word);
    let token = token.trim_start();
    (SCHEMES.iter().any(known) && !token.is_empty()).then_some(token)
}

fn refused(presented: bool) -> Refusal {
    let reason = if presented {
        "Token does not match any channel"
    } else {
        "Token missing"
    };
    metrics::counter!("gateway_callers_refused_total").increment(1);
    GUESSES.more(1);
    if LOG.passes() {
        tracing::warn!(
            reason,
            event = "caller_refused",
            "refused a caller of the send route"
        );
    }
    Refusal::new(RefusalKind::Credentials, reason)
}
