//! How log lines look: one event, one line. Ids, texts of the provider and errors of other programs
//! come from outside; nothing in them passes for a line, a field, or a command to a terminal.

use super::LogFormat;
use std::fmt::{self, Debug, Write as _};
use std::io::{self, Write as _};
use tracing::field::{Field, Visit};
use tracing::{Dispatch, Event, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::format::{FormatFields, Writer};
use tracing_subscriber::fmt::time::{FormatTime as _, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent};
use tracing_subscriber::registry::LookupSpan;

/// The most characters of one value; what we write ourselves is far shorter.
const LONGEST_VALUE: usize = 4096;
/// A JSON line beyond this, in bytes, may hold a longer value.
const LONG_LINE: usize = 2 * LONGEST_VALUE;
/// Stands at the end of what was cut.
const CUT: &str = "[cut]";

/// Whether a character could break a line, move a cursor or turn the reading direction.
pub fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}' | '\u{2029}'
            | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// What takes the events of the whole process and writes them to what `out` makes.
pub(super) fn subscriber<W: io::Write + 'static>(
    format: LogFormat,
    filter: &str,
    out: impl Fn() -> W + Send + Sync + 'static,
) -> Dispatch {
    let filter = EnvFilter::try_new(filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(move || OneLine { out: out(), format })
        // It would print them to standard error, and panic where that cannot be written.
        .log_internal_errors(false)
        .with_target(false);
    let subscriber: Box<dyn Subscriber + Send + Sync> = match format {
        LogFormat::Text => Box::new(
            lines
                .with_ansi(false)
                .event_format(Plain)
                .fmt_fields(Values)
                .finish(),
        ),
        LogFormat::Json => Box::new(lines.json().flatten_event(true).finish()),
    };
    Dispatch::new(subscriber)
}

/// The time as the lines have it.
pub(super) fn time() -> String {
    let mut at = String::new();
    let _ = SystemTime.format_time(&mut Writer::new(&mut at));
    at
}

/// A line that does not come through the subscriber, which may be what is broken.
pub(super) fn own(format: LogFormat, level: &str, message: &str) -> Vec<u8> {
    let at = time();
    let line = match format {
        LogFormat::Text => format!("{at} {level:>5} {message}\n"),
        LogFormat::Json => {
            let thread = std::thread::current();
            let event = serde_json::json!({
                "timestamp": at, "level": level, "message": message, "thread": thread.name(),
            });
            format!("{event}\n")
        }
    };
    let mut out = OneLine {
        out: Vec::with_capacity(line.len()),
        format,
    };
    // Memory takes what comes.
    let _ = out.write_all(line.as_bytes());
    out.out
}

/// Writes each event as one line.
pub(super) struct OneLine<W> {
    pub(super) out: W,
    pub(super) format: LogFormat,
}

impl<W: io::Write> io::Write for OneLine<W> {
    /// The subscriber hands over one whole event at a time.
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(event);
        let (line, end) = text
            .strip_suffix('\n')
            .map_or((&*text, ""), |line| (line, "\n"));
        let short = match self.format {
            LogFormat::Json if line.len() > LONG_LINE => shortened(line),
            _ => None,
        };
        let line = short.as_deref().unwrap_or(line);
        if short.is_none() && !line.chars().any(is_unsafe) {
            self.out.write_all(event)?;
            return Ok(event.len());
        }
        let mut safe = String::with_capacity(line.len() + 16);
        for c in line.chars() {
            match self.format {
                _ if !is_unsafe(c) => safe.push(c),
                LogFormat::Text => safe.extend(c.escape_unicode()),
                // Between the quotes of a text: nothing else in JSON of ours holds such a character,
                // and all of them have four digits.
                LogFormat::Json => {
                    let _ = write!(safe, "\\u{:04x}", u32::from(c));
                }
            }
        }
        safe.push_str(end);
        self.out.write_all(safe.as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// A JSON line with its texts cut; nothing when it is not JSON.
fn shortened(line: &str) -> Option<String> {
    let mut event: serde_json::Map<String, serde_json::Value> = serde_json::from_str(line).ok()?;
    for value in event.values_mut() {
        if let serde_json::Value::String(text) = value {
            *text = cut(text);
        }
    }
    serde_json::to_string(&event).ok()
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(LONGEST_VALUE) {
        Some((end, _)) => format!("{}{CUT}", &text[..end]),
        None => text.to_owned(),
    }
}

/// A text line: time, level, message, fields. Spans are for machines; a line says itself whom it is about,
/// and begins alike at every level of the log.
struct Plain;

impl<S, N> FormatEvent<S, N> for Plain
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        SystemTime.format_time(&mut writer)?;
        write!(writer, " {:>5} ", event.metadata().level())?;
        context.format_fields(writer.by_ref(), event)?;
        writeln!(writer)
    }
}

/// The fields of a text line: `name=value`, the value between quotes unless it is a plain word.
struct Values;

impl<'w> FormatFields<'w> for Values {
    fn format_fields<R: RecordFields>(&self, writer: Writer<'w>, fields: R) -> fmt::Result {
        let mut line = Line {
            writer,
            result: Ok(()),
            begun: false,
        };
        fields.record(&mut line);
        line.result
    }
}

struct Line<'w> {
    writer: Writer<'w>,
    result: fmt::Result,
    begun: bool,
}

impl Line<'_> {
    fn put(&mut self, field: &Field, value: &str, quoted: bool) {
        let space = if self.begun { " " } else { "" };
        self.begun = true;
        let written = match field.name() {
            "message" => write!(self.writer, "{space}{value}"),
            name if quoted => write!(self.writer, "{space}{name}={value:?}"),
            name => write!(self.writer, "{space}{name}={value}"),
        };
        self.result = self.result.and(written);
    }
}

impl Visit for Line<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, &cut(value), true);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let mut text = String::new();
        // A value that cannot be printed is no reason to panic, which `format!` would do.
        let _ = write!(text, "{value:?}");
        let value = cut(&text);
        let ends = |c: char| c.is_whitespace() || is_unsafe(c) || matches!(c, '"' | '=' | '\\');
        let quoted = value.is_empty() || value.contains(ends);
        self.put(field, &value, quoted);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    /// What others may send us as a text.
    const HOSTILE: [&str; 8] = [
        "a\r\nERROR fake",
        "a\n2031-03-03T10:00:00Z ERROR the gateway is gone",
        "\u{1b}[31mred\u{1b}[2J\u{7}\u{8}",
        "\u{202e}desrever\u{2066}\u{200f}",
        "next\u{2028}line\u{2029}and\u{85}and\u{9b}2J\u{7f}",
        "x level=ERROR msg=\"forged\"",
        "\", \"level\":\"ERROR\", \"x\":\"",
        "nul\u{0}and\\",
    ];

    #[derive(Clone, Default)]
    struct Out(Arc<Mutex<Vec<u8>>>);

    impl Write for Out {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What is written while `work` logs.
    fn logged(format: LogFormat, work: impl FnOnce()) -> String {
        let out = Out::default();
        let kept = out.clone();
        let subscriber = subscriber(format, "debug", move || out.clone());
        tracing::dispatcher::with_default(&subscriber, work);
        let bytes = kept.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    /// One event with a text everywhere where a text may stand.
    fn event(text: &str) {
        tracing::warn!(id = text, error = %text, seen = ?text, "said: {text}");
    }

    #[test]
    fn an_event_is_one_line_of_harmless_characters_whatever_is_in_it() {
        for format in [LogFormat::Text, LogFormat::Json] {
            for text in HOSTILE {
                let log = logged(format, || event(text));
                let (line, rest) = log.split_once('\n').unwrap();
                assert_eq!(rest, "", "{log}");
                assert!(!line.contains(is_unsafe), "{line:?}");
            }
        }
    }

    #[test]
    fn a_json_line_is_json_and_says_exactly_what_came() {
        for text in HOSTILE {
            let log = logged(LogFormat::Json, || event(text));
            let line: Value = serde_json::from_str(&log).unwrap_or_else(|e| panic!("{e}: {log}"));
            assert_eq!((&line["id"], &line["error"]), (&text.into(), &text.into()));
            assert_eq!(line["level"], "WARN");
            assert_eq!(line["message"], format!("said: {text}"));
        }
    }

    /// Reads `name=value` as whoever looks for them in a text line would.
    fn fields(mut rest: &str) -> Vec<(&str, String)> {
        let mut found = Vec::new();
        while let Some((name, value)) = rest.split_once('=') {
            let name = name.rsplit(' ').next().unwrap();
            let mut values = serde_json::Deserializer::from_str(value).into_iter::<String>();
            let end = match (value.starts_with('"'), values.next()) {
                (true, Some(Ok(text))) => {
                    found.push((name, text));
                    values.byte_offset()
                }
                _ => {
                    let end = value.find(' ').unwrap_or(value.trim_end().len());
                    found.push((name, value[..end].to_owned()));
                    end
                }
            };
            rest = &value[end..];
        }
        found
    }

    #[test]
    fn no_value_of_a_text_line_passes_for_a_field() {
        let forged = "x level=ERROR msg=\"forged\" alert=true";
        let log = logged(LogFormat::Text, || {
            tracing::warn!(id = forged, error = %forged, at = %"127.0.0.1:1", n = 7, "it failed");
        });
        let expected = [
            ("id", forged),
            ("error", forged),
            ("at", "127.0.0.1:1"),
            ("n", "7"),
        ];
        assert_eq!(
            fields(&log),
            expected.map(|(name, text)| (name, text.to_owned())),
            "{log}"
        );
        let (_, line) = log.split_once(' ').unwrap();
        let line = line.trim();
        assert!(
            line.starts_with("WARN it failed id=\"x level=ERROR "),
            "{line}"
        );
        assert!(line.ends_with(" at=127.0.0.1:1 n=7"), "{line}");
    }

    #[test]
    fn a_value_has_an_end() {
        let huge = "\u{1b}é".repeat(100_000);
        for format in [LogFormat::Text, LogFormat::Json] {
            let log = logged(format, || event(&huge));
            assert!(log.len() < 40 * LONGEST_VALUE, "{} bytes", log.len());
            assert!(log.contains(CUT));
            assert_eq!(log.lines().count(), 1);
            if format == LogFormat::Json {
                assert!(serde_json::from_str::<Value>(&log).is_ok());
            }
        }
    }
}
