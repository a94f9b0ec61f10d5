//! Tokens and secrets in settings.

use super::Parsed;
use secrecy::SecretString;

/// What lets others in has so many characters at least: fewer can be tried one after the other.
pub(in crate::config) const LEAST_TOKEN: usize = 16;
/// Words that stand before a token, or in the place of one that was not set. Where the variable behind
/// them was empty they are all that is left, and known to everybody.
const WORDS: [&str; 13] = [
    "bearer",
    "basic",
    "digest",
    "token",
    "apikey",
    "api-key",
    "x-api-key",
    "authorization",
    "authentication",
    "null",
    "nil",
    "none",
    "undefined",
];
/// What stands around a value that something else was to put in.
const MARKS: [(&str, &str); 3] = [("$(", ")"), ("${", "}"), ("{{", "}}")];

/// Checks a token that travels in a header.
pub(in crate::config) fn token(text: &str) -> Parsed<SecretString> {
    if text.bytes().all(|b| b.is_ascii_graphic()) && !text.is_empty() {
        Ok(text.into())
    } else {
        Err("must be printable ASCII without spaces".to_owned())
    }
}

/// Checks one token of MoEngage's. The word `Bearer` belongs to the header and is taken off.
pub(in crate::config) fn caller_token(text: &str) -> Parsed<SecretString> {
    let bare = match text.split_at_checked(7) {
        Some((word, rest)) if word.eq_ignore_ascii_case("bearer ") => rest.trim(),
        _ => text,
    };
    // Some sender forms paste a value with a scheme of their own, so spaces inside may be meant.
    if !bare.bytes().all(|b| b == b' ' || b.is_ascii_graphic()) || bare.is_empty() {
        return Err(
            "must be one token of printable ASCII, or several separated by commas".to_owned(),
        );
    }
    is_known_to_all(bare)?;
    Ok(bare.into())
}

/// Checks the token of the ops listener.
pub(in crate::config) fn ops_token(text: &str) -> Parsed<SecretString> {
    is_known_to_all(text)?;
    token(text)
}

/// What was meant to hold a token and holds none.
fn is_known_to_all(text: &str) -> Parsed<()> {
    let rest = after_words(text);
    if rest.is_empty() {
        return Err(
            "must be a token, and is only the word before one: is the variable behind it set? Choose a \
             token with openssl rand -hex 24"
                .to_owned(),
        );
    }
    if is_variable(rest) {
        return Err(
            "must be a token, and is the name of a variable: nothing puts the value in its place here"
                .to_owned(),
        );
    }
    if is_template(rest) {
        return Err(
            "must be a token, and is a template or a command: nothing fills it in here. Run openssl rand \
             -hex 24 and put down what it prints"
                .to_owned(),
        );
    }
    Ok(())
}

/// What follows on all [`WORDS`] at the beginning.
fn after_words(text: &str) -> &str {
    let between = |c: char| c.is_whitespace() || ":=\"'".contains(c);
    let mut rest = text.trim_matches(between);
    loop {
        let (word, after) = rest.split_once(between).unwrap_or((rest, ""));
        if !WORDS.iter().any(|one| word.eq_ignore_ascii_case(one)) {
            return rest;
        }
        rest = after.trim_start_matches(between);
    }
}

fn is_variable(text: &str) -> bool {
    let name = text
        .strip_prefix("${")
        .and_then(|rest| rest.strip_suffix('}'));
    let name = name.or(text.strip_prefix('$')).unwrap_or_default();
    let allowed = |b: u8| b == b'_' || b.is_ascii_alphanumeric();
    name.bytes().all(allowed) && name.starts_with(|c: char| !c.is_ascii_digit())
}

/// Both marks, because a token made of all characters may have one of them by chance.
fn is_template(text: &str) -> bool {
    let within = |begin: &str, end: &str| {
        let after = text.split_once(begin);
        after.is_some_and(|(_, after)| after.contains(end))
    };
    let whole = |begin: char, end: char| {
        let after = text.strip_prefix(begin);
        after.is_some_and(|after| after.ends_with(end))
    };
    MARKS.iter().any(|(begin, end)| within(begin, end)) || whole('<', '>') || whole('`', '`')
}

/// Checks the secret of the webhook's path.
pub(in crate::config) fn webhook_secret(text: &str) -> Parsed<SecretString> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    if (16..=256).contains(&text.len()) && text.bytes().all(allowed) {
        Ok(text.into())
    } else {
        Err("must be 16 to 256 letters, digits, '-' or '_' (openssl rand -hex 24)".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r_70_what_stands_for_a_token_is_none() {
        for bad in [
            "Bearer",
            "bearer",
            "BASIC",
            "Bearer Bearer",
            "Bearer Token",
            "Bearer  basic",
            "apikey",
            "Bearer Bearer Bearer Bearer",
            "Authorization: Bearer",
            "Authorization:Bearer",
            "x-api-key: ",
            "Authorization: Bearer undefined",
            "Bearer null",
            "$UNSET",
            "$unset_token_of_moengage",
            "${UNSET_TOKEN_OF_MOENGAGE}",
            "${moengage_token}",
            "Bearer $UNSET",
            "Bearer ${UNSET}",
            "Bearer ${X:-}",
            "Authorization: Bearer $UNSET",
            "$(openssl rand -hex 24)",
            "Bearer $(openssl rand -hex 24)",
            "`openssl rand -hex 24`",
            "<openssl rand -hex 24>",
            "<your-token-of-moengage>",
            "{{ .Values.token }}",
            "prefix-{{moengage_token}}",
            "${{ secrets.TOKEN }}",
        ] {
            assert!(caller_token(bad).is_err(), "{bad}");
            assert!(ops_token(bad).is_err(), "{bad}");
        }
        for good in [
            "bearer-0123456789",
            "$ecret-token-012345",
            "$0123456789abcdef",
            "tokens",
            "token:0123456789abcdef",
            "no{{end,no${end,no$(end",
            "<0123456789abcdef",
            "`0123456789`abcdef",
            "a}}b)c}d>e{{",
        ] {
            assert!(
                caller_token(good).is_ok() && ops_token(good).is_ok(),
                "{good}"
            );
        }
    }

    /// A path takes no character that marks a template, and no word before a token is as long.
    #[test]
    fn r_70_the_secret_of_the_webhook_can_be_none_of_them() {
        for (begin, end) in MARKS.into_iter().chain([("<", ">"), ("`", "`"), ("$", "")]) {
            let text = format!("{begin}0123456789abcdef0123456789{end}");
            assert!(webhook_secret(&text).is_err(), "{text}");
        }
        for word in WORDS {
            assert!(webhook_secret(word).is_err(), "{word}");
        }
    }
}
