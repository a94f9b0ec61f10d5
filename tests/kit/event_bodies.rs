//! What the tests of statuses, replies and relaying share: event bodies as Jumper writes them, the
//! fold that MoEngage must see, and both sides' books as maps.

use crate::kit::harness::*;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// A recipient a test can have for itself.
pub(crate) fn number(n: usize) -> String {
    format!("+1202555{n:04}")
}

/// Meta's status of one message.
pub(crate) fn meta_status(id: &str, status: &str, seconds: u64) -> Value {
    json!({ "id": id, "status": status, "timestamp": seconds.to_string(), "recipient_id": "12025550143" })
}

/// A change with these statuses.
pub(crate) fn change(statuses: &[Value]) -> Value {
    json!({ "field": "messages", "value": { "messaging_product": "whatsapp", "statuses": statuses } })
}

/// Meta's webhook passed through, with these entries, each a list of changes.
pub(crate) fn meta(entries: &[Vec<Value>]) -> Value {
    let entries: Vec<Value> = entries
        .iter()
        .map(|changes| json!({ "id": "W", "changes": changes }))
        .collect();
    update(json!({ "object": "whatsapp_business_account", "entry": entries }))
}

/// A webhook that tells one status in Meta's shape.
pub(crate) fn status(id: &str, status: &str, seconds: u64) -> Value {
    meta(&[vec![change(&[meta_status(id, status, seconds)])]])
}

/// The time so many seconds ago, in seconds since 1970.
pub(crate) fn ago(seconds: u64) -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.unwrap().as_secs() - seconds
}

/// The same in a text, by the letters of `strftime`.
pub(crate) fn written(seconds: u64, format: &str) -> String {
    let at = jiff::Timestamp::from_second(seconds.try_into().unwrap());
    at.unwrap().strftime(format).to_string()
}

/// A webhook that tells one status in Vonage's shape.
pub(crate) fn vonage(id: &str, status: &str) -> Value {
    update(
        json!({ "message_uuid": id, "status": status, "channel": "whatsapp",
        "to": "12025550143", "timestamp": "2031-03-01T10:00:00Z" }),
    )
}

pub(crate) fn update(data: Value) -> Value {
    json!({ "event": { "type": "UPDATE", "subscription_type": "livechat", "data": data } })
}

/// Sends a message and waits for its receipt; the provider's id.
pub(crate) async fn sent(gateway: &Gateway, sandbox: &Sandbox, msg_id: &str, to: &str) -> String {
    gateway.accept(msg_id, to).await;
    receipt(gateway, sandbox, msg_id, to).await
}

/// Waits for the receipt of the latest message to a person; the provider's id.
pub(crate) async fn receipt(
    gateway: &Gateway,
    sandbox: &Sandbox,
    msg_id: &str,
    to: &str,
) -> String {
    gateway.until_sent(msg_id).await;
    let sends = sandbox.sends_to(&to[1..]).await;
    sends.last().unwrap()["message_id"]
        .as_str()
        .unwrap()
        .to_owned()
}

/// Waits until MoEngage was told exactly this about a message.
pub(crate) async fn until_told(sandbox: &Sandbox, msg_id: &str, words: &[&str]) {
    until(&format!("{msg_id} is told as {words:?}"), async || {
        (sandbox.told(msg_id).await == words).then_some(())
    })
    .await;
}

/// Waits until every planned event was posted.
pub(crate) async fn idle(sandbox: &Sandbox) {
    until("the sandbox is idle", async || {
        (sandbox.get("idle").await["idle"] == true).then_some(())
    })
    .await;
}

/// Waits until all is sent, has its events, and these are told; the ledger then.
pub(crate) async fn settled(gateway: &Gateway, sandbox: &Sandbox) -> Value {
    // What is sent last has its events after that, and these their callbacks.
    gateway.drained().await;
    idle(sandbox).await;
    gateway.drained().await
}

/// What MoEngage has to be told for these events in this order: forwards only.
pub(crate) fn fold(events: &[String]) -> Vec<String> {
    const RANKS: [&str; 4] = ["sent", "failed", "delivered", "read"];
    let mut told: Vec<String> = Vec::new();
    let mut highest = None;
    for event in events {
        let rank = RANKS.iter().position(|word| word == event);
        if rank > highest {
            highest = rank;
            told.push(event.clone());
        }
    }
    told
}

/// Statuses that reached the gateway, by recipient, in the order they were acknowledged.
pub(crate) async fn events_by_recipient(sandbox: &Sandbox) -> BTreeMap<String, Vec<String>> {
    let sends = sandbox.get("sends?limit=100000").await;
    let of = |send: &Value, name: &str| send[name].as_str().unwrap().to_owned();
    let people: BTreeMap<String, String> = sends
        .as_array()
        .unwrap()
        .iter()
        .map(|send| (of(send, "message_id"), of(send, "to")))
        .collect();
    let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for event in sandbox.get("events?limit=100000").await.as_array().unwrap() {
        let words = event["status"].as_str().unwrap();
        if words == "odd" || event["acknowledged"] != 200 {
            continue;
        }
        let person = &people[event["message_id"].as_str().unwrap()];
        let statuses = all.entry(person.clone()).or_default();
        statuses.extend(words.split('+').map(str::to_owned));
    }
    all
}

/// What MoEngage was told, by message, in order.
pub(crate) async fn told_by_message(sandbox: &Sandbox) -> BTreeMap<String, Vec<String>> {
    let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let entries = sandbox.get("callbacks?limit=100000").await;
    for entry in entries.as_array().unwrap() {
        let msg_id = entry["msg_id"].as_str().unwrap().to_owned();
        let word = entry["status"].as_str().unwrap().to_owned();
        all.entry(msg_id).or_default().push(word);
    }
    all
}

/// Compares MoEngage's view of every message `m<n>` to `number(n)` with the fold of what reached
/// the gateway. Repeats of the entry before count as one where `repeats` are legal.
pub(crate) async fn assert_fold(sandbox: &Sandbox, messages: usize, repeats: bool) {
    let events = events_by_recipient(sandbox).await;
    let told = told_by_message(sandbox).await;
    let none = Vec::new();
    for n in 0..messages {
        let expected = fold(events.get(&number(n)[1..]).unwrap_or(&none));
        let mut seen = told.get(&format!("m{n}")).unwrap_or(&none).clone();
        if repeats {
            seen.dedup();
        }
        assert_eq!(seen, expected, "m{n} of {:?}", events.get(&number(n)[1..]));
    }
}

/// Sends `m0..` to a person each.
pub(crate) async fn accept_many(gateway: &Gateway, messages: usize) {
    for n in 0..messages {
        gateway.accept(&format!("m{n}"), &number(n)).await;
    }
}

/// Posts to a path of the public listener; status and body.
pub(crate) async fn post_raw(
    gateway: &Gateway,
    path: &str,
    body: impl Into<reqwest::Body>,
) -> (u16, Value) {
    let url = format!("{}{path}", gateway.url);
    let answer = gateway.http.post(url).body(body).send().await.unwrap();
    let status = answer.status().as_u16();
    let text = answer.text().await.unwrap();
    (
        status,
        serde_json::from_str(&text).unwrap_or(Value::String(text)),
    )
}

/// The value of a line of `/metrics` that begins like this.
pub(crate) fn figure(metrics: &str, line: &str) -> f64 {
    let found = metrics.lines().find_map(|one| one.strip_prefix(line));
    found.map_or(0.0, |value| value.trim().parse().unwrap())
}

/// Whether these digits stand in a text, with up to three of the usual separators between two of
/// them: where they begin.
pub(crate) fn said_at(text: &str, digits: &str) -> Option<usize> {
    let starts = text.match_indices(&digits[..1]).map(|(at, _)| at);
    let mut found = starts.filter(|at| {
        let mut gap = 0;
        let mut wanted = digits.chars().peekable();
        for c in text[*at..].chars() {
            if wanted.next_if_eq(&c).is_some() {
                gap = 0;
            } else if " \u{a0}-.()/_".contains(c) && gap < 3 {
                gap += 1;
            } else {
                break;
            }
            if wanted.peek().is_none() {
                break;
            }
        }
        wanted.peek().is_none()
    });
    found.next()
}

/// Runs the binary to its end without a gateway around it; exit code and output.
pub(crate) fn run_to_end(args: &[&str], setup: &Setup, dir: &std::path::Path) -> (i32, String) {
    let mut all: Vec<&str> = args.to_vec();
    for pair in &setup.set {
        all.extend(["--set", pair]);
    }
    let mut process = Process::start(&all, &setup.env, dir);
    let code = process.wait().expect("no signal ended it");
    (code, process.output())
}

/// An address for somebody who listens there later.
pub(crate) fn own_addr() -> std::net::SocketAddr {
    ([127, 0, 0, 1], own_port()).into()
}

/// A port that nobody has now, below those the system hands out by itself.
pub(crate) fn own_port() -> u16 {
    use std::sync::atomic::{AtomicU16, Ordering};
    static NEXT: AtomicU16 = AtomicU16::new(0);
    loop {
        let spread = u16::try_from(std::process::id() % 200).unwrap() * 50;
        let port = 20_000 + spread + NEXT.fetch_add(1, Ordering::Relaxed) % 50;
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
