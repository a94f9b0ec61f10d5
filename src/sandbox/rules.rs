//! Rules: what the next calls of a route are answered instead of what the fake would answer. Put in by
//! `POST /_sandbox/rules`, asked by every route before its dice are thrown. The oldest rule that fits and
//! is not used up answers; a call that is over the rate uses none. How a rule is
//! written is told in `wish`, what one answers in `rule`.

use std::{collections::VecDeque, time::Instant};

use serde_json::{Value, json};

use super::{outcome::Outcome, route::Asked, rule::Rule, wish::Wish};

/// Rules that are over and still shown.
const OVER: usize = 1000;

/// All rules, in the order they were put in.
#[derive(Debug, Default)]
pub(super) struct Rules {
    /// Those that may answer; read by every call.
    active: VecDeque<Rule>,
    over: VecDeque<Rule>,
    ids: u64,
}

impl Rules {
    /// Puts rules in, all or none, and shows them.
    pub(super) fn add(&mut self, wishes: Vec<Wish>) -> Result<Value, String> {
        let now = Instant::now();
        let made: Result<Vec<_>, _> = wishes
            .into_iter()
            .map(|wish| Rule::new(wish, now))
            .collect();
        let mut shown = Vec::new();
        for mut rule in made? {
            self.ids += 1;
            rule.id = self.ids;
            shown.push(rule.shown(false));
            self.active.push_back(rule);
        }
        Ok(json!({ "rules": shown }))
    }

    /// Whether no rule can answer.
    pub(super) fn is_empty(&self) -> bool {
        self.active.is_empty()
    }

    /// What the oldest rule that fits answers; `name` is the name of the template that is asked for.
    pub(super) fn take(&mut self, asked: &Asked<'_>, name: Option<&str>) -> Option<Outcome> {
        self.sort(Instant::now());
        let mut fitting = self.active.iter_mut().filter(|rule| rule.fits(asked, name));
        let rule = fitting.find_map(|rule| rule.answers().then_some(rule))?;
        rule.used += 1;
        if let Some(left) = &mut rule.left {
            *left -= 1;
        }
        Some(rule.outcome.clone())
    }

    /// Every rule, those that are over first, with how often it was used.
    pub(super) fn shown(&mut self) -> Vec<Value> {
        self.sort(Instant::now());
        let over = self.over.iter().map(|rule| rule.shown(true));
        let active = self.active.iter().map(|rule| rule.shown(false));
        over.chain(active).collect()
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Sets aside what is over.
    fn sort(&mut self, now: Instant) {
        let mut at = 0;
        while let Some(rule) = self.active.get(at) {
            match rule.over(now) {
                true => self.over.extend(self.active.remove(at)),
                false => at += 1,
            }
        }
        while self.over.len() > OVER {
            self.over.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::route::Route, *};

    fn rules(wishes: Value) -> Rules {
        let mut rules = Rules::default();
        rules
            .add(Wish::read(wishes.to_string().as_bytes()).unwrap())
            .unwrap();
        rules
    }

    fn name(rules: &mut Rules, asked: Asked<'_>) -> &'static str {
        rules
            .take(&asked, Some("hours"))
            .map_or("none", |outcome| outcome.name())
    }

    #[test]
    fn the_oldest_rule_that_fits_answers_and_is_used_up() {
        let mut rules = rules(json!([
            { "route": "send", "next": 1, "outcome": "503" },
            { "route": "send", "recipient": "+1 (202) 555-0143", "next": 2, "status": 403 },
            { "route": "send", "template": "hours", "next": 1, "outcome": "401" },
            { "route": "send", "template": "52", "next": 1, "outcome": "hang:0" },
        ]));
        let to = |recipient: &'static str, variant: &'static str| Asked {
            route: Route::Send,
            recipient,
            variant,
        };
        assert_eq!(name(&mut rules, Asked::of(Route::List)), "none");
        assert_eq!(name(&mut rules, to("12025550143", "51")), "503");
        assert_eq!(name(&mut rules, to("12025550143", "51")), "rule");
        assert_eq!(name(&mut rules, to("9", "52")), "401");
        assert_eq!(name(&mut rules, to("9", "52")), "hang");
        assert_eq!(name(&mut rules, to("9", "52")), "none");
        assert_eq!(name(&mut rules, to("12025550143", "52")), "rule");
        let shown = rules.shown();
        assert!(shown.iter().all(|one| one["over"] == true), "{shown:?}");
        let used: Vec<_> = shown.iter().map(|one| one["used"].clone()).collect();
        assert_eq!(used, [1, 1, 1, 2]);
        assert!(rules.is_empty());
    }

    #[test]
    fn one_node_of_several_answers_its_share() {
        let mut rules = rules(json!([
            { "route": "list", "every": 3, "outcome": "503" },
            { "route": "list", "every": 2, "next": 2, "status": 403 },
        ]));
        let names: Vec<_> = (0..9)
            .map(|_| name(&mut rules, Asked::of(Route::List)))
            .collect();
        let third = ["none", "rule", "503", "none", "rule", "503"];
        assert_eq!(names[..6], third);
        assert_eq!(names[6..], ["none", "none", "503"]);
        let none = Wish::read(br#"{"route": "list", "every": 0, "status": 403}"#);
        assert!(none.unwrap_err().contains("every"));
    }

    #[test]
    fn a_rule_without_an_end_stays_and_one_for_a_time_ends() {
        let mut rules = rules(json!([
            { "route": "list", "for_s": 0, "outcome": "503" },
            { "route": "list", "list": "empty" },
        ]));
        for _ in 0..3 {
            assert_eq!(name(&mut rules, Asked::of(Route::List)), "list");
        }
        assert_eq!(rules.shown()[1]["used"], 3);
        assert_eq!(rules.shown()[0]["over"], true);
        rules.clear();
        assert!(rules.shown().is_empty());
    }
}
