//! Puts a script together: its own text, and before it those pieces of the shared part that it uses,
//! directly or through others. Redis runs the whole text at every call, so what a script does not
//! use costs time in each.
//!
//! A piece begins with a line that starts with `local` and ends before the next such line. In Lua
//! whatever is local stands before its uses, so one walk from the end finds all that is needed.

use std::collections::HashSet;

/// The pieces of `shared` that `body` uses, in their order, then `body`; without comments and
/// indentation.
pub(super) fn compose(shared: &str, body: &str) -> String {
    let (mut used, mut kept) = (names(body), vec![squeezed(body)]);
    for piece in pieces(shared).into_iter().rev() {
        if defined(piece).iter().any(|name| used.contains(name)) {
            used.extend(names(piece));
            kept.push(squeezed(piece));
        }
    }
    kept.reverse();
    kept.concat()
}

/// The pieces of a text.
fn pieces(text: &str) -> Vec<&str> {
    let mut starts: Vec<usize> = text
        .match_indices("\nlocal ")
        .map(|(at, _)| at + 1)
        .collect();
    if text.starts_with("local ") {
        starts.insert(0, 0);
    }
    let ends = starts.iter().skip(1).copied().chain([text.len()]);
    starts
        .iter()
        .zip(ends)
        .map(|(from, to)| &text[*from..to])
        .collect()
}

/// What a piece defines: a function, or variables.
fn defined(piece: &str) -> Vec<&str> {
    let first = piece.lines().next().unwrap_or_default();
    let first = first.strip_prefix("local ").unwrap_or(first);
    let list = first.strip_prefix("function ").unwrap_or(first);
    let list = list.split(['(', '=']).next().unwrap_or_default();
    list.split(',').map(str::trim).collect()
}

/// The names that a text uses: words outside of comments and texts that are not fields of something.
fn names(text: &str) -> HashSet<&str> {
    text.lines().flat_map(|line| read(line).1).collect()
}

/// A text without comments and indentation.
fn squeezed(text: &str) -> String {
    let lines = text.lines().map(|line| read(line).0.trim());
    lines
        .filter(|line| !line.is_empty())
        .map(|line| format!("{line}\n"))
        .collect()
}

/// A line without its comment, and the names in it.
fn read(line: &str) -> (&str, Vec<&str>) {
    let bytes = line.as_bytes();
    let (mut names, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        let begun = at;
        at += 1;
        match bytes[begun] {
            quote @ (b'\'' | b'"') => at = end_of_text(bytes, at, quote),
            b'-' if bytes.get(at) == Some(&b'-') => return (&line[..begun], names),
            byte if is_of_name(byte) => {
                while bytes.get(at).is_some_and(|next| is_of_name(*next)) {
                    at += 1;
                }
                let before = &line[..begun];
                // Two dots join texts.
                let is_field = before.ends_with('.') && !before.ends_with("..");
                if !is_field && !byte.is_ascii_digit() {
                    names.push(&line[begun..at]);
                }
            }
            _ => {}
        }
    }
    (line, names)
}

fn is_of_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// Where a text that is begun ends.
fn end_of_text(bytes: &[u8], mut at: usize, quote: u8) -> usize {
    while let Some(byte) = bytes.get(at) {
        at += 1;
        match byte {
            b'\\' => at += 1,
            byte if *byte == quote => break,
            _ => {}
        }
    }
    at
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    const SHARED: &str = "-- What all share: fail and far are told of here only.
local P = KEYS[1]
local FAR, NEAR = 9, 1

-- Says it.
local function say(text)
  -- not P
  return text -- nor NEAR
end

local function near() return NEAR end
local function fail(key)
  if key ~= '--' then
    return say(P .. key)
  end
end
";

    #[test]
    fn a_script_carries_what_it_uses_and_no_more() {
        for (body, expected) in [
            ("return 1", "return 1\n"),
            (
                "  return say('fail')\n",
                "local function say(text)\nreturn text\nend\nreturn say('fail')\n",
            ),
            (
                "return 'it\\'s near()' .. folded.near",
                "return 'it\\'s near()' .. folded.near\n",
            ),
            (
                "-- near\nreturn 'a'..near()",
                "local FAR, NEAR = 9, 1\nlocal function near() return NEAR end\nreturn 'a'..near()\n",
            ),
            (
                "fail(\"P\")",
                "local P = KEYS[1]\nlocal function say(text)\nreturn text\nend\n\
                 local function fail(key)\nif key ~= '--' then\nreturn say(P .. key)\nend\nend\n\
                 fail(\"P\")\n",
            ),
        ] {
            assert_eq!(compose(SHARED, body), expected, "{body}");
        }
    }

    /// Which of the shared names a script as it is shipped defines and does not use, and which it uses
    /// and does not define.
    pub(in super::super) fn idle_and_missing(
        script: &str,
        shared: &str,
    ) -> (Vec<String>, Vec<String>) {
        let (mut idle, mut missing) = (Vec::new(), Vec::new());
        for name in pieces(shared).into_iter().flat_map(defined) {
            let word = |line: &str| {
                line.split(|c: char| !c.is_alphanumeric() && c != '_')
                    .filter(|word| *word == name)
                    .count()
            };
            let is_definition =
                |line: &&str| line.starts_with("local ") && defined(line).contains(&name);
            let defines = script.lines().filter(is_definition).count();
            let words: usize = script.lines().map(word).sum();
            if defines == 1 && words < 2 {
                idle.push(name.to_owned());
            }
            if defines == 0 && names(script).contains(name) {
                missing.push(name.to_owned());
            }
        }
        (idle, missing)
    }

    #[test]
    fn what_is_idle_or_missing_is_seen() {
        let named =
            |names: &[&str]| -> Vec<String> { names.iter().map(|one| (*one).into()).collect() };
        assert_eq!(
            idle_and_missing("local P = KEYS[1]\nreturn 1", SHARED).0,
            named(&["P"])
        );
        assert_eq!(
            idle_and_missing("return fail(1)", SHARED).1,
            named(&["fail"])
        );
    }
}
