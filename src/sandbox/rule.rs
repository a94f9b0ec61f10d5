//! One rule: how it is made of a wish, which calls it is about, and how long it answers.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{
    notation::digits,
    outcome::Outcome,
    route::{Asked, Route},
    wish::Wish,
};

/// A rule in force.
#[derive(Debug)]
pub(super) struct Rule {
    pub(super) id: u64,
    wish: Wish,
    route: Route,
    pub(super) outcome: Outcome,
    /// Calls it still answers.
    pub(super) left: Option<u64>,
    /// When it ends.
    until: Option<Instant>,
    /// Calls that fitted, whether it answered them or not.
    met: u64,
    /// Calls it has answered.
    pub(super) used: u64,
}

impl Rule {
    /// The rule of a wish, or what is wrong with the wish.
    pub(super) fn new(mut wish: Wish, now: Instant) -> Result<Self, String> {
        let route = Route::ALL
            .into_iter()
            .find(|known| known.name() == wish.route)
            .ok_or_else(|| {
                let names = Route::ALL.map(Route::name).join(", ");
                format!("route: {:?} is none of {names}", wish.route)
            })?;
        if let Some(recipient) = &mut wish.recipient {
            *recipient = digits(recipient);
            if recipient.is_empty() || route != Route::Send {
                return Err("recipient: a number, for the route send only".to_owned());
            }
        }
        if wish.template.is_some() && !matches!(route, Route::Send | Route::Detail) {
            return Err("template: for the routes send and detail only".to_owned());
        }
        let until = match wish.for_s {
            None => None,
            Some(time) if (0.0..=86_400.0).contains(&time) => {
                Some(now + Duration::from_secs_f64(time))
            }
            Some(_) => return Err("for_s: 0 to 86400 seconds".to_owned()),
        };
        let outcome = wish.outcome(route)?;
        Ok(Self {
            id: 0,
            route,
            outcome,
            left: wish.next,
            until,
            met: 0,
            used: 0,
            wish,
        })
    }

    /// Whether it answers no more.
    pub(super) fn over(&self, now: Instant) -> bool {
        self.left == Some(0) || self.until.is_some_and(|until| until <= now)
    }

    /// Whether a call is one of those it is about; `name` is the name of the template that is asked for.
    pub(super) fn fits(&self, asked: &Asked<'_>, name: Option<&str>) -> bool {
        let template =
            |wanted: &str| wanted == asked.variant || name.is_some_and(|name| wanted == name);
        self.route == asked.route
            && self
                .wish
                .recipient
                .as_deref()
                .is_none_or(|wanted| wanted == asked.recipient)
            && self.wish.template.as_deref().is_none_or(template)
    }

    /// Whether a call that fits is one that it answers.
    pub(super) fn answers(&mut self) -> bool {
        self.met += 1;
        self.met
            .is_multiple_of(self.wish.every.map_or(1, std::num::NonZeroU64::get))
    }

    /// The wish, with what became of it.
    pub(super) fn shown(&self, over: bool) -> Value {
        let mut shown = json!(self.wish);
        shown["id"] = self.id.into();
        shown["used"] = self.used.into();
        shown["over"] = over.into();
        shown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::too_many_lines, reason = "one row per bad rule")]
    fn a_bad_rule_names_the_member_at_fault() {
        for (rule, member) in [
            (json!({}), "route"),
            (json!({ "route": "nowhere", "status": 503 }), "route"),
            (json!({ "route": "send" }), "status"),
            (json!({ "route": "send", "status": "503" }), "status: "),
            (json!({ "route": "send", "status": 99 }), "status: "),
            (json!({ "route": "send", "status": 503, "nxt": 1 }), "nxt"),
            (
                json!({ "route": "send", "status": 503, "next": -1 }),
                "next: ",
            ),
            (
                json!({ "route": "send", "status": 503, "for_s": -1 }),
                "for_s: ",
            ),
            (
                json!({ "route": "list", "status": 503, "recipient": "1" }),
                "recipient: ",
            ),
            (
                json!({ "route": "send", "status": 503, "recipient": "x" }),
                "recipient: ",
            ),
            (
                json!({ "route": "list", "status": 503, "template": "a" }),
                "template: ",
            ),
            (
                json!({ "route": "send", "headers": { "a b": 1 } }),
                "headers: ",
            ),
            (
                json!({ "route": "send", "headers": { "a": "\n" } }),
                "headers: ",
            ),
            (json!({ "route": "send", "bytes": "hex:0" }), "bytes: "),
            (json!({ "route": "send", "bytes": "hex:+f" }), "bytes: "),
            (json!({ "route": "send", "bytes": "?" }), "bytes: "),
            (
                json!({ "route": "send", "body": 1, "bytes": "" }),
                "bytes: ",
            ),
            (json!({ "route": "send", "list": "half" }), "list: "),
            (json!({ "route": "list", "list": "third" }), "list: "),
            (
                json!({ "route": "list_subscription", "list": "next" }),
                "list: ",
            ),
            (
                json!({ "route": "list", "list": "half", "outcome": "503" }),
                "outcome: ",
            ),
            (
                json!({ "route": "send", "outcome": "explode" }),
                "outcome: ",
            ),
            (
                json!({ "route": "send", "outcome": "503", "taken": true }),
                "taken",
            ),
            (json!(7), "object"),
            (json!([]), "list"),
        ] {
            let made = Wish::read(rule.to_string().as_bytes())
                .and_then(|mut all| Rule::new(all.remove(0), Instant::now()));
            let reason = made.expect_err(&rule.to_string());
            assert!(reason.contains(member), "{rule}: {reason}");
        }
    }
}
