//! How well this Redis keeps what it is given, and what that means (design.md G1). Pure.

use crate::store::{Promise, Report};
use std::collections::HashMap;

/// What Redis says of itself. `None` is what it does not tell.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Persistence {
    /// Its version.
    pub version: Option<String>,
    /// Whether every write is appended to a file.
    pub appendonly: Option<bool>,
    /// When that file is synced: `always`, `everysec` or `no`.
    pub appendfsync: Option<String>,
    /// Whether the last write of that file worked.
    pub append_works: Option<bool>,
    /// Whether snapshots are made by themselves.
    pub snapshots: Option<bool>,
    /// Whether the last snapshot worked.
    pub snapshot_works: Option<bool>,
    /// What it does without memory: `noeviction`, or which keys it throws away.
    pub eviction: Option<String>,
    /// The most memory, in bytes; 0 is no limit.
    pub max_memory: Option<u64>,
    /// The memory in use, in bytes.
    pub used_memory: Option<u64>,
    /// Whether it is a replica of another one.
    pub is_replica: Option<bool>,
    /// How many replicas follow it now.
    pub replicas: Option<u32>,
    /// How many must, or it refuses writes.
    pub least_replicas: Option<u32>,
}

impl Persistence {
    /// From the fields of `INFO` and, when they may be read, of `CONFIG GET`. Redis tells
    /// `appendfsync` and the snapshots' schedule only by the latter.
    pub(super) fn read(info: &HashMap<String, String>, config: &HashMap<String, String>) -> Self {
        let field = |name: &str| info.get(name).map(String::as_str);
        let set = |name: &str| config.get(name).map(String::as_str);
        let number = |text: Option<&str>| text.and_then(|text| text.parse().ok());
        Self {
            version: field("redis_version").map(str::to_owned),
            appendonly: set("appendonly")
                .map(|text| text == "yes")
                .or_else(|| field("aof_enabled").map(|text| text == "1")),
            appendfsync: set("appendfsync").map(str::to_owned),
            append_works: field("aof_last_write_status").map(|text| text == "ok"),
            snapshots: set("save").map(|text| !text.is_empty()),
            snapshot_works: field("rdb_last_bgsave_status").map(|text| text == "ok"),
            eviction: set("maxmemory-policy")
                .or_else(|| field("maxmemory_policy"))
                .map(str::to_owned),
            max_memory: number(set("maxmemory").or_else(|| field("maxmemory"))),
            used_memory: number(field("used_memory")),
            is_replica: field("role").map(|text| text != "master"),
            replicas: field("connected_slaves").and_then(|text| text.parse().ok()),
            least_replicas: set("min-replicas-to-write").and_then(|text| text.parse().ok()),
        }
    }

    /// Whether it is a master, and who follows it.
    pub fn role(&self) -> String {
        let least = match self.least_replicas {
            Some(least @ 1..) => format!(", min-replicas-to-write {least}"),
            _ => String::new(),
        };
        match (self.is_replica, self.replicas) {
            (Some(true), _) => "a replica".into(),
            (_, Some(0)) => format!("a master that no replica follows{least}"),
            (_, Some(1)) => format!("a master that a replica follows{least}"),
            (_, Some(some)) => format!("a master that {some} replicas follow{least}"),
            (_, None) => "it does not tell its role".into(),
        }
    }

    /// What that means, with this many replicas asked to confirm every durable write.
    pub fn judge(&self, wait_replicas: u32) -> Report {
        let (file, words) = self.file();
        let mut promise = file;
        let mut warnings = Vec::new();
        if file != Promise::Holds {
            warnings.push(self.remedy(file).to_owned());
        }
        if let Some((worse, warning)) = self.eviction() {
            promise = promise.max(worse);
            warnings.push(warning);
        }
        warnings.extend(self.troubles());
        warnings.extend(self.replication(wait_replicas));
        warnings.extend(self.two_masters());
        let version = self.version.as_deref().unwrap_or("of unknown version");
        Report {
            promise,
            summary: format!("redis {version}: {words}"),
            warnings,
        }
    }

    fn file(&self) -> (Promise, &'static str) {
        match (self.appendonly, self.appendfsync.as_deref()) {
            (Some(true), Some("always")) => (
                Promise::Holds,
                "every accepted message is synced to Redis' disk before MoEngage is told success",
            ),
            (Some(true), Some("everysec")) => (
                Promise::LastMoments,
                "accepted messages survive a killed Redis; a lost machine takes about the last second",
            ),
            (Some(true), Some("no")) => (
                Promise::LastMoments,
                "accepted messages survive a killed Redis; a lost machine takes what its system had \
                 not written yet, usually up to 30 s",
            ),
            (Some(true), _) => (
                Promise::Unknown,
                "accepted messages survive a killed Redis; how much a lost machine takes is unknown",
            ),
            (Some(false), _) if self.snapshots == Some(false) => (
                Promise::Broken,
                "a restart of Redis loses every message that is not sent yet",
            ),
            (Some(false), _) => (
                Promise::Broken,
                "a restart of Redis loses what was accepted since its last snapshot",
            ),
            (None, _) => (
                Promise::Unknown,
                "whether accepted messages survive a restart of Redis is unknown",
            ),
        }
    }

    fn remedy(&self, file: Promise) -> &'static str {
        match file {
            Promise::Holds => "",
            Promise::LastMoments => {
                "Redis answers before its disk has what was written: set appendfsync always"
            }
            Promise::Broken => {
                "Redis writes no append-only file: set appendonly yes and appendfsync always"
            }
            Promise::Unknown => {
                "Redis does not tell how it keeps data (CONFIG GET is not permitted): make sure of \
                 appendonly yes, appendfsync always and maxmemory-policy noeviction"
            }
        }
    }

    /// Without a limit nothing is ever thrown away.
    fn eviction(&self) -> Option<(Promise, String)> {
        match self.eviction.as_deref() {
            Some("noeviction") => None,
            _ if self.max_memory == Some(0) => None,
            Some(policy) => Some((
                Promise::Broken,
                format!(
                    "Redis may throw away accepted messages when its memory is full \
                     (maxmemory-policy {policy}): set noeviction"
                ),
            )),
            None => Some((
                Promise::Unknown,
                "whether Redis throws away data when its memory is full is unknown: make sure of \
                 maxmemory-policy noeviction"
                    .into(),
            )),
        }
    }

    fn troubles(&self) -> impl Iterator<Item = String> {
        let full = |(used, most): (u64, u64)| most > 0 && used > most / 10 * 9;
        let all = [
            (self.appendonly != Some(false) && self.append_works == Some(false)).then_some(
                "Redis failed to write its append-only file: look at its disk and its log",
            ),
            (self.snapshots != Some(false) && self.snapshot_works == Some(false)).then_some(
                "Redis failed to make its last snapshot and may refuse writes: look at its disk and its log",
            ),
            self.used_memory
                .zip(self.max_memory)
                .is_some_and(full)
                .then_some(
                    "Redis uses more than 90 % of its maxmemory; when it is full, messages are \
                     answered 503: raise maxmemory, or lower store.retention",
                ),
            (self.is_replica == Some(true)).then_some(
                "this Redis is a replica and takes no writes: REDIS_URL must name the master",
            ),
        ];
        all.into_iter().flatten().map(str::to_owned)
    }

    fn replication(&self, wait: u32) -> Option<String> {
        match self.replicas? {
            there if there < wait => Some(format!(
                "{there} replicas follow this Redis, and {wait} must confirm what is accepted: \
                 messages are answered 503 until they do, or REDIS_WAIT_REPLICAS is lowered"
            )),
            1.. if wait == 0 => Some(
                "a failover to a replica may lose what was accepted in its last moments: \
                 REDIS_WAIT_REPLICAS narrows that"
                    .into(),
            ),
            _ => None,
        }
    }

    /// A master that is cut off from its replicas and not told that one of them took over.
    fn two_masters(&self) -> Option<String> {
        let may_be = self.replicas? > 0 && self.least_replicas? == 0;
        may_be.then(|| {
            "after a failover the old master may go on taking writes, which are lost: set \
             min-replicas-to-write 1"
                .into()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strict() -> Persistence {
        Persistence {
            version: Some("7.0.15".into()),
            appendonly: Some(true),
            appendfsync: Some("always".into()),
            append_works: Some(true),
            snapshots: Some(false),
            snapshot_works: Some(true),
            eviction: Some("noeviction".into()),
            max_memory: Some(1000),
            used_memory: Some(500),
            is_replica: Some(false),
            replicas: Some(0),
            least_replicas: Some(1),
        }
    }

    #[test]
    fn only_always_and_noeviction_is_all_that_was_promised() {
        let report = strict().judge(0);
        assert_eq!(report.promise, Promise::Holds);
        assert_eq!(report.warnings, Vec::<String>::new());
        assert!(report.summary.starts_with("redis 7.0.15: every accepted"));
    }

    type Change = fn(&mut Persistence);

    fn warns(cases: &[(Change, Promise, &str)]) {
        for (number, (change, promise, text)) in cases.iter().enumerate() {
            let mut persistence = strict();
            change(&mut persistence);
            let report = persistence.judge(0);
            assert_eq!(report.promise, *promise, "case {number}: {report:?}");
            assert_eq!(report.warnings.len(), 1, "case {number}: {report:?}");
            assert!(report.warnings[0].contains(text), "{number}: {report:?}");
        }
    }

    #[test]
    fn every_weakness_is_told_with_what_to_do() {
        use Promise::{Broken, LastMoments, Unknown};
        let sync = "appendfsync always";
        warns(&[
            (
                |p| p.appendfsync = Some("everysec".into()),
                LastMoments,
                sync,
            ),
            (|p| p.appendfsync = Some("no".into()), LastMoments, sync),
            (|p| p.appendfsync = None, Unknown, "CONFIG GET"),
            (|p| p.appendonly = Some(false), Broken, "appendonly yes"),
            (|p| p.appendonly = None, Unknown, "CONFIG GET"),
            (
                |p| p.eviction = Some("allkeys-lru".into()),
                Broken,
                "set noeviction",
            ),
            (
                |p| p.eviction = Some("volatile-ttl".into()),
                Broken,
                "set noeviction",
            ),
            (|p| p.eviction = None, Unknown, "make sure of"),
        ]);
    }

    #[test]
    fn what_fails_now_is_told_beside_the_promise() {
        use Promise::Holds;
        let snapshot: Change = |p| (p.snapshots, p.snapshot_works) = (Some(true), Some(false));
        warns(&[
            (|p| p.append_works = Some(false), Holds, "append-only file"),
            (snapshot, Holds, "snapshot"),
            (|p| p.used_memory = Some(950), Holds, "raise maxmemory"),
            (|p| p.is_replica = Some(true), Holds, "must name the master"),
        ]);
    }

    #[test]
    fn without_a_limit_nothing_is_thrown_away() {
        let mut persistence = strict();
        (persistence.eviction, persistence.max_memory) = (Some("allkeys-lru".into()), Some(0));
        assert_eq!(persistence.judge(0).promise, Promise::Holds);
    }

    #[test]
    fn replicas_are_counted_against_what_is_asked_of_them() {
        for (there, asked, text) in [
            (0, 0, None),
            (2, 0, Some("may lose")),
            (1, 1, None),
            (1, 2, Some("answered 503")),
        ] {
            let mut persistence = strict();
            persistence.replicas = Some(there);
            let warnings = persistence.judge(asked).warnings;
            assert_eq!(warnings.len(), usize::from(text.is_some()), "{warnings:?}");
            if let Some(text) = text {
                assert!(warnings[0].contains(text), "{warnings:?}");
            }
        }
    }

    #[test]
    fn r_56_a_master_that_needs_no_replicas_may_be_one_of_two() {
        for (there, least, warned) in [
            (Some(1), Some(0), true),
            (Some(1), Some(1), false),
            (Some(0), Some(0), false),
            (Some(1), None, false),
            (None, Some(0), false),
        ] {
            let mut persistence = strict();
            (persistence.replicas, persistence.least_replicas) = (there, least);
            let warnings = persistence.judge(1).warnings;
            let report = warnings
                .iter()
                .any(|one| one.contains("min-replicas-to-write 1"));
            assert_eq!(report, warned, "{there:?} {least:?}: {warnings:?}");
        }
    }

    #[test]
    fn nothing_told_is_unknown_and_not_good() {
        let report = Persistence::default().judge(0);
        assert_eq!(report.promise, Promise::Unknown);
        assert!(report.summary.contains("unknown"), "{report:?}");
    }
}
