//! Addresses in settings.

use super::Parsed;
use secrecy::SecretString;

/// Checks an address of the web; a slash at the end is kept.
pub(in crate::config) fn url(text: &str) -> Parsed<String> {
    let right = || "must be an http or https URL without user name and password".to_owned();
    let uri: hyper::Uri = text.parse().map_err(|_| right())?;
    let web = matches!(uri.scheme_str(), Some("http" | "https"));
    let host = uri.host().is_some_and(|host| !host.is_empty());
    let port = uri.authority().is_some_and(|authority| {
        let rest = &authority.as_str()[uri.host().map_or(0, str::len)..];
        rest.is_empty() || uri.port_u16().is_some_and(|port| port > 0)
    });
    let credentials = uri.authority().is_some_and(|a| a.as_str().contains('@'));
    if web && host && port && !credentials && !text.contains('#') {
        Ok(text.to_owned())
    } else {
        Err(right())
    }
}

/// Checks the base of an API and takes off the slash at its end.
pub(in crate::config) fn base_url(text: &str) -> Parsed<String> {
    if text.contains('?') {
        return Err("must be an http or https URL without a query".to_owned());
    }
    url(text).map(|url| url.trim_end_matches('/').to_owned())
}

/// Checks an address that must not be printed.
pub(in crate::config) fn secret_url(text: &str) -> Parsed<SecretString> {
    url(text).map(SecretString::from)
}
