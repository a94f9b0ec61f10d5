//! The gateway as its users meet it: the real binary, real sockets, the sandbox on the other side.
//! Tests are named after what a user would see; a number `b_07` is a defect of the old connector.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[expect(dead_code, reason = "shared with the fault suite, which harms more")]
mod kit;

mod it;
