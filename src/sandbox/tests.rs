//! The sandbox over real sockets, spoken to as a client of Jumper and as a client of MoEngage would.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{Router, extract::State, routing::post};
use reqwest::{RequestBuilder, multipart::Form};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::*;

mod jumper;
mod load;
mod others;
mod rules;

async fn local() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.unwrap()
}

/// A client of one sandbox.
struct Client {
    http: reqwest::Client,
    sandbox: Sandbox,
    token: Mutex<String>,
}

impl Client {
    /// Starts a sandbox without a rate limit and takes a token.
    async fn start(patch: Value) -> Self {
        Self::with(patch, Options::default()).await
    }

    async fn with(patch: Value, mut options: Options) -> Self {
        options.knobs.rate_per_second = 0.0;
        options.knobs.event_delay_ms = 1;
        options.knobs = options.knobs.patched(&patch).unwrap();
        let sandbox = start(local().await, options).await.unwrap();
        let http = reqwest::Client::new();
        let client = Self {
            http,
            sandbox,
            token: Mutex::default(),
        };
        let (status, pair) = client.refresh("sandbox-refresh-token").await;
        assert_eq!(status, 200, "{pair}");
        *client.token.lock().unwrap() = text(&pair["access_token"]);
        client
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.sandbox.url())
    }

    async fn refresh(&self, token: &str) -> (u16, Value) {
        let form = [("grant_type", "refresh_token"), ("refresh_token", token)];
        let call = self.http.post(self.url("/oauth/refresh"));
        answer(
            call.basic_auth("sandbox-key", Some("sandbox-secret"))
                .form(&form),
        )
        .await
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        let token = self.token.lock().unwrap().clone();
        answer(self.http.get(self.url(path)).bearer_auth(token)).await
    }

    async fn post(&self, path: &str, body: Value) -> (u16, Value) {
        answer(self.http.post(self.url(path)).json(&body)).await
    }

    fn send(&self, to: &str, template: &str, params: &Value) -> RequestBuilder {
        let form = Form::new()
            .text("to", to.to_owned())
            .text("channel", "whatsapp")
            .text("source", "moengage")
            .text("messagetype", "template")
            .text("message", format!("s3ndt3mpl4te_{template}"))
            .text("message_params", params.to_string());
        let token = self.token.lock().unwrap().clone();
        self.http
            .post(self.url("/chat/send-message"))
            .bearer_auth(token)
            .multipart(form)
    }

    /// Sends the static template `store_hours`.
    async fn hours(&self, to: &str) -> (u16, Value) {
        answer(self.send(to, HOURS, &json!({}))).await
    }
}

/// The second variant of the built-in set.
const HOURS: &str = "5000000000000002";
/// The first one, which wants two body parameters.
const ORDER: &str = "5000000000000001";

async fn answer(call: RequestBuilder) -> (u16, Value) {
    let response = call.send().await.unwrap();
    let status = response.status().as_u16();
    let body = response.text().await.unwrap();
    (
        status,
        serde_json::from_str(&body).unwrap_or(Value::String(body)),
    )
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// A webhook receiver that answers what it is told and keeps what it gets.
#[derive(Clone, Default)]
struct Hook {
    got: Arc<Mutex<Vec<String>>>,
    /// Statuses to answer, last first; then 200.
    answers: Arc<Mutex<Vec<u16>>>,
}

impl Hook {
    async fn start(&self) -> String {
        let listener = local().await;
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let router = Router::new()
            .route("/hook", post(take))
            .with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        url
    }

    fn bodies(&self) -> Vec<Value> {
        let got = self.got.lock().unwrap();
        got.iter()
            .map(|body| serde_json::from_str(body).unwrap())
            .collect()
    }
}

async fn take(State(hook): State<Hook>, body: String) -> axum::http::StatusCode {
    hook.got.lock().unwrap().push(body);
    let status = hook.answers.lock().unwrap().pop().unwrap_or(200);
    reply::code(status)
}

/// A sandbox whose events go to a hook.
async fn hooked(patch: Value) -> (Client, Hook) {
    let hook = Hook::default();
    let webhook_url = Some(hook.start().await);
    let options = Options {
        webhook_url,
        ..Options::default()
    };
    (Client::with(patch, options).await, hook)
}
