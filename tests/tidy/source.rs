//! Reads Rust source just closely enough for the rules of `tidy.rs`: tokens without comments and
//! without the insides of literals, which of them are test code, and every path that is named.
//!
//! Knows no types and expands no macros; it judges nothing.

use std::ops::Range;

/// One Rust file.
pub(crate) struct Source {
    /// Relative to the package, with `/`.
    pub(crate) path: String,
    pub(crate) text: String,
    tokens: Vec<Token>,
    tests: Vec<Range<usize>>,
    paused: Vec<Range<usize>>,
    only_tests: bool,
}

struct Token {
    /// An identifier, `::`, one other character, or `"` for any literal.
    text: String,
    line: usize,
}

/// A path such as `crate::domain::Phone`; a `use` with braces yields one for each leaf.
pub(crate) struct Named {
    pub(crate) parts: Vec<String>,
    pub(crate) line: usize,
    pub(crate) in_test: bool,
    /// In a test whose clock stands still until every task waits.
    pub(crate) in_paused_test: bool,
    called: bool,
    /// The modules around it, outermost first.
    within: Vec<String>,
}

impl Named {
    /// Whether it begins with this path. A word alone is a field or a module of ours; what is in a
    /// crate is reached through it.
    pub(crate) fn begins(&self, path: &str) -> bool {
        let wanted: Vec<_> = path.split("::").collect();
        self.parts.len() >= wanted.len().max(2)
            && self.parts.iter().zip(&wanted).all(|(a, b)| a == b)
    }

    /// A single word is a field or a module of ours, never something out of a crate.
    pub(crate) fn is_longer_than_a_word(&self) -> bool {
        self.parts.len() > 1
    }

    /// Whether it is a call, and ends with this path.
    pub(crate) fn calls(&self, path: &str) -> bool {
        let wanted: Vec<_> = path.rsplit("::").collect();
        let parts = self.parts.iter().rev();
        self.called && self.parts.len() >= wanted.len() && parts.zip(&wanted).all(|(a, b)| a == b)
    }

    /// The modules around it and what it names, both from the root; nothing where it names nothing from there.
    pub(crate) fn reaches(&self, package: &str) -> Option<(&[String], Vec<String>)> {
        let supers = self
            .parts
            .iter()
            .take_while(|part| *part == "super")
            .count();
        let first = self.parts[0].as_str();
        let to = match first {
            "crate" => self.parts[1..].to_vec(),
            "super" if supers <= self.within.len() => {
                let above = &self.within[..self.within.len() - supers];
                [above, &self.parts[supers..]].concat()
            }
            _ if first == package => self.parts[1..].to_vec(),
            _ => return None,
        };
        (!to.is_empty()).then_some((&self.within, to))
    }
}

impl Source {
    pub(crate) fn new(path: &str, text: &str) -> Self {
        let tokens = tokens(text);
        let mut source = Self {
            path: path.to_owned(),
            text: text.to_owned(),
            // The load generator is a program: it sleeps to keep its pace.
            only_tests: path.starts_with("tests/") && !path.starts_with("tests/load/"),
            tests: Vec::new(),
            paused: Vec::new(),
            tokens,
        };
        for at in 0..source.tokens.len() {
            if !source.is(at, "#") || !source.is(at + 1, "[") {
                continue;
            }
            let end = source.closing(at + 1);
            let attribute: Vec<_> = (at..end).map(|at| source.text_at(at)).collect();
            if attribute[2..] == ["cfg", "(", "test", ")"]
                || attribute[2..] == ["cfg", "(", "any", "(", "test", ",", "fuzzing", ")", ")"]
            {
                source.tests.push(at..source.item_end(end + 1));
            } else if attribute.contains(&"start_paused") {
                source.paused.push(at..source.item_end(end + 1));
            }
        }
        source
    }

    /// Files that hold nothing but tests: `#[cfg(test)] mod name;` stands in their parent.
    pub(crate) fn mark_test_files(sources: &mut [Self]) {
        let mut modules = Vec::new();
        for source in sources.iter() {
            for range in &source.tests {
                let declared = |at: &usize| source.is(*at, "mod") && source.is(at + 2, ";");
                if let Some(at) = range.clone().find(declared) {
                    let mut module = source.module();
                    module.push(source.text_at(at + 1).to_owned());
                    modules.push(module);
                }
            }
        }
        for source in sources {
            let module = source.module();
            source.only_tests |= modules.iter().any(|test| module.starts_with(test));
        }
    }

    /// `src/a/b.rs` is module `a::b`; the crate root is empty, `src/main.rs` counts as `main`.
    pub(crate) fn module(&self) -> Vec<String> {
        let path = self.path.trim_start_matches("src/").trim_end_matches(".rs");
        let parts = path
            .split('/')
            .filter(|part| !["mod", "lib"].contains(part));
        parts.map(str::to_owned).collect()
    }

    /// Whether it is part of the program.
    pub(crate) fn is_production(&self) -> bool {
        self.path.starts_with("src/") && !self.only_tests
    }

    /// Parameters whose type is a tuple, outside of tests: the function and its line.
    pub(crate) fn tuple_parameters(&self) -> Vec<(String, usize)> {
        let mut found = Vec::new();
        for at in 0..self.tokens.len() {
            let in_test = self.tests.iter().any(|range| range.contains(&at));
            if in_test || !self.is_production() || !self.is(at, "fn") {
                continue;
            }
            let open = self.after_generics(at + 2);
            let close = self.closing(open);
            for colon in (open..close).filter(|at| self.is(*at, ":")) {
                let kind = self.after_reference(colon + 1);
                if self.is(kind, "(") && !self.is(kind + 1, ")") {
                    found.push((self.text_at(at + 1).to_owned(), self.tokens[at].line));
                }
            }
        }
        found
    }

    /// What comes after `<...>`, which may hold arrows and parentheses.
    fn after_generics(&self, mut at: usize) -> usize {
        let mut depth = 0;
        while at < self.tokens.len() {
            match self.text_at(at) {
                "<" => depth += 1,
                ">" if !self.is(at - 1, "-") => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                return at + usize::from(self.is(at, ">"));
            }
            at += 1;
        }
        at
    }

    /// What a type begins with behind `&`, a lifetime and `mut`; of a lifetime only the name is a token.
    fn after_reference(&self, mut at: usize) -> usize {
        if !self.is(at, "&") {
            return at;
        }
        at += 1;
        let is_lifetime = self.is_word(at) && (self.is(at + 1, "(") || self.is(at + 1, "mut"));
        if is_lifetime && !self.is(at, "mut") && !self.is(at, "fn") {
            at += 1;
        }
        at + usize::from(self.is(at, "mut"))
    }

    /// Lines that are not test code; comments and blank lines count.
    pub(crate) fn production_lines(&self) -> usize {
        if self.only_tests {
            return 0;
        }
        let last = self.tokens.len().saturating_sub(1);
        let lines = |range: &Range<usize>| {
            1 + self.tokens[range.end.min(last)].line - self.tokens[range.start].line
        };
        self.text.lines().count() - self.tests.iter().map(lines).sum::<usize>()
    }

    /// The lines on which these tokens stand one after the other.
    pub(crate) fn lines_with(&self, wanted: &[&str]) -> Vec<usize> {
        let found = |at: &usize| (0..wanted.len()).all(|more| self.is(at + more, wanted[more]));
        let all = (0..self.tokens.len()).filter(found);
        all.map(|at| self.tokens[at].line).collect()
    }

    /// Every path in the code.
    pub(crate) fn named(&self) -> Vec<Named> {
        let mut found = Vec::new();
        let mut within = self.module();
        let mut opened = Vec::new();
        let mut depth = 0;
        let mut at = 0;
        while at < self.tokens.len() {
            match self.text_at(at) {
                "{" => depth += 1,
                "}" => {
                    depth -= 1;
                    if opened.last() == Some(&depth) {
                        opened.pop();
                        within.pop();
                    }
                }
                "mod" if self.is(at + 2, "{") => {
                    within.push(self.text_at(at + 1).to_owned());
                    opened.push(depth);
                }
                _ if self.starts_path(at) => {
                    at = self.unfold(at, &[], &within, &mut found);
                    continue;
                }
                _ => {}
            }
            at += 1;
        }
        found
    }

    /// Collects the path or tree of paths at `at`; returns where it ends.
    fn unfold(
        &self,
        at: usize,
        before: &[String],
        within: &[String],
        found: &mut Vec<Named>,
    ) -> usize {
        let start = at;
        let mut at = at;
        let mut parts = before.to_vec();
        while self.is_word(at) {
            parts.push(self.text_at(at).to_owned());
            at += 1;
            if !self.is(at, "::") || !(self.is_word(at + 1) || self.is(at + 1, "{")) {
                break;
            }
            at += 1;
        }
        if self.is(at, "{") && at > start && self.is(at - 1, "::") {
            let end = self.closing(at);
            at += 1;
            while at < end {
                at = if self.is_word(at) && !self.is(at, "as") && !self.is(at - 1, "as") {
                    self.unfold(at, &parts, within, found)
                } else {
                    at + 1
                };
            }
            return end + 1;
        }
        let called = self.is(at, "(") && !(start > 0 && self.is(start - 1, "fn"));
        found.push(Named {
            parts,
            line: self.tokens[start].line,
            in_test: self.only_tests || self.tests.iter().any(|range| range.contains(&start)),
            in_paused_test: self.paused.iter().any(|range| range.contains(&start)),
            called,
            within: within.to_vec(),
        });
        at.max(start + 1)
    }

    fn starts_path(&self, at: usize) -> bool {
        let follows = |text| at > 0 && self.is(at - 1, text);
        let global = follows("::") && (at < 2 || !self.is_word(at - 2) && !self.is(at - 2, ">"));
        self.is_word(at) && !follows(".") && (global || !follows("::"))
    }

    /// The last token of the item whose attributes may begin at `at`.
    fn item_end(&self, mut at: usize) -> usize {
        while self.is(at, "#") {
            at = self.closing(at + 1) + 1;
        }
        while at < self.tokens.len() {
            match self.text_at(at) {
                "(" | "[" => at = self.closing(at),
                "{" => return self.closing(at),
                ";" | "}" => return at,
                _ => {}
            }
            at += 1;
        }
        at
    }

    /// Where the bracket that opens at `at` closes.
    fn closing(&self, at: usize) -> usize {
        let mut depth = 0;
        for (at, token) in self.tokens.iter().enumerate().skip(at) {
            match token.text.as_str() {
                "(" | "[" | "{" => depth += 1,
                ")" | "]" | "}" => depth -= 1,
                _ => {}
            }
            if depth <= 0 {
                return at;
            }
        }
        self.tokens.len()
    }

    fn text_at(&self, at: usize) -> &str {
        self.tokens.get(at).map_or("", |token| &token.text)
    }

    fn is(&self, at: usize, text: &str) -> bool {
        self.text_at(at) == text
    }

    fn is_word(&self, at: usize) -> bool {
        self.text_at(at)
            .starts_with(|c: char| c.is_alphabetic() || c == '_')
    }
}

fn tokens(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut rest = text;
    let mut line = 1;
    while let Some(first) = rest.chars().next() {
        let (length, token) = match first {
            _ if rest.starts_with("//") => (rest.find('\n').unwrap_or(rest.len()), None),
            _ if rest.starts_with("/*") => (block_comment(rest), None),
            _ if rest.starts_with("::") => (2, Some("::")),
            '\'' => quote(rest),
            c if c.is_alphanumeric() || c == '_' || c == '"' => word(rest),
            c if c.is_whitespace() => (c.len_utf8(), None),
            c => (c.len_utf8(), Some(&rest[..c.len_utf8()])),
        };
        if let Some(token) = token {
            let text = token.to_owned();
            tokens.push(Token { text, line });
        }
        line += rest[..length].matches('\n').count();
        rest = &rest[length..];
    }
    tokens
}

/// A word, a number, or a string with its prefix.
fn word(text: &str) -> (usize, Option<&str>) {
    let in_word = |c: char| c.is_alphanumeric() || c == '_';
    let length = text.find(|c| !in_word(c)).unwrap_or(text.len());
    let after = text[length..].trim_start_matches('#');
    let hashes = text.len() - length - after.len();
    match &text[..length] {
        "r" | "br" | "cr" if after.starts_with('"') => {
            let close = format!("\"{}", "#".repeat(hashes));
            let inside = length + hashes + 1;
            let end = text[inside..].find(&close);
            (
                end.map_or(text.len(), |end| inside + end + close.len()),
                Some("\""),
            )
        }
        "" | "b" | "c" if text[length..].starts_with('"') => {
            (length + escaped(&text[length..], '"'), Some("\""))
        }
        word => (length, Some(word)),
    }
}

/// A character, or a lifetime.
fn quote(text: &str) -> (usize, Option<&str>) {
    let mut after = text.chars().skip(1);
    match (after.next(), after.next()) {
        (Some('\\'), _) | (_, Some('\'')) => (escaped(text, '\''), Some("\"")),
        _ => (1, None),
    }
}

/// The length of a literal with escapes that begins and ends with `mark`.
fn escaped(text: &str, mark: char) -> usize {
    let mut skip = true;
    for (at, c) in text.char_indices() {
        if skip {
            skip = false;
        } else if c == '\\' {
            skip = true;
        } else if c == mark {
            return at + 1;
        }
    }
    text.len()
}

fn block_comment(text: &str) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < text.len() {
        let step = match &text.as_bytes()[at..] {
            [b'/', b'*', ..] => {
                depth += 1;
                2
            }
            [b'*', b'/', ..] => {
                depth -= 1;
                2
            }
            _ => 1,
        };
        at += step;
        if depth == 0 {
            break;
        }
    }
    at
}
