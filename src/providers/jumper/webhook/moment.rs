//! When something happened, in the spellings that providers use. Pure; a time that cannot be read is
//! none, and whether one that can be read is believed is not decided here.

use crate::domain::UnixMs;
use crate::providers::jumper::wire::text;
use serde_json::Value;

/// A moment in any of the spellings seen: Unix seconds as text or number, milliseconds when it is
/// above 1e11, microseconds above 1e14, nanoseconds above 1e17; RFC 3339, or the same without a zone,
/// which is UTC; an HTTP date or another one of RFC 2822; what JavaScript makes of a `Date` as text.
pub(super) fn moment(value: &Value) -> Option<UnixMs> {
    let text = text(value)?;
    if let Ok(number) = text.parse::<f64>() {
        let ms = match number {
            1e17.. => number / 1e6,
            1e14.. => number / 1e3,
            1e11.. => number,
            _ => number * 1000.0,
        };
        // Beyond the year 5000 it is no time of ours.
        #[expect(clippy::cast_possible_truncation, reason = "the range is checked")]
        return (1.0..1e14).contains(&ms).then_some(UnixMs(ms as i64));
    }
    let zoned = text.parse::<jiff::Timestamp>().ok();
    let utc = || {
        // A zone by its name would be passed over.
        let text = Some(&text).filter(|text| !text.contains('['))?;
        text.parse::<jiff::civil::DateTime>()
            .ok()?
            .to_zoned(jiff::tz::TimeZone::UTC)
            .ok()
    };
    let mail = || jiff::fmt::rfc2822::parse(&text).ok();
    let at = zoned
        .or_else(|| utc().map(|at| at.timestamp()))
        .or_else(|| {
            mail()
                .filter(|_| has_sure_zone(&text))
                .map(|at| at.timestamp())
        })
        .or_else(|| javascript(&text))?;
    // Before 1970 it is somebody's word for nothing.
    let ms = at.as_millisecond();
    (ms > 0).then_some(UnixMs(ms))
}

/// Whether a date of RFC 2822 names its zone by numbers, or as UTC. Other names (IST, CST, BST) are used in
/// several parts of the world, and that standard takes most of them for UTC.
fn has_sure_zone(text: &str) -> bool {
    let text = text.split('(').next().unwrap_or_default();
    let zone = text.split_whitespace().next_back().unwrap_or_default();
    let is_utc = ["GMT", "UT", "UTC", "Z"]
        .iter()
        .any(|utc| zone.eq_ignore_ascii_case(utc));
    is_utc || zone.starts_with(['+', '-'])
}

/// Such as `Tue Jan 02 2024 05:30:00 GMT+0530 (India Standard Time)`.
fn javascript(text: &str) -> Option<jiff::Timestamp> {
    let text = text.split(" (").next()?;
    jiff::Timestamp::strptime("%a %b %d %Y %H:%M:%S GMT%z", text).ok()
}
