//! What Jumper answers, for the fuzzer.

use super::classify::classify;
use super::client::fuzz::form;
use super::token::fuzz::tokens;
use super::{templates, wire};
use crate::domain::template::Outgoing;
use crate::domain::{Message, Template, UnixMs};
use crate::http::outgoing;

const NOW: UnixMs = UnixMs(1_930_000_000_000);
/// Statuses that are judged in different ways.
const STATUSES: [u16; 9] = [200, 202, 302, 400, 401, 403, 429, 500, 503];

/// Reads bytes as every kind of answer.
pub(crate) fn answers(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let pause = outgoing::pause(&text, NOW);
    assert!(pause.is_none_or(|pause| pause.as_secs() <= 3600));
    for http in STATUSES {
        let (answer, json) = wire::answer(http, pause, bytes);
        for words in [answer.text.as_deref(), answer.fault.as_deref()] {
            assert!(words.is_none_or(|words| words.chars().count() <= 300));
            assert!(
                words.is_none_or(|words| longest_number(words) < 7),
                "{words:?}"
            );
        }
        let _ = classify(&answer, &[]);
        tokens(&answer, &json, NOW);
        if http == 200 {
            let _ = wire::subscriptions(&json.value);
            let list = templates::list(&json, usize::MAX).unwrap_or_default();
            let id = list
                .variants
                .first()
                .map_or("", |variant| variant.id.as_str());
            let detail = templates::detail(&json, id);
            assert!(detail.body_values.is_none_or(|count| count <= bytes.len()));
        }
    }
}

/// The most digits in a row.
fn longest_number(text: &str) -> usize {
    let runs = text.split(|c: char| !c.is_ascii_digit()).map(str::len);
    runs.max().unwrap_or_default()
}

/// A message becomes a form that can be read back.
pub(crate) fn outgoing(message: &Message) {
    let template: Template = message.template.clone();
    form(&Outgoing {
        to: message.to,
        from: Some(message.from.clone()),
        variant: "5000000000000001".into(),
        template,
    });
}
