//! Applies a configuration, at the start and at a reload, in two phases. The first builds and
//! checks all new parts; it may block on disks, so a reload runs it in a thread of its own, and a
//! failure rolls it back. The second swaps the parts in; it neither blocks nor fails.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, OnceLock};

use super::certificate::watch::Watch;
use super::certificate::{Dates, Loaded};
use super::check::{advice, exposed, lacks_of_permission, locked_out, unable};
use super::config::{Config, available, has_ipv6};
use super::home::Sweeper;
use super::hooks::{Hooks, Spool};
use super::logging::{self, LOG, Transfers};
use super::logins::{LoginProgram, Logins};
use super::metrics::Metrics;
use super::own_files::OwnFiles;
use super::stores::Stores;
use super::upload_check::UploadChecks;
use super::users::{ConfinementNote, Homes, Users};
use super::{DaemonError, DaemonErrorKind, DiskAnswer, answers};
use crate::{Error, Server, ServerBuilder, Tls};
use ftp_proto::text::values::in_full;

/// Everything that a configuration determines.
pub(super) struct Parts {
    pub(super) config: Arc<Config>,
    pub(super) lasting: Lasting,
    /// Certificates of new connections.
    pub(super) tls: Loaded,
    pub(super) watch: Watch,
    pub(super) stores: Arc<Stores>,
    /// Confinement of sessions to their directories.
    pub(super) kept: Option<ConfinementNote>,
    /// Files that no root may contain.
    own: Arc<OwnFiles>,
    pub(super) sweeper: Option<Sweeper>,
    pub(super) metrics: Arc<Metrics>,
    is_running: bool,
}

/// What a reload tells of the new configuration, but does not replace: the threads of programs, and
/// what sessions and the server hold.
#[derive(Clone)]
pub(super) struct Lasting {
    /// Users of the configuration, whom sessions from before a reload get too.
    pub(super) users: Arc<Users>,
    pub(super) transfers: Arc<Transfers>,
    pub(super) hooks: Arc<Hooks>,
    pub(super) logins: Arc<Logins>,
    pub(super) checks: Arc<UploadChecks>,
}

/// New parts that were checked as far as possible before the addresses are bound and the process
/// has given up root.
pub(super) struct Draft {
    pub(super) config: Arc<Config>,
    homes: Arc<Homes>,
    pub(super) lasting: Lasting,
    pub(super) tls: Option<Tls>,
    pub(super) stores: Arc<Stores>,
    program: Option<Arc<LoginProgram>>,
    log: Option<Option<logging::TransferLog>>,
    spool: Option<Arc<Spool>>,
}

impl Draft {
    /// Opens the directories of the users and the spool of the hooks, and returns the confinement of
    /// sessions. Call it as the user that the server runs as.
    ///
    /// # Errors
    ///
    /// Returns `Configuration` if the server cannot give files to an owner or a group in the settings,
    /// or the errors of [`Homes::look`] and [`Hooks::open`].
    pub(super) fn look(&mut self) -> Result<Option<ConfinementNote>, DaemonError> {
        if let Some(why) = unable(&self.config).into_iter().next() {
            return Err(DaemonError::configuration(why));
        }
        let note = self.homes.look(self.config.has_file())?;
        let config = Arc::clone(&self.config);
        let lacks = answers(vec![config], |config| {
            let lacks = lacks_of_permission(&config).into_iter();
            lacks.chain(exposed(&config)).chain(locked_out(&config)).collect::<Vec<_>>()
        });
        // A directory that does not answer is named already.
        for lack in lacks.into_iter().filter_map(DiskAnswer::given).flatten() {
            log::warn!(target: LOG, "{lack}");
        }
        self.spool = self.lasting.hooks.open(&self.config)?;
        Ok(note)
    }

    /// Makes later events and logins use the new parts.
    pub(super) fn switch(self) {
        let settings = &self.config.settings;
        let Lasting { users, transfers, hooks, logins, checks } = self.lasting;
        transfers.set(self.log);
        hooks.set(settings, self.spool);
        logins.set(settings, self.program);
        checks.set(settings);
        users.set(self.homes);
    }
}

impl Parts {
    /// Returns the parts of a server that does not run yet.
    pub(super) fn new() -> Self {
        let config = Config::default();
        Self {
            lasting: Lasting {
                users: Arc::new(Users::new(config.homes(&Arc::default(), &Arc::default()))),
                transfers: Arc::default(),
                hooks: Arc::new(Hooks::new()),
                logins: Arc::new(Logins::new()),
                checks: Arc::new(UploadChecks::new()),
            },
            tls: Loaded::default(),
            watch: Watch::of(&config.settings),
            stores: Arc::default(),
            kept: None,
            own: Arc::default(),
            sweeper: None,
            metrics: Arc::default(),
            is_running: false,
            config: Arc::new(config),
        }
    }

    /// Returns what is needed to build other parts, in any thread.
    pub(super) fn plan(&self) -> PartsPlan {
        PartsPlan {
            tls: self.tls.clone(),
            stores: Arc::clone(&self.stores),
            own: Arc::clone(&self.own),
            lasting: self.lasting.clone(),
            is_running: self.is_running,
        }
    }

    /// Replaces the parts by new ones. `serve` makes a server use the draft: it calls
    /// [`Draft::switch`] after [`Draft::look`], and returns the confinement. Nothing after it can
    /// fail. It must not wait for a disk.
    ///
    /// # Errors
    ///
    /// Returns the error of `serve`. Nothing has changed then.
    pub(super) fn replace<T>(
        &mut self,
        built: BuiltParts,
        serve: impl FnOnce(Draft) -> Result<(T, Option<ConfinementNote>), DaemonError>,
    ) -> Result<T, DaemonError> {
        let BuiltParts { draft, tls, watch, own, .. } = built;
        let (config, stores) = (Arc::clone(&draft.config), Arc::clone(&draft.stores));
        let homes = Arc::clone(&draft.homes);
        let (served, kept) = serve(draft)?;
        log::debug!(target: LOG, "configuration applied to the {} server", self.which());
        stores.use_keys(&self.stores);
        self.sweeper = sweep(&homes, self.sweeper.take());
        self.watch = watch.after(&self.watch);
        self.metrics.set_certificates(tls.ends());
        (self.config, self.tls, self.stores) = (config, tls, stores);
        (self.kept, self.own) = (kept, own);
        self.is_running = true;
        Ok(served)
    }

    fn which(&self) -> &'static str {
        if self.is_running { "running" } else { "new" }
    }
}

/// What new parts are built from, besides their configuration.
pub(super) struct PartsPlan {
    tls: Loaded,
    stores: Arc<Stores>,
    own: Arc<OwnFiles>,
    lasting: Lasting,
    is_running: bool,
}

/// New parts that nothing uses yet.
pub(super) struct BuiltParts {
    pub(super) draft: Draft,
    /// The confinement of sessions, if the directories were looked at.
    pub(super) kept: Option<ConfinementNote>,
    tls: Loaded,
    watch: Watch,
    own: Arc<OwnFiles>,
}

impl PartsPlan {
    /// Builds the parts of `config`; `look` calls [`Draft::look`], now or when the server starts.
    ///
    /// # Errors
    ///
    /// Returns the reason for a failure. Nothing has changed then.
    pub(super) fn build(
        self,
        config: Config,
        look: impl FnOnce(&mut Draft) -> Result<Option<ConfinementNote>, DaemonError>,
    ) -> Result<BuiltParts, DaemonError> {
        let config = Arc::new(config);
        let settings = &config.settings;
        // Before the server creates any file.
        let own = Arc::new(OwnFiles::of(&config, &self.own));
        own.check(&config)?;
        let dates = if self.is_running { Dates::Required } else { config.dates() };
        // Stamped before the files are read, so that a change in between is not missed.
        let watch = Watch::of(settings);
        let tls = self.tls.load(settings, dates)?;
        let Lasting { transfers, logins, checks, .. } = &self.lasting;
        let log = transfers.prepare(settings)?;
        let (program, check) = (logins.program(settings), checks.check(settings));
        let stores = Stores::open(settings, self.is_running.then_some(&*self.stores))?;
        let homes = config.homes(&stores, &own).asking(program.clone()).checking(check);
        let homes = Arc::new(homes);
        let mut draft = Draft {
            config: Arc::clone(&config),
            homes,
            lasting: self.lasting,
            tls: tls.tls.clone(),
            stores,
            program,
            log,
            spool: None,
        };
        let kept = look(&mut draft)?;
        Ok(BuiltParts { draft, kept, tls, watch, own })
    }
}

/// Starts a server that uses the draft, on its addresses and on `sockets`. Calls `once_bound`
/// between binding them and opening the users' directories.
///
/// # Errors
///
/// Returns `Network` if an address cannot be bound, `Configuration` if `once_bound` fails, or the
/// errors of [`Draft::look`].
pub(super) fn start(
    mut draft: Draft,
    mut builder: ServerBuilder,
    sockets: Sockets,
    once_bound: impl FnOnce() -> io::Result<()> + Send + 'static,
) -> Result<(Server, Option<ConfinementNote>), DaemonError> {
    let settings = draft.config.settings.clone();
    if let Some(shared) = draft.stores.shared_state()? {
        builder = builder.shared_state(shared);
    }
    if let Some(tls) = draft.tls.clone() {
        builder = builder.tls(tls);
    }
    // Skips the addresses of passed sockets: the same settings work with and without socket
    // activation.
    for address in besides(&sockets.implicit, available(&settings.implicit, has_ipv6)) {
        builder = builder.implicit_tls(address);
    }
    let addresses = besides(&sockets.plaintext, available(&settings.listen, has_ipv6));
    builder = sockets.serve(builder.freebind(settings.freebind));
    let looked = Arc::new(OnceLock::new());
    let found = Arc::clone(&looked);
    let builder = builder.config(settings.server()).authenticator(Arc::clone(&draft.lasting.users));
    // Opens the directories after `once_bound`, because the user of `security.run_as` must be able
    // to open them.
    let builder = builder.once_bound(move || {
        once_bound()?;
        let looked = draft.look();
        let is_usable = looked.is_ok();
        let _ = found.set(looked);
        if !is_usable {
            return Err(io::Error::other("no directory to serve"));
        }
        draft.switch();
        Ok(())
    });
    let server = builder.bind_all(&addresses).map_err(|error| {
        let kind = match error {
            Error::Bind { .. } | Error::Address(_) => DaemonErrorKind::Network,
            Error::OnceBound(_) => DaemonErrorKind::Configuration,
            _ => DaemonErrorKind::Internal,
        };
        match (looked.get(), &error) {
            (Some(Err(failure)), _) => failure.clone(),
            (_, Error::Bind { source, .. }) => {
                DaemonError::new(kind, format!("{error}: {}", advice(source)))
            }
            _ => DaemonError::new(kind, in_full(&error)),
        }
    })?;
    let kept = looked.get().and_then(|looked| looked.clone().ok().flatten());
    Ok((server, kept))
}

/// Returns a sweeper of the users' directories. If `former` sweeps the same directories, returns
/// `former`, because a new walk at each reload would be useless. If a new thread cannot be started,
/// the next reload or start tries again.
fn sweep(homes: &Homes, former: Option<Sweeper>) -> Option<Sweeper> {
    if let Some(former) = former.filter(|former| former.is_for(homes)) {
        return Some(former);
    }
    let failed = |error| log::warn!(target: LOG, "cannot start a thread to remove old partial files: {error}");
    Sweeper::start(homes).map_err(failed).ok()
}

/// Listening sockets that the program has passed.
#[derive(Debug, Default)]
pub(super) struct Sockets {
    pub(super) plaintext: Vec<TcpListener>,
    pub(super) implicit: Vec<TcpListener>,
}

impl Sockets {
    /// Makes the server accept connections on all sockets.
    pub(super) fn serve(self, mut builder: ServerBuilder) -> ServerBuilder {
        for socket in self.plaintext {
            builder = builder.listener(socket);
        }
        for socket in self.implicit {
            builder = builder.implicit_tls_listener(socket);
        }
        builder
    }
}

/// Returns `all` addresses without those of the sockets.
fn besides(sockets: &[TcpListener], mut all: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let is_passed = |address: &SocketAddr| {
        sockets.iter().any(|socket| socket.local_addr().is_ok_and(|at| at == *address))
    };
    all.retain(|address| !is_passed(address));
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Rights;

    fn config(user: &str, log: &str) -> Config {
        let mut config = Config::new();
        config.share("/usr", Rights::READ);
        config.add_user(user, "p");
        config.set("log.transfers", log).unwrap();
        config
    }

    #[test]
    fn a_start_and_a_reload_use_all_new_parts_or_keep_all_old_ones() {
        let mut parts = Parts::new();
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("log");
        let serve = |draft: Draft| {
            draft.switch();
            Ok(((), None))
        };
        let build = |parts: &Parts, config| parts.plan().build(config, Draft::look);
        let users = |parts: &Parts| {
            let current = parts.lasting.users.current();
            [&b"anna"[..], b"bob", b"carl"].map(|name| current.has_user(name))
        };
        for (user, want) in [("anna", [true, false, false]), ("bob", [false, true, false])] {
            let before = (Arc::clone(&parts.config), users(&parts));
            // One part cannot be built, or the server refuses all of them.
            let missing = build(&parts, config("carl", "/proc/none/log")).err().unwrap();
            assert_eq!(missing.kind, DaemonErrorKind::Local);
            let refused = |_: Draft| Err(DaemonError::new(DaemonErrorKind::Network, "refused"));
            let built = build(&parts, config("carl", "")).unwrap();
            parts.replace::<()>(built, refused).unwrap_err();
            assert!(Arc::ptr_eq(&parts.config, &before.0), "{user}");
            assert_eq!(users(&parts), before.1, "{user}");
            let built = build(&parts, config(user, log.to_str().unwrap())).unwrap();
            parts.replace(built, serve).unwrap();
            assert_eq!(users(&parts), want);
            assert!(parts.is_running && log.exists());
        }
    }
}
