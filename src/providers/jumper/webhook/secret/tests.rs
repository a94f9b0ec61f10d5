//! How an address takes the place of another one, over restarts, processes and half-written changes.

use super::*;
use crate::store::testing;
use secrecy::ExposeSecret;
use tempfile::TempDir;

fn outbox() -> (TempDir, store::Outbox) {
    let (dir, store) = testing::store();
    (dir, store::Outbox::Embedded(store))
}

async fn load(store: &store::Outbox, wanted: Wanted) -> Webhook {
    let channel = ChannelId::parse("a").unwrap();
    Webhook::load(channel, wanted, store.clone()).await.unwrap()
}

fn with(secret: &str) -> Wanted {
    Wanted {
        secrets: vec![secret.into()],
        ..Wanted::default()
    }
}

fn open() -> Wanted {
    Wanted {
        open: true,
        ..Wanted::default()
    }
}

fn opens(webhook: &Webhook, secret: &SecretString) -> bool {
    webhook.admit(Some(secret.expose_secret())).is_ok()
}

/// Jumper repeats nothing: what it still posts to must be served.
#[tokio::test]
async fn r_68_while_a_change_is_half_written_nothing_ends_the_secret_that_jumper_has() {
    let (_dir, store) = outbox();
    let webhook = load(&store, Wanted::default()).await;
    let old = webhook.secret().unwrap();
    let before = Address::With(old.clone());
    webhook.save_before(Some(&before), None).await.unwrap();
    webhook.confirmed(Some(&old), false).await.unwrap();
    let new = SecretString::from("a-secret-made-later");
    let text = Some(new.expose_secret().to_owned());
    store.save_setting("webhook_secret:a", text).await.unwrap();
    webhook.look().await.unwrap();
    assert!(webhook.is_current(Some(&new)));
    assert!(webhook.awaits_confirmation() && opens(&webhook, &old));
}

#[tokio::test]
async fn r_68_what_was_found_of_an_address_that_changed_meanwhile_counts_for_nothing() {
    let (_dir, store) = outbox();
    let one = load(&store, Wanted::default()).await;
    let other = load(&store, Wanted::default()).await;
    let old = other.secret().unwrap();
    assert!(one.rotate().await.unwrap());
    // It had asked Jumper with the old one; a post with it was under way.
    other.confirmed(Some(&old), true).await.unwrap();
    assert!(!other.is_current(Some(&old)), "it has to register again");
    for webhook in [&one, &other] {
        assert!(webhook.awaits_confirmation() && opens(webhook, &old));
    }
}

#[tokio::test]
async fn r_68_changed_twice_before_jumper_knew_the_address_that_it_uses_stays() {
    let (_dir, store) = outbox();
    let upgraded = Wanted {
        was_open: true,
        ..Wanted::default()
    };
    let webhook = load(&store, upgraded).await;
    assert!(webhook.rotate().await.unwrap());
    assert_eq!(webhook.is_open(), Open::ForNow);
    let secret = webhook.secret();
    webhook.confirmed(secret.as_ref(), true).await.unwrap();
    assert_eq!(webhook.is_open(), Open::No);
    assert!(webhook.rotate().await.unwrap() && webhook.rotate().await.unwrap());
    assert!(opens(&webhook, &secret.unwrap()));
}

#[tokio::test]
async fn r_68_what_the_configuration_replaces_is_served_until_the_new_address_is_known() {
    let (_dir, store) = outbox();
    let made = load(&store, Wanted::default()).await.secret().unwrap();
    let steps = [
        (with("configured-secret-1"), Some(made)),
        (
            with("configured-secret-2"),
            Some("configured-secret-1".into()),
        ),
        (open(), Some("configured-secret-2".into())),
        (with("configured-secret-3"), None),
        (Wanted::default(), Some("configured-secret-3".into())),
    ];
    for (wanted, before) in steps {
        let webhook = load(&store, wanted).await;
        let before = before.as_ref().map(ExposeSecret::expose_secret);
        assert!(webhook.admit(before).is_ok(), "{before:?}");
        // It is known, and a restart ends nothing more.
        let now = webhook.secret();
        webhook.confirmed(now.as_ref(), true).await.unwrap();
        let refused = webhook.admit(before) != Ok(Caller::OfBefore);
        assert!(refused, "{before:?} after the confirmation");
    }
}

#[tokio::test]
async fn r_68_a_time_that_a_leapt_clock_wrote_opens_nothing() {
    let (_dir, store) = outbox();
    let webhook = load(&store, Wanted::default()).await;
    let year = clock::now().plus(Duration::from_secs(365 * 86_400));
    let saved = webhook.save_before(Some(&Address::Open), Some(year));
    saved.await.unwrap();
    webhook.look().await.unwrap();
    assert_eq!(webhook.is_open(), Open::No);
}

#[tokio::test]
async fn r_68_a_secret_that_the_store_lost_is_put_back() {
    let (_dir, store) = outbox();
    let webhook = load(&store, Wanted::default()).await;
    let secret = webhook.secret();
    store.save_setting("webhook_secret:a", None).await.unwrap();
    webhook.look().await.unwrap();
    assert!(webhook.is_current(secret.as_ref()));
    let kept = store.load_setting("webhook_secret:a").await.unwrap();
    let expected = secret.as_ref().map(ExposeSecret::expose_secret);
    assert_eq!(kept.as_deref(), expected);
}
