//! Other spellings of a path. Who typed it into a form may have used capitals or a slash at the end;
//! both are of no account in what is fixed, and all there is in an id or a secret.

use axum::http::Uri;
use axum::http::uri::PathAndQuery;

/// The same address in the spelling of one of these routes, when it is spelled in another way.
pub(super) fn respelled(uri: &Uri, routes: &[&str]) -> Option<Uri> {
    let asked = uri.path();
    let path = routes.iter().find_map(|route| spelled_as(route, asked))?;
    if path == asked {
        return None;
    }
    let whole = match uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path,
    };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(PathAndQuery::try_from(whole).ok()?);
    Uri::from_parts(parts).ok()
}

/// Whether a path is this route, in any spelling of it.
pub fn is_spelling_of(route: &str, path: &str) -> bool {
    spelled_as(route, path).is_some()
}

/// The path with the fixed segments of this route, if it is one of its spellings.
fn spelled_as(route: &str, path: &str) -> Option<String> {
    let mut segments = path.strip_suffix('/').unwrap_or(path).split('/');
    let mut spelled = Vec::new();
    for part in route.split('/') {
        let segment = segments.next()?;
        if part.starts_with('{') && !segment.is_empty() {
            spelled.push(segment);
        } else if part.eq_ignore_ascii_case(segment) {
            spelled.push(part);
        } else {
            return None;
        }
    }
    segments.next().is_none().then(|| spelled.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUTES: [&str; 4] = [
        "/send_whatsapp",
        "/chat/send-message",
        "/hook/{secret}",
        "/channels/{id}/hook/{secret}",
    ];

    #[test]
    fn capitals_and_a_slash_at_the_end_do_not_matter_in_what_is_fixed() {
        for (asked, path) in [
            ("/send_whatsapp/", "/send_whatsapp"),
            ("/Send_WhatsApp", "/send_whatsapp"),
            ("/CHAT/Send-Message/?a=B", "/chat/send-message?a=B"),
            ("/HOOK/SeCret/", "/hook/SeCret"),
            ("/Channels/eU/Hook/S%2F?k=V", "/channels/eU/hook/S%2F?k=V"),
        ] {
            let uri = respelled(&asked.parse().unwrap(), &ROUTES);
            assert_eq!(uri, Some(path.parse().unwrap()), "{asked}");
        }
        let absolute = "http://gateway.test/SEND_whatsapp/".parse().unwrap();
        let uri = respelled(&absolute, &ROUTES).unwrap();
        assert_eq!(uri, "http://gateway.test/send_whatsapp");
    }

    #[test]
    fn what_is_spelled_rightly_or_names_no_route_stays() {
        for asked in [
            "/send_whatsapp",
            "/hook/SeCret",
            "/",
            "//",
            "/send_whatsapp//",
            "//send_whatsapp",
            "/hook//",
            "/send-whatsapp",
            "/channels//hook/s",
            "*",
        ] {
            let uri: Uri = asked.parse().unwrap();
            assert_eq!(respelled(&uri, &ROUTES), None, "{asked}");
        }
    }
}
