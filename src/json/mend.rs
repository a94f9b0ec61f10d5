//! The mending: one pass over the bytes, each looked at a bounded number of times.

use super::LOST;
use serde::de::IgnoredAny;
use std::borrow::Cow;
use std::ops::Range;

/// How JavaScript and Python write a number that is none.
const NO_NUMBERS: [&[u8]; 3] = [b"NaN", b"Infinity", b"-Infinity"];
pub(super) const BYTE_ORDER_MARK: &[u8] = "\u{FEFF}".as_bytes();
/// Brackets within brackets; the parser takes 127.
pub(super) const DEEPEST: usize = 100;
/// A number of so many digits is the same after it went through a float.
const EXACT_DIGITS: usize = 15;
/// Characters of a member's name that are shown.
const LONGEST_NAME: usize = 40;

/// What becomes of a number that no machine number holds exactly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Numbers {
    /// A text: its digits are an id.
    AsText,
    /// Another number that is not whole: nobody reads it, but that it is a number.
    AsFloat,
}

/// A body that a strict parser can read, unless it is no JSON at all.
#[derive(Debug)]
pub struct Mended<'a> {
    /// The body, borrowed when there was nothing to mend.
    pub bytes: Cow<'a, [u8]>,
    /// Whether a text of it has [`LOST`] characters.
    pub is_damaged: bool,
    /// The beginning of the first damaged name of a member.
    pub damaged_name: Option<String>,
}

impl<'a> Mended<'a> {
    /// Mends a body.
    pub fn new(bytes: &'a [u8], numbers: Numbers) -> Self {
        Self::within(bytes, numbers, false)
    }

    /// Mends a text that stood in another body. Where that one was damaged, so is what has [`LOST`]
    /// characters already.
    pub fn within(bytes: &'a [u8], numbers: Numbers, is_damaged: bool) -> Self {
        let mut mender = Mender {
            bytes,
            numbers,
            at: 0,
            depth: 0,
            out: Vec::new(),
            copied: 0,
            damaged_name: None,
            is_damaged,
            within_damage: is_damaged,
        };
        mender.run();
        let bytes = if mender.copied == 0 {
            Cow::Borrowed(bytes)
        } else {
            mender.out.extend_from_slice(&bytes[mender.copied..]);
            Cow::Owned(mender.out)
        };
        Self {
            bytes,
            is_damaged: mender.is_damaged,
            damaged_name: mender.damaged_name,
        }
    }
}

struct Mender<'a> {
    bytes: &'a [u8],
    numbers: Numbers,
    at: usize,
    depth: usize,
    /// What was replaced, and all before it.
    out: Vec<u8>,
    /// Up to here the body is in `out`; nothing was replaced while it is 0.
    copied: usize,
    damaged_name: Option<String>,
    is_damaged: bool,
    /// Whether what stands for a lost character may be one.
    within_damage: bool,
}

impl Mender<'_> {
    fn run(&mut self) {
        if self.bytes.starts_with(BYTE_ORDER_MARK) {
            self.replace(0..BYTE_ORDER_MARK.len(), b"");
        }
        while let Some(byte) = self.bytes.get(self.at) {
            match byte {
                b'"' => self.text(),
                b'N' | b'I' | b'-' if self.no_number() => {}
                b'-' | b'0'..=b'9' => self.number(),
                b'[' | b'{' if self.depth == DEEPEST => self.pass_over(),
                b'[' | b'{' => {
                    self.depth += 1;
                    self.at += 1;
                }
                b']' | b'}' => {
                    self.depth = self.depth.saturating_sub(1);
                    self.at += 1;
                }
                _ => self.at += 1,
            }
        }
    }

    fn replace(&mut self, what: Range<usize>, with: &[u8]) {
        self.out
            .extend_from_slice(&self.bytes[self.copied..what.start]);
        self.out.extend_from_slice(with);
        self.copied = what.end;
        self.at = what.end;
    }

    fn text(&mut self) {
        let (begun, damaged) = (self.at + 1, self.is_damaged);
        self.is_damaged = false;
        self.at = begun;
        while let Some(byte) = self.bytes.get(self.at) {
            match byte {
                b'"' => break,
                b'\\' => self.escape(),
                0..0x20 => self.control(*byte),
                0x20..0x80 => self.at += 1,
                _ => self.character(),
            }
        }
        let end = self.at.min(self.bytes.len());
        self.at = end + 1;
        let may_be = self.is_damaged || self.within_damage;
        if may_be && self.damaged_name.is_none() && self.is_name() {
            let name = String::from_utf8_lossy(&self.bytes[begun..end]);
            let is_damaged = self.is_damaged || name.contains(LOST);
            let shown = || name.chars().take(LONGEST_NAME).collect();
            self.damaged_name = is_damaged.then(shown);
        }
        self.is_damaged |= damaged;
    }

    /// Whether what comes next makes the text a name.
    fn is_name(&self) -> bool {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        rest.trim_ascii_start().starts_with(b":")
    }

    fn escape(&mut self) {
        match self.bytes.get(self.at + 1) {
            Some(b'u') => self.code(),
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') | None => self.at += 2,
            // Of another language, and nobody knows which: what is lost is the backslash.
            Some(byte) if byte.is_ascii_alphanumeric() => self.lose(1),
            // A character that needed no escape, such as an apostrophe.
            Some(_) => self.replace(self.at..self.at + 1, b""),
        }
    }

    /// An escape such as `\u00e9`. A half of a surrogate pair is a character only with the other half.
    fn code(&mut self) {
        let (first, second) = (self.unit(self.at), self.unit(self.at + 6));
        match (first, second) {
            (Some(0xD800..=0xDBFF), Some(0xDC00..=0xDFFF)) => self.at += 12,
            (Some(0xD800..=0xDFFF), _) => self.lose(6),
            (Some(_), _) => self.at += 6,
            (None, _) => {
                let digits = self.bytes[self.at + 2..].iter().take(3);
                let cut = digits.take_while(|byte| byte.is_ascii_hexdigit()).count();
                self.lose(2 + cut);
            }
        }
    }

    /// A control character as it is, which a text may hold only as an escape.
    fn control(&mut self, byte: u8) {
        let escape = format!("\\u{byte:04x}");
        self.replace(self.at..self.at + 1, escape.as_bytes());
    }

    /// The code unit of the escape that stands at a place, such as `\u00e9`.
    fn unit(&self, at: usize) -> Option<u16> {
        let digits = self.bytes.get(at..at + 6)?.strip_prefix(b"\\u")?;
        let is_hex = digits.iter().all(u8::is_ascii_hexdigit);
        let digits = std::str::from_utf8(digits).ok().filter(|_| is_hex)?;
        u16::from_str_radix(digits, 16).ok()
    }

    fn character(&mut self) {
        let end = self.bytes.len().min(self.at + 4);
        let Some(chunk) = self.bytes[self.at..end].utf8_chunks().next() else {
            return;
        };
        match chunk.valid().chars().next() {
            Some(character) => self.at += character.len_utf8(),
            None => self.lose(chunk.invalid().len()),
        }
    }

    fn lose(&mut self, length: usize) {
        let mut lost = [0; LOST.len_utf8()];
        let lost = LOST.encode_utf8(&mut lost).as_bytes();
        self.replace(self.at..self.at + length, lost);
        self.is_damaged = true;
    }

    /// What is written where a number was to be and is none is nothing.
    fn no_number(&mut self) -> bool {
        let rest = &self.bytes[self.at..];
        let Some(word) = NO_NUMBERS.iter().find(|word| rest.starts_with(word)) else {
            return false;
        };
        self.replace(self.at..self.at + word.len(), b"null");
        true
    }

    fn number(&mut self) {
        let begun = self.at;
        let is_part = |byte: &&u8| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E');
        let length = self.bytes[begun..].iter().take_while(is_part).count();
        self.at += length;
        let Ok(token) = std::str::from_utf8(&self.bytes[begun..self.at]) else {
            return;
        };
        let is_number = || serde_json::from_str::<IgnoredAny>(token).is_ok();
        if fits(token) || !is_number() {
            return;
        }
        // An id that went through a float is still an id: 7.0 is 7.
        let whole = match token.split_once('.') {
            Some((whole, zeros)) if zeros.bytes().all(|byte| byte == b'0') => whole,
            _ => token,
        };
        let written = match self.numbers {
            Numbers::AsText if fits(whole) => whole.to_owned(),
            Numbers::AsText => format!("\"{whole}\""),
            Numbers::AsFloat => "0.5".to_owned(),
        };
        self.replace(begun..begun + length, written.as_bytes());
    }

    /// What is deeper than anything that is read is nothing.
    fn pass_over(&mut self) {
        let (begun, mut open) = (self.at, 0usize);
        let (mut quoted, mut escaped) = (false, false);
        for (length, byte) in self.bytes[begun..].iter().enumerate() {
            match byte {
                _ if escaped => escaped = false,
                b'\\' if quoted => escaped = true,
                b'"' => quoted = !quoted,
                b'[' | b'{' if !quoted => open += 1,
                b']' | b'}' if !quoted => open -= 1,
                _ => {}
            }
            if open == 0 {
                return self.replace(begun..begun + length + 1, b"null");
            }
        }
        // It has no end, which is for the parser to say.
        self.at = self.bytes.len();
    }
}

/// Whether a machine number is this very number, and no other one is.
fn fits(token: &str) -> bool {
    if token.parse::<i64>().is_ok() || token.parse::<u64>().is_ok() {
        return true;
    }
    let mantissa = token.split(['e', 'E']).next().unwrap_or_default();
    let digits = mantissa.bytes().filter(u8::is_ascii_digit);
    let digits = digits.skip_while(|digit| *digit == b'0').count();
    let number = token.parse::<f64>().unwrap_or(f64::INFINITY);
    digits <= EXACT_DIGITS && number.is_finite() && (number != 0.0 || digits == 0)
}
