//! How ids, phone numbers and bytes may be written in what the sandbox is told, by a call or by the control
//! API. Pure.

use base64::Engine as _;
use serde::{Deserialize as _, Deserializer};
use serde_json::Value;

/// A text, or a number as its text; nothing is the empty text.
pub(super) fn text_or_number<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    match Value::deserialize(from)? {
        Value::String(text) => Ok(text),
        Value::Number(number) => Ok(number.to_string()),
        Value::Null => Ok(String::new()),
        _ => Err(serde::de::Error::custom("an id is a text or a number")),
    }
}

/// The digits of a phone number: a leading plus and separators are dropped.
pub(super) fn digits(text: &str) -> String {
    text.chars().filter(char::is_ascii_digit).collect()
}

/// Bytes written as base64, or as hex after `hex:`.
pub(super) fn decoded(text: &str) -> Result<Vec<u8>, String> {
    let fault = || "bytes: base64, or hex after \"hex:\"".to_owned();
    let Some(hex) = text.strip_prefix("hex:") else {
        let engine = base64::engine::general_purpose::STANDARD;
        return engine.decode(text).map_err(|_| fault());
    };
    let digits: Option<Vec<u8>> = hex
        .chars()
        .map(|digit| u8::try_from(digit.to_digit(16)?).ok())
        .collect();
    match digits {
        Some(digits) if digits.len() % 2 == 0 => Ok(digits
            .chunks(2)
            .map(|pair| pair[0] * 16 + pair[1])
            .collect()),
        _ => Err(fault()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_base64_or_hex() {
        assert_eq!(decoded("e/8="), Ok(vec![0x7b, 0xff]));
        assert_eq!(decoded("hex:7BfF"), Ok(vec![0x7b, 0xff]));
        assert_eq!(decoded(""), Ok(vec![]));
    }
}
