//! Is a number possible at all: does its country code exist, and has it a length used there?
//!
//! Asks rlibphonenumber without its text parser, which costs several microseconds; only a number
//! that seems impossible is parsed, because some are written with a national prefix inside
//! (`+44 (0) 79...`).

use crate::domain::Phone;
use rlibphonenumber::{NumberLengthType, PHONE_NUMBER_UTIL, PhoneNumber};

/// Whether the number has an existing country code and a possible length. Numbers that are
/// possible only within their area are not: they cannot be reached from elsewhere.
pub fn possible(phone: Phone) -> bool {
    split(phone).is_some_and(|number| fits(&number))
        || is_old_mexican(phone)
        || PHONE_NUMBER_UTIL
            .parse(phone.e164(), None)
            .is_ok_and(|number| fits(&number))
}

/// Reads the metadata, which takes some 30 ms and 9 MB, so that no caller waits for it.
pub fn warm_up() {
    if let Ok(phone) = Phone::parse("12025550143") {
        possible(phone);
    }
}

/// Mexico's mobile numbers with the `1` that its numbering plan dropped in 2019. WhatsApp still
/// names people so (`52 1` and ten digits), and refusing them would cost real recipients.
fn is_old_mexican(phone: Phone) -> bool {
    phone.number() / 10_000_000_000 == 521
}

fn fits(number: &PhoneNumber) -> bool {
    matches!(
        PHONE_NUMBER_UTIL.is_possible_number_with_reason(number),
        Ok(NumberLengthType::IsPossible)
    )
}

/// The number as country code and rest. No country code begins another one.
fn split(phone: Phone) -> Option<PhoneNumber> {
    let number = phone.number();
    let digits = number.ilog10() + 1;
    (1..=3).find_map(|length| {
        let unit = 10u64.pow(digits.checked_sub(length)?);
        let country_code = i32::try_from(number / unit).ok()?;
        PHONE_NUMBER_UTIL.get_region_for_country_code(country_code)?;
        let national_number = number % unit;
        let shown = national_number.checked_ilog10().map_or(0, |log| log + 1);
        // Zeros at the front of the rest are part of its length (Italy).
        let zeros = i32::try_from(digits - length - shown).ok()?;
        Some(PhoneNumber {
            country_code,
            national_number,
            italian_leading_zero: (zeros > 0).then_some(true),
            number_of_leading_zeros: (zeros > 0).then_some(zeros),
            ..PhoneNumber::default()
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn length_and_country_code_decide() {
        let cases = [
            ("+12025550143", true),
            ("+919876543210", true),
            ("+447911123456", true),
            ("+4915123456789", true),
            ("+390612345678", true),
            ("+39066982", true),
            ("+3906698", false),
            ("+4407911123456", true),
            ("+525512345678", true),
            ("+5215512345678", true),
            ("+52155123456789", false),
            ("+5491123456789", true),
            ("+5511987654321", true),
            ("+6281234567890", true),
            ("+80012345678", true),
            ("+1202555014", false),
            ("+120255501433", false),
            ("+5550143", false),
            ("+15550143", false),
            ("+2101234567890", false),
            ("+99912345678", false),
            ("+9198765", false),
        ];
        for (text, expected) in cases {
            assert_eq!(possible(Phone::parse(text).unwrap()), expected, "{text}");
        }
    }
}
