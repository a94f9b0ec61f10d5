//! Reads `.env`: `NAME=value` lines into a map, never into the environment of the process.
//!
//! Pure: text in, variables and faults out. A fault names the line and never repeats it.

use super::fault::Fault;
use std::collections::BTreeMap;

/// The name of the file, in the working directory.
pub(super) const FILE: &str = ".env";

/// Reads the text of a `.env` file. A later line wins.
pub(crate) fn read(text: &str) -> (BTreeMap<String, String>, Vec<Fault>) {
    let mut variables = BTreeMap::new();
    let mut faults = Vec::new();
    for (number, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        // Line by line, because the reader's own errors repeat the line, which may be a secret.
        match dotenvy::from_read_iter(quoted(line).as_bytes()).next() {
            Some(Ok((name, value))) => drop(variables.insert(name, value)),
            None => {}
            Some(Err(_)) => faults.push(Fault::new(
                FILE,
                format_args!("line {}", number + 1),
                "must be NAME=value; a value with ' or \" in it goes between quotes of the other kind",
            )),
        }
    }
    (variables, faults)
}

/// Puts a bare value between quotes. The old connector and `docker --env-file` take
/// `JUMPER_BASIC_AUTH=Basic abc` as it stands; dotenvy would not.
fn quoted(line: &str) -> String {
    let Some((name, value)) = line.split_once('=') else {
        return line.to_owned();
    };
    let value = value.trim();
    let bare = !value.is_empty() && !value.starts_with(['\'', '"', '#']) && !value.contains('\'');
    if line.trim_start().starts_with('#') || !bare {
        return line.to_owned();
    }
    let end = value
        .find(" #")
        .or(value.find("\t#"))
        .unwrap_or(value.len());
    format!("{name}='{}'", value[..end].trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lines_are_read_as_the_old_connector_reads_them() {
        let cases = [
            ("A=b", Some("b")),
            ("A=Basic a2V5OnM=", Some("Basic a2V5OnM=")),
            ("A = b c  # comment", Some("b c")),
            ("export A=b", Some("b")),
            ("A=\"b c\"", Some("b c")),
            ("A='b $c # d'", Some("b $c # d")),
            ("A=b$c", Some("b$c")),
            ("A=https://x.test/#y?z=1", Some("https://x.test/#y?z=1")),
            ("A=", Some("")),
            ("A= # comment", Some("")),
            ("A=b\r\nA=c", Some("c")),
            ("\u{feff}A=b", Some("b")),
            ("# A=b c", None),
            ("", None),
        ];
        for (text, value) in cases {
            let (variables, faults) = read(text);
            assert!(faults.is_empty(), "{text}: {faults:?}");
            assert_eq!(variables.get("A").map(String::as_str), value, "{text}");
        }
    }

    #[test]
    fn a_broken_line_is_named_and_not_repeated() {
        let (variables, faults) = read("A=1\n\nhunter2 hunter2\nB=\"hunter2\nC=3");
        assert_eq!(variables.len(), 2);
        let text = format!("{faults:?}");
        assert!(text.contains("line 3") && text.contains("line 4"), "{text}");
        assert!(!text.contains("hunter2"), "{text}");
    }

    proptest! {
        #[test]
        fn reading_never_panics(text in "([A-Z]{0,3}=)?[\\PC\n'\"#$={}\\\\]{0,40}") {
            read(&text);
        }

        #[test]
        fn a_bare_value_comes_as_it_stands(value in "[A-Za-z0-9+/=$:_-][A-Za-z0-9+/= $:_-]{0,30}") {
            let (variables, faults) = read(&format!("NAME={value}"));
            prop_assert!(faults.is_empty());
            prop_assert_eq!(variables["NAME"].as_str(), value.trim());
        }
    }
}
