//! Rows as any program or accident may have left them, for the fuzzer.

use super::{embedded, listed, redis, row};
use crate::domain::{Message, MsgId, Phone, UnixMs};

/// Reads bytes as every kind of row. What can be read comes back the same when it is written again.
pub(crate) fn rows(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let msg_id = MsgId::parse("m").expect("an id");
    let to = Phone::from_number(12_025_550_143).expect("a number");
    if let Ok(read) = row::read_message(msg_id, to, &text) {
        message(&read);
        assert_eq!(row::sender(&text).as_ref(), Some(&read.from));
    }
    if let Ok(read) = row::read_callback(&text) {
        let again = row::read_callback(&row::write_callback(&read));
        assert_eq!(again.expect("a callback"), read);
    }
    assert!(!row::spoken(&text).is_empty());
    let history = row::read_history(&text);
    assert_eq!(history.len(), text.lines().count());
    for one in &history {
        let line = row::moment(UnixMs(one.at), &one.what, &one.detail);
        assert_eq!(row::read_history(&line), std::slice::from_ref(one));
    }
    if let Ok(read) = listed::read(&text) {
        let again = listed::write(&read).expect("a list");
        assert_eq!(listed::read(&again).expect("a list"), read);
    }
    embedded::fuzz::rows(&text);
    redis::fuzz::rows(&text);
}

/// A message comes back from its row as it was.
pub(crate) fn message(message: &Message) {
    let text = row::write_message(message);
    let again = row::read_message(message.msg_id.clone(), message.to, &text).expect("a message");
    assert_eq!(again.from.as_written(), message.from.as_written());
    assert_eq!(&again, message);
}
