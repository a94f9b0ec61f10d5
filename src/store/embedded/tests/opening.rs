//! Opening, closing, opening again.

use super::*;
use crate::store::StoreError;
use crate::store::embedded::{Settings, Store};

#[tokio::test]
async fn at_start_what_was_being_sent_is_unknown_for_its_own_account_only() {
    let rig = Rig::new();
    rig.attempt("m1", 1, 0).await;
    rig.attempt("m2", 2, 0).await;
    let rig = rig.reopened();
    assert_eq!(rig.ledger().await.attempting, 2);
    let other = AccountId::parse("other").unwrap();
    let recover = async |account| rig.store.recover(&account, at(605), at(5)).await.unwrap();
    assert_eq!(recover(other).await, 0);
    assert_eq!(recover(account()).await, 2);
    assert_eq!(recover(account()).await, 0);
    rig.check().await;
}

/// Nobody else keeps them in mind, so a start is the time to try again.
#[tokio::test]
async fn at_start_every_callback_is_due_at_once() {
    let rig = Rig::new();
    rig.sent("m1", 1, "P1", 0).await;
    rig.event("P1", Status::Sent, None, 1).await;
    let queue = lane("a", Destination::Status);
    let handle = rig.callbacks(&queue, 5).await[0].handle;
    let later = RelayOutcome::Later { due: at(9_000) };
    rig.end(&queue, handle, later, 5).await;
    let rig = rig.reopened();
    let due = rig.callbacks(&queue, 6).await;
    assert_eq!((due.len(), due[0].tries), (1, 1));
}

/// A caller that gives up does not take back what it asked for; and nothing is written behind the
/// back of the next owner of the directory.
#[tokio::test]
async fn the_directory_is_free_only_after_the_last_write() {
    let (dir, store) = testing::store();
    let beside = testing::beside(dir.path());
    beside.execute_batch("BEGIN IMMEDIATE").unwrap();
    let (channel, account, message) = (channel("a"), account(), message("m1", 1));
    let accept = store.accept(&channel, &account, &message, at(0));
    assert!(tokio::time::timeout(Duration::ZERO, accept).await.is_err());
    let closing = std::thread::spawn(move || drop(store));
    // As long as the write waits for the file, nobody else gets the directory.
    for _ in 0..2000 {
        let error = Store::open(&testing::settings(dir.path())).unwrap_err();
        assert!(matches!(error, StoreError::InUse(_)), "{error:?}");
    }
    beside.execute_batch("ROLLBACK").unwrap();
    closing.join().unwrap();
    let rig = Rig::over(testing::open(dir.path()), Arc::new(dir));
    assert_eq!(rig.ledger().await.accepted, 1);
    rig.check().await;
}

/// Whoever reads the error must not see what could not be read.
#[tokio::test]
async fn damaged_tokens_are_told_without_the_tokens() {
    let rig = Rig::new();
    let damage = "INSERT INTO kept VALUES ('token:acc', '{\"refresh\":\"secret\"}')";
    testing::beside(rig.dir.path()).execute(damage, []).unwrap();
    let error = rig.store.load_token(&account()).await.unwrap_err();
    assert!(matches!(error, StoreError::Unreadable(_)));
    assert!(!format!("{error} {error:?}").contains("secret"));
}

#[tokio::test]
async fn a_second_owner_of_the_directory_is_refused() {
    let rig = Rig::new();
    let error = Store::open(&testing::settings(rig.dir.path())).unwrap_err();
    let StoreError::InUse(text) = &error else {
        panic!("{error:?}")
    };
    for part in [
        "another gateway",
        "DATA_DIR",
        &std::process::id().to_string(),
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    rig.accept("m1", 1, 0).await;
    rig.reopened();
}

#[test]
fn a_file_of_a_newer_program_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    drop(testing::open(dir.path()));
    let beside = testing::beside(dir.path());
    beside.execute_batch("PRAGMA user_version = 999").unwrap();
    let error = Store::open(&testing::settings(dir.path())).unwrap_err();
    assert!(matches!(error, StoreError::Unreadable(_)), "{error:?}");
    let text = error.to_string();
    assert!(text.contains("999") && text.contains("upgrade"), "{text}");
    let own = format!(
        "PRAGMA user_version = {}",
        crate::store::embedded::schema::LAYOUT
    );
    beside.execute_batch(&own).unwrap();
    testing::open(dir.path());
}

#[test]
fn a_directory_that_cannot_be_made_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    let error = Store::open(&testing::settings(&file)).unwrap_err();
    assert!(error.to_string().contains("file"), "{error}");
}

#[test]
fn nobody_else_may_read_the_file() {
    use std::os::unix::fs::PermissionsExt;
    let mode = |path: &std::path::Path| path.metadata().unwrap().permissions().mode() & 0o777;
    let place = tempfile::tempdir().unwrap();
    let dir = place.path().join("made/for/it");
    std::fs::create_dir_all(dir.parent().unwrap()).unwrap();
    for round in 0..2 {
        let store = Store::open(&testing::settings(&dir)).unwrap();
        assert_eq!(mode(&dir), 0o700);
        let files = std::fs::read_dir(&dir).unwrap();
        let files: Vec<_> = files.map(|file| file.unwrap().path()).collect();
        assert!(files.len() >= 3, "{files:?}");
        for file in &files {
            assert_eq!(mode(file), 0o600, "{file:?} in round {round}");
        }
        drop(store);
        // Whoever changed it: the next start sets it right.
        let file = dir.join("gateway.db");
        std::fs::set_permissions(file, PermissionsExt::from_mode(0o644)).unwrap();
    }
}

/// New messages are refused, those that are here are sent and can end (design.md section 6).
#[tokio::test]
async fn r_39_a_nearly_full_disk_refuses_new_messages_only() {
    let rig = Rig::new();
    let claimed = rig.attempt("m1", 1, 0).await;
    rig.lost("m2", 2, 0, 600).await;
    rig.accept("m3", 3, 0).await;
    let dir = rig.closed();
    let settings = Settings {
        min_free: u64::MAX,
        ..testing::settings(dir.path())
    };
    let rig = Rig::over(Store::open(&settings).unwrap(), dir);
    let low = |error: StoreError| {
        let text = error.to_string();
        assert!(text.contains("store.min_free"), "what to do: {text}");
        matches!(
            error,
            StoreError::DiskLow {
                needed: u64::MAX,
                ..
            }
        )
    };
    let again = message("m4", 4);
    let (name, account) = (channel("a"), account());
    let accepted = rig.store.accept(&name, &account, &again, at(1));
    assert!(low(accepted.await.unwrap_err()));
    assert!(low(rig.store.writable().await.unwrap_err()));
    assert!(low(rig.store.has_room().unwrap_err()));
    rig.settle(&claimed, receipt("P1"), 1).await;
    assert_eq!(rig.event("P1", Status::Sent, None, 2).await.emitted, 1);
    let claimed = rig.claim(2).await;
    assert_eq!(claimed[0].message.msg_id.as_str(), "m3");
    rig.settle(&claimed[0], receipt("P3"), 3).await;
    assert_eq!(rig.sweep(false, 600).await.failed.len(), 1);
    assert_eq!(rig.statuses(600).await, ["m1 sent", "m2 failed"]);
    rig.check().await;
}

/// What strangers can make up does not fill it (cases R-67).
#[tokio::test]
async fn r_67_a_nearly_full_disk_keeps_few_events_that_match_nothing() {
    let rig = Rig::new();
    let claimed = rig.attempt("m1", 1, 0).await;
    let dir = rig.closed();
    let settings = Settings {
        min_free: u64::MAX,
        ..testing::settings(dir.path())
    };
    let rig = Rig::over(Store::open(&settings).unwrap(), dir);
    assert_eq!(rig.event("P1", Status::Sent, None, 1).await.unmatched, 1);
    let made_up = |n| event(&format!("none-{n}"), Status::Sent, Some(2));
    let folded = rig.events((0..3000).map(made_up).collect(), 2).await;
    assert_eq!((folded.unmatched, folded.no_room), (999, 2001));
    let other = Incoming::Other {
        kind: "media",
        raw: "{}".into(),
        times: 1,
    };
    assert_eq!(rig.events(vec![other], 2).await.crowded_out, 1);
    // What is true still counts.
    assert_eq!(rig.settle(&claimed, receipt("P1"), 3).await.emitted, 1);
    assert_eq!(rig.event("P1", Status::Read, None, 4).await.emitted, 1);
    rig.check().await;
}

/// Retention does not make the file smaller: what it gives back is used again.
#[tokio::test]
async fn r_39_what_retention_removes_is_room_for_new_messages() {
    let rig = Rig::new();
    let reusable = || rig.store.shared.disk.reusable();
    let before = reusable();
    rows::fill(&testing::beside(rig.dir.path()), 2000);
    rig.store.purge(at(DAY), at(DAY)).await.unwrap();
    let after = reusable();
    assert!(after > before, "{before}, then {after}");
    let rig = rig.reopened();
    assert_eq!(rig.store.shared.disk.reusable(), after);
}

#[tokio::test]
async fn a_store_that_cannot_write_says_so_and_heals() {
    let rig = Rig::new();
    rig.store.writable().await.unwrap();
    testing::break_kept(rig.dir.path());
    let save = || rig.store.save_setting("paused:a", Some("yes".into()));
    assert!(save().await.is_err());
    assert!(rig.store.writable().await.is_err(), "it tries, and fails");
    // A transaction that changes nothing goes well even then.
    let queue = lane("a", Destination::Status);
    let nothing = rig.store.settle_callbacks(&queue, Vec::new(), at(0));
    nothing.await.unwrap();
    assert!(rig.store.writable().await.is_err(), "that proved nothing");
    testing::mend_kept(rig.dir.path());
    rig.store.writable().await.unwrap();
    save().await.unwrap();
}

/// A piece of work that panics is a defect, but no reason to call a dead writer well.
#[tokio::test]
async fn a_panic_harms_its_own_piece_only() {
    let rig = Rig::new();
    let fell = rig
        .store
        .write(|_| -> rusqlite::Result<()> { panic!("a defect") });
    assert!(fell.await.is_err());
    assert_eq!(rig.accept("m1", 1, 0).await, Accepted::Stored);
    rig.store.writable().await.unwrap();
    rig.check().await;
}
