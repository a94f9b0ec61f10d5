//! One human number, however it is spelled (cases R-18).
//!
//! In some countries WhatsApp names people by another number than the one that is dialled: Mexico
//! with or without the `1` that its plan dropped in 2019, Argentina with or without the `9` of
//! mobile numbers, Brazil with or without the ninth digit, Benin and the Ivory Coast with or without
//! the two digits that their plans put before the old eight. What is dialled and shown stays the
//! number as it came. Opt-outs, the message that a reply answers, evidence, the order of what
//! MoEngage is told and search look at all of a person's numbers. Rows stay keyed by plain numbers,
//! so that replicas and files of 0.1.0 agree.

use super::Phone;

/// The numbers of one person: the canonical one first, then the other one where there is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Person {
    key: Phone,
    other: Option<Phone>,
}

/// What stands before the rest of a short and of a long number of the same person, the power of ten
/// that is as long as the rest, and whether there may be both. The same in Lua: `numbers_of`.
type Rule = (u64, u64, u64, fn(u64) -> bool);

const RULES: [Rule; 6] = [
    // No number within these two countries begins with a zero.
    (52, 521, TEN_DIGITS, |rest| rest >= TEN_DIGITS / 10),
    (54, 549, TEN_DIGITS, |rest| rest >= TEN_DIGITS / 10),
    // Since November 2024; by what a number of before began with.
    (229, 22_901, EIGHT_DIGITS, |rest| {
        matches!(rest / 10_000_000, 2 | 4 | 5 | 6 | 9)
    }),
    // Since January 2021, mobile numbers; the second digit tells the operator, which got a prefix.
    (225, 22_501, EIGHT_DIGITS, |rest| ivorian(rest, 0..=3)),
    (225, 22_505, EIGHT_DIGITS, |rest| ivorian(rest, 4..=6)),
    (225, 22_507, EIGHT_DIGITS, |rest| ivorian(rest, 7..=9)),
];
const TEN_DIGITS: u64 = 10_000_000_000;
const EIGHT_DIGITS: u64 = 100_000_000;

/// Whether eight digits were a mobile number of one of the operators: 1, 2 and 3 began others.
fn ivorian(rest: u64, second: std::ops::RangeInclusive<u64>) -> bool {
    !(1..=3).contains(&(rest / 10_000_000)) && second.contains(&(rest / 1_000_000 % 10))
}

impl Person {
    /// Whose number this is.
    pub fn of(phone: Phone) -> Self {
        let number = phone.number();
        let of = |short: u64, long: u64| Self {
            key: Phone::from_number(short).unwrap_or(phone),
            other: Phone::from_number(long).ok(),
        };
        for (short, long, unit, both) in RULES {
            let (head, rest) = (number / unit, number % unit);
            if (head == short || head == long) && both(rest) {
                return of(short * unit + rest, long * unit + rest);
            }
        }
        // Brazil: two digits of the area, then eight that begin with 6 to 9: a mobile number. A
        // landline with a nine before it is another person's mobile number.
        let eight = number % EIGHT_DIGITS;
        let area = match number / EIGHT_DIGITS {
            head @ 5510..=5599 => Some(head),
            head @ 55_100..=55_999 if head % 10 == 9 => Some(head / 10),
            _ => None,
        };
        if let Some(area) = area
            && eight >= 6 * (EIGHT_DIGITS / 10)
        {
            let long = (10 * area + 9) * EIGHT_DIGITS + eight;
            return of(area * EIGHT_DIGITS + eight, long);
        }
        Self {
            key: phone,
            other: None,
        }
    }

    /// The one number that stands for the person: the shorter one.
    pub fn key(self) -> Phone {
        self.key
    }

    /// All numbers under which the person is known.
    pub fn numbers(self) -> impl Iterator<Item = Phone> {
        [Some(self.key), self.other].into_iter().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn person(digits: &str) -> Person {
        Person::of(Phone::parse(digits).unwrap())
    }

    #[test]
    fn r_18_two_spellings_of_one_human_number_are_one_person_both_ways() {
        for (one, other) in [
            ("525512345678", "5215512345678"),
            ("526641234567", "5216641234567"),
            ("541123456789", "5491123456789"),
            ("542214567890", "5492214567890"),
            ("551187654321", "5511987654321"),
            ("556199998888", "5561999998888"),
            ("554761234567", "5547961234567"),
            ("22995123456", "2290195123456"),
            ("22921301234", "2290121301234"),
            ("22507081234", "2250707081234"),
            ("22548123456", "2250748123456"),
            ("22505123456", "2250505123456"),
            ("22564123456", "2250564123456"),
            ("22501234567", "2250101234567"),
            ("22543123456", "2250143123456"),
        ] {
            assert_eq!(person(one), person(other), "{one}");
            let key = person(other).key();
            let numbers: Vec<_> = person(one).numbers().map(Phone::digits).collect();
            assert_eq!(
                (key.digits(), numbers),
                (one.into(), vec![one.into(), other.into()])
            );
        }
    }

    #[test]
    fn who_may_be_two_people_stays_two() {
        for digits in [
            // A landline of Brazil, and what would be a mobile number of it.
            "551123456789",
            "5511923456789",
            "551151234567",
            // Too short, too long, other countries.
            "52155123456",
            "52155123456789",
            "5255123456",
            "54911234567",
            "12025550143",
            "447911123456",
            "5215012345",
            "5912345678",
            "56912345678",
            // Of another operator, a landline, what was never a number before, other lengths.
            "2250107081234",
            "2250507081234",
            "2252720304050",
            "22520304050",
            "2290111234567",
            "2290131234567",
            "22985751234",
            "2299512345",
            "22801234567",
        ] {
            let phone = Phone::parse(digits).unwrap();
            let numbers: Vec<_> = Person::of(phone).numbers().collect();
            assert_eq!((Person::of(phone).key(), numbers), (phone, vec![phone]));
        }
    }

    proptest! {
        #[test]
        fn all_numbers_of_a_person_are_of_the_same_person(number in 1_000_000u64..999_999_999_999_999) {
            let person = Person::of(Phone::from_number(number).unwrap());
            prop_assert!(person.numbers().any(|phone| phone.number() == number));
            for phone in person.numbers() {
                prop_assert_eq!(Person::of(phone), person);
            }
        }

        #[test]
        fn so_it_is_where_spellings_differ(head in prop::sample::select(vec![52, 54, 55, 225, 22_501, 22_505, 22_507, 229, 22_901]), tail in 0u64..99_999_999_999) {
            for number in [head * 100_000_000_000 + tail, head * 10_000_000_000 + tail / 10, head * 100_000_000 + tail / 1000] {
                if number > 999_999_999_999_999 { continue; }
                let person = Person::of(Phone::from_number(number).unwrap());
                for phone in person.numbers() {
                    prop_assert_eq!(Person::of(phone), person);
                }
            }
        }
    }
}
