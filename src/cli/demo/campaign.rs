//! What MoEngage sends in the demo: a campaign of several templates, personal, with a few mistakes
//! in it. Pure: the number of a message tells everything about it, so each run sends the same.

use serde_json::{Value, json};

/// What the demo's MoEngage presents.
pub(super) const TOKEN: &str = "demo-token-of-moengage";
/// The brand's WhatsApp Business number. All numbers here are fictional.
pub(super) const BRAND: &str = "+12025550100";

const NAMES: [&str; 16] = [
    "Ana", "Ben", "Chloé", "Daichi", "Elif", "Farah", "Goran", "Hanna", "Inês", "Jonas", "Kemal",
    "Lucía", "Mei", "Noah", "Olga", "Priya",
];
/// One message in so many has a mistake, the first of them at [`FIRST_MISTAKE`].
const MISTAKE_EVERY: u32 = 20;
const FIRST_MISTAKE: u32 = 13;
/// One message in so many is sent twice, as a client does that missed the answer.
const REPEAT_EVERY: u32 = 40;
const FIRST_REPEAT: u32 = 25;

/// One POST to the gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Post {
    pub(super) token: &'static str,
    pub(super) body: String,
    pub(super) expected: Expected,
}

/// What the gateway should answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expected {
    Success,
    /// A refusal with this code.
    Code(&'static str),
    /// The same, unless the gateway does not know the template's details yet: then success now and
    /// a `failed` callback later.
    CodeSoonerOrLater(&'static str),
    /// HTTP 400.
    Malformed,
}

/// The mistakes, in the order in which they come.
const MISTAKES: [fn(u32) -> Post; 6] = [
    |n| {
        changed(n, Expected::Code("7001"), |send| {
            send["template"]["name"] = "black_friday".into()
        })
    },
    |n| {
        changed(n, Expected::Code("7002"), |send| {
            send["to"] = "+1-202-CALL-NOW".into()
        })
    },
    |n| Post {
        token: "last-years-token",
        ..sound(n, Expected::Code("7000"))
    },
    |n| {
        changed(n, Expected::Code("7004"), |send| {
            send["template"]["components"] = json!([{ "type": "carousel", "cards": [] }]);
        })
    },
    |n| Post {
        body: format!(r#"{{"msg_id": "{}", "from": "#, msg_id(n)),
        ..sound(n, Expected::Malformed)
    },
    |n| {
        changed(n, Expected::CodeSoonerOrLater("7001"), |send| {
            send["template"] = json!({ "name": "order_update", "language": { "code": "en_US" },
            "components": [ body(&[text("Ana")]) ] });
        })
    },
];

/// The id of message `n`.
pub(super) fn msg_id(n: u32) -> String {
    format!("demo_wa_{n:06}")
}

/// The number of the person that message `n` goes to: another one for each, so that a message sent
/// twice would show.
pub(super) fn phone(n: u32) -> String {
    format!("1{}555{:04}", 201 + n / 10_000, n % 10_000)
}

/// Message `n`, counted from 0.
pub(super) fn post(n: u32) -> Post {
    if n % MISTAKE_EVERY == FIRST_MISTAKE {
        let which = (n / MISTAKE_EVERY) as usize % MISTAKES.len();
        return MISTAKES[which](n);
    }
    sound(n, Expected::Success)
}

/// Whether message `n` is sent a second time.
pub(super) fn is_repeated(n: u32) -> bool {
    n % REPEAT_EVERY == FIRST_REPEAT
}

/// One more message to the person of message `n`, who wrote STOP.
pub(super) fn after_stop(n: u32) -> Post {
    changed(n, Expected::Code("7003"), |send| {
        send["msg_id"] = "demo_wa_after_stop".into()
    })
}

/// A message to try by hand.
pub(super) fn by_hand() -> String {
    json!({ "msg_id": "hello-1", "from": BRAND, "to": "+12025550143", "template": {
        "name": "order_update", "language": { "code": "en_US" },
        "components": [ body(&[text("Ana"), text("A-1042")]) ] } })
    .to_string()
}

fn sound(n: u32, expected: Expected) -> Post {
    Post {
        token: TOKEN,
        body: send(n).to_string(),
        expected,
    }
}

fn changed(n: u32, expected: Expected, change: fn(&mut Value)) -> Post {
    let mut send = send(n);
    change(&mut send);
    Post {
        body: send.to_string(),
        ..sound(n, expected)
    }
}

fn send(n: u32) -> Value {
    let name = NAMES[n as usize % NAMES.len()];
    let (template, language, components) = content(n, name);
    json!({
        "msg_id": msg_id(n),
        "from": BRAND,
        "to": format!("+{}", phone(n)),
        "template": {
            "name": template, "language": { "code": language }, "components": components,
        },
    })
}

/// Templates in turn: text, picture, document, video, money and date, buttons of both kinds.
fn content(n: u32, name: &str) -> (&'static str, &'static str, Value) {
    let order = format!("A-{}", 1000 + n);
    match n % 10 {
        0 => {
            let values = [text(name), text(&order)];
            ("order_update", "en_US", json!([body(&values)]))
        }
        1 => {
            let parts = json!([media("image", "spring.jpg"), body(&[text("20%")])]);
            ("spring_sale", "en_GB", parts)
        }
        2 => {
            let parts = json!([media("document", "rechnung.pdf"), body(&[text(&order)])]);
            ("invoice_ready", "de", parts)
        }
        3 => ("payment_due", "en_US", json!([body(&money_and_date())])),
        4 => {
            let (keep, move_it) = (tap("0", "keep-10:30"), tap("1", "move-10:30"));
            let parts = json!([body(&[text("10:30")]), keep, move_it]);
            ("confirm_slot", "en_US", parts)
        }
        5 => {
            let parts = json!([body(&[text(&order)]), link("0", &order)]);
            ("track_parcel", "en_US", parts)
        }
        6 => {
            let (header, body) = (media("image", "nuevo.jpg"), body(&[text(name)]));
            let parts = json!([header, body, link("0", "primavera"), tap("1", "no-gracias")]);
            ("new_arrivals", "es", parts)
        }
        7 => {
            let header = json!({ "type": "header", "parameters": [text(name)] });
            ("greeting", "en", json!([header]))
        }
        8 => (
            "how_to_start",
            "pt_BR",
            json!([media("video", "comecar.mp4")]),
        ),
        _ => ("welcome_back", "en", json!([body(&[text(name)])])),
    }
}

fn money_and_date() -> [Value; 2] {
    let money = json!({ "fallback_value": "$12.50", "code": "USD", "amount_1000": 12_500 });
    [
        json!({ "type": "currency", "currency": money }),
        json!({ "type": "date_time", "date_time": { "fallback_value": "March 3, 2031" } }),
    ]
}

fn text(value: &str) -> Value {
    json!({ "type": "text", "text": value })
}

fn body(parameters: &[Value]) -> Value {
    json!({ "type": "body", "parameters": parameters })
}

fn media(kind: &str, file: &str) -> Value {
    let link = format!("https://cdn.shop.example/{file}");
    json!({ "type": "header", "parameters": [ { "type": kind, kind: { "link": link } } ] })
}

fn tap(index: &str, payload: &str) -> Value {
    json!({ "type": "button", "sub_type": "quick_reply", "index": index,
            "parameters": [ { "type": "payload", "payload": payload } ] })
}

fn link(index: &str, suffix: &str) -> Value {
    json!({ "type": "button", "sub_type": "url", "index": index, "parameters": [text(suffix)] })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn one_in_twenty_has_a_mistake_and_every_mistake_comes() {
        let bad = |post: &Post| post.expected != Expected::Success;
        let posts: Vec<Post> = (0..200).map(post).collect();
        assert_eq!(posts.iter().filter(|post| bad(post)).count(), 10);
        let kinds: HashSet<String> = posts
            .iter()
            .filter(|post| bad(post))
            .map(|post| format!("{:?}", post.expected))
            .collect();
        assert_eq!(kinds.len(), MISTAKES.len());
        assert_eq!((0..60).map(post).filter(bad).count(), 3);
    }

    #[test]
    fn what_is_repeated_is_sound() {
        let repeated: Vec<u32> = (0..10_000).filter(|n| is_repeated(*n)).collect();
        assert_eq!(repeated.len(), 250);
        assert!(
            repeated
                .iter()
                .all(|n| post(*n).expected == Expected::Success)
        );
    }

    #[test]
    fn everyone_gets_one_message() {
        let phones: HashSet<String> = (0..100_000).map(phone).collect();
        assert_eq!(phones.len(), 100_000);
        assert!(phones.iter().all(|phone| phone.len() == 11));
        let ids: HashSet<String> = (0..100_000).map(msg_id).collect();
        assert_eq!(ids.len(), 100_000);
    }
}
