//! Why a message failed after it was taken, in the provider's words, and whether they say that the person
//! stopped marketing messages.
//!
//! That is a fact: it is looked for before the words are cut and masked, and is said first. It cannot be
//! taken back, so a number that only looks like the code (a part of a time or of a phone number) does not
//! count.

use super::super::wire::{readable, text};
use crate::domain::{STOPPED_MARKETING, Status, stops_marketing};
use serde_json::Value;

/// A number of more digits beside the code, in the same words, may make one number of both.
const LONGEST_BESIDE: usize = 3;

/// What these errors of one status say, if it failed.
pub(super) fn of<'a>(
    status: Status,
    errors: impl IntoIterator<Item = &'a Value>,
) -> Option<String> {
    if status != Status::Failed {
        return None;
    }
    let mut texts: Vec<String> = Vec::new();
    let mut has_stopped = false;
    for error in errors {
        let parts = parts(error);
        has_stopped |= parts.iter().any(|part| holds_code(part));
        let words = parts.join(" ");
        if !words.is_empty() && !texts.contains(&words) {
            texts.push(words);
        }
    }
    let words = readable(&texts.join("; "));
    if texts.is_empty() {
        None
    } else if has_stopped {
        Some(code_first(&words))
    } else {
        Some(words)
    }
}

/// The code and the words of one error, Vonage's (`title`, `detail`) or Meta's (`code`, `title`,
/// `message`, `error_data.details`); or a text.
fn parts(error: &Value) -> Vec<String> {
    // As it is shown.
    let text = |value: &Value| {
        let words = text(value)?;
        Some(words.split_whitespace().collect::<Vec<_>>().join(" "))
    };
    if let Some(words) = text(error) {
        return vec![words];
    }
    let members = [
        &error["code"],
        &error["title"],
        &error["message"],
        &error["detail"],
        &error["error_data"]["details"],
    ];
    let mut parts: Vec<String> = Vec::new();
    for part in members.into_iter().filter_map(text) {
        if !parts.contains(&part) {
            parts.push(part);
        }
    }
    parts
}

/// Whether WhatsApp's code stands in these words as a number of its own.
fn holds_code(words: &str) -> bool {
    words.match_indices(STOPPED_MARKETING).any(|(at, code)| {
        let before = words[..at].chars().rev();
        let after = words[at + code.len()..].chars();
        stands_alone(before) && stands_alone(after)
    })
}

/// Whether what goes on from the code, in either direction, is no part of the same word, and of no number
/// that is spelled in groups.
fn stands_alone(mut away: impl Iterator<Item = char> + Clone) -> bool {
    let is_digit = |c: &char| c.is_ascii_digit();
    let in_groups = |c: &char| is_digit(c) || c.is_whitespace() || "()-./".contains(*c);
    let beside = away.clone().take_while(in_groups).filter(is_digit).count();
    let is_phone = away.clone().find(|c| !in_groups(c)) == Some('+');
    let touches = match away.next() {
        // A thousands separator, or one between the codes of a list.
        Some(',') => (1..=LONGEST_BESIDE).contains(&away.take_while(is_digit).count()),
        Some('.' | ':' | '-' | '/' | '_' | '(' | ')') => away.next().as_ref().is_some_and(is_digit),
        Some(c) => c.is_ascii_alphanumeric(),
        None => false,
    };
    beside <= LONGEST_BESIDE && !is_phone && !touches
}

/// The words with the code in front, as [`stops_marketing`] finds it.
fn code_first(words: &str) -> String {
    let rest = words.strip_prefix(STOPPED_MARKETING);
    let rest = rest.filter(|rest| !rest.starts_with(char::is_alphanumeric));
    let rest = rest.unwrap_or(words).trim_start_matches([':', ' ']);
    let text = match rest {
        "" => STOPPED_MARKETING.to_owned(),
        rest => format!("{STOPPED_MARKETING}: {rest}"),
    };
    debug_assert!(stops_marketing(&text), "{text}");
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn of_words(words: &str) -> String {
        of(Status::Failed, [&json!(words)]).unwrap()
    }

    #[test]
    fn r_21_the_code_counts_wherever_it_stands_as_a_number_of_its_own() {
        for (words, text) in [
            ("131050", "131050"),
            ("131050 Stopped", "131050: Stopped"),
            ("131050: Stopped", "131050: Stopped"),
            ("131050: 4477", "131050: 4477"),
            ("(#131050) Stopped", "131050: (#131050) Stopped"),
            (
                "1000 failed; 131050: stopped",
                "131050: 1000 failed; 131050: stopped",
            ),
            ("code:131050.", "131050: code:131050."),
            ("\u{9519}131050", "131050: \u{9519}131050"),
            ("[131026,131050]", "131050: [131026,131050]"),
            (
                "{\"code\":131050,\"a\":1}",
                "131050: {\"code\":131050,\"a\":1}",
            ),
        ] {
            assert_eq!(of_words(words), text);
            assert!(stops_marketing(text));
        }
        // The masks and the cut leave the words alone; the fact stands in front of them.
        for words in [
            "HTTP 400 131050".to_owned(),
            "131050 (24h)".to_owned(),
            format!("{}131050", "not sent ".repeat(40)),
        ] {
            let text = of_words(&words);
            assert!(stops_marketing(&text), "{text}");
        }
    }

    #[test]
    fn r_21_a_number_that_only_looks_like_the_code_opts_nobody_out() {
        for words in [
            "1310501",
            "12131050",
            "20261129 131050",
            "20261129T131050Z",
            "at 131050Z",
            "12:00:01.131050",
            "+44 7911 131050",
            "07911 131050",
            "+131050",
            "+358 40 131050",
            "+44 79 11 131050",
            "(040)131050",
            "+44 7911\u{a0}131050",
            "2026-11-29 131050",
            "07911 - 131050",
            "131050 7911",
            "131050-7911",
            "?id=x131050",
            "ab131050cd",
            "1,131050",
            "131047 Re-engagement message",
        ] {
            let text = of_words(words);
            assert!(!stops_marketing(&text), "{words}: {text}");
        }
    }

    #[test]
    fn r_21_a_code_in_a_field_of_its_own_counts_whatever_is_beside_it() {
        let number = json!({ "code": 131_050, "title": "+44 7911 123456" });
        let late = [json!("failed"), json!("(#131050) stopped")];
        for text in [
            of(Status::Failed, [&number]).unwrap(),
            of(Status::Failed, &late).unwrap(),
        ] {
            assert!(stops_marketing(&text), "{text}");
        }
        assert_eq!(of(Status::Sent, [&number]), None);
        assert_eq!(of(Status::Failed, [&json!(null), &json!({})]), None);
        let twice = json!("refused");
        assert_eq!(
            of(Status::Failed, [&twice, &twice]).as_deref(),
            Some("refused")
        );
    }

    proptest! {
        #[test]
        fn what_is_said_stops_marketing_where_the_code_was_found(
            before in "[ -~]{0,12}", after in "[ -~]{0,12}", has in any::<bool>(),
        ) {
            let code = if has { STOPPED_MARKETING } else { "" };
            let words = format!("{before}{code}{after}");
            let found = holds_code(&words);
            let text = of(Status::Failed, [&json!(words)]).unwrap_or_default();
            prop_assert_eq!(stops_marketing(&text), found, "{}", text);
        }
    }
}
