//! What Redis is asked about itself: how well does it keep what is written?
//!
//! Asked for at most every few seconds, beside whoever wants it. Whether it takes writes is proved each
//! time (`rights`).

use super::{Connection, Persistence};
use crate::store::{Report, StoreError};
use redis::cmd;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// How old a report may get before the next one is asked for.
const REPORT_AGE: Duration = Duration::from_secs(5);
/// How often Redis is asked to know how far it is away.
const QUESTIONS: usize = 5;
/// How long somebody waits for the very first report.
const FIRST_REPORT: Duration = Duration::from_millis(500);

/// The last report and whether a newer one is on its way; shared by all clones of a connection.
#[derive(Debug, Clone, Default)]
pub(super) struct Reports(Arc<Mutex<Reported>>);

#[derive(Debug, Default)]
struct Reported {
    last: Option<Report>,
    /// When the last one was asked for, answered or not.
    asked: Option<Instant>,
}

impl Connection {
    /// How Redis stands, as last seen; a few seconds old at most while Redis answers.
    pub async fn report(&self) -> Report {
        let (last, due) = self.reports().look();
        if due {
            let this = self.clone();
            let asked = tokio::spawn(async move { this.ask_report().await });
            if last.is_none() {
                let _ = timeout(FIRST_REPORT, asked).await;
                return self.reports().look().0.unwrap_or_else(unasked);
            }
        }
        last.unwrap_or_else(unasked)
    }

    /// Asks now and says in the log what is weak. For the start.
    pub async fn warn_of_weakness(&self) {
        match self.persistence().await {
            Ok(persistence) => {
                let report = persistence.judge(self.wait_replicas());
                let text = &report.summary;
                tracing::info!(
                    promise = ?report.promise, summary = text, event = "redis_durability",
                    "how well Redis keeps data"
                );
                for warning in &report.warnings {
                    tracing::warn!(
                        warning,
                        event = "redis_durability_weak",
                        "Redis keeps data less well than it could"
                    );
                }
                self.reports().keep(report);
            }
            Err(error) => {
                tracing::warn!(
                    %error, event = "redis_durability_unknown",
                    "Redis could not be asked how well it keeps data; messages are accepted as \
                     soon as it takes writes"
                );
            }
        }
    }

    /// What Redis says of itself now.
    pub async fn persistence(&self) -> Result<Persistence, StoreError> {
        let info: String = self.command(&cmd("INFO")).await?;
        let info = info.lines().filter_map(|line| line.split_once(':'));
        let info = info.map(|(name, value)| (name.to_owned(), value.trim().to_owned()));
        // Not permitted by many that rent it out; then what INFO says has to do.
        let mut config = HashMap::new();
        for pattern in ["append*", "maxmemory*", "save", "min-replicas-to-write"] {
            let asked = self.command(cmd("CONFIG").arg("GET").arg(pattern)).await;
            config.extend(asked.unwrap_or_else(|_| HashMap::<String, String>::new()));
        }
        Ok(Persistence::read(&info.collect(), &config))
    }

    /// How long an answer takes: what most of a few questions take.
    pub async fn distance(&self) -> Result<Duration, StoreError> {
        let mut took = [Duration::ZERO; QUESTIONS];
        for one in &mut took {
            let asked = Instant::now();
            let _: Vec<String> = self.command(&cmd("TIME")).await?;
            *one = asked.elapsed();
        }
        took.sort();
        Ok(took[QUESTIONS / 2])
    }

    async fn ask_report(&self) {
        match self.persistence().await {
            Ok(persistence) => self.reports().keep(persistence.judge(self.wait_replicas())),
            Err(error) => tracing::debug!(%error, "Redis does not say how it stands"),
        }
    }
}

impl Reports {
    fn keep(&self, report: Report) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).last = Some(report);
    }

    /// The last report, and whether the caller is the one to ask for a new one.
    fn look(&self) -> (Option<Report>, bool) {
        let mut reported = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let due = reported.asked.is_none_or(|at| at.elapsed() >= REPORT_AGE);
        if due {
            reported.asked = Some(Instant::now());
        }
        (reported.last.clone(), due)
    }
}

fn unasked() -> Report {
    let mut report = Persistence::default().judge(0);
    report.summary = "redis: not asked yet how well it keeps data".into();
    report.warnings.clear();
    report
}
