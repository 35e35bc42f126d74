//! Runs a server and holds everything that it needs until it stops.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use ftp_proto::Escaped;
use log::Level;

use super::apply::{BuiltParts, Parts, start};
use super::certificate::watch::{Renewal, Renewed, Validity, urgent_validity, validity};
use super::certificate::{self, FileCertificate, Loaded};
use super::config::{Config, Fixed, LogFormat, MISSING, MetricsAddress, is_missing};
use super::control::{
    ControlAnswer, ControlRequest, ControlStyle, SessionTarget, Status, UserInfo, users, who,
};
use super::logging::{DaemonLog, LOG};
use super::reload::{Prepared, ReloadSource, ReloadWork};
use super::run::{OnceListening, Setup};
use super::users::{ConfinementNote, Homes};
use super::{DaemonError, DaemonErrorKind, start_thread};
use crate::{Activity, Server, SessionInfo};
use ftp_proto::text::values::{counted, in_full, show};

pub(super) struct Running {
    pub(super) server: Server,
    /// The configuration at startup.
    started: Arc<Config>,
    pub(super) parts: Parts,
    log: Option<Arc<DaemonLog>>,
    since: SystemTime,
    /// Whether the server accepts no more connections.
    is_draining: bool,
}

impl Running {
    /// Starts the server of the configuration, and announces it.
    ///
    /// # Errors
    ///
    /// Returns the failure that prevents the start.
    pub(super) fn start(
        config: Config,
        setup: Setup,
        log: Option<Arc<DaemonLog>>,
    ) -> Result<Self, DaemonError> {
        let mut parts = Parts::new();
        let mut builder = Server::builder();
        if let Some(log) = log.as_ref().filter(|log| log.has_events) {
            builder = builder.observer(Arc::clone(log.events()));
        }
        builder = builder.observer(Arc::clone(&parts.lasting.transfers));
        builder = builder.observer(Arc::clone(&parts.lasting.hooks));
        if config.settings.metrics.is_some() || config.settings.control_socket.is_some() {
            builder = builder.observer(Arc::clone(&parts.metrics));
        }
        let Setup { sockets, once_bound, once_listening, .. } = setup;
        let once_bound = move || once_bound.map_or(Ok(()), |act| act());
        let built = parts.plan().build(config, |_| Ok(None))?;
        let server = parts.replace(built, |draft| start(draft, builder, sockets, once_bound))?;
        let started = Arc::clone(&parts.config);
        let mut running =
            Self { server, started, parts, log, since: SystemTime::now(), is_draining: false };
        running.note_failures(running.parts.tls.failures.clone());
        running.announce(once_listening);
        Ok(running)
    }

    /// Announces a line: to the log, or else to the `log` crate.
    fn say(&self, level: Level, text: &str) {
        match &self.log {
            Some(log) => log.announce(level, text),
            None => log::log!(target: LOG, level, "{text}"),
        }
    }

    /// Announces the addresses, the certificates, the confinement and the users, with warnings about
    /// each.
    fn announce(&self, once_listening: Option<OnceListening>) {
        listening(&self.server).iter().for_each(|line| self.say(Level::Info, line));
        let settings = &self.parts.config.settings;
        let metrics = settings.metrics.as_ref().and_then(MetricsAddress::tcp);
        let addresses = self.server.local_addrs().chain(self.server.implicit_addrs());
        for address in addresses.chain(metrics) {
            if is_missing(address) {
                self.say(Level::Warn, &format!("warning: {address}: {MISSING}"));
            }
        }
        if let Some(once_listening) = once_listening {
            let plaintext: Vec<_> = self.server.local_addrs().collect();
            once_listening(plaintext, self.server.implicit_addrs().collect());
        }
        if let Some(tls) = self.parts.tls.tls.as_ref().filter(|_| settings.tls.self_signed) {
            let pin = tls.pin().unwrap_or_default();
            self.say(Level::Info, &format!("clients can verify this server with --pin {pin}"));
        }
        for (level, line) in self.validities(validity) {
            self.say(level, &line);
        }
        self.parts.kept.iter().for_each(ConfinementNote::log);
        let config = &self.parts.config;
        let lost = config.lost().into_iter().chain(self.parts.stores.unreadable_tokens());
        for line in config.overridden().into_iter().chain(lost) {
            self.say(Level::Warn, &format!("warning: {line}"));
        }
        config.in_words().iter().for_each(|line| self.say(Level::Info, line));
    }

    /// Returns what lists the users of the configuration, and others who have logged in since the
    /// start. There may be many thousands, but no disk is waited for.
    pub(super) fn users(&self, style: ControlStyle) -> impl FnOnce() -> String + Send + 'static {
        let (config, homes) = (Arc::clone(&self.parts.config), self.parts.lasting.users.current());
        let (metrics, sessions) = (Arc::clone(&self.parts.metrics), self.server.sessions());
        move || list_of_users(&config, &homes, metrics.last_logins(), sessions, style)
    }

    pub(super) fn status(&self) -> Status {
        let server = &self.server;
        Status {
            since: self.since,
            addresses: match self.is_draining {
                true => Vec::new(),
                false => server.local_addrs().chain(server.implicit_addrs()).collect(),
            },
            sessions: server.sessions(),
            bans: server.bans().len(),
            is_draining: self.is_draining,
        }
    }

    /// Ends sessions now, and returns their number.
    pub(super) fn kick(&self, target: &SessionTarget) -> usize {
        let is_meant = |session: &SessionInfo| match target {
            SessionTarget::Number(number) => session.number == *number,
            SessionTarget::User(name) => session.user.as_deref() == Some(name.as_bytes()),
            SessionTarget::Address(address) => session.peer.ip() == address.to_canonical(),
        };
        let meant = self.server.sessions().into_iter().filter(is_meant);
        meant.filter(|session| self.server.kick(session.number)).count()
    }

    /// Lifts the ban on a host, or all bans, and returns their number.
    pub(super) fn unban(&self, host: Option<IpAddr>) -> usize {
        let hosts = match host {
            Some(host) => vec![host.to_canonical()],
            None => self.server.bans().into_iter().map(|(host, _)| host).collect(),
        };
        hosts.into_iter().filter(|host| self.server.unban(*host)).count()
    }

    /// Accepts no more connections. Returns the number of open sessions, or `None` if the server is
    /// draining already.
    pub(super) fn drain(&mut self) -> Option<usize> {
        if self.is_draining {
            return None;
        }
        self.is_draining = true;
        self.server.stop_listening();
        Some(self.server.sessions().len())
    }

    /// Returns whether the last session has ended, or `None` if the server is not draining.
    pub(super) fn has_drained(&self) -> Option<bool> {
        self.is_draining.then(|| self.server.sessions().is_empty())
    }

    /// Returns the work of a reload, for a thread of its own: it waits for disks. `config` is the
    /// new configuration; without one, the logs are reopened and the files read again.
    pub(super) fn reload(&self, config: Option<Box<Config>>) -> ReloadWork {
        let source = match config {
            Some(config) => ReloadSource::Given(config),
            None if self.started.has_file() || self.started.settings.tls.certificate.is_some() => {
                ReloadSource::Files(Arc::clone(&self.parts.config))
            }
            None => ReloadSource::Nothing,
        };
        let (log, transfers) = (self.log.clone(), Arc::clone(&self.parts.lasting.transfers));
        ReloadWork { source, log, transfers, plan: self.parts.plan(), stage: Arc::default() }
    }

    /// Uses what a reload has prepared for new sessions, or nothing of it. Logs and returns the
    /// changes in the words of the log, preceded by the reasons why former certificates stay in use.
    ///
    /// # Errors
    ///
    /// Returns the reasons if a log was not reopened, or if the configuration or certificate was
    /// not reloaded. They are in the log too.
    pub(super) fn finish(&mut self, prepared: Prepared) -> Result<String, DaemonError> {
        let Prepared { reopened, built } = prepared;
        let loads = built.is_some();
        let outcome = match built {
            Some(built) => built.and_then(|built| self.replace(*built)).map_err(|error| {
                let DaemonError { kind, message, lines } = error;
                lines.iter().for_each(|line| log::error!(target: LOG, "{line}"));
                let message = format!("{message}; configuration unchanged");
                log::error!(target: LOG, "{message}");
                DaemonError { kind, message, lines }
            }),
            None => Ok("there is no configuration file to reload".to_owned()),
        };
        self.parts.metrics.set_reloaded(outcome.is_ok());
        match (reopened, outcome) {
            (Ok(keys), Ok(_)) if !loads && !keys.is_empty() => {
                let reopened = format!("{} reopened", keys.join(" and "));
                log::info!(target: LOG, "{reopened}");
                Ok(reopened)
            }
            (Ok(_), outcome) => outcome,
            (Err(reasons), Ok(outcome)) => {
                Err(DaemonError::new(DaemonErrorKind::Local, format!("{outcome}\n{reasons}")))
            }
            (Err(reasons), Err(error)) => {
                let message = format!("{}\n{reasons}", error.message);
                Err(DaemonError { message, ..error })
            }
        }
    }

    fn replace(&mut self, built: BuiltParts) -> Result<String, DaemonError> {
        let new = Arc::clone(&built.draft.config);
        let mut fixed = new.settings.changes(&self.started.settings);
        fixed.retain(|key| Fixed::of(key) == Some(Fixed::AtStart));
        if self.parts.lasting.hooks.has_other_spool(&new.settings) {
            fixed.push("hooks.spool");
        }
        let former = Arc::clone(&self.parts.config);
        let (former_users, former_tls) =
            (self.parts.lasting.users.current(), self.parts.tls.clone());
        let former_kept = self.parts.kept.clone();
        let (server, kept) = (&self.server, built.kept.clone());
        self.parts.replace(built, |draft| {
            let (config, users) = (new.settings.server(), Arc::clone(&draft.lasting.users));
            let changed = server.reconfigure_with_tls(config, users, draft.tls.clone());
            changed
                .map_err(|error| DaemonError::new(DaemonErrorKind::Internal, in_full(&error)))?;
            draft.switch();
            Ok(((), kept))
        })?;
        let settings = &self.parts.config.settings;
        let mut changes = settings.changes(&former.settings);
        // A login may take long, and be decided by the former users. Before anybody is told of the reload.
        let decides_logins = |key: &&str| {
            let table = key.split('.').next();
            *key == "hooks.check" || matches!(table, Some("users" | "hosts" | "anonymous" | "auth"))
        };
        if changes.iter().any(decides_logins) {
            self.server.void_logins();
        }
        for line in self.parts.config.overridden() {
            log::warn!(target: LOG, "{line}");
        }
        let has_new_certificate = self.parts.tls.replaces(&former_tls);
        changes.retain(|key| Fixed::of(key) != Some(Fixed::AtStart) && !fixed.contains(key));
        if has_new_certificate {
            changes.push("the certificate");
        }
        let changes = if changes.is_empty() { "nothing".to_owned() } else { changes.join(", ") };
        let mut outcome = format!("configuration reloaded; changed: {changes}");
        let level = if fixed.is_empty() { Level::Info } else { Level::Warn };
        if !fixed.is_empty() {
            outcome += &format!("; restart the server to apply {}", fixed.join(", "));
        }
        log::log!(target: LOG, level, "{outcome}");
        if let Some(log) = &self.log {
            log.events().set_json(settings.log_format == LogFormat::Json);
        }
        if self.parts.kept != former_kept {
            self.parts.kept.iter().for_each(ConfinementNote::log);
        }
        let failures = self.note_failures(self.parts.tls.failures.clone());
        if has_new_certificate {
            self.log_validities(validity);
        }
        self.dismiss(&former_users);
        if self.parts.config.settings.hooks.check != former.settings.hooks.check {
            self.dismiss_all("hooks.check was changed");
        }
        Ok(failures.into_iter().chain([outcome]).collect::<Vec<_>>().join("\n"))
    }

    /// Returns the results of `tell` for the certificates from files, without duplicates.
    fn validities(&self, tell: impl Fn(&FileCertificate) -> Option<Validity>) -> Vec<Validity> {
        let mut lines: Vec<Validity> = self.parts.tls.files.iter().filter_map(tell).collect();
        // Several hosts may share a file.
        let mut known = BTreeSet::new();
        lines.retain(|(_, line)| known.insert(line.clone()));
        lines
    }

    fn log_validities(&self, tell: impl Fn(&FileCertificate) -> Option<Validity>) {
        for (level, line) in self.validities(tell) {
            log::log!(target: LOG, level, "{line}");
        }
    }

    /// Returns the time until [`attend_certificates`](Self::attend_certificates) is due, or `None`
    /// if it never is.
    pub(super) fn certificate_pause(&self) -> Option<Duration> {
        self.parts.watch.pause()
    }

    /// If a check is due and none is in progress, starts a thread that checks the certificate files
    /// and passes the result to `deliver`. Also reports certificates that expire soon.
    pub(super) fn attend_certificates(&mut self, deliver: impl FnOnce(Renewed) + Send + 'static) {
        if let Some(look) = self.parts.watch.begin() {
            let renewal = Renewal {
                look,
                config: Arc::clone(&self.parts.config),
                former: self.parts.tls.clone(),
            };
            let started = start_thread("certificates", || deliver(renewal.carry_out()));
            if let Err(error) = started {
                log::error!(target: LOG, "{}", DaemonError::no_thread("certificates", &error).message);
                self.parts.watch.end(None);
            }
        }
        if self.parts.watch.must_report() {
            self.log_validities(urgent_validity);
        }
    }

    /// Uses loaded certificates for new connections. Files that could not be loaded change nothing,
    /// and are tried again.
    pub(super) fn take_certificates(&mut self, renewed: Renewed) {
        let Renewed { look, config, loaded } = renewed;
        // The result is stale: a reload has loaded the certificates meanwhile.
        if !Arc::ptr_eq(&config, &self.parts.config) {
            return self.parts.watch.end(None);
        }
        self.parts.watch.end(Some(look));
        let Some(loaded) = loaded else { return };
        let failures = loaded.and_then(|loaded| {
            let failures = loaded.failures.clone();
            self.replace_certificates(loaded).map(|()| failures)
        });
        self.note_failures(failures.unwrap_or_else(|why| vec![certificate::kept(&why)]));
    }

    /// Logs faults of certificates and their files, and returns the lines. Leaves out lines that
    /// are in the log already.
    fn note_failures(&mut self, failures: Vec<String>) -> Vec<String> {
        let new = self.parts.watch.loaded(failures);
        new.iter().for_each(|line| log::error!(target: LOG, "{line}"));
        new
    }

    fn replace_certificates(&mut self, loaded: Loaded) -> Result<(), String> {
        self.server.set_tls(loaded.tls.clone()).map_err(|error| in_full(&error))?;
        let former = std::mem::replace(&mut self.parts.tls, loaded);
        self.parts.metrics.set_certificates(self.parts.tls.ends());
        if self.parts.tls.replaces(&former) {
            log::info!(target: LOG, "the certificate has changed; new connections get the new one");
            let is_new = |certificate: &&FileCertificate| certificate.replaces_one_of(&former);
            self.log_validities(|file| Some(file).filter(is_new).and_then(validity));
        }
        Ok(())
    }

    /// Ends all sessions of users, each after its transfer.
    fn dismiss_all(&self, why: &str) {
        let users = self.server.sessions().into_iter().filter(|session| session.user.is_some());
        let ended = users.filter(|session| self.server.dismiss(session.number)).count();
        if ended > 0 {
            log::info!(target: LOG, "{} ended: {why}", counted(ended, "session"));
        }
    }

    /// Ends sessions, each after its transfer, if the user was removed or disabled, or if the host
    /// was removed or no longer admits the user. Ends the session of a user who was removed from
    /// `former` even if anonymous logins or users of `auth.program` can have the same name.
    fn dismiss(&self, former: &Homes) {
        let homes = self.parts.lasting.users.current();
        let asks = !self.parts.config.settings.auth.program.is_empty();
        let is_kept = |name: &[u8]| match homes.names_user(name) {
            true => homes.has_user(name),
            false => {
                let was_removed =
                    former.names_user(name) || former.has_user(name) && !homes.has_user(name);
                (homes.has_user(name) || asks) && !was_removed
            }
        };
        for session in self.server.sessions() {
            let Some(user) = session.user.as_deref() else { continue };
            let has_host = session.host.as_ref().is_none_or(|host| {
                let was_removed = former.names_host(host) && !homes.names_host(host);
                homes.has_user_at(host, user) && !was_removed
            });
            let why = match is_kept(user) {
                true if has_host => continue,
                true => "the host was removed, or no longer admits this user",
                false => "the user was removed or disabled",
            };
            if self.server.dismiss(session.number) {
                let number = session.number;
                let user = Escaped(user);
                log::info!(target: LOG, "session={number} user=\"{user}\" ends: {why}");
            }
        }
    }

    /// Waits for transfers as long as the configuration allows, then stops.
    pub(super) fn shut_down(mut self) {
        drop(self.parts.sweeper.take());
        let grace = self.parts.config.settings.shutdown_grace;
        let start = Instant::now();
        if let Some(waits) = waits_for(&self.server, grace) {
            self.say(Level::Info, &waits);
        }
        // A login has no transfer to wait for.
        self.parts.lasting.logins.end();
        let Self { server, parts, log, .. } = self;
        let report = server.shutdown(grace);
        parts.lasting.logins.finish();
        parts.lasting.checks.end();
        // Hooks also run for files that were stored in the grace period.
        parts.lasting.hooks.finish(grace.saturating_sub(start.elapsed()));
        parts.lasting.transfers.flush();
        let drained = report.drained;
        let cut = report.cut + report.stuck;
        let resumed = report.resumptions.resumed;
        let missed = report.resumptions.missed;
        let tls = match resumed + missed {
            0 => String::new(),
            _ => format!(
                "; TLS data connections: {resumed} with a resumed TLS session, {missed} without"
            ),
        };
        let stopped = format!("stopped; sessions ended: {drained}, aborted: {cut}{tls}");
        match &log {
            Some(log) => {
                log.announce(Level::Info, &stopped);
                log.flush();
            }
            None => log::info!(target: LOG, "{stopped}"),
        }
    }
}

impl ControlRequest {
    /// Carries out the request; `None` for a reload and a list of users, whose answers come later.
    pub(super) fn answer(&self, running: &mut Running) -> Option<ControlAnswer> {
        Some(match self {
            Self::Who(style) => ControlAnswer::done(who(&running.server.sessions(), *style)),
            Self::Status(style) => ControlAnswer::done(running.status().text(*style)),
            Self::Kick(target) => match running.kick(target) {
                0 => ControlAnswer::refused(format!("no session {target}")),
                count => ControlAnswer::done(format!("sessions ended: {count}\n")),
            },
            Self::Drain => match running.drain() {
                None => ControlAnswer::refused("the server is already draining"),
                Some(sessions) => ControlAnswer::done(format!(
                    "the server accepts no new connections; open sessions: {sessions}\n"
                )),
            },
            Self::Unban(host) => match (running.unban(*host), host) {
                (0, Some(host)) => ControlAnswer::refused(format!("{host} is not banned")),
                (count, _) => ControlAnswer::done(format!("bans ended: {count}\n")),
            },
            Self::Reload | Self::Users(_) => return None,
        })
    }
}

/// Returns the addresses of the server: a line for those without implicit TLS, and a line for those
/// with it.
fn listening(server: &Server) -> Vec<String> {
    let line = |how: &str, all: Vec<String>| {
        (!all.is_empty()).then(|| format!("listening {how} {}", all.join(", ")))
    };
    let clear = line("on", server.local_addrs().map(|at| at.to_string()).collect());
    let implicit = server.implicit_addrs().map(|at| at.to_string()).collect();
    clear.into_iter().chain(line("with implicit TLS on", implicit)).collect()
}

/// Returns a message about running transfers, if the shutdown waits for any.
fn waits_for(server: &Server, grace: Duration) -> Option<String> {
    let is_busy = |session: &SessionInfo| session.activity != Activity::Idle;
    let transfers = server.sessions().iter().filter(|session| is_busy(session)).count();
    if transfers == 0 {
        return None;
    }
    let transfers = counted(transfers, "transfer");
    let grace = show(grace);
    Some(format!("stopping: waiting up to {grace} for {transfers}; a second signal aborts them"))
}

fn list_of_users(
    config: &Config,
    homes: &Homes,
    mut last_logins: BTreeMap<Vec<u8>, SystemTime>,
    sessions_now: Vec<SessionInfo>,
    style: ControlStyle,
) -> String {
    let configured = config.users_of_file();
    let mut all: Vec<UserInfo> = configured
        .into_iter()
        .map(|(name, user)| {
            let last_login = last_logins.remove(name.as_bytes());
            UserInfo { last_login, used: homes.used(user), ..UserInfo::of(name, user) }
        })
        .collect();
    all.extend(last_logins.into_iter().map(|(name, last_login)| UserInfo {
        name,
        last_login: Some(last_login),
        ..UserInfo::default()
    }));
    let mut sessions: BTreeMap<Vec<u8>, usize> = BTreeMap::new();
    for user in sessions_now.into_iter().filter_map(|session| session.user) {
        *sessions.entry(user).or_default() += 1;
    }
    for user in &mut all {
        user.sessions = Some(sessions.get(&user.name).copied().unwrap_or_default());
    }
    users(&all, style)
}
