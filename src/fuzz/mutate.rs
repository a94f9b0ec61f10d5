//! Changes inputs without losing their shape: JSON stays JSON most of the time, lines stay lines.

use super::split;
use fastrand::Rng;
use serde_json::{Map, Value, json};

/// The longest input.
const LONGEST: usize = 64 * 1024;

/// An input with one to four things changed.
pub fn mutate(input: &[u8], seed: u64) -> Vec<u8> {
    let mut dice = Rng::with_seed(seed);
    let (head, body) = split(input);
    let mut changed = head.to_vec();
    if input.len() > head.len() {
        if dice.u8(..16) == 0 {
            bytes(&mut changed, &mut dice);
        }
        changed.extend(b"\n\n");
        changed.extend(change(body, &mut dice));
    } else {
        changed = change(input, &mut dice);
    }
    changed.truncate(LONGEST);
    changed
}

fn change(body: &[u8], dice: &mut Rng) -> Vec<u8> {
    let rounds = dice.usize(1..=4);
    let Ok(mut json) = serde_json::from_slice::<Value>(body) else {
        let mut body = body.to_vec();
        (0..rounds).for_each(|_| lines(&mut body, dice));
        return body;
    };
    for _ in 0..rounds {
        let nodes = count(&json);
        let place = dice.usize(..nodes);
        node(&mut json, place, dice);
    }
    let mut text = json.to_string().into_bytes();
    match dice.u8(..8) {
        0 => bytes(&mut text, dice),
        1 => spelled(&mut text, dice),
        _ => {}
    }
    text
}

fn count(json: &Value) -> usize {
    1 + match json {
        Value::Array(items) => items.iter().map(count).sum(),
        Value::Object(members) => members.values().map(count).sum(),
        _ => 0,
    }
}

/// Changes the value at `place`, counted from the outermost one.
fn node(json: &mut Value, place: usize, dice: &mut Rng) {
    if place == 0 {
        return edit(json, dice);
    }
    let mut left = place - 1;
    let inner: Vec<&mut Value> = match json {
        Value::Array(items) => items.iter_mut().collect(),
        Value::Object(members) => members.values_mut().collect(),
        _ => return,
    };
    for value in inner {
        let size = count(value);
        if left < size {
            return node(value, left, dice);
        }
        left -= size;
    }
}

fn edit(json: &mut Value, dice: &mut Rng) {
    match (dice.u8(..6), &mut *json) {
        (0, Value::Array(items)) if !items.is_empty() => {
            let at = dice.usize(..items.len());
            let copy = items[at].clone();
            items.extend(std::iter::repeat_n(copy, dice.usize(1..40)));
        }
        (1, Value::Array(items)) if !items.is_empty() => {
            items.remove(dice.usize(..items.len()));
        }
        (0, Value::Object(members)) => {
            members.insert(name(members, dice), odd(dice));
        }
        (1 | 2, Value::Object(members)) => {
            let name = name(members, dice);
            members.remove(&name);
        }
        (3, Value::Object(members)) if members.len() > 1 => {
            let (one, other) = (name(members, dice), name(members, dice));
            let value = members.get(&one).cloned().unwrap_or_default();
            members.insert(other, value);
        }
        (4, Value::String(text)) => {
            let at = dice.usize(..=text.chars().count());
            let at = text.char_indices().nth(at).map_or(text.len(), |(at, _)| at);
            text.insert_str(at, odd(dice).as_str().unwrap_or("0"));
        }
        (5, value) => {
            let inner = value.take();
            *value = match dice.u8(..3) {
                0 => json!([inner]),
                1 => json!({ "value": inner }),
                _ => Value::String(inner.to_string()),
            };
        }
        (_, value) => *value = odd(dice),
    }
}

/// The name of a member, of this object or known from others.
fn name(members: &Map<String, Value>, dice: &mut Rng) -> String {
    let own = members.keys().nth(dice.usize(..=members.len()));
    own.cloned().unwrap_or_else(|| {
        let known = ["msg_id", "to", "type", "status", "id", "data", "error", ""];
        known[dice.usize(..known.len())].to_owned()
    })
}

/// A value that readers rarely meet.
fn odd(dice: &mut Rng) -> Value {
    match dice.u8(..24) {
        0 => Value::Null,
        1 => json!(true),
        2 => json!(0),
        3 => json!(-1),
        4 => json!(i64::MIN),
        5 => json!(u64::MAX),
        6 => json!(1e308),
        7 => json!(-0.0),
        8 => json!(9_007_199_254_740_993_i64),
        9 => json!(""),
        10 => json!(" \t\r\n"),
        11 => json!("x".repeat(dice.usize(500..5000))),
        12 => json!("\0\u{1b}[2J\u{7f}\u{85}"),
        13 => json!("\u{202e}٣\u{feff}🙂é\u{2028}"),
        14 => json!(format!("+1202555{:04}", dice.u16(..10_000))),
        15 => json!([]),
        16 => json!({}),
        17 => (0..dice.u8(5..110)).fold(json!(1), |inner, _| json!([inner])),
        18 => json!("{{1}} {{2}} %s ${HOME}"),
        19 => json!("https://x.example/{{1}}?a=b#c"),
        20 => json!("2024-02-30T25:61:61.999999999+99:99"),
        21 => json!("-9223372036854775808"),
        22 => json!(dice.i64(..)),
        _ => json!(format!("M{}", dice.u8(..12))),
    }
}

/// What JSON text can say and a tree of values cannot: names twice, huge numbers, lone surrogates.
fn spelled(text: &mut Vec<u8>, dice: &mut Rng) {
    let marks: &[(&[u8], &[&str])] = &[
        (
            b"{\"",
            &[
                "\"msg_id\":1,",
                "\"to\":\"1\",",
                "\"type\":null,",
                "\"data\":{},",
            ],
        ),
        (
            b"\":",
            &[
                "1e999,\"a\":",
                "[[[[",
                "-",
                "123456789012345678901234567890,\"b\":",
            ],
        ),
        (b"\"", &["\\ud800", "\\u0000", "\\", "\u{1}"]),
    ];
    let (mark, insertions) = marks[dice.usize(..marks.len())];
    let places: Vec<usize> = text
        .windows(mark.len())
        .enumerate()
        .filter(|(_, window)| *window == mark)
        .map(|(at, _)| at)
        .collect();
    if places.is_empty() {
        return;
    }
    let start = places[dice.usize(..places.len())];
    let at = start + if mark == b"{\"" { 1 } else { mark.len() };
    let insertion = insertions[dice.usize(..insertions.len())];
    text.splice(at..at, insertion.bytes());
}

fn bytes(text: &mut Vec<u8>, dice: &mut Rng) {
    let at = dice.usize(..=text.len());
    let end = (at + dice.usize(..16)).min(text.len());
    match dice.u8(..7) {
        0 => text.truncate(at),
        1 => drop(text.drain(at..end)),
        2 => {
            let copy = text[at..end].to_vec();
            text.splice(at..at, copy);
        }
        3 => {
            let odd: [&[u8]; 6] = [
                b"\xff",
                b"\xc3",
                b"\xed\xa0\x80",
                b"\0",
                b"\xef\xbb\xbf",
                b"\xf4\x90\x80\x80",
            ];
            text.splice(at..at, odd[dice.usize(..odd.len())].iter().copied());
        }
        4 => text.extend(b"{}"),
        _ => {
            if let Some(byte) = text.get_mut(at) {
                *byte ^= 1 << dice.u8(..8);
            }
        }
    }
}

/// What values after a `=` may be instead.
const WORDS: [&str; 20] = [
    "",
    "\"",
    "'",
    "true",
    "off",
    "-1",
    "99999999999999999999d",
    "1e9",
    "0",
    "[\"a\", 1]",
    "{ env = \"A\" }",
    "127.0.0.1:3002",
    "redis://:pw-s3cret@h:6379/0",
    "https://u:pw-s3cret@h/p",
    "Basic a2V5OnM=",
    "256MB",
    "\u{202e}é🙂",
    "+1 202 555 0100",
    "1979-05-27T07:32:00Z",
    "[[account]]",
];

/// Changes a text of lines.
fn lines(text: &mut Vec<u8>, dice: &mut Rng) {
    let mut all: Vec<Vec<u8>> = text
        .split(|byte| *byte == b'\n')
        .map(<[u8]>::to_vec)
        .collect();
    let (at, other) = (dice.usize(..all.len()), dice.usize(..all.len()));
    match dice.u8(..7) {
        0 => drop(all.remove(at)),
        1 => all.insert(at, all[other].clone()),
        2 => all.swap(at, other),
        3 | 4 => {
            let name = all[at].iter().position(|byte| *byte == b'=');
            all[at].truncate(name.map_or(0, |at| at + 1));
            all[at].extend(WORDS[dice.usize(..WORDS.len())].bytes());
        }
        5 => {
            let half = all[other].len() / 2;
            let tail = all[other].split_off(half);
            all[at].extend(tail);
        }
        _ => bytes(&mut all[at], dice),
    }
    *text = all.join(&b'\n');
}
