//! Records in Datastore.

use crate::config::parse::Parsed;
use crate::config::raw::Given;
use crate::config::reader::{Reader, long, maybe, one};
use crate::config::setting::{Need, Setting, Show, setting};
use crate::datastore::Settings;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

settings! {
    /// The records in Datastore.
    struct Datastore {
        /// Google's id of the project whose Datastore keeps records too; unset, nothing is written there.
        project_id: Option<String> = maybe(project_id),
            setting("datastore.project_id").var("DT_PROJECT_ID").need(Need::OfOld)
                .example("my-project-123");
        /// The kind of the entities in Datastore.
        kind: String = one(kind),
            setting("datastore.kind").var("DT_KIND").need(Need::OfOld).default("MOENGAGE_MESSAGES");
        /// The key file of a service account for Datastore; unset, application default credentials.
        credentials: Option<PathBuf> = maybe(|text| Ok(PathBuf::from(text))),
            setting("datastore.credentials_file").var("DT_JSON_PATH").need(Need::OfOld)
                .example("/run/secrets/datastore.json");
        /// host:port of an emulator of Datastore: no TLS, no credentials.
        emulator_host: Option<String> = maybe(emulator_host),
            setting("datastore.emulator_host").var("DATASTORE_EMULATOR_HOST").show(Show::Url)
                .example("127.0.0.1:8081");
        /// When an entity may be removed, after its message was accepted; Datastore does it where an
        /// expiry policy for the property expireAt exists.
        expire_after: Duration = long(),
            setting("datastore.expire_after").default("365d");
        /// How long a status waits for its message before Datastore is asked for it.
        ask_after: Duration = long(),
            setting("datastore.ask_after").default("60s");
    }
}

impl Datastore {
    /// What the client of Datastore is made from, when a project is named.
    pub fn settings(&self) -> Option<Settings> {
        Some(Settings {
            project_id: self.project_id.clone()?,
            kind: self.kind.clone(),
            credentials: self.credentials.clone(),
            default_credentials: default_credentials(),
            emulator_host: self.emulator_host.clone(),
            expire_after: self.expire_after,
        })
    }
}

/// Where Google's libraries look for application default credentials: the file that is named, or that of
/// gcloud if it is there.
fn default_credentials() -> Option<PathBuf> {
    let named = std::env::var_os("GOOGLE_APPLICATION_CREDENTIALS");
    first_of(named, std::env::home_dir())
}

/// A variable that says nothing is not set.
fn first_of(named: Option<OsString>, home: Option<PathBuf>) -> Option<PathBuf> {
    if let Some(path) = named.filter(|path| !path.is_empty()) {
        return Some(path.into());
    }
    let of_gcloud = ".config/gcloud/application_default_credentials.json";
    let path = home?.join(of_gcloud);
    path.exists().then_some(path)
}

/// Checks Google's id of a project, the old form with a domain too.
fn project_id(text: &str) -> Parsed<String> {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-.:".contains(&b);
    if text.len() <= 100 && text.bytes().all(allowed) && !text.is_empty() {
        Ok(text.to_owned())
    } else {
        Err("must be the id of a Google Cloud project, such as my-project-123".to_owned())
    }
}

/// Checks the kind of Datastore's entities.
fn kind(text: &str) -> Parsed<String> {
    let allowed = |c: char| !c.is_control() && c != '/';
    // Datastore takes 1,500 bytes; what is no record is kept under a longer name.
    if text.len() <= 1400 && text.chars().all(allowed) && !text.starts_with("__") {
        Ok(text.to_owned())
    } else {
        Err("must be a name that does not begin with __, such as MOENGAGE_MESSAGES".to_owned())
    }
}

/// Checks where an emulator is; a scheme before it is taken off, as Google's own clients do.
fn emulator_host(text: &str) -> Parsed<String> {
    let host = text.strip_prefix("http://").unwrap_or(text);
    let host = host.trim_end_matches('/');
    let authority: Result<hyper::http::uri::Authority, _> = host.parse();
    match authority {
        Ok(found) if found.port_u16().is_some() && !host.contains('@') => Ok(host.to_owned()),
        _ => Err("must be host:port of a Datastore emulator, such as 127.0.0.1:8081".to_owned()),
    }
}

/// What is allowed and may still be a mistake.
pub(in crate::config) fn doubt(given: &BTreeMap<&'static str, Given>) -> Option<String> {
    let is_set = |key: &&str| given.contains_key(key);
    let known = |key: &str| Setting::named(key).map(Setting::known_as);
    let (file, emulator) = ("datastore.credentials_file", "datastore.emulator_host");
    if is_set(&"datastore.project_id") {
        let name = known(emulator).filter(|_| is_set(&emulator))?;
        return Some(format!(
            "{name} is set: records go to an emulator, not to Google"
        ));
    }
    let name = known([file, emulator].into_iter().find(is_set)?)?;
    Some(format!(
        "{name} has no effect without DT_PROJECT_ID: records are not written to Datastore"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_credentials_are_those_of_the_variable_unless_it_is_empty() {
        let home = tempfile::tempdir().unwrap();
        let at = |named: Option<&str>| first_of(named.map(Into::into), Some(home.path().into()));
        assert_eq!(at(Some("/key.json")), Some("/key.json".into()));
        assert_eq!((at(None), at(Some(""))), (None, None));
        let gcloud = home.path().join(".config/gcloud");
        std::fs::create_dir_all(&gcloud).unwrap();
        let file = gcloud.join("application_default_credentials.json");
        std::fs::write(&file, "{}").unwrap();
        assert_eq!(at(None).as_ref(), Some(&file));
        assert_eq!(at(Some("")).as_ref(), Some(&file));
        assert_eq!(first_of(Some("".into()), None), None);
    }
}
