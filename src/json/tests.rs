//! Every kind of damage, and that nothing else is lost by it.

use super::mend::{BYTE_ORDER_MARK, DEEPEST};
use super::*;
use proptest::prelude::*;
use serde_json::json;

fn value(text: impl AsRef<[u8]>) -> Value {
    read(text.as_ref()).unwrap().value
}

#[test]
fn r_24_half_a_character_is_lost_alone() {
    let cases: [(&[u8], &str); 16] = [
        (br#""a\ud83d""#, "a\u{FFFD}"),
        (br#""a\uDE00b""#, "a\u{FFFD}b"),
        (br#""\ud83d\ud83d\ude00""#, "\u{FFFD}\u{1F600}"),
        (br#""\ud83d\n""#, "\u{FFFD}\n"),
        (br#""\\ud83d\ud83dx""#, "\\ud83d\u{FFFD}x"),
        (br#""A\ud83""#, "A\u{FFFD}"),
        (br#""\ud83d\ud""#, "\u{FFFD}\u{FFFD}"),
        (br#""\u""#, "\u{FFFD}"),
        (br#""\u12 o'clock""#, "\u{FFFD} o'clock"),
        (br#""\u00e\n""#, "\u{FFFD}\n"),
        (br#""\x41""#, "\u{FFFD}x41"),
        (br#""C:\dir\0""#, "C:\u{FFFD}dir\u{FFFD}0"),
        (b"\"\\\xffb\"", "\u{FFFD}b"),
        (b"\"a\xffb\"", "a\u{FFFD}b"),
        (b"\"\xf0\x9f\x98\"", "\u{FFFD}"),
        (
            b"\"\xed\xa0\x80\xc3\xa9\"",
            "\u{FFFD}\u{FFFD}\u{FFFD}\u{e9}",
        ),
    ];
    for (body, expected) in cases {
        let tree = read(body).unwrap();
        assert_eq!(tree.value, json!(expected), "{}", body.escape_ascii());
        assert!(tree.is_damaged);
    }
    let whole = read(r#""\ud83d\ude00 �""#.as_bytes()).unwrap();
    assert!(
        !whole.is_damaged,
        "what came as U+FFFD is no damage of ours"
    );
}

/// What a strict reader refuses and what can mean one thing only is read as that, and is no damage.
#[test]
fn r_24_what_needed_an_escape_or_no_escape_is_itself() {
    let cases = [
        ("a\nb\tc\rd", "a\nb\tc\rd"),
        ("\0\u{1f}\u{7f}", "\0\u{1f}\u{7f}"),
        (r"it\'s 50\% \& more", "it's 50% & more"),
        (r"\é\ ", "é "),
        ("one \\\nline", "one \nline"),
        (r#"\"\\\/\b\f\n\r\tA"#, "\"\\/\u{8}\u{c}\n\r\tA"),
    ];
    for (written, expected) in cases {
        let tree = read(format!("{{\"a\":\"{written}\"}}").as_bytes()).unwrap();
        assert_eq!(tree.value["a"], expected, "{written:?}");
        assert!(!tree.is_damaged, "{written:?}");
    }
}

#[test]
fn r_75_a_number_that_is_none_is_nothing() {
    let body = r#"{"a":NaN,"b":[Infinity,-Infinity,-1],"c":"NaN -Infinity"}"#;
    let expected = json!({ "a": null, "b": [null, null, -1], "c": "NaN -Infinity" });
    assert_eq!(value(body), expected);
    for body in ["-NaN", "1NaN", "NaNa", "nan", "--Infinity", "{NaN:1}"] {
        assert!(read(body.as_bytes()).is_err(), "{body}");
    }
}

#[test]
fn r_24_a_damaged_name_is_told() {
    let named = |body: &[u8]| Mended::new(body, Numbers::AsFloat).damaged_name;
    assert_eq!(
        named(b"{\"a\":\"\xff\",\"msg_\xff\" : 1}").as_deref(),
        Some("msg_\u{FFFD}")
    );
    assert_eq!(named(br#"{"a":"\ud83d"}"#), None);
}

#[test]
fn r_25_a_byte_order_mark_is_passed_over() {
    assert_eq!(value("\u{FEFF}{\"a\":1}"), json!({ "a": 1 }));
    assert!(read("\u{FEFF}".as_bytes()).is_err());
}

#[test]
fn r_75_numbers_without_measure_are_read() {
    let cases = [
        ("18446744073709551615", json!(u64::MAX)),
        ("18446744073709551616", json!("18446744073709551616")),
        ("-9223372036854775809", json!("-9223372036854775809")),
        ("12345678901234567.0", json!(12_345_678_901_234_567_u64)),
        ("1e999999", json!("1e999999")),
        ("1e-999", json!("1e-999")),
        ("0.5", json!(0.5)),
        ("7.0", json!(7.0)),
        ("0e5", json!(0.0)),
    ];
    for (token, expected) in cases {
        assert_eq!(value(format!("[{token}]")), json!([expected]), "{token}");
    }
    for token in ["01", "1e", "--1", "1.2.3", "99999999999999999999x"] {
        assert!(read(token.as_bytes()).is_err(), "{token}");
    }
}

#[test]
fn r_75_depth_hurts_nobody() {
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        for levels in [DEEPEST - 2, 200, 100_000] {
            let deep = format!("{}\"]\\\"\"{}", open.repeat(levels), close.repeat(levels));
            let read = value(format!("{{\"x\":{deep},\"id\":7}}"));
            assert_eq!(read["id"], 7, "{levels}");
        }
    }
    assert!(read("[".repeat(100_000).as_bytes()).is_err());
}

/// Any JSON, with members of two names at every level.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        "\\PC{0,6}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        let list = prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from);
        let members = prop::collection::btree_map("[a-c]{1,2}", inner, 0..4);
        prop_oneof![list, members.prop_map(|all| all.into_iter().collect())]
    })
}

/// What stands in a member that nobody reads.
fn any_damage() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        Just(br#""\ud83d""#.to_vec()),
        "\"[a-z]\\\\(u[0-9a-f]{0,3}|[acdeghx0-9'%;]|u[0-9a-f]{4})\"".prop_map(String::into_bytes),
        (0u8..0x20).prop_map(|byte| vec![b'"', byte, b'"']),
        prop::sample::select(vec!["NaN", "Infinity", "-Infinity"]).prop_map(|word| word.into()),
        (128u8..).prop_map(|byte| vec![b'"', b'a', byte, b'z', b'"']),
        "-?[1-9][0-9]{25,400}".prop_map(String::into_bytes),
        "[1-9]e[1-9][0-9]{4,6}".prop_map(String::into_bytes),
        (128usize..400).prop_map(|n| [b"[".repeat(n), b"]".repeat(n)].concat()),
    ]
}

proptest! {
    #[test]
    fn what_is_not_damaged_is_read(json in any_json(), damage in any_damage(), mark in any::<bool>()) {
        let mut body = if mark { BYTE_ORDER_MARK.to_vec() } else { Vec::new() };
        body.extend_from_slice(b"{\"x\":");
        body.extend_from_slice(&damage);
        body.extend_from_slice(format!(",\"y\":{json}}}").as_bytes());
        let tree = read(&body).unwrap();
        prop_assert_eq!(&tree.value["y"], &json);
        prop_assert_eq!(&read(json.to_string().as_bytes()).unwrap().value, &json);
    }

    #[test]
    fn two_numbers_never_become_one(one in "[1-9][0-9]{0,39}", other in "[1-9][0-9]{0,39}") {
        let text = |token: &str| match value(token) {
            Value::String(text) => text,
            number => number.to_string(),
        };
        prop_assert_eq!(text(&one), one.clone());
        prop_assert_eq!(text(&one) == text(&other), one == other);
    }

    #[test]
    fn any_bytes_are_mended_once(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let once = Mended::new(&bytes, Numbers::AsText).bytes.into_owned();
        let twice = Mended::new(&once, Numbers::AsText);
        prop_assert!(matches!(twice.bytes, Cow::Borrowed(_)) || once.starts_with(BYTE_ORDER_MARK));
        // A control character takes most room as an escape.
        prop_assert!(once.len() <= 6 * bytes.len() + 4);
    }
}
