//! Holds the connections of one command: one control connection per server, user and password. The
//! TLS settings need no comparison, because they are the same for the whole command.
//! Retries as `--retry` says, and counts the reconnects after replies that were out of step.

use std::collections::HashMap;
use std::fmt::Display;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::thread::sleep;
use std::time::{Duration, Instant};

use ftp_client::pool::{Attempt, Lent, Patience, Repeat};
use ftp_client::{Canceller, Client, Error, Pool};
use ftp_proto::FtpUrl;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::credentials::{Credentials, Finder};
use super::dialler::Dialler;
use crate::console::{Cleanup, Messages, Stdio};
use crate::exit::{Exit, Failure, Result};
use crate::lock;
use crate::options::{Options, values, whole_number};
use crate::report::{Events, Object};

/// The sessions of one thread, which connect and log in on demand.
pub(crate) struct Sessions<'a> {
    connecting: Connecting<'a>,
    /// The pool of each server, shared with [`another`](Self::another) session.
    pools: Arc<Mutex<Vec<ServerPool<'a>>>>,
    /// The connections of this thread.
    open: Vec<(ServerKey, Lent<'a>)>,
}

/// How the threads of a command connect and log in.
#[derive(Clone)]
struct Connecting<'a> {
    options: &'a Options,
    dialler: Arc<Dialler>,
    messages: Messages,
    /// The source of logins: each is looked up once, because a lookup may prompt the user.
    finder: Arc<Mutex<Finder<'a>>>,
    known: Arc<Vec<(ServerKey, Credentials)>>,
}

impl Connecting<'_> {
    fn credentials(&self, url: &FtpUrl) -> Result<Credentials> {
        match self.known.iter().find(|(known, _)| known.is_of(url)) {
            Some((_, credentials)) => Ok(credentials.clone()),
            // The finder stays locked during a prompt, because other threads need the same answer.
            None => lock(&self.finder).find(url),
        }
    }

    /// Checks that a connection to the server of `url` fits the options.
    fn check(&self, url: &FtpUrl) -> Result {
        self.credentials(url).and_then(|_| self.dialler.check(url))
    }

    /// Connects to the server of `url` and logs in.
    fn connect(&self, url: &FtpUrl) -> Result<Client> {
        let credentials = self.credentials(url)?;
        self.dialler.connect_as(&credentials, self.options, url, &self.messages)
    }
}

/// A server with its connections, which all threads of the command share.
type ServerPool<'a> = (ServerKey, Arc<Pool<'a>>);

/// A URL for what others must share with it to use one connection: all but the path.
#[derive(Clone)]
struct ServerKey(FtpUrl);

impl ServerKey {
    fn is_of(&self, url: &FtpUrl) -> bool {
        self.0.scheme() == url.scheme()
            && self.0.host().eq_ignore_ascii_case(url.host())
            && self.0.port() == url.port()
            && self.0.user() == url.user()
            && self.0.password() == url.password()
    }
}

impl<'a> Sessions<'a> {
    /// Reads the connection options; sends nothing yet. A signal cancels the connections that these
    /// sessions make.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`Dialler::from_options`].
    pub(crate) fn new(options: &'a Options, stdio: &Stdio, cleanup: &Cleanup) -> Result<Self> {
        let dialler = Dialler::from_options(options)?.stopped_by(cleanup);
        Ok(Self::with(options, dialler, stdio.messages.clone()))
    }

    pub(crate) fn with(options: &'a Options, dialler: Dialler, messages: Messages) -> Self {
        let dialler = Arc::new(dialler);
        let finder = Arc::new(Mutex::new(Finder::new(options, &messages)));
        let connecting = Connecting { options, dialler, messages, finder, known: Arc::default() };
        Self { connecting, pools: Arc::default(), open: Vec::new() }
    }

    /// Returns sessions for another thread, with separate connections. Known logins are shared, and
    /// not looked up again.
    pub(crate) fn another(&self) -> Self {
        let (connecting, pools) = (self.connecting.clone(), Arc::clone(&self.pools));
        Self { connecting, pools, open: Vec::new() }
    }

    /// Sets the login for the server of `url`, so that it is not looked up. Also applies to
    /// sessions that [`another`](Self::another) returns later.
    pub(crate) fn log_in_as(&mut self, url: &FtpUrl, credentials: Credentials) {
        Arc::make_mut(&mut self.connecting.known).push((ServerKey(url.clone()), credentials));
    }

    /// Returns a logged-in client for the server of `url`, in the login directory, to which URL
    /// paths are relative. Reuses an open connection, unless the server has closed it or the client
    /// has left the login directory.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`Finder::find`], before anything is sent, and of
    /// [`Dialler::connect_as`].
    pub(crate) fn client(&mut self, url: &FtpUrl) -> Result<&mut Client> {
        let has_moved = |(open, client): &mut (ServerKey, Lent<'_>)| {
            open.is_of(url) && client.has_moved() && client.make_ready().is_ok()
        };
        if let Some(at) = self.open.iter_mut().position(has_moved) {
            let (_, client) = self.open.swap_remove(at);
            self.connecting.messages.replies.note_quit(&client.end());
        }
        self.client_as_it_is(url).map(|(client, _)| client)
    }

    /// Returns the client in its current directory, and whether its connection is new.
    ///
    /// # Errors
    ///
    /// Returns the same errors as [`client`](Self::client). Also returns an error if the open
    /// connection shows that an earlier upload may have failed, or too many reconnects.
    pub(crate) fn client_as_it_is(&mut self, url: &FtpUrl) -> Result<(&mut Client, bool)> {
        let is_new = self.connect(url, true).map_err(Error::met)?;
        Ok((self.opened(url), is_new))
    }

    /// Returns the client in its current directory. Calls `enter` on a new connection, and drops
    /// the connection if that fails: later commands must not run in another directory.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`client_as_it_is`](Self::client_as_it_is), and that of `enter`.
    pub(crate) fn client_entered(
        &mut self,
        url: &FtpUrl,
        enter: impl FnOnce(&mut Client) -> Result,
    ) -> Result<&mut Client> {
        let (client, is_new) = self.client_as_it_is(url)?;
        if is_new && let Err(failure) = enter(client) {
            self.drop_client(url);
            return Err(failure);
        }
        Ok(self.opened(url))
    }

    /// Returns the client of a connection that was found or made.
    fn opened(&mut self, url: &FtpUrl) -> &mut Client {
        let client = self.open.iter_mut().find(|(open, _)| open.is_of(url));
        let (_, client) = client.expect("the connection was found or made");
        client
    }

    /// Ensures a connection to the server of `url`, unless the server accepts no more than other
    /// threads have.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`client`](Self::client), and what they mean for this thread.
    pub(crate) fn connect_beside_others(&mut self, url: &FtpUrl) -> Result<(), Error> {
        self.connect(url, false).map(drop)
    }

    /// Ensures a connection, and returns whether it is new. With `again`, connects even after the
    /// server has refused a connection for good.
    fn connect(&mut self, url: &FtpUrl, again: bool) -> Result<bool, Error> {
        let found = self.open.iter().position(|(open, _)| open.is_of(url));
        if let Some((at, (_, client))) = found.and_then(|at| Some(at).zip(self.open.get_mut(at))) {
            let Err(error) = client.make_ready() else { return Ok(false) };
            self.open.swap_remove(at).1.discard();
            if error.leaves_in_doubt(&self.connecting.messages.replies.reconnects) {
                return Err(error);
            }
        }
        self.connecting.check(url)?;
        let pool = self.pool(url);
        if again {
            pool.reopen();
        }
        self.open.push((ServerKey(url.clone()), pool.try_take()?));
        Ok(true)
    }

    /// Gives the connection of this thread back, and returns the pool of the server of `url`.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`client`](Self::client) that come before the connection.
    pub(crate) fn pool_of(&mut self, url: &FtpUrl) -> Result<Arc<Pool<'a>>> {
        self.connecting.check(url)?;
        self.open.retain(|(open, _)| !open.is_of(url));
        Ok(self.pool(url))
    }

    /// Returns the pool of the server of `url`. Its threads have a connection each.
    fn pool(&self, url: &FtpUrl) -> Arc<Pool<'a>> {
        let mut pools = lock(&self.pools);
        if let Some((_, pool)) = pools.iter().find(|(key, _)| key.is_of(url)) {
            return Arc::clone(pool);
        }
        let (connecting, server) = (self.connecting.clone(), url.clone());
        let dial = move || {
            let client = connecting.connect(&server);
            client.map_err(|failure| Failure { is_named: true, ..failure.context(&server) }.into())
        };
        // The threads decide how many connections they want.
        let pool = Arc::new(Pool::new(dial).size(usize::MAX));
        pools.push((ServerKey(url.clone()), Arc::clone(&pool)));
        pool
    }

    /// Returns the user name for the login at the server of `url`.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`Finder::find`].
    pub(crate) fn user(&self, url: &FtpUrl) -> Result<Vec<u8>> {
        self.connecting.credentials(url).map(|credentials| credentials.user)
    }

    pub(crate) fn open_client(&self, url: &FtpUrl) -> Option<&Client> {
        self.open.iter().find(|(open, _)| open.is_of(url)).map(|(_, client)| &**client)
    }

    /// Returns the connection that was opened last.
    pub(crate) fn any_client(&self) -> Option<&Client> {
        self.open.last().map(|(_, client)| &**client)
    }

    /// Closes the failed connection to the server of `url` without QUIT. Callers leave it open
    /// after a signal, so that [`quit`](Self::quit) can abort the transfer.
    pub(crate) fn drop_client(&mut self, url: &FtpUrl) {
        for (_, client) in self.open.extract_if(.., |(open, _)| open.is_of(url)) {
            client.discard();
        }
    }

    /// Drops the connection to the server of `url` if `done` says that it has ended.
    pub(crate) fn drop_ended<T>(&mut self, url: &FtpUrl, done: &Result<T>) {
        if done.as_ref().is_err_and(Failure::is_end_of_connection) {
            self.drop_client(url);
        }
    }

    /// Sends QUIT after the work. After a failure, closing the connection is enough. After a
    /// signal, a running transfer is aborted, and QUIT is sent. Notes a reply to QUIT that shows
    /// that an earlier reply was never read.
    pub(crate) fn quit(self, failure: Option<&Failure>) {
        let is_orderly = failure.is_none_or(|failure| failure.exit == Exit::Interrupted);
        for (_, client) in self.open {
            match is_orderly {
                // No work remains, so a missing reply to QUIT does not matter.
                true => self.connecting.messages.replies.note_quit(&client.end()),
                false => client.discard(),
            }
        }
        let pools: Vec<_> = lock(&self.pools).iter().map(|(_, pool)| Arc::clone(pool)).collect();
        for pool in pools.iter().filter(|_| is_orderly) {
            self.connecting.messages.replies.note_quit(&pool.quit());
        }
    }
}

/// Logins that servers refused for good during this run. They are not tried again, because many
/// servers ban a client after a few failed logins.
#[derive(Default)]
pub(crate) struct RefusedLogins(Vec<ServerKey>);

impl RefusedLogins {
    /// Returns whether the login of `url` was refused.
    pub(crate) fn has(&self, url: &FtpUrl) -> bool {
        self.0.iter().any(|refused| refused.is_of(url))
    }

    /// Records the login of `url`, if `failure` is its refusal. The returned failure does not end
    /// the run then, because the URLs of other servers and users can still succeed.
    pub(crate) fn note(&mut self, url: &FtpUrl, failure: Failure) -> Failure {
        if !failure.is_refused_login() {
            return failure;
        }
        self.0.push(ServerKey(url.clone()));
        Failure { fatal: false, ..failure }
    }
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Retrying {
    /// Number of retries after the first attempt.
    more: u32,
    /// Pause before each retry; `None` for growing pauses.
    delay: Option<Duration>,
    /// End of the time for the whole run.
    end: Option<Instant>,
}

/// Receiver of a command's messages, events and retries.
#[derive(Clone)]
pub(crate) struct Witness {
    pub(crate) messages: Messages,
    pub(crate) events: Events,
    /// What ends a pause.
    pub(crate) canceller: Option<Canceller>,
    pub(crate) quiet: bool,
    /// Whether to print successes.
    pub(crate) talkative: bool,
    /// The number of objects that a command on URLs has handled.
    pub(crate) handled: Arc<AtomicU64>,
    /// The last replies that made attempts fail, by the name of the item.
    refusals: Arc<Mutex<HashMap<String, String>>>,
}

impl Witness {
    pub(crate) fn new(options: &Options, stdio: &Stdio, cleanup: &Cleanup) -> Self {
        Self {
            messages: stdio.messages.clone(),
            events: stdio.events.clone(),
            canceller: cleanup.canceller().cloned(),
            quiet: options.is_quiet(),
            talkative: stdio.is_talkative(options),
            handled: Arc::default(),
            refusals: Arc::default(),
        }
    }

    /// Returns the last failure of the item `name`, with the reply that made an earlier attempt fail.
    pub(crate) fn last(&self, name: &dyn Display, failure: Failure) -> Failure {
        failure.after_refusal(lock(&self.refusals).remove(&name.to_string()))
    }

    /// Reports a note of the library about the item `name`; if `is_shown` is false, the message goes
    /// only to the log file.
    pub(crate) fn note(
        &self,
        is_shown: bool,
        name: &str,
        note: &dyn Display,
        fields: &dyn Fn(Object) -> Object,
    ) {
        let text = note.to_string();
        self.messages.say_if(is_shown, format_args!("{name}: {text}"));
        self.events.note(&text, fields);
    }
}

impl Retrying {
    /// Reads `--retry` and `--retry-delay`.
    ///
    /// # Errors
    ///
    /// Returns `Usage` for an invalid value, or for `--retry-delay` without `--retry`.
    pub(crate) fn from_options(options: &Options) -> Result<Self> {
        let more = options.parsed("retry", whole_number)?.unwrap_or(0);
        let delay = options.parsed("retry-delay", values::duration)?;
        Ok(Self { more, delay, end: options.end()? })
    }

    /// Returns whether failures are retried at all.
    pub(crate) const fn is_on(self) -> bool {
        self.more > 0
    }

    /// Returns the memory of one command that removes, makes or renames, for all its attempts.
    pub(crate) fn memory(self) -> Repeat {
        if self.is_on() { Repeat::new() } else { Repeat::single() }
    }

    /// Calls `attempt` until it succeeds, fails permanently, or has no attempts left. The argument
    /// of `attempt` tells whether to start from byte 0. It is `true` after an integrity failure,
    /// because the bytes at the target may be wrong. An integrity failure is retried once. `name`
    /// identifies the item in messages that do not name it, and `fields` adds to each event the
    /// fields that identify it.
    ///
    /// # Errors
    ///
    /// Returns the last failure. If it is not a reply of the server, its message also has the last
    /// reply that made an earlier attempt fail: some servers report a full disk and disconnect.
    pub(crate) fn run<T>(
        self,
        witness: &Witness,
        name: &dyn Display,
        fields: &dyn Fn(Object) -> Object,
        mut attempt: impl FnMut(bool) -> Result<T>,
    ) -> Result<T> {
        let mut attempts = self.attempts(witness, name, fields);
        loop {
            match attempt(attempts.now.from_start()) {
                Err(failure) => attempts.after(failure)?,
                done => return done,
            }
        }
    }

    /// Returns the attempts at an item, for a loop that asks for another one after each failure;
    /// `name` and `fields` are those of [`run`](Self::run).
    pub(crate) fn attempts<'a>(
        self,
        witness: &'a Witness,
        name: &'a dyn Display,
        fields: &'a dyn Fn(Object) -> Object,
    ) -> Attempts<'a> {
        let patience = self.patience(witness.canceller.as_ref());
        let now = patience.first();
        // Those of an earlier item with the same name.
        lock(&witness.refusals).remove(&name.to_string());
        Attempts { retrying: self, patience, now, witness, name, fields }
    }

    /// Returns the attempts, their pauses, and what ends them.
    pub(crate) fn patience(self, canceller: Option<&Canceller>) -> Patience {
        let left = self.end.map(|end| end.saturating_duration_since(Instant::now()));
        let patience = Patience::new()
            .attempts(self.more.saturating_add(1))
            .scattered(false)
            .canceller(canceller.cloned())
            .overall(left);
        match self.delay {
            Some(delay) => patience.pauses(delay, delay),
            None => patience,
        }
    }

    /// Reports the next attempt: its number, the failure before it, and the pause.
    pub(crate) fn announce(
        self,
        (attempt, why, pause): (u32, &Error, Duration),
        witness: &Witness,
        name: &dyn Display,
        fields: &dyn Fn(Object) -> Object,
    ) {
        let why = &Failure::from(why);
        if why.code.is_some() {
            lock(&witness.refusals).insert(name.to_string(), why.message.clone());
        }
        if !witness.quiet {
            let all = u64::from(self.more) + 1;
            let time = values::show(pause);
            let message = message_with(why, &name.to_string());
            witness.messages.say(format_args!("{message}; attempt {attempt} of {all} in {time}"));
        }
        witness.events.emit(|| {
            let event = fields(Object::event("retry").number("attempt", attempt.into()));
            crate::report::with_failure(event.seconds("delay", pause), why)
        });
    }
}

/// The attempts at one item.
pub(crate) struct Attempts<'a> {
    retrying: Retrying,
    patience: Patience,
    now: Attempt,
    witness: &'a Witness,
    name: &'a dyn Display,
    fields: &'a dyn Fn(Object) -> Object,
}

impl Attempts<'_> {
    /// Announces the attempt that follows a failure, and waits for it.
    ///
    /// # Errors
    ///
    /// Returns the failure, as [`Retrying::run`] does, if no attempt follows.
    pub(crate) fn after(&mut self, failure: Failure) -> Result {
        let Self { retrying, patience, now, witness, name, fields } = self;
        let mut announce = |attempt: u32, why: &Error, pause: Duration| {
            retrying.announce((attempt, why, pause), witness, *name, *fields);
        };
        let mut replaces =
            |error: &Error| error.recovery().may_reconnect(&witness.messages.replies.reconnects);
        let next = patience.next(now, failure.into(), &mut replaces, &mut announce);
        next.map_err(|error| witness.last(*name, error.into()))
    }
}

/// Waits until `end`.
///
/// # Errors
///
/// Returns `Interrupted` after a signal.
pub(crate) fn pause_until(end: Instant, canceller: Option<&Canceller>) -> Result {
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if canceller.is_some_and(Canceller::is_cancelled) {
            return Err(Error::Cancelled.into());
        }
        if left.is_zero() {
            return Ok(());
        }
        let limit = Timespec::try_from(left).ok();
        // Without a descriptor, Windows would not wait. An interrupted wait is repeated.
        match canceller {
            None => sleep(left),
            Some(canceller) => {
                let _ = poll(&mut [PollFd::new(canceller, PollFlags::IN)], limit.as_ref());
            }
        }
    }
}

/// Returns the message of a failure, which names the item or its server.
fn message_with(failure: &Failure, name: &str) -> String {
    let message = &failure.message;
    let is_named =
        message.starts_with(&format!("{name}: ")) || message.contains(&format!("/{name}: "));
    if is_named { message.clone() } else { failure.clone().context_unless_named(name).message }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::{Exit, Recovery};

    #[test]
    fn a_connection_is_reused_only_for_one_server_user_and_tls_mode_tl_24_ht_22() {
        let url = |text: &str| FtpUrl::parse(text.as_bytes()).unwrap();
        for (one, other, is_same) in [
            ("ftpes://u@h/a", "ftpes://u@H:21/b", true),
            ("ftps://h/a", "ftps://h:990/b", true),
            ("ftpes://h/a", "ftp://h/a", false),
            ("ftpes://h:990/a", "ftps://h/a", false),
            ("ftpes://u@h/a", "ftpes://v@h/a", false),
            ("ftpes://u:p@h/a", "ftpes://u:q@h/a", false),
            ("ftpes://h/a", "ftpes://h:2121/a", false),
            ("ftpes://h/a", "ftpes://h.example/a", false),
        ] {
            assert_eq!(ServerKey(url(one)).is_of(&url(other)), is_same, "{one} {other}");
        }
    }

    fn witness() -> Witness {
        let stdio = Stdio::captured(std::io::empty(), std::io::sink(), std::io::sink());
        Witness::new(&Options::default(), &stdio, &Cleanup::default())
    }

    fn attempts(more: u32, failures: &[(Exit, Recovery)]) -> (Vec<bool>, Option<Exit>) {
        let witness = witness();
        let retrying = Retrying { more, delay: Some(Duration::ZERO), end: None };
        let mut from_starts = Vec::new();
        let mut left = failures.iter();
        let done = retrying.run(&witness, &"a", &|object| object, |from_start| {
            from_starts.push(from_start);
            match left.next() {
                Some((exit, recovery)) => {
                    Err(Failure { recovery: *recovery, ..Failure::new(*exit, "no") })
                }
                None => Ok(()),
            }
        });
        (from_starts, done.err().map(|failure| failure.exit))
    }

    #[test]
    fn only_transient_failures_are_retried_and_a_short_file_restarts_once() {
        let busy = (Exit::Temporary, Recovery::TryAgain);
        let refused = (Exit::Refused, Recovery::Impossible);
        let short = (Exit::Integrity, Recovery::StartOver);
        for (more, failures, want_tries, want) in [
            (0, &[busy][..], &[false][..], Some(Exit::Temporary)),
            (2, &[busy], &[false, false], None),
            (2, &[busy, busy, busy], &[false, false, false], Some(Exit::Temporary)),
            (5, &[refused], &[false], Some(Exit::Refused)),
            (5, &[busy, refused], &[false, false], Some(Exit::Refused)),
            (5, &[short], &[false, true], None),
            (5, &[short, short], &[false, true], Some(Exit::Integrity)),
            (5, &[short, busy, short], &[false, true, true], Some(Exit::Integrity)),
            (0, &[short], &[false], Some(Exit::Integrity)),
        ] {
            assert_eq!(
                attempts(more, failures),
                (want_tries.to_vec(), want),
                "{more} {failures:?}"
            );
        }
    }

    #[test]
    fn pauses_grow_unless_retry_delay_is_set() {
        let grown = Retrying { more: 9, delay: None, end: None };
        let seconds: Vec<u64> =
            (1..9).map(|number| grown.patience(None).pause(number).as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 16, 32, 60, 60]);
        let given = Retrying { more: 9, delay: Some(Duration::from_secs(5)), end: None };
        assert_eq!(given.patience(None).pause(7).as_secs(), 5);
    }

    #[test]
    fn a_pause_beyond_the_time_limit_is_not_begun() {
        let witness = witness();
        let end = Some(Instant::now() + Duration::from_secs(60));
        let retrying = Retrying { more: 9, delay: Some(Duration::from_secs(3_600)), end };
        let busy = Failure { recovery: Recovery::TryAgain, ..Failure::new(Exit::Temporary, "no") };
        let done = retrying.run(&witness, &"a", &|object| object, |_| Err::<(), _>(busy.clone()));
        assert_eq!(done.unwrap_err().exit, Exit::Temporary);
    }

    #[test]
    fn a_cancel_ends_a_pause() {
        let canceller = Canceller::new().unwrap();
        canceller.cancel();
        let ended = pause_until(Instant::now() + Duration::from_secs(3_600), Some(&canceller));
        assert_eq!(ended.unwrap_err().exit, Exit::Interrupted);
    }
}
