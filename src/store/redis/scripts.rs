//! The scripts, each its own text and what it uses of the shared part (`compose`). Who may do what,
//! what follows, and how statuses fold is written down once, in `domain`, and shared as tables.
//!
//! A script is known to Redis by its content, so gateways of different versions share a server. Each
//! begins with a shebang line (Redis 7): with `allow-oom` it may still write when the memory is used
//! up, so that what was accepted can end.

use super::compose::compose;
use super::rights::guard;
use crate::domain::proof::LastProof;
use crate::domain::state::Step;
use crate::domain::{BELIEVED, Progress, RefusalKind, State, Status, Writer};
use crate::store::{MOST_EARLY, MOST_INFERRED, MOST_OF_ONE, MOST_OTHERS, row};
use redis::Script;
use std::fmt::Write as _;

/// How long an unknown outcome of a channel that is configured no more waits for evidence.
const HOLD_MS: u32 = 600_000;
/// The time of an id that was asked for: never again.
const ASKED: u64 = 9_000_000_000_000_000;

/// Counters of the ledger by the state they count.
fn counter(state: State) -> &'static str {
    match state {
        State::Queued => "queued",
        State::Attempting => "attempting",
        State::Accepted => "accepted_by_provider",
        State::Unknown => "unknown",
        State::Failed => "failed",
    }
}

/// Every step of the shared store.
pub(super) struct Scripts {
    pub(super) accept: Script,
    pub(super) claim: Script,
    pub(super) settle: Script,
    pub(super) taps: Script,
    pub(super) fail_queued: Script,
    pub(super) events: Script,
    pub(super) take_callbacks: Script,
    pub(super) settle_callbacks: Script,
    pub(super) hasten: Script,
    pub(super) renew: Script,
    pub(super) recall: Script,
    pub(super) answer: Script,
    pub(super) close: Script,
    pub(super) hold_back: Script,
    pub(super) fail_copy: Script,
    pub(super) infer_early: Script,
    pub(super) takeover: Script,
    pub(super) sweep: Script,
    pub(super) purge: Script,
    pub(super) find: Script,
    pub(super) count_open: Script,
    pub(super) recount: Script,
    pub(super) ahead: Script,
    pub(super) take_dirty: Script,
    pub(super) settle_dirty: Script,
    pub(super) unmatched: Script,
    pub(super) adopt: Script,
    pub(super) list_opt_outs: Script,
    pub(super) take_opt_outs: Script,
    pub(super) owed_opt_outs: Script,
    pub(super) opt_outs_kept: Script,
}

impl Scripts {
    /// The scripts; with `mark_dirty` every change of a message is to be written elsewhere too.
    pub(super) fn new(mark_dirty: bool) -> Self {
        let shared = shared(mark_dirty);
        let script = |shebang: &str, body: &str| {
            let script = compose(&shared, body);
            Script::new(&format!("{shebang}\n{}{script}", guard(&script)))
        };
        // New work is refused when the memory is used up; all else may end.
        let new = |body: &str| script("#!lua", body);
        let ending = |body| script("#!lua flags=allow-oom", body);
        // It writes nothing, so it leaves no half behind.
        let question = |body: &str| {
            Script::new(&format!(
                "#!lua flags=no-writes\n{}",
                compose(&shared, body)
            ))
        };
        Self {
            accept: new(include_str!("lua/accept.lua")),
            claim: new(include_str!("lua/claim.lua")),
            settle: ending(include_str!("lua/settle.lua")),
            taps: new(include_str!("lua/taps.lua")),
            fail_queued: ending(include_str!("lua/fail_queued.lua")),
            events: ending(include_str!("lua/events.lua")),
            take_callbacks: ending(include_str!("lua/take_callbacks.lua")),
            settle_callbacks: ending(include_str!("lua/settle_callbacks.lua")),
            hasten: ending(include_str!("lua/hasten.lua")),
            renew: ending(include_str!("lua/renew.lua")),
            recall: ending(include_str!("lua/recall.lua")),
            answer: ending(include_str!("lua/answer.lua")),
            close: ending(include_str!("lua/close.lua")),
            hold_back: ending(include_str!("lua/hold_back.lua")),
            fail_copy: ending(include_str!("lua/fail_copy.lua")),
            infer_early: ending(include_str!("lua/infer_early.lua")),
            takeover: ending(include_str!("lua/takeover.lua")),
            sweep: ending(include_str!("lua/sweep.lua")),
            purge: ending(include_str!("lua/purge.lua")),
            find: question(include_str!("lua/find.lua")),
            count_open: question(include_str!("lua/count_open.lua")),
            recount: ending(include_str!("lua/recount.lua")),
            ahead: question(include_str!("lua/ahead.lua")),
            take_dirty: ending(include_str!("lua/take_dirty.lua")),
            settle_dirty: ending(include_str!("lua/settle_dirty.lua")),
            unmatched: ending(include_str!("lua/unmatched.lua")),
            adopt: ending(include_str!("lua/adopt.lua")),
            list_opt_outs: question(include_str!("lua/list_opt_outs.lua")),
            take_opt_outs: ending(include_str!("lua/take_opt_outs.lua")),
            owed_opt_outs: ending(include_str!("lua/owed_opt_outs.lua")),
            opt_outs_kept: ending(include_str!("lua/opt_outs_kept.lua")),
        }
    }
}

/// The number of a state in a row: its place in [`State::ALL`].
pub(super) fn number(state: State) -> usize {
    State::ALL
        .iter()
        .position(|known| *known == state)
        .unwrap_or_default()
}

/// The number of a progress in a row: 0 for none, then the place of the status from 1.
pub(super) fn rank(status: Option<Status>) -> usize {
    let place = status.and_then(|status| Status::ALL.iter().position(|known| *known == status));
    place.map_or(0, |place| place + 1)
}

/// By writer, state and step: the state after it, where the writer may take it. One text, as are the other
/// tables that few calls look into: Redis makes what a script says anew at every call, and a text costs it
/// nothing.
fn rights() -> String {
    let mut lua = String::from(";");
    for writer in Writer::ALL {
        for state in State::ALL {
            for step in Step::ALL {
                if let Some(next) = writer.after(state, step) {
                    let (writer, state, next) = (writer.as_str(), number(state), number(next));
                    let _ = write!(lua, "{writer}:{state}:{step}={next};");
                }
            }
        }
    }
    lua
}

/// By progress and status: what is told then, or 0; a row of digits for each progress.
fn folds() -> String {
    let mut lua = String::new();
    for before in [None].into_iter().chain(Status::ALL.map(Some)) {
        for event in Status::ALL {
            let (next, emit) = Progress::at(before).fold(event);
            let _ = write!(lua, "{}", if emit { rank(next.status()) } else { 0 });
        }
    }
    lua
}

/// What scripts may use of.
pub(super) fn shared(mark_dirty: bool) -> String {
    tables(mark_dirty) + include_str!("lua/common.lua")
}

/// What `domain` says, as pieces of the shared part.
fn tables(mark_dirty: bool) -> String {
    let mut lua = String::new();
    let (mut states, mut counters) = (String::new(), String::new());
    for state in State::ALL {
        let n = number(state);
        // Writing to a string cannot fail.
        let _ = write!(states, "{state}='{n}',");
        let _ = write!(counters, "['{n}']='{}',", counter(state));
    }
    let (rights, folds) = (rights(), folds());
    let words: Vec<String> = Status::ALL
        .iter()
        .map(|status| format!("'{status}'"))
        .collect();
    let _ = write!(
        lua,
        "local MESSAGE_VERSION={}\nlocal CALLBACK_VERSION={}\nlocal MARK_DIRTY={mark_dirty}\nlocal FAILED_RANK={}\n\
         local HOLD={HOLD_MS}\nlocal ASKED={ASKED}\nlocal TAKEN={}\nlocal UNCLEAR={}\n\
         local OPTED_OUT='[\"{}\",'\n\
         local MOST_EARLY={MOST_EARLY}\nlocal MOST_OF_ONE={MOST_OF_ONE}\nlocal MOST_OTHERS={MOST_OTHERS}\n\
         local MOST_INFERRED={MOST_INFERRED}\nlocal BELIEVED={}\n\
         local STATE={{{states}}}\nlocal COUNTER={{{counters}}}\nlocal RIGHTS='{rights}'\n\
         local STATUS={{{}}}\nlocal FOLDS='{folds}'\n",
        row::MESSAGE_VERSION,
        row::CALLBACK_VERSION,
        rank(Some(Status::Failed)),
        LastProof::Taken.number(),
        LastProof::Unclear.number(),
        // How the refusal begins, as `row::write_refusal` writes it, of a failure that opts out.
        row::kind_word(RefusalKind::OptedOut),
        BELIEVED.as_millis(),
        words.join(","),
    );
    lua
}

#[cfg(test)]
mod tests {
    use super::super::compose::tests::idle_and_missing;
    use super::super::rights::used_by;
    use super::*;
    use crate::store::testing::RedisServer;
    use std::collections::BTreeSet;

    /// The texts of all scripts that use the shared part, by the name of their files.
    fn bodies() -> Vec<(String, String)> {
        let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/src/store/redis/lua");
        let files = std::fs::read_dir(dir).unwrap();
        let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
        names
            .filter(|name| !["common.lua", "rate.lua", "proof.lua"].contains(&name.as_str()))
            .map(|name| {
                let body = std::fs::read_to_string(format!("{dir}/{name}")).unwrap();
                (name, body)
            })
            .collect()
    }

    #[tokio::test]
    async fn each_script_loads_and_carries_what_it_uses_and_nothing_else() {
        let server = RedisServer::start();
        let shared = shared(true);
        let bodies = bodies();
        assert_eq!(bodies.len(), 31, "the scripts of this module");
        for (name, body) in bodies {
            let script = compose(&shared, &body);
            let idle_and_missing = idle_and_missing(&script, &shared);
            assert_eq!(
                idle_and_missing,
                Default::default(),
                "idle and missing in {name}:\n{script}"
            );
            // What is asked of Redis by a variable is asked by name elsewhere in the same script.
            let calls = script.split("call('").skip(1);
            let used: BTreeSet<&str> = calls.filter_map(|rest| rest.split('\'').next()).collect();
            let asked = used_by(&script);
            for command in used {
                assert!(asked.contains(&command), "{command} in {name}");
            }
            assert!(
                !script.contains("[["),
                "{name}: long texts are not understood"
            );
            let mut load = redis::cmd("SCRIPT");
            load.arg("LOAD").arg(format!("#!lua\n{script}"));
            let _: String = server.link().command(&load).await.unwrap();
        }
    }

    #[tokio::test]
    async fn the_numbers_of_a_person_are_those_of_the_domain() {
        let server = RedisServer::start();
        let connection = server.link();
        let script = Script::new(&compose(
            &shared(false),
            "return { numbers_of(ARGV[1]), key_of(ARGV[1]) }",
        ));
        for digits in [
            "525512345678",
            "5215512345678",
            "520512345678",
            "52155123456789",
            "541123456789",
            "5491123456789",
            "5511987654321",
            "551187654321",
            "5511923456789",
            "551123456789",
            "5501987654321",
            "5111234567",
            "12025550143",
            "22995123456",
            "2290195123456",
            "2290131234567",
            "22507081234",
            "2250707081234",
            "22505123456",
            "2250505123456",
            "22501234567",
            "2250101234567",
            "2250107081234",
            "22520304050",
            "2252720304050",
            "2348021234567",
        ] {
            let phone = crate::domain::Phone::parse(digits).unwrap();
            let mut call = script.key("k");
            call.arg(digits);
            let (mut found, key): (Vec<u64>, u64) = connection.run(&call).await.unwrap();
            let person = crate::domain::Person::of(phone);
            assert_eq!(key, person.key().number(), "{digits}");
            let mut expected: Vec<u64> =
                person.numbers().map(crate::domain::Phone::number).collect();
            found.sort_unstable();
            expected.sort_unstable();
            assert_eq!(found, expected, "{digits}");
        }
    }

    /// An accept is what a campaign is made of.
    #[test]
    fn an_accept_carries_no_table_of_what_comes_later() {
        let script = compose(&shared(true), include_str!("lua/accept.lua"));
        for absent in [
            "RIGHTS",
            "COUNTER",
            "FOLDS",
            "local function infer_receipt",
            "  ",
            "--",
        ] {
            assert!(!script.contains(absent), "{absent}\n{script}");
        }
    }

    #[test]
    fn the_tables_say_what_the_domain_says() {
        let tables = tables(false);
        for part in [
            "local MESSAGE_VERSION=2\nlocal CALLBACK_VERSION=1\nlocal MARK_DIRTY=false\nlocal FAILED_RANK=2\n",
            "local OPTED_OUT='[\"7003\",'\n",
            "local HOLD=600000\nlocal ASKED=9000000000000000\n",
            "local STATE={queued='0',attempting='1',accepted='2',unknown='3',failed='4',}",
            "local RIGHTS=';worker:0:claim=1;worker:0:fail=4;holder:0:receipt=2;holder:1:receipt=2;",
            "holder:1:retry=0;holder:1:fail=4;holder:1:lose=3;",
            "former:0:receipt=2;former:1:receipt=1;",
            "successor:1:lose=3;",
            "status:0:evidence=2;status:3:evidence=2;",
            "time:0:fail=4;time:3:fail=4;time:3:resend=0;",
            "local FOLDS='12340234003400040000'",
        ] {
            assert!(tables.contains(part), "{part}\n{tables}");
        }
    }
}
