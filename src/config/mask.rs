//! Values as they may be printed: credentials are hidden, and so is whatever may be one. Pure.

use crate::domain::Phone;

/// What is shown in place of a secret.
pub(super) const MASK: &str = "***";
/// Parts of our own webhook path that are no secrets (design.md section 7).
const PUBLIC_PARTS: [&str; 6] = [
    "",
    "jumper_callback",
    "jumper_callback_2",
    "channels",
    "default",
    "callback",
];

/// A phone number without its middle.
pub(super) fn number(value: &str) -> String {
    Phone::parse(value).map_or(MASK.to_owned(), |phone| phone.to_string())
}

/// A foreign address; one with credentials is not shown, nor is what stands behind the path: that is
/// where tokens are.
pub(super) fn url(value: &str) -> String {
    if value.contains('@') {
        return MASK.to_owned();
    }
    match value.split_once(['?', '#']) {
        Some((address, rest)) if !rest.is_empty() => format!("{address}?{MASK}"),
        _ => value.to_owned(),
    }
}

/// Our own webhook's address without what may be its secret.
pub(super) fn webhook(value: &str) -> String {
    let Some((scheme, rest)) = value.split_once("://") else {
        return MASK.to_owned();
    };
    if value.contains('@') {
        return MASK.to_owned();
    }
    let (rest, query) = rest
        .split_once(['?', '#'])
        .map_or((rest, ""), |(rest, _)| (rest, "?***"));
    let parts: Vec<&str> = rest.split('/').collect();
    let mut shown = format!("{scheme}://{}", parts.first().unwrap_or(&""));
    for (place, part) in parts.iter().enumerate().skip(1) {
        // The name of a channel stands between two words of ours.
        let name = parts[place - 1] == "channels" && parts.get(place + 1) == Some(&"callback");
        let public = name || PUBLIC_PARTS.contains(part);
        shown.push('/');
        shown.push_str(if public { part } else { MASK });
    }
    shown + query
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_secret_in_a_url_is_hidden() {
        let cases = [
            (
                "https://gw.example.com/jumper_callback",
                "https://gw.example.com/jumper_callback",
            ),
            (
                "https://gw.example.com/jumper_callback/s3cret?key=s3cret",
                "https://gw.example.com/jumper_callback/***?***",
            ),
            (
                "https://gw.example.com/channels/default/callback/s3cret/",
                "https://gw.example.com/channels/default/callback/***/",
            ),
            (
                "https://gw.example.com/channels/acme-uk/callback/s3cret",
                "https://gw.example.com/channels/acme-uk/callback/***",
            ),
            (
                "https://gw.example.com/channels/s3cret",
                "https://gw.example.com/channels/***",
            ),
            (
                "https://gw.example.com/s3cret/jumper_callback",
                "https://gw.example.com/***/jumper_callback",
            ),
            (
                "https://gw.example.com#s3cret",
                "https://gw.example.com?***",
            ),
            ("https://user:s3cret@gw.example.com/", "***"),
            ("s3cret", "***"),
        ];
        for (given, shown) in cases {
            assert_eq!(webhook(given), shown, "{given}");
        }
        assert_eq!(url("https://user:s3cret@jumper.test/"), "***");
        for (given, shown) in [
            ("https://api.test/dlr/1", "https://api.test/dlr/1"),
            (
                "https://api.test/dlr?token=s3cret",
                "https://api.test/dlr?***",
            ),
            (
                "https://api.test/dlr?s3cret#s3cret",
                "https://api.test/dlr?***",
            ),
            ("https://api.test?", "https://api.test?"),
        ] {
            assert_eq!(url(given), shown);
        }
        assert_eq!(number("+1 202 555 0100"), "12*******00");
        assert_eq!(number("+1 202 555 01OO"), "***");
    }
}
