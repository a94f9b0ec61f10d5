//! How exactly several replicas keep one rate over Redis, and how much of it they use.
//!
//! `cargo bench --bench rate` starts a `redis-server` of its own and prints, for each rate and
//! number of replicas, the most starts in any half-open second and the share of the rate that was
//! used. Each replica is a thread with a runtime of its own that does what the worker does: it waits
//! until a slot is near, takes the permits of the next 20 ms, and makes calls of 20 ms.
//! `--seconds 20`, `--rate 80`, `--replicas 2` narrow it down (0 replicas: the rate of one process,
//! without Redis); `--delay-ms 2` puts a slow network
//! between replicas and Redis.

use moengage_whatsapp_gateway::domain::AccountId;
use moengage_whatsapp_gateway::limit::{Limiter, Rate};
use moengage_whatsapp_gateway::store::redis::{Connection, Settings};
use std::io::{self, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

/// What the worker expects a claim to take, and how far ahead it takes permits.
const LEAD: Duration = Duration::from_millis(2);
const HORIZON: Duration = Duration::from_millis(20);
/// How late a call may start.
const TOLERANCE: Duration = Duration::from_millis(4);

struct Redis {
    child: Child,
    dir: PathBuf,
}

impl Redis {
    fn start() -> Self {
        let dir = std::env::temp_dir().join(format!("gateway-rate-{}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("a writable temporary directory");
        let child = Command::new("redis-server")
            .args(["--port", "0", "--save", "", "--appendonly", "no"])
            .args(["--unixsocket", "redis.sock"])
            .current_dir(&dir)
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server is installed: tests/run.sh prepare");
        while UnixStream::connect(dir.join("redis.sock")).is_err() {
            std::thread::sleep(Duration::from_millis(5));
        }
        Self { child, dir }
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// A socket that hands everything on to Redis, in both directions, after a delay.
fn slow_road(dir: &Path, delay: Duration) -> PathBuf {
    let (slow, redis) = (dir.join("slow.sock"), dir.join("redis.sock"));
    let listener = UnixListener::bind(&slow).expect("a socket");
    std::thread::spawn(move || {
        for near in listener.incoming().flatten() {
            let far = UnixStream::connect(&redis).expect("Redis");
            for (mut from, mut to) in [
                (
                    near.try_clone().expect("a socket"),
                    far.try_clone().expect("a socket"),
                ),
                (far, near),
            ] {
                let (put, take) = std::sync::mpsc::channel::<(Instant, Vec<u8>)>();
                std::thread::spawn(move || {
                    for (due, bytes) in take {
                        std::thread::sleep(due.saturating_duration_since(Instant::now()));
                        if to.write_all(&bytes).is_err() {
                            return;
                        }
                    }
                });
                std::thread::spawn(move || {
                    let mut buffer = [0; 4096];
                    while let Ok(read @ 1..) = io::Read::read(&mut from, &mut buffer) {
                        if put
                            .send((Instant::now() + delay, buffer[..read].to_vec()))
                            .is_err()
                        {
                            return;
                        }
                    }
                });
            }
        }
    });
    slow
}

/// The limiter of one replica, as Redis or the process alone keeps it.
fn limiter(socket: Option<PathBuf>, account: AccountId, rate: Rate) -> Limiter {
    let Some(socket) = socket else {
        return Limiter::new(rate, TOLERANCE);
    };
    let settings = Settings {
        url: format!("redis+unix://{}", socket.display()).into(),
        wait_replicas: 0,
    };
    let link = Connection::new(&settings).expect("an address");
    Limiter::shared(link, account, rate, TOLERANCE)
}

/// Does what the worker does, until `end`; when its calls started.
async fn replica(limiter: Limiter, end: Instant) -> Vec<Instant> {
    let (mut calls, mut starts) = (JoinSet::new(), Vec::new());
    while Instant::now() < end {
        while let Some(done) = calls.try_join_next() {
            starts.extend(done.expect("a call"));
        }
        match limiter.opens_in(LEAD) {
            None => drop(timeout(Duration::from_secs(1), limiter.room()).await),
            Some(wait) if !wait.is_zero() => sleep(wait).await,
            Some(_) => {
                for mut permit in limiter.reserve(256, LEAD, HORIZON).await {
                    calls.spawn(async move {
                        let made = permit.start().await;
                        sleep(Duration::from_millis(20)).await;
                        permit.started().filter(|_| made)
                    });
                }
            }
        }
    }
    while let Some(done) = calls.join_next().await {
        starts.extend(done.expect("a call"));
    }
    starts
}

fn measure(socket: &Path, rate: u32, replicas: usize, seconds: u64) -> (usize, f64) {
    let account = AccountId::parse(&format!("r{rate}-{replicas}")).expect("an id");
    let set = Rate {
        per_second: Some(f64::from(rate)),
        concurrency: 1000,
    };
    let end = Instant::now() + Duration::from_secs(seconds);
    let threads: Vec<_> = (0..replicas.max(1))
        .map(|_| {
            let socket = (replicas > 0).then(|| socket.to_owned());
            let account = account.clone();
            std::thread::spawn(move || {
                tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .expect("a runtime")
                    .block_on(async { replica(limiter(socket, account, set), end).await })
            })
        })
        .collect();
    let starts = threads
        .into_iter()
        .map(|thread| thread.join().expect("a replica"));
    let mut starts: Vec<Instant> = starts.flatten().collect();
    starts.sort();
    let crowd = starts.iter().enumerate().map(|(first, at)| {
        let after = starts.partition_point(|other| *other < *at + Duration::from_secs(1));
        after - first
    });
    let most = crowd.max().unwrap_or(0);
    let (Some(first), Some(last)) = (starts.first(), starts.last()) else {
        return (0, 0.0);
    };
    let used = (starts.len() - 1) as f64 / (*last - *first).as_secs_f64() / f64::from(rate);
    (most, used)
}

fn main() -> io::Result<()> {
    let (mut seconds, mut delay) = (12, 0);
    let (mut rates, mut replicas) = (vec![10, 80, 1000], vec![0, 1, 2, 4]);
    let mut words = std::env::args().skip(1).filter(|word| word != "--bench");
    while let Some(word) = words.next() {
        let value = words.next().and_then(|value| value.parse::<u64>().ok());
        let value = value.unwrap_or_else(|| panic!("{word} wants a number"));
        match word.as_str() {
            "--seconds" => seconds = value,
            "--delay-ms" => delay = value,
            "--rate" => rates = vec![value as u32],
            "--replicas" => replicas = vec![value as usize],
            _ => panic!("--seconds, --rate, --replicas or --delay-ms, not {word}"),
        }
    }
    let redis = Redis::start();
    let socket = match delay {
        0 => redis.dir.join("redis.sock"),
        delay => slow_road(&redis.dir, Duration::from_millis(delay)),
    };
    let mut out = io::stdout();
    writeln!(
        out,
        "| rate | replicas | most in any second | used |\n|---|---|---|---|"
    )?;
    for rate in rates {
        for replicas in &replicas {
            let (most, used) = measure(&socket, rate, *replicas, seconds);
            writeln!(
                out,
                "| {rate} | {replicas} | {most} | {:.2} % |",
                used * 100.0
            )?;
            out.flush()?;
        }
    }
    Ok(())
}
