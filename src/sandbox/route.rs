//! The routes of the fakes, as they are counted and ruled, and what a call of one asks for.

/// The routes that are counted and can be ruled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Route {
    Send,
    List,
    Detail,
    Social,
    Refresh,
    Token,
    Subscribe,
    ListSubscription,
    Dlr,
}

impl Route {
    pub(super) const ALL: [Self; 9] = [
        Self::Send,
        Self::List,
        Self::Detail,
        Self::Social,
        Self::Refresh,
        Self::Token,
        Self::Subscribe,
        Self::ListSubscription,
        Self::Dlr,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Send => "send",
            Self::List => "list",
            Self::Detail => "detail",
            Self::Social => "social",
            Self::Refresh => "refresh",
            Self::Token => "token",
            Self::Subscribe => "subscribe",
            Self::ListSubscription => "list_subscription",
            Self::Dlr => "dlr",
        }
    }

    pub(super) fn path(self) -> &'static str {
        match self {
            Self::Send => "POST /chat/send-message",
            Self::List => "GET /chat/fetch-whatsapp-templates",
            Self::Detail => "GET /chat/get-whatsapp-template",
            Self::Social => "GET /chat/get-social-channels",
            Self::Refresh => "POST /oauth/refresh",
            Self::Token => "POST /oauth/token",
            Self::Subscribe => "POST /app/add-subscription",
            Self::ListSubscription => "GET /app/list-subscription",
            Self::Dlr => "POST /moengage/dlr",
        }
    }
}

/// What a call asks for, as far as rules tell calls apart.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) route: Route,
    /// Digits; empty where there is no recipient.
    pub(super) recipient: &'a str,
    /// Id of a template's variant; empty where there is none.
    pub(super) variant: &'a str,
}

impl Asked<'_> {
    /// A call of a route that has neither recipient nor template.
    pub(super) fn of(route: Route) -> Self {
        Self {
            route,
            recipient: "",
            variant: "",
        }
    }
}
