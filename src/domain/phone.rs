//! Phone numbers: digits inside, masked outside.

use std::fmt;

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

/// Masks what may be a phone number in an identifier: 9 to 15 digits, whatever stands beside them
/// (cases R-23), and fewer where a country has such numbers. UUIDs and other hexadecimal ids have such
/// runs by chance and are left as they are, so that they can still be looked for (DESIGN G6).
pub fn mask_digits(text: &str) -> String {
    let mut masked = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(|c: char| c.is_ascii_alphanumeric()) {
        masked.push_str(&rest[..start]);
        rest = &rest[start..];
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric());
        let mut word = &rest[..end.unwrap_or(rest.len())];
        if is_uuid(rest) {
            word = &rest[..UUID];
            masked.push_str(word);
        } else if is_hexadecimal(word) {
            masked.push_str(word);
        } else {
            mask_runs(word, &mut masked);
        }
        rest = &rest[word.len()..];
    }
    masked.push_str(rest);
    masked
}

/// Characters of a UUID.
const UUID: usize = 36;

/// Whether a text begins with a UUID that ends there.
fn is_uuid(text: &str) -> bool {
    let shape = |(at, byte): (usize, u8)| match at {
        8 | 13 | 18 | 23 => byte == b'-',
        UUID => !byte.is_ascii_alphanumeric(),
        _ => byte.is_ascii_hexdigit(),
    };
    text.len() >= UUID && text.bytes().take(UUID + 1).enumerate().all(shape)
}

/// Whether a word is an id of hexadecimal digits: of the length of one, and not of decimal ones only.
fn is_hexadecimal(word: &str) -> bool {
    matches!(word.len(), 24 | 32 | 40 | 64)
        && word.bytes().all(|byte| byte.is_ascii_hexdigit())
        && word.bytes().any(|byte| byte.is_ascii_alphabetic())
}

/// Countries where a mobile number has 7 or 8 digits with the country code. Masking 7 and 8 digits
/// everywhere would hide the counters that many ids are.
const SHORT: [&str; 7] = ["247", "290", "500", "677", "682", "683", "690"];

fn may_be_a_number(digits: &str) -> bool {
    match digits.len() {
        9..=15 => true,
        7 | 8 => SHORT.iter().any(|country| digits.starts_with(country)),
        _ => false,
    }
}

fn mask_runs(word: &str, masked: &mut String) {
    for run in word.split_inclusive(|c: char| !c.is_ascii_digit()) {
        let digits = run.trim_end_matches(|c: char| !c.is_ascii_digit());
        if may_be_a_number(digits) {
            flush(masked, &mut digits.to_owned());
            masked.push_str(&run[digits.len()..]);
        } else {
            masked.push_str(run);
        }
    }
}

/// What may stand between two digits of a number.
fn joins(c: char) -> bool {
    matches!(c, ' ' | '\u{a0}' | '-' | '.' | '(' | ')' | '/' | '_')
}

/// The most of these in a row; what is farther apart is two numbers.
const MOST_JOINED: usize = 3;

/// Masks every run of seven or more digits in free text of others, where a number may be written
/// with spaces, hyphens, dots, parentheses, slashes or underscores between its digits.
pub fn mask_numbers(text: &str) -> String {
    let mut masked = String::with_capacity(text.len());
    let mut run = String::new();
    let mut joined = 0;
    for c in text.chars() {
        if c.is_ascii_digit() {
            joined = 0;
            run.push(c);
        } else if joins(c) && !run.is_empty() && joined < MOST_JOINED {
            joined += 1;
            run.push(c);
        } else {
            flush(&mut masked, &mut run);
            masked.push(c);
        }
    }
    flush(&mut masked, &mut run);
    masked
}

fn flush(masked: &mut String, run: &mut String) {
    let digits = run.chars().filter(char::is_ascii_digit).count();
    let mut seen = 0;
    for c in run.drain(..) {
        seen += usize::from(c.is_ascii_digit());
        let inner = c.is_ascii_digit() && seen > 2 && seen + 2 <= digits;
        masked.push(if digits >= 7 && inner { '*' } else { c });
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
        assert_eq!(mask_digits("conv-12025550143-7"), "conv-12*******43-7");
        assert_eq!(mask_digits("order 12345678"), "order 12345678");
        let uuid = "27ab8b96-1234-4d7c-8bcf-7f764633727a";
        assert_eq!(mask_digits(uuid), uuid);
        assert_eq!(mask_digits("t_12025550178"), "t_12*******78");
        assert_eq!(
            mask_numbers("call +91 98765-43210 now"),
            "call +91 *****-***10 now"
        );
        assert_eq!(mask_numbers("HTTP 200, try 1"), "HTTP 200, try 1");
    }

    #[test]
    fn r_23_a_number_among_letters_is_masked_and_ids_stay() {
        for (text, shown) in [
            ("u12025550143-x", "u12*******43-x"),
            ("12025550143abc", "12*******43abc"),
            (
                "msg12025550143to919876543210",
                "msg12*******43to91********10",
            ),
            ("u6834123x", "u68***23x"),
            ("u29023456x", "u29****56x"),
            ("é12025550143é", "é12*******43é"),
            ("ab12025550143cd", "ab12*******43cd"),
            ("campaign_7/12025550143.1", "campaign_7/12*******43.1"),
        ] {
            assert_eq!(mask_digits(text), shown);
        }
        for id in [
            "27ab8b96-1234-4d7c-8bcf-123456789012",
            "c-27ab8b96-1234-4d7c-8bcf-1234567890ab-2",
            "64f1a2b3123456789012c4d5",
            "0123456789abcdef0123456789abcdef",
            "n1234567890123456",
            "m12345678",
        ] {
            assert_eq!(mask_digits(id), id);
        }
        // What only begins like one is none.
        let longer = "27ab8b96-1234-4d7c-8bcf-123456789012a";
        assert_eq!(mask_digits(longer), "27ab8b96-1234-4d7c-8bcf-12********12a");
    }

    #[test]
    fn a_number_in_free_text_is_masked_however_it_is_written() {
        for (text, shown) in [
            ("+91 (98765) 43210", "+91 (*****) ***10"),
            ("+1 (202) 555 - 0143", "+1 (2**) *** - **43"),
            ("+1 (202) 555-0143", "+1 (2**) ***-**43"),
            ("0202/555.01_43!", "02**/***.**_43!"),
            (
                "1\u{a0}202\u{a0}555\u{a0}0143",
                "1\u{a0}2**\u{a0}***\u{a0}**43",
            ),
            ("no +12025550143 (try 2)", "no +12*******43 (try 2)"),
        ] {
            assert_eq!(mask_numbers(text), shown);
        }
        // Too far apart, or too few together.
        for text in ["1202 --- 555014", "HTTP 503 (try 2 of 12), 3.4 s - 5"] {
            assert_eq!(mask_numbers(text), text);
        }
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
        fn masking_an_id_never_panics(text in ".{0,60}|[0-9a-f-]{30,40}") {
            let shown = mask_digits(&text);
            proptest::prop_assert_eq!(shown.chars().count(), text.chars().count());
        }

        #[test]
        fn a_mask_hides_the_middle(number in 1_000_000u64..999_999_999_999_999) {
            let shown = Phone::from_number(number).unwrap().to_string();
            proptest::prop_assert!(!shown.contains(&number.to_string()));
            proptest::prop_assert!(shown.chars().filter(char::is_ascii_digit).count() == 4);
        }
    }
}
