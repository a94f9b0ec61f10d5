//! The fault suite: the release binary, the sandbox and Redis under a seed's worth of harm, and then
//! every book is compared with every other. `tests/fault/run.sh --help` says how to use it.
#![expect(clippy::print_stdout, reason = "its table is what it is for")]
#![expect(clippy::unwrap_used, reason = "a run that cannot go on fails")]

#[expect(
    dead_code,
    unused_imports,
    unused_macros,
    reason = "shared with the integration tests, which have more use for it"
)]
mod kit;

mod fault;

use fault::made_up_wrongs;
use fault::plan::{Class, Plan, Store};
use fault::quiet;
use fault::run;
use fault::settings::Used;
use fault::table::{Figures, Table};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;

const HELP: &str = "\
Runs the gateway under faults and prints a table. A seed decides store, class of faults and harm.

  --seeds N       how many seeds (36)
  --first N       the first of them (0)
  --seed N        this one alone, to see a failure again
  --messages N    messages of each run (1700)
  --jobs N        runs at once (6)
  --patience S    seconds for which nothing may stand still until all work has ended (180)
  --store NAME    embedded or redis alone
  --class NAME    this class of faults alone
  --plan          print the plans and run nothing

GATEWAY_TEST_BINARY=PATH judges another gateway than this one, an older release for one.
";

/// Between the beginnings of the first runs.
const APART: Duration = Duration::from_millis(1_500);
/// The most characters of a fault that are shown.
const MOST_SHOWN: usize = 1_500;
/// The most that one run may take.
const RUN: Duration = Duration::from_secs(400);

struct Args {
    first: u64,
    seeds: u64,
    messages: usize,
    jobs: usize,
    patience: u64,
    store: Option<String>,
    class: Option<String>,
    only_plan: bool,
}

fn args() -> Result<Args, String> {
    let mut args = Args {
        first: 0,
        seeds: 36,
        messages: 1_700,
        jobs: 6,
        patience: 180,
        store: None,
        class: None,
        only_plan: false,
    };
    let mut words = std::env::args().skip(1).filter(|word| word != "--bench");
    while let Some(word) = words.next() {
        if word == "--help" {
            return Err(HELP.to_owned());
        }
        if word == "--plan" {
            args.only_plan = true;
            continue;
        }
        let value = words
            .next()
            .ok_or(format!("{word} wants a value\n{HELP}"))?;
        let number = || {
            value
                .parse::<u64>()
                .map_err(|_| format!("{word} {value}: a number"))
        };
        match word.as_str() {
            "--seeds" => args.seeds = number()?,
            "--first" => args.first = number()?,
            "--seed" => (args.first, args.seeds) = (number()?, 1),
            "--messages" => args.messages = number()? as usize,
            "--jobs" => args.jobs = number()?.max(1) as usize,
            "--patience" => args.patience = number()?,
            "--store" => args.store = Some(one_of(&Store::ALL.map(Store::name), &word, value)?),
            "--class" => args.class = Some(one_of(&Class::ALL.map(Class::name), &word, value)?),
            _ => return Err(format!("{word} is unknown\n{HELP}")),
        }
    }
    Ok(args)
}

/// The value of an option, if it is one of these.
fn one_of(known: &[&str], option: &str, value: String) -> Result<String, String> {
    match known.contains(&value.as_str()) {
        true => Ok(value),
        false => Err(format!(
            "{option} {value} is unknown; it is one of: {}",
            known.join(", ")
        )),
    }
}

/// All kinds of faults, of both stores in turn.
fn kinds() -> Vec<(Store, Class)> {
    let of = Store::ALL.map(|store| (store, Class::of(store)));
    let most = of.iter().map(|(_, classes)| classes.len()).max();
    let turn = |n: usize| {
        let nth = of
            .iter()
            .filter_map(move |(store, classes)| Some((*store, *classes.get(n)?)));
        nth.collect::<Vec<_>>()
    };
    (0..most.unwrap_or(0)).flat_map(turn).collect()
}

/// Store and class of a seed: they take turns.
fn of_seed(seed: u64) -> (Store, Class) {
    let kinds = kinds();
    kinds[seed as usize % kinds.len()]
}

fn plans(args: &Args) -> Vec<Plan> {
    let seeds = args.first..args.first + args.seeds;
    let plans = seeds.map(|seed| {
        let (store, class) = of_seed(seed);
        Plan::new(seed, class, store, args.messages)
    });
    let wanted = |plan: &Plan| {
        let is = |wish: &Option<String>, name: &str| wish.as_ref().is_none_or(|one| one == name);
        is(&args.store, plan.store.name()) && is(&args.class, plan.class.name())
    };
    plans.filter(wanted).collect()
}

fn main() -> ExitCode {
    let args = match args() {
        Ok(args) => args,
        Err(text) => {
            println!("{text}");
            return ExitCode::from(2);
        }
    };
    let blind = made_up_wrongs::blind();
    if !blind.is_empty() {
        println!("the verdict cannot be trusted:\n{}", blind.join("\n"));
        return ExitCode::FAILURE;
    }
    let plans = plans(&args);
    if plans.is_empty() {
        println!("none of these seeds has that store and class");
        return ExitCode::from(2);
    }
    if args.only_plan {
        plans.iter().for_each(|plan| println!("{}\n", plan.text()));
        return ExitCode::SUCCESS;
    }
    quiet::hush();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(args.jobs + 2)
        .enable_all()
        .build()
        .expect("threads");
    runtime.block_on(all(plans, &args))
}

async fn all(plans: Vec<Plan>, args: &Args) -> ExitCode {
    let places = Arc::new(Semaphore::new(args.jobs));
    let mut runs = JoinSet::new();
    let count = plans.len();
    let started = Instant::now();
    for (n, plan) in (0u32..).zip(plans) {
        let lag = if (n as usize) < args.jobs { n } else { 0 };
        if let Some(why) = run::missing(&plan) {
            println!("seed {}: {} needs: {why}", plan.seed, plan.class.name());
            return ExitCode::FAILURE;
        }
        let (places, patience) = (places.clone(), Duration::from_secs(args.patience));
        runs.spawn(async move {
            let _place = places.acquire_owned().await.expect("never closed");
            // waits because runs that begin together would have all their traffic together
            tokio::time::sleep(APART * lag).await;
            let kept = plan.clone();
            let keep = PathBuf::from(format!("target/fault/seed-{}", plan.seed));
            // Given up, it takes its processes with it.
            let run = AbortOnDropHandle::new(tokio::spawn(run::run(plan, keep, patience)));
            let figures = match tokio::time::timeout(RUN, run).await {
                Ok(Ok(figures)) => figures,
                Ok(Err(panic)) => broken(format!("the run broke off: {panic}")),
                Err(_) => broken(format!("the run did not end within {RUN:?}")),
            };
            (kept, figures)
        });
    }
    let (mut table, mut used) = (Table::default(), Used::default());
    let (mut failed, mut done) = (0, 0);
    while let Some(run) = runs.join_next().await {
        let (plan, figures) = run.expect("caught above");
        done += 1;
        if !figures.is_clean() {
            failed += 1;
            report(&plan, &figures);
        }
        if done % 20 == 0 || done == count {
            println!(
                "{done} of {count} runs, {failed} failed, {:.0} s",
                started.elapsed().as_secs_f64()
            );
        }
        used.add(plan.class, &figures.settings);
        table.add(plan.store, plan.class, figures);
    }
    println!("\n{}", table.text());
    println!("{}", table.forgotten());
    println!("Settings that are not the defaults:\n{}", used.text());
    let harmless = table.harmless();
    harmless.iter().for_each(|line| println!("{line}"));
    match failed + harmless.len() {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

fn broken(why: String) -> Figures {
    Figures {
        faults: vec![why],
        ..Figures::default()
    }
}

/// A failure, and how to see it again.
fn report(plan: &Plan, figures: &Figures) {
    println!(
        "\nFAILED: seed {} ({}, {})",
        plan.seed,
        plan.store.name(),
        plan.class.name()
    );
    for fault in figures.faults.iter().take(12) {
        println!("  {}", fault.chars().take(MOST_SHOWN).collect::<String>());
    }
    println!(
        "  again: tests/fault/run.sh --seed {} --messages {}; logs in target/fault/seed-{}",
        plan.seed, plan.messages, plan.seed
    );
    println!("  {}\n", plan.text());
}
