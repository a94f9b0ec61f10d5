//! The routes by name, and the outcomes a test has queued for them. Holds them in order; what an outcome
//! does is told in `outcome`.

use std::collections::{HashMap, VecDeque};

use super::outcome::Outcome;

/// The routes that are counted and can be scripted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Route {
    Send,
    List,
    Detail,
    Social,
    Refresh,
    Token,
    Subscribe,
    ListSubscription,
    Dlr,
}

impl Route {
    pub(super) const ALL: [Self; 9] = [
        Self::Send,
        Self::List,
        Self::Detail,
        Self::Social,
        Self::Refresh,
        Self::Token,
        Self::Subscribe,
        Self::ListSubscription,
        Self::Dlr,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Send => "send",
            Self::List => "list",
            Self::Detail => "detail",
            Self::Social => "social",
            Self::Refresh => "refresh",
            Self::Token => "token",
            Self::Subscribe => "subscribe",
            Self::ListSubscription => "list_subscription",
            Self::Dlr => "dlr",
        }
    }
}

/// Outcomes queued per route by `POST /_sandbox/script`; each call takes one before any dice are thrown.
#[derive(Debug, Default)]
pub(super) struct Script(HashMap<&'static str, VecDeque<Outcome>>);

impl Script {
    /// Appends outcomes to a route, all or none.
    pub(super) fn append(&mut self, route: &str, outcomes: &[String]) -> Result<usize, String> {
        let route = Route::ALL
            .into_iter()
            .find(|known| known.name() == route)
            .ok_or_else(|| format!("no such route: {route}"))?;
        let parsed = outcomes
            .iter()
            .map(|text| Outcome::parse(text).ok_or_else(|| format!("no such outcome: {text}")))
            .collect::<Result<Vec<_>, _>>()?;
        let queue = self.0.entry(route.name()).or_default();
        queue.extend(parsed);
        Ok(queue.len())
    }

    pub(super) fn take(&mut self, route: Route) -> Option<Outcome> {
        self.0.get_mut(route.name())?.pop_front()
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_is_consumed_in_order_and_all_or_none() {
        let mut script = Script::default();
        assert!(
            script
                .append("send", &["503".into(), "bad".into()])
                .is_err()
        );
        assert!(script.append("nowhere", &[]).is_err());
        assert_eq!(script.append("send", &["503".into(), "ok".into()]), Ok(2));
        assert_eq!(script.take(Route::List), None);
        assert_eq!(script.take(Route::Send), Some(Outcome::Unavailable));
        assert_eq!(script.take(Route::Send), Some(Outcome::Ok));
        assert_eq!(script.take(Route::Send), None);
    }
}
