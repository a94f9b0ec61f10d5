//! Many sends at once, over bare sockets.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;

/// Many messages at once: every event of each arrives, in its order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_load_events_stay_complete_and_in_order() {
    const MESSAGES: usize = 500;
    let knobs = json!({"event_shapes": ["gen2"], "share_read": 1, "event_jitter_ms": 5});
    let (client, hook) = hooked(knobs).await;
    let token = client.token.lock().unwrap().clone();
    let addr = client.sandbox.addr();
    let halves = tokio::join!(
        send_many(addr, &token, 0..MESSAGES / 2),
        send_many(addr, &token, MESSAGES / 2..MESSAGES),
    );
    halves.0.and(halves.1).unwrap();
    assert!(client.sandbox.quiesced(Duration::from_secs(20)).await);
    let mut words = std::collections::HashMap::<String, Vec<String>>::new();
    for body in hook.bodies() {
        let data = &body["event"]["data"];
        let of = words.entry(text(&data["message_uuid"])).or_default();
        of.push(text(&data["status"]));
    }
    assert_eq!(words.len(), MESSAGES);
    assert!(
        words
            .values()
            .all(|one| one == &["submitted", "delivered", "read"])
    );
    let counts = client.sandbox.counts();
    assert_eq!(counts.events_acknowledged, 3 * MESSAGES as u64);
    assert_eq!(counts.events_pending, 0);
}

async fn send_many(addr: SocketAddr, token: &str, range: std::ops::Range<usize>) -> io::Result<()> {
    let mut stream = tokio::net::TcpStream::connect(addr).await?;
    stream.set_nodelay(true)?;
    let mut buffer = [0; 4096];
    for n in range {
        let part = |name: &str, value: &str| {
            format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
        };
        let body = part("to", &n.to_string())
            + &part("channel", "whatsapp")
            + &part("message", &format!("s3ndt3mpl4te_{HOURS}"))
            + &part("message_params", "{}")
            + "--b--\r\n";
        let request = format!(
            "POST /chat/send-message HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n\
             content-type: multipart/form-data; boundary=b\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).await?;
        let read = stream.read(&mut buffer).await?;
        if !buffer[..read].starts_with(b"HTTP/1.1 200") {
            return Err(io::Error::other(
                String::from_utf8_lossy(&buffer[..read]).into_owned(),
            ));
        }
    }
    Ok(())
}
