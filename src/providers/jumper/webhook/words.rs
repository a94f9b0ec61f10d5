//! What a person wrote, up to a length that is somebody's words and not somebody's load.

use serde_json::Value;

/// The most bytes of a reply that are kept and relayed. WhatsApp itself takes 4,096 characters.
const LONGEST: usize = 64 << 10;
/// What stands at the end of a longer one.
const MARK: &str = " [cut by the gateway at 64 KB]";

/// The text of a message as the person wrote it, spaces included.
pub(super) fn of(message: &Value) -> String {
    let text = match message {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    if text.len() <= LONGEST {
        return text;
    }
    let end = text.floor_char_boundary(LONGEST - MARK.len());
    format!("{}{MARK}", &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn r_78_a_long_reply_is_cut_between_characters_and_says_so() {
        for whole in [" Yes \u{1f600}\n".to_owned(), "x".repeat(LONGEST)] {
            assert_eq!(of(&json!(whole)), whole);
        }
        assert_eq!(of(&json!(17)), "17");
        for letter in ["x", "ä", "\u{1f600}"] {
            let cut = of(&json!(letter.repeat(900_000)));
            assert!(
                (LONGEST - 4..=LONGEST).contains(&cut.len()),
                "{}",
                cut.len()
            );
            let kept = cut.strip_suffix(MARK).unwrap();
            assert_eq!(kept.replace(letter, ""), "");
        }
    }
}
