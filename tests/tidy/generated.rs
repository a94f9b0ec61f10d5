//! The documents that are written from declarations: `config/default.toml`, `.env.sample`, and the
//! tables of settings and metrics. `UPDATE_DOCS=1 cargo tidy` writes them anew.

use super::{read, root};
use moengage_whatsapp_gateway::config::{DefaultValue, Need, SETTINGS, Setting, TABLES};
use moengage_whatsapp_gateway::telemetry::{Kind, METRICS, Metric};
use std::fmt::Write as _;

/// Where the written part of a file with settings begins.
const BEGIN: &str = "# === Written from src/config/groups by UPDATE_DOCS=1 cargo tidy ===\n";
/// Where it ends.
const END: &str = "# === End of the written part ===\n";
/// The most characters of a line that is wrapped.
const WIDTH: usize = 100;

#[test]
fn each_setting_and_each_metric_is_documented_as_it_is_declared() {
    let old = format!("head\n{BEGIN}old\n{END}foot\n");
    let new = format!("head\n{BEGIN}new\n{END}foot\n");
    assert_eq!(replaced(&old, (BEGIN, END), "new\n"), Some(new));
    assert_eq!(replaced("head\nfoot\n", (BEGIN, END), "new\n"), None);
    let settings = "| Key | Variable | Default | Meaning |\n|---|---|---|---|\n";
    let metrics = "| Metric | Kind | Labels | Means |\n|---|---|---|---|\n";
    for (path, place, text) in [
        ("config/default.toml", (BEGIN, END), defaults()),
        (".env.sample", (BEGIN, END), sample()),
        (
            "docs/configuration.md",
            (settings, ""),
            rows(SETTINGS.iter(), of_setting),
        ),
        (
            "docs/metrics.md",
            (metrics, ""),
            rows(METRICS.iter(), of_metric),
        ),
    ] {
        let there = read(path);
        let wanted = replaced(&there, place, &text);
        let wanted = wanted.unwrap_or_else(|| panic!("{path} has no place for what is written"));
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(root().join(path), &wanted).expect("a file that can be written");
        } else {
            assert_eq!(
                there, wanted,
                "{path} is not as declared: UPDATE_DOCS=1 cargo tidy"
            );
        }
    }
}

/// A file with another text between two lines; no second line stands for the end of the file.
fn replaced(file: &str, (begin, end): (&str, &str), text: &str) -> Option<String> {
    let (head, rest) = file.split_once(begin)?;
    let foot = match end {
        "" => "",
        end => rest.split_once(end)?.1,
    };
    Some(format!("{head}{begin}{text}{end}{foot}"))
}

fn rows<T>(all: impl Iterator<Item = T>, row: impl Fn(T) -> [String; 4]) -> String {
    all.map(|one| format!("| {} |\n", row(one).join(" | ")))
        .collect()
}

fn of_metric(metric: &Metric) -> [String; 4] {
    let kind = match metric.kind {
        Kind::Counter => "counter",
        Kind::Gauge => "gauge",
        Kind::Histogram => "histogram",
    };
    let labels = metric.labels.iter().map(|label| format!("`{label}`"));
    let labels: Vec<_> = labels.collect();
    let name = format!("`{}`", metric.name);
    [
        name,
        kind.to_owned(),
        labels.join(", "),
        metric.help.to_owned(),
    ]
}

fn of_setting(setting: &Setting) -> [String; 4] {
    let names = setting.var.into_iter().chain(setting.alias);
    let names: Vec<_> = names.map(|name| format!("`{name}`")).collect();
    let default = match setting.default {
        DefaultValue::Unset => String::new(),
        DefaultValue::Many([_, ..]) => "a list".to_owned(),
        value => format!("`{}`", in_toml(value)),
    };
    let key = format!("`{}`", setting.key);
    [
        key,
        names.join(", "),
        default,
        setting.text.replace('|', "\\|"),
    ]
}

/// All settings as a configuration file, those without a default commented out.
fn defaults() -> String {
    let mut text = String::new();
    for (table, about) in TABLES {
        if !table.is_empty() {
            put(&mut text, &["\n", &comment(about), &format!("[{table}]\n")]);
        }
        for setting in SETTINGS.iter().filter(|setting| setting.table() == *table) {
            let leaf = setting.key.rsplit('.').next().unwrap_or(setting.key);
            let variable = match (setting.var, setting.alias) {
                (Some(var), Some(alias)) => format!(" Variable:\u{a0}{var} (also read: {alias})"),
                (Some(var), None) => format!(" Variable:\u{a0}{var}"),
                (None, _) => String::new(),
            };
            put(
                &mut text,
                &[&comment(&format!("{}{variable}", setting.text))],
            );
            let line = match setting.default {
                DefaultValue::Unset => format!("# {leaf} = \"{}\"\n", setting.example),
                value => format!("{leaf} = {}\n", in_toml(value)),
            };
            put(&mut text, &[&line]);
        }
    }
    text
}

/// All variables, in the order in which an operator comes to them.
fn sample() -> String {
    let mut text = String::new();
    for (need, title) in [
        (Need::ToServe, "Needed to serve"),
        (Need::OfOld, "Known from the old connector, same meaning"),
        (Need::ToChange, "New"),
    ] {
        let line = format!("# --- {title} ");
        put(&mut text, &[&format!("{line:-<98}\n\n")]);
        let here = SETTINGS.iter().filter(|setting| setting.need == need);
        for setting in here {
            let Some(var) = setting.var else { continue };
            put(&mut text, &[&comment(setting.text)]);
            if !setting.source.is_empty() {
                let words = format!("Where it comes from: {}", setting.source);
                put(&mut text, &[&comment(&words)]);
            } else if !setting.example.is_empty() {
                put(
                    &mut text,
                    &[&comment(&format!("Such as {}", setting.example))],
                );
            }
            let default = match setting.default {
                DefaultValue::One(value) => value,
                DefaultValue::Unset | DefaultValue::Many(_) => "",
            };
            let mark = if need == Need::ToServe { "" } else { "# " };
            put(&mut text, &[mark, var, "=", default, "\n"]);
            if let Some(alias) = setting.alias {
                let words =
                    "# The same in a second spelling, which is read too; do not set both.\n";
                put(&mut text, &[words, "# ", alias, "=\n"]);
            }
            put(&mut text, &["\n"]);
        }
    }
    text
}

/// A value as TOML has it.
fn in_toml(value: DefaultValue) -> String {
    let one = |text: &str| match text.parse::<u64>().is_ok() || matches!(text, "true" | "false") {
        true => text.to_owned(),
        false => format!("\"{text}\""),
    };
    match value {
        DefaultValue::Unset => String::new(),
        DefaultValue::One(text) => one(text),
        DefaultValue::Many([]) => "[]".to_owned(),
        DefaultValue::Many(texts) => {
            let items: Vec<_> = texts
                .iter()
                .map(|text| one(text).replace(' ', "\u{a0}"))
                .collect();
            format!("[\n{}]", wrapped(&(items.join(", ") + ","), "    "))
        }
    }
}

fn comment(words: &str) -> String {
    wrapped(words, "# ")
}

/// Words in lines that begin alike.
fn wrapped(words: &str, start: &str) -> String {
    let (mut text, mut line) = (String::new(), String::new());
    for word in words.split(' ') {
        if !line.is_empty() && line.chars().count() + word.chars().count() + start.len() >= WIDTH {
            put(&mut text, &[start, &line, "\n"]);
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    put(&mut text, &[start, &line, "\n"]);
    // What must not be parted came with such a space.
    text.replace('\u{a0}', " ")
}

fn put(text: &mut String, parts: &[&str]) {
    for part in parts {
        // Writing to a text does not fail.
        let _ = text.write_str(part);
    }
}
