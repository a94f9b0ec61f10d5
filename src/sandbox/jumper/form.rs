//! Reads the two body encodings `send-message` accepts (contracts/jumper.md 4.1) from a buffered body.
//! A body that is neither yields no fields; missing fields are the caller's matter. Never fails.

use std::borrow::Cow;

use axum::http::{HeaderMap, header::CONTENT_TYPE};

/// Name and value pairs, in the order received.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Fields<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'a> Fields<'a> {
    /// Reads multipart when the content type says so, urlencoded otherwise.
    pub(super) fn read(headers: &HeaderMap, body: &'a [u8]) -> Self {
        let kind = headers
            .get(CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default();
        match boundary(kind) {
            Some(boundary) => multipart(boundary, body),
            None => urlencoded(body),
        }
    }

    /// The first value of a name, unless empty.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_ref())
            .filter(|value| !value.is_empty())
    }
}

fn boundary(kind: &str) -> Option<&str> {
    let rest = kind
        .get(..10)
        .filter(|start| start.eq_ignore_ascii_case("multipart/"))
        .and(kind.split_once("boundary="))?
        .1;
    let value = rest.split(';').next().unwrap_or(rest).trim();
    Some(value.trim_matches('"'))
}

fn multipart<'a>(boundary: &str, body: &'a [u8]) -> Fields<'a> {
    let delimiter = format!("\r\n--{boundary}");
    let delimiter = delimiter.as_bytes();
    let mut fields = Vec::new();
    // The first delimiter has no line break before it when there is no preamble.
    let mut rest = match body.strip_prefix(&delimiter[2..]) {
        Some(rest) => rest,
        None => match split(body, delimiter) {
            Some((_, rest)) => rest,
            None => return Fields::default(),
        },
    };
    while !rest.starts_with(b"--") {
        let Some((part, after)) = split(rest, delimiter) else {
            break;
        };
        if let Some((head, value)) = split(part, b"\r\n\r\n")
            && let Some(name) = part_name(head)
        {
            fields.push((Cow::Borrowed(name), String::from_utf8_lossy(value)));
        }
        rest = after;
    }
    Fields(fields)
}

/// The `name` of a part's Content-Disposition; a `filename` is not mistaken for it.
fn part_name(head: &[u8]) -> Option<&str> {
    let head = std::str::from_utf8(head).ok()?;
    let start = head.find(" name=\"")? + 7;
    let length = head[start..].find('"')?;
    Some(&head[start..start + length])
}

fn split<'a>(text: &'a [u8], needle: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let first = *needle.first()?;
    let mut from = 0;
    while let Some(found) = text[from..].iter().position(|&byte| byte == first) {
        let at = from + found;
        if text[at..].starts_with(needle) {
            return Some((&text[..at], &text[at + needle.len()..]));
        }
        from = at + 1;
    }
    None
}

/// Reads `a=b&c=d`; also used for query-like bodies of the other routes.
pub(super) fn urlencoded(body: &[u8]) -> Fields<'static> {
    let pairs = body
        .split(|&byte| byte == b'&')
        .filter(|pair| !pair.is_empty());
    Fields(
        pairs
            .map(|pair| {
                let (name, value) = split(pair, b"=").unwrap_or((pair, b""));
                (Cow::Owned(decode(name)), Cow::Owned(decode(value)))
            })
            .collect(),
    )
}

fn decode(text: &[u8]) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut at = 0;
    while at < text.len() {
        let escaped = (text[at] == b'%')
            .then(|| text.get(at + 1..at + 3))
            .flatten()
            .and_then(|hex| std::str::from_utf8(hex).ok())
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match (escaped, text[at]) {
            (Some(byte), _) => {
                bytes.push(byte);
                at += 2;
            }
            (None, b'+') => bytes.push(b' '),
            (None, byte) => bytes.push(byte),
        }
        at += 1;
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn headers(kind: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, kind.parse().unwrap());
        headers
    }

    fn encode(fields: &[(String, String)], boundary: &str) -> String {
        let mut body = String::new();
        for (name, value) in fields {
            body += &format!(
                "--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n"
            );
        }
        body + &format!("--{boundary}--\r\n")
    }

    #[test]
    fn urlencoded_fields_are_decoded() {
        let body = b"to=%2B4915&message=a+b%26c&empty=&broken=%zz";
        let fields = Fields::read(&headers("application/x-www-form-urlencoded"), body);
        assert_eq!(fields.get("to"), Some("+4915"));
        assert_eq!(fields.get("message"), Some("a b&c"));
        assert_eq!(fields.get("empty"), None);
        assert_eq!(fields.get("broken"), Some("%zz"));
    }

    #[test]
    fn a_quoted_boundary_and_a_preamble_are_read() {
        let body = encode(&[("to".into(), "1".into())], "b");
        let kind = headers("Multipart/form-data; boundary=\"b\"; charset=utf-8");
        assert_eq!(Fields::read(&kind, body.as_bytes()).get("to"), Some("1"));
        let body = format!("preamble\r\n{body}");
        assert_eq!(Fields::read(&kind, body.as_bytes()).get("to"), Some("1"));
    }

    proptest! {
        #[test]
        fn multipart_returns_what_was_put_in(
            fields in proptest::collection::vec(("[a-z_]{1,12}", "[^\u{0}]{0,80}"), 0..8)
        ) {
            let boundary = "----------------4a1d5f0c9";
            let body = encode(&fields, boundary);
            let read = Fields::read(
                &headers(&format!("multipart/form-data; boundary={boundary}")),
                body.as_bytes(),
            );
            let read: Vec<_> = read.0.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect();
            prop_assert_eq!(read, fields);
        }

        #[test]
        fn no_body_makes_the_parsers_panic(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Fields::read(&headers("multipart/form-data; boundary=x"), &body);
            let _ = Fields::read(&headers("text/plain"), &body);
        }
    }
}
