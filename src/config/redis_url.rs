//! The address of a Redis server: is it one, and how may it be printed?
//!
//! Says no more than that it could work; the client that connects has the last word.

use super::parse::{Parsed, whole};
use super::show::MASK;
use secrecy::SecretString;

/// Checks the address of a Redis server.
pub(super) fn parse(text: &str) -> Parsed<SecretString> {
    let right = || {
        "must be redis://, rediss:// (TLS) with a host, or unix:// with the path of a socket, such \
         as redis://user:password@redis.internal:6379/0"
            .to_owned()
    };
    let (scheme, rest) = text.split_once("://").ok_or_else(right)?;
    let plain = text.bytes().all(|b| b.is_ascii_graphic());
    let whole = match scheme {
        "redis" | "rediss" | "valkey" | "valkeys" => is_redis_place(rest),
        "unix" | "redis+unix" | "valkey+unix" => {
            let path = rest.split('?').next().unwrap_or_default();
            path.starts_with('/') && path.len() > 1
        }
        _ => false,
    };
    if plain && whole {
        Ok(text.into())
    } else {
        Err(right())
    }
}

/// `user:password@host:port/database`, of which only the host must be there.
fn is_redis_place(text: &str) -> bool {
    let text = text.split(['?', '#']).next().unwrap_or_default();
    let place = text.rsplit_once('@').map_or(text, |(_, place)| place);
    let (authority, database) = place.split_once('/').unwrap_or((place, ""));
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (authority, None),
    };
    let port_is_right = port.is_none_or(|port| whole::<u16>(1..=65535)(port).is_ok());
    let database_is_right = database.is_empty() || whole::<u16>(0..=65535)(database).is_ok();
    !host.is_empty() && port_is_right && database_is_right
}

/// The address of Redis without its password. What stands alone before the host may be one too.
pub(super) fn shown(value: &str) -> String {
    let Some((scheme, rest)) = value.split_once("://") else {
        return MASK.to_owned();
    };
    let (rest, query) = rest
        .split_once(['?', '#'])
        .map_or((rest, ""), |(rest, _)| (rest, "?***"));
    match rest.rsplit_once('@') {
        Some((who, host)) => {
            let user = who.split_once(':').map_or("", |(user, _)| user);
            let colon = if who.contains(':') { ":" } else { "" };
            format!("{scheme}://{user}{colon}{MASK}@{host}{query}")
        }
        // Without a host a password would stand where the port does.
        None if rest.starts_with(':') => MASK.to_owned(),
        None => format!("{scheme}://{rest}{query}"),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_password_is_hidden() {
        for (given, shown) in [
            ("redis://127.0.0.1:6379/0", "redis://127.0.0.1:6379/0"),
            ("redis://:s3cret@r.test", "redis://:***@r.test"),
            ("rediss://me:s3cret@r.test/1", "rediss://me:***@r.test/1"),
            ("redis://me:s3@cret@r.test", "redis://me:***@r.test"),
            ("redis://s3cret@r.test", "redis://***@r.test"),
            (
                "unix:///run/redis.sock?db=1&pass=s3cret",
                "unix:///run/redis.sock?***",
            ),
            ("redis://:s3cret", "***"),
            ("s3cret@r.test", "***"),
        ] {
            assert_eq!(super::shown(given), shown, "{given}");
        }
    }
}
