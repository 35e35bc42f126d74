//! Loads changed certificates in a thread: a file on a hung network mount must not hold up the main
//! thread, whose signs of life the service manager waits for.

use std::fmt;
use std::sync::Arc;

use super::watch::Look;
use super::{Certificates, Loaded};
use crate::cmd::serve::plan::ServePlan;

/// What the thread needs.
pub(crate) struct Renewal {
    pub(crate) look: Look,
    pub(crate) plan: Arc<ServePlan>,
    pub(crate) certificates: Certificates,
    /// The certificates in use.
    pub(crate) former: Loaded,
}

/// What the thread has found.
pub(crate) struct Renewed {
    pub(crate) look: Look,
    /// The plan that names the files.
    pub(crate) plan: Arc<ServePlan>,
    /// `None` if nothing has changed.
    pub(crate) loaded: Option<Result<Loaded, String>>,
}

impl Renewal {
    /// Looks at the files, and loads them if they have changed or could not be loaded last time.
    pub(crate) fn carry_out(self) -> Renewed {
        let Self { mut look, plan, mut certificates, former } = self;
        let loaded = look.must_load().then(|| {
            let loaded = certificates.renew(&plan.settings, &former);
            loaded.map_err(|failure| failure.message)
        });
        Renewed { look, plan, loaded }
    }
}

impl fmt::Debug for Renewed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Renewed").field("is_new", &self.loaded.is_some()).finish_non_exhaustive()
    }
}
