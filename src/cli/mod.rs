//! The command line: one file a command. Exit codes: 0 done, 1 a fault, 2 wrong usage.

mod check;
pub(crate) mod config;
mod demo;
mod health;
mod ops_client;
mod opt_outs;
mod reach;
mod sandbox;
mod say;
mod serve;
mod table;
mod trace;

use crate::config::{Config, Purpose};
use crate::telemetry;
use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, Subcommand};
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
    #[arg(long = "set", value_name = "KEY=VALUE", global = true, value_parser = pair)]
    set: Vec<(String, String)>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the gateway (the default).
    Serve {
        /// Sends nothing until an operator decides at the ops listener: for the first start over a store that was
        /// put back from a copy.
        #[arg(long)]
        hold: bool,
    },
    /// Shows the whole path on this machine: a campaign through the gateway, between fakes of
    /// MoEngage and Jumper. Needs no account and no configuration.
    Demo {
        /// Ends after the campaign instead of serving on.
        #[arg(long)]
        exit: bool,
        /// How many messages MoEngage sends.
        #[arg(long, value_name = "N", default_value_t = 200,
              value_parser = clap::value_parser!(u32).range(1..=100_000))]
        messages: u32,
        /// Shows the gateway's warnings too.
        #[arg(long)]
        verbose: bool,
    },
    /// Runs only the fakes of Jumper and MoEngage, with a control API.
    #[command(after_long_help = crate::sandbox::help())]
    Sandbox(crate::sandbox::Flags),
    /// Checks the configuration and reaches everything it names.
    Check,
    /// Asks whether the gateway on this machine is alive; for the container.
    Health {
        /// Asks instead whether it can take messages now.
        #[arg(long)]
        ready: bool,
    },
    /// Shows the effective configuration: each value and the layer it comes from.
    Config,
    /// Writes the list of who opted out to a file, or takes one in. Wants OPS_TOKEN: it has whole phone numbers.
    #[command(name = "optouts")]
    OptOuts {
        #[command(subcommand)]
        wish: opt_outs::Wish,
    },
    /// Shows what happened to a message, or to the messages of a person.
    Trace {
        /// MoEngage's msg_id, the provider's id, or the recipient's phone number.
        id: String,
    },
}

/// Runs the command that the arguments name.
pub fn run() -> ExitCode {
    let code = run_command();
    telemetry::flush_logs();
    code
}

fn run_command() -> ExitCode {
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
        Ok(code) => code,
        Err(error) => fault(&error),
    }
}

async fn dispatch(cli: Cli) -> anyhow::Result<ExitCode> {
    let flags = cli.set;
    match cli.command.unwrap_or(Command::Serve { hold: false }) {
        Command::Serve { hold } => {
            // Before anything that may take time.
            let stop = stop_signal()?;
            serve::hear_hangup()?;
            let mut config = read(flags, Purpose::Serve)?;
            config.hold = hold;
            serve::run(config, stop).await?;
        }
        Command::Demo {
            exit,
            messages,
            verbose,
        } => {
            if !flags.is_empty() {
                let words = "the demo brings its own settings: leave out --set";
                Cli::command()
                    .error(ErrorKind::ArgumentConflict, words)
                    .exit();
            }
            let wish = demo::Wish {
                exit,
                messages,
                verbose,
            };
            return demo::run(wish).await;
        }
        Command::Sandbox(flags) => sandbox::run(&flags).await?,
        Command::Check => return check::run(flags).await,
        Command::Health { ready } => {
            return health::run(&read(flags, Purpose::Client)?, ready).await;
        }
        Command::Config => say::line(&config::text(&read(flags, Purpose::Client)?).await),
        Command::OptOuts { wish } => {
            return opt_outs::run(&read(flags, Purpose::Client)?, wish).await;
        }
        Command::Trace { id } => return trace::run(&read(flags, Purpose::Client)?, &id).await,
    }
    Ok(ExitCode::SUCCESS)
}

fn fault(error: &anyhow::Error) -> ExitCode {
    say::fault(&format!("{error:#}"));
    ExitCode::FAILURE
}

fn read(flags: Vec<(String, String)>, purpose: Purpose) -> anyhow::Result<Config> {
    Ok(crate::config::read(flags, purpose)?)
}

/// Reads `KEY=VALUE`.
fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) => Ok((key.trim().to_owned(), value.to_owned())),
        None => Err("write it as KEY=VALUE".to_owned()),
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_setting_is_a_key_and_a_value() {
        for (text, read) in [
            ("http.port=1", Ok(("http.port".into(), "1".into()))),
            (" a = b=c", Ok(("a".into(), " b=c".into()))),
            ("nothing", Err("write it as KEY=VALUE".into())),
        ] {
            assert_eq!(pair(text), read);
        }
    }
}
