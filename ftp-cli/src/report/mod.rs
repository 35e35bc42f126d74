//! Handles the items of a command, sequentially or in parallel, and reports them: as events for
//! programs, and as counts.

pub(crate) mod events;
#[cfg(feature = "client")]
pub(crate) mod jobs;

pub(crate) use events::Events;
pub(crate) use ftp_server::daemon::json::Object;
#[cfg(feature = "client")]
pub(crate) use jobs::{Outcome, Reporter, Tally, for_each_url};
