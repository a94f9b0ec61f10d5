//! What goes out to Jumper, for the fuzzer.

use super::form::{fields, multipart};
use crate::domain::template::Outgoing;
use serde_json::Value;

/// Makes the form of a send: its parameters are JSON with as many values as were given.
pub(in crate::providers::jumper) fn form(outgoing: &Outgoing) {
    let fields = fields(outgoing);
    let params = fields.iter().find(|(name, _)| *name == "message_params");
    let params = &params.expect("parameters").1;
    let params: Value = serde_json::from_str(params).expect("parameters are JSON");
    let count = |name: &str| params[name].as_array().map(Vec::len);
    assert_eq!(count("BODY"), Some(outgoing.template.body.len()));
    assert_eq!(count("BUTTONS"), Some(outgoing.template.buttons.len()));
    let (kind, body) = multipart(&fields);
    let boundary = kind.rsplit_once("boundary=").expect("a boundary").1;
    let parts = String::from_utf8(body).expect("text");
    let parts = parts.matches(&format!("--{boundary}")).count();
    assert_eq!(parts, fields.len() + 1);
}
