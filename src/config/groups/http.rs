//! The process and its public listener.

use crate::config::parse::{self, Bare, whole};
use crate::config::reader::{Reader, SHORT_TOKENS, count, one, short, time};
use crate::config::setting::{Need, Setting, setting};
use std::net::IpAddr;
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3600);
const TEN_MINUTES: Duration = Duration::from_secs(600);

settings! {
    /// The process as a whole.
    struct Process {
        /// How long claimed work may take to finish after SIGTERM; the rest waits for the next start.
        drain_timeout: Duration = time(Duration::ZERO..=HOUR, Bare::Refused),
            setting("drain_timeout").default("20s");
    }
}

settings! {
    /// The public listener.
    struct Http {
        /// The port; 0 takes any free one.
        port: u16 = one(whole(0..=65535)),
            setting("http.port").var("PORT").need(Need::OfOld).default("3001");
        /// The address to listen at; 0.0.0.0 is all interfaces.
        bind: IpAddr = one(parse::ip_addr),
            setting("http.bind").default("0.0.0.0");
        /// Bounds every answer of ours; a number without unit is seconds.
        response_timeout: Duration = time(Duration::from_millis(10)..=TEN_MINUTES, Bare::Seconds),
            setting("http.response_timeout").var("RESPONSE_TIMEOUT").need(Need::OfOld).default("30s");
        /// How long the head of a request may take to come in.
        header_timeout: Duration = short(),
            setting("http.header_timeout").default("10s");
        /// How long the body of a request may take to come in.
        body_timeout: Duration = short(),
            setting("http.body_timeout").default("10s");
        /// How long a connection may idle between two requests.
        idle_timeout: Duration = short(),
            setting("http.idle_timeout").default("75s");
        /// The largest body of a request, in bytes.
        body_limit: usize = one(parse::bytes(1024..=64 << 20)),
            setting("http.body_limit").default("1048576");
        /// The most connections at once.
        max_connections: usize = count(),
            setting("http.max_connections").default("16384");
        /// Whether MOENGAGE_AUTH_AGAINST and OPS_TOKEN may have fewer than 16 characters, which can be
        /// guessed: true or false. For a token that cannot be changed at once.
        allow_short_tokens: bool = one(parse::switch),
            setting(SHORT_TOKENS).var("ALLOW_SHORT_TOKENS").default("false");
    }
}
