//! The samples E1 to E12 of contracts/moengage.md section 7.1.

use serde_json::{Value, json};

/// A send of this template to the fictional user.
pub(crate) fn send(template: Value) -> Value {
    json!({
        "msg_id": "6650f1c2_wa_000001",
        "from": "12025550100",
        "to": "+12025550143",
        "template": template,
    })
}

/// A send with these components.
pub(crate) fn with(components: Value) -> Value {
    send(json!({
        "name": "order_update",
        "language": { "code": "en_US" },
        "components": components,
    }))
}

/// A send whose body has these parameters.
pub(crate) fn with_body(parameters: Value) -> Value {
    with(json!([{ "type": "body", "parameters": parameters }]))
}

/// A send whose header has this parameter.
pub(crate) fn with_header(parameter: Value) -> Value {
    with(json!([{ "type": "header", "parameters": [parameter] }]))
}

pub(crate) fn e1() -> Value {
    with_body(json!([{ "type": "text", "text": "Ana" }, { "type": "text", "text": "A-1042" }]))
}

pub(crate) fn e2() -> Value {
    send(json!({ "name": "store_hours", "language": { "code": "en" } }))
}

pub(crate) fn e3() -> Value {
    send(json!({
        "name": "store_hours",
        "language": { "code": "en", "policy": "deterministic" },
        "components": [],
    }))
}

pub(crate) fn e4() -> Value {
    with(json!([
        { "type": "header", "parameters": [
            { "type": "image", "image": { "link": "https://cdn.shop.example/spring.jpg" } } ] },
        { "type": "body", "parameters": [ { "type": "text", "text": "20%" } ] },
    ]))
}

pub(crate) fn e5() -> Value {
    with_header(
        json!({ "type": "video", "video": { "link": "https://cdn.shop.example/start.mp4" } }),
    )
}

pub(crate) fn e6() -> Value {
    with_header(json!({ "type": "document", "document": {
        "link": "https://files.shop.example/inv/77.pdf", "filename": "invoice-77.pdf" } }))
}

pub(crate) fn e7_text() -> Value {
    with_header(json!({ "type": "text", "text": "Ana" }))
}

pub(crate) fn e7_location() -> Value {
    with_header(json!({ "type": "location", "location": {
        "latitude": "40.7000", "longitude": "-73.9000",
        "name": "Shop Example", "address": "1 Sample Street" } }))
}

pub(crate) fn e8() -> Value {
    with_body(json!([
        { "type": "currency",
          "currency": { "fallback_value": "$12.50", "code": "USD", "amount_1000": "12500" } },
        { "type": "date_time", "date_time": { "fallback_value": "March 3, 2031" } },
    ]))
}

pub(crate) fn quick_reply(index: Value, payload: &str) -> Value {
    json!({ "type": "button", "sub_type": "quick_reply", "index": index,
            "parameters": [ { "type": "payload", "payload": payload } ] })
}

pub(crate) fn url_button(index: Value, suffix: &str) -> Value {
    json!({ "type": "button", "sub_type": "url", "index": index,
            "parameters": [ { "type": "text", "text": suffix } ] })
}

pub(crate) fn e9() -> Value {
    with(json!([
        { "type": "body", "parameters": [ { "type": "text", "text": "10:30" } ] },
        quick_reply(json!("0"), "{'slot':'10:30','reply':'keep'}"),
        quick_reply(json!("1"), "{'slot':'10:30','reply':'move'}"),
    ]))
}

pub(crate) fn e10() -> Value {
    with(json!([url_button(json!("0"), "A-1042?src=wa")]))
}

pub(crate) fn e11() -> Value {
    with(json!([
        { "type": "header", "parameters": [
            { "type": "image", "image": { "link": "https://cdn.shop.example/new.png" } } ] },
        { "type": "body", "parameters": [ { "type": "text", "text": "Ana" } ] },
        url_button(json!(0), "spring"),
        quick_reply(json!(1), "STOP_PROMO"),
    ]))
}

pub(crate) fn e12() -> Value {
    with(json!([
        { "type": "body", "parameters": [ { "type": "text", "text": "Ana" } ] },
        { "type": "carousel", "cards": [ { "card_index": 0, "components": [
            { "type": "header", "parameters": [
                { "type": "image", "image": { "link": "https://cdn.shop.example/c0.jpg" } } ] },
            quick_reply(json!("0"), "card-0") ] } ] },
    ]))
}
