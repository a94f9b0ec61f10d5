//! A seed becomes a plan, the plan a run, the run books that are compared, all runs a table.

pub(crate) mod answers;
pub(crate) mod books;
pub(crate) mod ground;
pub(crate) mod lost_answers;
pub(crate) mod made_up_wrongs;
pub(crate) mod people;
pub(crate) mod plan;
pub(crate) mod policy;
pub(crate) mod quiet;
pub(crate) mod run;
pub(crate) mod sampler;
pub(crate) mod settings;
pub(crate) mod stage;
pub(crate) mod story;
pub(crate) mod table;
pub(crate) mod traffic;
pub(crate) mod upset;
pub(crate) mod verdict;
