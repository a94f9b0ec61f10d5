//! Secrets in places where others than the operator may find them, one sentence each. Shows none.

use super::Groups;
use super::dotenv;
use super::layers::Sources;
use super::parse::LEAST_TOKEN;
use super::raw::{Given, Layer};
use super::table::Table;
use secrecy::{ExposeSecret, SecretString};
use std::collections::BTreeMap;

/// What is in reach of others.
pub(super) fn of(
    sources: &Sources,
    given: &BTreeMap<&'static str, Given>,
    tables: &[Table],
    groups: &Groups,
) -> Vec<String> {
    let mut warnings = by_flag(given);
    let file = sources
        .file
        .as_ref()
        .map(|(path, _)| path.display().to_string());
    let files = [
        (Layer::File, file.unwrap_or_default()),
        (Layer::DotEnv, dotenv::FILE.to_owned()),
    ];
    for (layer, name) in files {
        let in_tables = tables.iter().flat_map(|table| &table.given);
        let all = given.iter().chain(in_tables);
        if sources.open.contains(&layer) && all.into_iter().any(|(_, one)| is_secret_of(layer, one))
        {
            warnings.push(format!(
                "{name} holds secrets and every user of this machine can read it: chmod 600 {name}"
            ));
        }
    }
    warnings.extend(guessable(groups, tables.is_empty()));
    warnings
}

fn is_secret_of(layer: Layer, given: &Given) -> bool {
    given.is_secret() && given.layer == layer
}

/// The arguments of a process are shown to whoever asks for them; its environment is not.
fn by_flag(given: &BTreeMap<&'static str, Given>) -> Vec<String> {
    let secrets = given
        .iter()
        .filter(|(_, one)| is_secret_of(Layer::Flag, one));
    let names: Vec<&str> = secrets.map(|(key, _)| *key).collect();
    if names.is_empty() {
        return Vec::new();
    }
    vec![format!(
        "{} given with --set: every user of this machine can read that in the list of processes; \
         use the variable or a file",
        names.join(", ")
    )]
}

fn guessable(groups: &Groups, by_variables: bool) -> Vec<String> {
    let short = |token: &SecretString| token.expose_secret().len() < LEAST_TOKEN;
    let channels = groups.accounts_and_channels.1.iter();
    let channels = channels.filter(|channel| channel.tokens.iter().any(short));
    let mut names: Vec<String> = channels
        .map(|channel| match by_variables {
            true => "MOENGAGE_AUTH_AGAINST".to_owned(),
            false => format!("channel.{}.auth_against", channel.id),
        })
        .collect();
    if groups.ops.token.as_ref().is_some_and(short) {
        names.push("OPS_TOKEN".to_owned());
    }
    let doubt = |name| {
        format!(
            "{name} has a token of fewer than {LEAST_TOKEN} characters, which can be guessed: take \
             one of openssl rand -hex 24"
        )
    };
    names.into_iter().map(doubt).collect()
}
