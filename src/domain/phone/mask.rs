//! Phone numbers that others wrote, hidden where people read: in ids and in free text.
//!
//! Ids must stay readable, so that they can be looked for; free text need not, and every run of
//! digits that is long enough is hidden there. What is hidden keeps its length, and the first two and
//! the last two digits.

use std::ops::{Range, RangeInclusive};

/// Masks what may be a phone number in an identifier (cases R-23):
///
/// - 9 to 15 digits in a row, whatever stands beside them;
/// - 7 and 8 digits in a row that may be a number with its country code: where people have such
///   short numbers, and behind or before a letter also where only some lines have;
/// - 7 to 15 digits after a plus sign, also with separators between them;
/// - 10 to 15 digits with separators between them, in groups of at most 8, the first of 1 to 3.
///
/// Dates, counters of up to 8 digits, UUIDs and other hexadecimal ids stay, so that they can still be
/// looked for (design.md G6).
pub fn mask_digits(text: &str) -> String {
    let mut masked = String::with_capacity(text.len());
    let (mut before, mut rest) = (None, text);
    while let Some(first) = rest.chars().next() {
        let begins = !before.is_some_and(|c: char| c.is_ascii_alphanumeric());
        let (length, is_number) = match begins.then(|| id_length(rest)).flatten() {
            Some(length) => (length, false),
            None if first.is_ascii_digit() => number_length(before, rest),
            None => (first.len_utf8(), false),
        };
        let (piece, after) = rest.split_at(length);
        if is_number {
            flush(&mut masked, &mut piece.to_owned());
        } else {
            masked.push_str(piece);
        }
        before = piece.chars().next_back();
        rest = after;
    }
    masked
}

/// How long the UUID or the hexadecimal id is with which a text begins.
fn id_length(text: &str) -> Option<usize> {
    if is_uuid(text) {
        return Some(UUID);
    }
    let end = text.find(|c: char| !c.is_ascii_alphanumeric());
    let word = &text[..end.unwrap_or(text.len())];
    is_hexadecimal(word).then_some(word.len())
}

/// How much of a text that begins with a digit goes together, and whether it is masked.
fn number_length(before: Option<char>, text: &str) -> (usize, bool) {
    let mut groups = groups(text);
    let digits = |groups: &[Range<usize>]| groups.iter().map(Range::len).sum::<usize>();
    let end = |groups: &[Range<usize>]| groups.last().map_or(0, |group| group.end);
    let shorten = |groups: &mut Vec<Range<usize>>| {
        while groups.len() > 1 && digits(groups) > 15 {
            groups.pop();
        }
    };
    if before == Some('+') {
        shorten(&mut groups);
        if matches!(digits(&groups), 7..=15) {
            return (end(&groups), true);
        }
    }
    if let Some(date) = date(text, &groups) {
        return (end(&groups[..date]), false);
    }
    // What stands there is looked at in its turn.
    let other = (1..groups.len())
        .find(|&at| groups[at].len() > LONGEST_GROUP || date(text, &groups[at..]).is_some());
    groups.truncate(other.unwrap_or(groups.len()));
    shorten(&mut groups);
    let first = groups[0].len();
    if groups.len() > 1 && first <= 3 && digits(&groups) >= 10 {
        return (end(&groups), true);
    }
    let after = text[first..].chars().next();
    let touched = [before, after]
        .into_iter()
        .flatten()
        .any(char::is_alphabetic);
    (first, may_be_a_number(&text[..first], touched))
}

/// The most digits of a group; longer ones are masked by themselves.
const LONGEST_GROUP: usize = 8;
/// Groups looked at together: those of a number, and of a date behind it.
const MOST_GROUPS: usize = 18;

/// The digits with which a text begins, and those that follow with little between them.
fn groups(text: &str) -> Vec<Range<usize>> {
    let (mut groups, mut at) = (Vec::new(), 0);
    while groups.len() < MOST_GROUPS {
        let digits = text[at..].bytes().take_while(u8::is_ascii_digit).count();
        if digits == 0 || at > 0 && id_length(&text[at..]).is_some() {
            break;
        }
        groups.push(at..at + digits);
        let gap = text[at + digits..].chars().take(MOST_JOINED);
        let gap: usize = gap.take_while(|c| joins(*c)).map(char::len_utf8).sum();
        if gap == 0 {
            break;
        }
        at += digits + gap;
    }
    groups
}

/// Of how many groups the date is with which a number begins: a year, a month and a day.
fn date(text: &str, groups: &[Range<usize>]) -> Option<usize> {
    let is = |digits: Option<&str>, length, values: RangeInclusive<u32>| {
        digits.is_some_and(|digits| {
            digits.len() == length && digits.parse().is_ok_and(|value| values.contains(&value))
        })
    };
    let year = |digits| is(digits, 4, 1900..=2099);
    let month = |digits| is(digits, 2, 1..=12);
    let day = |digits| is(digits, 2, 1..=31);
    let [a, b, c] = [0, 1, 2].map(|at| groups.get(at).map(|group| &text[group.clone()]));
    if year(a) && month(b) && day(c) || year(c) && (month(a) && day(b) || day(a) && month(b)) {
        return Some(3);
    }
    let whole = a.filter(|digits| digits.len() == 8)?;
    (year(whole.get(..4)) && month(whole.get(4..6)) && day(whole.get(6..))).then_some(1)
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
/// Where another line may have so few: beside a letter these are hidden too.
const FEW: [&str; 27] = [
    "27", "31", "39", "40", "43", "46", "47", "48", "49", "53", "61", "63", "64", "82", "95", "98",
    "352", "358", "386", "598", "676", "678", "685", "686", "688", "852", "971",
];

fn may_be_a_number(digits: &str, touched: bool) -> bool {
    let begins = |countries: &[&str]| countries.iter().any(|code| digits.starts_with(code));
    match digits.len() {
        9..=15 => true,
        7 | 8 => begins(&SHORT) || touched && begins(&FEW),
        _ => false,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_that_stands_alone_is_masked_and_what_is_none_stays() {
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
            ("u39066982-x", "u39****82-x"),
            ("u39066982", "u39****82"),
            ("39066982x", "39****82x"),
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
    fn r_23_a_number_with_separators_is_masked_in_ids_and_dates_and_counters_stay() {
        for (text, shown) in [
            ("camp+1 202 555 0143", "camp+1 2** *** **43"),
            ("u+44 7911 123456", "u+44 **** ****56"),
            ("u+44 (0) 7911 123456-x", "u+44 (*) **** ****56-x"),
            ("+39066982", "+39****82"),
            ("t_1-202-555-0143", "t_1-2**-***-**43"),
            ("1.202.555.0143", "1.2**.***.**43"),
            ("u_44_7911_123456", "u_44_****_****56"),
            ("u91-98765-43210.2", "u91-*****-****0.2"),
            ("33-6-12-34-56-78", "33-*-**-**-**-78"),
            ("(202) 555-0143", "(20*) ***-**43"),
            ("45-20123456", "45-******56"),
            ("2026-11-29-1-202-555-0143", "2026-11-29-1-2**-***-**43"),
            ("1-202-555-0143_2026-11-29", "1-2**-***-**43_2026-11-29"),
            ("7-12025550143-7", "7-12*******43-7"),
        ] {
            assert_eq!(mask_digits(text), shown);
        }
        for id in [
            "2026-11-29",
            "29.11.2026",
            "c-2026-11-29-000123",
            "7-2026-11-29-0012",
            "d20261129x",
            "c-12-20261129-5",
            "2026-11-29T09:14:05.123Z",
            "m00012345",
            "order-12345-678",
            "order-12345678",
            "run_7_of_12_345",
            "user-1000-2000-3000",
            "2-27ab8b96-1234-4d7c-8bcf-123456789012",
            "12-3456-78",
            "1-64f1a2b3123456789012c4d5",
            "v1.2.3+45",
        ] {
            assert_eq!(mask_digits(id), id);
        }
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
        fn masking_an_id_never_panics(text in ".{0,60}|[0-9a-f-]{30,40}|[0-9+ ._a-]{0,60}") {
            let shown = mask_digits(&text);
            proptest::prop_assert_eq!(shown.chars().count(), text.chars().count());
        }
    }
}
