//! A gateway with a file of accounts and channels, for the tests that need several.

use crate::kit::harness::*;
use serde_json::{Value, json};
use std::sync::Arc;

/// Key and secret of the sandbox's application.
const BASIC: &str = "Basic c2FuZGJveC1rZXk6c2FuZGJveC1zZWNyZXQ=";

/// Knobs of a test that waits for all three statuses of a message.
pub(crate) fn quick() -> Value {
    json!({ "share_read": 1 })
}

/// The secret in the webhook's path of a channel.
pub(crate) fn secret(channel: &str) -> String {
    format!("webhook-secret-of-{channel}")
}

/// A table of an account at the sandbox's first merchant.
pub(crate) fn account(id: &str, url: &str, more: &str) -> String {
    format!(
        "[[account]]\nid = \"{id}\"\napi_url = \"{url}\"\nbasic_auth = \"{BASIC}\"\n\
         seed_refresh_token = \"sandbox-refresh-token\"\n{more}\n\n"
    )
}

/// A table of a channel; MoEngage is told at the endpoint of its name.
pub(crate) fn channel(id: &str, account: &str, url: &str, more: &str) -> String {
    let secret = secret(id);
    format!(
        "[[channel]]\nid = \"{id}\"\naccount = \"{account}\"\n# {id}\n\
         callback_url = \"{url}/moengage/dlr/{id}\"\nwebhook_secret = \"{secret}\"\n{more}\n\n"
    )
}

/// `acme` with two numbers at `a`, `birch` with one at `b`.
pub(crate) fn two_tenants(a: &Sandbox, b: &Sandbox) -> String {
    [
        account("acme", &a.url, "# acme"),
        account("birch", &b.url, "# birch-account"),
        channel(
            "uk",
            "acme",
            &a.url,
            "auth_against = \"token-of-channel-uk\"",
        ),
        channel(
            "us",
            "acme",
            &a.url,
            "auth_against = \"token-of-channel-us\"",
        ),
        channel(
            "birch",
            "birch",
            &b.url,
            "auth_against = { env = \"BIRCH_TOKEN\" }",
        ),
    ]
    .concat()
}

/// The number of a merchant that a test added.
pub(crate) fn number(n: usize) -> String {
    format!("60000000000000{n:02}")
}

/// Adds merchants of one application, so with the same key and secret; the tables `m0`, `m1` ...,
/// with `more` in each account's.
pub(crate) async fn merchants(sandbox: &Sandbox, many: usize, more: &str) -> String {
    let mut tables = String::new();
    for n in 0..many {
        let (id, seed) = (format!("m{n}"), format!("seed-of-merchant-{n}"));
        let wish = json!({
            "client_key": "sandbox-key", "client_secret": "sandbox-secret",
            "refresh_token": seed, "merchant_id": number(n),
        });
        sandbox.post("merchants", wish).await;
        tables += &account(&id, &sandbox.url, more).replace("sandbox-refresh-token", &seed);
        let token = format!("auth_against = \"token-of-channel-{id}\"");
        tables += &channel(&id, &id, &sandbox.url, &token);
    }
    tables
}

/// A status event of the second generation.
pub(crate) fn status_of(message_id: &Value, status: &str) -> Value {
    json!({ "event": { "type": "UPDATE", "subscription_type": "livechat",
        "data": { "message_uuid": message_id, "status": status } } })
}

/// The gateway and the file that it was started with.
pub(crate) struct House {
    pub(crate) gateway: Gateway,
    pub(crate) setup: Setup,
    pub(crate) dir: Arc<tempfile::TempDir>,
}

impl House {
    /// Starts a gateway with these tables, and nothing of one account in its environment.
    pub(crate) async fn open(sandbox: &Sandbox, tables: &str) -> Self {
        Self::open_at(sandbox, tables, 0).await
    }

    /// The same at a port.
    pub(crate) async fn open_at(sandbox: &Sandbox, tables: &str, port: u16) -> Self {
        let dir = Arc::new(tempfile::tempdir().unwrap());
        let file = dir.path().join("gateway.toml");
        std::fs::write(&file, tables).unwrap();
        let setup = Self::setup(sandbox, &file).set(&format!("http.port={port}"));
        Self {
            gateway: Gateway::start_unheard(setup.clone()),
            setup,
            dir,
        }
    }

    /// A gateway with this file and nothing of one account in its environment.
    pub(crate) fn setup(sandbox: &Sandbox, file: &std::path::Path) -> Setup {
        Setup::towards(sandbox)
            .without("MOENGAGE_CALLBACK_URL")
            .without("MOENGAGE_AUTH_AGAINST")
            .without("JUMPER_BASIC_AUTH")
            .without("SEED_REFRESH_TOKEN")
            .without("WEBHOOK_SECRET")
            .env("WEBHOOK_OPEN", "true")
            .env("BIRCH_TOKEN", "token-of-channel-birch")
            .env("GATEWAY_CONFIG", &file.display().to_string())
    }

    /// kill -9 and a new start on the same data.
    pub(crate) fn crash_and_restart(self) -> Self {
        let gateway = self.gateway.crash_and_restart_unheard();
        Self { gateway, ..self }
    }

    /// The same with other tables.
    pub(crate) fn restart_with(self, tables: &str) -> Self {
        std::fs::write(self.dir.path().join("gateway.toml"), tables).unwrap();
        self.crash_and_restart()
    }

    /// kill -9, and a start with other tables that is refused; exit code and words.
    pub(crate) fn refused_with(&mut self, tables: &str) -> (Option<i32>, String) {
        self.gateway.process.kill();
        std::fs::write(self.dir.path().join("gateway.toml"), tables).unwrap();
        let (name, place) = self.gateway.store_variable();
        let env = self.setup.clone().env(&name, &place).env;
        let mut process = Process::start(&["serve"], &env, self.dir.path());
        (process.wait(), process.output())
    }

    /// Tells a sandbox to post events to a channel.
    pub(crate) async fn listen(
        &self,
        sandbox: &Sandbox,
        merchant: Option<&str>,
        channel: &str,
        by: &str,
    ) {
        let webhook = format!(
            "{}/channels/{channel}/callback/{}",
            self.gateway.url,
            secret(by)
        );
        let entry = json!([{ "permission": "livechat", "webhook": webhook, "deliver": true }]);
        let of = merchant.map_or(String::new(), |id| format!("?merchant={id}"));
        sandbox.put(&format!("subscriptions{of}"), entry).await;
    }

    /// Posts a send with a token; status and body.
    pub(crate) async fn post(&self, token: &str, body: &Value) -> (u16, Value) {
        let headers = [("authorization", format!("Bearer {token}"))];
        let headers = headers
            .each_ref()
            .map(|(name, value)| (*name, value.as_str()));
        self.gateway.post_as(&headers, body.to_string()).await
    }

    /// The same by the channel in the path.
    pub(crate) async fn post_on(&self, channel: &str, token: &str, body: &Value) -> (u16, Value) {
        let url = format!("{}/channels/{channel}/send", self.gateway.url);
        let request = self.gateway.http.post(url).body(body.to_string());
        let request = request.header("authorization", format!("Bearer {token}"));
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    /// Sends one message to a person.
    pub(crate) async fn send(&self, token: &str, msg_id: &str, to: usize) -> (u16, Value) {
        self.post(token, &order_update(msg_id, &person(to))).await
    }

    /// Sends this and expects success.
    pub(crate) async fn ok(&self, token: &str, body: &Value) {
        assert_eq!(
            self.post(token, body).await,
            (200, json!({ "status": "success" })),
            "{body}"
        );
    }

    /// Fills a channel's queue: `many` messages to the persons from `first` on.
    pub(crate) async fn load(&self, channel: &str, first: usize, many: usize) {
        let url = format!("{}/channels/{channel}/send", self.gateway.url);
        let post = |n| {
            let body = order_update(&format!("{channel}-{n}"), &person(n % 10_000)).to_string();
            let request = self.gateway.http.post(&url).body(body);
            request.header("apikey", format!("token-of-channel-{channel}"))
        };
        let answers = answers((first..first + many).map(post)).await;
        let taken = (200, json!({ "status": "success" }));
        assert!(answers.iter().all(|one| *one == taken), "{answers:?}");
    }

    /// Posts to a channel's webhook, as Jumper would.
    pub(crate) async fn event(&self, channel: &str, body: &Value) -> u16 {
        let secret = secret(channel);
        let url = format!("{}/channels/{channel}/callback/{secret}", self.gateway.url);
        let answer = self.gateway.http.post(url).json(body).send().await;
        answer.unwrap().status().as_u16()
    }

    /// Stops or resumes a channel.
    pub(crate) async fn channel(&self, id: &str, word: &str) {
        let path = format!("/api/channels/{id}/{word}");
        let answer = self.gateway.ops_send("POST", &path, json!({})).await;
        assert_eq!(answer.0, 200, "{answer:?}");
    }

    /// The ledger of a channel.
    pub(crate) async fn ledger(&self, channel: &str) -> Value {
        self.gateway.ops_get("/api/ledger").await.1["channels"][channel].clone()
    }

    /// What waits in a channel, held or not.
    pub(crate) async fn queued(&self, channel: &str) -> i64 {
        let ledger = self.ledger(channel).await;
        ["queued", "held"]
            .map(|name| ledger[name].as_i64().unwrap())
            .iter()
            .sum()
    }

    /// The channels that are paused.
    pub(crate) async fn stands(&self) -> Vec<String> {
        let channels = self.gateway.ops_get("/api/channels").await.1;
        let all = channels["channels"].as_array().unwrap().iter();
        let paused = all.filter(|one| one["paused"] == true);
        paused
            .map(|one| one["channel"].as_str().unwrap().to_owned())
            .collect()
    }

    /// Runs a command beside the gateway; its exit code and what it printed.
    pub(crate) async fn run(&self, args: &[&str]) -> (Option<i32>, String) {
        let ops = self.gateway.ops.trim_start_matches("http://");
        let setup = self.setup.clone().env("OPS_ADDR", ops);
        let mut args = args.to_vec();
        args.extend(["--set", "http.port=0", "--set", "http.bind=127.0.0.1"]);
        let mut process = Process::start(&args, &setup.env, self.dir.path());
        (process.wait(), process.output())
    }
}
