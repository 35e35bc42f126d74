//! Applies a reloaded configuration to new sessions, or rejects it as a whole.

use std::sync::Arc;

use ftp_server::Server;

use super::certificate::{Certificates, Dates, Loaded};
use super::hooks::Hooks;
use super::kept::Kept;
use super::logging::{LOG, Transfers, no_thread};
use super::logins::Logins;
use super::plan::ServePlan;
use super::settings::FIXED;
use super::stores::Stores;
use super::users::Homes;
use crate::display::in_full;

/// State that a reload changes.
pub(super) struct Reload<'a> {
    pub(super) server: &'a Server,
    pub(super) certificates: &'a mut Certificates,
    /// Current certificates.
    pub(super) tls: &'a mut Loaded,
    pub(super) transfers: &'a Transfers,
    pub(super) hooks: &'a Arc<Hooks>,
    pub(super) logins: &'a Logins,
    /// Current object stores.
    pub(super) stores: &'a mut Arc<Stores>,
    /// Plan that the server was started with.
    pub(super) started: &'a ServePlan,
    /// Current plan.
    pub(super) former: &'a ServePlan,
}

/// The result of a reload.
pub(super) struct Reloaded {
    /// Users of new sessions, and their confinement.
    pub(super) homes: Arc<Homes>,
    pub(super) kept: Option<Kept>,
    /// The changes, in the words of the log.
    pub(super) outcome: String,
    pub(super) has_new_certificate: bool,
}

impl Reload<'_> {
    /// Applies `plan` to new sessions and logs the changes.
    ///
    /// # Errors
    ///
    /// Returns the reason for a failure, in the words of the log. After a failure, nothing has
    /// changed.
    pub(super) fn to(self, plan: &ServePlan) -> Result<Reloaded, String> {
        let mut fixed = plan.settings.changes(&self.started.settings);
        fixed.retain(|key| FIXED.contains(key));
        for key in &fixed {
            log::warn!(target: LOG, "{key} has changed; restart the server to apply it");
        }
        let former = self.former;
        let (homes, kept, has_new_certificate) = match self.change(plan) {
            Ok(changed) => changed,
            Err(error) => {
                let outcome = format!("{error}; configuration unchanged");
                log::error!(target: LOG, "{outcome}");
                return Err(outcome);
            }
        };
        for line in plan.overridden() {
            log::warn!(target: LOG, "{line}");
        }
        let mut changes = plan.settings.changes(&former.settings);
        changes.retain(|key| !FIXED.contains(key));
        if has_new_certificate {
            changes.push("the certificate");
        }
        let changes = if changes.is_empty() { "nothing".to_owned() } else { changes.join(", ") };
        let outcome = format!("configuration reloaded; changed: {changes}");
        log::info!(target: LOG, "{outcome}");
        let outcome = match fixed.is_empty() {
            true => outcome,
            false => format!("{outcome}; restart the server to apply {}", fixed.join(", ")),
        };
        Ok(Reloaded { homes, kept, outcome, has_new_certificate })
    }

    /// Checks everything that may fail, then applies `plan`. Returns the users, the confinement of
    /// sessions, and whether the certificate has changed.
    fn change(self, plan: &ServePlan) -> Result<(Arc<Homes>, Option<Kept>, bool), String> {
        let loaded = self.certificates.load(&plan.settings, self.tls, Dates::Required);
        let loaded = loaded.map_err(|failure| failure.message)?;
        let program = self.logins.prepare(&plan.settings);
        let program = program.map_err(|error| no_thread("logins", &error).message)?;
        let stores = Stores::open(&plan.settings, self.stores);
        let stores = stores.map_err(|failure| failure.message)?;
        let homes = Arc::new(plan.homes(&stores).asking(program.clone()));
        let kept = homes.look(plan.has_file).map_err(|failure| failure.message)?;
        let log = self.transfers.prepare(plan.settings.log_transfers.as_deref());
        let log = log.map_err(|failure| format!("log.transfers: {}", failure.message))?;
        self.hooks.prepare(&plan.settings).map_err(|error| no_thread("hooks", &error).message)?;
        let config = plan.settings.server();
        let changed =
            self.server.reconfigure_with_tls(config, Arc::clone(&homes), loaded.tls.clone());
        changed.map_err(|error| in_full(&error))?;
        self.transfers.set(log);
        self.hooks.set(&plan.settings);
        self.logins.set(&plan.settings, program);
        stores.use_keys(self.stores);
        *self.stores = stores;
        let shown = std::mem::replace(self.tls, loaded);
        Ok((homes, kept, self.tls.replaces(&shown)))
    }
}
