//! The path of our webhook as an operator writes it: which of our routes it names, and whether it may.

use crate::doors::moengage;
use crate::{http, ops};
use secrecy::{ExposeSecret, SecretString};

/// The path of a URL, without a slash at its end.
pub(super) fn path(url: &str) -> &str {
    let url = url.split(['?', '#']).next().unwrap_or(url);
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let path = rest.find('/').map_or("", |at| &rest[at..]);
    path.trim_end_matches('/')
}

/// The address of a webhook, unless its path is one of our routes that are something else.
pub(super) fn with_free_path(url: SecretString) -> Result<SecretString, String> {
    let path = path(url.expose_secret());
    let mut routes = moengage::paths().into_iter().chain(ops::health::PATHS);
    // Behind a proxy of one's own the address may be a bare host.
    if !path.is_empty() && routes.any(|route| http::is_spelling_of(route, path)) {
        return Err("must have another path: the gateway serves something else at this one".into());
    }
    Ok(url)
}

/// Which of our routes a webhook address names.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Target<'a> {
    Channel(&'a str),
    First,
    Other,
}

/// Reads the path of a webhook address (design.md section 7).
pub(super) fn target(url: &str) -> Target<'_> {
    let path = url.split(['?', '#']).next().unwrap_or(url);
    let parts: Vec<_> = path.split('/').collect();
    let named = parts.windows(3).find_map(|part| match part {
        [channels, id, callback]
            if channels.eq_ignore_ascii_case("channels")
                && callback.eq_ignore_ascii_case("callback") =>
        {
            Some(Target::Channel(id))
        }
        _ => None,
    });
    let is_plain = |part: &&str| {
        ["jumper_callback", "jumper_callback_2"]
            .iter()
            .any(|ours| part.eq_ignore_ascii_case(ours))
    };
    let plain = || parts.iter().any(is_plain).then_some(Target::First);
    named.or_else(plain).unwrap_or(Target::Other)
}
