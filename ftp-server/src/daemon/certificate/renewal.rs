//! Loads changed certificates in a thread. A file on a hung network mount must not block the main
//! thread, which notifies the watchdog of the service manager.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::watch::FileCheck;
use super::{Certificates, Loaded};
use crate::daemon::config::Config;

/// Input of the thread.
pub(crate) struct Renewal {
    pub(crate) look: FileCheck,
    pub(crate) config: Arc<Config>,
    pub(crate) certificates: Certificates,
    /// The certificates in use.
    pub(crate) former: Loaded,
}

/// Result of the thread.
pub(crate) struct Renewed {
    pub(crate) look: FileCheck,
    /// The configuration that names the files.
    pub(crate) config: Arc<Config>,
    /// `None` if the files did not need to be loaded.
    pub(crate) loaded: Option<Result<Loaded, String>>,
}

impl Renewal {
    /// Checks the files, and loads them if they have changed or could not be loaded last time.
    pub(crate) fn carry_out(self) -> Renewed {
        let Self { mut look, config, mut certificates, former } = self;
        let loaded = unharmed(|| {
            look.must_load().then(|| {
                let loaded = certificates.renew(&config.settings, &former);
                loaded.map_err(|failure| failure.message)
            })
        });
        Renewed { look, config, loaded }
    }
}

/// Does the work, and turns a panic into a failure: without a result, no further check would begin.
fn unharmed<T>(work: impl FnOnce() -> Option<Result<T, String>>) -> Option<Result<T, String>> {
    let done = catch_unwind(AssertUnwindSafe(work));
    done.unwrap_or_else(|_| Some(Err("internal error while checking the certificates".to_owned())))
}

impl fmt::Debug for Renewed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Renewed").field("is_new", &self.loaded.is_some()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panicking_check_counts_as_failed() {
        let failed = unharmed::<()>(|| panic!("a certificate that no parser expects"));
        assert_eq!(failed, Some(Err("internal error while checking the certificates".to_owned())));
        assert_eq!(unharmed(|| Some(Ok(1))), Some(Ok(1)));
        assert_eq!(unharmed::<()>(|| None), None);
    }
}
