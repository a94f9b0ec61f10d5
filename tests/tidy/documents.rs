//! What the documents promise each other and the code promises of them: each link leads somewhere, and each
//! section, promise and case that is cited exists.

use super::{allowed, files, read, refused, root};
use moengage_whatsapp_gateway::telemetry::METRICS;
use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

/// The most lines of the first page: what it is, how it is tried, where the rest is.
const MOST_LINES: usize = 180;

/// Words of before, and those that the glossary has in their place.
const WORDS: &[(&str, &str)] = &[
    ("a second home", "Datastore"),
    ("the second home", "Datastore"),
    ("calls a second", "calls per second"),
    ("messages a second", "messages per second"),
    ("sends a second", "sends per second"),
    ("accepts a second", "accepts per second"),
    ("messages a minute", "messages per minute"),
    ("One URL an account", "one URL per account"),
    ("the keeper", "maintenance"),
    ("the bell", "the wakeup"),
];
/// Pages in the words of others.
const OF_OTHERS: [&str; 3] = ["docs/contracts/", "docs/old-connector.md", "docs/cases.md"];

#[test]
fn the_first_page_stays_short() {
    refused(too_long(&"line\n".repeat(MOST_LINES + 1)));
    allowed(too_long(&read("README.md")));
}

#[test]
fn every_link_of_a_page_leads_somewhere() {
    let one =
        "# One\n## Two words, `code`\n[a](#two-words-code) [b](https://example.com) `[c](no)`\n";
    allowed(links_of("README.md", one));
    refused(links_of("README.md", "[a](docs/nothing.md)"));
    refused(links_of("README.md", "# One\n[a](#two)"));
    refused(links_of("docs/redis.md", "[a](../README.md#nothing)"));
    refused(links_of("README.md", "```\n# In code\n```\n[a](#in-code)"));
    let pages = pages();
    assert!(pages.len() > 15, "found only {pages:?}");
    allowed(
        pages
            .iter()
            .flat_map(|page| links_of(page, &read(page)))
            .collect(),
    );
}

#[test]
fn pages_use_one_word_for_one_thing() {
    refused(old_words("README.md", "Jumper takes ten calls a second."));
    allowed(old_words("README.md", "Jumper takes ten calls per second."));
    let ours = pages().into_iter();
    let ours = ours.filter(|page| !OF_OTHERS.iter().any(|other| page.starts_with(other)));
    allowed(
        ours.flat_map(|page| old_words(&page, &read(&page)))
            .collect(),
    );
}

#[test]
fn every_page_is_reached_from_the_first_one() {
    let mut reached = BTreeSet::from(["README.md".to_owned()]);
    let mut next = vec!["README.md".to_owned()];
    while let Some(page) = next.pop() {
        for (_, target) in targets(&read(&page)) {
            let (file, _) = split(&page, &target);
            let below = pages()
                .into_iter()
                .filter(|one| one.starts_with(&format!("{file}/")));
            for one in below.chain([file.clone()]) {
                if one.ends_with(".md") && reached.insert(one.clone()) {
                    next.push(one);
                }
            }
        }
    }
    let lost: Vec<_> = pages()
        .into_iter()
        .filter(|page| !reached.contains(page))
        .collect();
    assert!(lost.is_empty(), "no link leads to {lost:?}");
}

#[test]
fn what_is_cited_exists() {
    let known = Known::read();
    refused(known.missing("a", "see design.md section 99"));
    refused(known.missing("a", "(design.md sections 4 and 99)"));
    refused(known.missing("a", "design.md G9: nothing"));
    refused(known.missing("a", "contracts/jumper.md section 31"));
    refused(known.missing("a", "contracts/jumper.md 31"));
    refused(known.missing("a", "contracts/moengage.md Q99"));
    refused(known.missing("a", concat!("fn f() {} // ", "R-", "999")));
    refused(known.missing("a", concat!("the old one (", "B-", "99)")));
    allowed(known.missing(
        "a",
        "design.md section 5, R-11; B-16a, contracts/moengage.md sections 5 and 6",
    ));
    let texts = files(Path::new(""))
        .into_iter()
        .filter(|path| is_text(path));
    allowed(
        texts
            .flat_map(|path| known.missing(&path, &read(&path)))
            .collect(),
    );
}

#[test]
fn every_alert_has_its_heading_in_the_runbook() {
    let alerts = read("src/alert.rs");
    let codes: Vec<_> = alerts
        .lines()
        .filter_map(|line| line.trim().strip_prefix("Self::")?.split_once(" => \""))
        .collect();
    let codes = codes
        .into_iter()
        .filter_map(|(_, rest)| rest.strip_suffix("\","));
    let runbook = headings(&read("docs/runbook.md"));
    let without: Vec<_> = codes
        .clone()
        .filter(|code| !runbook.contains(*code))
        .collect();
    assert!(
        codes.count() > 10 && without.is_empty(),
        "docs/runbook.md: {without:?}"
    );
    assert!(!runbook.contains("nothing"));
}

#[test]
fn every_metric_is_in_the_registry_and_on_its_page() {
    refused(unregistered(
        "src/a.rs",
        r#"counter!("gateway_made_up_total")"#,
    ));
    allowed(unregistered(
        "src/a.rs",
        r#"counter!("gateway_alerts_total")"#,
    ));
    let code = files(Path::new("src"))
        .into_iter()
        .filter(|path| path.ends_with(".rs"));
    allowed(
        code.flat_map(|path| unregistered(&path, &read(&path)))
            .collect(),
    );
}

fn unregistered(path: &str, text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    for (number, line) in text.lines().enumerate() {
        for rest in line.split("\"gateway_").skip(1) {
            let is_of_name = |c: &char| c.is_ascii_lowercase() || *c == '_';
            let name: String = rest.chars().take_while(is_of_name).collect();
            let name = format!("gateway_{name}");
            if !METRICS.iter().any(|metric| metric.name == name) {
                faults.push(format!(
                    "{path}:{}: {name} is not in src/telemetry/registry.rs",
                    number + 1
                ));
            }
        }
    }
    faults
}

fn is_text(path: &str) -> bool {
    let of_code = ["rs", "lua", "sh", "toml", "yaml", "md", "py", "c"];
    let ours = ["src/", "tests/", "docs/", "config/"];
    let ending = Path::new(path)
        .extension()
        .and_then(|ending| ending.to_str());
    (ours.iter().any(|folder| path.starts_with(folder)) || !path.contains('/'))
        && ending.is_some_and(|ending| of_code.contains(&ending))
        // It cites what does not exist, to be seen failing.
        && path != "tests/tidy/documents.rs"
}

/// All pages, by their paths.
fn pages() -> Vec<String> {
    let pages = files(Path::new("")).into_iter();
    pages.filter(|path| path.ends_with(".md")).collect()
}

fn old_words(page: &str, text: &str) -> Vec<String> {
    let lines = text.lines().enumerate();
    let found = lines.flat_map(|(number, line)| {
        let old = WORDS.iter().filter(|(old, _)| line.contains(old));
        old.map(move |(old, new)| format!("{page}:{}: {old}: say {new}", number + 1))
    });
    found.collect()
}

fn too_long(text: &str) -> Vec<String> {
    let lines = text.lines().count();
    let fault = || {
        format!("README.md has {lines} lines, at most {MOST_LINES}: move it to a page below docs")
    };
    (lines > MOST_LINES).then(fault).into_iter().collect()
}

/// The lines of a page that are no code.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut is_code = false;
    text.lines().enumerate().filter(move |(_, line)| {
        let is_fence = line.trim_start().starts_with("```");
        is_code ^= is_fence;
        !is_code && !is_fence
    })
}

/// How a heading is called in a link.
fn slug(heading: &str) -> String {
    let kept = heading.trim().to_lowercase();
    let kept = kept
        .chars()
        .filter(|c| c.is_alphanumeric() || "-_ ".contains(*c));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

fn headings(text: &str) -> BTreeSet<String> {
    let heads = prose(text).filter(|(_, line)| line.starts_with('#'));
    heads
        .map(|(_, line)| slug(line.trim_start_matches('#')))
        .collect()
}

/// Where a page links to, with the lines of the links.
fn targets(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (number, line) in prose(text) {
        // Every second piece stands in backticks.
        let plain: Vec<&str> = line.split('`').step_by(2).collect();
        for rest in plain.join("x").split("](").skip(1) {
            let target = rest.split(')').next().unwrap_or_default();
            found.push((number + 1, target.to_owned()));
        }
    }
    found
}

/// The file and the heading of a link.
fn split(page: &str, target: &str) -> (String, String) {
    let (file, heading) = target.split_once('#').unwrap_or((target, ""));
    if file.is_empty() {
        return (page.to_owned(), heading.to_owned());
    }
    let mut path = PathBuf::new();
    let folder = Path::new(page).parent().unwrap_or(Path::new(""));
    for part in folder.join(file).components() {
        match part {
            Component::ParentDir => _ = path.pop(),
            part => path.push(part),
        }
    }
    (path.to_string_lossy().into_owned(), heading.to_owned())
}

fn links_of(page: &str, text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    for (line, target) in targets(text) {
        if target.starts_with("https://") {
            continue;
        }
        let (file, heading) = split(page, &target);
        let known = match file == page {
            true => Some(headings(text)),
            false if !root().join(&file).exists() => None,
            false if heading.is_empty() => continue,
            false => Some(headings(&read(&file))),
        };
        if !known.is_some_and(|known| heading.is_empty() || known.contains(&heading)) {
            faults.push(format!("{page}:{line}: {target} leads nowhere"));
        }
    }
    faults
}

/// What can be cited.
struct Known {
    /// Words before a number, and the numbers that there are.
    sections: Vec<(&'static str, BTreeSet<String>)>,
    cases: BTreeSet<String>,
}

impl Known {
    fn read() -> Self {
        let (design, cases, old) = (
            read("docs/design.md"),
            read("docs/cases.md"),
            read("docs/old-connector.md"),
        );
        let (jumper, moengage) = (
            read("docs/contracts/jumper.md"),
            read("docs/contracts/moengage.md"),
        );
        let promises = numbers(&design, "- **G");
        let sections = vec![
            ("design.md section ", numbers(&design, "## ")),
            ("design.md sections ", numbers(&design, "## ")),
            ("design.md G", promises),
            ("contracts/jumper.md ", numbers(&jumper, "## ")),
            ("contracts/jumper.md section ", numbers(&jumper, "## ")),
            ("contracts/jumper.md sections ", numbers(&jumper, "## ")),
            ("contracts/moengage.md section ", numbers(&moengage, "## ")),
            ("contracts/moengage.md sections ", numbers(&moengage, "## ")),
            ("contracts/moengage.md Q", numbers(&moengage, "| Q")),
        ];
        let rows = |text: &str, row: &str| {
            let rows = text
                .lines()
                .filter_map(|line| line.strip_prefix("| ")?.split(' ').next());
            rows.filter(|one| one.starts_with(row))
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        let cases = [rows(&cases, "R-"), rows(&old, "B-")]
            .concat()
            .into_iter()
            .collect();
        Self { sections, cases }
    }

    fn missing(&self, path: &str, text: &str) -> Vec<String> {
        let mut faults = Vec::new();
        for (number, line) in text.lines().enumerate() {
            let mut cites = |what: String, is_known: bool| {
                if !is_known {
                    faults.push(format!("{path}:{}: {what} does not exist", number + 1));
                }
            };
            for (words, known) in &self.sections {
                for rest in line.split(words).skip(1) {
                    for one in row_of_numbers(rest) {
                        cites(format!("{words}{one}"), known.contains(&one));
                    }
                }
            }
            for one in cases_of(line) {
                cites(one.clone(), self.cases.contains(&one));
            }
        }
        faults
    }
}

/// The numbers right after this, at the beginning of lines.
fn numbers(text: &str, before: &str) -> BTreeSet<String> {
    let rests = text.lines().filter_map(|line| line.strip_prefix(before));
    rests
        .map(|rest| digits(rest).to_owned())
        .filter(|number| !number.is_empty())
        .collect()
}

fn digits(text: &str) -> &str {
    &text[..text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len())]
}

/// The numbers that a text begins with: `4`, `4 and 6`, `5, 6`, `3 to 6`.
fn row_of_numbers(mut text: &str) -> Vec<String> {
    let mut found = Vec::new();
    loop {
        let number = digits(text);
        if number.is_empty() {
            return found;
        }
        found.push(number.to_owned());
        text = &text[number.len()..];
        let more = [", ", " and ", " to "]
            .iter()
            .find_map(|word| text.strip_prefix(word));
        let Some(rest) = more else {
            return found;
        };
        text = rest;
    }
}

/// `R-n` and `B-n`, with the letter of a `B-16a`.
fn cases_of(line: &str) -> Vec<String> {
    let mut found = Vec::new();
    for row in ["R-", "B-"] {
        for (at, _) in line.match_indices(row) {
            let before = line[..at].chars().next_back();
            let rest = &line[at + row.len()..];
            let number = digits(rest);
            if number.is_empty() || before.is_some_and(|c| c.is_alphanumeric() || "-_".contains(c))
            {
                continue;
            }
            let after = &rest[number.len()..];
            let letter = after.chars().next().filter(|c| ('a'..='c').contains(c));
            let more = after.chars().nth(1).is_some_and(char::is_alphanumeric);
            let letter = letter.filter(|_| row == "B-" && !more).map(String::from);
            found.push(format!("{row}{number}{}", letter.unwrap_or_default()));
        }
    }
    found
}
