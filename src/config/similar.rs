//! Names that may have been meant: of settings, of variables, of tables. Pure.

use super::groups::SETTINGS;

/// The known name that a written one is most like, if one is near enough to be meant.
pub(super) fn meant<'a>(
    written: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let plain = |name: &str| name.to_ascii_uppercase();
    let written = plain(written);
    let length = written.chars().count();
    let near = known
        .into_iter()
        // What is longer or shorter by more letters than may be wrong needs no comparison.
        .filter(|name| name.len().abs_diff(length) <= allowed(name));
    let scored = near.map(|name| (strsim::osa_distance(&written, &plain(name)), name));
    let meant = scored.filter(|(away, name)| *away <= allowed(name));
    meant.min_by_key(|(away, _)| *away).map(|(_, name)| name)
}

/// Letters that may be wrong: the shorter a name is, the more others are like it by chance.
fn allowed(name: &str) -> usize {
    match name.len() {
        0..=3 => 0,
        4..=7 => 1,
        _ => 2,
    }
}

/// The variable that a variable of no setting may have been meant for.
pub(super) fn variable(written: &str) -> Option<&'static str> {
    let known = SETTINGS.iter().flat_map(|one| [one.var, one.alias]);
    meant(written, known.flatten())
}

/// The key that a key of no setting may have been meant for: of the same last part or variable, else
/// one that is written alike.
pub(super) fn key(written: &str) -> Option<&'static str> {
    let last = |key: &'static str| key.rsplit('.').next().unwrap_or(key);
    let leaf = written.rsplit('.').next().unwrap_or(written);
    let same = SETTINGS.iter().find(|setting| {
        let mut names = [setting.var, setting.alias].into_iter().flatten();
        last(setting.key) == leaf || names.any(|name| name.eq_ignore_ascii_case(leaf))
    });
    let keys = || SETTINGS.iter().map(|setting| setting.key);
    let groups = || keys().filter_map(|key| Some(key.split_once('.')?.0));
    let by_leaf =
        || meant(leaf, keys().map(last)).and_then(|leaf| keys().find(|key| last(key) == leaf));
    same.map(|setting| setting.key)
        .or_else(|| meant(written, keys()))
        .or_else(|| meant(written, groups()))
        .or_else(by_leaf)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r_47_a_name_one_or_two_letters_away_is_recognised() {
        for (written, known) in [
            ("MOENGAGE_CALBACK_URL", Some("MOENGAGE_CALLBACK_URL")),
            ("MOENGAGE_CALLBACK_URI", Some("MOENGAGE_CALLBACK_URL")),
            ("moengage_callback_url", Some("MOENGAGE_CALLBACK_URL")),
            ("REDIS_URI", Some("REDIS_URL")),
            ("WEBHOOK_SECERT", Some("WEBHOOK_SECRET")),
            ("PORTS", Some("PORT")),
            ("PATH", None),
            ("HOME", None),
            ("HOSTNAME", None),
            ("REDIS_PORT", None),
            ("REDIS_SERVICE_HOST", None),
            ("KUBERNETES_PORT", None),
            ("LOG_LEVEL", None),
            ("RUST_BACKTRACE", None),
        ] {
            assert_eq!(variable(written), known, "{written}");
        }
        for (written, known) in [
            ("http.prot", Some("http.port")),
            ("htpp", Some("http")),
            ("port", Some("http.port")),
            ("jumper.webhook_secrt", Some("jumper.webhook_secret")),
            ("retention", Some("store.retention")),
            ("store.retenton", Some("store.retention")),
            ("x.callback_ulr", Some("moengage.callback_url")),
            ("nothing.like_it", None),
        ] {
            assert_eq!(key(written), known, "{written}");
        }
    }
}
