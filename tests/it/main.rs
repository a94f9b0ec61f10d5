//! The gateway as its users meet it: the real binary, real sockets, the sandbox on the other side.
//! Tests are named after what a user would see; a number `b_07` is a defect of the old connector.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod account_files;
mod bad_http;
mod channels;
mod circumstances;
mod cli;
mod crash;
mod datastore;
mod emulator;
mod event_bodies;
mod failures;
mod fault_clock;
mod fault_disk;
mod fault_parts;
mod foreign_addresses;
mod harness;
mod hostile;
mod hostile_upstream;
mod image;
mod isolation;
mod lifecycle;
#[expect(
    dead_code,
    reason = "the integration tests harm the log in fewer ways than the fault suite"
)]
mod log;
mod log_harm;
mod long_running;
mod lost_answers;
mod main_job;
mod mapping;
mod marks;
mod mixed_versions;
mod old_connector;
mod operator_messages;
mod ops;
mod ops_door;
mod opt_outs;
mod owners;
mod pace;
mod people;
mod privacy;
mod production;
mod queue;
mod redis_bounds;
mod redis_clock;
mod redis_failover;
mod redis_far;
mod redis_faults;
mod redis_hostile;
mod redis_server;
mod relay;
mod relay_down;
mod repeats;
mod replicas;
mod replicas_of_many;
mod replies;
mod sandbox_rules;
mod scripted_moengage;
mod secrets;
mod send_route;
mod serve_hold;
mod shared;
mod statuses;
mod store_went_back;
mod strangers;
mod subscription;
mod tap;
mod templates;
mod texts;
mod tokens;
mod tokens_aside;
mod tokens_killed;
mod unknown;
mod webhook;
mod webhook_secret;
mod why;
