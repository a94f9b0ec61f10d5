//! Which number is dialled, if it is possible at all: its country code exists, and it has a length
//! used there.
//!
//! Asks rlibphonenumber without its text parser, which costs several microseconds. Parsed is what
//! may hold a national prefix (`+44 (0) 79...`): nobody can be reached with it from elsewhere, so
//! it is dialled and kept without (cases R-19). Italy's zero is no prefix, and stays.

use crate::domain::Phone;
use rlibphonenumber::{NumberLengthType, PHONE_NUMBER_UTIL, PhoneNumber};

/// The number to dial; nothing when it has no existing country code or no possible length. Numbers
/// that are possible only within their area cannot be reached from elsewhere.
pub fn dialled(phone: Phone) -> Option<Phone> {
    let as_written = split(phone);
    let zero = as_written
        .as_ref()
        .is_some_and(|number| number.italian_leading_zero == Some(true));
    if !zero && as_written.is_some_and(|number| fits(&number)) || is_old_mexican(phone) {
        return Some(phone);
    }
    let parsed = PHONE_NUMBER_UTIL.parse(phone.e164(), None).ok();
    parsed.filter(fits).and_then(|number| joined(&number))
}

/// The reverse of [`split`].
fn joined(number: &PhoneNumber) -> Option<Phone> {
    let zeros = match (number.italian_leading_zero, number.number_of_leading_zeros) {
        (Some(true), zeros) => usize::try_from(zeros.unwrap_or(1)).ok()?,
        _ => 0,
    };
    let (code, rest) = (number.country_code, number.national_number);
    Phone::parse(&format!("{code}{}{rest}", "0".repeat(zeros))).ok()
}

/// Reads the metadata, which takes some 30 ms and 9 MB, so that no caller waits for it.
pub fn warm_up() {
    if let Ok(phone) = Phone::parse("12025550143") {
        dialled(phone);
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
    use crate::domain::phone::mask_digits;
    use rlibphonenumber::PhoneNumberType;

    fn dialled(text: &str) -> Option<String> {
        super::dialled(Phone::parse(text).unwrap()).map(Phone::digits)
    }

    #[test]
    fn length_and_country_code_decide() {
        for text in [
            "+12025550143",
            "+919876543210",
            "+447911123456",
            "+4915123456789",
            "+390612345678",
            "+39066982",
            "+525512345678",
            "+5215512345678",
            "+5491123456789",
            "+5511987654321",
            "+6281234567890",
            "+80012345678",
        ] {
            assert_eq!(dialled(text).as_deref(), Some(&text[1..]));
        }
        for text in [
            "+3906698",
            "+52155123456789",
            "+1202555014",
            "+120255501433",
            "+5550143",
            "+15550143",
            "+2101234567890",
            "+99912345678",
            "+9198765",
        ] {
            assert_eq!(dialled(text), None, "{text}");
        }
    }

    /// `mask_digits` leaves 7 and 8 digits alone elsewhere, so that ids can be looked for. In South
    /// Africa (27) only machines have numbers that short.
    #[test]
    fn r_23_a_short_number_is_masked_in_ids_where_people_have_such() {
        let mut whole = Vec::new();
        for number in (1_000_000..10_000_000)
            .chain(10_000_000..100_000_000)
            .step_by(9_999)
        {
            let phone = Phone::from_number(number).unwrap();
            let mobile = split(phone).is_some_and(|number| {
                let kind = PhoneNumberType::Mobile;
                let answer =
                    PHONE_NUMBER_UTIL.is_possible_number_for_type_with_reason(&number, kind);
                matches!(answer, Ok(NumberLengthType::IsPossible))
            });
            let id = format!("u{}", phone.digits());
            if mobile && !id.starts_with("u27") && mask_digits(&id) == id {
                whole.push(id);
            }
        }
        assert!(whole.is_empty(), "{whole:?}");
    }

    #[test]
    fn r_19_a_national_prefix_in_brackets_is_not_dialled() {
        for (text, digits) in [
            ("+44 (0) 7911 123456", "447911123456"),
            ("+44 (0)20 7946 0018", "442079460018"),
            ("+49 (0) 1512 3456789", "4915123456789"),
            ("+49 (0) 30 123456", "4930123456"),
            ("+43 (0) 664 1234567", "436641234567"),
            ("+41 (0) 79 123 45 67", "41791234567"),
            ("+33 (0) 6 12 34 56 78", "33612345678"),
            ("+31 (0) 6 12345678", "31612345678"),
            ("+32 (0) 470 12 34 56", "32470123456"),
            ("+46 (0) 70 123 45 67", "46701234567"),
            ("+353 (0) 85 012 3456", "353850123456"),
            ("+61 (0) 412 345 678", "61412345678"),
            ("+64 (0) 21 123 4567", "64211234567"),
            ("+27 (0) 71 123 4567", "27711234567"),
            ("+91 (0) 98765 43210", "919876543210"),
            ("+92 (0) 301 2345678", "923012345678"),
            ("+62 (0) 812 3456 7890", "6281234567890"),
            ("+81 (0) 90 1234 5678", "819012345678"),
            ("+82 (0) 10 1234 5678", "821012345678"),
            ("+90 (0) 501 234 56 78", "905012345678"),
            ("+20 (0) 100 123 4567", "201001234567"),
            ("+234 (0) 802 123 4567", "2348021234567"),
            ("+971 (0) 50 123 4567", "971501234567"),
            ("+380 (0) 50 123 4567", "380501234567"),
            ("+36 (06) 20 123 4567", "36201234567"),
            ("+7 (8) 912 345 67 89", "79123456789"),
            ("+370 (8) 612 34567", "37061234567"),
        ] {
            assert_eq!(dialled(text).as_deref(), Some(digits), "{text}");
        }
    }

    #[test]
    fn r_19_a_zero_that_is_part_of_the_number_stays() {
        for text in [
            "+39 06 1234 5678",
            "+39 (0) 6 1234 5678",
            "+378 0549 886377",
            "+225 01 23 45 67 89",
            "+225 (07) 08 12 34 56",
            "+242 06 123 4567",
        ] {
            let digits = Phone::parse(text).unwrap().digits();
            assert_eq!(dialled(text), Some(digits), "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn what_is_dialled_is_a_possible_number(number in 1_000_000u64..999_999_999_999_999) {
            if let Some(phone) = super::dialled(Phone::from_number(number).unwrap()) {
                proptest::prop_assert!(super::dialled(phone).is_some());
            }
        }
    }
}
