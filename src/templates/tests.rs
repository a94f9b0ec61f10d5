//! The list and its details, over real sockets.

use super::*;
use crate::domain::template::Variant;
use crate::providers::jumper::fake::{Fake, Reaction, Seen};
use crate::providers::jumper::tests::{account, settings, tokens};
use crate::store::CachedTemplates;
use crate::store::embedded::Store;
use crate::store::{self, testing};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio_util::sync::CancellationToken;

const WAIT: Duration = Duration::from_secs(20);

fn id_of_account() -> AccountId {
    AccountId::parse("default").unwrap()
}

async fn templates(fake: &Fake, store: &Store) -> Templates {
    let kept = store::Tokens::Embedded(store.clone());
    let account = account(&tokens().await, &settings(&fake.url), kept).await;
    let provider = Arc::new(Provider::Jumper(account));
    Templates::new(provider, Cache::Embedded(store.clone()), id_of_account())
}

/// Templates whose list was fetched, and one of it.
async fn listed(fake: &Fake) -> (tempfile::TempDir, Templates, Arc<Variant>) {
    let (dir, store) = testing::store();
    let templates = templates(fake, &store).await;
    templates.refresh().await.unwrap();
    let Lookup::Found(variant) = templates.find("a", "en") else {
        panic!("it is listed")
    };
    (dir, templates, variant)
}

fn list(variants: &[(&str, &str, &str)]) -> Reaction {
    let item = |(name, language, id): &(&str, &str, &str)| json!({ "template_name": name, "templates": [{ "id": id, "language": language }] });
    let data: Vec<Value> = variants.iter().map(item).collect();
    Reaction::Json(200, json!({ "success": true, "data": data }))
}

fn detail(values: usize) -> Reaction {
    let text = (1..=values)
        .map(|n| format!("{{{{{n}}}}}"))
        .collect::<String>();
    Reaction::Json(
        200,
        json!({ "success": true, "data": { "message": { "BODY": { "text": text } } } }),
    )
}

fn down() -> Reaction {
    Reaction::Raw(503, "", String::new())
}

fn id(lookup: &Lookup) -> Option<&str> {
    match lookup {
        Lookup::Found(variant) => Some(&variant.id),
        Lookup::Missing | Lookup::Unknown => None,
    }
}

fn lists(seen: &[Seen]) -> usize {
    seen.iter()
        .filter(|seen| seen.line.contains("fetch-whatsapp-templates"))
        .count()
}

#[test]
fn r_11_a_list_of_a_clock_that_was_ahead_does_not_stay_fresh() {
    let (now, at) = (UnixMs(1_000_000_000), |seconds: i64| {
        UnixMs(1_000_000_000 + seconds * 1_000)
    });
    for (fetched, fresh) in [(-599, true), (-600, false), (5, true), (25 * 3600, false)] {
        assert_eq!(
            is_younger(Some(at(fetched)), FRESH, now),
            fresh,
            "{fetched}"
        );
    }
}

/// B-12: two variants of one language were both sent. B-22: a new language was never seen.
#[tokio::test]
async fn a_list_is_renewed_whole_and_the_first_variant_wins() {
    let fake = Fake::start(|number, _| match number {
        0 => list(&[("a", "en", "1"), ("a", "en", "2")]),
        _ => list(&[("a", "en", "3"), ("a", "de", "4")]),
    })
    .await;
    let (_dir, store) = testing::store();
    let templates = templates(&fake, &store).await;
    assert_eq!(templates.find("a", "en"), Lookup::Unknown);
    templates.refresh().await.unwrap();
    assert_eq!(id(&templates.find("a", "en")), Some("1"));
    assert_eq!(templates.find("a", "de"), Lookup::Missing);
    assert_eq!(templates.find("a", "EN"), Lookup::Missing);
    templates.refresh().await.unwrap();
    assert_eq!(id(&templates.find("a", "en")), Some("3"));
    assert_eq!(id(&templates.find("a", "de")), Some("4"));
}

#[tokio::test]
async fn a_list_survives_a_restart_but_an_old_one_refuses_nothing() {
    let fake = Fake::start(|_, _| list(&[("a", "en", "1")])).await;
    let (_dir, store) = testing::store();
    templates(&fake, &store).await.refresh().await.unwrap();
    let kept = store.load_templates(&id_of_account()).await;
    let kept = kept.unwrap().unwrap();

    let after = templates(&fake, &store).await;
    after.load().await.unwrap();
    assert!(after.is_fresh(kept.fetched_at.plus(Duration::from_secs(599))));
    assert!(!after.is_fresh(kept.fetched_at.plus(Duration::from_secs(600))));
    assert_eq!(id(&after.find("a", "en")), Some("1"));

    let fetched_at = kept.fetched_at.minus(FRESH);
    let old = CachedTemplates { fetched_at, ..kept };
    store.save_templates(&id_of_account(), &old).await.unwrap();
    let after = templates(&fake, &store).await;
    after.load().await.unwrap();
    assert_eq!(id(&after.find("a", "en")), Some("1"));
    assert_eq!(after.find("b", "en"), Lookup::Unknown);
    assert_eq!(fake.calls(), 1);
}

#[tokio::test]
async fn a_miss_asks_again_but_not_more_than_twice_a_minute() {
    let fake = Fake::start(|_, _| list(&[("a", "en", "1")])).await;
    let (_dir, store) = testing::store();
    let templates = templates(&fake, &store).await;
    let all = (0..10).map(|_| {
        tokio::spawn({
            let templates = templates.clone();
            async move { templates.resolve_or_refetch("a", "en", WAIT).await }
        })
    });
    for one in all.collect::<Vec<_>>() {
        assert_eq!(id(&one.await.unwrap()), Some("1"));
    }
    for _ in 0..5 {
        assert_eq!(
            templates.resolve_or_refetch("b", "en", WAIT).await,
            Lookup::Missing
        );
    }
    assert_eq!(fake.calls(), 1);
}

#[tokio::test]
async fn an_outage_makes_nothing_missing() {
    let fake = Fake::start(|_, _| down()).await;
    let (_dir, store) = testing::store();
    let templates = templates(&fake, &store).await;
    for _ in 0..5 {
        assert_eq!(
            templates.resolve_or_refetch("a", "en", WAIT).await,
            Lookup::Unknown
        );
    }
    assert_eq!(fake.calls(), 1);
    assert!(!templates.is_fresh(now()));
}

#[tokio::test]
async fn a_failed_fetch_keeps_what_was_known() {
    let fake = Fake::start(|number, _| {
        if number == 0 {
            list(&[("a", "en", "1")])
        } else {
            down()
        }
    })
    .await;
    let (_dir, store) = testing::store();
    let templates = templates(&fake, &store).await;
    templates.refresh().await.unwrap();
    assert!(templates.refresh().await.is_err());
    assert_eq!(id(&templates.find("a", "en")), Some("1"));
}

#[tokio::test]
async fn who_does_not_wait_leaves_the_fetch_to_the_others() {
    let slow = |_, _: &Seen| {
        Reaction::After(
            Duration::from_millis(600),
            Box::new(list(&[("a", "en", "1")])),
        )
    };
    let fake = Fake::start(slow).await;
    let (_dir, store) = testing::store();
    let templates = templates(&fake, &store).await;
    let short = Duration::from_millis(20);
    assert_eq!(
        templates.resolve_or_refetch("a", "en", short).await,
        Lookup::Unknown
    );
    assert_eq!(
        id(&templates.resolve_or_refetch("a", "en", WAIT).await),
        Some("1")
    );
    assert_eq!(fake.calls(), 1);
}

#[tokio::test]
async fn the_timer_fetches_at_once_and_stops() {
    let fake = Fake::start(|_, _| list(&[("a", "en", "1")])).await;
    let (_dir, store) = testing::store();
    let templates = templates(&fake, &store).await;
    let shutdown = CancellationToken::new();
    let maintenance = tokio::spawn({
        let (templates, shutdown) = (templates.clone(), shutdown.clone());
        async move {
            templates
                .keep_fresh(Duration::from_millis(20), shutdown)
                .await
        }
    });
    tokio::time::timeout(WAIT, async {
        while fake.calls() < 3 {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
    shutdown.cancel();
    maintenance.await.unwrap();
}

/// B-13: details were taken from the first variant. B-21: every message asked for them.
#[tokio::test]
async fn a_detail_is_fetched_once_a_variant_and_list() {
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = asked.clone();
    let fake = Fake::start(move |_, seen| {
        if seen.line.contains("templates?") {
            return list(&[("a", "en", "1"), ("a", "de", "2")]);
        }
        counter.fetch_add(1, Ordering::SeqCst);
        let slow = detail(if seen.line.ends_with("id=1") { 1 } else { 2 });
        Reaction::After(Duration::from_millis(30), Box::new(slow))
    })
    .await;
    let (_dir, store) = testing::store();
    let templates = templates(&fake, &store).await;
    templates.refresh().await.unwrap();
    let variant = |language| match templates.find("a", language) {
        Lookup::Found(variant) => variant,
        other => panic!("{other:?}"),
    };
    let (en, de) = (variant("en"), variant("de"));
    assert_eq!(templates.known_detail(&en), None);
    let all = (0..10).map(|_| {
        tokio::spawn({
            let (templates, en) = (templates.clone(), en.clone());
            async move { templates.detail(&en).await }
        })
    });
    for one in all.collect::<Vec<_>>() {
        assert_eq!(one.await.unwrap().unwrap().body_values, Some(1));
    }
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    assert_eq!(templates.detail(&de).await.unwrap().body_values, Some(2));
    assert_eq!(asked.load(Ordering::SeqCst), 2);

    templates.refresh().await.unwrap();
    assert!(
        templates.known_detail(&en).is_some(),
        "known until something newer is"
    );
    templates.detail(&en).await.unwrap();
    templates.detail(&en).await.unwrap();
    assert_eq!(asked.load(Ordering::SeqCst), 3);
    assert_eq!(lists(&fake.seen()), 2);
}

#[tokio::test]
async fn a_detail_that_cannot_be_had_is_unknown_and_not_asked_for_again_at_once() {
    let fake = Fake::start(|_, seen| {
        if seen.line.contains("templates?") {
            list(&[("a", "en", "1")])
        } else {
            down()
        }
    })
    .await;
    let (_dir, store) = testing::store();
    let templates = templates(&fake, &store).await;
    templates.refresh().await.unwrap();
    let Lookup::Found(variant) = templates.find("a", "en") else {
        panic!()
    };
    for _ in 0..5 {
        assert_eq!(templates.detail(&variant).await, None);
    }
    assert_eq!(fake.calls(), 2);
}

/// B-22: an edited template was refused under its old id until the process was started again.
#[tokio::test]
async fn a_refusal_of_an_edited_template_finds_its_new_id() {
    let fake = Fake::start(|_, _| list(&[("a", "en", "2")])).await;
    let (_dir, store) = testing::store();
    let variant = Variant {
        name: "a".into(),
        language: "en".into(),
        id: "1".into(),
        is_marketing: false,
    };
    let old = CachedTemplates {
        fetched_at: crate::clock::now().minus(Duration::from_secs(60)),
        variants: vec![variant],
    };
    store.save_templates(&id_of_account(), &old).await.unwrap();
    let templates = templates(&fake, &store).await;
    templates.load().await.unwrap();
    assert!(templates.has_moved("a", "en", "1", WAIT).await);
    assert_eq!(id(&templates.find("a", "en")), Some("2"));
    // A refusal under the new id is about something else, and a young list is believed.
    assert!(!templates.has_moved("a", "en", "2", WAIT).await);
    assert_eq!(fake.calls(), 1);
}

/// one list that lost templates failed everything that was queued for them.
#[tokio::test]
async fn r_07_a_list_that_lost_templates_is_followed_by_another_half_a_minute_later() {
    let fake = Fake::start(|number, _| match number {
        0 => list(&[("a", "en", "1"), ("b", "en", "2")]),
        _ => list(&[("a", "en", "1")]),
    })
    .await;
    let (_dir, store) = testing::store();
    let templates = templates(&fake, &store).await;
    let stop = CancellationToken::new();
    let maintenance = tokio::spawn({
        let (templates, stop) = (templates.clone(), stop.clone());
        async move { templates.keep_fresh(Duration::from_secs(3_600), stop).await }
    });
    while fake.calls() == 0 || templates.has_list().is_none() {
        tokio::task::yield_now().await;
    }
    // Somebody asks, and gets the shrunken list.
    templates.refresh().await.unwrap();
    assert_eq!(templates.find("b", "en"), Lookup::Unknown);
    assert_eq!(templates.find("never", "en"), Lookup::Unknown);
    assert!(!templates.has_moved("b", "en", "2", WAIT).await);
    let known = store.load_templates(&id_of_account()).await;
    assert_eq!(known.unwrap().unwrap().variants.len(), 2);
    assert_eq!(fake.calls(), 2);
    tokio::time::pause();
    tokio::time::advance(LEAST_GAP).await;
    tokio::time::resume();
    while templates.find("b", "en") != Lookup::Missing {
        tokio::task::yield_now().await;
    }
    assert_eq!(fake.calls(), 3, "the task asked by itself");
    assert_eq!(templates.find("never", "en"), Lookup::Missing);
    assert!(templates.has_moved("b", "en", "2", WAIT).await);
    stop.cancel();
    maintenance.await.unwrap();
}

#[tokio::test]
async fn r_07_a_start_with_a_stored_list_is_not_fooled_by_an_empty_first_one() {
    let fake = Fake::start(|_, _| list(&[])).await;
    let (_dir, store) = testing::store();
    let kept = CachedTemplates {
        fetched_at: now(),
        variants: vec![Variant {
            name: "a".into(),
            language: "en".into(),
            id: "1".into(),
            is_marketing: false,
        }],
    };
    store.save_templates(&id_of_account(), &kept).await.unwrap();
    for _ in 0..2 {
        let templates = templates(&fake, &store).await;
        templates.load().await.unwrap();
        assert_eq!(id(&templates.find("a", "en")), Some("1"));
        templates.refresh().await.unwrap();
        assert_eq!(templates.find("a", "en"), Lookup::Unknown);
        assert_eq!(templates.find("never", "en"), Lookup::Unknown);
    }
}

#[tokio::test]
async fn r_07_a_detail_that_tells_nothing_takes_nothing_away() {
    let fake = Fake::start(|number, _| match number {
        0 | 2 => list(&[("a", "en", "1")]),
        1 => detail(2),
        _ => Reaction::Json(200, json!({ "success": true, "data": {} })),
    })
    .await;
    let (_dir, templates, variant) = listed(&fake).await;
    let before = templates.detail(&variant).await.unwrap();
    assert_eq!(before.body_values, Some(2));
    templates.refresh().await.unwrap();
    assert_eq!(templates.detail(&variant).await, Some(before.clone()));
    assert_eq!(fake.calls(), 4);
    // It may have changed since: nothing is refused because of it, and it is asked for again.
    assert_eq!(templates.current_detail(&variant), None);
    wait(LEAST_GAP).await;
    assert_eq!(templates.detail(&variant).await, Some(before));
    assert_eq!(fake.calls(), 5);
}

/// So much time passes at once.
async fn wait(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

#[tokio::test]
async fn r_27_details_that_never_tell_anything_take_little_of_the_rate() {
    let fake = Fake::start(|number, _| match number {
        0 => list(&[("a", "en", "1")]),
        _ => Reaction::Json(200, json!({ "success": true, "data": {} })),
    })
    .await;
    let (_dir, templates, variant) = listed(&fake).await;
    for _ in 0..120 {
        assert_eq!(templates.detail(&variant).await, None);
        wait(LEAST_GAP).await;
    }
    // At 0, 30, 90, 210 and 450 s, then every five minutes of the hour.
    assert_eq!(fake.calls(), 1 + 5 + 10);
}

#[tokio::test]
async fn r_27_a_detail_that_tells_nothing_is_asked_for_again_before_the_next_list() {
    let fake = Fake::start(|number, _| match number {
        0 => list(&[("a", "en", "1")]),
        1 => Reaction::Json(200, json!({ "success": true, "data": null })),
        _ => detail(2),
    })
    .await;
    let (_dir, templates, variant) = listed(&fake).await;
    for _ in 0..2 {
        assert_eq!(templates.detail(&variant).await, None);
    }
    assert_eq!(fake.calls(), 2, "not at once");
    wait(LEAST_GAP).await;
    let detail = templates.detail(&variant).await.unwrap();
    assert_eq!(detail.body_values, Some(2));
    assert_eq!(templates.current_detail(&variant), Some(detail));
}
