//! The address of a Redis server: is it one, and how may it be printed?
//!
//! Says no more than that it could work; the client that connects has the last word.

use super::mask::MASK;
use super::parse::{Parsed, whole};
use secrecy::SecretString;

/// Checks the address of a Redis server.
pub(super) fn parse(text: &str) -> Parsed<SecretString> {
    let right = || {
        "must be redis://, rediss:// (TLS) with a host, or unix:// with the path of a socket, such \
         as redis://user:password@redis.internal:6379/0"
            .to_owned()
    };
    let (scheme, rest) = text.split_once("://").ok_or_else(right)?;
    if !is_socket(scheme) && has_bare_delimiter(rest) {
        return Err(
            "a user or password with / ? # or @ in it must be percent-encoded: %2F for /, \
                    %3F for ?, %23 for #, %40 for @"
                .to_owned(),
        );
    }
    let plain = text.bytes().all(|b| b.is_ascii_graphic());
    let whole = match scheme {
        "redis" | "rediss" | "valkey" | "valkeys" => is_redis_place(rest),
        _ if is_socket(scheme) => {
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

fn is_known(scheme: &str) -> bool {
    is_socket(scheme) || matches!(scheme, "redis" | "rediss" | "valkey" | "valkeys")
}

fn is_socket(scheme: &str) -> bool {
    matches!(scheme, "unix" | "redis+unix" | "valkey+unix")
}

/// Whether something before the last `@` ends the place of the server too early: then a part of the
/// password would be taken for the host, the database or a parameter.
pub(super) fn has_bare_delimiter(rest: &str) -> bool {
    let who = rest.rsplit_once('@').map_or("", |(who, _)| who);
    who.contains(['/', '?', '#', '@'])
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
    let hidden = if is_socket(scheme) {
        let path = rest.split(['?', '#']).next().unwrap_or_default();
        !path.starts_with('/') || path.contains('@')
    } else {
        has_bare_delimiter(rest)
    };
    if hidden || !is_known(scheme) {
        return MASK.to_owned();
    }
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
    use proptest::prelude::*;

    #[test]
    fn r_45_a_password_that_is_not_encoded_is_refused_and_no_part_of_it_is_shown() {
        for between in ["#", "?", "@", "/"] {
            for url in [
                format!("redis://user:left{between}right@r.test:6379/0"),
                format!("rediss://:1234{between}right@r.test"),
                format!("redis://left{between}right@r.test"),
            ] {
                let refusal = super::parse(&url).unwrap_err();
                assert!(refusal.contains("percent-encoded"), "{url}: {refusal}");
                assert_eq!(super::shown(&url), "***", "{url}");
            }
        }
        assert!(super::parse("redis://user:p%23%3F%40%2Fw@r.test:6379/0").is_ok());
        assert!(super::parse("unix:///run/redis.sock?pass=p@w").is_ok());
    }

    proptest! {
        #[test]
        fn r_45_no_part_of_any_password_is_shown(
            password in "[A-Z/?#@%]{3,12}",
            scheme in "redis|rediss|valkeys|http|redi",
            user in "(u:|:|)",
        ) {
            let shown = super::shown(&format!("{scheme}://{user}{password}@r.test/0"));
            prop_assert!(!shown.contains(|c: char| c.is_ascii_uppercase()), "{}", shown);
        }
    }

    #[test]
    fn the_password_is_hidden() {
        for (given, shown) in [
            ("redis://127.0.0.1:6379/0", "redis://127.0.0.1:6379/0"),
            ("redis://:s3cret@r.test", "redis://:***@r.test"),
            ("rediss://me:s3cret@r.test/1", "rediss://me:***@r.test/1"),
            ("redis://me:s3@cret@r.test", "***"),
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
