//! The gateway as its users meet it: the real binary, real sockets, the sandbox on the other side.
//! Tests are named after what a user would see; a number `b_07` is a defect of the old connector.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod aids;
mod channels;
mod cli;
mod crash;
mod datastore;
mod door;
mod emulator;
mod estate;
mod failures;
mod fault_parts;
mod harness;
mod isolation;
mod lifecycle;
mod lost_answers;
mod main_job;
mod mapping;
mod mixed_versions;
mod old_ways;
mod once;
mod ops;
mod pace;
mod peer;
mod privacy;
mod production;
mod queue;
mod redis_bounds;
mod redis_faults;
mod redis_server;
mod relay;
mod relay_down;
mod replicas;
mod replicas_of_many;
mod replies;
mod secrets;
mod shared;
mod statuses;
mod subscription;
mod tap;
mod templates;
mod tokens;
mod tokens_killed;
mod unknown;
mod upkeep;
mod webhook;
