//! Runs one target of the gateway's `fuzz` module under libFuzzer, as long as wanted: see `run`.
//!
//! `FUZZ_TARGET` names the target. Its seeds are written into `FUZZ_SEEDS` first.
#![no_main]

use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};
use moengage_whatsapp_gateway::fuzz::{TARGETS, Target, mutate};
use std::path::PathBuf;
use std::sync::LazyLock;

static TARGET: LazyLock<&Target> = LazyLock::new(|| {
    let name = std::env::var("FUZZ_TARGET").unwrap_or_default();
    let known = TARGETS.map(|target| target.name).join(", ");
    let target = TARGETS.iter().find(|target| target.name == name);
    target.unwrap_or_else(|| panic!("FUZZ_TARGET={name}: one of {known}"))
});

fuzz_target!(
    init: {
        let folder = PathBuf::from(std::env::var_os("FUZZ_SEEDS").expect("FUZZ_SEEDS: a folder"));
        for (number, seed) in (TARGET.seeds)().iter().enumerate() {
            std::fs::write(folder.join(format!("seed-{number}")), seed).expect("a writable folder");
        }
    },
    |input: &[u8]| (TARGET.run)(input)
);

// Half of the changes keep the shape, the other half know no shape.
fuzz_mutator!(|input: &mut [u8], size: usize, most: usize, seed: u32| {
    if seed.is_multiple_of(2) {
        return fuzzer_mutate(input, size, most);
    }
    let mut changed = mutate(&input[..size], seed.into());
    changed.truncate(most);
    input[..changed.len()].copy_from_slice(&changed);
    changed.len()
});
