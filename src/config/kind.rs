//! Which keys `[[account]]` and `[[channel]]` may have: names of settings, of which each account or
//! channel either has its own or takes what the rest of the configuration says.

use super::groups::{Account, Channel};
use super::setting::Setting;
use super::table::Kind;

impl Kind {
    fn settings(self) -> &'static [Setting] {
        match self {
            Self::Account => Account::SETTINGS,
            Self::Channel => Channel::SETTINGS,
        }
    }

    /// Settings of which each has its own.
    pub(super) fn own(self) -> impl Iterator<Item = &'static str> {
        let own = self.settings().iter().filter(|setting| setting.is_own);
        own.map(|setting| setting.key)
    }

    /// Every key that a table may have, as `Table::said` names it.
    pub(super) fn keys(self) -> impl Iterator<Item = &'static str> {
        let plain: &[_] = match self {
            Self::Account => &["id"],
            Self::Channel => &["id", "account", "paused"],
        };
        let inherited = self.settings().iter().filter(|setting| !setting.is_own);
        let inherited = inherited.map(|setting| setting.key);
        plain.iter().copied().chain(self.own()).chain(inherited)
    }
}
