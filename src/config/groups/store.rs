//! Where data is kept, and how long.

use crate::config::parse::{self, whole};
use crate::config::reader::{Reader, long, maybe, one};
use crate::config::redis_url;
use crate::config::setting::{Setting, Show, setting};
use crate::store;
use secrecy::SecretString;
use std::path::PathBuf;
use std::time::Duration;

settings! {
    /// Where data is kept, and how long.
    struct Store {
        /// Redis instead of the embedded store: redis://user:password@host:6379/0, rediss:// with TLS,
        /// unix:///path/of/socket; Redis 7.0 or later, with appendonly yes and noeviction. Several
        /// gateways on one Redis share the work, and settled messages are kept for 8 days. Set, only marks and tokens that Redis did not take are in
        /// data_dir.
        redis_url: Option<SecretString> = maybe(redis_url::parse),
            setting("store.redis_url").var("REDIS_URL").show(Show::Redis)
                .example("redis://redis.internal:6379/0");
        /// How many replicas of Redis must confirm what is accepted; it narrows what a failover may lose.
        redis_wait_replicas: u32 = one(whole(0..=100)),
            setting("store.redis_wait_replicas").var("REDIS_WAIT_REPLICAS").default("0");
        /// The fingerprint of another installation whose messages this one takes over, or several with
        /// commas. A start that finds another one's is refused and names it. Left in place it does nothing
        /// more.
        take_over: Vec<String> = take_over,
            setting("store.take_over").var("STORE_TAKE_OVER").example("1f0c7a93-5be2d884");
        /// Where messages are kept, unless Redis is the store: the directory of the embedded store; one process at a time. With Redis only marks are in it
        /// (how far Redis had come), and new tokens that the store did not take.
        data_dir: PathBuf = one(|text| Ok(PathBuf::from(text))),
            setting("store.data_dir").var("DATA_DIR").default("./data");
        /// Below this many free bytes nothing new is accepted: on its disk, with the free pages of the
        /// store's file. What is queued is sent while 96 MB of the disk (or this, if less) are free. Not
        /// looked at with Redis.
        min_free: u64 = one(parse::bytes(0..=1 << 50)),
            setting("store.min_free").default("256MB");
        /// How long a settled message is kept, and its id remembered; unset, it is 30d, and 8d on Redis.
        retention: Duration = long(),
            setting("store.retention").example("30d");
        /// How long an event that matches no message is kept.
        event_retention: Duration = long(),
            setting("store.event_retention").default("24h");
    }
}

impl Store {
    /// Redis, where that is the store.
    pub fn redis(&self) -> Option<store::redis::Settings> {
        Some(store::redis::Settings {
            url: self.redis_url.clone()?,
            wait_replicas: self.redis_wait_replicas,
        })
    }
}

fn take_over(r: &mut Reader<'_>, setting: &'static Setting) -> Option<Vec<String>> {
    Some(r.maybe(setting, parse::fingerprints)?.unwrap_or_default())
}
