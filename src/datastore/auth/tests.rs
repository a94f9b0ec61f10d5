//! The ways to a token against a peer on a real socket, and what is told when there is none.

use super::*;
use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Mutex as Lock;

/// Answers in turn, and what was asked.
#[derive(Default)]
struct Peer {
    answers: Lock<Vec<(u16, Value)>>,
    seen: Lock<Vec<(Method, HeaderMap, String)>>,
}

async fn answer(
    State(peer): State<Arc<Peer>>,
    method: Method,
    headers: HeaderMap,
    body: String,
) -> (StatusCode, String) {
    peer.seen.lock().unwrap().push((method, headers, body));
    let (status, body) = peer.answers.lock().unwrap().remove(0);
    (StatusCode::from_u16(status).unwrap(), body.to_string())
}

/// A peer, and who gets tokens from it and from nowhere else.
async fn peer(source: Source, answers: Vec<(u16, Value)>) -> (Arc<Peer>, Auth) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let peer = Arc::new(Peer::default());
    *peer.answers.lock().unwrap() = answers;
    let router = Router::new().fallback(answer).with_state(peer.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/token", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    let mut auth = Auth::new(source, Client::builder().no_proxy().build().unwrap());
    auth.endpoints = both(url);
    (peer, auth)
}

fn both(url: String) -> Endpoints {
    let url = &*url.leak();
    Endpoints {
        metadata: url,
        users: url,
    }
}

/// Where nobody is.
async fn nowhere() -> Endpoints {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    both(format!("http://{}/token", listener.local_addr().unwrap()))
}

fn token(name: &str) -> (u16, Value) {
    (200, json!({ "access_token": name, "expires_in": 3600 }))
}

/// What gcloud leaves.
fn user(path: &Path, refresh_token: &str) {
    let user = json!({
        "type": "authorized_user", "account": "", "universe_domain": "googleapis.com",
        "client_id": "id.of.client", "client_secret": "s3cret", "refresh_token": refresh_token,
    });
    std::fs::write(path, user.to_string()).unwrap();
}

async fn next(auth: &Auth) -> String {
    auth.token().await.unwrap().unwrap().to_string()
}

async fn refusal(auth: &Auth) -> Error {
    let error = auth.token().await.unwrap_err();
    let text = error.to_string();
    assert!(!text.contains("Datastore"), "{text}");
    assert!(!text.contains("s3cret"), "{text}");
    error
}

#[tokio::test]
async fn a_users_refresh_token_is_exchanged_and_read_anew_after_a_refusal() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("application_default_credentials.json");
    user(&path, "old");
    let refused = (400, json!({ "error": "invalid_grant" }));
    let answers = vec![refused, token("t1")];
    let (peer, auth) = peer(Source::Default(Some(path.clone())), answers).await;
    let error = refusal(&auth).await;
    assert!(
        error.to_string().contains("HTTP 400 invalid_grant"),
        "{error}"
    );
    user(&path, "new");
    assert_eq!(next(&auth).await, "t1");
    let seen = peer.seen.lock().unwrap();
    for ((method, headers, body), refresh_token) in seen.iter().zip(["old", "new"]) {
        assert_eq!(
            (method, &headers["accept"]),
            (&Method::POST, &"application/json".parse().unwrap())
        );
        let form =
            "grant_type=refresh_token&client_id=id.of.client&client_secret=s3cret&refresh_token=";
        assert_eq!(*body, format!("{form}{refresh_token}"));
    }
}

#[tokio::test]
async fn a_machine_of_google_is_asked_as_google_says() {
    let (peer, auth) = peer(Source::Default(None), vec![token("t1")]).await;
    assert_eq!(next(&auth).await, "t1");
    let (method, headers, _) = peer.seen.lock().unwrap().remove(0);
    assert_eq!(method, Method::GET);
    assert_eq!(headers["metadata-flavor"], "Google");
    let plain = Auth::new(Source::Default(None), Client::new());
    let asked = plain
        .request(&Credentials::Machine)
        .unwrap()
        .build()
        .unwrap();
    assert_eq!(
        asked.url().as_str(),
        "http://metadata.google.internal/computeMetadata/v1/instance/service-accounts/default/token"
    );
}

#[tokio::test]
async fn a_token_serves_until_it_is_nearly_over() {
    for (life, asked) in [
        (json!(3600), 1),
        (json!(u64::MAX), 1),
        (Value::Null, 1),
        (json!(90), 1),
        (json!(59), 2),
        (json!(0), 2),
    ] {
        let one = json!({ "access_token": "t", "expires_in": life });
        let answers = vec![(200, one.clone()), (200, one)];
        let (peer, auth) = peer(Source::Default(None), answers).await;
        next(&auth).await;
        next(&auth).await;
        assert_eq!(peer.seen.lock().unwrap().len(), asked, "{life}");
    }
}

#[tokio::test]
async fn only_the_token_that_was_refused_is_forgotten() {
    let answers = vec![token("t1"), token("t2")];
    let (_peer, auth) = peer(Source::Default(None), answers).await;
    assert_eq!(next(&auth).await, "t1");
    auth.forget("t0").await;
    assert_eq!(next(&auth).await, "t1");
    for _ in 0..2 {
        auth.forget("t1").await;
        assert_eq!(next(&auth).await, "t2");
    }
}

/// In the first seconds of a pod, and whenever it restarts.
#[tokio::test]
async fn r_66_a_metadata_server_that_is_not_there_yet_heals_by_itself() {
    let (_peer, mut auth) = peer(Source::Default(None), vec![token("t1"), token("t2")]).await;
    let here = std::mem::replace(&mut auth.endpoints, nowhere().await);
    let error = refusal(&auth).await;
    assert!(error.is_worth_retrying(), "{error:?}");
    // Off Google's machines it never comes, so what to do is told all the same.
    let text = error.to_string();
    assert!(
        text.contains("no metadata server answers") && text.contains("DT_JSON_PATH"),
        "{text}"
    );
    auth.endpoints = here;
    assert_eq!(next(&auth).await, "t1");
    auth.forget("t1").await;
    auth.endpoints = nowhere().await;
    for _ in 0..2 {
        let error = refusal(&auth).await;
        assert!(error.is_worth_retrying(), "{error:?}");
        assert!(error.to_string().contains("cannot be reached"), "{error}");
    }
    auth.endpoints = here;
    assert_eq!(next(&auth).await, "t2");
}

#[tokio::test]
async fn r_66_the_words_of_the_token_endpoint_are_shown_masked_and_cut() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("application_default_credentials.json");
    user(&path, "old");
    let said = |error: &str, long: &str| json!({ "error": error, "error_description": long });
    let long = "x ".repeat(9000);
    for (body, shown) in [
        (
            said("invalid_grant", "Invalid JWT Signature."),
            "HTTP 400 invalid_grant: Invalid JWT Signature.",
        ),
        (
            json!({ "error": "invalid_grant" }),
            "HTTP 400 invalid_grant",
        ),
        (
            json!({ "error": { "code": 403, "message": "no IAM" } }),
            "HTTP 400 no IAM",
        ),
        (
            said("a", "to 12025550143\nnow"),
            "HTTP 400 a: to 12*******43 now",
        ),
        (said("a", &long), "HTTP 400 a: x x x"),
        (json!({}), "HTTP 400"),
    ] {
        let source = Source::Default(Some(path.clone()));
        let (_peer, auth) = peer(source, vec![(400, body)]).await;
        let text = refusal(&auth).await.to_string();
        assert!(text.contains(shown) && text.len() < 600, "{text}");
    }
    assert_eq!(words(b"<h1>Not yet</h1>\n"), " <h1>Not yet</h1>");
    assert_eq!(words(b"you sent refresh_token=old"), "");
}

/// Who replaces a file that was good does not always do so in one step.
#[tokio::test]
async fn r_66_a_key_file_that_is_being_replaced_heals_by_itself() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("application_default_credentials.json");
    let answers = vec![token("t1"), token("t2")];
    let (_peer, auth) = peer(Source::Default(Some(path.clone())), answers).await;
    let error = refusal(&auth).await;
    assert!(
        !error.is_worth_retrying(),
        "a person must give one: {error:?}"
    );
    user(&path, "old");
    assert_eq!(next(&auth).await, "t1");
    auth.forget("t1").await;
    std::fs::write(&path, "{").unwrap();
    let error = refusal(&auth).await;
    assert!(error.is_worth_retrying(), "{error:?}");
    user(&path, "new");
    assert_eq!(next(&auth).await, "t2");
}

#[tokio::test]
async fn what_goes_wrong_on_the_way_is_told_of_the_token_endpoint() {
    let long = json!({ "access_token": "x".repeat(LONGEST_ANSWER) });
    let (_peer, auth) = peer(Source::Default(None), vec![(200, long)]).await;
    let error = refusal(&auth).await;
    assert!(
        error
            .to_string()
            .contains("the answer of the token endpoint"),
        "{error}"
    );
    assert!(error.is_worth_retrying(), "{error:?}");
    let slow = of_the_endpoint(Error::TooSlow);
    assert!(
        slow.contains("the token endpoint") && !slow.contains("Datastore"),
        "{slow}"
    );
}
