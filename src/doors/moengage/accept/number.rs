//! Which number is dialled, if it is possible at all: its country code exists, and it has a length
//! used there.
//!
//! Asks rlibphonenumber without its text parser, which costs several microseconds. Parsed is what
//! may hold a national prefix (`+44 (0) 79...`, `+375 (8) 029...`): nobody can be reached with it
//! from elsewhere, so it is dialled and kept without (cases R-19). A zero that is part of the number
//! stays: Italy's landlines, the Ivory Coast, Congo, Benin.

use crate::domain::Phone;
use rlibphonenumber::{NumberLengthType, PHONE_NUMBER_UTIL, PhoneNumber, PhoneNumberType};

/// The number to dial; nothing when it has no existing country code or no possible length. Numbers
/// that are possible only within their area cannot be reached from elsewhere. What is to be dialled
/// is dialled as it is: asked again, the answer is the same.
pub fn dialled(phone: Phone) -> Option<Phone> {
    let bare = without_prefix(phone)?;
    // What would lose something again is no number that anybody meant.
    (bare == phone || without_prefix(bare) == Some(bare)).then_some(bare)
}

fn without_prefix(phone: Phone) -> Option<Phone> {
    let as_written = split(phone);
    if as_written.is_some_and(|number| fits(&number) && !may_hold_prefix(&number))
        || is_old_mexican(phone)
    {
        return Some(phone);
    }
    let parsed = PHONE_NUMBER_UTIL.parse(phone.e164(), None).ok()?;
    let number = match parsed.italian_leading_zero {
        Some(true) => with_own_zeros(&parsed)?,
        _ => parsed,
    };
    fits(&number).then(|| joined(&number)).flatten()
}

/// Whether what follows the country code may begin with a prefix for calls within the country, though
/// its length is possible. Where the prefix is a 1 or an 8, what begins with it is too long; but
/// Belarus has numbers of many lengths.
fn may_hold_prefix(number: &PhoneNumber) -> bool {
    let first = number.national_number / 10u64.pow(number.national_number.max(1).ilog10());
    number.italian_leading_zero == Some(true) || number.country_code == 375 && first == 8
}

/// The number with as many of its zeros as are part of it.
fn with_own_zeros(number: &PhoneNumber) -> Option<PhoneNumber> {
    let zeros = number.number_of_leading_zeros.unwrap_or(1);
    (0..=zeros)
        .rev()
        .map(|zeros| with_zeros(number.clone(), zeros))
        .find(|number| PHONE_NUMBER_UTIL.is_valid_number(number) && !is_italian_mobile(number))
}

/// Whether a mobile number of today's length stands behind a zero. By the tables it may be a landline
/// with it, but landlines so long are hardly in use, and nobody writes to them.
fn is_italian_mobile(number: &PhoneNumber) -> bool {
    number.country_code == 39
        && number.italian_leading_zero == Some(true)
        && number.national_number >= 1_000_000_000
        && PHONE_NUMBER_UTIL.get_number_type(&with_zeros(number.clone(), 0))
            == PhoneNumberType::Mobile
}

fn with_zeros(number: PhoneNumber, zeros: i32) -> PhoneNumber {
    PhoneNumber {
        italian_leading_zero: (zeros > 0).then_some(true),
        number_of_leading_zeros: (zeros > 0).then_some(zeros),
        ..number
    }
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
        let number = PhoneNumber {
            country_code,
            national_number,
            ..PhoneNumber::default()
        };
        Some(with_zeros(number, zeros))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::phone::mask_digits;
    use proptest::prelude::*;
    use proptest::sample::select;
    use rlibphonenumber::{PhoneNumberFormat, Region};

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

    /// `mask_digits` has lists of countries for 7 and 8 digits, so that counters can be looked for
    /// elsewhere. In South Africa (27) only machines have numbers that short.
    #[test]
    fn r_23_a_short_number_is_masked_in_ids_where_there_are_such() {
        let mut whole = Vec::new();
        for number in (1_000_000..10_000_000)
            .chain(10_000_000..100_000_000)
            .step_by(9_999)
        {
            let phone = Phone::from_number(number).unwrap();
            let Some(number) = split(phone).filter(fits) else {
                continue;
            };
            let mobile = PHONE_NUMBER_UTIL
                .is_possible_number_for_type_with_reason(&number, PhoneNumberType::Mobile);
            let mobile = matches!(mobile, Ok(NumberLengthType::IsPossible));
            let digits = phone.digits();
            let mut ids = vec![format!("u{digits}-x"), format!("{digits}x")];
            if mobile && number.country_code != 27 {
                ids.push(format!("u-{digits}-x"));
            }
            whole.extend(ids.into_iter().filter(|id| mask_digits(id) == *id));
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
            // The tables know no prefix, or none of one zero.
            ("+48 (0) 512 345 678", "48512345678"),
            ("+420 (0) 601 123 456", "420601123456"),
            ("+30 (0) 691 234 5678", "306912345678"),
            ("+56 (0) 9 8765 4321", "56987654321"),
            ("+352 (0) 621 123 456", "352621123456"),
            ("+968 (0) 9212 3456", "96892123456"),
            ("+852 (0) 9123 4567", "85291234567"),
            ("+34 (0) 612 345 678", "34612345678"),
            ("+351 (0) 912 345 678", "351912345678"),
            ("+45 (0) 20 12 34 56", "4520123456"),
            ("+1 (0) 202 555 0143", "12025550143"),
            ("+1 1 202 555 0143", "12025550143"),
            ("+39 (0) 347 123 4567", "393471234567"),
            ("+39 (0) 345 123 4567", "393451234567"),
            ("+378 (0) 66 66 12 12", "37866661212"),
            // Written twice, or as 00.
            ("+49 (0)030 123456", "4930123456"),
            ("+49 00 30 123456", "4930123456"),
            ("+44 (0) 07911 123456", "447911123456"),
            ("+48 (0) 0512 345 678", "48512345678"),
            ("+39 (0) 0347 123 4567", "393471234567"),
            // A prefix that does not begin with a zero.
            ("+39 (0) 0345 123 4567", "393451234567"),
            ("+39 (0) 06 1234 5678", "390612345678"),
            ("+375 (8) 029 123-45-67", "375291234567"),
            ("+375 (80) 29 123 45 67", "375291234567"),
            ("+375 (8) 29 123 45 67", "375291234567"),
            ("+375 (0) 29 123 45 67", "375291234567"),
            ("+7 (8) 701 123 45 67", "77011234567"),
            ("+993 (8) 66 12 34 56", "99366123456"),
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
            "+229 01 95 12 34 56",
            "+241 06 03 12 34",
            "+39 06 6982",
            "+39 0341 123456",
            "+39 02 1234 5678",
            "+375 8011234567",
            "+7 800 555 35 35",
            "+7 8442 12 34 56",
        ] {
            let digits = Phone::parse(text).unwrap().digits();
            assert_eq!(dialled(text), Some(digits), "{text}");
        }
    }

    /// In the whole world: the prefix of the country, a zero and two, before what exists there.
    #[test]
    fn r_19_no_country_is_dialled_with_a_prefix_inside() {
        let kinds = [PhoneNumberType::Mobile, PhoneNumberType::FixedLine];
        let mut wrong = Vec::new();
        let regions: Vec<Region> = PHONE_NUMBER_UTIL.get_supported_regions().collect();
        for (region, kind) in regions
            .iter()
            .flat_map(|region| kinds.map(|kind| (*region, kind)))
        {
            let Ok(number) = PHONE_NUMBER_UTIL.get_example_number_for_type_and_region(region, kind)
            else {
                continue;
            };
            let whole = joined(&number).unwrap();
            assert_eq!(super::dialled(whole), Some(whole), "{region:?}");
            let code = number.country_code.to_string();
            let rest = whole.digits()[code.len()..].to_owned();
            // As it is dialled there.
            let national = PHONE_NUMBER_UTIL.format(&number, PhoneNumberFormat::National);
            let national: String = national.chars().filter(char::is_ascii_digit).collect();
            let own = national.strip_suffix(&*rest).unwrap_or_default();
            for prefix in ["0", "00", own, &format!("{own}{own}"), &format!("{own}0")] {
                let Ok(phone) = Phone::parse(&format!("{code}{prefix}{rest}")) else {
                    continue;
                };
                // With a zero or a prefix it may be another number that exists.
                let other = split(phone).is_some_and(|other| {
                    (0..=other.number_of_leading_zeros.unwrap_or_default())
                        .map(|zeros| with_zeros(other.clone(), zeros))
                        .any(|other| {
                            PHONE_NUMBER_UTIL.is_valid_number(&other)
                                && joined(&other) != Some(whole)
                        })
                });
                let got = super::dialled(phone);
                if !other && got.is_some_and(|got| got != whole) {
                    wrong.push(format!("{region:?}: {code} ({prefix}) {rest}: {got:?}"));
                }
            }
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
    }

    fn same_again(phone: Phone) -> Result<(), TestCaseError> {
        if let Some(once) = super::dialled(phone) {
            prop_assert_eq!(super::dialled(once), Some(once));
        }
        Ok(())
    }

    proptest! {
        #[test]
        fn what_is_dialled_is_dialled_as_it_is(number in 1_000_000u64..999_999_999_999_999) {
            same_again(Phone::from_number(number).unwrap())?;
        }

        #[test]
        fn so_it_is_with_prefixes_behind_country_codes_that_exist(
            code in select(PHONE_NUMBER_UTIL.get_supported_calling_codes().collect::<Vec<_>>()),
            prefix in select(vec!["", "0", "00", "000", "8", "80", "800", "1", "01", "06", "08"]),
            rest in "[0-9]{4,11}",
        ) {
            if let Ok(phone) = Phone::parse(&format!("{code}{prefix}{rest}")) {
                same_again(phone)?;
            }
        }
    }
}
