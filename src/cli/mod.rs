//! The command line: one file a command. Exit codes: 0 done, 1 a fault, 2 wrong usage.

mod config;
mod sandbox;
mod say;
mod serve;

use crate::config::{Config, Purpose};
use clap::{Parser, Subcommand};
use std::process::ExitCode;
use tokio_util::sync::CancellationToken;

/// Accepts WhatsApp template messages from MoEngage, sends them through Jumper.ai, and brings every
/// delivery status and reply back.
#[derive(Debug, Parser)]
#[command(name = "gateway", version)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    /// Overrides a setting of the configuration, for example --set http.port=3005.
    #[arg(long = "set", value_name = "KEY=VALUE", global = true)]
    set: Vec<String>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the gateway (the default).
    Serve,
    /// Runs only the fakes of Jumper and MoEngage, with a control API.
    Sandbox(crate::sandbox::Flags),
    /// Shows the effective configuration: each value and the layer it comes from.
    Config,
}

/// Runs the command that the arguments name.
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    // One TLS provider for the whole process; a second start in one process keeps the first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return fault(&anyhow::Error::new(error)),
    };
    match runtime.block_on(dispatch(cli)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fault(&error),
    }
}

async fn dispatch(cli: Cli) -> anyhow::Result<()> {
    let flags = flags(&cli.set)?;
    match cli.command.unwrap_or(Command::Serve) {
        Command::Serve => serve::run(read(flags, Purpose::Serve)?).await,
        Command::Sandbox(flags) => sandbox::run(&flags).await,
        Command::Config => {
            say::line(&config::table(&read(flags, Purpose::Client)?));
            Ok(())
        }
    }
}

fn fault(error: &anyhow::Error) -> ExitCode {
    say::fault(&format!("{error:#}"));
    ExitCode::FAILURE
}

fn read(flags: Vec<(String, String)>, purpose: Purpose) -> anyhow::Result<Config> {
    Ok(crate::config::read(flags, purpose)?)
}

fn flags(set: &[String]) -> anyhow::Result<Vec<(String, String)>> {
    set.iter()
        .map(|pair| match pair.split_once('=') {
            Some((key, value)) => Ok((key.trim().to_owned(), value.to_owned())),
            None => anyhow::bail!("--set {pair}: write it as KEY=VALUE"),
        })
        .collect()
}

/// Cancelled by SIGTERM or Ctrl-C.
fn stop_signal() -> anyhow::Result<CancellationToken> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        stopped.cancel();
    });
    Ok(stop)
}
