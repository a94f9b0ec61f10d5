//! Holds connections to a running gateway that ask for nothing, and says what they cost it.
//!
//! `cargo bench --bench idle -- --addr 127.0.0.1:3001 --pid 4711 --connections 10000 --hold idle`
//! keeps that many open for `--seconds 30`; one that the gateway closes is opened again. `--hold`
//! says what they are: `idle` asked once, `silent` never said a byte, `half` said half a head,
//! `body` said a head and half a body (with `--token`). Latencies beside it: the bench `load`.

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

struct Args {
    addr: SocketAddr,
    pid: u32,
    connections: usize,
    hold: String,
    token: String,
    seconds: u64,
}

fn args() -> Args {
    let mut args = Args {
        addr: ([127, 0, 0, 1], 3001).into(),
        pid: 0,
        connections: 10_000,
        hold: "idle".into(),
        token: "tok-for-the-load-run".into(),
        seconds: 30,
    };
    let mut words = std::env::args().skip(1).filter(|word| word != "--bench");
    while let Some(word) = words.next() {
        let value = words.next();
        let value = value.unwrap_or_else(|| panic!("{word} wants a value"));
        match word.as_str() {
            "--addr" => args.addr = value.parse().expect("an address"),
            "--pid" => args.pid = value.parse().expect("a number"),
            "--connections" => args.connections = value.parse().expect("a number"),
            "--hold" => args.hold = value,
            "--token" => args.token = value,
            "--seconds" => args.seconds = value.parse().expect("seconds"),
            _ => panic!("--addr, --pid, --connections, --hold, --token or --seconds, not {word}"),
        }
    }
    args
}

/// What all connections together went through.
#[derive(Default)]
struct Counts {
    open: AtomicUsize,
    opened: AtomicUsize,
    closed: AtomicUsize,
    refused: AtomicUsize,
}

/// Opens a connection and says what it is to say; returns when the gateway closes it.
async fn hold(args: &Args, counts: &Counts) -> io::Result<()> {
    let mut stream = TcpStream::connect(args.addr).await?;
    let said = match args.hold.as_str() {
        "silent" => String::new(),
        "idle" => "GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n".into(),
        "half" => "POST /jumper_send_whatsapp HTTP/1.1\r\nhost: x\r\ncontent-le".into(),
        "body" => format!(
            "POST /jumper_send_whatsapp HTTP/1.1\r\nhost: x\r\nauthorization: {}\r\n\
             content-length: 300\r\n\r\n{{\"msg_id\":",
            args.token
        ),
        other => panic!("--hold idle, silent, half or body, not {other}"),
    };
    stream.write_all(said.as_bytes()).await?;
    counts.opened.fetch_add(1, Relaxed);
    counts.open.fetch_add(1, Relaxed);
    let mut buffer = [0; 512];
    while let Ok(1..) = stream.read(&mut buffer).await {}
    counts.open.fetch_sub(1, Relaxed);
    counts.closed.fetch_add(1, Relaxed);
    Ok(())
}

/// Memory in use, and open files; of the process as Linux shows it.
fn cost(pid: u32) -> (u64, usize) {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let memory = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let memory = memory.and_then(|line| line.split_whitespace().next()?.parse().ok());
    let files = std::fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count);
    (memory.unwrap_or(0), files)
}

#[tokio::main(flavor = "multi_thread", worker_threads = 1)]
async fn main() -> io::Result<()> {
    let args = Arc::new(args());
    let counts = Arc::new(Counts::default());
    let mut out = io::stdout();
    let (memory, files) = cost(args.pid);
    writeln!(out, "before: {memory} KB, {files} files")?;
    let began = Instant::now();
    for n in 0..args.connections {
        let (args, counts) = (args.clone(), counts.clone());
        tokio::spawn(async move {
            // Not all in one moment: that would measure the kernel's backlog.
            tokio::time::sleep(Duration::from_micros(100 * n as u64)).await;
            loop {
                if hold(&args, &counts).await.is_err() {
                    counts.refused.fetch_add(1, Relaxed);
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        });
    }
    while began.elapsed() < Duration::from_secs(args.seconds) {
        tokio::time::sleep(Duration::from_secs(5)).await;
        let (memory, files) = cost(args.pid);
        let of = |count: &AtomicUsize| count.load(Relaxed);
        writeln!(
            out,
            "{:>3} s: {} open ({}), {} opened, {} closed by the gateway, {} refused; {memory} KB, {files} files",
            began.elapsed().as_secs(),
            of(&counts.open),
            args.hold,
            of(&counts.opened),
            of(&counts.closed),
            of(&counts.refused),
        )?;
    }
    Ok(())
}
