//! The flags of `gateway sandbox`. They only fill an `Options`; nothing is started or printed here.

use serde_json::{Map, Value};

use super::{Knobs, Options};
use std::net::IpAddr;

/// Command line of the sandbox.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Flags {
    /// Port to listen on; 0 takes a free one.
    #[arg(long, default_value_t = 4010)]
    pub port: u16,
    /// Address to listen on, loopback if not given. Whoever reaches it controls the fakes.
    #[arg(long, value_name = "ADDRESS")]
    pub bind: Option<IpAddr>,
    /// Seed of all dice and ids.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Where status events and replies are posted, besides the URLs subscribed by the client.
    #[arg(long, value_name = "URL")]
    pub webhook_url: Option<String>,
    /// Turns one knob, as listed by `GET /_sandbox/knobs`; may be repeated.
    #[arg(long = "knob", value_name = "NAME=VALUE")]
    pub knobs: Vec<String>,
}

impl Flags {
    /// The options these flags describe.
    ///
    /// # Errors
    /// Names the knob that is unknown or has an impossible value.
    pub fn options(&self) -> Result<Options, String> {
        Ok(Options {
            seed: self.seed,
            knobs: knobs(&self.knobs)?,
            webhook_url: self.webhook_url.clone(),
            ..Options::default()
        })
    }
}

/// Knobs from `name=value` texts; a value that is no JSON is taken as text.
fn knobs(texts: &[String]) -> Result<Knobs, String> {
    let mut patch = Map::new();
    for text in texts {
        let Some((name, value)) = text.split_once('=') else {
            return Err(format!("knob {text}: write it as name=value"));
        };
        let value = serde_json::from_str(value).unwrap_or_else(|_| Value::from(value));
        patch.insert(name.trim().to_owned(), value);
    }
    Knobs::default().patched(&Value::Object(patch))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::RateMode;

    #[test]
    fn the_command_line_is_well_formed() {
        let command = <Flags as clap::Args>::augment_args(clap::Command::new("sandbox"));
        command.clone().debug_assert();
        let line = ["sandbox", "--port", "0", "--knob", "share_503=0.1"];
        let matches = command.try_get_matches_from(line).unwrap();
        let flags = <Flags as clap::FromArgMatches>::from_arg_matches(&matches).unwrap();
        assert_eq!((flags.port, flags.seed), (0, 1));
        assert!(flags.options().is_ok());
    }

    #[test]
    fn flags_turn_knobs() {
        let flags = Flags {
            knobs: vec![
                "rate_mode=spaced".into(),
                "latency_ms=20".into(),
                "event_shapes=[\"gen2\"]".into(),
            ],
            ..Flags::default()
        };
        let options = flags.options().unwrap();
        assert_eq!(options.knobs.rate_mode, RateMode::Spaced);
        assert_eq!(options.knobs.latency_ms, 20);
        assert!(knobs(&["latency_ms".into()]).is_err());
        assert!(
            knobs(&["nonsense=1".into()])
                .unwrap_err()
                .contains("nonsense")
        );
    }
}
