//! The calls against a stub on a real socket: what goes out, what comes back, and the whole way of
//! the credentials. How a Datastore that is not ours takes it: tests/it/datastore.rs.

use super::*;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::routing::post;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;

/// What the stub answers, first come first served, and what it saw.
#[derive(Default)]
struct Stub {
    answers: Mutex<Vec<(u16, Value)>>,
    seen: Mutex<Vec<(String, String, Value)>>,
    tokens: Mutex<Vec<Value>>,
}

type Shared = Arc<Stub>;

async fn start(answers: Vec<(u16, Value)>) -> (Shared, String) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let stub = Arc::new(Stub::default());
    *stub.answers.lock().unwrap() = answers;
    let router = Router::new()
        .route("/token", post(token))
        .route("/v1/projects/{call}", post(call))
        .with_state(stub.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    (stub, host)
}

async fn call(
    State(stub): State<Shared>,
    Path(call): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> (StatusCode, String) {
    let bearer = headers
        .get("authorization")
        .map(|value| value.to_str().unwrap());
    let seen = (call, bearer.unwrap_or_default().to_owned());
    let body = serde_json::from_slice(&body).unwrap();
    stub.seen.lock().unwrap().push((seen.0, seen.1, body));
    let (status, body) = stub.answers.lock().unwrap().remove(0);
    (StatusCode::from_u16(status).unwrap(), body.to_string())
}

/// Google's token endpoint: takes a signed grant, gives a numbered token.
async fn token(State(stub): State<Shared>, body: String) -> String {
    let grant = body.split("assertion=").nth(1).unwrap();
    let claims = grant.split('.').nth(1).unwrap();
    let claims = URL_SAFE_NO_PAD.decode(claims).unwrap();
    let mut tokens = stub.tokens.lock().unwrap();
    tokens.push(serde_json::from_slice(&claims).unwrap());
    json!({ "access_token": format!("t{}", tokens.len()), "expires_in": 3600 }).to_string()
}

fn settings(credentials: Option<std::path::PathBuf>) -> Settings {
    Settings {
        project_id: "shop".into(),
        kind: "K".into(),
        credentials,
        default_credentials: None,
        emulator_host: None,
        expire_after: Duration::from_secs(86_400),
    }
}

async fn bare(answers: Vec<(u16, Value)>) -> (Shared, Client) {
    let (stub, host) = start(answers).await;
    let client = Client::at(&host, Source::Nobody, &settings(None)).unwrap();
    (stub, client)
}

fn found(name: &str) -> Value {
    json!({ "entity": { "key": { "path": [{ "kind": "K", "name": name }] }, "properties": {} } })
}

#[tokio::test]
async fn a_service_account_file_is_all_that_is_needed() {
    let ok = (200, json!({ "found": [] }));
    let denied = (
        401,
        json!({ "error": { "status": "UNAUTHENTICATED", "message": "expired" } }),
    );
    let twice = [denied.clone(), denied.clone()];
    let answers = [
        vec![ok.clone(), ok.clone(), denied, ok.clone()],
        twice.to_vec(),
        vec![ok],
    ];
    let (stub, host) = start(answers.concat()).await;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("key.json");
    let key = Command::new("openssl")
        .args([
            "genpkey",
            "-quiet",
            "-algorithm",
            "RSA",
            "-pkeyopt",
            "rsa_keygen_bits:2048",
        ])
        .output()
        .expect("openssl is installed: tests/run.sh prepare");
    assert!(key.status.success(), "{key:?}");
    let account = json!({
        "type": "service_account", "project_id": "shop", "private_key_id": "1",
        "private_key": String::from_utf8(key.stdout).unwrap(),
        "client_email": "gateway@shop.iam.example", "token_uri": format!("{host}/token"),
    });
    std::fs::write(&path, account.to_string()).unwrap();
    let client = Client::at(&host, Source::File(path.clone()), &settings(Some(path))).unwrap();
    let names = ["default:m1".to_owned()];
    for _ in 0..3 {
        client.lookup(&names, None).await.unwrap();
    }
    let error = client.lookup(&names, None).await.unwrap_err();
    assert!(error.advice().contains("DT_JSON_PATH"), "{error:?}");
    client.lookup(&names, None).await.unwrap();
    let seen = stub.seen.lock().unwrap();
    let bearers: Vec<&str> = seen.iter().map(|(_, bearer, _)| bearer.as_str()).collect();
    // One token serves until it is refused; then the call is made once more with a new one.
    let tokens = ["t1", "t1", "t1", "t2", "t2", "t3", "t4"];
    assert_eq!(bearers, tokens.map(|token| format!("Bearer {token}")));
    assert_eq!(seen[0].0, "shop:lookup");
    let tokens = stub.tokens.lock().unwrap();
    assert_eq!(tokens[0]["iss"], "gateway@shop.iam.example");
    assert_eq!(
        tokens[0]["scope"],
        "https://www.googleapis.com/auth/datastore"
    );
    assert_eq!(tokens[0]["aud"], format!("{host}/token"));
}

#[tokio::test]
async fn a_key_file_that_is_missing_is_named() {
    let (_stub, host) = start(Vec::new()).await;
    let source = Source::File("/nowhere/key.json".into());
    let client = Client::at(&host, source, &settings(None)).unwrap();
    let error = client.begin().await.unwrap_err();
    assert!(error.to_string().contains("/nowhere/key.json"), "{error}");
    assert!(!error.is_worth_retrying());
}

#[tokio::test]
async fn what_a_lookup_puts_off_is_asked_for_again() {
    let put_off = json!({ "path": [{ "kind": "K", "name": "b" }] });
    let first = json!({ "found": [found("a")], "deferred": [put_off] });
    let second = json!({ "found": [found("b")] });
    let (stub, client) = bare(vec![(200, first), (200, second)]).await;
    let entities = client
        .lookup(&["a".into(), "b".into()], None)
        .await
        .unwrap();
    assert_eq!(entities.len(), 2);
    assert_eq!(stub.seen.lock().unwrap()[1].2["keys"], json!([put_off]));
    assert!(
        client.lookup(&[], None).await.unwrap().is_empty(),
        "no call for nothing"
    );
}

#[tokio::test]
async fn a_transaction_is_named_in_every_call_of_it() {
    let begun = json!({ "transaction": "dHg=" });
    let answers = vec![(200, begun), (200, json!({})), (200, json!({}))];
    let (stub, client) = bare(answers).await;
    let transaction = client.begin().await.unwrap();
    client
        .lookup(&["a".into()], Some(&transaction))
        .await
        .unwrap();
    client
        .commit(transaction, &[Entity::named("a")])
        .await
        .unwrap();
    let seen = stub.seen.lock().unwrap();
    assert_eq!(seen[1].2["readOptions"]["transaction"], "dHg=");
    assert_eq!(seen[2].2["transaction"], "dHg=");
    assert_eq!(seen[2].2["mode"], "TRANSACTIONAL");
}

#[tokio::test]
async fn an_error_says_whether_to_try_again_and_what_to_do() {
    let google = |status: &str| json!({ "error": { "status": status, "message": "said" } });
    let cases = [
        (409, google("ABORTED"), true),
        (503, google("UNAVAILABLE"), true),
        (429, google("RESOURCE_EXHAUSTED"), true),
        (504, google("DEADLINE_EXCEEDED"), true),
        (500, google("INTERNAL"), true),
        (502, json!("<html>"), true),
        (429, json!({}), true),
        (403, google("PERMISSION_DENIED"), false),
        (404, google("NOT_FOUND"), false),
        (400, google("INVALID_ARGUMENT"), false),
        (302, json!({}), false),
        (200, json!("not an object"), false),
    ];
    for (http, body, retry) in cases {
        let (_stub, client) = bare(vec![(http, body.clone())]).await;
        let error = client.begin().await.unwrap_err();
        assert_eq!(error.is_worth_retrying(), retry, "{http} {body}: {error:?}");
        let blamed = body["error"]["status"] == "INVALID_ARGUMENT";
        assert_eq!(error.blames_an_entity(), blamed, "{http} {body}");
        assert!(retry || blamed || !error.advice().is_empty(), "{error:?}");
    }
    // Whoever answers in Datastore's place is quoted too, and what is too long may do in parts.
    let words = |http, body| refused(StatusCode::from_u16(http).unwrap(), body);
    let strange = words(404, b"<h1>no\nsuch host</h1> for 12025550143");
    assert!(
        strange
            .to_string()
            .ends_with("HTTP 404 <h1>no such host</h1> for 12*******43"),
        "{strange}"
    );
    assert!(strange.may_be_of_an_entity() && !strange.is_worth_retrying());
    assert!(words(413, b"").blames_an_entity());
    let words =
        json!({ "error": { "status": "ABORTED", "message": "to 12025550143, ".repeat(99) } });
    let (_stub, client) = bare(vec![(409, words)]).await;
    let words = client.begin().await.unwrap_err().to_string();
    assert!(
        words.len() < 400 && !words.contains("12025550143"),
        "{words}"
    );
}

#[tokio::test]
async fn nobody_there_is_worth_another_try() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = listener.local_addr().unwrap().to_string();
    drop(listener);
    let settings = Settings {
        emulator_host: Some(host),
        ..settings(None)
    };
    let error = Client::new(&settings).unwrap().begin().await.unwrap_err();
    assert!(
        matches!(error, Error::Unreachable(_)) && error.is_worth_retrying(),
        "{error:?}"
    );
}
