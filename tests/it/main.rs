//! The gateway as its users meet it: the real binary, real sockets, the sandbox on the other side.
//! Tests are named after what a user would see; a number `b_07` is a defect of the old connector.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod cli;
mod door;
mod failures;
mod harness;
mod main_job;
mod mapping;
mod once;
mod pace;
mod queue;
mod secrets;
mod subscription;
mod tap;
mod templates;
mod tokens;
mod unknown;
