//! A pair that the store does not take outlives the process (cases R-64).

use super::*;
use std::path::Path;

const FILE: &str = "pair-default";

/// A server that takes the seed, and breaks the store before it answers.
async fn breaking(dir: &Path) -> Fake {
    let dir = dir.to_owned();
    let first = std::sync::Once::new();
    let react = move |number, seen: &Seen| {
        first.call_once(|| break_kept(&dir));
        rotating(number, seen)
    };
    Fake::start(react).await
}

async fn begin(fake: &Fake, store: &store::Tokens, seed: Option<&str>, dir: &Path) -> Tokens {
    started_beside(fake, store, (seed, None), Aside::of(dir)).await
}

/// A process that got a pair which the store did not take, and that is gone.
async fn gone(fake: &Fake, store: &store::Tokens, dir: &Path) {
    let tokens = begin(fake, store, Some("seed"), dir).await;
    assert_eq!(bearer(&tokens.access().await.unwrap()), "Bearer access-0");
    assert_eq!(stored(store).await.refresh.expose_secret(), "seed");
}

async fn goes_on_with(tokens: &Tokens, access: &str) {
    let held = tokens.access().await.unwrap();
    assert_eq!(bearer(&held), format!("Bearer {access}"));
}

#[tokio::test]
async fn r_64_a_pair_that_could_not_be_stored_outlives_the_process() {
    let (dir, store) = stores();
    let fake = breaking(dir.path()).await;
    gone(&fake, &store, dir.path()).await;
    assert!(dir.path().join(FILE).exists());
    // The next one can store it no more than the last.
    let tokens = begin(&fake, &store, Some("seed"), dir.path()).await;
    goes_on_with(&tokens, "access-0").await;
    tokens.maintain().await;
    assert!(dir.path().join(FILE).exists());
    drop(tokens);
    mend_kept(dir.path());
    let tokens = begin(&fake, &store, None, dir.path()).await;
    goes_on_with(&tokens, "access-0").await;
    assert_eq!(stored(&store).await.refresh.expose_secret(), "refresh-0");
    assert!(!dir.path().join(FILE).exists());
    assert_eq!(fake.calls(), 1);
    tokens.refresh_now().await.unwrap();
    goes_on_with(&tokens, "access-1").await;
}

#[tokio::test]
async fn r_64_what_is_stored_at_last_is_put_by_no_more() {
    let (dir, store) = stores();
    let fake = breaking(dir.path()).await;
    let tokens = begin(&fake, &store, Some("seed"), dir.path()).await;
    goes_on_with(&tokens, "access-0").await;
    assert!(dir.path().join(FILE).exists());
    mend_kept(dir.path());
    // What ends in order tries once more.
    let stop = CancellationToken::new();
    stop.cancel();
    tokens.keep_fresh(stop).await;
    assert_eq!(stored(&store).await.refresh.expose_secret(), "refresh-0");
    assert!(!dir.path().join(FILE).exists());
}

#[tokio::test]
async fn r_64_it_is_not_used_over_a_newer_one() {
    let (dir, store) = stores();
    let fake = breaking(dir.path()).await;
    gone(&fake, &store, dir.path()).await;
    mend_kept(dir.path());
    let newer = StoredToken {
        access: Some("access-newer".into()),
        refresh: "refresh-newer".into(),
        fence: 2,
        ..with_life(0, 1000)
    };
    assert!(store.save(&account(), &newer).await.unwrap());
    let tokens = begin(&fake, &store, None, dir.path()).await;
    goes_on_with(&tokens, "access-newer").await;
    let kept = stored(&store).await;
    assert_eq!(kept.refresh.expose_secret(), "refresh-newer");
    assert_eq!(kept.fence, 2);
    assert!(!dir.path().join(FILE).exists());
}

#[tokio::test]
async fn r_64_a_store_that_lost_all_gets_it() {
    let (dir, store) = stores();
    let fake = breaking(dir.path()).await;
    gone(&fake, &store, dir.path()).await;
    let (_other, empty) = stores();
    // The seed was used up.
    let tokens = begin(&fake, &empty, Some("seed"), dir.path()).await;
    goes_on_with(&tokens, "access-0").await;
    assert_eq!(stored(&empty).await.refresh.expose_secret(), "refresh-0");
    assert_eq!(fake.calls(), 1);
}

#[tokio::test]
async fn r_64_it_is_put_by_as_soon_as_the_folder_can_be_written() {
    let (dir, store) = stores();
    let fake = breaking(dir.path()).await;
    let data = dir.path().join("data");
    std::fs::write(&data, "in the way").unwrap();
    let tokens = begin(&fake, &store, Some("seed"), &data).await;
    goes_on_with(&tokens, "access-0").await;
    std::fs::remove_file(&data).unwrap();
    tokens.maintain().await;
    assert!(data.join(FILE).exists());
}

#[tokio::test]
async fn r_64_a_damaged_file_stops_nothing_and_is_kept_for_a_person() {
    let (dir, store) = stores();
    let fake = Fake::start(rotating).await;
    std::fs::write(dir.path().join(FILE), "{").unwrap();
    let tokens = begin(&fake, &store, Some("seed"), dir.path()).await;
    goes_on_with(&tokens, "access-0").await;
    assert!(!dir.path().join(FILE).exists());
    let kept = std::fs::read_to_string(dir.path().join("pair-default.damaged"));
    assert_eq!(kept.unwrap(), "{");
}

/// As of a stored pair that lives: the seed of the configuration is tried before it is buried.
#[tokio::test]
async fn r_64_a_new_seed_waits_until_the_pair_is_of_no_use() {
    let (dir, store) = stores();
    let fake = breaking(dir.path()).await;
    gone(&fake, &store, dir.path()).await;
    mend_kept(dir.path());
    // Another replica tried the old one.
    let dead = StoredToken {
        dead: Some("refused".into()),
        fence: 2,
        ..stored(&store).await
    };
    assert!(store.save(&account(), &dead).await.unwrap());
    let takes_the_new = |number, seen: &Seen| match seen.body.ends_with("refresh_token=new") {
        true => pair(number + 7),
        false => refused(),
    };
    let fake = Fake::start(takes_the_new).await;
    let tokens = begin(&fake, &store, Some("new"), dir.path()).await;
    goes_on_with(&tokens, "access-0").await;
    let kept = stored(&store).await;
    assert_eq!((kept.fence, kept.dead), (3, None));
    assert_eq!(fake.calls(), 0);
    tokens.refresh_now().await.unwrap();
    goes_on_with(&tokens, "access-8").await;
}
