//! How the gateway stands at a moment, and how that changes over time.

use crate::pair::{Ledger, Pair};
use std::fs;
use std::io::{self, Write as _};
use std::path::Path;
use std::time::Instant;

/// The gateway at a moment.
#[derive(Debug)]
pub(crate) struct Sample {
    /// Seconds since the start.
    pub(crate) at: f64,
    pub(crate) ledger: Ledger,
    /// Memory of the process, kilobytes; with the shared pages of the store's index.
    pub(crate) rss_kb: f64,
    /// Open files and sockets.
    pub(crate) files: usize,
    /// Bytes of the store's files.
    pub(crate) disk: u64,
    /// Processor time so far, seconds.
    pub(crate) cpu: f64,
    /// The same of the sandbox, which must not be what everything waits for.
    pub(crate) sandbox_cpu: f64,
    sandbox_rss_kb: f64,
}

impl Sample {
    pub(crate) const HEAD: &'static str = "\
        | s | accepted | waiting | sent | told later | RSS MB | files | disk MB | CPU s | sandbox RSS MB | CPU s |\n\
        |---|---|---|---|---|---|---|---|---|---|---|";

    async fn of(pair: &Pair, start: Instant) -> io::Result<Self> {
        let [gateway, sandbox] = pair.ids().map(|id| Path::new("/proc").join(id.to_string()));
        let mut disk = 0;
        for file in fs::read_dir(pair.data())? {
            disk += file?.metadata()?.len();
        }
        Ok(Self {
            at: start.elapsed().as_secs_f64(),
            ledger: pair.ledger().await,
            rss_kb: rss_kb(&gateway)?,
            files: fs::read_dir(gateway.join("fd"))?.count(),
            disk,
            cpu: cpu(&gateway)?,
            sandbox_cpu: cpu(&sandbox)?,
            sandbox_rss_kb: rss_kb(&sandbox)?,
        })
    }

    fn print(&self) -> io::Result<()> {
        let Ledger {
            accepted,
            accepted_by_provider,
            callbacks_waiting,
            ..
        } = self.ledger;
        let waiting = self.ledger.waiting();
        writeln!(
            io::stdout(),
            "| {:.0} | {accepted} | {waiting} | {accepted_by_provider} | {callbacks_waiting} | {:.1} | {} | {:.1} | {:.1} | {:.1} | {:.1} |",
            self.at,
            self.rss_kb / 1024.0,
            self.files,
            self.disk as f64 / 1e6,
            self.cpu,
            self.sandbox_rss_kb / 1024.0,
            self.sandbox_cpu,
        )
    }
}

fn rss_kb(process: &Path) -> io::Result<f64> {
    let status = fs::read_to_string(process.join("status"))?;
    let rss = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let rss = rss.and_then(|rest| rest.trim().trim_end_matches(" kB").parse().ok());
    rss.ok_or_else(|| io::Error::other("no VmRSS"))
}

fn cpu(process: &Path) -> io::Result<f64> {
    let stat = fs::read_to_string(process.join("stat"))?;
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks = after_name.split_whitespace().skip(11).take(2);
    let ticks: f64 = ticks.filter_map(|word| word.parse::<f64>().ok()).sum();
    // The kernel tells hundredths of a second.
    Ok(ticks / 100.0)
}

/// All samples of a phase, at least one.
#[derive(Debug, Default)]
pub(crate) struct Samples {
    pub(crate) all: Vec<Sample>,
}

impl Samples {
    /// Takes one more and prints it.
    pub(crate) async fn take(&mut self, pair: &Pair, start: Instant) -> io::Result<()> {
        let sample = Sample::of(pair, start).await?;
        sample.print()?;
        self.all.push(sample);
        Ok(())
    }

    pub(crate) fn last(&self) -> &Sample {
        self.all.last().expect("a sample")
    }

    /// The first one after a tenth of the time: by then all parts have been used.
    pub(crate) fn settled(&self) -> &Sample {
        let tenth = self.last().at / 10.0;
        let after = self.all.iter().find(|one| one.at >= tenth);
        after.unwrap_or_else(|| self.last())
    }

    /// The slope of `y` over `x` by least squares, after the first tenth of the time.
    pub(crate) fn slope(&self, x: impl Fn(&Sample) -> f64, y: impl Fn(&Sample) -> f64) -> f64 {
        let from = self.settled().at;
        let points = self.all.iter().filter(|one| one.at >= from);
        slope(&points.map(|one| (x(one), y(one))).collect::<Vec<_>>())
    }
}

fn slope(points: &[(f64, f64)]) -> f64 {
    let count = points.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
    let (x, y) = (mean(|point| point.0), mean(|point| point.1));
    let both = points.iter().map(|point| (point.0 - x) * (point.1 - y));
    let own = points.iter().map(|point| (point.0 - x).powi(2));
    both.sum::<f64>() / own.sum::<f64>()
}
