//! The bodies of Jumper's forms. Pure but for the dice of the boundary.

use crate::domain::template::Outgoing;
use crate::providers::jumper::TEMPLATE_MARK;
use crate::providers::jumper::params::message_params;
use crate::providers::jumper::wire::Subscription;
use serde_json::{Value, json};

/// The field `data` of a subscription: the whole list (contracts/jumper.md section 4.5).
pub(super) fn subscription_list(entries: &[Subscription]) -> String {
    let entry = |s: &Subscription| json!({ "permission": s.permission, "webhook": s.webhook });
    Value::from(entries.iter().map(entry).collect::<Vec<_>>()).to_string()
}

/// The fields of one template send (contracts/jumper.md section 4.1).
pub(super) fn fields(outgoing: &Outgoing) -> Vec<(&'static str, String)> {
    let mut fields = vec![
        ("to", outgoing.to.digits()),
        ("channel", "whatsapp".into()),
        ("messagetype", "template".into()),
        ("message", format!("{}{}", TEMPLATE_MARK, outgoing.variant)),
        ("message_params", message_params(&outgoing.template)),
        ("source", "moengage".into()),
    ];
    fields.extend(
        outgoing
            .from
            .as_ref()
            .map(|from| ("from", from.phone().digits())),
    );
    fields
}

/// A form of text parts, as its content type and its body. By hand: the body has a known length
/// and takes one allocation.
pub(super) fn multipart(fields: &[(&'static str, String)]) -> (String, Vec<u8>) {
    let mut boundary = boundary();
    while fields.iter().any(|(_, value)| value.contains(&boundary)) {
        boundary = self::boundary();
    }
    let room = fields
        .iter()
        .map(|(_, value)| value.len() + 128)
        .sum::<usize>()
        + 64;
    let mut body = Vec::with_capacity(room);
    for (name, value) in fields {
        for piece in [
            "--",
            &boundary,
            "\r\nContent-Disposition: form-data; name=\"",
            name,
            "\"\r\n\r\n",
            value,
            "\r\n",
        ] {
            body.extend_from_slice(piece.as_bytes());
        }
    }
    for piece in ["--", &boundary, "--\r\n"] {
        body.extend_from_slice(piece.as_bytes());
    }
    (format!("multipart/form-data; boundary={boundary}"), body)
}

fn boundary() -> String {
    format!("gateway-{:032x}", fastrand::u128(..))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Whatever the values hold, a reader that knows only the boundary gets them back.
        #[test]
        fn a_form_reads_back(values in prop::collection::vec("(?s).{0,60}", 1..6)) {
            let fields: Vec<_> = values.iter().map(|value| ("name", value.clone())).collect();
            let (content_type, body) = multipart(&fields);
            let boundary = content_type.strip_prefix("multipart/form-data; boundary=").unwrap();
            let body = String::from_utf8(body).unwrap();
            let mut parts: Vec<_> = body.split(&format!("--{boundary}")).collect();
            prop_assert_eq!(parts.remove(0), "");
            prop_assert_eq!(parts.pop(), Some("--\r\n"));
            let head = "\r\nContent-Disposition: form-data; name=\"name\"\r\n\r\n";
            let read: Vec<_> = parts
                .into_iter()
                .map(|part| part.strip_prefix(head).unwrap().strip_suffix("\r\n").unwrap())
                .collect();
            prop_assert_eq!(read, values);
        }
    }
}
