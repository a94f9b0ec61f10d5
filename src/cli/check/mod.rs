//! `gateway check`: is the configuration right, and is everything it names in reach?
//!
//! Looks only: opens no store, sends no message, spends no token, and writes nothing but a scratch entity in
//! Datastore, which it removes. Everything is asked at once, and nothing is waited for longer than five seconds but
//! that removal. Prints no secret, and of URLs only the host.

mod credentials;
mod data_dir;
mod datastore;
mod machine;
mod owner;
mod remote;
mod running;
mod shared;

use super::{say, table};
use crate::app::marks_told;
use crate::config::{Config, Purpose};
use std::fmt;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

/// How long anything may take to answer.
const DEADLINE: Duration = Duration::from_secs(5);

/// How something stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mark {
    Ok,
    Warn,
    Fault,
    Unknown,
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fault => "FAULT",
            Self::Unknown => "unknown",
        })
    }
}

/// One line of the table.
#[derive(Debug, PartialEq, Eq)]
struct Finding {
    item: String,
    mark: Mark,
    /// What is so and, when something is wrong, what to do.
    words: String,
}

fn finding(item: impl Into<String>, mark: Mark, words: impl Into<String>) -> Finding {
    Finding {
        item: item.into(),
        mark,
        words: words.into(),
    }
}

/// Checks everything and prints the table.
pub(super) async fn run(flags: Vec<(String, String)>) -> anyhow::Result<ExitCode> {
    let mut findings = Vec::new();
    let config = match crate::config::read(flags.clone(), Purpose::Serve) {
        Ok(config) => config,
        Err(faults) => {
            let lines = faults.0.iter();
            findings
                .extend(lines.map(|one| finding("configuration", Mark::Fault, one.to_string())));
            // What is there can be looked at all the same, unless it cannot even be read.
            match crate::config::read(flags, Purpose::Client) {
                Ok(config) => config,
                Err(_) => return Ok(report(&findings)),
            }
        }
    };
    if findings.is_empty() {
        let files: Vec<_> = config
            .files()
            .map(|one| one.display().to_string())
            .collect();
        let words = match files.as_slice() {
            [] => "complete; `config` shows it".to_owned(),
            files => format!(
                "complete; `config` shows it; read from {}",
                files.join(", ")
            ),
        };
        findings.push(finding("configuration", Mark::Ok, words));
    }
    let warnings = config.warnings().into_iter();
    findings.extend(warnings.map(|one| finding("configuration", Mark::Warn, one)));
    findings.extend(dependencies(&config).await?);
    Ok(report(&findings))
}

async fn dependencies(config: &Config) -> anyhow::Result<Vec<Finding>> {
    let (mut findings, running) = match super::reach::client(DEADLINE) {
        Ok(http) => everything(config, remote::Asker::new(http, config)).await?,
        Err(error) => {
            // What needs no TLS can be looked at all the same.
            let mut findings = store(config).await;
            findings.push(finding("TLS", Mark::Fault, error.to_string()));
            (findings, running::ask(config).await?)
        }
    };
    let runs = running::answers(&running);
    findings.extend(machine::lock(config, runs));
    findings.extend(machine::ports(config, runs));
    findings.extend(running);
    Ok(findings)
}

/// Store and network, and what the running gateway says.
async fn everything(
    config: &Config,
    to: remote::Asker,
) -> anyhow::Result<(Vec<Finding>, Vec<Finding>)> {
    let (accounts, channels) = (config.accounts.iter(), config.channels.iter());
    let jumper = accounts
        .clone()
        .map(|one| tokio::spawn(remote::jumper(to.clone(), one.clone())));
    let moengage = channels.map(|one| tokio::spawn(remote::moengage(to.clone(), one.clone())));
    let webhook = accounts.map(|one| tokio::spawn(remote::webhook(to.clone(), one.clone())));
    let whole = Arc::new(config.clone());
    let proofs = config.accounts.iter();
    let proofs = proofs.map(|one| tokio::spawn(credentials::look(whole.clone(), one.clone())));
    let proofs: Vec<_> = proofs.collect();
    // All are under way before the first is waited for.
    let asked: Vec<_> = jumper.chain(moengage).chain(webhook).collect();
    let (mut findings, datastore, running) =
        tokio::join!(store(config), datastore::look(config), running::ask(config));
    for one in asked {
        findings.push(one.await?);
    }
    for one in proofs {
        findings.extend(one.await?);
    }
    findings.extend(to.clock());
    findings.extend(datastore);
    Ok((findings, running?))
}

/// Where messages are kept: Redis, or a directory when there is none.
async fn store(config: &Config) -> Vec<Finding> {
    let store = &config.store;
    if let Some(settings) = &store.redis() {
        let mut findings = shared::look(settings).await;
        findings.extend(owner::look(config, settings).await);
        findings.push(restore(config).await);
        findings.push(opt_outs(config));
        return findings;
    }
    let durable = "embedded store: a message is synced to disk before MoEngage is told success";
    let data = data_dir::look(store).await;
    vec![
        data,
        finding("durability", Mark::Ok, durable),
        restore(config).await,
        opt_outs(config),
    ]
}

/// What notices an older copy of the store.
async fn restore(config: &Config) -> Finding {
    let is_writable = data_dir::takes_files(&config.store.data_dir).await;
    let is_shared = config.store.redis_url.is_some();
    let words = marks_told(is_shared, is_writable, config.datastore.is_some());
    finding("restore", Mark::Ok, words)
}

/// What becomes of opt-outs when the store is emptied or left for another.
fn opt_outs(config: &Config) -> Finding {
    let words = match config.datastore {
        Some(_) => {
            "in the store and in Datastore: an emptied store gets them from there at the next start"
        }
        None => {
            "in the store alone: whoever empties it, or leaves it for another one, loses them; `gateway optouts \
             export` writes a copy, and `import` takes it in"
        }
    };
    finding("opt-outs", Mark::Ok, words)
}

fn report(findings: &[Finding]) -> ExitCode {
    say::line(&render(findings));
    if findings.iter().any(|one| one.mark == Mark::Fault) {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}

fn render(findings: &[Finding]) -> String {
    let mut rows = vec![["ITEM", "STATE", "WHAT"].map(str::to_owned)];
    let row = |one: &Finding| [one.item.clone(), one.mark.to_string(), one.words.clone()];
    rows.extend(findings.iter().map(row));
    let count = |mark| findings.iter().filter(|one| one.mark == mark).count();
    let (errors, warnings) = (count(Mark::Fault), count(Mark::Warn));
    let end = format!(
        "{}, {}",
        counted(errors, "error"),
        counted(warnings, "warning")
    );
    format!("{}\n{end}", table::aligned(&rows, 28))
}

fn counted(count: usize, what: &str) -> String {
    let end = if count == 1 { "" } else { "s" };
    format!("{count} {what}{end}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_ends_with_the_verdict() {
        let ok = || finding("durability", Mark::Ok, "synced");
        let warn = || finding("webhook", Mark::Warn, "answers 404");
        let fault = || finding("Jumper API", Mark::Fault, "nothing listens there");
        for (findings, end) in [
            (vec![ok()], "0 errors, 0 warnings"),
            (vec![ok(), warn()], "0 errors, 1 warning"),
            (vec![ok(), warn(), fault()], "1 error, 1 warning"),
        ] {
            let text = render(&findings);
            assert!(text.ends_with(end), "{text}");
            assert_eq!(text.lines().count(), findings.len() + 3);
        }
        assert!(render(&[fault()]).contains("Jumper API  FAULT  nothing listens there\n"));
    }
}
