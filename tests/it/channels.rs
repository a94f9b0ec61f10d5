//! Many accounts and channels in one file: each has its own, and nothing opens what is another's.

use crate::it::account_files::*;
use crate::it::repeats::together;
use crate::kit::event_bodies::own_port;
use crate::kit::harness::*;
use serde_json::{Value, json};

#[tokio::test]
async fn two_tenants_of_one_file_send_and_are_told_each_for_itself() {
    let (a, b) = (Sandbox::start(quick()).await, Sandbox::start(quick()).await);
    let tables = two_tenants(&a, &b);
    let house = House::open(&a, &tables).await;
    house.listen(&a, None, "uk", "uk").await;
    house.listen(&b, None, "birch", "birch").await;
    assert_eq!(
        house.send("token-of-channel-uk", "m1", 1).await.1["status"],
        "success"
    );
    assert_eq!(
        house.send("token-of-channel-birch", "m1", 2).await.1["status"],
        "success"
    );
    for (sandbox, endpoint, to) in [(&a, "uk", 1), (&b, "birch", 2)] {
        until("its statuses have come", async || {
            let told = sandbox.get(&format!("callbacks?endpoint={endpoint}")).await;
            (told.as_array().unwrap().len() == 3).then_some(())
        })
        .await;
        assert_eq!(sandbox.counts().await["sends_accepted"], 1);
        assert_eq!(sandbox.sends_to(digits(&person(to))).await.len(), 1);
    }
    for (channel, account) in [("uk", "acme"), ("birch", "birch")] {
        let path = format!("/api/messages/m1?channel={channel}");
        let message = house.gateway.ops_get(&path).await.1;
        assert_eq!(message["account"], account, "{message}");
        assert_eq!(message["channel"], channel);
    }
    let first = house.gateway.message("m1").await;
    assert_eq!(first["also_on"], json!(["birch"]));
    let ready = house.gateway.ready().await.1;
    let names = |list: &str, key: &str| {
        let list = ready[list].as_array().unwrap().iter();
        list.map(|one| one[key].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(names("accounts", "account"), ["acme", "birch"]);
    assert_eq!(names("channels", "channel"), ["uk", "us", "birch"]);
}

#[tokio::test]
async fn a_token_of_several_channels_goes_by_from_or_by_the_channel_in_the_path() {
    let a = Sandbox::start(quick()).await;
    let tables = format!(
        "{}{}{}",
        account("acme", &a.url, ""),
        channel(
            "uk",
            "acme",
            &a.url,
            "auth_against = \"token-of-both-channels\"\nwaba_number = \"442079460000\""
        ),
        channel(
            "us",
            "acme",
            &a.url,
            "auth_against = \"token-of-both-channels\"\nwaba_number = \"12025550100\""
        ),
    );
    let house = House::open(&a, &tables).await;
    let from = |from: &str, id: &str| {
        let mut body = order_update(id, &person(1));
        body["from"] = from.into();
        body
    };
    house
        .ok("token-of-both-channels", &from("+44 20 7946 0000", "m1"))
        .await;
    house
        .ok("token-of-both-channels", &from("12025550100", "m2"))
        .await;
    let other = house
        .post("token-of-both-channels", &from("12025550199", "m3"))
        .await;
    assert_eq!(code_of(&other), "7000");
    for (id, channel, number) in [("m1", "uk", "442079460000"), ("m2", "us", "12025550100")] {
        let message = house.gateway.until_sent(id).await;
        assert_eq!(message["channel"], channel);
        let sends = a.sends_to(digits(&person(1))).await;
        assert!(
            sends.iter().any(|send| send["from"] == number),
            "{number} is named to Jumper: {sends:?}"
        );
    }
    // By path the channel must be one of the token's, and `from` one of the channel's.
    let by = async |channel: &str, from_: &str, id: &str| {
        house
            .post_on(channel, "token-of-both-channels", &from(from_, id))
            .await
    };
    assert_eq!(by("us", "12025550100", "m4").await.1["status"], "success");
    for (channel, number) in [
        ("us", "442079460000"),
        ("nobody", "12025550100"),
        ("US", "12025550100"),
        ("%FF", "12025550100"),
    ] {
        assert_eq!(
            code_of(&by(channel, number, "m5").await),
            "7000",
            "{channel}"
        );
    }
}

#[tokio::test]
async fn b_47_a_caller_token_never_reaches_a_channel_it_is_not_listed_on() {
    let (a, b) = (Sandbox::start(quick()).await, Sandbox::start(quick()).await);
    let house = House::open(&a, &two_tenants(&a, &b)).await;
    let tokens = [
        "token-of-channel-uk",
        "token-of-channel-us",
        "token-of-channel-birch",
    ];
    let mut n = 0;
    for (token, own) in tokens.iter().zip(["uk", "us", "birch"]) {
        for channel in ["uk", "us", "birch"].iter().filter(|one| **one != own) {
            for header in ["authorization", "authentication", "x-api-key", "apikey"] {
                n += 1;
                let body = order_update(&format!("x{n}"), &person(n));
                let url = format!("{}/channels/{channel}/send", house.gateway.url);
                let request = house.gateway.http.post(url).header(header, *token);
                let answer = request.body(body.to_string()).send().await.unwrap();
                assert_eq!(answer.status(), 200);
                let answer = (200, answer.json().await.unwrap());
                assert_eq!(code_of(&answer), "7000", "{token} on {channel}");
            }
        }
    }
    // Its own words about itself change nothing either.
    let mut named = order_update("x-named", &person(1));
    named["channel"] = "birch".into();
    named["shopName"] = "birch".into();
    house.ok("token-of-channel-uk", &named).await;
    house.gateway.until_sent("x-named").await;
    assert_eq!(house.gateway.message("x-named").await["channel"], "uk");
    let ledger = house.gateway.ops_get("/api/ledger").await.1;
    assert_eq!(ledger["total"]["accepted"], 1, "{ledger}");
    assert_eq!(b.counts().await["sends_accepted"], 0);
    // The same id on both is two messages, and a repeat is a repeat on its own channel only.
    house
        .ok(
            "token-of-channel-birch",
            &order_update("x-named", &person(9)),
        )
        .await;
    house
        .ok(
            "token-of-channel-birch",
            &order_update("x-named", &person(9)),
        )
        .await;
    let other = "/api/messages/x-named?channel=birch";
    until("it is sent", async || {
        is_sent(&house.gateway.ops_get(other).await.1).then_some(())
    })
    .await;
    assert_eq!(b.sends_to(digits(&person(9))).await.len(), 1);
    assert_eq!(a.sends_to(digits(&person(9))).await.len(), 0);
}

#[tokio::test]
async fn b_47_the_webhook_of_one_tenant_opens_and_moves_nothing_of_another() {
    let knobs = json!({ "event_mode": "none" });
    let (a, b) = (
        Sandbox::start(knobs.clone()).await,
        Sandbox::start(knobs).await,
    );
    let house = House::open(&a, &two_tenants(&a, &b)).await;
    let secrets = ["uk", "us", "birch"].map(|channel| (channel, secret(channel)));
    let event = json!({ "event": {} });
    for (channel, own) in &secrets {
        for (_, presented) in &secrets {
            let url = format!(
                "{}/channels/{channel}/callback/{presented}",
                house.gateway.url
            );
            let wanted = if own == presented { 200 } else { 404 };
            let posted = house.gateway.http.post(&url).json(&event).send().await;
            assert_eq!(posted.unwrap().status(), wanted, "{channel} {presented}");
            let looked = house.gateway.http.get(&url).send().await.unwrap();
            assert_eq!(looked.status(), wanted);
        }
        let bare = format!("{}/channels/{channel}/callback", house.gateway.url);
        let posted = house.gateway.http.post(&bare).json(&event).send().await;
        assert_eq!(posted.unwrap().status(), 404);
    }
    house.send("token-of-channel-birch", "theirs", 1).await;
    let theirs = house.gateway.until_sent("theirs").await;
    let id = b.sends_to(digits(&person(1))).await[0]["message_id"].clone();
    assert!(theirs["provider_id"].is_string());
    // The id is right, the tenant is not.
    assert_eq!(house.event("uk", &status_of(&id, "failed")).await, 200);
    house.send("token-of-channel-uk", "ours", 2).await;
    house.gateway.until_sent("ours").await;
    let ours = a.sends_to(digits(&person(2))).await[0]["message_id"].clone();
    // Within an account any of its URLs will do.
    assert_eq!(house.event("us", &status_of(&ours, "delivered")).await, 200);
    until("the own status is told", async || {
        (a.told("ours").await == ["delivered"]).then_some(())
    })
    .await;
    let told = a.get("callbacks?endpoint=uk").await;
    assert_eq!(
        told.as_array().unwrap().len(),
        1,
        "to the message's own URL"
    );
    assert_eq!(
        house.event("birch", &status_of(&id, "delivered")).await,
        200
    );
    until("the rightful status is told", async || {
        (b.told("theirs").await == ["delivered"]).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_moengage_that_takes_nothing_for_one_number_delays_no_other() {
    let (a, b) = (Sandbox::start(quick()).await, Sandbox::start(quick()).await);
    let down = json!({ "moengage_only": "uk", "moengage_status": 500 });
    a.knobs(down).await;
    let house = House::open(&a, &two_tenants(&a, &b)).await;
    house.listen(&a, None, "uk", "uk").await;
    for n in 0..20 {
        house
            .send("token-of-channel-uk", &format!("uk-{n}"), n)
            .await;
    }
    until("callbacks of the one wait", async || {
        let ledger = house.ledger("uk").await;
        (ledger["callbacks"]["waiting"].as_i64() >= Some(20)).then_some(())
    })
    .await;
    house.send("token-of-channel-us", "us-1", 100).await;
    until("those of the other are told", async || {
        (a.told("us-1").await == ["sent", "delivered", "read"]).then_some(())
    })
    .await;
    assert!(a.told("uk-1").await.is_empty());
    a.knobs(json!({ "moengage_status": 200 })).await;
    until("all are told in the end", async || {
        (a.told("uk-19").await == ["sent", "delivered", "read"]).then_some(())
    })
    .await;
    assert_eq!(a.counts().await["callback_backwards"], 0);
}

#[tokio::test]
async fn an_opt_out_on_one_number_leaves_the_others_alone() {
    let knobs = json!({ "event_mode": "none" });
    let (a, b) = (
        Sandbox::start(knobs.clone()).await,
        Sandbox::start(knobs).await,
    );
    let house = House::open(&a, &two_tenants(&a, &b)).await;
    house.listen(&a, None, "uk", "uk").await;
    house.send("token-of-channel-uk", "m1", 1).await;
    house.gateway.until_sent("m1").await;
    a.post("reply", json!({ "to": person(1), "text": "STOP" }))
        .await;
    // The answer to an id that was once accepted does not change.
    let mut tries = 0;
    until("the opt-out counts", async || {
        tries += 1;
        let answer = house
            .send("token-of-channel-uk", &format!("m2-{tries}"), 1)
            .await;
        (answer.1["error"]["code"] == "7003").then_some(())
    })
    .await;
    for token in ["token-of-channel-us", "token-of-channel-birch"] {
        assert_eq!(house.send(token, "m3", 1).await.1["status"], "success");
    }
}

/// Channels with much, with nothing, with little, and with a pause; whose message each send was,
/// from when both that may send have something until one of them has not.
async fn served(rate: u32, little: usize) -> Vec<String> {
    let a = Sandbox::start(json!({ "event_mode": "none" })).await;
    let numbers = ["one", "idle", "two", "resting"];
    let mut tables = account("acme", &a.url, &format!("rate_per_second = {rate}"));
    for id in numbers {
        let more = format!("auth_against = \"token-of-channel-{id}\"");
        tables += &channel(id, "acme", &a.url, &more);
    }
    let house = House::open(&a, &tables).await;
    house.send("token-of-channel-idle", "warm", 9999).await;
    house.gateway.until_sent("warm").await;
    for id in numbers.iter().filter(|id| **id != "idle") {
        house.channel(id, "pause").await;
    }
    house.load("one", 1000, 5 * little).await;
    house.load("two", 2000, little).await;
    house.load("resting", 3000, 10).await;
    a.post("reset", json!({})).await;
    // Of the larger queue more is left, however long the second order takes.
    house.channel("one", "resume").await;
    house.channel("two", "resume").await;
    until("the smaller queue is sent", async || {
        (house.ledger("two").await["accepted_by_provider"] == little).then_some(())
    })
    .await;
    let sends = a.get("sends?limit=1000").await;
    let who = |send: &Value| send["to"].as_str().unwrap()[7..8].to_owned();
    let order: Vec<_> = sends.as_array().unwrap().iter().map(who).collect();
    assert!(!order.contains(&"3".to_owned()), "a paused number rests");
    let first = order.iter().position(|one| one == "2").unwrap();
    let last = order.iter().rposition(|one| one == "2").unwrap();
    order[first..last].to_vec()
}

#[tokio::test]
async fn channels_of_one_account_share_its_calls_alike_whoever_has_how_much_waiting() {
    // One call a claim, and several.
    for (rate, little) in [(35, 50), (300, 100)] {
        let order = served(rate, little).await;
        let of = |channel: &str| order.iter().filter(|one| *one == channel).count();
        let (of_one, of_two) = (of("1"), of("2"));
        assert!(of_two >= little / 2, "they were sent together: {order:?}");
        let share = of_one as f64 / of_two as f64;
        assert!(
            (0.75..=1.34).contains(&share),
            "{rate}/s: {of_one} to {of_two}: {order:?}"
        );
    }
}

#[tokio::test]
async fn pause_and_rate_belong_to_one_channel_and_one_account_and_outlive_a_restart() {
    let (a, b) = (Sandbox::start(quick()).await, Sandbox::start(quick()).await);
    let tables = two_tenants(&a, &b).replace("# us", "paused = true\n# us");
    let mut house = House::open(&a, &tables).await;
    assert_eq!(house.stands().await, ["us"], "as configured");
    house.channel("us", "resume").await;
    house.channel("birch", "pause").await;
    let rate = "/api/accounts/acme/rate";
    let wish = json!({ "per_second": 7, "concurrency": 3 });
    assert_eq!(house.gateway.ops_send("PUT", rate, wish).await.0, 200);
    house = house.crash_and_restart();
    assert_eq!(house.stands().await, ["birch"], "as an operator said");
    let accounts = house.gateway.ops_get("/api/accounts").await.1;
    let rates = [0, 1].map(|n| accounts["accounts"][n]["rate"].clone());
    assert_eq!(rates[0]["per_second"], 7.0, "{rates:?}");
    assert_eq!(rates[1]["per_second"], "off", "{rates:?}");
    assert_eq!(
        (&rates[0]["layer"], &rates[1]["layer"]),
        (&json!("runtime"), &json!("configured"))
    );
    house.send("token-of-channel-birch", "waits", 1).await;
    house.send("token-of-channel-us", "goes", 2).await;
    house.gateway.until_sent("goes").await;
    assert_eq!(house.gateway.message("waits").await["state"], "waiting");
    let text = until("the running gateway is asked in time", async || {
        let text = house.run(&["config"]).await.1;
        text.contains(" runtime").then_some(text)
    })
    .await;
    for line in [
        "account.acme.rate_per_second  7.0",
        "channel birch                 paused",
    ] {
        let words: Vec<_> = line.split_whitespace().collect();
        let found = text.lines().any(|line| {
            let cells: Vec<_> = line.split_whitespace().collect();
            cells.starts_with(&words) && cells.contains(&"runtime")
        });
        assert!(found, "{words:?}: {text}");
    }
    let unknown = house
        .gateway
        .ops_send("POST", "/api/channels/default/pause", json!({}));
    assert_eq!(unknown.await.0, 404);
}

#[tokio::test]
async fn a_channel_that_is_taken_out_is_told_and_one_with_open_messages_keeps_its_account() {
    let (a, b) = (Sandbox::start(quick()).await, Sandbox::start(quick()).await);
    let tables = two_tenants(&a, &b);
    let mut house = House::open(&a, &tables).await;
    house.channel("us", "pause").await;
    house.send("token-of-channel-us", "left", 1).await;
    let moved = tables.replace("account = \"acme\"\n# us", "account = \"birch\"\n# us");
    assert_ne!(moved, tables);
    let (code, said) = house.refused_with(&moved);
    assert_eq!(code, Some(1));
    let words = "channel us is on account birch now and keeps 1 unsettled messages and callbacks of \
                 account acme";
    assert!(said.contains(words), "{said}");
    let without = format!(
        "{}{}",
        &tables[..tables.find("[[channel]]\nid = \"us\"").unwrap()],
        &tables[tables.find("[[channel]]\nid = \"birch\"").unwrap()..]
    );
    for _ in 0..2 {
        // Told at every start, not only at the first one.
        house = house.restart_with(&without);
        let words = "Channel us is not configured any more and keeps 1";
        house.gateway.process.line_with(words);
    }
    house = house.restart_with(&tables);
    house.channel("us", "resume").await;
    house.gateway.until_sent("left").await;
}

/// A line of a table.
fn lets_in(token: &str) -> String {
    format!("auth_against = \"{token}\"")
}

#[tokio::test]
async fn check_looks_at_every_account_and_channel_and_config_hides_their_secrets() {
    let a = Sandbox::start(quick()).await;
    let tables = format!(
        "{}{}{}{}",
        account(
            "acme",
            &a.url,
            "subscribed_callback_url = \"http://gw.test/channels/uk/callback\""
        ),
        account("gone", &format!("http://{}", nowhere()), "")
            .replace("sandbox-refresh", "other-refresh"),
        channel("uk", "acme", &a.url, &lets_in("token-of-channel-uk")),
        channel("birch", "gone", &a.url, &lets_in("token-of-channel-birch")),
    );
    let house = House::open(&a, &tables).await;
    let (code, text) = house.run(&["check"]).await;
    assert_eq!(code, Some(1), "{text}");
    let mark = |item: &str| {
        let line = text
            .lines()
            .find(|line| line.starts_with(&format!("{item} ")));
        let line = line.unwrap_or_else(|| panic!("{item}: {text}"));
        line[item.len()..]
            .split_whitespace()
            .next()
            .unwrap()
            .to_owned()
    };
    assert_eq!(mark("Jumper API of acme"), "ok");
    assert_eq!(mark("Jumper API of gone"), "FAULT");
    assert_eq!(mark("MoEngage callback of uk"), "ok");
    assert_eq!(mark("MoEngage callback of birch"), "ok");
    assert_eq!(mark("webhook from outside of acme"), "warn");
    assert_eq!(mark("webhook from outside of gone"), "unknown");
    let config = house.run(&["config"]).await.1;
    for secret in [
        secret("uk"),
        secret("birch"),
        "token-of-channel-uk".into(),
        "sandbox-refresh-token".into(),
    ] {
        assert!(
            !text.contains(&secret) && !config.contains(&secret),
            "{secret}"
        );
    }
    assert!(config.contains("channel.birch.callback_url"), "{config}");
    // Both ways at once are refused, whole, before anything is opened.
    let setup = house.setup.clone().env("MOENGAGE_AUTH_AGAINST", "hunter2");
    let mut process = Process::start(&["serve"], &setup.env, house.dir.path());
    assert_eq!(process.wait(), Some(1));
    let said = process.output();
    assert!(
        said.contains(
            "MOENGAGE_AUTH_AGAINST = \"***\" (environment): must not be given beside account.acme ("
        ),
        "{said}"
    );
    assert!(
        said.contains("gateway.toml:1)") && !said.contains("hunter2"),
        "{said}"
    );
}

#[tokio::test]
async fn b_26_channels_with_nearly_the_same_name_have_queues_of_their_own_and_cost_no_call() {
    let a = Sandbox::start(json!({ "event_mode": "none" })).await;
    let long = "a".repeat(63);
    let names = [
        "shop-1".to_owned(),
        "shop_1".to_owned(),
        "shop1".to_owned(),
        format!("{long}x"),
        format!("{long}y"),
    ];
    let mut tables = account("acme", &a.url, "");
    for (n, id) in names.iter().enumerate() {
        tables += &channel(
            id,
            "acme",
            &a.url,
            &format!("auth_against = \"token-of-channel-{n}\""),
        );
    }
    let house = House::open(&a, &tables).await;
    house.channel("shop_1", "pause").await;
    for (n, _) in names.iter().enumerate() {
        for m in 0..4 {
            house
                .send(
                    &format!("token-of-channel-{n}"),
                    &format!("m{m}"),
                    10 * n + m,
                )
                .await;
        }
    }
    until("all but the paused one are sent", async || {
        (a.counts().await["sends_accepted"] == 16).then_some(())
    })
    .await;
    for id in &names {
        let queued = if id == "shop_1" { 4 } else { 0 };
        assert_eq!(house.queued(id).await, queued, "{id}");
    }
    house.channel("shop_1", "resume").await;
    let ledger = house.gateway.drained().await;
    assert_eq!(ledger["accepted_by_provider"], 20);
    let counts = a.counts().await;
    assert_eq!(
        (&counts["calls"]["send"], &counts["recipients_repeated"]),
        (&json!(20), &json!(0))
    );
    let calls = counts["calls"].as_object().unwrap();
    let all: u64 = calls.values().map(|n| n.as_u64().unwrap()).sum();
    assert!(all <= 20 + 8, "no call a message but its send: {calls:?}");
}

#[tokio::test]
async fn b_16_every_merchant_of_one_application_keeps_its_tokens_fresh() {
    let knobs = json!({ "event_mode": "none", "token_ttl_s": 4 });
    let a = Sandbox::start(knobs).await;
    // On a busy machine a token this short may end on its way; that must heal soon.
    let tables = format!(
        "[policy]\nhold_probe = \"200ms\"\n{}",
        merchants(&a, 3, "").await
    );
    let house = House::open(&a, &tables).await;
    let mut sent = 0;
    until("each has used up two pairs", async || {
        for n in 0..3 {
            let id = format!("{n}-{sent}");
            house
                .send(&format!("token-of-channel-m{n}"), &id, 100 * n + sent)
                .await;
            house.gateway.until_sent(&id).await;
        }
        sent += 1;
        let mut fresh = true;
        for n in 0..3 {
            let counts = a.get(&format!("counts?merchant={}", number(n))).await;
            assert_eq!(counts["refreshes_denied"], 0, "{counts}");
            assert!(counts["max_refreshes_at_once"].as_u64() <= Some(1));
            fresh &= counts["refreshes"].as_u64() >= Some(3);
        }
        fresh.then_some(())
    })
    .await;
    for n in 0..3 {
        let counts = a.get(&format!("counts?merchant={}", number(n))).await;
        assert_eq!(counts["sends_accepted"], sent, "each by its own merchant");
    }
}

/// Accounts that are changed at once.
const MANY: usize = 4;

#[tokio::test]
async fn b_40_what_is_set_at_the_same_time_on_many_accounts_is_all_kept() {
    let a = Sandbox::start(json!({ "event_mode": "none" })).await;
    let mut house = House::open(&a, &merchants(&a, MANY, "").await).await;
    for n in 0..MANY {
        house
            .send(
                &format!("token-of-channel-m{n}"),
                &format!("warm{n}"),
                900 + n,
            )
            .await;
        house.gateway.until_sent(&format!("warm{n}")).await;
    }
    for n in [1, 3] {
        house.channel(&format!("m{n}"), "pause").await;
    }
    // Renewed tokens and a pace of every account, a pause of every other channel and the end of the
    // others' pauses, all under way together.
    let (mut asked, words) = (tokio::task::JoinSet::new(), ["pause", "resume"]);
    for n in 0..MANY {
        for (method, path, body) in [
            ("POST", format!("accounts/m{n}/token/refresh"), json!({})),
            (
                "PUT",
                format!("accounts/m{n}/rate"),
                json!({ "per_second": 50 + n }),
            ),
            ("POST", format!("channels/m{n}/{}", words[n % 2]), json!({})),
        ] {
            let url = format!("{}/api/{path}", house.gateway.ops);
            let request = house
                .gateway
                .http
                .request(method.parse().unwrap(), url)
                .json(&body);
            asked.spawn(async move { request.send().await.unwrap().status() });
        }
    }
    assert!(asked.join_all().await.iter().all(|status| *status == 200));
    house = house.crash_and_restart();
    let all = ["m0", "m1", "m2", "m3"];
    assert_eq!(house.stands().await, ["m0", "m2"]);
    let accounts = house.gateway.ops_get("/api/accounts").await.1;
    for n in 0..MANY {
        let account = &accounts["accounts"][n];
        assert_eq!(account["rate"]["per_second"], 50.0 + n as f64, "{account}");
        assert_eq!(account["token"]["state"], "fresh", "{account}");
    }
    for (n, id) in all.iter().enumerate() {
        house.channel(id, "resume").await;
        house
            .send(&format!("token-of-channel-m{n}"), &format!("after{n}"), n)
            .await;
        house.gateway.until_sent(&format!("after{n}")).await;
        let counts = a.get(&format!("counts?merchant={}", number(n))).await;
        assert_eq!(
            counts["refreshes"], 2,
            "the renewed pair is the one in use: {counts}"
        );
        assert_eq!(counts["refreshes_denied"], 0, "{counts}");
    }
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "one long day, then one search")]
async fn b_46_nothing_that_is_shown_holds_a_secret_of_any_tenant() {
    let (a, b) = (Sandbox::start(quick()).await, Sandbox::start(quick()).await);
    let house = House::open(&a, &two_tenants(&a, &b)).await;
    house.listen(&a, None, "uk", "uk").await;
    for (token, id) in [
        ("token-of-channel-uk", "m1"),
        ("token-of-channel-us", "m2"),
        ("token-of-channel-birch", "m3"),
    ] {
        house.send(token, id, 1).await;
        house.gateway.until_sent(id).await;
    }
    house
        .post("a-token-of-nobody-000", &order_update("m4", &person(1)))
        .await;
    let mut shown = house.gateway.metrics().await;
    for path in [
        "accounts",
        "channels",
        "ledger",
        "messages/m1",
        "user",
        "config",
        "tokens",
    ] {
        shown += &house
            .gateway
            .ops_get(&format!("/api/{path}"))
            .await
            .1
            .to_string();
    }
    shown += &house.gateway.ready().await.1.to_string();
    shown += &house.run(&["config"]).await.1;
    shown += &house.run(&["check"]).await.1;
    shown += &house.run(&["trace", "m1"]).await.1;
    shown += &house.gateway.process.output();
    let basic = "c2FuZGJveC1rZXk6c2FuZGJveC1zZWNyZXQ";
    for secret in [
        "token-of-channel-uk",
        "token-of-channel-us",
        "token-of-channel-birch",
        "a-token-of-nobody-000",
        basic,
        "sandbox-refresh-token",
        "sandbox-secret",
        &secret("uk"),
        &secret("us"),
        &secret("birch"),
        "eyJhbGciOi",
    ] {
        let line = shown.lines().find(|line| line.contains(secret));
        assert_eq!(line, None, "{secret}");
    }
    // No web page of anybody may read what is answered here.
    for url in [
        format!("{}/api/accounts", house.gateway.ops),
        format!("{}/readyz", house.gateway.url),
        format!("{}/send_whatsapp", house.gateway.url),
    ] {
        let request = house
            .gateway
            .http
            .get(&url)
            .header("origin", "https://evil.test");
        let answer = request.send().await.unwrap();
        let headers = answer.headers();
        assert!(
            !headers.contains_key("access-control-allow-origin"),
            "{url}"
        );
    }
}

#[tokio::test]
async fn b_48_a_token_that_is_taken_out_of_a_channel_opens_it_no_more() {
    let (a, b) = (Sandbox::start(quick()).await, Sandbox::start(quick()).await);
    let tables = two_tenants(&a, &b);
    let tokens = ["new", "uk", "us"].map(|name| format!("token-of-channel-{name}"));
    let [new, uk, us] = tokens.each_ref().map(String::as_str);
    let rotating = tables.replace(&format!("{uk:?}"), &format!("{tokens:?}"));
    assert_ne!(rotating, tables);
    let mut house = House::open(
        &a,
        &rotating
            .replace("# uk", "waba_number = \"442079460000\"\n# uk")
            .replace("# us", "waba_number = \"12025550100\"\n# us"),
    )
    .await;
    let on = async |house: &House, channel: &str, token: &str| {
        let mut body = order_update(&format!("{channel}-{token}"), &person(1));
        if channel == "uk" {
            body["from"] = "442079460000".into();
        }
        house.post_on(channel, token, &body).await
    };
    for (channel, token) in [("uk", new), ("uk", uk), ("uk", us), ("us", us)] {
        let status = on(&house, channel, token).await.1["status"].clone();
        assert_eq!(status, "success", "{token}");
    }
    // Two are taken out of one channel; the one that is listed elsewhere opens only that.
    house = house.restart_with(&tables.replace(uk, new));
    for token in [uk, us] {
        assert_eq!(code_of(&on(&house, "uk", token).await), "7000", "{token}");
        assert_eq!(code_of(&house.send(uk, "again", 2).await), "7000");
    }
    assert_eq!(on(&house, "uk", new).await.1["status"], "success");
    assert_eq!(on(&house, "us", us).await.1["status"], "success");
    // What a caller signed with a key of its own is no token, whatever it says of itself.
    let forged = "eyJ0eXAiOiJKV1QifQ.eyJzaG9wTmFtZSI6InVrIn0.c2lnbmVkLWJ5LXRoZS1jYWxsZXI";
    for token in [
        forged,
        "token-of-channel-ne",
        "token-of-channel-new0",
        "TOKEN-OF-CHANNEL-NEW",
        "token-of-channel-new,token-of-channel-us",
        "",
        " ",
    ] {
        assert_eq!(code_of(&on(&house, "uk", token).await), "7000", "{token:?}");
    }
}

#[tokio::test]
async fn each_account_subscribes_the_channel_that_its_url_names() {
    let (a, b) = (Sandbox::start(quick()).await, Sandbox::start(quick()).await);
    let port = own_port();
    let url = |channel: &str| format!("http://127.0.0.1:{port}/channels/{channel}/callback");
    let tables = two_tenants(&a, &b)
        .replace(
            "# acme",
            &format!("subscribed_callback_url = \"{}\"\n# acme", url("us")),
        )
        .replace(
            "# birch-account",
            &format!("subscribed_callback_url = \"{}\"", url("birch")),
        );
    let house = House::open_at(&a, &tables, port).await;
    for (sandbox, channel) in [(&a, "us"), (&b, "birch")] {
        let wanted = format!("{}/{}", url(channel), secret(channel));
        until("it is subscribed", async || {
            let list = sandbox.get("subscriptions").await;
            (list[0]["webhook"] == wanted).then_some(())
        })
        .await;
        assert_eq!(
            sandbox.get("subscriptions").await.as_array().unwrap().len(),
            1
        );
    }
    house.send("token-of-channel-uk", "m1", 1).await;
    until("statuses come by the account's one URL", async || {
        (a.told("m1").await.len() == 3).then_some(())
    })
    .await;
    let answers = together(&house.gateway, vec![order_update("m2", &person(2))]).await;
    assert_eq!(
        code_of(&answers[0]),
        "7000",
        "another token than any of these"
    );
}
