//! Runs a server and holds everything that it needs until it stops.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use ftp_proto::Escaped;
use ftp_server::{Activity, Server, SessionInfo, ShutdownHandle};
use log::Level;

use super::certificate::renewal::{Renewal, Renewed};
use super::certificate::watch::{Validity, Watch, urgent_validity, validity};
use super::certificate::{self, Certificate, Certificates, Loaded};
use super::control::{Status, who};
use super::former::{self, FormerUsers};
use super::hooks::Hooks;
use super::kept::Kept;
use super::logging::{LOG, ServerLog, Transfers, no_thread};
use super::logins::Logins;
use super::metrics::{Metrics, MetricsAddress};
use super::plan::{PlanError, ServePlan};
use super::reload::{Reload, Reloaded};
use super::settings::{MISSING, is_missing};
use super::start::{start, sweep};
use super::stores::Stores;
use super::sweeper::Sweeper;
use super::systemd::Service;
use super::urls;
use super::users::Homes;
use crate::cmd::control::protocol::{Answer, Request, Target};
use crate::display::{counted, in_full};
use crate::exit::Failure;
use crate::lock::start_thread;
use crate::options::{Options, values};

pub(super) struct Running<'a> {
    options: &'a Options,
    server: Server,
    /// The plan at startup, and the current one.
    started: Arc<ServePlan>,
    plan: Arc<ServePlan>,
    /// Users of the current plan.
    homes: Arc<Homes>,
    certificates: Certificates,
    /// Current certificates.
    tls: Loaded,
    /// Detector of changed certificate files.
    watch: Watch,
    transfers: Arc<Transfers>,
    hooks: Arc<Hooks>,
    logins: Logins,
    /// Object stores of the current plan.
    stores: Arc<Stores>,
    /// Confinement of sessions to their directories.
    kept: Option<Kept>,
    sweeper: Option<Sweeper>,
    since: SystemTime,
    metrics: Arc<Metrics>,
    former_users: FormerUsers,
    /// Whether the server accepts no more connections.
    is_draining: bool,
}

impl<'a> Running<'a> {
    /// Starts the server of the plan.
    ///
    /// # Errors
    ///
    /// Returns the failure that prevents the start, with its exit code.
    pub(super) fn start(
        plan: ServePlan,
        options: &'a Options,
        log: &ServerLog,
        hooks: Arc<Hooks>,
        service: &mut Service,
    ) -> Result<Self, Failure> {
        let mut certificates = Certificates::default();
        let watch = Watch::of(&plan.settings);
        let tls = certificates.load(&plan.settings, &Loaded::default(), plan.dates())?;
        let transfers = Arc::new(Transfers::new(plan.settings.run_as.clone()));
        transfers.set(transfers.prepare(plan.settings.log_transfers.as_deref())?);
        let mut builder = Server::builder();
        if !log.is_quiet {
            builder = builder.observer(Arc::clone(&log.events));
        }
        hooks.prepare(&plan.settings).map_err(|error| no_thread("hooks", &error))?;
        hooks.set(&plan.settings);
        let logins = Logins::new();
        let program = logins.prepare(&plan.settings);
        let program = program.map_err(|error| no_thread("logins", &error))?;
        logins.set(&plan.settings, program.clone());
        builder = builder.observer(Arc::clone(&transfers)).observer(Arc::clone(&hooks));
        let metrics = Arc::new(Metrics::default());
        metrics.set_certificates(tls.ends());
        if plan.settings.metrics.is_some() {
            builder = builder.observer(Arc::clone(&metrics));
        }
        if let Some(moved) = service.observer() {
            builder = builder.observer(moved);
        }
        let sockets = std::mem::take(&mut service.sockets);
        let stores = Stores::start(&plan.settings)?;
        if let Some(shared) = stores.shared_state()? {
            builder = builder.shared_state(shared);
        }
        let homes = Arc::new(plan.homes(&stores).asking(program));
        let (server, kept) = start(&plan, &homes, tls.tls.clone(), builder, sockets)?;
        let sweeper = sweep(&homes, None);
        let started = Arc::new(plan);
        let plan = Arc::clone(&started);
        let mut running = Self {
            options,
            server,
            started,
            plan,
            homes,
            certificates,
            tls,
            watch,
            transfers,
            hooks,
            logins,
            stores,
            kept,
            sweeper,
            since: SystemTime::now(),
            metrics,
            former_users: FormerUsers::default(),
            is_draining: false,
        };
        running.note_failures(running.tls.failures.clone());
        Ok(running)
    }

    /// Returns the server.
    pub(super) fn server(&self) -> &Server {
        &self.server
    }

    /// Returns a handle that aborts all transfers at once.
    pub(super) fn shutdown_handle(&self) -> ShutdownHandle {
        self.server.shutdown_handle()
    }

    /// Returns the metrics of the server.
    pub(super) fn metrics(&self) -> Arc<Metrics> {
        Arc::clone(&self.metrics)
    }

    /// Logs the addresses, the certificates, the confinement and the users, with warnings about
    /// each.
    pub(super) fn announce(&self, log: &ServerLog) {
        listening(&self.server).iter().for_each(|line| log.say(Level::Info, line));
        let metrics = self.plan.settings.metrics.as_ref().and_then(MetricsAddress::tcp);
        let addresses = self.server.local_addrs().chain(self.server.implicit_addrs());
        for address in addresses.chain(metrics) {
            if is_missing(address) {
                log.say(Level::Warn, &format_args!("warning: {address}: {MISSING}"));
            }
        }
        let (own, listening) = (urls::own_addresses(), self.listening());
        listening.line(&own).iter().for_each(|line| log.say(Level::Info, line));
        listening.warning(&own).iter().for_each(|line| log.say(Level::Warn, line));
        if let Some(tls) = self.tls.tls.as_ref().filter(|_| self.plan.settings.tls.self_signed) {
            let pin = tls.pin().unwrap_or_default();
            log.say(Level::Info, &format_args!("clients can verify this server with --pin {pin}"));
        }
        for (level, line) in self.validities(validity) {
            log.say(level, &line);
        }
        self.kept.iter().for_each(Kept::log);
        let lost = self.plan.lost(self.options).into_iter().chain(self.stores.unreadable_tokens());
        for line in self.plan.overridden().into_iter().chain(lost) {
            log.say(Level::Warn, &format_args!("warning: {line}"));
        }
        self.plan.in_words().iter().for_each(|line| log.say(Level::Info, line));
    }

    /// Returns the data for the URLs in the log.
    fn listening(&self) -> urls::Listening {
        urls::Listening {
            plaintext: self.server.local_addrs().collect(),
            implicit: self.server.implicit_addrs().collect(),
            tls: self.tls.tls.as_ref().map(|_| self.plan.settings.tls.control),
            user: self.plan.only_user(),
            has_passwords: self.plan.has_passwords(),
        }
    }

    /// Carries out any request from the control socket except a reload.
    pub(super) fn answer(&mut self, request: &Request) -> Answer {
        match request {
            Request::Who(style) => Answer::done(who(&self.server.sessions(), *style)),
            Request::Status(style) => Answer::done(self.status().text(*style)),
            Request::Kick(target) => self.kick(target),
            Request::Drain => self.drain(),
            Request::Unban(host) => self.unban(*host),
            Request::Reload => Answer::refused("a reload cannot be requested here"),
        }
    }

    fn status(&self) -> Status {
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

    fn kick(&self, target: &Target) -> Answer {
        let is_meant = |session: &SessionInfo| match target {
            Target::Number(number) => session.number == *number,
            Target::User(name) => session.user.as_deref() == Some(name.as_bytes()),
            Target::Address(address) => session.peer.ip() == *address,
        };
        let meant = self.server.sessions().into_iter().filter(is_meant);
        match meant.filter(|session| self.server.kick(session.number)).count() {
            0 => Answer::refused(format!("no session {target}")),
            count => Answer::done(format!("sessions ended: {count}\n")),
        }
    }

    fn unban(&self, host: Option<IpAddr>) -> Answer {
        let hosts = match host {
            Some(host) => vec![host],
            None => self.server.bans().into_iter().map(|(host, _)| host).collect(),
        };
        let count = hosts.into_iter().filter(|host| self.server.unban(*host)).count();
        match (count, host) {
            (0, Some(host)) => Answer::refused(format!("{host} is not banned")),
            _ => Answer::done(format!("bans ended: {count}\n")),
        }
    }

    fn drain(&mut self) -> Answer {
        if self.is_draining {
            return Answer::refused("the server is already draining");
        }
        self.is_draining = true;
        self.server.stop_listening();
        let sessions = self.server.sessions().len();
        Answer::done(format!("the server accepts no new connections; open sessions: {sessions}\n"))
    }

    /// Returns whether the last session has ended, or `None` if the server is not draining.
    pub(super) fn has_drained(&self) -> Option<bool> {
        self.is_draining.then(|| self.server.sessions().is_empty())
    }

    /// Reopens the logs and reloads the configuration and certificate, after SIGHUP or a request.
    /// Returns the changes in the words of the log, preceded by the reasons why former certificates
    /// stay in use. If there is neither a configuration file nor a certificate, returns which logs
    /// were reopened, or that there is no file to reload.
    ///
    /// # Errors
    ///
    /// Returns the reasons if a log was not reopened, or if the configuration or certificate was
    /// not reloaded.
    pub(super) fn reload(&mut self, log: &ServerLog) -> Result<String, String> {
        // Reopens the logs even if the configuration file has errors, because a log rotation
        // depends on that.
        let reopened = self.reopen_logs(log);
        let loads = self.options.has("config") || self.started.settings.tls.certificate.is_some();
        let outcome = match loads {
            true => self.load_again(log),
            false => Ok("there is no configuration file to reload".to_owned()),
        };
        self.metrics.set_reloaded(outcome.is_ok());
        match (reopened, outcome) {
            (Ok(keys), Ok(_)) if !loads && !keys.is_empty() => {
                let reopened = format!("{} reopened", keys.join(" and "));
                log::info!(target: LOG, "{reopened}");
                Ok(reopened)
            }
            (Ok(_), outcome) => outcome,
            (Err(reasons), Ok(outcome) | Err(outcome)) => Err(format!("{outcome}\n{reasons}")),
        }
    }

    /// Returns the results of `tell` for the certificates from files, without duplicates.
    fn validities(&self, tell: impl Fn(&Certificate) -> Option<Validity>) -> Vec<Validity> {
        let mut lines: Vec<Validity> = self.tls.files.iter().filter_map(tell).collect();
        // Several hosts may share a file.
        let mut known = BTreeSet::new();
        lines.retain(|(_, line)| known.insert(line.clone()));
        lines
    }

    fn log_validities(&self, tell: impl Fn(&Certificate) -> Option<Validity>) {
        for (level, line) in self.validities(tell) {
            log::log!(target: LOG, level, "{line}");
        }
    }

    /// Returns the time until [`attend_certificates`](Self::attend_certificates) is due, or `None`
    /// if it never is.
    pub(super) fn certificate_pause(&self) -> Option<Duration> {
        self.watch.pause()
    }

    /// If a check is due and none is in progress, starts a thread that checks the certificate files
    /// and passes the result to `deliver`. Also reports certificates that expire soon.
    pub(super) fn attend_certificates(&mut self, deliver: impl FnOnce(Renewed) + Send + 'static) {
        if let Some(look) = self.watch.begin() {
            let renewal = Renewal {
                look,
                plan: Arc::clone(&self.plan),
                certificates: self.certificates.clone(),
                former: self.tls.clone(),
            };
            let started = start_thread("certificates", || deliver(renewal.carry_out()));
            if let Err(error) = started {
                log::error!(target: LOG, "{}", no_thread("certificates", &error).message);
                self.watch.end(None);
            }
        }
        if self.watch.must_report() {
            self.log_validities(urgent_validity);
        }
    }

    /// Uses loaded certificates for new connections. Files that could not be loaded change nothing,
    /// and are tried again.
    pub(super) fn take_certificates(&mut self, renewed: Renewed) {
        let Renewed { look, plan, loaded } = renewed;
        // A reload has loaded the certificates in the meantime.
        if !Arc::ptr_eq(&plan, &self.plan) {
            return self.watch.end(None);
        }
        self.watch.end(Some(look));
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
        let new = self.watch.loaded(failures);
        new.iter().for_each(|line| log::error!(target: LOG, "{line}"));
        new
    }

    fn replace_certificates(&mut self, loaded: Loaded) -> Result<(), String> {
        self.server.set_tls(loaded.tls.clone()).map_err(|error| in_full(&error))?;
        let former = std::mem::replace(&mut self.tls, loaded);
        self.metrics.set_certificates(self.tls.ends());
        if self.tls.replaces(&former) {
            log::info!(target: LOG, "the certificate has changed; new connections get the new one");
            let is_new = |certificate: &&Certificate| certificate.replaces_one_of(&former);
            self.log_validities(|file| Some(file).filter(is_new).and_then(validity));
        }
        Ok(())
    }

    /// Reopens the log files by their names, and returns their keys.
    fn reopen_logs(&self, log: &ServerLog) -> Result<Vec<&'static str>, String> {
        let mut keys = Vec::new();
        let mut failures = Vec::new();
        let files =
            [("log.target", log.open_again()), ("log.transfers", self.transfers.open_again())];
        for (key, opened) in files {
            match opened {
                None => {}
                Some(Ok(())) => keys.push(key),
                Some(Err(reason)) => failures.push(format!("{key}: {reason}")),
            }
        }
        if failures.is_empty() { Ok(keys) } else { Err(failures.join("\n")) }
    }

    fn load_again(&mut self, log: &ServerLog) -> Result<String, String> {
        let plan = match self.plan.again(self.options) {
            Ok(plan) => plan,
            Err(PlanError { lines, failure }) => {
                lines.iter().for_each(|line| log::error!(target: LOG, "{line}"));
                let outcome = format!("{}; configuration unchanged", failure.message);
                log::error!(target: LOG, "{outcome}");
                return Err(lines.into_iter().chain([outcome]).collect::<Vec<_>>().join("\n"));
            }
        };
        let watch = Watch::of(&plan.settings);
        let reload = Reload {
            server: &self.server,
            certificates: &mut self.certificates,
            tls: &mut self.tls,
            transfers: &self.transfers,
            hooks: &self.hooks,
            logins: &self.logins,
            stores: &mut self.stores,
            started: &self.started,
            former: &self.plan,
        };
        let Reloaded { homes, kept, outcome, has_new_certificate } = reload.to(&plan)?;
        self.metrics.set_certificates(self.tls.ends());
        log.events.set_format(plan.settings.log_format);
        if kept != self.kept {
            kept.iter().for_each(Kept::log);
        }
        self.kept = kept;
        self.sweeper = sweep(&homes, self.sweeper.take());
        let time_to_log_in = self.plan.settings.server.timeouts.login;
        self.plan = Arc::new(plan);
        let former = std::mem::replace(&mut self.homes, homes);
        self.watch = watch.after(&self.watch);
        let failures = self.note_failures(self.tls.failures.clone());
        if has_new_certificate {
            self.log_validities(validity);
        }
        let last = self.server.sessions().iter().map(|session| session.number).max().unwrap_or(0);
        self.former_users.add(&former, &self.homes, last, time_to_log_in);
        self.dismiss_former_users();
        Ok(failures.into_iter().chain([outcome]).collect::<Vec<_>>().join("\n"))
    }

    /// Ends sessions of removed users who logged in after the reload, over connections from before
    /// it. Returns the time until the next check, or `None` if such logins are no longer possible.
    pub(super) fn check_former_logins(&self) -> Option<Duration> {
        if !self.former_users.can_log_in() {
            return None;
        }
        self.dismiss_former_users();
        Some(former::CHECK)
    }

    /// Ends sessions, each after its transfer, if the user was removed or disabled, or if the host
    /// was removed or no longer admits the user. Ends the session of a removed user even if
    /// anonymous logins or users of `auth.program` can have the same name.
    fn dismiss_former_users(&self) {
        let homes = &self.homes;
        let asks = !self.plan.settings.auth.program.is_empty();
        let is_kept = |number: u64, name: &[u8]| match homes.names_user(name) {
            true => homes.has_user(name),
            false => (homes.has_user(name) || asks) && !self.former_users.has(number, name),
        };
        for session in self.server.sessions() {
            let Some(user) = session.user.as_deref() else { continue };
            let has_host = session.host.as_ref().is_none_or(|host| {
                homes.has_user_at(host, user) && !self.former_users.has_host(session.number, host)
            });
            let why = match is_kept(session.number, user) {
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

    /// Waits for transfers as long as the plan allows, then stops.
    pub(super) fn shut_down(self, log: &ServerLog) {
        drop(self.sweeper);
        let grace = self.plan.settings.shutdown_grace;
        let start = Instant::now();
        if let Some(waits) = waits_for(&self.server, grace) {
            log.say(Level::Info, &waits);
        }
        // A login has no transfer to wait for.
        self.logins.end();
        let report = self.server.shutdown(grace);
        self.logins.finish();
        // Hooks also run for files that were stored in the grace period.
        self.hooks.finish(grace.saturating_sub(start.elapsed()), || log.flush());
        self.transfers.flush();
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
        log.say(
            Level::Info,
            &format_args!("stopped; sessions ended: {drained}, aborted: {cut}{tls}"),
        );
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
    let grace = values::show(grace);
    Some(format!(
        "stopping: waiting up to {grace} for {transfers}; a second signal stops the server at once"
    ))
}
