//! The stored form of each version, as it was written when that version was the newest. Rows outlive the program
//! that wrote them: a form that changes needs a new version, or an older process takes the row for damaged and
//! fails the message.

use super::*;
use crate::domain::RefusalKind;

const NEW_FORM: &str = "the stored form changed: give it a new version, keep the reader of the old one, and \
                        leave the rows here as they are";

fn message(header: Header, names: Names) -> Message {
    let buttons = [
        Button::Url {
            index: 0,
            suffix: Some("/o/1".into()),
        },
        Button::Url {
            index: 1,
            suffix: None,
        },
        Button::QuickReply {
            index: 2,
            payload: Some("stop".into()),
        },
        Button::QuickReply {
            index: 3,
            payload: None,
        },
    ];
    // Whatever is new here is new in the row, or is said not to be stored.
    Message {
        msg_id: MsgId::parse("m1").unwrap(),
        from: BusinessNumber::parse("+1 202 555 0100").unwrap(),
        to: Phone::parse("12025550143").unwrap(),
        template: Template {
            name: "hello".into(),
            language: "en".into(),
            header: Some(header),
            body: vec!["Asha".into(), "10%".into()],
            buttons: buttons.into(),
            names,
        },
        is_damaged: true,
        campaign: Some("c1".into()),
    }
}

fn document() -> Header {
    Header::Document {
        link: "https://e.test/a.pdf".into(),
        filename: Some("a.pdf".into()),
    }
}

fn names() -> Names {
    Names {
        header: Some("file".into()),
        body: vec!["who".into(), "off".into()],
        buttons: vec![(0, "order".into())],
    }
}

fn none() -> Names {
    Names {
        header: None,
        body: Vec::new(),
        buttons: Vec::new(),
    }
}

/// What stands behind the header in each of the rows below.
const REST: &str = r#""body":["Asha","10%"],"buttons":[{"url":[0,"/o/1"]},{"url":[1,null]},{"quick_reply":[2,"stop"]},{"quick_reply":[3,null]}],"damaged":true,"campaign":"c1""#;

/// Version, header, names, and the header as it is stored.
fn messages() -> Vec<(u32, Header, Names, &'static str)> {
    vec![
        (1, Header::Text("Hi".into()), none(), r#"{"text":"Hi"}"#),
        (
            1,
            Header::Image("https://e.test/a.png".into()),
            none(),
            r#"{"image":"https://e.test/a.png"}"#,
        ),
        (
            1,
            Header::Video("https://e.test/a.mp4".into()),
            none(),
            r#"{"video":"https://e.test/a.mp4"}"#,
        ),
        (
            1,
            document(),
            none(),
            r#"{"document":["https://e.test/a.pdf","a.pdf"]}"#,
        ),
        (
            2,
            document(),
            names(),
            r#"{"document":["https://e.test/a.pdf","a.pdf"]}"#,
        ),
    ]
}

/// Each kind of header, button and reply has its row: a new one does not compile until it is added.
fn is_covered(header: &Header, button: &Button, reply: &ReplyKind, callback: &Callback) {
    match header {
        Header::Text(_) | Header::Image(_) | Header::Video(_) | Header::Document { .. } => {}
    }
    match button {
        Button::Url { .. } | Button::QuickReply { .. } => {}
    }
    match reply {
        ReplyKind::Text | ReplyKind::Button { .. } => {}
    }
    match callback {
        Callback::Status(_) | Callback::Inbound(_) => {}
    }
}

#[test]
fn a_message_is_stored_in_the_form_of_its_version() {
    for (version, header, names, stored) in messages() {
        let named = match version {
            1 => "",
            _ => r#","names":{"header":"file","body":["who","off"],"buttons":[[0,"order"]]}"#,
        };
        let row = format!(
            r#"{{"v":{version},"from":"+1 202 555 0100","name":"hello","lang":"en","header":{stored},{REST}{named}}}"#
        );
        let message = message(header, names);
        assert_eq!(write_message(&message), row, "{NEW_FORM}");
        let back = read_message(message.msg_id.clone(), message.to, &row);
        assert_eq!(back.unwrap(), message, "{NEW_FORM}");
    }
    let newest = messages().iter().map(|(version, ..)| *version).max();
    assert_eq!(
        newest,
        Some(MESSAGE_VERSION),
        "a version without its row here"
    );
}

#[test]
fn a_callback_is_stored_in_the_form_of_its_version() {
    let status = |status, error| {
        Callback::Status(StatusEntry {
            msg_id: MsgId::parse("m1").unwrap(),
            status,
            at: UnixMs(5),
            error,
        })
    };
    let reply = |kind, msg_id| {
        Callback::Inbound(InboundEntry {
            from: Phone::parse("12025550143").unwrap(),
            waba_number: "+12025550100".into(),
            at: UnixMs(7),
            kind,
            text: "Yes".into(),
            msg_id,
        })
    };
    let tap = ReplyKind::Button {
        payload: "#yes".into(),
    };
    let failed = Some(Refusal::new(RefusalKind::Other, "outcome unknown"));
    let id = Some(MsgId::parse("m1").unwrap());
    let rows = [
        (
            status(Status::Sent, None),
            r#"{"v":1,"at":5,"msg_id":"m1","status":{"status":"sent","error":null}}"#,
        ),
        (
            status(Status::Delivered, None),
            r#"{"v":1,"at":5,"msg_id":"m1","status":{"status":"delivered","error":null}}"#,
        ),
        (
            status(Status::Read, None),
            r#"{"v":1,"at":5,"msg_id":"m1","status":{"status":"read","error":null}}"#,
        ),
        (
            status(Status::Failed, failed),
            r#"{"v":1,"at":5,"msg_id":"m1","status":{"status":"failed","error":["7004","outcome unknown"]}}"#,
        ),
        (
            reply(ReplyKind::Text, None),
            r#"{"v":1,"at":7,"inbound":{"from":12025550143,"waba":"+12025550100","text":"Yes","payload":null}}"#,
        ),
        (
            reply(tap, id),
            r##"{"v":1,"at":7,"msg_id":"m1","inbound":{"from":12025550143,"waba":"+12025550100","text":"Yes","payload":"#yes"}}"##,
        ),
    ];
    for (callback, row) in rows {
        assert_eq!(write_callback(&callback), row, "{NEW_FORM}");
        assert_eq!(read_callback(row).unwrap(), callback, "{NEW_FORM}");
        is_covered(
            &document(),
            &message(document(), none()).template.buttons[0],
            &ReplyKind::Text,
            &callback,
        );
    }
    assert_eq!(CALLBACK_VERSION, 1, "a version without its row here");
}

#[test]
fn a_line_of_a_history_is_stored_as_ever() {
    // Shown to people only: a line that cannot be read is shown as it is, so it has no version.
    assert_eq!(
        moment(UnixMs(5), "sent", ""),
        "{\"t\":5,\"e\":\"sent\"}\n",
        "{NEW_FORM}"
    );
    assert_eq!(
        moment(UnixMs(5), "retry", "no"),
        "{\"t\":5,\"e\":\"retry\",\"d\":\"no\"}\n",
        "{NEW_FORM}"
    );
    assert_eq!(
        write_refusal(&Refusal::new(RefusalKind::Phone, "no")),
        r#"["7002","no"]"#,
        "{NEW_FORM}"
    );
}
