//! What comes in from outside, as targets for a fuzzer: bytes in, a panic when a promise is broken.
//!
//! `cargo test` runs every target for a moment with changed inputs of the right shape (`tests`);
//! `tests/fuzz/run` runs one as long as wanted, led by coverage. Compiled for these two only, and
//! never for the gateway.

mod bounds;
mod config;
mod door;
mod mutate;
mod seeds;
mod send;
#[cfg(test)]
mod tests;
mod webhook;

pub use mutate::mutate;

/// Something that reads what others wrote.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// What it is called on the command line.
    pub name: &'static str,
    /// Takes one input.
    pub run: fn(&[u8]),
    /// Inputs of the right shape to begin with.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// All targets.
pub const TARGETS: [Target; 7] = [
    Target {
        name: "send",
        run: send::run,
        seeds: seeds::sends,
    },
    Target {
        name: "send-parser",
        run: send::parse,
        seeds: seeds::sends,
    },
    Target {
        name: "webhook",
        run: webhook::run,
        seeds: seeds::webhooks,
    },
    Target {
        name: "webhook-parser",
        run: webhook::parse,
        seeds: seeds::webhooks,
    },
    Target {
        name: "config",
        run: config::run,
        seeds: seeds::configs,
    },
    Target {
        name: "rows",
        run: crate::store::fuzz::rows,
        seeds: seeds::rows,
    },
    Target {
        name: "answers",
        run: answers,
        seeds: seeds::answers,
    },
];

/// What Jumper, MoEngage and Datastore answer.
fn answers(bytes: &[u8]) {
    crate::providers::jumper::fuzz::answers(bytes);
    crate::doors::moengage::fuzz::answers(bytes);
    if let Some(entity) = crate::datastore::fuzz::entity(bytes) {
        crate::records::fuzz::entity(&entity);
    }
}

/// Head and body of an input: a head is one or more lines before the first empty one.
fn split(bytes: &[u8]) -> (&[u8], &[u8]) {
    let end = bytes.windows(2).position(|two| two == b"\n\n");
    end.map_or((bytes, &[]), |end| (&bytes[..end], &bytes[end + 2..]))
}
