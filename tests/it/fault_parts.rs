//! What the fault suite is made of does what it says: the road, the shim and the small disk; and the
//! real gateway behind each of them. The suite itself is in `tests/fault`.

use crate::kit::disk::Disk;
use crate::kit::event_bodies::*;
use crate::kit::harness::*;
use crate::kit::proxy::{Direction, Road, Target, Way};
use crate::kit::shim::Shim;
use rustix::io::Errno;
use serde_json::json;
use std::io::{ErrorKind, Result};
use std::process::Command;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::time::timeout;

/// So long nothing has to come for the tests to believe that nothing comes.
const SILENCE: Duration = Duration::from_millis(150);

/// Sends everything back that comes, a connection at a time or many; after the end it says `end`.
async fn echo() -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(reflect(stream));
        }
    });
    addr
}

async fn reflect(stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite) -> Result<()> {
    let (mut from, mut to) = tokio::io::split(stream);
    tokio::io::copy(&mut from, &mut to).await?;
    to.write_all(b"end").await?;
    to.shutdown().await
}

async fn connected(road: &Road) -> TcpStream {
    TcpStream::connect(road.addr()).await.unwrap()
}

/// Says something and hears it again.
async fn say(stream: &mut TcpStream, words: &[u8]) -> Result<()> {
    stream.write_all(words).await?;
    let mut heard = vec![0; words.len()];
    timeout(PATIENCE, stream.read_exact(&mut heard)).await??;
    assert_eq!(heard, words);
    Ok(())
}

/// Waits for the end of a connection; what it brought before, and how it ended.
async fn rest(stream: &mut TcpStream) -> (Vec<u8>, Result<()>) {
    let mut heard = Vec::new();
    let end = timeout(PATIENCE, stream.read_to_end(&mut heard)).await;
    (heard, end.expect("an end").map(drop))
}

async fn assert_reset(stream: &mut TcpStream) {
    let (heard, end) = rest(stream).await;
    assert_eq!(heard, b"");
    assert_eq!(end.unwrap_err().kind(), ErrorKind::ConnectionReset);
}

async fn assert_silent(stream: &mut TcpStream) {
    assert!(timeout(SILENCE, stream.read_u8()).await.is_err());
}

async fn until_open(road: &Road, connections: usize) {
    until(&format!("{connections} connections"), async || {
        (road.connections() == connections).then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_open_road_hands_on_all_bytes_and_ends() {
    let road = Road::to(Target::Tcp(echo().await)).await;
    let mut streams = Vec::new();
    for _ in 0..50 {
        streams.push(connected(&road).await);
    }
    for stream in &mut streams {
        say(stream, b"one").await.unwrap();
        say(stream, b"two").await.unwrap();
    }
    assert_eq!(road.connections(), 50);
    let (mut from, mut to) = streams.pop().unwrap().into_split();
    let much: Vec<u8> = (0..1_000_000u32).map(|n| (n % 251) as u8).collect();
    let sent = much.clone();
    let writer = tokio::spawn(async move {
        to.write_all(&sent).await.unwrap();
        to.shutdown().await.unwrap();
        to
    });
    let mut heard = Vec::new();
    from.read_to_end(&mut heard).await.unwrap();
    assert_eq!(heard.split_off(much.len()), b"end");
    assert!(heard == much, "bytes were changed");
    drop((writer.await.unwrap(), from));
    until_open(&road, 49).await;
    assert_eq!(road.harmed(), 0);
    drop(road);
    assert_reset(&mut streams[0]).await;
}

#[tokio::test]
async fn a_road_leads_to_sockets_in_the_file_system_and_can_be_led_elsewhere() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("socket");
    let listener = UnixListener::bind(&path).unwrap();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        reflect(stream).await
    });
    let road = Road::to(Target::Tcp(nowhere())).await;
    assert_reset(&mut connected(&road).await).await;
    road.lead_to(Target::Unix(path));
    let mut old = connected(&road).await;
    say(&mut old, b"one").await.unwrap();
    road.lead_to(Target::Tcp(echo().await));
    say(&mut connected(&road).await, b"two").await.unwrap();
    say(&mut old, b"three").await.unwrap();
}

#[tokio::test]
async fn a_refusing_road_resets_what_is_open_and_what_comes_and_a_cut_one_only_what_is_open() {
    let road = Road::to(Target::Tcp(echo().await)).await;
    let mut stream = connected(&road).await;
    say(&mut stream, b"one").await.unwrap();
    road.set(Way::Refuse);
    assert_reset(&mut stream).await;
    let mut fresh = connected(&road).await;
    assert_reset(&mut fresh).await;
    until_open(&road, 0).await;
    road.set(Way::Open);
    let mut stream = connected(&road).await;
    say(&mut stream, b"two").await.unwrap();
    let harmed = road.harmed();
    assert!(harmed > 0, "nothing was counted");
    road.set(Way::Cut);
    assert_reset(&mut stream).await;
    assert!(road.harmed() > harmed);
    say(&mut connected(&road).await, b"three").await.unwrap();
}

#[tokio::test]
async fn a_black_hole_swallows_one_direction_or_both_and_tells_nobody_until_it_ends() {
    let road = Road::to(Target::Tcp(echo().await)).await;
    for direction in [Direction::Forth, Direction::Back, Direction::Both] {
        let mut spared = connected(&road).await;
        let mut stream = connected(&road).await;
        say(&mut spared, b"one").await.unwrap();
        say(&mut stream, b"one").await.unwrap();
        road.set(Way::BlackHole(direction));
        let harmed = road.harmed();
        stream.write_all(b"two").await.unwrap();
        assert_silent(&mut stream).await;
        assert!(road.harmed() > harmed, "nothing was swallowed");
        let mut fresh = connected(&road).await;
        fresh.write_all(b"one").await.unwrap();
        assert_silent(&mut fresh).await;
        road.set(Way::Open);
        assert_reset(&mut stream).await;
        assert_reset(&mut fresh).await;
        // Nothing of this one got lost.
        say(&mut spared, b"two").await.unwrap();
    }
    road.lead_to(Target::Tcp(nowhere()));
    road.set(Way::BlackHole(Direction::Both));
    let mut fresh = connected(&road).await;
    assert_silent(&mut fresh).await;
    road.set(Way::Open);
    assert_reset(&mut fresh).await;
}

#[tokio::test]
async fn a_slow_road_takes_its_time_and_its_pace_and_recovers_at_once() {
    let road = Road::to(Target::Tcp(echo().await)).await;
    let mut stream = connected(&road).await;
    let slow = |delay_ms, bytes_per_second, direction| Way::Slow {
        delay_ms,
        bytes_per_second,
        direction,
    };
    road.set(slow(100, 1_000_000, Direction::Both));
    let began = Instant::now();
    say(&mut stream, b"one").await.unwrap();
    assert!(began.elapsed() >= Duration::from_millis(200));
    assert!(road.harmed() > 0, "nothing was slow");
    road.set(slow(0, 20_000, Direction::Back));
    let began = Instant::now();
    say(&mut stream, &[7; 10_000]).await.unwrap();
    let took = began.elapsed().as_millis();
    assert!(took >= 480, "{took} ms");
    road.set(slow(60_000, 1, Direction::Forth));
    stream.write_all(b"two").await.unwrap();
    assert_silent(&mut stream).await;
    road.set(Way::Open);
    let mut heard = [0; 3];
    timeout(PATIENCE, stream.read_exact(&mut heard))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(&heard, b"two");
}

#[tokio::test]
async fn a_half_closed_road_ends_one_direction_and_keeps_the_other() {
    let road = Road::to(Target::Tcp(echo().await)).await;
    let mut old = connected(&road).await;
    say(&mut old, b"one").await.unwrap();
    road.set(Way::HalfClose(Direction::Forth));
    // The other side heard the end and still answers.
    let (heard, end) = rest(&mut old).await;
    assert_eq!((heard.as_slice(), end.is_ok()), (&b"end"[..], true));
    let mut fresh = connected(&road).await;
    fresh.write_all(b"one").await.unwrap();
    let (heard, end) = rest(&mut fresh).await;
    assert_eq!((heard.as_slice(), end.is_ok()), (&b"oneend"[..], true));
    road.set(Way::Open);
    let mut stream = connected(&road).await;
    say(&mut stream, b"one").await.unwrap();
    road.set(Way::HalfClose(Direction::Back));
    let (heard, end) = rest(&mut stream).await;
    assert_eq!((heard.as_slice(), end.is_ok()), (&b""[..], true));
    stream.write_all(b"still taken").await.unwrap();
}

/// How many bytes each of so many connections carried before it broke, if it did.
async fn ragged(seed: u64) -> Vec<Option<usize>> {
    let road = Road::to(Target::Tcp(echo().await)).await;
    road.set(Way::Ragged { seed, share: 0.5 });
    let mut ends = Vec::new();
    for _ in 0..40 {
        let mut stream = connected(&road).await;
        let mut said = 0;
        let broke = loop {
            if said == 16_384 {
                break None;
            }
            match say(&mut stream, &[1; 64]).await {
                Ok(()) => said += 64,
                Err(_) => break Some(said),
            }
        };
        ends.push(broke);
    }
    ends
}

#[tokio::test]
async fn a_ragged_road_breaks_the_share_it_was_told_at_places_that_the_seed_tells() {
    let (first, again, other) = (ragged(7).await, ragged(7).await, ragged(8).await);
    assert_eq!(first, again);
    assert_ne!(first, other);
    let broken = first.iter().flatten().count();
    assert!((8..=32).contains(&broken), "{first:?}");
    let most = first.iter().flatten().max().unwrap();
    assert!(*most <= 8_192, "{first:?}");
}

/// The usual setup, with the shim loaded into the gateway.
pub(crate) fn with_shim(setup: Setup, shim: &Shim) -> Setup {
    let pairs = shim.env();
    pairs
        .iter()
        .fold(setup, |setup, (name, value)| setup.env(name, value))
}

/// Milliseconds since 1970 by the clock of these tests.
fn now_ms() -> i64 {
    let now = std::time::SystemTime::now();
    let since = now.duration_since(std::time::UNIX_EPOCH).unwrap();
    i64::try_from(since.as_millis()).unwrap()
}

#[tokio::test]
async fn the_gateway_sees_the_clock_of_the_shim() {
    embedded_only!("the shim is told apart from Redis' own clock in the suite");
    let sandbox = Sandbox::start(json!({ "event_mode": "none" })).await;
    let shim = Shim::build();
    let gateway = Gateway::start(&sandbox, with_shim(Setup::towards(&sandbox), &shim)).await;
    assert_eq!(shim.seen().clocks, 0, "nothing is shifted yet");
    // Across the border of a second, whenever this runs.
    let sooner = -3_600_600 - now_ms() % 1000;
    // A clock that is set back is not believed at once: until then time goes on.
    for (id, shift, stamped) in [
        ("later", 3_600_000, 3_600_000),
        ("sooner", sooner, 0),
        ("now", 0, 0),
    ] {
        shim.clock(shift);
        let before = now_ms() + stamped;
        gateway.accept(id, &number(0)).await;
        let after = now_ms() + stamped;
        let accepted = accepted_ms(&gateway, id).await;
        // A leap is known to a few milliseconds: both clocks are read in whole ones, one after the other.
        let is_right = (before - 250..=after + 250).contains(&accepted);
        assert!(is_right, "{id}: {accepted} is not in {before}..={after}");
    }
    assert!(shim.seen().clocks > 0);
    // The monotonic clock is as it was: what waits by it is neither early nor late.
    assert_eq!(gateway.drained().await["accepted_by_provider"], 3);
}

#[tokio::test]
async fn what_was_accepted_while_the_clock_was_an_hour_ahead_is_sent_once_it_is_right() {
    let sandbox = Sandbox::start(json!({})).await;
    let shim = Shim::build();
    let gateway = Gateway::start(&sandbox, with_shim(Setup::towards(&sandbox), &shim)).await;
    gateway.channel("pause").await;
    shim.clock(3_600_000);
    for n in 0..20 {
        gateway.accept(&format!("m{n}"), &number(n)).await;
    }
    shim.clock(0);
    gateway.channel("resume").await;
    assert_eq!(gateway.drained().await["accepted_by_provider"], 20);
}

/// When a message was accepted, as the ops listener tells.
async fn accepted_ms(gateway: &Gateway, msg_id: &str) -> i64 {
    let message = gateway.message(msg_id).await;
    let text = message["accepted_at"].as_str().unwrap_or_default();
    let at: jiff::Timestamp = text.parse().unwrap_or_else(|_| panic!("{message}"));
    at.as_millisecond()
}

#[tokio::test]
async fn an_accept_on_the_slow_disk_of_the_shim_takes_as_long_as_the_sync() {
    embedded_only!("the syncs of SQLite are looked at");
    let sandbox = Sandbox::start(json!({ "event_mode": "none" })).await;
    let shim = Shim::build();
    let gateway = Gateway::start(&sandbox, with_shim(Setup::towards(&sandbox), &shim)).await;
    gateway.channel("pause").await;
    let synced = shim.seen().syncs;
    assert!(synced > 0, "SQLite does not go through the shim");
    gateway.accept("quick", &number(0)).await;
    assert!(shim.seen().syncs > synced, "accepted without a sync");
    shim.sync_delay(300);
    let began = Instant::now();
    gateway.accept("slow", &number(1)).await;
    assert!(began.elapsed() >= Duration::from_millis(300));
    shim.sync_delay(0);
    gateway.channel("resume").await;
    assert_eq!(gateway.drained().await["accepted_by_provider"], 2);
}

#[tokio::test]
async fn an_accept_on_the_failing_disk_of_the_shim_is_refused_and_its_log_goes_on() {
    embedded_only!("the writes of SQLite are looked at");
    let sandbox = Sandbox::start(json!({ "event_mode": "none" })).await;
    let shim = Shim::build();
    let gateway = Gateway::start(&sandbox, with_shim(Setup::towards(&sandbox), &shim)).await;
    for errno in [Errno::NOSPC, Errno::IO] {
        let refused = shim.seen().refusals;
        shim.fail_writes(Some(errno.raw_os_error()));
        let answer = gateway.post(&order_update("m", &number(0))).await;
        assert_eq!(answer.0, 503, "{answer:?}");
        assert!(shim.seen().refusals > refused);
        until("its log says so", async || {
            let said = gateway.process.output();
            said.contains("cannot be stored").then_some(())
        })
        .await;
        shim.fail_writes(None);
    }
    until("it takes messages again", async || {
        (gateway.post(&order_update("m", &number(0))).await.0 == 200).then_some(())
    })
    .await;
    assert_eq!(gateway.drained().await["accepted_by_provider"], 1);
}

/// Runs a test of this file once more in a mount namespace of its own, where it may mount a disk and
/// none is left behind. `true` in there.
pub(crate) async fn in_a_namespace(test: &str) -> bool {
    const INSIDE: &str = "FAULT_PARTS_INSIDE";
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    let test = test.to_owned();
    let run = tokio::task::spawn_blocking(move || {
        let unshare = |command: &std::ffi::OsStr, args: &[&str]| {
            let mut unshare = Command::new("unshare");
            unshare.args(["--mount", "--map-root-user"]).arg(command);
            unshare.args(args).env(INSIDE, "1").output()
        };
        let may = unshare("true".as_ref(), &[]).is_ok_and(|out| out.status.success());
        let exe = std::env::current_exe().unwrap();
        may.then(|| unshare(exe.as_os_str(), &["--exact", "--nocapture", &test]).unwrap())
    });
    let Some(out) = run.await.unwrap() else {
        say_skipped("no disk of its own: this machine lets nobody make a mount namespace");
        return false;
    };
    let said = [out.stdout, out.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(out.status.success() && said.contains("1 passed"), "{said}");
    false
}

#[tokio::test]
async fn a_small_disk_can_be_filled_to_the_last_byte_and_emptied() {
    if !in_a_namespace("it::fault_parts::a_small_disk_can_be_filled_to_the_last_byte_and_emptied")
        .await
    {
        return;
    }
    let disk = Disk::new(4).unwrap();
    let file = disk.path().join("file");
    assert_eq!(disk.free(), 4 << 20);
    disk.fill(100_000);
    assert!((100_000..110_000).contains(&disk.free()), "{}", disk.free());
    disk.fill(0);
    assert_eq!(disk.free(), 0);
    let full = std::fs::write(&file, "one byte more").unwrap_err();
    assert_eq!(full.kind(), ErrorKind::StorageFull);
    disk.empty();
    std::fs::write(&file, "one byte more").unwrap();
    assert_eq!(disk.free(), (4 << 20) - 4096);
    let path = disk.path().to_owned();
    drop(disk);
    assert!(!path.exists(), "still mounted");
}
