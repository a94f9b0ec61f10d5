//! One text in, one value or the words "what would be right" out.
//!
//! Pure, and silent about the text itself: the words never repeat it, because it may be a secret.

mod token;
mod url;

pub(super) use token::{LEAST_TOKEN, caller_token, ops_token, token, webhook_secret};
pub(super) use url::{base_url, secret_url, url};

use crate::domain::BusinessNumber;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use secrecy::SecretString;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;
use tracing::level_filters::LevelFilter;

/// What a parser returns; the error completes "value: ..." and says what would be right.
pub(super) type Parsed<T> = Result<T, String>;

/// How a time without a unit is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bare {
    /// Not at all.
    Refused,
    /// As seconds.
    Seconds,
    /// As milliseconds.
    Millis,
}

/// Reads a whole number.
pub(super) fn whole<T: TryFrom<u64>>(range: RangeInclusive<u64>) -> impl Fn(&str) -> Parsed<T> {
    move |text| {
        digits(text)
            .filter(|number| range.contains(number))
            .and_then(|number| T::try_from(number).ok())
            .ok_or_else(|| {
                let (from, to) = (range.start(), range.end());
                format!("must be a whole number from {from} to {to}")
            })
    }
}

/// Digits and nothing else: no sign, no space.
pub(super) fn digits(text: &str) -> Option<u64> {
    let plain = text.bytes().all(|b| b.is_ascii_digit());
    plain.then(|| text.parse().ok()).flatten()
}

/// Reads a time such as `30s`, `500ms`, `10m`, `24h`, `8d`.
pub(super) fn time(
    range: RangeInclusive<Duration>,
    bare: Bare,
) -> impl Fn(&str) -> Parsed<Duration> {
    move |text| {
        duration(text, bare)
            .filter(|time| range.contains(time))
            .ok_or_else(|| {
                let (from, to) = (human(*range.start()), human(*range.end()));
                let unit = match bare {
                    Bare::Refused => "with its unit (ms, s, m, h, d)",
                    Bare::Seconds => "with its unit (ms, s, m, h, d) or in seconds",
                    Bare::Millis => "with its unit (ms, s, m, h, d) or in milliseconds",
                };
                format!("must be a time {unit}, from {from} to {to}")
            })
    }
}

fn duration(text: &str, bare: Bare) -> Option<Duration> {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let number = digits(&text[..end])?;
    let millis = match (text[end..].trim(), bare) {
        ("ms", _) | ("", Bare::Millis) => 1,
        ("s", _) | ("", Bare::Seconds) => 1000,
        ("m", _) => 60_000,
        ("h", _) => 3_600_000,
        ("d", _) => 86_400_000,
        _ => return None,
    };
    number.checked_mul(millis).map(Duration::from_millis)
}

/// A time in its largest whole unit.
fn human(time: Duration) -> String {
    let millis = time.as_millis();
    [
        (86_400_000, "d"),
        (3_600_000, "h"),
        (60_000, "m"),
        (1000, "s"),
    ]
    .into_iter()
    .find(|(unit, _)| millis >= *unit && millis.is_multiple_of(*unit))
    .map_or(format!("{millis}ms"), |(unit, name)| {
        format!("{}{name}", millis / unit)
    })
}

/// Reads a number of bytes, bare or as `64KB`, `256MB`, `1GB` (powers of 1024).
pub(super) fn bytes<T: TryFrom<u64>>(range: RangeInclusive<u64>) -> impl Fn(&str) -> Parsed<T> {
    move |text| {
        size(text)
            .filter(|size| range.contains(size))
            .and_then(|size| T::try_from(size).ok())
            .ok_or_else(|| {
                let (from, to) = (range.start(), range.end());
                format!("must be a number of bytes, such as 262144 or 256MB, from {from} to {to}")
            })
    }
}

fn size(text: &str) -> Option<u64> {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let shift = match text[end..].trim() {
        "" | "B" => 0,
        "KB" | "KiB" => 10,
        "MB" | "MiB" => 20,
        "GB" | "GiB" => 30,
        _ => return None,
    };
    digits(&text[..end])?.checked_mul(1 << shift)
}

/// Reads calls per second, or `off`.
pub(super) fn rate(text: &str) -> Parsed<Option<f64>> {
    if text.eq_ignore_ascii_case("off") {
        return Ok(None);
    }
    // "inf" and "1e3" are numbers to the standard library and mistakes to an operator.
    let plain = text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    text.parse()
        .ok()
        .filter(|rate| plain && (0.01..=100_000.0).contains(rate))
        .map(Some)
        .ok_or_else(|| "must be calls per second, from 0.01 to 100000, or off".to_owned())
}

/// Reads `true` or `false`.
pub(super) fn switch(text: &str) -> Parsed<bool> {
    choice(text, &[("true", true), ("false", false)])
}

/// Reads one of some words, in any case.
pub(super) fn choice<T: Copy>(text: &str, words: &[(&str, T)]) -> Parsed<T> {
    let found = words
        .iter()
        .find(|(word, _)| word.eq_ignore_ascii_case(text));
    found.map(|(_, value)| *value).ok_or_else(|| {
        let words: Vec<_> = words.iter().map(|(word, _)| *word).collect();
        format!("must be {}", words.join(" or "))
    })
}

/// Reads fingerprints of installations, separated by commas: groups of eight hexadecimal digits, and perhaps a
/// count.
pub(super) fn fingerprints(text: &str) -> Parsed<Vec<String>> {
    let is_group = |group: &str| group.len() == 8 && group.bytes().all(|b| b.is_ascii_hexdigit());
    let is_right = |one: &str| {
        let (print, turn) = one.split_once('.').unwrap_or((one, "1"));
        print.split('-').all(is_group) && turn.parse::<u32>().is_ok()
    };
    let all: Vec<_> = text
        .split(',')
        .map(|one| one.trim().to_ascii_lowercase())
        .collect();
    match all.iter().all(|one| is_right(one)) {
        true => Ok(all),
        false => Err(
            "must be fingerprints as a refused start names them, such as 1f0c7a93-5be2d884".into(),
        ),
    }
}

/// Reads Jumper's client credentials and returns the whole header value
/// (contracts/jumper.md section 2.3). The word `Basic` may be left out.
pub(super) fn basic_auth(text: &str) -> Parsed<SecretString> {
    let encoded = match text.split_at_checked(6) {
        Some((word, rest)) if word.eq_ignore_ascii_case("basic ") => rest.trim(),
        _ => text,
    };
    STANDARD
        .decode(encoded)
        .or_else(|_| STANDARD_NO_PAD.decode(encoded))
        .ok()
        .filter(|pair| has_key_and_secret(pair))
        .map(|pair| format!("Basic {}", STANDARD.encode(pair)).into())
        .ok_or_else(|| {
            "must be Basic and the base64 of key:secret (printf %s 'key:secret' | base64 -w0)"
                .to_owned()
        })
}

fn has_key_and_secret(pair: &[u8]) -> bool {
    let colon = pair.iter().position(|byte| *byte == b':');
    colon.is_some_and(|at| at > 0 && at + 1 < pair.len())
}

/// Reads a WhatsApp Business number.
pub(super) fn business_number(text: &str) -> Parsed<BusinessNumber> {
    BusinessNumber::parse(text).map_err(|e| format!("must be a phone number in E.164, but it {e}"))
}

/// Reads the address of a listener.
pub(super) fn ip_addr(text: &str) -> Parsed<IpAddr> {
    text.parse()
        .map_err(|_| "must be an IP address, such as 0.0.0.0 or ::".to_owned())
}

/// Reads address and port of a listener.
pub(super) fn socket_addr(text: &str) -> Parsed<SocketAddr> {
    text.replace("localhost:", "127.0.0.1:")
        .parse()
        .map_err(|_| "must be an IP address and a port, such as 127.0.0.1:3002".to_owned())
}

/// Checks the directives of the log filter. The library takes any word that is no level for the name
/// of a module, of which it then shows everything, and nothing of all others.
pub(super) fn log_filter(text: &str) -> Parsed<String> {
    let directives: Vec<_> = text.split(',').map(str::trim).collect();
    // The library reads no word at all as a level too.
    let is_level = |word: &str| !word.is_empty() && word.parse::<LevelFilter>().is_ok();
    let is_known = |word: &&str| word.contains('=') || is_level(word);
    let text = directives.join(",");
    let is_read = tracing_subscriber::EnvFilter::try_new(&text).is_ok();
    if is_read && directives.iter().all(is_known) {
        return Ok(text);
    }
    Err(
        "must be a level (off, error, warn, info, debug or trace), and with commas those of single \
         modules, such as info or warn,hyper=debug"
            .to_owned(),
    )
}
