//! Addresses as URLs, whatever their spelling.

use reqwest::Url;

/// One spelling for all spellings of an address, as the provider may keep ours in one of its own: with
/// the host in lower case, without the usual port, with a slash at the end.
pub(in crate::jumper) fn canonical(address: &str) -> String {
    let Ok(mut url) = Url::parse(address.trim()) else {
        return address.to_owned();
    };
    let path = url.path().trim_end_matches('/').to_owned();
    url.set_path(&path);
    url.set_fragment(None);
    url.into()
}
