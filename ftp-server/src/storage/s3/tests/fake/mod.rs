//! A small object store in this process, which fails on demand. It supports HTTP, conditions,
//! checksums and multipart uploads.

mod http;
mod keys;
mod odd;
mod state;

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, MutexGuard};
use std::thread;
use std::time::Duration;

use ftp_tests::wait::wait_until;

use self::http::{Answer, Asked};
use self::keys::Issued;
use self::odd::OddRequests;
pub(super) use self::odd::{Odd, Stranger};
use self::state::State;
use crate::lock::Lock;

/// The name under which new connections are counted.
pub(super) const CONNECTION: &str = "connection";

/// The name under which requests with [`Fault::Late`] are counted, once they are executed.
pub(super) const LATE: &str = "late";

/// The name under which all requests are counted.
pub(super) const ANY: &str = "any request";

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Fault {
    /// No response is sent, and the connection stays open.
    Stall,
    /// The connection is reset before the request is executed.
    Reset,
    /// The request is executed, and the connection is reset before the response.
    LoseAnswer,
    /// The response is an error with this status and code.
    Refuse(u16, &'static str),
    /// The response ends in the middle of its body.
    Half,
    /// One byte of the content is wrong.
    Damage,
    /// The response has the status 200 and an error in its body.
    HiddenError(&'static str),
    WrongSum,
    Delay(Duration),
    /// The response waits for [`release`](Fake::release).
    Hold,
    /// The request is executed only after [`release`](Fake::release).
    Late,
    /// The page of a listing has no keys, but another page follows.
    EmptyPage,
    /// The page of a listing is the first one, whichever was requested.
    FirstPage,
    /// The page of a listing has other keys than the requested ones.
    OtherPrefix,
    /// Another program answers with this status. If `is_late` is set, after the store has executed
    /// the request.
    Page {
        status: u16,
        page: Page,
        is_late: bool,
    },
}

/// What another program sends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Page {
    Html,
    Empty,
    /// A page whose end is missing.
    Cut,
    /// A page with an entity tag.
    Tagged,
    /// An answer of a web service, with a weak entity tag, and without content if `true`.
    Json(bool),
    /// A file of a web server, with an entity tag.
    Text,
    /// A gateway that does not know the request, in the words of S3.
    Gateway,
}

impl Page {
    fn answer(self, status: u16) -> Answer {
        let html = Answer::page(status, "<html><title>Welcome</title></html>");
        let html = html.with("content-type", "text/html; charset=utf-8");
        match self {
            Self::Html | Self::Cut => html,
            Self::Empty => Answer::page(status, ""),
            Self::Gateway => Answer::page(status, "<Error><Code>NotImplemented</Code></Error>"),
            Self::Tagged => {
                let html = Answer::page(status, "<html>");
                html.with("content-type", "TEXT/HTML").with("etag", "\"5f1-23\"")
            }
            Self::Json(is_empty) => {
                let body = if is_empty { "" } else { "{\"ok\":true}" };
                let json = Answer::page(status, body).with("etag", "W/\"2-a\"");
                json.with("content-type", "application/json; charset=utf-8")
            }
            Self::Text => {
                let text = Answer::page(status, "Welcome");
                text.with("content-type", "text/plain").with("etag", "\"5f1-23\"")
            }
        }
    }
}

/// Returns a time, in seconds since 1970, in the format of listings.
pub(super) fn iso(seconds: i64) -> String {
    state::iso(seconds)
}

/// The store. It accepts no more connections after this value is dropped.
pub(super) struct Fake {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    state: Lock<State>,
    issued: Lock<Issued>,
    /// The access key and the session token of the last request.
    keys: Lock<Option<(String, Option<String>)>>,
    faults: Lock<Vec<(&'static str, u64, u64, Fault)>>,
    counts: Lock<Vec<(&'static str, u64)>>,
    /// Whether the held responses may be sent.
    is_released: AtomicBool,
    odd: Lock<OddRequests>,
    is_over: AtomicBool,
}

impl Fake {
    /// Lets the responses go that [`Fault::Hold`] holds, now and later.
    pub(super) fn release(&self) {
        self.shared.is_released.store(true, Ordering::SeqCst);
    }

    pub(super) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            state: Lock::default(),
            issued: Lock::default(),
            keys: Lock::default(),
            faults: Lock::default(),
            counts: Lock::default(),
            is_released: AtomicBool::new(false),
            odd: Lock::default(),
            is_over: AtomicBool::new(false),
        });
        let serving = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if serving.is_over.load(Ordering::SeqCst) {
                    return;
                }
                let shared = Arc::clone(&serving);
                thread::spawn(move || serve(&shared, stream));
            }
        });
        Self { address, shared }
    }

    pub(super) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Makes `count` operations with this name fail, after `skipped` successful ones.
    pub(super) fn fail(&self, operation: &'static str, skipped: u64, count: u64, fault: Fault) {
        let from = self.count(operation) + skipped + 1;
        self.shared.faults.lock().push((operation, from, from + count, fault));
    }

    pub(super) fn works(&self) {
        self.shared.faults.lock().clear();
    }

    pub(super) fn count(&self, operation: &str) -> u64 {
        let counts = self.shared.counts.lock();
        counts.iter().find(|(name, _)| *name == operation).map_or(0, |(_, count)| *count)
    }

    pub(super) fn content(&self, key: &str) -> Option<Vec<u8>> {
        self.state().objects.get(key).map(|object| object.bytes.clone())
    }

    pub(super) fn size(&self, key: &str) -> Option<usize> {
        self.state().objects.get(key).map(|object| object.bytes.len())
    }

    /// Stores an object, as another program would.
    pub(super) fn store(&self, key: &str, bytes: &[u8]) {
        self.state().store(key, bytes.to_vec(), Vec::new(), false);
    }

    /// Removes an object, as another program would.
    pub(super) fn remove(&self, key: &str) {
        self.state().objects.remove(key);
    }

    /// Returns the number of multipart uploads that are neither complete nor aborted.
    pub(super) fn uploads(&self) -> usize {
        self.state().uploads.len()
    }

    /// Returns the number of parts of all multipart uploads.
    pub(super) fn parts(&self) -> usize {
        self.state().uploads.values().map(|upload| upload.parts.len()).sum()
    }

    pub(super) fn keys(&self, prefix: &str) -> Vec<String> {
        let state = self.state();
        state.objects.keys().filter(|key| key.starts_with(prefix)).cloned().collect()
    }

    /// Returns when an object with this prefix was last stored, in seconds since 1970.
    pub(super) fn last_change(&self, prefix: &str) -> Option<i64> {
        let state = self.state();
        let objects = state.objects.iter().filter(|(key, _)| key.starts_with(prefix));
        objects.map(|(_, object)| object.modified).max()
    }

    /// Makes all objects and uploads older by `seconds`.
    pub(super) fn age(&self, seconds: i64) {
        self.age_below("", seconds);
    }

    pub(super) fn age_below(&self, prefix: &str, seconds: i64) {
        for (key, object) in &mut self.state().objects {
            if key.starts_with(prefix) {
                object.modified -= seconds;
            }
        }
    }

    pub(super) fn ignore_conditions(&self, ignore: bool) {
        self.state().ignores_conditions = ignore;
    }

    /// Lets the responses to HEAD and GET lack `Last-Modified`.
    pub(super) fn hide_times(&self) {
        self.state().hides_times = true;
    }

    /// Lets the responses lack `x-amz-request-id`.
    pub(super) fn hide_ids(&self) {
        self.state().hides_ids = true;
    }

    /// Lets the tags in listings lack their quotes.
    pub(super) fn hide_quotes(&self) {
        self.state().hides_quotes = true;
    }

    /// Makes objects and parts without a digest fail, as a bucket with Object Lock does.
    pub(super) fn lock_objects(&self) {
        self.state().locks_objects = true;
    }

    pub(super) fn limit_pages(&self, keys: usize) {
        self.state().page_size = Some(keys);
    }

    /// Makes each `GetObject` return the whole object.
    pub(super) fn ignore_ranges(&self) {
        self.state().ignores_ranges = true;
    }

    /// Makes each `PutObject` with a checksum fail.
    pub(super) fn refuse_checksums(&self) {
        self.state().refuses_checksums = true;
    }

    /// Returns the tokens for which keys were issued. Only the last keys are valid.
    pub(super) fn tokens(&self) -> Vec<String> {
        self.shared.issued.lock().tokens.clone()
    }

    /// Returns the access key and the session token of the last request.
    pub(super) fn last_keys(&self) -> Option<(String, Option<String>)> {
        self.shared.keys.lock().clone()
    }

    pub(super) fn expire_keys(&self) {
        self.shared.issued.lock().expire();
    }

    pub(super) fn ignore_conditions_of_removals(&self, ignore: bool) {
        self.state().removes_always = ignore;
    }

    pub(super) fn ignore_conditions_of_copies(&self) {
        self.state().copies_always = true;
    }

    /// Makes requests that make an object without these headers fail.
    pub(super) fn demand(&self, headers: &[(&'static str, &'static str)]) {
        self.state().demands = headers.to_vec();
    }

    /// Makes these operations fail with a condition, from now on.
    pub(super) fn refuse_conditions(&self, operations: &[&'static str]) {
        self.refuse_condition(&["if-match", "if-none-match"], operations);
    }

    /// Makes these operations fail with a condition of these kinds, from now on.
    pub(super) fn refuse_condition(&self, headers: &[&'static str], operations: &[&'static str]) {
        self.state().refuses = (headers.to_vec(), operations.to_vec());
    }

    /// Makes each key lead to the object with the key that `alias` returns.
    pub(super) fn take_keys_for_one(&self, alias: fn(&str) -> String) {
        self.state().alias = Some(alias);
    }

    pub(super) fn store_with(&self, key: &str, bytes: &[u8], headers: &[(&str, &str)]) {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        self.state().store(key, bytes.to_vec(), headers.collect(), true);
    }

    pub(super) fn headers(&self, key: &str) -> Vec<(String, String)> {
        self.state().objects.get(key).map(|it| it.metadata.clone()).unwrap_or_default()
    }

    /// Makes the bucket keep old versions, with these lifecycle rules.
    pub(super) fn keep_versions(&self, rules: &str) {
        let mut state = self.state();
        state.keeps_versions = true;
        state.rules = Some(rules.to_owned());
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock()
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::SeqCst);
        // Wakes the listener, which then ends.
        drop(TcpStream::connect(self.address));
    }
}

impl Shared {
    /// Counts an operation, and returns its fault.
    fn fault(&self, operation: &'static str) -> Option<Fault> {
        let mut counts = self.counts.lock();
        if !counts.iter().any(|(name, _)| *name == operation) {
            counts.push((operation, 0));
        }
        let (_, count) = counts.iter_mut().find(|(name, _)| *name == operation)?;
        *count += 1;
        let faults = self.faults.lock();
        let is_due = |fault: &&(&str, u64, u64, Fault)| {
            fault.0 == operation && (fault.1..fault.2).contains(count)
        };
        faults.iter().find(is_due).map(|(_, _, _, fault)| *fault)
    }
}

fn serve(shared: &Shared, stream: TcpStream) {
    // New connections are only counted; they never fail.
    let _ = shared.fault(CONNECTION);
    let mut connection = http::Connection::new(stream);
    while let Some(mut asked) = connection.next() {
        if let Some(alias) = shared.state.lock().alias {
            asked.key = alias(&asked.key);
        }
        let operation = asked.operation();
        let any = shared.fault(ANY);
        let fault = shared.fault(operation).or(any);
        if let Some(odd) = shared.odd(operation, &asked) {
            match odd.serve(shared, connection, operation, asked) {
                Some(same) => connection = same,
                None => return,
            }
            continue;
        }
        let answer = match fault {
            Some(Fault::Stall) => {
                // Stall until the client gives up.
                connection.wait_for_end();
                return;
            }
            Some(Fault::Reset) => return connection.reset(),
            Some(Fault::Late) => {
                wait_until("release", || shared.is_released.load(Ordering::SeqCst));
                let answer = answer(shared, operation, &asked);
                let _ = shared.fault(LATE);
                answer
            }
            Some(Fault::Refuse(status, code)) => Answer::refusal(status, code),
            Some(Fault::Page { status, page, is_late }) => {
                if is_late {
                    answer(shared, operation, &asked);
                }
                page.answer(status)
            }
            Some(fault @ (Fault::EmptyPage | Fault::FirstPage | Fault::OtherPrefix)) => {
                shared.state.lock().list(&asked, Some(fault))
            }
            Some(Fault::HiddenError(code)) => Answer { status: 200, ..Answer::refusal(500, code) },
            _ => answer(shared, operation, &asked),
        };
        let is_done = match fault {
            Some(Fault::LoseAnswer) => return connection.reset(),
            Some(Fault::Half | Fault::Page { page: Page::Cut, .. }) => {
                connection.answer_half(&answer);
                return;
            }
            Some(Fault::Damage) => connection.answer(&asked, &answer.damaged()),
            Some(Fault::WrongSum) => connection.answer(&asked, &answer.with_wrong_sum()),
            Some(Fault::Delay(delay)) => {
                thread::sleep(delay);
                connection.answer(&asked, &answer)
            }
            Some(Fault::Hold) => {
                wait_until("release", || shared.is_released.load(Ordering::SeqCst));
                connection.answer(&asked, &answer)
            }
            _ => connection.answer(&asked, &answer),
        };
        if !is_done {
            return;
        }
    }
}

fn answer(shared: &Shared, operation: &'static str, asked: &Asked) -> Answer {
    *shared.keys.lock() =
        asked.keys().map(|(key, token)| (key.to_owned(), token.map(str::to_owned)));
    let mut issued = shared.issued.lock();
    if operation == "AssumeRoleWithWebIdentity" {
        return issued.answer(asked);
    }
    if !issued.are_valid(asked) {
        return Answer::refusal(400, "ExpiredToken");
    }
    drop(issued);
    if !asked.is_signed() {
        return Answer::refusal(403, "AccessDenied");
    }
    if !asked.has_its_digest() {
        return Answer::refusal(400, "BadDigest");
    }
    let mut state = shared.state.lock();
    let answer = state.answer(operation, asked);
    if state.hides_ids { answer } else { answer.with("x-amz-request-id", "1") }
}
