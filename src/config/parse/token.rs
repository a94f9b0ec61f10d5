//! Tokens and secrets in settings.

use super::Parsed;
use secrecy::SecretString;

/// What lets others in has so many characters at least: fewer can be tried one after the other.
pub(in crate::config) const LEAST_TOKEN: usize = 16;
/// Words that say what kind of token follows. Where the variable behind one was not set, the word is all
/// that is left, and known to everybody.
const SCHEMES: [&str; 5] = ["bearer", "basic", "token", "apikey", "digest"];

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
    if SCHEMES.iter().any(|word| text.eq_ignore_ascii_case(word)) {
        return Err(
            "must be a token, and is only the word before one: is the variable behind it set? Choose a \
             token with openssl rand -hex 24"
                .to_owned(),
        );
    }
    let name = text
        .strip_prefix("${")
        .and_then(|rest| rest.strip_suffix('}'));
    let name = name.or(text.strip_prefix('$'));
    let is_name = |name: &str| {
        let allowed = |b: u8| b == b'_' || b.is_ascii_uppercase() || b.is_ascii_digit();
        !name.is_empty() && name.bytes().all(allowed)
    };
    if name.is_some_and(is_name) {
        return Err(
            "must be a token, and is the name of a variable: nothing puts the value in its place here"
                .to_owned(),
        );
    }
    Ok(())
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
    fn r_70_a_word_before_a_token_and_the_name_of_a_variable_are_no_tokens() {
        for bad in [
            "Bearer",
            "bearer",
            "BASIC",
            "Bearer Bearer",
            "Bearer Token",
            "Bearer  basic",
            "apikey",
            "$UNSET",
            "${UNSET_TOKEN_OF_MOENGAGE}",
            "Bearer $UNSET",
            "Bearer ${UNSET}",
        ] {
            assert!(caller_token(bad).is_err(), "{bad}");
            assert!(ops_token(bad).is_err(), "{bad}");
        }
        for good in [
            "bearer-0123456789",
            "$ecret-token-012345",
            "a${B}c",
            "tokens",
        ] {
            assert!(
                caller_token(good).is_ok() && ops_token(good).is_ok(),
                "{good}"
            );
        }
    }
}
