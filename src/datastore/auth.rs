//! Google's access tokens: from a service-account file, from application default credentials (the
//! file that `GOOGLE_APPLICATION_CREDENTIALS` names, gcloud's, the metadata server), or none for an
//! emulator. Found when first needed, so that a start never waits for Google.

use super::Error;
use gcp_auth::{CustomServiceAccount, Token, TokenProvider};
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::Mutex;

/// What the tokens are asked for.
const SCOPES: &[&str] = &["https://www.googleapis.com/auth/datastore"];

/// Where access tokens come from.
#[derive(Debug, Clone)]
pub(super) enum Source {
    /// Nobody asks for them.
    Nobody,
    /// A service-account key file.
    File(PathBuf),
    /// Application default credentials.
    Default,
}

/// The access tokens of one client.
pub(super) struct Auth {
    source: Source,
    /// Made when first needed, forgotten when Google refuses its token. It caches tokens itself.
    provider: Mutex<Option<Arc<dyn TokenProvider>>>,
}

impl Auth {
    pub(super) fn new(source: Source) -> Self {
        Self {
            source,
            provider: Mutex::new(None),
        }
    }

    /// A token that is good now; `None` where none is asked for.
    pub(super) async fn token(&self) -> Result<Option<Arc<Token>>, Error> {
        let provider = match &self.source {
            Source::Nobody => return Ok(None),
            source => {
                let mut provider = self.provider.lock().await;
                match &*provider {
                    Some(provider) => provider.clone(),
                    None => provider.insert(find(source).await?).clone(),
                }
            }
        };
        let token = provider.token(SCOPES).await;
        token.map(Some).map_err(|error| self.refused(&error))
    }

    /// The token was refused: the next call looks for credentials anew.
    pub(super) async fn forget(&self) {
        *self.provider.lock().await = None;
    }

    fn refused(&self, error: &gcp_auth::Error) -> Error {
        let whose = match &self.source {
            Source::File(path) => format!("the service account in {}", path.display()),
            _ => "the application default credentials".to_owned(),
        };
        Error::NoToken(format!("Google gives no token for {whose}: {error}"))
    }
}

async fn find(source: &Source) -> Result<Arc<dyn TokenProvider>, Error> {
    match source {
        Source::File(path) => match CustomServiceAccount::from_file(path) {
            Ok(account) => Ok(Arc::new(account)),
            Err(error) => Err(Error::Credentials(format!(
                "DT_JSON_PATH {} is no readable service-account key: {error}",
                path.display()
            ))),
        },
        _ => gcp_auth::provider().await.map_err(|error| {
            Error::Credentials(format!(
                "{error}: set DT_JSON_PATH to a service-account key, or run where application \
                 default credentials exist"
            ))
        }),
    }
}
