//! A list of opt-outs as a file: CSV with a first line of names. What is wrong in it is told by the line, never by what
//! stands there: it may be a person's number.

use super::is_to_come;
use crate::domain::{ChannelId, OptOut, OptOutEntry, OptOutName, Source, UnixMs};
use csv::{ReaderBuilder, StringRecord, Trim};

/// Lines that are told of.
const MOST_TOLD: usize = 5;

/// The names of the columns; the first two must be there.
const COLUMNS: [&str; 5] = ["channel", "number", "scope", "since", "source"];

/// Reads all lines or says what is wrong with the first that cannot be read. `above`: lines of a longer file that stand
/// above this part of it.
pub(super) fn read(
    bytes: &[u8],
    above: u64,
    now: UnixMs,
    is_channel: impl Fn(&str) -> bool,
) -> Result<Vec<OptOutEntry>, String> {
    // A spreadsheet program puts a mark before the first line.
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let mut reader = ReaderBuilder::new().trim(Trim::All).from_reader(bytes);
    let names = reader
        .headers()
        .map_err(|_| "the file is no text in UTF-8".to_owned())?;
    let columns = columns(names)?;
    let (mut entries, mut wrong) = (Vec::new(), Vec::new());
    for record in reader.records() {
        let (line, read) = match record {
            Ok(record) => {
                let line = record.position().map_or(0, csv::Position::line);
                (line, row(&record, columns, now, &is_channel))
            }
            Err(error) => {
                let line = error.position().map_or(0, csv::Position::line);
                (
                    line,
                    Err("it has more or fewer columns than the first line, or is no UTF-8"),
                )
            }
        };
        match read {
            Ok(one) => entries.push(one),
            Err(words) => wrong.push(format!("line {}: {words}", line + above)),
        }
    }
    if wrong.is_empty() {
        return Ok(entries);
    }
    let more = wrong.len().saturating_sub(MOST_TOLD);
    wrong.truncate(MOST_TOLD);
    let mut words = wrong.join("; ");
    if more > 0 {
        words += &format!("; and {more} more lines");
    }
    Err(words)
}

/// Where each column stands.
fn columns(names: &StringRecord) -> Result<[Option<usize>; 5], String> {
    let wanted = COLUMNS.join(",");
    let known = |name: &&str| COLUMNS.contains(name);
    let place = |name: &str| names.iter().position(|one| one == name);
    let found = COLUMNS.map(place);
    if found[0].is_none() || found[1].is_none() || !names.iter().all(|name| known(&name)) {
        return Err(format!(
            "the first line must name the columns: {wanted}; the last three may be left out"
        ));
    }
    Ok(found)
}

fn row(
    record: &StringRecord,
    columns: [Option<usize>; 5],
    now: UnixMs,
    is_channel: &impl Fn(&str) -> bool,
) -> Result<OptOutEntry, &'static str> {
    let [channel, number, scope, since, source] =
        columns.map(|at| at.and_then(|at| record.get(at)).unwrap_or_default());
    let at = match since {
        // An older program kept no time: any word that has one is later.
        "" if source == Source::UNKNOWN => UnixMs(0),
        "" => now,
        since => {
            let read = since.parse::<jiff::Timestamp>();
            let at =
                read.map_err(|_| "\"since\" must be a time as 2026-01-31T12:00:00Z, or empty")?;
            UnixMs(at.as_millisecond())
        }
    };
    if at.0 < 0 {
        return Err("\"since\" is before 1970");
    }
    if is_to_come(at, now) {
        return Err("\"since\" is still to come");
    }
    let scope = match scope {
        "" => Some(OptOut::All),
        scope => OptOut::parse(scope),
    };
    let source = match source {
        "" => Source::IMPORT,
        source => source,
    };
    Ok(OptOutEntry {
        channel: ChannelId::parse(channel)
            .ok()
            .filter(|_| is_channel(channel))
            .ok_or("there is no channel of this name")?,
        name: OptOutName::parse(number)
            .ok_or("\"number\" must be a phone number with its country code")?,
        scope: scope.ok_or("\"scope\" must be all or marketing")?,
        is_out: true,
        at,
        source: Source::parse(source).ok_or(
            "\"source\" must be a word of up to 32 letters, digits, dots, hyphens and underscores",
        )?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMs = UnixMs(1_930_000_000_000);

    fn all(text: &str) -> Result<Vec<OptOutEntry>, String> {
        read(text.as_bytes(), 0, NOW, |id| id == "default")
    }

    #[test]
    fn columns_stand_in_any_order_and_three_may_be_missing() {
        let entry = all("channel,number\ndefault,+1 202-555-0143\n").unwrap();
        let one = &entry[0];
        assert_eq!(
            (one.name.text(), one.scope, one.at),
            ("12025550143".into(), OptOut::All, NOW)
        );
        assert_eq!((one.source.as_str(), one.is_out), ("import", true));
        let text = "\u{feff}source, since ,scope,number,channel\r\n\
                    crm,2026-01-31T12:00:00+01:00,marketing,\"US.77\",default\r\n,,,12025550143,default";
        let entry = all(text).unwrap();
        assert_eq!(
            (entry[0].source.as_str(), entry[0].scope),
            ("crm", OptOut::Marketing)
        );
        assert_eq!((entry[0].at.0, entry.len()), (1_769_857_200_000, 2));
    }

    #[test]
    fn what_is_wrong_is_told_by_the_line_and_shows_no_number() {
        let rows = [
            ("nobody,12025550143,all,,", "no channel"),
            ("default,call me,all,,", "country code"),
            ("default,12025550143,some,,", "all or marketing"),
            ("default,12025550143,all,yesterday,", "2026-01-31"),
            (
                "default,12025550143,all,2061-01-01T00:00:00Z,",
                "still to come",
            ),
            (
                "default,12025550143,all,1969-12-31T00:00:00Z,",
                "before 1970",
            ),
            ("default,12025550143,all,,=1+1", "word"),
            ("default,12025550143", "columns"),
        ];
        for (row, words) in rows {
            let text =
                format!("channel,number,scope,since,source\ndefault,12025550144,all,,\n{row}\n");
            let error = all(&text).unwrap_err();
            assert!(
                error.starts_with("line 3: ") && error.contains(words),
                "{error}"
            );
            assert!(!error.contains("2025550143"), "{error}");
            let later = read(text.as_bytes(), 1000, NOW, |id| id == "default");
            assert!(later.unwrap_err().starts_with("line 1003: "));
        }
        let many = "channel,number\n".to_owned() + &"x,y\n".repeat(9);
        assert!(all(&many).unwrap_err().ends_with("and 4 more lines"));
        for first in [
            "",
            "12025550143\n",
            "channel,phone\n",
            "channel,number,vip\n",
        ] {
            assert!(all(first).unwrap_err().contains("first line"), "{first}");
        }
        assert!(read(b"channel,number\n\xff,\xff\n", 0, NOW, |_| true).is_err());
    }

    proptest::proptest! {
        #[test]
        fn no_file_makes_it_panic(text in ".{0,200}") {
            let _ = all(&text);
            let _ = all(&format!("channel,number,scope,since,source\n{text}"));
        }
    }
}
