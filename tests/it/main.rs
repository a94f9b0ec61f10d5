//! The gateway as its users meet it: the real binary, real sockets, the sandbox on the other side.
//! Tests are named after what a user would see; a number `b_07` is a defect of the old connector.

mod cli;
#[cfg(test)]
mod harness;
mod main_job;
