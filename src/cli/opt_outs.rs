//! `gateway optouts`: the list of who opted out, into a file and out of one. Asks the ops listener of a running gateway.

use super::ops_client::OpsClient;
use super::say;
use crate::config::Config;
use clap::Subcommand;
use std::io::Read as _;
use std::process::ExitCode;
use std::time::Duration;

/// How long one answer may take.
const DEADLINE: Duration = Duration::from_secs(30);
/// Lines that are sent at once.
const MOST: usize = 2000;

/// What to do with the list.
#[derive(Debug, Subcommand)]
pub(super) enum Wish {
    /// Writes all opt-outs to standard output, as CSV.
    Export {
        /// Only those of this channel.
        #[arg(long, value_name = "ID")]
        channel: Option<String>,
    },
    /// Takes in a CSV file: channel,number,scope,since,source. Of two words of a person the later counts.
    Import {
        /// The file; - is standard input.
        file: String,
    },
}

pub(super) async fn run(config: &Config, wish: Wish) -> anyhow::Result<ExitCode> {
    let ops = OpsClient::new(config, DEADLINE)?;
    match wish {
        Wish::Export { channel } => export(&ops, channel.as_deref()).await?,
        Wish::Import { file } => import(&ops, &file).await?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn export(ops: &OpsClient, channel: Option<&str>) -> anyhow::Result<()> {
    let mut out = csv::Writer::from_writer(std::io::stdout().lock());
    let columns = ["channel", "number", "scope", "since", "source"];
    out.write_record(columns)?;
    let mut after = None::<String>;
    loop {
        let pairs = [("channel", channel), ("after", after.as_deref())];
        let given = pairs
            .iter()
            .filter_map(|(name, value)| Some((*name, (*value)?)));
        let part = ops.list_opt_outs(&given.collect::<Vec<_>>()).await?;
        for item in part["items"].as_array().map_or(&[][..], Vec::as_slice) {
            let row = columns.map(|name| item[name].as_str().unwrap_or_default());
            out.write_record(row)?;
        }
        match part["next"].as_str() {
            Some(next) => after = Some(next.to_owned()),
            None => break,
        }
    }
    out.flush()?;
    Ok(())
}

async fn import(ops: &OpsClient, file: &str) -> anyhow::Result<()> {
    let mut text = String::new();
    if file == "-" {
        std::io::stdin().read_to_string(&mut text)
    } else {
        std::fs::File::open(file).and_then(|mut file| file.read_to_string(&mut text))
    }
    .map_err(|error| anyhow::anyhow!("{file} cannot be read: {error}"))?;
    let parts = parts(&text);
    // A line that is wrong anywhere leaves all as it was.
    for (line, part) in &parts {
        ops.import_opt_outs(part.clone(), *line, true).await?;
    }
    let (mut rows, mut changed) = (0, 0);
    for (line, part) in parts {
        let taken = ops
            .import_opt_outs(part, line, false)
            .await
            .map_err(|error| {
                anyhow::anyhow!(
                    "{error}. {rows} rows were taken in; to go on, import the same file again"
                )
            })?;
        let count = |name: &str| taken[name].as_u64().unwrap_or_default();
        rows += count("rows");
        changed += count("changed");
    }
    say::line(&format!(
        "{rows} rows read: {changed} people opted out by them; of the others the gateway knew it, or a later word"
    ));
    Ok(())
}

/// A file as parts that each have its first line, and how many lines of it stand above each part's own. No field has a
/// line break in it: neither a channel nor a number could.
fn parts(text: &str) -> Vec<(u64, String)> {
    let mut lines = text.split_inclusive('\n');
    let first = lines.next().unwrap_or_default();
    let rows: Vec<&str> = lines.collect();
    let part =
        |(n, rows): (usize, &[&str])| ((n * MOST) as u64, format!("{first}{}", rows.concat()));
    if rows.is_empty() {
        return vec![(0, first.to_owned())];
    }
    rows.chunks(MOST).enumerate().map(part).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_part_has_the_first_line_and_knows_where_it_stood() {
        assert_eq!(parts(""), [(0, String::new())]);
        assert_eq!(parts("a,b"), [(0, "a,b".to_owned())]);
        let text = "a,b\n".to_owned() + &"1,2\n".repeat(MOST) + "3,4";
        let parts = parts(&text);
        assert_eq!(parts.len(), 2);
        assert_eq!(parts[0].1.lines().count(), MOST + 1);
        assert_eq!(parts[1], (MOST as u64, "a,b\n3,4".to_owned()));
    }
}
