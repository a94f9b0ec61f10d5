//! The listener over real sockets: slow, broken and greedy callers.

use super::testing::{Answer, LONG, Server, until_closed};
use super::*;
use axum::extract::{FromRequest, Path};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use std::sync::Arc;
use std::time::Instant;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Notify, Semaphore};
use tokio::time::timeout;

const SHORT: Duration = Duration::from_millis(250);

fn limits() -> Limits {
    Limits {
        header_timeout: SHORT,
        body_timeout: SHORT,
        response_timeout: Duration::from_secs(5),
        body_limit: 1000,
        ..Limits::default()
    }
}

fn echo() -> Router {
    finish(
        Router::new()
            .route("/echo", post(async |Payload(body): Payload| body))
            .route("/deaf", post(async || "no matter"))
            .route("/items/{id}", get(async |Path(id): Path<String>| id))
            .route("/panic", get(async || -> &str { panic!("on purpose") })),
        vec!["/echo", "/items/{id}"],
    )
}

async fn small() -> Server {
    Server::start(echo(), limits(), SHORT).await
}

async fn is_served(server: &Server) {
    let answer = server.ask("POST /echo HTTP/1.1", b"hello").await;
    assert_eq!((answer.status, &*answer.body), (200, "hello"));
}

/// Reads one answer whose body is `body`, and leaves the connection open.
async fn one_answer(stream: &mut TcpStream, body: &str) -> String {
    let mut text = String::new();
    while !text.ends_with(body) {
        let mut bytes = [0; 1024];
        let n = timeout(LONG, stream.read(&mut bytes))
            .await
            .unwrap()
            .unwrap();
        assert!(n > 0, "closed after {text:?}");
        text.push_str(std::str::from_utf8(&bytes[..n]).unwrap());
    }
    text
}

#[tokio::test]
async fn slow_headers_are_cut_while_others_are_served() {
    let server = small().await;
    let began = Instant::now();
    let mut slow = server.connect().await;
    slow.write_all(b"POST /echo HTTP/1.1\r\nhost: ")
        .await
        .unwrap();
    let mut silent = server.connect().await;
    is_served(&server).await;
    assert_eq!(until_closed(&mut slow).await, "");
    assert_eq!(until_closed(&mut silent).await, "");
    assert!(began.elapsed() >= SHORT);
    is_served(&server).await;
}

#[tokio::test]
async fn dripping_headers_do_not_buy_time() {
    let server = small().await;
    let (mut read, mut write) = server.connect().await.into_split();
    let drip = tokio::spawn(async move {
        write.write_all(b"GET / HTTP/1.1\r\n").await?;
        loop {
            write.write_all(b"a: b\r\n").await?;
            // waits because a slow caller is what this test plays
            tokio::time::sleep(SHORT / 10).await;
        }
        #[expect(unreachable_code, reason = "names the type of the error")]
        std::io::Result::Ok(())
    });
    let mut rest = Vec::new();
    // Cut with unread bytes, a connection may end in a reset instead of an end of file.
    let _ = timeout(LONG, read.read_to_end(&mut rest)).await.unwrap();
    assert!(rest.is_empty());
    drop(read);
    assert!(timeout(LONG, drip).await.unwrap().unwrap().is_err());
}

#[tokio::test]
async fn a_slow_body_is_answered_408_and_cut_while_others_are_served() {
    let server = small().await;
    for head in ["content-length: 10", "transfer-encoding: chunked"] {
        let mut slow = server.connect().await;
        let head = format!("POST /echo HTTP/1.1\r\nhost: x\r\n{head}\r\n\r\n5\r\n");
        slow.write_all(head.as_bytes()).await.unwrap();
        is_served(&server).await;
        let answer = Answer::whole(slow).await;
        assert_eq!(answer.status, 408);
        assert_eq!(answer.message(), "Body did not arrive in time");
        assert!(answer.head.contains("connection: close"));
    }
}

#[tokio::test]
async fn an_idle_connection_outlives_the_header_timeout() {
    let server = small().await;
    let mut stream = server.connect().await;
    for _ in 0..2 {
        stream
            .write_all(b"GET /items/7 HTTP/1.1\r\nhost: x\r\n\r\n")
            .await
            .unwrap();
        one_answer(&mut stream, "7").await;
        // waits because idling beyond the header timeout is what must be allowed
        tokio::time::sleep(SHORT * 2).await;
    }
    // The headers of a later request are timed as those of the first.
    stream.write_all(b"GET /items/").await.unwrap();
    assert_eq!(until_closed(&mut stream).await, "");
}

#[tokio::test]
async fn an_idle_connection_ends_at_last() {
    let limits = Limits {
        idle_timeout: SHORT,
        header_timeout: LONG,
        ..limits()
    };
    let server = Server::start(echo(), limits, SHORT).await;
    let mut stream = server.connect().await;
    stream
        .write_all(b"GET /items/7 HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .unwrap();
    let began = Instant::now();
    assert!(until_closed(&mut stream).await.ends_with("\r\n\r\n7"));
    assert!(began.elapsed() < LONG / 2);
}

#[tokio::test]
async fn another_spelling_of_a_route_is_that_route_and_of_nothing_is_nothing() {
    let server = small().await;
    for (line, status, body) in [
        ("POST /Echo/?a=b HTTP/1.1", 200, "hello"),
        ("GET /ITEMS/aB/ HTTP/1.1", 200, "aB"),
        ("GET /ECHO/ HTTP/1.1", 405, "method"),
        ("GET /items/ HTTP/1.1", 404, "No such route"),
        ("GET /items/a/b/ HTTP/1.1", 404, "No such route"),
    ] {
        let answer = server.ask(line, b"hello").await;
        assert_eq!(answer.status, status, "{line}");
        assert!(answer.body.contains(body), "{line}: {}", answer.body);
    }
}

#[tokio::test]
async fn a_large_body_is_answered_413_at_once() {
    let server = small().await;
    let fits = server.ask("POST /echo HTTP/1.1", &[b'x'; 1000]).await;
    assert_eq!((fits.status, fits.body.len()), (200, 1000));
    // Written whole before anything is read: the answer must survive the unread rest.
    for size in [1001, 3_000_000] {
        let answer = server.ask("POST /echo HTTP/1.1", &vec![b'x'; size]).await;
        assert_eq!(answer.status, 413, "{size}");
        assert_eq!(answer.message(), "Body is larger than 1000 bytes");
    }
    let mut chunked = server.connect().await;
    let head = "POST /echo HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n";
    chunked.write_all(head.as_bytes()).await.unwrap();
    for _ in 0..3 {
        let chunk = format!("190\r\n{}\r\n", "x".repeat(400));
        chunked.write_all(chunk.as_bytes()).await.unwrap();
    }
    let text = one_answer(&mut chunked, "}").await;
    assert_eq!(Answer::read(&text).status, 413);
}

#[tokio::test]
async fn a_body_announced_as_too_large_is_not_waited_for() {
    let server = small().await;
    let mut stream = server.connect().await;
    let head =
        "POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 5000\r\nexpect: 100-continue\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let answer = Answer::whole(stream).await;
    assert_eq!(answer.status, 413);
}

#[tokio::test]
async fn an_answer_given_before_the_body_is_read_is_not_lost() {
    let server = small().await;
    for _ in 0..20 {
        let mut stream = server.connect().await;
        let head =
            "POST /deaf HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 900\r\n\r\n";
        stream.write_all(head.as_bytes()).await.unwrap();
        let begun = one_answer(&mut stream, "no matter").await;
        assert_eq!(Answer::read(&begun).status, 200);
        stream.write_all(&[b'x'; 900]).await.unwrap();
        assert_eq!(until_closed(&mut stream).await, "");
    }
}

#[tokio::test]
async fn r_78_the_refusal_of_a_host_survives_the_body_behind_it() {
    let server = small().await;
    for _ in 0..5 {
        let mut stream = server.connect().await;
        let head = "POST /echo HTTP/1.1\r\nhost: x\r\nhost: y\r\ncontent-length: 900000\r\n\r\n";
        stream.write_all(head.as_bytes()).await.unwrap();
        let begun = one_answer(&mut stream, "}").await;
        let answer = Answer::read(&begun);
        assert_eq!(answer.status, 400);
        assert!(answer.message().contains("more than one Host header"));
        // A socket that is closed answers the first of these with a reset.
        for _ in 0..90 {
            stream.write_all(&[b'x'; 10_000]).await.unwrap();
            tokio::task::yield_now().await;
        }
        assert_eq!(until_closed(&mut stream).await, "");
    }
}

#[tokio::test]
async fn an_answer_to_headers_that_are_refused_is_not_lost() {
    let server = small().await;
    let long = format!("GET / HTTP/1.1\r\nhost: x\r\nx: {}", "a".repeat(70_000));
    let broken = "GET / HTTP/1.1\r\nno colon\r\n\r\n".to_owned();
    for (head, status) in [(long, "431"), (broken, "400")] {
        let mut stream = server.connect().await;
        stream.write_all(head.as_bytes()).await.unwrap();
        let begun = one_answer(&mut stream, "\r\n\r\n").await;
        assert!(begun.starts_with(&format!("HTTP/1.1 {status}")), "{begun}");
        // A socket that is closed answers the first of these with a reset.
        for _ in 0..3 {
            stream.write_all(&[b'a'; 10_000]).await.unwrap();
            tokio::task::yield_now().await;
        }
        stream.shutdown().await.unwrap();
        assert_eq!(until_closed(&mut stream).await, "");
    }
}

#[tokio::test]
async fn chunks_are_one_body() {
    let server = small().await;
    let mut stream = server.connect().await;
    let request = "POST /echo HTTP/1.1\r\nhost: x\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n\
                   3\r\nabc\r\n2\r\nde\r\n1\r\nf\r\n0\r\n\r\n";
    for byte in request.as_bytes() {
        stream.write_all(&[*byte]).await.unwrap();
    }
    assert!(Answer::whole(stream).await.body.contains("abcdef"));
}

#[tokio::test]
async fn a_caller_that_stops_writing_still_gets_its_answer() {
    let server = small().await;
    let mut stream = server.connect().await;
    stream
        .write_all(b"GET /items/9 HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .unwrap();
    stream.shutdown().await.unwrap();
    assert!(until_closed(&mut stream).await.ends_with("9"));
}

#[tokio::test]
async fn unknown_routes_and_methods_get_a_message() {
    let server = small().await;
    let answer = server.ask("GET /nowhere HTTP/1.1", b"").await;
    assert_eq!((answer.status, &*answer.message()), (404, "No such route"));
    let answer = server.ask("GET /echo HTTP/1.1", b"").await;
    assert_eq!(answer.status, 405);
    assert_eq!(answer.message(), "This route does not take that method");
    assert!(answer.head.contains("allow: post"), "{}", answer.head);
}

#[tokio::test]
async fn a_panic_is_one_500_and_nothing_else() {
    let server = small().await;
    let answer = server.ask("GET /panic HTTP/1.1", b"").await;
    assert_eq!(
        (answer.status, &*answer.message()),
        (500, "Internal error: try again")
    );
    is_served(&server).await;
}

#[tokio::test]
async fn an_answer_that_takes_too_long_is_503() {
    let router = finish(
        Router::new().route("/", get(std::future::pending::<()>)),
        Vec::new(),
    );
    let limits = Limits {
        response_timeout: SHORT,
        ..limits()
    };
    let server = Server::start(router, limits, SHORT).await;
    let answer = server.ask("GET / HTTP/1.1", b"").await;
    assert_eq!(
        (answer.status, &*answer.message()),
        (503, "No answer in time: try again")
    );
}

/// Asks once on a connection that stays open.
async fn ask_on(stream: &mut TcpStream, item: &str) {
    let head = format!("GET /items/{item} HTTP/1.1\r\nhost: x\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    one_answer(stream, &format!("\r\n\r\n{item}")).await;
}

/// Whoever knows the address may open connections; they must not keep MoEngage out.
#[tokio::test]
async fn at_the_limit_who_has_waited_longest_gives_way() {
    let limits = Limits {
        max_connections: 3,
        header_timeout: LONG,
        ..limits()
    };
    let server = Server::start(echo(), limits, SHORT).await;
    let mut idle = server.connect().await;
    ask_on(&mut idle, "1").await;
    let mut half = server.connect().await;
    half.write_all(b"GET /items/").await.unwrap();
    let mut silent = server.connect().await;
    let began = Instant::now();
    let mut fourth = server.connect().await;
    ask_on(&mut fourth, "4").await;
    assert!(began.elapsed() < LONG / 2, "{:?}", began.elapsed());
    assert_eq!(until_closed(&mut idle).await, "");
    // The others had their place until somebody wanted it.
    half.write_all(b"2 HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .unwrap();
    one_answer(&mut half, "2").await;
    // Who lies idle goes before who owes bytes, however long that takes already.
    // waits because nobody is closed at once
    tokio::time::sleep(SHORT).await;
    let mut fifth = server.connect().await;
    ask_on(&mut fifth, "5").await;
    assert_eq!(until_closed(&mut fourth).await, "");
    silent
        .write_all(b"GET /items/3 HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .unwrap();
    one_answer(&mut silent, "3").await;
}

/// Some routes ask for no token, others for one.
fn half_known() -> Router {
    let router = Router::new()
        .route("/echo", post(async |Payload(body): Payload| body))
        .route(
            "/known",
            post(async |request: Request| {
                vouch(request.extensions());
                match Payload::from_request(request, &()).await {
                    Ok(Payload(body)) => body.into_response(),
                    Err(answer) => answer,
                }
            }),
        )
        .route("/items/{id}", get(async |Path(id): Path<String>| id));
    finish(router, Vec::new())
}

fn for_known(max_connections: usize) -> Limits {
    Limits {
        max_connections,
        header_timeout: LONG,
        body_timeout: LONG,
        response_timeout: LONG,
        ..limits()
    }
}

/// Sends the begin of a body of five bytes.
async fn begin(stream: &mut TcpStream, path: &str) {
    let head = format!("POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nab");
    stream.write_all(head.as_bytes()).await.unwrap();
}

/// A connection on which a token was shown.
async fn known_on(server: &Server) -> TcpStream {
    let mut stream = server.connect().await;
    begin(&mut stream, "/known").await;
    stream.write_all(b"cde").await.unwrap();
    one_answer(&mut stream, "abcde").await;
    stream
}

/// A body under way is waited for, not worked on.
#[tokio::test]
async fn r_69_at_the_limit_slow_bodies_give_way_and_those_of_known_callers_do_not() {
    let server = Server::start(half_known(), for_known(3), SHORT).await;
    let slow = async |path: &str| {
        let mut stream = server.connect().await;
        begin(&mut stream, path).await;
        stream
    };
    let mut known = slow("/known").await;
    let (mut first, mut second) = (slow("/echo").await, slow("/echo").await);
    let began = Instant::now();
    for item in ["4", "5"] {
        let mut stream = server.connect().await;
        ask_on(&mut stream, item).await;
    }
    assert!(began.elapsed() < LONG / 2, "{:?}", began.elapsed());
    assert_eq!(until_closed(&mut first).await, "");
    let _ = second.write_all(b"cde").await;
    known.write_all(b"cde").await.unwrap();
    one_answer(&mut known, "abcde").await;
}

/// A proxy before us puts everybody's requests on the connections that it has.
#[tokio::test]
async fn r_69_a_strangers_slow_body_gives_way_where_a_token_was_shown_before() {
    let server = Server::start(half_known(), for_known(1), SHORT).await;
    let mut pooled = known_on(&server).await;
    begin(&mut pooled, "/echo").await;
    let began = Instant::now();
    let mut other = server.connect().await;
    ask_on(&mut other, "2").await;
    assert!(began.elapsed() < LONG / 2, "{:?}", began.elapsed());
    let _ = pooled.write_all(b"cde").await;
    let mut rest = Vec::new();
    let _ = timeout(LONG, pooled.read_to_end(&mut rest)).await.unwrap();
    assert!(rest.is_empty(), "it was closed");
}

#[tokio::test]
async fn r_69_known_callers_stay_while_a_stranger_sits_there() {
    let server = Server::start(half_known(), for_known(3), SHORT).await;
    let (mut first, mut second) = (known_on(&server).await, known_on(&server).await);
    // waits because by then they could be closed
    tokio::time::sleep(SHORT).await;
    let mut stranger = server.connect().await;
    let mut other = server.connect().await;
    ask_on(&mut other, "4").await;
    assert_eq!(until_closed(&mut stranger).await, "");
    for known in [&mut first, &mut second] {
        ask_on(known, "5").await;
    }
}

#[tokio::test]
async fn r_69_among_known_callers_one_goes_for_one() {
    let server = Server::start(half_known(), for_known(16), SHORT).await;
    let mut all = Vec::new();
    for _ in 0..16 {
        all.push(known_on(&server).await);
    }
    // waits because by then all could be closed
    tokio::time::sleep(SHORT).await;
    let mut other = server.connect().await;
    ask_on(&mut other, "17").await;
    assert_eq!(until_closed(&mut all[0]).await, "", "it has waited longest");
    for known in &mut all[1..] {
        ask_on(known, "5").await;
    }
}

/// One that always has its next request ready never lies idle.
#[tokio::test]
async fn r_69_busy_strangers_leave_a_place_to_others() {
    for pooled in [false, true] {
        let server = Server::start(half_known(), for_known(2), SHORT).await;
        let mut strangers = tokio::task::JoinSet::new();
        for _ in 0..2 {
            let mut stream = match pooled {
                true => known_on(&server).await,
                false => server.connect().await,
            };
            ask_on(&mut stream, "1").await;
            strangers.spawn(async move {
                let ask = b"GET /items/2 HTTP/1.1\r\nhost: x\r\n\r\n";
                let mut bytes = [0; 1024];
                while stream.write_all(ask).await.is_ok() {
                    if !matches!(stream.read(&mut bytes).await, Ok(1..)) {
                        break;
                    }
                }
            });
        }
        let mut other = server.connect().await;
        timeout(LONG, ask_on(&mut other, "3")).await.unwrap();
        strangers.shutdown().await;
    }
}

#[tokio::test]
async fn r_69_a_body_that_drips_is_cut_before_its_time() {
    let limits = Limits {
        body_timeout: Duration::from_secs(600),
        response_timeout: Duration::from_secs(600),
        ..limits()
    };
    let server = Server::start(echo(), limits, SHORT).await;
    let mut slow = server.connect().await;
    let head = "POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 900\r\n\r\n";
    slow.write_all(head.as_bytes()).await.unwrap();
    let (read, mut write) = slow.into_split();
    let drip = tokio::spawn(async move {
        while write.write_all(b"a").await.is_ok() {
            // waits because a slow caller is what this test plays
            tokio::time::sleep(SHORT / 10).await;
        }
    });
    let mut text = String::new();
    let mut read = tokio::io::BufReader::new(read);
    let line = tokio::io::AsyncBufReadExt::read_line(&mut read, &mut text);
    timeout(Duration::from_secs(60), line)
        .await
        .unwrap()
        .unwrap();
    assert!(text.starts_with("HTTP/1.1 408"), "{text}");
    drip.abort();
}

#[tokio::test]
async fn a_request_under_way_never_gives_way() {
    let (router, entered, open) = gated();
    let limits = Limits {
        max_connections: 1,
        ..Limits::default()
    };
    let server = Server::start(router, limits, SHORT).await;
    let ask = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n";
    let mut first = server.connect().await;
    first.write_all(ask).await.unwrap();
    entered.notified().await;
    let mut second = server.connect().await;
    second.write_all(ask).await.unwrap();
    let mut byte = [0];
    let waits = timeout(Duration::from_secs(1), second.read(&mut byte));
    assert!(waits.await.is_err());
    open.add_permits(1);
    one_answer(&mut first, "done").await;
    entered.notified().await;
    one_answer(&mut second, "done").await;
}

/// Whoever stands before us may have gone by the length: what it took for the body must not become a
/// request of somebody else (RFC 9112 section 6.3).
#[tokio::test]
async fn a_length_beside_a_coding_ends_the_connection() {
    let server = small().await;
    let (length, coding) = ("content-length: 5\r\n", "transfer-encoding: chunked\r\n");
    for (one, other, answers) in [(length, coding, 1), (coding, length, 1), (coding, "", 2)] {
        let mut stream = server.connect().await;
        let request = format!(
            "POST /echo HTTP/1.1\r\nhost: x\r\n{one}{other}\r\n0\r\n\r\n\
             GET /items/behind HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let text = until_closed(&mut stream).await;
        assert_eq!(text.matches("HTTP/1.1 200").count(), answers, "{text}");
        assert_eq!(text.contains("behind"), answers == 2, "{text}");
    }
}

/// A route that says when it was entered and answers when it may.
fn gated() -> (Router, Arc<Notify>, Arc<Semaphore>) {
    let (entered, open) = (Arc::new(Notify::new()), Arc::new(Semaphore::new(0)));
    let (came_in, gate) = (entered.clone(), open.clone());
    let handler = async move || {
        came_in.notify_one();
        let _ = gate.acquire().await;
        "done"
    };
    (Router::new().route("/", get(handler)), entered, open)
}

#[tokio::test]
async fn a_stop_lets_requests_end_and_takes_no_more() {
    let (router, entered, open) = gated();
    let server = Server::start(router, Limits::default(), LONG).await;
    let mut idle = server.connect().await;
    let mut busy = server.connect().await;
    busy.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .unwrap();
    entered.notified().await;
    server.shutdown.cancel();
    assert_eq!(until_closed(&mut idle).await, "");
    open.add_permits(1);
    assert!(until_closed(&mut busy).await.ends_with("done"));
    timeout(LONG, server.task).await.unwrap().unwrap();
    assert!(TcpStream::connect(server.addr).await.is_err());
}

#[tokio::test]
async fn what_does_not_end_in_the_drain_time_is_cut() {
    let (router, entered, _open) = gated();
    let server = Server::start(router, Limits::default(), SHORT).await;
    let mut busy = server.connect().await;
    busy.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .unwrap();
    entered.notified().await;
    server.shutdown.cancel();
    assert_eq!(until_closed(&mut busy).await, "");
    timeout(LONG, server.task).await.unwrap().unwrap();
}

#[test]
fn requests_are_counted_by_route_and_never_by_path() {
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    metrics::with_local_recorder(&recorder, || {
        runtime.block_on(async {
            let server = small().await;
            for path in ["/items/secret-1", "/items/secret-2", "/secret-3"] {
                server.ask(&format!("GET {path} HTTP/1.1"), b"").await;
            }
        });
    });
    let text = handle.render();
    assert!(!text.contains("secret"), "{text}");
    let counted = [
        r#"gateway_http_requests_total{route="/items/{id}",status="200"} 2"#,
        r#"gateway_http_requests_total{route="unmatched",status="404"} 1"#,
    ];
    for line in counted {
        assert!(text.contains(line), "{line} not in {text}");
    }
}
