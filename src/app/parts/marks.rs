//! Marks: how far the store had come, as files in the data directory and Datastore have it. Read before any work is
//! handed out, and kept while the gateway runs.

use crate::alert::{self, Code};
use crate::app::supervisor::Supervisor;
use crate::clock;
use crate::config::{Config, Datastore};
use crate::domain::AccountId;
use crate::records;
use crate::store::{Aside, Mark, Marked, NO_MARK, Outbox};
use crate::{maintenance, outbox};
use std::time::Duration;
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::timeout;

/// How long a disk or Datastore is waited for at start.
const PATIENCE: Duration = Duration::from_secs(5);

const SLOW: &str = "no answer in time";
/// A file that shows whether others can be written.
const PROBE: &str = "mark-probe";

/// Where marks are kept, and of whom.
pub(in crate::app) struct Marks {
    pub(in crate::app) aside: Aside,
    pub(in crate::app) datastore: Option<records::Marks>,
    pub(in crate::app) of: Vec<Marked>,
}

impl Marks {
    /// Tells the store how far it had come. Before it hands out work; on Redis before the first renewal.
    pub(super) async fn remember(config: &Config, outbox: &Outbox) -> anyhow::Result<Self> {
        let settings = config.datastore.as_ref().and_then(Datastore::settings);
        let datastore = settings.map(|settings| records::Marks::new(&settings));
        let mut marks = Self {
            aside: Aside::of(&config.store.data_dir),
            datastore: datastore.transpose()?,
            of: Vec::new(),
        };
        let mut found = Vec::new();
        for account in &config.accounts {
            found.push(in_file(&account.id, marks.aside.clone()).await);
        }
        // A mark in Datastore may be of another gateway's store, so only a file names the store.
        let of_files = found.iter().flatten().next();
        let (id, was_there) = outbox.id(of_files.map(|mark| mark.store.as_str())).await?;
        let mut all = JoinSet::new();
        for (account, found) in config.accounts.iter().zip(found) {
            let channels = config.channels.iter();
            let of_account = channels.filter(|one| one.account == account.id);
            let of = Marked {
                account: account.id.clone(),
                channels: of_account.map(|channel| channel.id.clone()).collect(),
                store: id.clone(),
            };
            tell_of_another(&of, found.as_ref(), was_there);
            let datastore = marks.datastore.clone();
            all.spawn(async move { (found, in_datastore(&of, datastore).await, of) });
        }
        for (file, datastore, of) in all.join_all().await {
            let mut then = Mark {
                store: id.clone(),
                ..Mark::default()
            };
            for mark in file.iter().chain(&datastore) {
                then.learn(mark);
            }
            outbox.remember(&of, &then.steps, clock::now()).await?;
            marks.of.push(of);
        }
        if !config.hold {
            marks.tell(outbox.is_shared()).await;
        }
        Ok(marks)
    }

    /// Keeps them while the gateway runs.
    pub(in crate::app) fn keep(&self, outbox: &outbox::Outbox, supervisor: &Supervisor) {
        let stop = || supervisor.stop.child_token();
        let files =
            maintenance::keep_marks(outbox.clone(), self.aside.clone(), self.of.clone(), stop());
        supervisor.spawn("marks", files);
        for (marks, of) in self
            .datastore
            .iter()
            .flat_map(|one| self.of.iter().map(move |of| (one, of)))
        {
            let kept = marks.clone().keep(outbox.clone(), of.clone(), stop());
            supervisor.spawn("mark in Datastore", kept);
        }
    }

    /// What notices an older state of the store.
    async fn tell(&self, is_shared: bool) {
        let aside = self.aside.clone();
        let tried = spawn_blocking(move || {
            aside.write(PROBE, "")?;
            aside.remove(PROBE)
        });
        let tried = timeout(PATIENCE, tried).await;
        let in_files = matches!(tried, Ok(Ok(Ok(()))));
        tracing::info!(
            event = "marks_found",
            "{}",
            words(is_shared, in_files, self.datastore.is_some())
        );
    }
}

/// The mark of an account in the data directory, if it can be read.
async fn in_file(account: &AccountId, aside: Aside) -> Option<Mark> {
    let of = account.clone();
    let read = timeout(PATIENCE, spawn_blocking(move || aside.read_mark(&of))).await;
    let error = match read {
        Ok(Ok(Ok(mark))) => return mark,
        Ok(Ok(Err(error))) => error.to_string(),
        Ok(Err(error)) => error.to_string(),
        Err(_) => SLOW.to_owned(),
    };
    tracing::warn!(%account, error,
        event = "mark_unreadable",
        "the mark of the store in DATA_DIR cannot be read; the gateway writes it anew, and does not notice by it that \
         an older copy of the store was put back");
    None
}

/// The same in Datastore.
async fn in_datastore(of: &Marked, marks: Option<records::Marks>) -> Option<Mark> {
    let error = match timeout(PATIENCE, marks?.read(of)).await {
        Ok(Ok(mark)) => return mark,
        Ok(Err(error)) => error.with_advice(),
        Err(_) => SLOW.to_owned(),
    };
    tracing::warn!(account = %of.account, error,
        event = "datastore_mark_unreadable",
        "the mark of the store in Datastore cannot be read; the gateway starts without it, and does not notice by it \
         that an older copy of the store was put back");
    None
}

/// A store that is new, or another one, did not go back: what waits there is sent.
fn tell_of_another(of: &Marked, found: Option<&Mark>, was_there: bool) {
    let subject = format!("account {}", of.account);
    if was_there && found.is_some_and(|mark| mark.store != of.store) {
        alert::raise(
            Code::StoreIsAnother,
            &subject,
            "the mark outside of the store is of another store. The gateway takes this one as it is, and sends what \
             waits in it. If you meant the other one, stop the gateway, and put its address or its folder right.",
        );
    } else if !was_there && found.is_some() {
        alert::raise(
            Code::StoreIsAnother,
            &subject,
            "the store is empty, or a copy from before its first mark, and a mark outside of it says more. The gateway \
             sends what comes from now on, and holds what waits there and may have been sent. If you did not empty \
             the store, look where its data are: waiting messages, tokens and opt-outs are among them.",
        );
    }
}

/// What notices it when an older copy of the store is put back, and what does not.
pub(crate) fn words(is_shared: bool, in_files: bool, in_datastore: bool) -> &'static str {
    match (is_shared, in_files, in_datastore) {
        (_, _, true) => {
            "a mark in Datastore says how far the store came: after an older copy of it was put back, the next start \
             holds what waits in it"
        }
        (true, true, false) => {
            "a mark in DATA_DIR says how far Redis came: after an older copy of Redis was put back, the next start \
             with this DATA_DIR holds what waits in it"
        }
        (false, true, false) => {
            "a mark in DATA_DIR says how far gateway.db came: an older gateway.db beside it is noticed. If you put \
             back the whole directory while no gateway runs, start the first one with `gateway serve --hold`"
        }
        (_, false, false) => NO_MARK,
    }
}
