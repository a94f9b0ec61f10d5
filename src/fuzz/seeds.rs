//! Inputs of the right shape: what both sides, operators, stores and answers really say.

use super::door::{SECRET, TOKEN};
use serde_json::{Value, json};

/// Each sample of MoEngage on each route, and a few that are none.
pub(super) fn sends() -> Vec<Vec<u8>> {
    use crate::doors::moengage::samples::*;
    let bodies = [
        e1(),
        e2(),
        e3(),
        e4(),
        e5(),
        e6(),
        e7_text(),
        e7_location(),
        e8(),
        e9(),
        e10(),
        e11(),
        e12(),
    ];
    let heads = [
        format!("/jumper_send_whatsapp?campaign_id=spring\nauthorization: Bearer {TOKEN}"),
        format!("/channels/default/send\napikey: {TOKEN}"),
        format!("/chat/send-message?a=%zz\nX-Api-Key: Bearer {TOKEN}"),
    ];
    let mut all = Vec::new();
    for (number, mut body) in bodies.into_iter().enumerate() {
        body["msg_id"] = json!(format!("6650f1c2_wa_{number:06}"));
        all.push(input(&heads[number % heads.len()], &body));
    }
    all.push(input("/send_whatsapp\nauthorization: Bearer wrong", &e1()));
    let mut named = e1();
    named["template"]["components"][0]["parameters"] = json!([
        { "type": "text", "text": "A-7", "parameter_name": "order_id" },
        { "type": "text", "text": "Ana", "parameter_name": "customer" } ]);
    named["msg_id"] = json!("named");
    all.push(input(&heads[1], &named));
    let mut text = e1();
    text["template"]["components"] = json!(text["template"]["components"].to_string());
    all.push(input(&heads[0], &text));
    all
}

fn input(head: &str, body: &Value) -> Vec<u8> {
    format!("{head}\n\n{body}").into_bytes()
}

/// Each shape of contracts/jumper.md section 6, about messages that the target knows.
pub(super) fn webhooks() -> Vec<Vec<u8>> {
    let update = |data: Value| json!({ "event": { "type": "UPDATE", "subscription_type": "livechat", "data": data } });
    let new = |data: Value| json!({ "event": { "type": "NEW", "subscription_type": "livechat", "data": data } });
    let status = |id: &str, word: &str| json!({ "id": id, "status": word, "timestamp": "1704067200", "recipient_id": "12025550143" });
    let failed = json!({ "id": "M2", "status": "failed", "timestamp": 1_704_067_200, "recipient_id": 12_025_550_142_i64,
        "errors": [{ "code": 131_026, "title": "Message undeliverable", "error_data": { "details": "12025550142 is not on WhatsApp" } }] });
    let meta = |statuses: Value| {
        json!({ "object": "whatsapp_business_account",
        "entry": [{ "id": "W", "changes": [{ "field": "messages", "value": { "messaging_product": "whatsapp", "statuses": statuses } }] }] })
    };
    let bodies = [
        update(meta(json!([
            status("M1", "sent"),
            status("M1", "delivered"),
            status("M3", "read")
        ]))),
        update(meta(json!([failed]))),
        update(
            json!({ "message_uuid": "M4", "status": "rejected", "channel": "whatsapp", "to": "12025550144",
            "timestamp": "2024-01-01T00:00:00Z", "error": { "title": "1340", "detail": "Outside allowed window" } }),
        ),
        update(
            json!({ "message_uuid": "U9", "status": "delivered", "to": { "type": "whatsapp", "number": "12025550149" }, "timestamp": "2031-03-01T10:00:00.5+05:30" }),
        ),
        update(
            json!({ "messageid": "M5", "conversationid": "C1", "agent": { "id": "A1" }, "delivered": true, "status": "read",
            "message": "s3ndt3mpl4te_5000000000000001", "mobilecountrycode": "+1", "mobile": 2_025_550_145_i64, "last_updated": "2024-01-01T00:00:05" }),
        ),
        new(
            json!({ "messageid": "R1", "message": "Keep it", "mobilecountrycode": "1", "mobile": "2025550141", "agent": null,
            "replytomessage": { "messageid": "M1", "replied": true }, "timestamp": 1_704_067_300 }),
        ),
        new(
            json!({ "messageid": "R2", "message": "STOP", "mobilecountrycode": null, "mobile": "+12025550146", "created": "2024-01-01T00:00:05" }),
        ),
        new(json!({ "messageid": "R3", "message": "", "mobile": "2025550147", "from_bot": true })),
        json!([
            update(meta(json!([status("M6", "sent")]))),
            new(json!({ "message": "START", "from": "12025550146" }))
        ]),
        json!({ "type": "DELETE", "data": {} }),
    ];
    let heads = [
        format!("/jumper_callback/{SECRET}"),
        format!("/channels/default/callback?key={SECRET}"),
    ];
    let posted = bodies
        .iter()
        .enumerate()
        .map(|(number, body)| input(&heads[number % 2], body));
    posted
        .chain([input("/jumper_callback/wrong", &bodies[0])])
        // A part of the path that is no text.
        .chain([input("/jumper_callback/%ff", &bodies[0])])
        .chain([input("/channels/%ff/callback?key=x", &bodies[0])])
        .chain([input("/channels/%ff/callback/x", &bodies[0])])
        .collect()
}

/// What operators write.
pub(super) fn configs() -> Vec<Vec<u8>> {
    let one = "#!env\nMOENGAGE_CALLBACK_URL=https://api-01.moengage.com/whatsapp/dlr/x\n\
        MOENGAGE_AUTH_AGAINST=token-s3cret-1, token-s3cret-2\nJUMPER_BASIC_AUTH=Basic a2V5OnNlY3JldA==\n\
        SEED_REFRESH_TOKEN=seed-s3cret\nWEBHOOK_SECRET=webhook-s3cret-0000\nOPS_TOKEN=ops-s3cret-0000\n\
        SUBSCRIBED_CALLBACK_URL=https://gw.example.com/jumper_callback\nWABA_NUMBER=+12025550100\n\
        REDIS_URL=rediss://me:redis-s3cret@r.example:6380/2\nSLACK_WEBHOOK_URL=https://h.example/slack-s3cret\n\
        RATE_PER_SECOND=12.5\nMAX_QUEUE=off\nRUST_LOG=info,hyper=warn\n#!flags\nhttp.port=8080\nstore.min_free=1GB\n";
    let sample = include_str!("../../.env.sample").replace("\n# ", "\n");
    let file = include_str!("../../config/default.toml").replace("\n# ", "\n");
    let tables = "#!file\n[jumper]\nrate_per_second = 20\n[policy]\nmax_age = \"12h\"\n\n[[account]]\nid = \"acme\"\n\
        basic_auth = { env = \"ACME_BASIC\" }\nseed_refresh_token = \"acme-seed-s3cret\"\nrate_per_second = 80\n\
        subscribed_callback_url = \"https://gw.test/channels/acme-uk/callback\"\n\n[[channel]]\nid = \"acme-uk\"\n\
        account = \"acme\"\nauth_against = [\"acme-token-s3cret\", { env = \"ACME_TOKEN\" }]\n\
        callback_url = \"https://api-01.moengage.com/whatsapp/dlr/uk\"\nwaba_number = \"+442079460000\"\n\
        webhook_secret = \"acme-webhook-s3cret-uk\"\npaused = true\nmax_queue = 1000\n\
        #!.env\nexport ACME_BASIC='Basic YWNtZTphY21lLXNlY3JldA=='\nACME_TOKEN=\"acme-new-s3cret\" # comment\n";
    let layers = [
        one.to_owned(),
        format!("#!.env\n{sample}"),
        format!("#!file\n{file}"),
        tables.to_owned(),
        format!("{tables}{one}"),
    ];
    layers.map(String::into_bytes).to_vec()
}

/// What stores keep.
pub(super) fn rows() -> Vec<Vec<u8>> {
    let rows = [
        r#"{"v":1,"from":"12025550100","name":"order_update","lang":"en_US","header":{"document":["https://x/a.pdf","a"]},"body":["Ana"],"buttons":[{"url":[0,"x"]},{"quick_reply":[1,null]}],"campaign":"c"}"#,
        r#"{"v":2,"from":"12025550100","name":"order_left","lang":"en_US","body":["A-7","Ana"],"names":{"header":null,"body":["order_id","customer"],"buttons":[[0,"path"]]}}"#,
        r#"{"v":1,"at":1930000000000,"msg_id":"m","status":{"status":"failed","error":["7004","outcome unknown"]}}"#,
        r#"{"v":1,"at":5,"inbound":{"from":12025550143,"waba":"+12025550100","text":"Keep it","payload":"{'a':1}"}}"#,
        r#"{"v":300,"from":"12025550100","template":{"id":7}}"#,
        "{\"t\":1,\"e\":\"accepted\"}\n{\"t\":2,\"e\":\"attempt\",\"d\":\"1\"}\nnonsense\n",
        r#"{"fetched_at":5,"variants":[["a","en","1"],["b","de","2"]]}"#,
        r#"{"access":"a-s3cret","refresh":"r-s3cret","obtained_at":1,"expires_at":2,"fence":3,"dead":null,"seed":null}"#,
        r#"7|7|0|1930000000000|{"v":1,"at":5,"msg_id":"m","status":{"status":"read","error":null}}"#,
        "ch=default\nmi=m\nto=12025550143\ns=2\npr=-9223372036854775808\nn=1\nd={\"v\":1,\"from\":\"12025550100\",\"name\":\"a\",\"lang\":\"en\"}",
        "refresh=r-s3cret\naccess=a-s3cret\nobtained_at=1\nexpires_at=2\nfence=3\nappendonly=yes\nmaxmemory=0\nused_memory=1\nrole=master",
        "-9223372036854775808",
    ];
    rows.map(|row| row.as_bytes().to_vec()).to_vec()
}

/// What Jumper, MoEngage and Datastore answer.
pub(super) fn answers() -> Vec<Vec<u8>> {
    let answers = [
        json!({ "success": true, "message_id": "2f0c6f0e-0000", "conversationid": "5104000000000001", "message": "Message sent", "errorMessage": null }),
        json!({ "success": false, "errorMessage": "no contact 919876543210 for token" }),
        json!({ "fault": { "faultstring": "Spike arrest violation", "detail": { "errorcode": "policies.ratelimit.SpikeArrestViolation" } } }),
        json!({ "success": true, "prev": null, "next": null, "data": [
            { "template_name": "a", "templates": [{ "id": 5_000_000_000_000_001_i64, "language": "en", "status": "APPROVED" }] }] }),
        json!({ "success": true, "data": { "id": 5, "message": { "BODY": { "text": "Hi {{1}}, {{2}}" }, "HEADER": { "format": "TEXT", "text": "{{1}}" },
            "BUTTONS": [{ "type": "URL", "url": "https://x/{{1}}" }, { "type": "QUICK_REPLY", "text": "Yes" }] }, "message_params": { "BODY": [{ "<a>": "text" }] } } }),
        json!({ "success": true, "data": [{ "subscription_type": "livechat", "webhook": "https://a" }] }),
        json!({ "access_token": "h.eyJleHAiOjE5MzAwMDAwMDB9.s", "refresh_token": "the-refresh-s3cret-of-it", "expires_in": 7_776_000, "token_type": "Bearer" }),
        json!({ "error": "invalid_grant", "error_description": "Refresh Token expired" }),
        json!({ "status": "failure", "success": false, "error": { "message": "no", "status": "ABORTED" } }),
        json!({ "key": { "path": [{ "kind": "K", "name": "default:m1" }] }, "properties": {
            "mo_msg_id": { "stringValue": "m1" }, "version": { "integerValue": "4" }, "created_date": { "timestampValue": "2031-03-01T10:00:00+00:00" },
            "state": { "stringValue": "accepted" }, "status": { "entityValue": { "properties": { "read": { "booleanValue": true } } } },
            "recipient": { "doubleValue": 12_025_550_143.0_f64 }, "history": { "stringValue": "[{\"t\":1,\"e\":\"accepted\"}]", "excludeFromIndexes": true } } }),
    ];
    let texts = [
        "Sun, 06 Nov 1994 08:49:37 GMT",
        "120",
        "<html>Bad Gateway</html>",
    ];
    let answers = answers.iter().map(|answer| answer.to_string().into_bytes());
    answers
        .chain(texts.map(|text| text.as_bytes().to_vec()))
        .collect()
}
