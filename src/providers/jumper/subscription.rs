//! Which subscriptions an account should have (contracts/jumper.md sections 4.5, 4.6 and 9). Pure.

use super::LIVECHAT;
use super::exchange::canonical;
use super::wire::Subscription;

/// What had to be done so that events reach us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SubscriptionState {
    /// Nothing: they do.
    Present,
    /// Our address was added.
    Added,
    /// Our address took the place of an old one of ours.
    Replaced,
}

impl std::fmt::Display for SubscriptionState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Present => "present",
            Self::Added => "added",
            Self::Replaced => "replaced",
        })
    }
}

/// The list of subscriptions as it should be. Ours present means that nothing is written, whatever
/// else is there: writing may append (section 9).
pub(super) fn merged(
    list: Vec<Subscription>,
    url: &str,
    secret: Option<&str>,
) -> (SubscriptionState, Vec<Subscription>) {
    let ours = registered(url, secret);
    let wanted = |s: &Subscription| s.permission.eq_ignore_ascii_case(LIVECHAT);
    let known = canonical(&ours);
    if list
        .iter()
        .any(|s| canonical(&s.webhook) == known && wanted(s))
    {
        return (SubscriptionState::Present, list);
    }
    let stem = stem(&known, secret);
    let before = list.len();
    let mut entries: Vec<_> = list
        .into_iter()
        .filter(|s| !(wanted(s) && is_of(stem, &canonical(&s.webhook))))
        .collect();
    let replaced = entries.len() < before;
    entries.push(Subscription {
        permission: LIVECHAT.into(),
        webhook: ours,
    });
    let state = if replaced {
        SubscriptionState::Replaced
    } else {
        SubscriptionState::Added
    };
    (state, entries)
}

/// The address that Jumper is told: the secret is its last path segment unless it is in it already.
pub fn registered(url: &str, secret: Option<&str>) -> String {
    let Some(secret) = secret.filter(|secret| !secret.is_empty()) else {
        return url.to_owned();
    };
    let (path, query) = url.split_at(url.find('?').unwrap_or(url.len()));
    let mut pairs = query.trim_start_matches('?').split('&');
    let in_query = pairs.any(|pair| pair.strip_prefix("key=") == Some(secret));
    if in_query || path.split('/').any(|part| part == secret) {
        return url.to_owned();
    }
    format!("{}/{secret}{query}", path.trim_end_matches('/'))
}

/// An address of ours without its secret.
fn stem<'a>(ours: &'a str, secret: Option<&str>) -> &'a str {
    let path = ours.split('?').next().unwrap_or(ours).trim_end_matches('/');
    let secret = secret.filter(|secret| !secret.is_empty());
    let stem = secret.and_then(|secret| path.strip_suffix(secret));
    stem.map_or(path, |stem| stem.trim_end_matches('/'))
}

/// Whether an address is ours with another secret, or with none.
fn is_of(stem: &str, webhook: &str) -> bool {
    // A stem that is a bare host would claim addresses of others on it.
    let has_path = stem
        .split_once("://")
        .is_some_and(|(_, rest)| rest.contains('/'));
    let path = webhook
        .split('?')
        .next()
        .unwrap_or(webhook)
        .trim_end_matches('/');
    let Some(rest) = path.strip_prefix(stem).filter(|_| has_path) else {
        return false;
    };
    rest.is_empty()
        || rest
            .strip_prefix('/')
            .is_some_and(|secret| !secret.contains('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn livechat(webhook: &str) -> Subscription {
        Subscription {
            permission: "livechat".into(),
            webhook: webhook.into(),
        }
    }

    fn addresses(
        list: &[&str],
        url: &str,
        secret: Option<&str>,
    ) -> (SubscriptionState, Vec<String>) {
        let list = list.iter().map(|webhook| livechat(webhook)).collect();
        let (state, entries) = merged(list, url, secret);
        (state, entries.into_iter().map(|s| s.webhook).collect())
    }

    #[test]
    fn the_secret_is_the_last_segment_unless_it_is_in_already() {
        let cases = [
            (
                "https://g/jumper_callback",
                Some("s3"),
                "https://g/jumper_callback/s3",
            ),
            (
                "https://g/jumper_callback/",
                Some("s3"),
                "https://g/jumper_callback/s3",
            ),
            (
                "https://g/jumper_callback/s3",
                Some("s3"),
                "https://g/jumper_callback/s3",
            ),
            (
                "https://g/jumper_callback?key=s3",
                Some("s3"),
                "https://g/jumper_callback?key=s3",
            ),
            // A part of a name is no secret in the path: it would be registered and answered 404.
            (
                "https://s3.g/jumper_callback/s3x",
                Some("s3"),
                "https://s3.g/jumper_callback/s3x/s3",
            ),
            (
                "https://g/jumper_callback?a=1",
                Some("s3"),
                "https://g/jumper_callback/s3?a=1",
            ),
            (
                "https://g/jumper_callback",
                None,
                "https://g/jumper_callback",
            ),
            (
                "https://g/jumper_callback",
                Some(""),
                "https://g/jumper_callback",
            ),
        ];
        for (url, secret, expected) in cases {
            assert_eq!(registered(url, secret), expected);
        }
    }

    /// B-17: a subscription of somebody else counted as ours.
    #[test]
    fn foreign_entries_stay_and_ours_is_added() {
        let foreign = [
            "https://crm.example/hook",
            "https://g/jumper_callback/a/b",
            "https://g/other/x",
        ];
        let (state, after) = addresses(&foreign, "https://g/jumper_callback", Some("s3"));
        assert_eq!(state, SubscriptionState::Added);
        assert_eq!(
            after,
            [&foreign[..], &["https://g/jumper_callback/s3"]].concat()
        );
    }

    #[test]
    fn ours_present_changes_nothing() {
        let list = [
            "https://g/jumper_callback/old",
            "https://g/jumper_callback/s3",
        ];
        let (state, after) = addresses(&list, "https://g/jumper_callback", Some("s3"));
        assert_eq!((state, after.len()), (SubscriptionState::Present, 2));
    }

    #[test]
    fn r_32_ours_in_another_spelling_is_ours() {
        let ours = "https://Gw.Example.com:443/jumper_callback";
        for kept in [
            "https://gw.example.com/jumper_callback/s3",
            "https://gw.example.com/jumper_callback/s3/",
            "HTTPS://GW.EXAMPLE.COM:443/jumper_callback/s3#x",
            " https://gw.example.com/jumper_callback/s3 ",
        ] {
            let (state, _) = addresses(&[kept], ours, Some("s3"));
            assert_eq!(state, SubscriptionState::Present, "{kept}");
        }
        for (kept, state) in [
            (
                "https://gw.example.com/jumper_callback/old/",
                SubscriptionState::Replaced,
            ),
            (
                "https://GW.example.com/jumper_callback/",
                SubscriptionState::Replaced,
            ),
            (
                "https://gw.example.com:8443/jumper_callback/s3",
                SubscriptionState::Added,
            ),
            (
                "http://gw.example.com/jumper_callback/s3",
                SubscriptionState::Added,
            ),
            ("no address", SubscriptionState::Added),
        ] {
            assert_eq!(addresses(&[kept], ours, Some("s3")).0, state, "{kept}");
        }
    }

    #[test]
    fn an_old_secret_of_ours_is_replaced() {
        let ours = "https://g/jumper_callback/s3";
        let old = [
            "https://g/jumper_callback/old",
            "https://g/jumper_callback",
            "https://g/jumper_callback?key=old",
        ];
        for old in old {
            for url in ["https://g/jumper_callback", ours] {
                let (state, after) = addresses(&[old, "https://x/y"], url, Some("s3"));
                assert_eq!(state, SubscriptionState::Replaced, "{old}");
                assert_eq!(after, ["https://x/y", ours], "{old}");
            }
        }
    }

    #[test]
    fn a_bare_host_claims_nothing() {
        let (state, _) = addresses(&["https://g/theirs"], "https://g/s3", Some("s3"));
        assert_eq!(state, SubscriptionState::Added);
    }

    #[test]
    fn another_kind_of_subscription_at_our_address_is_not_ours() {
        let order = Subscription {
            permission: "order".into(),
            webhook: "https://g/cb/s3".into(),
        };
        let (state, after) = merged(vec![order.clone()], "https://g/cb", Some("s3"));
        assert_eq!(state, SubscriptionState::Added);
        assert_eq!(after, [order, livechat("https://g/cb/s3")]);
    }
}
