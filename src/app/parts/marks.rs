//! Marks: how far the store had come, as files in the data directory and Datastore have it. Read before any work is
//! handed out, and kept while the gateway runs.

use crate::alert::{self, Code};
use crate::app::crew::Crew;
use crate::archive;
use crate::clock;
use crate::config::Config;
use crate::store::{Aside, Mark, Marked, NO_MARK, Outbox};
use crate::{keeper, outbox};
use std::io;
use std::time::Duration;
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::timeout;

/// How long Datastore is waited for at start.
const PATIENCE: Duration = Duration::from_secs(5);

/// A file that shows whether others can be written.
const PROBE: &str = "mark-probe";

/// Where marks are kept, and of whom.
pub(in crate::app) struct Marks {
    pub(in crate::app) aside: Aside,
    pub(in crate::app) datastore: Option<archive::Marks>,
    pub(in crate::app) of: Vec<Marked>,
}

impl Marks {
    /// Tells the store how far it had come. Before it hands out work; on Redis before the first renewal.
    pub(super) async fn remember(config: &Config, outbox: &Outbox) -> anyhow::Result<Self> {
        let datastore = config.datastore.as_ref();
        let datastore = datastore.map(|one| archive::Marks::new(&one.settings()));
        let mut marks = Self {
            aside: Aside::of(&config.store.data_dir),
            datastore: datastore.transpose()?,
            of: Vec::new(),
        };
        let mut all = JoinSet::new();
        for account in &config.accounts {
            let of_account = config
                .channels
                .iter()
                .filter(|one| one.account == account.id);
            let of = Marked {
                account: account.id.clone(),
                channels: of_account.map(|channel| channel.id.clone()).collect(),
                store: String::new(),
            };
            all.spawn(read(of, marks.aside.clone(), marks.datastore.clone()));
        }
        let found = all.join_all().await;
        let of_marks = found.iter().flat_map(|(_, marks)| marks).next();
        let (id, was_there) = outbox.id(of_marks.map(|mark| mark.store.as_str())).await?;
        for (mut of, found) in found {
            of.store.clone_from(&id);
            let mut then = Mark {
                store: id.clone(),
                ..Mark::default()
            };
            for mark in &found {
                then.learn(mark);
            }
            tell_of_another(&of, &found, was_there);
            outbox.remember(&of, &then.steps, clock::now()).await?;
            marks.of.push(of);
        }
        if !config.store.hold {
            marks.tell(outbox.is_shared()).await;
        }
        Ok(marks)
    }

    /// Keeps them while the gateway runs.
    pub(in crate::app) fn keep(&self, outbox: &outbox::Outbox, crew: &Crew) {
        let stop = || crew.stop.child_token();
        let files = keeper::keep_marks(outbox.clone(), self.aside.clone(), self.of.clone(), stop());
        crew.hire("marks", files);
        for (marks, of) in self
            .datastore
            .iter()
            .flat_map(|one| self.of.iter().map(move |of| (one, of)))
        {
            let kept = marks.clone().keep(outbox.clone(), of.clone(), stop());
            crew.hire("mark in Datastore", kept);
        }
    }

    /// What notices an older state of the store.
    async fn tell(&self, is_shared: bool) {
        let aside = self.aside.clone();
        let tried = spawn_blocking(move || {
            aside.write(PROBE, "")?;
            aside.remove(PROBE)
        });
        let in_files = tried.await.is_ok_and(|tried| tried.is_ok());
        tracing::info!("{}", words(is_shared, in_files, self.datastore.is_some()));
    }
}

/// An account with its marks, as far as they can be read.
async fn read(of: Marked, aside: Aside, datastore: Option<archive::Marks>) -> (Marked, Vec<Mark>) {
    let account = of.account.clone();
    let file = spawn_blocking(move || aside.read_mark(&account));
    let file = file.await.map_err(io::Error::other).flatten();
    let file = file.unwrap_or_else(|error| {
        tracing::warn!(account = %of.account, %error,
            "the mark of the store in DATA_DIR cannot be read; the gateway writes it anew");
        None
    });
    let far = match datastore {
        None => None,
        Some(marks) => match timeout(PATIENCE, marks.read(&of.account)).await {
            Ok(Ok(mark)) => mark,
            failed => {
                let error = failed.map_or_else(
                    |_| "no answer in time".to_owned(),
                    |one| one.err().map(|error| error.told()).unwrap_or_default(),
                );
                tracing::warn!(account = %of.account, error,
                    "the mark of the store in Datastore cannot be read; the gateway starts without it, and does not \
                     notice by it that an older copy of the store was put back");
                None
            }
        },
    };
    (of, file.into_iter().chain(far).collect())
}

/// A store that is new, or another one, did not go back: what waits there is sent.
fn tell_of_another(of: &Marked, found: &[Mark], was_there: bool) {
    let (subject, is_marked) = (format!("account {}", of.account), !found.is_empty());
    if was_there && found.iter().any(|mark| mark.store != of.store) {
        alert::raise(
            Code::StoreIsAnother,
            &subject,
            "the mark outside of the store is of another store. The gateway takes this one as it is, and sends what \
             waits in it. If you meant the other one, stop the gateway, and put its address or its folder right.",
        );
    } else if !was_there && is_marked {
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
