//! One human number, however it is spelled (cases R-18).
//!
//! In three countries WhatsApp names people by another number than the one that is dialled: Mexico
//! with or without the `1` that its plan dropped in 2019, Argentina with or without the `9` of
//! mobile numbers, Brazil with or without the ninth digit. What is dialled and shown stays the
//! number as it came. Opt-outs, the message that a reply answers, and evidence look at all of a
//! person's numbers. Rows stay keyed by plain numbers, so that replicas and files of 0.1.0 agree.

use super::Phone;

/// The numbers of one person: the canonical one first, then the other one where there is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Person {
    key: Phone,
    other: Option<Phone>,
}

/// Country code and what may stand between it and the ten digits that follow.
const INSERTED: [(u64, u64); 2] = [(52, 1), (54, 9)];
const TEN_DIGITS: u64 = 10_000_000_000;
const EIGHT_DIGITS: u64 = 100_000_000;

impl Person {
    /// Whose number this is.
    pub fn of(phone: Phone) -> Self {
        let of = |key, other| Self {
            key: Phone::from_number(key).unwrap_or(phone),
            other: Phone::from_number(other).ok(),
        };
        let number = phone.number();
        let (head, tail) = (number / TEN_DIGITS, number % TEN_DIGITS);
        for (country, inserted) in INSERTED {
            let long = 10 * country + inserted;
            // No number within these countries begins with a zero.
            if (head == country || head == long) && tail >= TEN_DIGITS / 10 {
                return of(country * TEN_DIGITS + tail, long * TEN_DIGITS + tail);
            }
        }
        // Two digits of the area, then eight that begin with 6 to 9: a mobile number. A landline
        // with a nine before it is another person's mobile number.
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

    /// The one number that stands for the person.
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
        ] {
            let phone = Phone::parse(digits).unwrap();
            let numbers: Vec<_> = Person::of(phone).numbers().collect();
            assert_eq!((Person::of(phone).key(), numbers), (phone, vec![phone]));
        }
    }

    proptest::proptest! {
        #[test]
        fn all_numbers_of_a_person_are_of_the_same_person(number in 1_000_000u64..999_999_999_999_999) {
            let person = Person::of(Phone::from_number(number).unwrap());
            proptest::prop_assert!(person.numbers().any(|phone| phone.number() == number));
            for phone in person.numbers() {
                proptest::prop_assert_eq!(Person::of(phone), person);
            }
        }

        #[test]
        fn so_it_is_where_spellings_differ(country in 0usize..3, tail in 0u64..99_999_999_999) {
            let number = [52, 54, 55][country] * 100_000_000_000 + tail;
            for number in [number, number / 10] {
                let person = Person::of(Phone::from_number(number).unwrap());
                for phone in person.numbers() {
                    proptest::prop_assert_eq!(Person::of(phone), person);
                }
            }
        }
    }
}
