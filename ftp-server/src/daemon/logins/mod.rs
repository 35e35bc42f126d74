//! `auth.program`: a program that checks the logins of users who are not in the configuration. Each
//! login that is not in the cache starts one process, which reads one line of JSON and answers with
//! a JSON object.

use std::collections::{BTreeSet, VecDeque};
use std::net::IpAddr;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ftp_proto::text::json::Object;
use ftp_proto::text::toml_text;
use sha2::{Digest, Sha256};

use super::config::{Settings, User, ValueContent, ValueType, is_name, json_object};
use super::programs::pool::{Job, ProgramPool};
use super::programs::{self as process, Failures, ProgramAnswer, Stuck};
use crate::lock::Lock;
use crate::net::random;
use crate::{AuthError, LoginAttempt};

/// Time that the shutdown leaves for killed programs to end.
const KILLED: Duration = Duration::from_secs(3);

/// The current program and the threads that start it; the threads outlive reloads.
pub(super) struct Logins {
    pool: Arc<ProgramPool<Question>>,
    current: Lock<Option<Arc<LoginProgram>>>,
}

impl Logins {
    pub(super) fn new() -> Self {
        Self { pool: Arc::new(ProgramPool::new("logins", false)), current: Lock::new(None) }
    }

    /// Returns the program of these settings, for [`set`](Self::set).
    pub(super) fn program(&self, settings: &Settings) -> Option<Arc<LoginProgram>> {
        let is_set = !settings.auth.program.is_empty();
        is_set.then(|| Arc::new(LoginProgram::new(settings, &self.pool)))
    }

    /// Applies settings and the program that [`program`](Self::program) returned for them. Forgets
    /// the logins that the former program accepted.
    pub(super) fn set(&self, settings: &Settings, program: Option<Arc<LoginProgram>>) {
        if program.is_some() {
            self.pool.set(settings.auth.workers);
        }
        let former = std::mem::replace(&mut *self.current.lock(), program);
        if let Some(former) = former {
            former.cache.end();
        }
    }

    /// Kills the running programs, and refuses all later logins that need one.
    pub(super) fn end(&self) {
        for question in self.pool.end() {
            question.settle(Err("not started: the server is stopping".to_owned()));
        }
    }

    /// Waits at most [`KILLED`] for the killed programs.
    pub(super) fn finish(&self) {
        for question in self.pool.give_up(Instant::now() + KILLED) {
            question.settle(Err("killed: the server is stopping".to_owned()));
        }
    }
}

/// The daemon did not start.
impl Drop for Logins {
    fn drop(&mut self) {
        self.end();
    }
}

pub(super) struct LoginProgram {
    command: Arc<[String]>,
    /// Maximum number of processes at a time.
    workers: usize,
    limit: Duration,
    /// Settings that supply `[defaults]` and groups, and that reveal contradictions in an answer.
    settings: Settings,
    cache: Cache,
    failures: Failures,
    pool: Arc<ProgramPool<Question>>,
}

impl LoginProgram {
    fn new(settings: &Settings, pool: &Arc<ProgramPool<Question>>) -> Self {
        let auth = &settings.auth;
        Self {
            command: auth.program.clone().into(),
            workers: auth.workers,
            limit: auth.timeout,
            settings: settings.for_answers(),
            cache: Cache::new(auth.cache),
            failures: Failures::default(),
            pool: Arc::clone(pool),
        }
    }

    /// Returns the user of a login, if the program accepts it. Blocks until the program has
    /// decided.
    ///
    /// # Errors
    ///
    /// Returns `Refused` if the program refuses the login, or if no user can have this name.
    /// Returns `Unavailable` if there is no valid answer, and logs that unless the client has gone.
    pub(super) fn user(&self, attempt: &LoginAttempt<'_>) -> Result<User, AuthError> {
        let name = str::from_utf8(attempt.user).ok().filter(|name| is_name(name));
        // No user can have an invalid name, so there is no need to ask the program.
        let name = name.ok_or(AuthError::Refused)?;
        let asked = Asked::of(attempt);
        let start = Instant::now();
        let key = self.cache.key(&asked);
        if let Some(user) = key.as_ref().and_then(|key| self.cache.get(key, start)) {
            return Ok(user);
        }
        let question = Question::new(&self.command, &asked, self.limit, attempt.deadline);
        let question = Arc::new(question);
        let ask = || {
            self.pool.push(Arc::clone(&question));
            question.wait(&|| attempt.is_client_gone())
        };
        let outcome = match attempt.in_turn(self.workers, ask) {
            Some(Some(outcome)) => outcome,
            None if attempt.deadline <= Instant::now() => Err(LATE.to_owned()),
            None | Some(None) => return Err(AuthError::Unavailable),
        };
        let answer = outcome.and_then(|text| self.answer(name, &text));
        match answer {
            Ok(Some(user)) => {
                if let Some(key) = key {
                    self.cache.put(key, start, &user);
                }
                Ok(user)
            }
            Ok(None) => Err(AuthError::Refused),
            Err(why) => {
                self.log(attempt, &why);
                Err(AuthError::Unavailable)
            }
        }
    }

    /// Logs why there is no valid answer, unless there are too many such messages.
    fn log(&self, attempt: &LoginAttempt<'_>, why: &str) {
        let why = without_password(why, attempt.password);
        self.failures.log("auth.program", &self.command, attempt.user, &why);
    }

    /// Returns the user in an answer, or `None` if the answer refuses the login.
    fn answer(&self, name: &str, text: &[u8]) -> Result<Option<User>, String> {
        let (ok, mut keys): (Vec<_>, Vec<_>) =
            json_object(text)?.into_iter().partition(|member| member.name == "ok");
        let ok: Vec<ValueContent> = ok.into_iter().map(|member| member.value.content).collect();
        match ok.as_slice() {
            // The other keys are ignored: a program may send them for a wrong password too.
            [ValueContent::Single(ValueType::Switch, ok)] if ok == "false" => return Ok(None),
            [ValueContent::Single(ValueType::Switch, _)] => {}
            [] => return Err("the answer lacks the key \"ok\"".to_owned()),
            [_] => return Err("key \"ok\": expected true or false".to_owned()),
            _ => return Err("key \"ok\": defined twice".to_owned()),
        }
        if keys.iter().any(|member| member.name == "password") {
            return Err("password: not allowed in an answer".to_owned());
        }
        keys.retain(|member| member.value.content != ValueContent::Unset);
        let mut names = BTreeSet::new();
        if let Some(second) = keys.iter().find(|member| !names.insert(&member.name)) {
            return Err(format!("{}: defined twice", toml_text::shown(&second.name)));
        }
        self.settings.user_of(name, &keys).map(Some)
    }
}

/// Replaces the message if it shows the password.
fn without_password(why: &str, password: &[u8]) -> String {
    let password = String::from_utf8_lossy(password);
    if password.is_empty() || !why.contains(&*password) {
        return why.to_owned();
    }
    "invalid answer (not shown: it contains the password)".to_owned()
}

/// Largest number of logins in the cache.
const MOST: usize = 1_000;

/// A cache of logins that were accepted a short time ago, so that the server does not start the
/// program again for each connection of a client. It holds no passwords: the key of a login is a
/// digest of a random secret and of all facts that `auth.program` gets. Refused logins are never in
/// it.
struct Cache {
    lifetime: Duration,
    /// `None` if there are no random numbers; then nothing is remembered.
    secret: Option<[u8; 32]>,
    /// The oldest first; `None` once a reload has replaced the program.
    entries: Lock<Option<VecDeque<AcceptedLogin>>>,
}

#[derive(Clone, Copy, Eq, PartialEq)]
struct LoginKey([u8; 32]);

struct AcceptedLogin {
    key: LoginKey,
    until: Instant,
    user: User,
}

/// Returns four random numbers as bytes, or `None` if there are none.
fn secret() -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    for chunk in bytes.as_chunks_mut().0 {
        *chunk = random::number().ok()?.to_ne_bytes();
    }
    Some(bytes)
}

impl Cache {
    fn new(lifetime: Duration) -> Self {
        let secret = secret();
        Self { lifetime, secret, entries: Lock::new(Some(VecDeque::new())) }
    }

    /// Returns the key of a login, or `None` if the cache is off.
    fn key(&self, asked: &Asked<'_>) -> Option<LoginKey> {
        if self.lifetime.is_zero() {
            return None;
        }
        let mut digest = Sha256::new().chain_update(self.secret?);
        let peer = asked.peer.to_string();
        for field in [
            Some(asked.user),
            Some(asked.password),
            Some(peer.as_bytes()),
            asked.host.as_deref().map(str::as_bytes),
            asked.tls.map(str::as_bytes),
        ] {
            // Includes the lengths, so that two different logins never have the same bytes.
            let length = field.map_or(u64::MAX, |field| field.len() as u64);
            digest.update(length.to_be_bytes());
            digest.update(field.unwrap_or_default());
        }
        Some(LoginKey(digest.finalize().into()))
    }

    /// Returns the user of a login that was accepted recently.
    fn get(&self, key: &LoginKey, now: Instant) -> Option<User> {
        let entries = self.entries.lock();
        let mut entries = entries.as_ref()?.iter();
        entries.find(|entry| entry.key == *key && now < entry.until).map(|entry| entry.user.clone())
    }

    /// Caches a login. Its lifetime runs from the start of the question, not of the answer, so that
    /// a password changed in between is not accepted longer than the settings allow.
    fn put(&self, key: LoginKey, asked: Instant, user: &User) {
        let Some(until) = asked.checked_add(self.lifetime) else { return };
        let mut entries = self.entries.lock();
        let Some(entries) = entries.as_mut() else { return };
        let now = Instant::now();
        entries.retain(|entry| entry.key != key && now < entry.until);
        if entries.len() == MOST {
            entries.pop_front();
        }
        entries.push_back(AcceptedLogin { key, until, user: user.clone() });
    }

    /// Forgets all logins, and remembers none from now on.
    fn end(&self) {
        *self.entries.lock() = None;
    }
}

/// Processes of `auth.program` that were killed but have not ended.
static STUCK: Stuck = Stuck::new();

/// The facts that the program gets about a login.
struct Asked<'a> {
    user: &'a [u8],
    password: &'a [u8],
    peer: IpAddr,
    /// Version of TLS on the control connection.
    tls: Option<&'static str>,
    /// The argument of HOST, or the TLS server name if that is a configured host. If no hosts are
    /// configured, HOST accepts any name.
    host: Option<String>,
}

impl<'a> Asked<'a> {
    fn of(attempt: &LoginAttempt<'a>) -> Self {
        Self {
            user: attempt.user,
            password: attempt.password,
            peer: attempt.peer.ip(),
            tls: attempt.tls.map(|tls| tls.version.as_str()),
            host: attempt.host.map(ToString::to_string),
        }
    }

    fn line(&self) -> String {
        Object::start()
            .name("user", self.user)
            .name("password", self.password)
            .text("peer", &self.peer.to_string())
            .text_if("tls", self.tls)
            .text_if("host", self.host.as_deref())
            .into_line()
    }
}

/// A process to start, and its outcome.
struct Question {
    command: Arc<[String]>,
    /// Contains the password, so no message shows this text.
    input: String,
    limit: Duration,
    /// The time at which the session gives up.
    deadline: Instant,
    answer: ProgramAnswer<ProgramOutcome>,
}

/// The output of the program, or why there is no answer.
type ProgramOutcome = Result<Vec<u8>, String>;

impl Question {
    fn new(command: &Arc<[String]>, asked: &Asked<'_>, limit: Duration, deadline: Instant) -> Self {
        Self {
            command: Arc::clone(command),
            input: asked.line(),
            limit,
            deadline,
            answer: ProgramAnswer::new(),
        }
    }

    /// Waits for the answer, until the session's login times out. If `is_gone` returns `true`, ends
    /// the program and returns `None`.
    fn wait(&self, is_gone: &dyn Fn() -> bool) -> Option<ProgramOutcome> {
        let mut pause = Duration::ZERO;
        loop {
            if let Some(outcome) = self.answer.wait(pause) {
                return Some(outcome);
            }
            let left = self.deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Some(Err(LATE.to_owned()));
            }
            if is_gone() {
                self.answer.abandon();
                return None;
            }
            pause = left.min(LOOK);
        }
    }

    /// Settles the question, unless it is settled already.
    fn settle(&self, outcome: ProgramOutcome) {
        self.answer.settle(outcome);
    }
}

/// Pause between two checks of whether the client has gone.
const LOOK: Duration = Duration::from_millis(250);

const LATE: &str = "the login timed out before the program answered";

const GONE: &str = "the client has gone";

impl Job for Question {
    /// Logins wait for their turn before they get into the queue.
    fn user(&self) -> &[u8] {
        &[]
    }

    fn size(&self) -> usize {
        self.input.len()
    }

    fn run(&self, is_over: &dyn Fn() -> bool) -> Result<(), String> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if self.answer.is_abandoned() {
            return Err(GONE.to_owned());
        }
        let Some((program, arguments)) = self.command.split_first().filter(|_| !left.is_zero())
        else {
            return Err(LATE.to_owned());
        };
        let input = process::input(&self.input).map_err(|error| error.to_string())?;
        let mut command = process::command(program);
        // The program's standard error may show the password.
        command.args(arguments).stdin(input).stdout(Stdio::piped()).stderr(Stdio::null());
        let is_over = || is_over() || self.answer.is_abandoned();
        let answer = process::ask(&mut command, self.limit.min(left), &is_over, &STUCK)?;
        self.settle(Ok(answer));
        Ok(())
    }

    fn fail(&self, why: &str) {
        self.settle(Err(why.to_owned()));
    }

    fn refuse(self: Arc<Self>) {
        let why = "not started: the server is stopping";
        self.settle(Err(why.to_owned()));
    }
}

#[cfg(test)]
mod tests {
    use crate::Rights;

    use super::*;

    fn program(assignments: &[&str]) -> LoginProgram {
        let mut settings = Settings::default();
        for assignment in assignments {
            settings.assign(assignment).unwrap();
        }
        LoginProgram::new(&settings, &Logins::new().pool)
    }

    #[test]
    fn an_answer_has_the_keys_of_a_user() {
        let program = program(&[
            "defaults.root=/srv/%u",
            "defaults.umask=027",
            "groups.cameras.rights=drop-box",
            "users.carl.root=/carl",
        ]);
        let user = |name, text: &str| program.answer(name, text.as_bytes()).unwrap().unwrap();
        let plain = user("anna", "{\"ok\":true}\n");
        assert_eq!((plain.root.shown(), plain.umask), ("/srv/anna".to_owned(), Some(0o027)));
        assert_eq!(plain.rights, Rights::READ);
        let more = user(
            "cam",
            "{\"ok\":true,\"groups\":[\"cameras\"],\"root\":\"/cams/%u\",\"quota\":\"1 GiB\",\
             \"idle_timeout\":300,\"create_home\":true,\"overwrite\":false,\"umask\":null,\
             \"owner\":\"2000\",\"file_mode\":\"0640\",\
             \"networks\":[\"192.0.2.0/24\"],\"directories\":{\"/pub\":[\"list\",\"read\"]}}",
        );
        assert_eq!(more.root.shown(), "/cams/cam");
        assert_eq!((more.rights, more.quota), (Rights::DROP_BOX, 1 << 30));
        assert_eq!(more.idle_timeout, Some(Duration::from_secs(300)));
        assert_eq!((more.create_home, more.overwrite), (true, Some(false)));
        assert_eq!((more.owner.unwrap().id(), more.file_mode), (2_000, Some(0o640)));
        assert_eq!((more.networks.len(), more.directories.len()), (1, 1));
        // A user of the file is not a user of `auth.program`.
        assert_eq!(user("carl", "{\"ok\":true}").root.shown(), "/srv/carl");
        let odd = user("a \"b\".c = 1 [x]", "{\"ok\":true,\"root\":\"/x\",\"rights\":\"full\"}");
        assert_eq!((odd.root.shown(), odd.rights), ("/x".to_owned(), Rights::FULL));
        for refused in ["{\"ok\":false}", "{\"root\":\"x\",\"ok\":false,\"roof\":1}"] {
            assert!(program.answer("anna", refused.as_bytes()).unwrap().is_none());
        }
    }

    #[test]
    fn an_invalid_answer_is_reported_with_its_reason() {
        let program = program(&["groups.cameras.rights=drop-box"]);
        for (text, want) in [
            ("", "the answer is empty"),
            ("yes", "the answer is not JSON: expected value at line 1 column 1"),
            ("{}", "the answer lacks the key \"ok\""),
            ("{\"ok\":1,\"root\":\"/\"}", "key \"ok\": expected true or false"),
            ("{\"ok\":\"true\",\"root\":\"/\"}", "key \"ok\": expected true or false"),
            ("{\"ok\":false,\"ok\":true,\"root\":\"/\"}", "key \"ok\": defined twice"),
            ("{\"ok\":true}", "root is missing"),
            ("{\"ok\":true,\"root\":null}", "root is missing"),
            (
                "{\"ok\":true,\"root\":\"srv\"}",
                "root: invalid path \"srv\": expected an absolute path",
            ),
            ("{\"ok\":true,\"root\":\"/\\u0000\"}", "root: invalid path: NUL is not allowed"),
            ("{\"ok\":true,\"root\":5}", "root: expected a string in quotes, found a number"),
            ("{\"ok\":true,\"root\":\"/\",\"root\":\"/srv\"}", "root: defined twice"),
            ("{\"ok\":true,\"roots\":\"/\"}", "roots: unknown key; did you mean root?"),
            ("{\"ok\":true,\"root\":\"/\",\"a.b\":1}", "\"a.b\": unknown key"),
            (
                "{\"ok\":true,\"root\":\"/\",\"a]\\n[users.x]\\nroot\":1}",
                "\"a]\\u000a[users.x]\\u000aroot\": unknown key",
            ),
            ("{\"ok\":true,\"root\":\"/\",\"rights\":\"all\"}", "rights: unknown right \"all\""),
            (
                "{\"ok\":true,\"root\":\"/\",\"groups\":[\"camera\"]}",
                "groups: unknown group \"camera\"; did you mean cameras?",
            ),
            ("{\"ok\":true,\"root\":\"/\",\"tls\":\"required\"}", "tls: needs "),
            (
                "{\"ok\":true,\"root\":\"/\",\"password\":\"x\"}",
                "password: not allowed in an answer",
            ),
            (
                "{\"ok\":true,\"root\":\"/\",\"quota\":1.5}",
                "quota: expected a size such as \"64 MiB\", found a fraction",
            ),
            (
                "{\"ok\":true,\"root\":\"/\",\"networks\":[null]}",
                "networks: expected a string in quotes, found null",
            ),
            ("{\"ok\":true,\"root\":\"/\",\"directories\":{\"in\":\"read\"}}", "directories.in: "),
        ] {
            let why = program.answer("anna", text.as_bytes()).unwrap_err();
            assert!(why.starts_with(want), "{text}: {why}");
        }
        let why = program.answer("a/b", b"{\"ok\":true,\"root\":\"/srv/%u\"}").unwrap_err();
        assert!(why.starts_with("root: this name cannot replace %u: "), "{why}");
    }

    #[test]
    fn messages_that_contain_the_password_are_not_shown() {
        let why = "root: invalid path \"secret\": expected an absolute path";
        assert_eq!(without_password(why, b""), why);
        assert_eq!(without_password(why, b"other"), why);
        for password in [&b"secret"[..], b"s", b"absolute path"] {
            assert_eq!(
                without_password(why, password),
                "invalid answer (not shown: it contains the password)"
            );
        }
    }

    fn asked_by(peer: IpAddr) -> Asked<'static> {
        Asked { user: b"u", password: b"p", peer, tls: None, host: None }
    }

    #[test]
    fn the_program_receives_one_json_line() {
        let asked = Asked {
            user: b"anna",
            password: b"a \"\\\xe9",
            peer: [192, 0, 2, 1].into(),
            tls: Some("1.3"),
            host: Some("ftp.example.org".to_owned()),
        };
        assert_eq!(
            asked.line(),
            "{\"v\":1,\"user\":\"anna\",\"password\":\"a \\\"\\\\\u{fffd}\",\
             \"password_b64\":\"YSAiXOk=\",\"peer\":\"192.0.2.1\",\"tls\":\"1.3\",\
             \"host\":\"ftp.example.org\"}\n"
        );
        let asked = Asked { password: b"\0", tls: None, host: None, ..asked };
        assert_eq!(
            asked.line(),
            "{\"v\":1,\"user\":\"anna\",\"password\":\"\\u0000\",\"peer\":\"192.0.2.1\"}\n"
        );
    }

    #[test]
    fn a_late_or_abandoned_login_does_not_start_the_program() {
        let asked = asked_by([192, 0, 2, 1].into());
        let command: Arc<[String]> = Arc::new(["/bin/cat".to_owned()]);
        let limit = Duration::from_secs(60);
        let late = Question::new(&command, &asked, limit, Instant::now());
        assert_eq!(late.run(&|| false), Err(LATE.to_owned()));
        assert_eq!(late.wait(&|| false), Some(Err(LATE.to_owned())));
        let early = Question::new(&command, &asked, limit, Instant::now() + limit);
        assert_eq!(early.run(&|| false), Ok(()));
        // The first outcome counts.
        early.fail("later");
        assert_eq!(early.wait(&|| true), Some(Ok(asked.line().into_bytes())));
        // The client has gone before the program starts.
        let abandoned = Question::new(&command, &asked, limit, Instant::now() + limit);
        assert_eq!(abandoned.wait(&|| true), None);
        assert_eq!(abandoned.run(&|| false), Err(GONE.to_owned()));
    }
}

#[cfg(test)]
mod tests_of_the_cache {
    use super::*;

    const LONG: Duration = Duration::from_secs(3600);

    fn asked<'a>(user: &'a str, password: &'a str) -> Asked<'a> {
        let (user, password) = (user.as_bytes(), password.as_bytes());
        Asked { user, password, peer: [192, 0, 2, 1].into(), tls: None, host: None }
    }

    #[test]
    fn only_an_identical_login_is_found_in_the_cache() {
        let cache = Cache::new(LONG);
        let now = Instant::now();
        let known = cache.key(&asked("anna", "secret")).unwrap();
        assert!(cache.get(&known, now).is_none());
        cache.put(known, now, &User::default());
        assert!(cache.get(&known, now).is_some());
        for other in [
            asked("anna", "Secret"),
            asked("annas", "ecret"),
            Asked { peer: [192, 0, 2, 2].into(), ..asked("anna", "secret") },
            Asked { tls: Some("1.3"), ..asked("anna", "secret") },
            Asked { host: Some("1.3".to_owned()), ..asked("anna", "secret") },
        ] {
            assert!(cache.get(&cache.key(&other).unwrap(), now).is_none());
        }
        assert!(Cache::new(LONG).key(&asked("anna", "secret")) != Some(known));
        cache.end();
        cache.put(known, now, &User::default());
        assert!(cache.get(&known, now).is_none());
    }

    #[test]
    fn a_cached_login_expires() {
        let cache = Cache::new(Duration::from_secs(60));
        let now = Instant::now();
        let known = cache.key(&asked("anna", "secret")).unwrap();
        cache.put(known, now, &User::default());
        assert!(cache.get(&known, now + Duration::from_secs(59)).is_some());
        assert!(cache.get(&known, now + Duration::from_secs(60)).is_none());
        let none = Cache::new(Duration::ZERO);
        assert!(none.key(&asked("anna", "secret")).is_none());
    }

    #[test]
    fn at_most_one_thousand_logins_are_cached() {
        let cache = Cache::new(LONG);
        let now = Instant::now();
        let keys: Vec<LoginKey> =
            (0..=MOST).map(|number| cache.key(&asked(&number.to_string(), "p")).unwrap()).collect();
        keys.iter().for_each(|key| cache.put(*key, now, &User::default()));
        // The same login again does not take a second place.
        cache.put(keys[MOST], now, &User::default());
        let known = keys.iter().filter(|key| cache.get(key, now).is_some()).count();
        assert_eq!((known, cache.get(&keys[0], now).is_none()), (MOST, true));
    }
}
