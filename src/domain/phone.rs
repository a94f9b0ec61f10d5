//! Phone numbers: digits inside, masked outside.

mod mask;

use std::fmt;

pub use mask::{mask_digits, mask_numbers};

/// The most bytes of a spelling: it is kept as it came, and what is ignored in it has no end.
const LONGEST: usize = 64;

/// A number of 7 to 15 digits that does not begin with a zero (the shape of E.164).
///
/// `Display` and `Debug` show the first two and the last two digits only; the whole number leaves
/// through [`Phone::digits`] and [`Phone::e164`], which belong on the wire and never in a log.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Phone(u64);

/// Why a text is not a phone number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PhoneError {
    /// There is a character that no phone number has.
    BadCharacter,
    /// The number of digits is not between 7 and 15.
    BadLength,
    /// An international number never begins with a zero.
    LeadingZero,
}

impl fmt::Display for PhoneError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BadCharacter => "holds a character that no phone number has",
            Self::BadLength => "needs 7 to 15 digits with the country code",
            Self::LeadingZero => {
                "begins with a zero: write the country code first, with a plus sign instead of 00"
            }
        })
    }
}

impl std::error::Error for PhoneError {}

impl Phone {
    /// Reads a number with or without a plus sign; spaces, hyphens, dots and parentheses between
    /// the digits are ignored.
    pub fn parse(text: &str) -> Result<Self, PhoneError> {
        if text.len() > LONGEST {
            return Err(PhoneError::BadLength);
        }
        let text = text.trim();
        let international = text.strip_prefix('+');
        // Brackets hold an area code: what begins with one lacks its country code.
        if text.starts_with('(') {
            return Err(PhoneError::BadCharacter);
        }
        let text = international.unwrap_or(text);
        let (mut number, mut digits) = (0u64, 0u32);
        for c in text.chars() {
            match c {
                '0'..='9' => {
                    digits += 1;
                    if digits > 15 {
                        return Err(PhoneError::BadLength);
                    }
                    if digits == 1 && c == '0' {
                        return Err(PhoneError::LeadingZero);
                    }
                    number = number * 10 + u64::from(c as u32 - '0' as u32);
                }
                ' ' | '-' | '.' | '(' | ')' | '\u{a0}' => {}
                _ => return Err(PhoneError::BadCharacter),
            }
        }
        if digits < 7 {
            return Err(PhoneError::BadLength);
        }
        Ok(Self(number))
    }

    /// The number that a store kept as an integer.
    pub fn from_number(number: u64) -> Result<Self, PhoneError> {
        if (1_000_000..=999_999_999_999_999).contains(&number) {
            Ok(Self(number))
        } else {
            Err(PhoneError::BadLength)
        }
    }

    /// The number as an integer: at most 15 digits, so it fits every integer type of 64 bits.
    pub fn number(self) -> u64 {
        self.0
    }

    /// The whole number, digits only. For the wire.
    pub fn digits(self) -> String {
        self.0.to_string()
    }

    /// The whole number with a plus sign. For the wire.
    pub fn e164(self) -> String {
        format!("+{}", self.0)
    }
}

impl fmt::Display for Phone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&mask_numbers(&self.0.to_string()))
    }
}

impl fmt::Debug for Phone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Phone({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usual_spellings_are_one_number() {
        for text in [
            "+12025550143",
            "12025550143",
            " +1 (202) 555-0143 ",
            "1.202.555.0143",
        ] {
            assert_eq!(
                Phone::parse(text).unwrap().digits(),
                "12025550143",
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_no_number_is_refused() {
        let cases = [
            ("", PhoneError::BadLength),
            ("+", PhoneError::BadLength),
            ("123456", PhoneError::BadLength),
            ("1234567890123456", PhoneError::BadLength),
            (
                &format!("1202{}5550143", "-".repeat(60)),
                PhoneError::BadLength,
            ),
            ("0049151234567", PhoneError::LeadingZero),
            ("1-800-FLOWERS", PhoneError::BadCharacter),
            ("(202) 555-0143", PhoneError::BadCharacter),
            ("++12025550143", PhoneError::BadCharacter),
            ("١٢٣٤٥٦٧٨٩", PhoneError::BadCharacter),
        ];
        for (text, error) in cases {
            assert_eq!(Phone::parse(text), Err(error), "{text}");
        }
    }

    #[test]
    fn a_number_never_prints_whole() {
        let phone = Phone::parse("12025550143").unwrap();
        assert_eq!(format!("{phone}"), "12*******43");
        assert_eq!(format!("{phone:?}"), "Phone(12*******43)");
    }

    proptest::proptest! {
        #[test]
        fn parse_never_panics_and_round_trips(text in ".{0,40}") {
            if let Ok(phone) = Phone::parse(&text) {
                proptest::prop_assert_eq!(Phone::parse(&phone.e164()), Ok(phone));
                proptest::prop_assert_eq!(Phone::from_number(phone.number()), Ok(phone));
            }
        }

        #[test]
        fn a_mask_hides_the_middle(number in 1_000_000u64..999_999_999_999_999) {
            let shown = Phone::from_number(number).unwrap().to_string();
            proptest::prop_assert!(!shown.contains(&number.to_string()));
            proptest::prop_assert!(shown.chars().filter(char::is_ascii_digit).count() == 4);
        }
    }
}
