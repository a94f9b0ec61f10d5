//! A moment of every target with each change of the code; `tests/fuzz/run` is for longer.

use super::door::is_said;
use super::{TARGETS, mutate};
use crate::domain::Phone;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

/// How long one target runs at the most; a slow machine gets less far.
const LONGEST: Duration = Duration::from_secs(3);

/// Runs a target with its seeds and then with changes of them. Changes are changed again, so that
/// faults add up.
fn fuzz(name: &str, runs: u64) {
    let target = TARGETS.iter().find(|target| target.name == name).unwrap();
    let mut inputs = (target.seeds)();
    let began = Instant::now();
    inputs
        .iter()
        .for_each(|input| check(name, target.run, input));
    for seed in 0..runs {
        let place = usize::try_from(seed).unwrap() % inputs.len();
        let changed = mutate(&inputs[place], seed);
        check(name, target.run, &changed);
        // Every seed stays among the inputs as it was.
        if seed % 8 == 0 && inputs.len() < 200 {
            inputs.push(changed);
        }
        if began.elapsed() > LONGEST {
            break;
        }
    }
}

#[track_caller]
fn check(name: &str, run: fn(&[u8]), input: &[u8]) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| run(input))) {
        let why = panic.downcast_ref::<String>().map(String::as_str);
        let why = why.or_else(|| panic.downcast_ref::<&str>().copied());
        panic!(
            "{name}: {:?}: {}",
            why.unwrap_or("?"),
            String::from_utf8_lossy(input)
        );
    }
}

#[test]
fn sends_of_any_content_are_answered_and_kept_as_answered() {
    fuzz("send", 3_000);
}

#[test]
fn bodies_of_sends_are_read_or_refused() {
    fuzz("send-parser", 30_000);
}

#[test]
fn webhooks_of_any_content_are_answered_and_stored_as_answered() {
    fuzz("webhook", 2_000);
}

#[test]
fn bodies_of_webhooks_become_events() {
    fuzz("webhook-parser", 30_000);
}

#[test]
fn a_configuration_is_right_or_its_faults_have_places_and_show_no_secret() {
    fuzz("config", 400);
}

#[test]
fn rows_of_any_content_are_read_or_refused() {
    fuzz("rows", 30_000);
}

#[test]
fn answers_of_any_content_are_read() {
    fuzz("answers", 20_000);
}

/// The share of changed inputs that are still JSON: the others end at the first brace.
#[test]
fn most_changes_keep_the_shape() {
    let seeds = (TARGETS[0].seeds)();
    let is_json = |seed: &u64| {
        let input = mutate(&seeds[usize::try_from(*seed).unwrap() % seeds.len()], *seed);
        serde_json::from_slice::<serde_json::Value>(super::split(&input).1).is_ok()
    };
    let kept = (0..1000).filter(is_json).count();
    assert!((600..950).contains(&kept), "{kept} of 1000");
}

/// What looks for numbers sees them however they are written.
#[test]
fn a_number_with_separators_is_seen() {
    let phone = Phone::parse("12025550143").unwrap();
    for text in [
        "to=12025550143 ",
        "+1 (202) 555-0143",
        "call 1 (202) 555 - 0143.",
        "1/202/555_0143",
        "112025550143 1.202.555.0143",
    ] {
        assert!(is_said(text, phone), "{text}");
    }
    for text in [
        "12*******43",
        "+1 (2**) *** - **43",
        "id-a12025550143",
        "12025550143a 912025550143",
        "1 202 555, 0143",
        "1202 --- 5550143",
    ] {
        assert!(!is_said(text, phone), "{text}");
    }
}
