//! The real front door over a real embedded store, and everything it says while it is asked.

use crate::accounts::{Account, Channel, Channels, Pause};
use crate::domain::policy::Policy;
use crate::domain::{AccountId, ChannelId, Keywords, Phone};
use crate::doors::moengage::batch::{Batch, cut};
use crate::doors::moengage::timestamp::TimestampUnit;
use crate::doors::moengage::{self, SendState};
use crate::http::finish;
use crate::intake::Intake;
use crate::limit::{Limiter, Rate};
use crate::outbox::Outbox;
use crate::providers::jumper::webhook::receive::Receiver;
use crate::providers::jumper::webhook::routes;
use crate::providers::jumper::webhook::secret::{Wanted, Webhook};
use crate::store::embedded::{Settings, Store};
use crate::store::{self, CallbackQueue, EventRules, Ledger, RelayOutcome};
use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response};
use http_body_util::BodyExt;
use serde_json::Value;
use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::runtime::Runtime;
use tower::ServiceExt;
use tracing::Dispatch;

/// The token of the callers.
pub(super) const TOKEN: &str = "tok-s3cret-of-the-caller";
/// The secret in the webhook's path.
pub(super) const SECRET: &str = "path-s3cret-of-the-webhook";

/// Whether a body holds a secret of ours where a value belongs, such as an id: it is repeated like any other then.
pub(super) fn tells_a_secret(body: &[u8]) -> bool {
    let has = |secret: &str| {
        body.windows(secret.len())
            .any(|some| some == secret.as_bytes())
    };
    [TOKEN, SECRET].into_iter().any(has)
}
/// Requests to one store; a fresh one begins small and fast again.
const REQUESTS: u32 = 4000;

/// A gateway's public side, without the listener.
pub(super) struct Door {
    runtime: Runtime,
    router: Router,
    log: Log,
    dispatch: Dispatch,
    pub(super) store: store::Outbox,
    pub(super) channel: ChannelId,
    left: u32,
    // The last one: the store is closed before its directory goes.
    dir: Dir,
}

/// What one request was answered.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) json: Value,
    /// The answer and everything that was logged.
    pub(super) output: String,
}

impl Door {
    pub(super) fn open() -> Self {
        let dir = Dir::new();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let settings = Settings {
            data_dir: dir.0.clone(),
            min_free: 0,
            mark_dirty: false,
        };
        let store = Store::open(&settings).expect("a store in the temporary directory");
        let channel = Arc::new(channel());
        let id = channel.id.clone();
        let channels = Arc::new(Channels::new(vec![channel]));
        let outbox = Outbox::new(store::Outbox::Embedded(store), [id.clone()]);
        let store = outbox.store.clone();
        let wanted = Wanted {
            secrets: vec![SECRET.into()],
            ..Wanted::default()
        };
        let webhook = Webhook::load(id.clone(), wanted, store.clone());
        let webhook = runtime.block_on(webhook).expect("the store reads");
        let webhooks = Arc::new(HashMap::from([(id.to_string(), Arc::new(webhook))]));
        let receiver = Receiver::new(&channels, &webhooks, outbox.clone(), rules, Vec::new());
        let state = SendState {
            channels,
            intake: Intake::new(outbox, HashMap::new()),
        };
        let router = finish(
            moengage::routes(state).merge(routes::routes(receiver)),
            [moengage::paths(), routes::paths()].concat(),
        );
        let log = Log::default();
        let writer = log.clone();
        let dispatch = Dispatch::new(
            tracing_subscriber::fmt()
                .with_max_level(tracing::Level::TRACE)
                .with_ansi(false)
                .with_writer(move || writer.clone())
                .finish(),
        );
        Self {
            runtime,
            router,
            log,
            dispatch,
            store,
            channel: id,
            left: REQUESTS,
            dir,
        }
    }

    /// Where the store is.
    pub(super) fn dir(&self) -> &Path {
        &self.dir.0
    }

    /// Whether this one has served long enough.
    pub(super) fn is_worn(&self) -> bool {
        self.left == 0
    }

    /// Runs work of the store.
    pub(super) fn wait<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }

    pub(super) fn ledger(&self) -> Ledger {
        self.store.ledger(&self.channel)
    }

    /// Asks once. Checks what holds for every answer: JSON, no 5xx, no secret of ours, nothing lost.
    pub(super) fn ask(&mut self, request: Request<Body>) -> Answer {
        self.left -= 1;
        let router = self.router.clone();
        let (status, kind, body) = tracing::dispatcher::with_default(&self.dispatch, || {
            self.runtime.block_on(async {
                let Ok(answer) = router.oneshot(request).await;
                whole(answer).await
            })
        });
        let text = String::from_utf8(body).expect("an answer is text");
        assert!(status < 500, "{status}: {text}");
        assert_eq!(kind, "application/json", "{status}: {text}");
        let json = serde_json::from_str(&text).expect("an answer is JSON");
        let output = text + "\n" + &self.log.take();
        for secret in [TOKEN, SECRET] {
            assert!(!output.contains(secret), "{output}");
        }
        let ledger = self.ledger();
        assert_eq!(ledger.lost(), 0, "{ledger:?}");
        Answer {
            status,
            json,
            output,
        }
    }

    /// Takes what waits for MoEngage, which proves that each row can be read again, and what goes
    /// out is JSON; then it is done with.
    pub(super) fn relay(&self) {
        for queue in CallbackQueue::all_of(&self.channel) {
            while self.relay_some(&queue) > 0 {}
        }
        let ledger = self.ledger();
        assert_eq!(
            (ledger.callbacks_waiting, ledger.dead_letters),
            (0, 0),
            "a callback could not be read again"
        );
    }

    fn relay_some(&self, queue: &CallbackQueue) -> usize {
        let now = crate::clock::now();
        let taken = self.wait(self.store.take_callbacks(queue, 50, now));
        let taken = taken.expect("callbacks");
        let callbacks: Vec<_> = taken.iter().map(|one| one.callback.clone()).collect();
        let mut rest = &callbacks[..];
        while !rest.is_empty() {
            let fits = cut(rest, 50, 150_000);
            for unit in [TimestampUnit::Seconds, TimestampUnit::Milliseconds] {
                let body = Batch::new(&rest[..fits], unit).bytes();
                let json = serde_json::from_slice::<Value>(&body).expect("a callback is JSON");
                assert!(json["statuses"].is_array() || json["context"].is_object());
            }
            rest = &rest[fits..];
        }
        let summary = String::new();
        let ends = taken.iter().map(|one| {
            let summary = summary.clone();
            (one.handle, RelayOutcome::Taken { summary })
        });
        let settled = self.store.settle_callbacks(queue, ends.collect(), now);
        self.wait(settled).expect("callbacks are settled");
        taken.len()
    }
}

async fn whole(answer: Response<Body>) -> (u16, String, Vec<u8>) {
    let kind = answer.headers().get("content-type");
    let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let (status, kind) = (answer.status().as_u16(), kind.to_owned());
    let body = answer.into_body().collect().await.expect("a whole answer");
    (status, kind, body.to_bytes().to_vec())
}

/// A whole number of a person must not be said.
pub(super) fn assert_masked(output: &str, phone: Phone) {
    assert!(!is_said(output, phone), "a whole number is said: {output}");
}

/// Whether a number's digits stand somewhere, alone, with up to three of the usual separators
/// between two of them.
pub(super) fn is_said(output: &str, phone: Phone) -> bool {
    let digits = phone.digits();
    let beside = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
    let stands_at = |(at, _): (usize, &str)| {
        let end = end_of(&output[at..], &digits).map(|length| at + length);
        !beside(output[..at].chars().next_back())
            && end.is_some_and(|end| !beside(output[end..].chars().next()))
    };
    digits.len() >= 9 && output.match_indices(&digits[..1]).any(stands_at)
}

/// Where these digits end, if the text begins with them.
fn end_of(text: &str, digits: &str) -> Option<usize> {
    let joins = |c: char| " \u{a0}-.()/_".contains(c);
    let mut rest = text;
    for digit in digits.chars() {
        let gap: String = rest.chars().take_while(|c| joins(*c)).collect();
        let after = rest[gap.len()..].strip_prefix(digit);
        rest = after.filter(|_| gap.chars().count() <= 3)?;
    }
    Some(text.len() - rest.len())
}

fn channel() -> Channel {
    let rate = Rate {
        per_second: None,
        concurrency: 1,
    };
    let account = AccountId::parse("default").expect("a name");
    Channel {
        id: ChannelId::parse("default").expect("a name"),
        account: Arc::new(Account::new(account, Limiter::new(rate, Duration::ZERO))),
        tokens: vec![TOKEN.into()],
        callback_url: "http://127.0.0.1:9/".into(),
        waba_number: None,
        policy: Policy::default(),
        max_queue: None,
        starts_paused: false,
        pause: Pause::default(),
    }
}

fn rules(channel: &Channel) -> EventRules {
    EventRules {
        channel: channel.id.clone(),
        account: channel.account.id.clone(),
        keywords: Keywords::new::<&str>(&[], &[], &[]),
        reply_window: Duration::from_secs(7 * 86_400),
        kept: Duration::from_secs(31 * 86_400),
        clock_doubt: Duration::ZERO,
        vouched: true,
        relay_unmatched: true,
        waba_number: None,
    }
}

/// Everything that is logged, until it is taken.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn take(&self) -> String {
        let bytes = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut log = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        log.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A directory of its own, gone when dropped.
struct Dir(PathBuf);

impl Dir {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("gateway-fuzz-{}-{number}", std::process::id());
        Self(std::env::temp_dir().join(name))
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
