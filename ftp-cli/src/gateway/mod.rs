//! `[stores.NAME]` with a `url`: another FTP server as a store of ours. Each call asks that server,
//! over one of a few connections, and nothing is confirmed that it has not confirmed.

mod proof;
mod storage;
#[cfg(test)]
mod tests;
mod transfer;
mod upstream;

use std::collections::BTreeMap;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use ftp_client::file::Checksum;
use ftp_client::{Client, FtpUrl, Mode, Timeouts, Tls};
use ftp_server::daemon::{OpenStore, StoreKey, StoreKind, StoreValues};
use ftp_server::{MemoryStorage, Partials, Storage, StorageError, StorageErrorKind as Kind};

use self::storage::{Gateway, check_names};
use self::upstream::{ConnectingThread, OtherTarget, TURNS, Turns, Upstream, UserLogin};
use crate::connect::credentials::read_file;
use crate::lock;

/// The longest wait for another change at a path.
const TURN: Duration = Duration::from_secs(5);

/// Time for which a change whose answer is lost may still be made.
const LATE: Duration = Duration::from_secs(5 * 60);

/// Memory for the bytes of interrupted uploads.
const KEPT: u64 = 64 * 1024 * 1024;

#[rustfmt::skip]
const KEYS: &[StoreKey] = &[
    StoreKey::text("url",           "The other server and a directory there: ftpes://USER@HOST/DIR, or with ftps:// or ftp://."),
    StoreKey::file("password_file", "File whose first line is the password of the user in url; read before privileges are dropped."),
    StoreKey::text("login",         "Whose login the other server gets: one (default: that in url) or user (that of each user)."),
    StoreKey::count("connections",  "Maximum number of connections, of each user with login = \"user\" (default: 8)."),
    StoreKey::time("timeout",       "Maximum time without an answer or a byte (default: 30 s); after an upload, ten times that, but at most 5 min."),
    StoreKey::text("pin",           "Accept only the server key with this pin, sha256//..., regardless of its issuer."),
    StoreKey::text("ca_file",       "PEM file of the CAs that may issue the server's certificate (default: the system's)."),
    StoreKey::switch("active",      "Let the other server connect to this one for data."),
    StoreKey::switch("in_place",    "Write under the final name, for a server without rename; a cut upload then destroys the file there."),
    StoreKey::text("verify",        "What is compared before an upload is confirmed: size (default), or hash where the other server has one."),
];

/// The kind `ftp` of stores.
pub(crate) struct OtherServer(&'static Turns);

impl Default for OtherServer {
    fn default() -> Self {
        Self(&TURNS)
    }
}

impl StoreKind for OtherServer {
    fn keys(&self) -> &[StoreKey] {
        KEYS
    }

    fn objections(&self, values: &StoreValues) -> Vec<(&'static str, String)> {
        let url = values.text("url").map(str::parse::<FtpUrl>);
        let (is_missing, is_wrong) = (url.is_none(), matches!(url, Some(Err(_))));
        let url = url.and_then(Result::ok);
        let is_url = |test: fn(&FtpUrl) -> bool| url.as_ref().is_some_and(test);
        let (has_url, has_user) = (url.is_some(), is_url(|url| url.user().is_some()));
        let has_password = is_url(|url| url.password().is_some());
        let has_file = values.file("password_file").is_some();
        let is_plain = is_url(|url| url.scheme() == ftp_client::Scheme::Ftp);
        let is_set = |key| values.text(key).is_some_and(|value| !value.is_empty());
        let is_none_of =
            |key, words: [&str; 2]| values.text(key).is_some_and(|it| !words.contains(&it));
        let passes_on = values.text("login") == Some("user") && has_user;
        let no_tls = "needs ftpes:// or ftps:// in url";
        let is_relative = values.text("ca_file").is_some_and(|path| !path.starts_with('/'));
        let is_no_pin = values.text("pin").is_some_and(|pin| Tls::explicit().pin(pin).is_err());
        let has_no_time = values.time("timeout").is_some_and(|time| time.is_zero());
        let has_none = values.number("connections") == Some(0);
        [
            (is_missing, "", "url is missing"),
            // The text may contain a password.
            (is_wrong, "url", "expected ftp://, ftpes:// or ftps://USER@HOST/DIR"),
            (has_password, "url", "the password would be in this file; use password_file"),
            (passes_on, "login", "user passes on each user's name; remove the one in url"),
            (has_user && !passes_on && !has_file, "url", "needs password_file for the user"),
            (has_url && !has_user && has_file, "password_file", "needs a user in url"),
            (is_plain && is_set("pin"), "pin", no_tls),
            (is_plain && is_set("ca_file"), "ca_file", no_tls),
            (is_none_of("login", ["one", "user"]), "login", "expected one or user"),
            (is_none_of("verify", ["size", "hash"]), "verify", "expected size or hash"),
            (is_relative, "ca_file", "expected an absolute path"),
            (has_none, "connections", "expected at least 1"),
            (has_no_time, "timeout", "the time must be greater than 0"),
            (is_no_pin, "pin", "expected sha256// and the base64 of 32 bytes"),
        ]
        .into_iter()
        .filter(|(is_wrong, ..)| *is_wrong)
        .map(|(_, key, why)| (key, why.to_owned()))
        .collect()
    }

    fn open(&self, values: &StoreValues) -> Result<Arc<dyn OpenStore>, String> {
        let url: FtpUrl =
            values.text("url").unwrap_or_default().parse().map_err(|_| "invalid url")?;
        let timeout = values.time("timeout").unwrap_or(Duration::from_secs(30));
        let mut tls = Tls::explicit();
        if let Some(pin) = values.text("pin") {
            tls = tls.pin(pin).map_err(|error| format!("pin: {error}"))?;
        }
        if let Some(path) = values.text("ca_file") {
            tls = tls.ca_file(path);
        }
        let timeouts = Timeouts::default().reply(timeout).stall(timeout).greeting(timeout);
        // The other server may sync or check the file first.
        let longest = timeout.max(Duration::from_secs(300));
        let timeouts = timeouts.final_reply(timeout.saturating_mul(10).min(longest));
        let mut builder = Client::builder().timeouts(timeouts);
        if url.scheme() != ftp_client::Scheme::Ftp {
            builder = builder.tls(tls);
        }
        if values.switch("active") == Some(true) {
            builder = builder.mode(Mode::Active);
        }
        let login = match (values.text("login"), url.user()) {
            (Some("user"), _) => None,
            (_, None) => Some((b"anonymous".to_vec(), b"guest@".to_vec())),
            (_, Some(user)) => {
                let path = values.file("password_file").ok_or("password_file is missing")?;
                let password = read_file(path.as_os_str()).map_err(|failure| failure.message)?;
                Some((user.to_vec(), password.as_bytes().to_vec()))
            }
        };
        let target = OtherTarget {
            url,
            builder,
            connections: values.number("connections").unwrap_or(8).try_into().unwrap_or(usize::MAX),
            timeout,
            turns: self.0,
            turn: TURN,
            late: LATE,
            in_place: values.switch("in_place") == Some(true),
            hashes: values.text("verify") == Some("hash"),
            dialler: ConnectingThread::start()
                .map_err(|error| format!("cannot start a thread: {error}"))?,
            personal: login.is_none(),
            peer: OnceLock::new(),
            held: AtomicUsize::new(0),
            sets_times: OnceLock::new(),
        };
        Ok(Arc::new(Door::new(target, login)))
    }
}

/// An open store.
struct Door {
    target: Arc<OtherTarget>,
    /// The login of all users; `None` if each user's own one is passed on.
    login: Option<UserLogin>,
    /// The connections of each login that has sessions. Those of the only login stay.
    open: Mutex<BTreeMap<UserLogin, Arc<Upstream>>>,
    /// Knows the interrupted uploads of all users.
    partials: Partials,
}

impl OpenStore for Door {
    fn is_personal(&self) -> bool {
        self.login.is_none()
    }

    fn storage(
        &self,
        prefix: &str,
        login: Option<(&[u8], &[u8])>,
    ) -> Result<Arc<dyn Storage>, StorageError> {
        check_names(&prefix.into())?;
        let own = login.map(|(user, password)| (user.to_vec(), password.to_vec()));
        let login = self.login.clone().or(own).ok_or(Kind::Denied)?;
        let upstream = self.upstream(&login);
        let mut top = Vec::new();
        if self.is_personal() {
            // The password of this moment is that of the other server too, or there is no session.
            upstream.prove_login()?;
            // The same path can be another file of another user.
            top = [b"/", &*login.0].concat();
        }
        let gateway = Gateway::new(upstream, prefix);
        top.extend_from_slice(&gateway.prefix);
        Ok(Arc::new(self.partials.beside(&top, gateway)))
    }

    fn check(&self) -> Result<Vec<String>, String> {
        let host = self.target.url.host();
        let mut found = Vec::new();
        if self.target.url.scheme() == ftp_client::Scheme::Ftp {
            found.push(format!("passwords and files are sent to {host} unencrypted"));
        }
        let Some(login) = &self.login else {
            let target = Arc::clone(&self.target);
            let connect = move || target.builder.clone().connect_to(&target.url).map(drop);
            self.target.dialler.run(connect).map_err(|error| format!("{host}: {error}"))?;
            found.push(format!("{host} gets the login of each user, which is tested at the login"));
            return Ok(found);
        };
        let upstream = self.upstream(login);
        let failed = |error: StorageError| match error.source {
            Some(source) => format!("{host}: {source}"),
            None => format!("{host}: {error}"),
        };
        let ask =
            |client: &mut Client, _: &_| Ok((client.features()?, Checksum::for_server(client)?));
        let ((features, digest), _) = upstream.ask(ask).map_err(failed)?;
        let root = Gateway::new(upstream, "");
        root.list(&"/".into(), ftp_server::Ask::Names).map_err(failed)?;
        found.push(format!("{host} accepts the login, and its directory can be listed"));
        if !features.has("SIZE") && !features.has("MLST") {
            found.push(format!("{host} does not list SIZE: the size of an upload may be unknown"));
        }
        if self.target.hashes && digest.is_none() {
            found.push(format!("{host} lists no usable digest: uploads are compared by size"));
        }
        Ok(found)
    }
}

impl Door {
    fn new(target: OtherTarget, login: Option<UserLogin>) -> Self {
        // It has no files of its own: those of each session are beside it.
        let partials = Partials::new(MemoryStorage::new()).max_bytes(KEPT);
        Self { target: Arc::new(target), login, open: Mutex::default(), partials }
    }

    /// Returns the connections of a login, and ends those without sessions.
    fn upstream(&self, login: &UserLogin) -> Arc<Upstream> {
        let mut open = lock(&self.open);
        open.retain(|other, upstream| other == login || Arc::strong_count(upstream) > 1);
        let new = || Arc::new(Upstream::new(Arc::clone(&self.target), login.clone()));
        Arc::clone(open.entry(login.clone()).or_insert_with(new))
    }
}
