//! Load on a running gateway: a fixed arrival rate or as fast as it goes, and percentiles.
//!
//! `cargo bench --bench load -- accept --rate 12500 --seconds 20 --addr 127.0.0.1:3001`

mod calls;

use calls::{Calls, send, status};
use std::io::{self, Write as _};
use std::sync::Arc;
use std::time::Duration;

struct Args {
    kind: String,
    prefix: String,
    calls: Calls,
}

fn args() -> Args {
    let mut args = Args {
        kind: "accept".into(),
        prefix: format!("{:x}", std::process::id()),
        calls: Calls {
            addr: ([127, 0, 0, 1], 3001).into(),
            path: String::new(),
            token: "tok-for-the-load-run".into(),
            rate: 0.0,
            length: Duration::from_secs(10),
            connections: 64,
        },
    };
    let mut words = std::env::args().skip(1).filter(|word| word != "--bench");
    while let Some(word) = words.next() {
        let mut value = || {
            words
                .next()
                .unwrap_or_else(|| panic!("{word} wants a value"))
        };
        let calls = &mut args.calls;
        match word.as_str() {
            "--addr" => calls.addr = value().parse().expect("an address"),
            "--path" => calls.path = value(),
            "--token" => calls.token = value(),
            "--rate" => calls.rate = value().parse().expect("a rate"),
            "--seconds" => calls.length = Duration::from_secs(value().parse().expect("seconds")),
            "--connections" => calls.connections = value().parse().expect("a number"),
            "--prefix" => args.prefix = value(),
            kind => args.kind = kind.into(),
        }
    }
    if args.calls.path.is_empty() {
        let path = if args.kind == "accept" {
            "/jumper_send_whatsapp"
        } else {
            "/jumper_callback"
        };
        args.calls.path = path.into();
    }
    args
}

#[tokio::main(flavor = "multi_thread", worker_threads = 1)]
async fn main() -> io::Result<()> {
    let Args {
        kind,
        prefix,
        calls,
    } = args();
    let body = if kind == "accept" { send } else { status };
    let done = calls::make(calls, move |n| body(&prefix, n), Arc::default()).await;
    writeln!(
        io::stdout(),
        "{kind}: {} done, {} failed, {:.0}/s; ms p50 {:.2} p90 {:.2} p99 {:.2} p99.9 {:.2} max {:.2}",
        done.requests(),
        done.failed,
        done.requests() as f64 / done.took.as_secs_f64(),
        done.ms(0.5),
        done.ms(0.9),
        done.ms(0.99),
        done.ms(0.999),
        done.ms(1.0),
    )
}
