//! Starts a server from a plan.

use std::io;
use std::sync::{Arc, OnceLock};

use ftp_server::{Server, ServerBuilder, Tls};

use super::kept::Kept;
use super::logging::LOG;
use super::plan::ServePlan;
use super::settings::{available, has_ipv6};
use super::sweeper::Sweeper;
use super::systemd::Sockets;
use super::users::Homes;
use crate::display::in_full;
use crate::exit::{Exit, Failure};

/// Starts the server on the plan's addresses and on `sockets`. Drops privileges if the plan names a
/// user to run as. Returns the server, and a message about the confinement of its sessions.
pub(super) fn start(
    plan: &ServePlan,
    homes: &Arc<Homes>,
    tls: Option<Tls>,
    mut builder: ServerBuilder,
    sockets: Sockets,
) -> Result<(Server, Option<Kept>), Failure> {
    if let Some(tls) = tls {
        builder = builder.tls(tls);
    }
    // Skips the addresses of passed sockets: the same settings work with and without socket
    // activation.
    for address in sockets.implicit_besides(available(&plan.settings.implicit, has_ipv6)) {
        builder = builder.implicit_tls(address);
    }
    let addresses = sockets.plaintext_besides(available(&plan.settings.listen, has_ipv6));
    builder = sockets.serve(builder.freebind(plan.settings.freebind));
    let run_as = plan.settings.run_as.clone();
    let builder = builder.config(plan.settings.server()).authenticator(Arc::clone(homes));
    let looked = Arc::new(OnceLock::new());
    let found = Arc::clone(&looked);
    let homes = Arc::clone(homes);
    let has_file = plan.has_file;
    // Opens the directories after dropping privileges, because `run_as` must be able to open them.
    let builder = builder.once_bound(move || {
        run_as.map_or(Ok(()), |run_as| run_as.give_up_root())?;
        match found.get_or_init(|| homes.look(has_file)) {
            Ok(_) => Ok(()),
            Err(_) => Err(io::Error::other("no directory to serve")),
        }
    });
    let bound = builder.bind_all(&addresses);
    let server = bound.map_err(|error| {
        // An unavailable address is a network failure.
        let exit = match error {
            ftp_server::Error::Bind { .. } | ftp_server::Error::Address(_) => Exit::Network,
            ftp_server::Error::OnceBound(_) => Exit::Usage,
            _ => Exit::Internal,
        };
        match looked.get() {
            Some(Err(failure)) => failure.clone(),
            _ => Failure::new(exit, in_full(&error)),
        }
    })?;
    let kept = looked.get().and_then(|looked| looked.clone().ok().flatten());
    Ok((server, kept))
}

/// Returns a sweeper of the users' directories. If `former` sweeps the same directories, returns
/// `former`, because a new walk at each reload would be useless. If a new thread cannot be started,
/// the next reload or start tries again.
pub(super) fn sweep(homes: &Homes, former: Option<Sweeper>) -> Option<Sweeper> {
    if let Some(former) = former.filter(|former| former.is_for(homes)) {
        return Some(former);
    }
    let failed = |error| log::warn!(target: LOG, "cannot start a thread to remove old partial files: {error}");
    Sweeper::start(homes).map_err(failed).ok()
}
