//! The figures of all runs, a row for each store and class.

use crate::fault::plan::{Class, Store};
use crate::fault::settings::Pair;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// Runs of a class in which some harm has to hit something.
const ENOUGH: usize = 3;

/// What one run showed.
#[derive(Debug, Clone, Default)]
pub(crate) struct Figures {
    pub(crate) messages: usize,
    /// Accepted, and neither taken by the provider nor reported failed in the end.
    pub(crate) lost: usize,
    /// Taken more than once by the provider.
    pub(crate) twice: usize,
    /// Messages of which MoEngage did not learn every status that the gateway had taken.
    pub(crate) statuses_lost: usize,
    /// Messages whose statuses came to MoEngage in a wrong order.
    pub(crate) out_of_order: usize,
    /// Messages reported `failed` 7004 because nobody could know, that the provider had taken.
    pub(crate) unclear: usize,
    /// Messages of which nobody knew for no other reason than that a gateway was gone.
    pub(crate) orphans: usize,
    /// Entries that MoEngage got again, identical.
    pub(crate) repeats: usize,
    /// Harms that were done, and those of them that hit something.
    pub(crate) harms: usize,
    pub(crate) bit: usize,
    /// From the end of a harm until work of its kind goes on, in seconds.
    pub(crate) recoveries: Vec<f64>,
    /// From the last harm and the last accept until nothing waits any more, in seconds.
    pub(crate) drains: Vec<f64>,
    /// Callbacks that MoEngage refused for good, and had to.
    pub(crate) dead_letters: usize,
    /// The most calls beyond the rate between any two moments, as a share of those that may be held
    /// up on the road.
    pub(crate) over_rate: f64,
    /// How much more resident memory a gateway has at the end than at its start, in MB.
    pub(crate) grown_mb: f64,
    /// Messages that failed by the provider's own words which were about more than one message.
    pub(crate) refused: usize,
    /// Accepted, and then forgotten by Redis itself before it was sent, or before anybody who lives
    /// could know that it was.
    pub(crate) tail: usize,
    /// Statuses that the gateway had taken and Redis forgot before MoEngage was told.
    pub(crate) tail_statuses: usize,
    /// Messages whose statuses two masters told, each what it knew.
    pub(crate) disorder: usize,
    /// Words of people that Redis forgot, or whose message it did not know and nobody remembered.
    pub(crate) words: usize,
    /// Entries that MoEngage was told again because Redis forgot that it was, and more.
    pub(crate) again: usize,
    /// Messages that an operator let fail because they may have been sent.
    pub(crate) decided: usize,
    /// Settings of its gateways that are not the defaults.
    pub(crate) settings: BTreeSet<Pair>,
    /// What else was wrong, in words.
    pub(crate) faults: Vec<String>,
}

impl Figures {
    pub(crate) fn is_clean(&self) -> bool {
        self.lost + self.twice + self.statuses_lost + self.out_of_order == 0
            && self.faults.is_empty()
    }
}

/// All runs so far.
#[derive(Default)]
pub(crate) struct Table {
    rows: BTreeMap<(Store, Class), (usize, Figures)>,
}

impl Table {
    pub(crate) fn add(&mut self, store: Store, class: Class, one: Figures) {
        let (runs, sum) = self.rows.entry((store, class)).or_default();
        *runs += 1;
        join(sum, one);
    }

    /// Classes of which no run did any harm.
    pub(crate) fn harmless(&self) -> Vec<String> {
        let none = self
            .rows
            .iter()
            .filter(|(_, (runs, sum))| *runs >= ENOUGH && sum.bit == 0);
        let text = |((store, class), (runs, _)): (&(Store, Class), &(usize, Figures))| {
            let (store, class) = (store.name(), class.name());
            format!("no fault of {class} on {store} hit anything in {runs} runs")
        };
        none.map(text).collect()
    }

    /// As text; docs/evidence.md leaves the last three columns out.
    pub(crate) fn text(&self) -> String {
        let mut text = String::from(
            "| store | faults | runs | messages | lost | sent twice | statuses lost | out of order | 7004 though sent | identical repeats | recovery s, median | max | all done s, median | max | faults that bit |\n\
             |---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|\n",
        );
        let mut all = (0, Figures::default());
        for ((store, class), (runs, sum)) in &self.rows {
            row(&mut text, store.name(), class.name(), *runs, sum);
            all.0 += runs;
            join(&mut all.1, sum.clone());
        }
        row(&mut text, "both", "all", all.0, &all.1);
        let _ = writeln!(
            text,
            "\nmost memory gained by a gateway in a run: {:.1} MB\nmost calls beyond the rate: {:.0} % of what the roads may hold up",
            all.1.grown_mb,
            100.0 * all.1.over_rate
        );
        text
    }
}

impl Table {
    /// What Redis forgot by itself, and what came of it, in words; nothing where it forgot nothing.
    pub(crate) fn forgotten(&self) -> String {
        let mut text = String::from(
            "| Redis forgot in | runs | messages (tail) | statuses (tail) | words | told again | by two masters | failed by the operator |\n\
             |---|---|---|---|---|---|---|---|\n",
        );
        let forgets = |(_, (_, sum)): &(_, &(usize, Figures))| {
            sum.tail + sum.tail_statuses + sum.words + sum.again + sum.decided > 0
        };
        for ((_, class), (runs, sum)) in self.rows.iter().filter(forgets) {
            let (class, tail, statuses) = (class.name(), sum.tail, sum.tail_statuses);
            let _ = writeln!(
                text,
                "| {class} | {runs} | {tail} | {statuses} | {} | {} | {} | {} |",
                sum.words, sum.again, sum.disorder, sum.decided
            );
        }
        text
    }
}

fn join(sum: &mut Figures, one: Figures) {
    sum.messages += one.messages;
    sum.lost += one.lost;
    sum.twice += one.twice;
    sum.statuses_lost += one.statuses_lost;
    sum.out_of_order += one.out_of_order;
    sum.unclear += one.unclear;
    sum.repeats += one.repeats;
    sum.harms += one.harms;
    sum.bit += one.bit;
    sum.recoveries.extend(one.recoveries);
    sum.drains.extend(one.drains);
    sum.dead_letters += one.dead_letters;
    sum.tail += one.tail;
    sum.tail_statuses += one.tail_statuses;
    sum.disorder += one.disorder;
    sum.words += one.words;
    sum.again += one.again;
    sum.decided += one.decided;
    sum.over_rate = sum.over_rate.max(one.over_rate);
    sum.grown_mb = sum.grown_mb.max(one.grown_mb);
    sum.faults.extend(one.faults);
}

/// Median and maximum, in words.
fn times(of: &[f64]) -> String {
    let mut times = of.to_vec();
    times.sort_by(f64::total_cmp);
    let shown = |time: Option<&f64>| time.map_or("-".to_owned(), |time| format!("{time:.1}"));
    let (median, most) = (times.get(times.len() / 2), times.last());
    format!("{} | {}", shown(median), shown(most))
}

fn row(text: &mut String, store: &str, class: &str, runs: usize, sum: &Figures) {
    let _ = writeln!(
        text,
        "| {store} | {class} | {runs} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} of {} |",
        sum.messages,
        sum.lost,
        sum.twice,
        sum.statuses_lost,
        sum.out_of_order,
        sum.unclear,
        sum.repeats,
        times(&sum.recoveries),
        times(&sum.drains),
        sum.bit,
        sum.harms,
    );
}
