//! Sends requests to an object store: signed (AWS Signature Version 4, in headers), with a timeout
//! for each phase, and retried if that is safe. Requests can run in separate threads, so that the
//! session can serve its client or send another request meanwhile.

use std::cell::Cell;
use std::fmt;
use std::io::{self, ErrorKind, Read as _};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, RwLock};
use std::thread::{self, Builder};
use std::time::{Duration, Instant};

use ring::hmac;
use ureq::http::{HeaderMap, Request as HttpRequest, Response};
use ureq::{Agent, Body, Error, Timeout};

use super::connection::{Addresses, S3Timeouts};
use super::encode::{
    Sum, amz_time, hex, http_time, now, percent, percent_path, sha256, xml_elements, xml_text,
};
use super::error::S3Error;
use super::keys;
use super::proof::{self, StoreSigns};
use super::remembered::LateChanges;
use crate::lock::{Lock, unpoisoned};
use crate::net::random;
use crate::threads::{self, RECENT};

/// Maximum length in bytes of a response other than the content of an object. A listing of 1,000
/// keys of 1,024 bytes fits, even percent-encoded.
const ANSWER: u64 = 16 * 1024 * 1024;

/// Maximum length of an error message of the store, in characters.
const MESSAGE: usize = 200;

/// The wait before the second attempt. Each later wait is four times as long as the previous one. A
/// random time, shorter than the wait, is added to each wait. Unit tests repeat thousands of requests.
const FIRST_WAIT: Duration = Duration::from_millis(if cfg!(test) { 20 } else { 100 });

/// The operations for whose response the server waits longer.
const SLOW: [&str; 3] = ["CopyObject", "UploadPartCopy", "CompleteMultipartUpload"];

/// The headers of the conditions that there is no object, or that it has a certain entity tag.
pub(super) const IF_NEW: &str = "if-none-match";
pub(super) const IF_IS: &str = "if-match";

/// The headers that users may add to requests that make objects, and these requests.
pub(super) const OBJECT_HEADERS: [&str; 6] = [
    "x-amz-acl",
    "x-amz-expected-bucket-owner",
    "x-amz-server-side-encryption",
    "x-amz-server-side-encryption-aws-kms-key-id",
    "x-amz-server-side-encryption-bucket-key-enabled",
    CLASS,
];
const MAKING: [&str; 3] = ["PutObject", "CopyObject", "CreateMultipartUpload"];

/// The storage class, which the response for an object of the default class lacks.
pub(super) const CLASS: &str = "x-amz-storage-class";

#[derive(Clone)]
pub(super) struct Request<'a> {
    pub(super) operation: &'static str,
    pub(super) method: &'static str,
    /// The key of the object; `None` for the bucket itself.
    pub(super) key: Option<&'a str>,
    pub(super) query: Vec<(&'a str, &'a str)>,
    /// Headers of this operation, with names in lower case. Of these, only those that begin with
    /// `x-amz-` are signed.
    pub(super) headers: Vec<(&'a str, String)>,
    /// The body; `None` for methods without one.
    pub(super) body: Option<&'a [u8]>,
    /// The SHA-256 digest of the body, if it is known.
    pub(super) sum: Option<Sum>,
}

impl<'a> Request<'a> {
    /// Returns a request without a query and own headers. If it has a body, that is empty.
    pub(super) fn of(operation: &'static str, key: impl Into<Option<&'a str>>) -> Self {
        let (key, method) = (key.into(), proof::method_of(operation));
        let body = ["PUT", "POST"].contains(&method).then_some(&[][..]);
        Self { operation, method, key, query: Vec::new(), headers: Vec::new(), body, sum: None }
    }

    /// Returns the header of the condition.
    pub(super) fn condition(&self) -> Option<&'static str> {
        [IF_NEW, IF_IS].into_iter().find(|it| self.headers.iter().any(|(name, _)| name == it))
    }
}

/// A successful response with its whole body, which has its [`proof`].
pub(super) struct StoreAnswer {
    pub(super) headers: HeaderMap,
    pub(super) body: String,
}

impl StoreAnswer {
    pub(super) fn tag(&self) -> String {
        header(&self.headers, "etag").unwrap_or_default().to_owned()
    }

    /// Returns the text of an element in the body.
    pub(super) fn text(&self, name: &str) -> String {
        xml_text(&self.body, name).unwrap_or_default()
    }
}

/// What a store makes of the conditions of an operation.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Treatment {
    /// It is proved to check them.
    Checked,
    Ignored,
    /// It knows no such conditions, and makes no change that has one.
    Refused,
    /// It lacks the operation.
    Missing,
}

/// What a store makes of each kind of condition of an operation.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Treatments {
    /// That there is no object.
    pub(super) new: Treatment,
    /// That the object has a certain entity tag.
    pub(super) is: Treatment,
}

impl Treatments {
    pub(super) const fn both(treatment: Treatment) -> Self {
        Self { new: treatment, is: treatment }
    }

    pub(super) fn of(self, header: &str) -> Treatment {
        if header == IF_NEW { self.new } else { self.is }
    }

    /// Returns whether the store is proved to check both kinds.
    pub(super) fn are_checked(self) -> bool {
        self == Self::both(Treatment::Checked)
    }

    pub(super) fn has(self, treatment: Treatment) -> bool {
        self.new == treatment || self.is == treatment
    }
}

/// What is tested once it matters: how the store treats the conditions of some operations, and
/// whether it has them.
#[derive(Default)]
pub(super) struct Checks {
    found: Lock<Vec<(&'static str, Treatments)>>,
    /// Held during a test, so that two sessions do not make the same one.
    pub(super) testing: Lock<()>,
}

impl Checks {
    pub(super) fn known(&self, operation: &str) -> Option<Treatments> {
        self.found.lock().iter().find(|(name, _)| *name == operation).map(|(_, found)| *found)
    }

    pub(super) fn learn(&self, operation: &'static str, treatments: Treatments) {
        self.found.lock().push((operation, treatments));
    }

    /// Forgets what the store lacks, which may have been the fault of another program.
    pub(super) fn forget_lacks(&self) {
        self.found.lock().retain(|(_, found)| found.are_checked());
    }
}

pub(super) struct Client {
    pub(super) agent: Agent,
    /// `http` or `https`.
    pub(super) scheme: &'static str,
    /// The host, and the port if it is not the default one. In host style the host begins with the
    /// bucket.
    pub(super) authority: String,
    pub(super) bucket: String,
    /// `/bucket` in path style, otherwise empty.
    pub(super) base: String,
    pub(super) object_headers: Vec<(String, String)>,
    pub(super) region: String,
    pub(super) credentials: RwLock<Result<Credentials, String>>,
    /// Whether the store has refused the keys, probably because they have expired.
    pub(super) are_expired: AtomicBool,
    /// Seconds by which the store's clock is ahead of this computer's.
    pub(super) skew: AtomicI64,
    pub(super) timeouts: S3Timeouts,
    pub(super) checks: Checks,
    /// The changes that had no response.
    pub(super) late: Arc<LateChanges>,
    pub(super) signs: StoreSigns,
    pub(super) addresses: Addresses,
}

impl Client {
    /// Notes a change without a response, whose connection is closed.
    pub(super) fn note_late(&self, request: &Request<'_>) {
        let change = (request.key.unwrap_or_default(), request.operation);
        self.late.add(change, request.condition(), self.timeouts.late);
    }

    /// Returns whether a change without a response may be sent again, while the store may still make
    /// the first one: only under a condition that the store checks. Of the server's own objects, each
    /// belongs to one upload.
    pub(super) fn may_repeat(&self, request: &Request<'_>) -> bool {
        let is_checked = |header| {
            let known = self.checks.known(request.operation);
            known.is_some_and(|known| known.of(header) == Treatment::Checked)
        };
        request.key.is_some_and(keys::is_hidden) || request.condition().is_some_and(is_checked)
    }

    /// Sends a request, and retries it after transient failures.
    pub(super) fn call(&self, request: &Request<'_>) -> Result<StoreAnswer, S3Error> {
        retried(self.timeouts.retries, || self.once(request))
    }

    pub(super) fn once(&self, request: &Request<'_>) -> Result<StoreAnswer, S3Error> {
        let response = self.send(request)?;
        let (parts, body) = response.into_parts();
        let body = match request.method {
            "HEAD" => String::new(),
            _ => read_text(body, request.operation)?,
        };
        self.check_whole(request.operation, &body)?;
        Ok(StoreAnswer { headers: parts.headers, body })
    }

    /// Sends a request once. Returns a successful response, whose body is not read yet.
    pub(super) fn send(&self, request: &Request<'_>) -> Result<Response<Body>, S3Error> {
        match self.exchange(request) {
            Err((error, _)) if error.is_expiry() => {
                self.are_expired.store(true, Ordering::Relaxed);
                Err(error)
            }
            // The clock of this computer or of the store is wrong: adopt the store's time.
            Err((error, Some(date))) if error.code() == "RequestTimeTooSkewed" => {
                self.skew.store(date - now(), Ordering::Relaxed);
                self.exchange(request).map_err(|(error, _)| error)
            }
            done => done.map_err(|(error, _)| error),
        }
    }

    /// Sends a request. On failure, also returns the store's time in seconds since 1970, if the
    /// response contained it.
    fn exchange(&self, request: &Request<'_>) -> Result<Response<Body>, (S3Error, Option<i64>)> {
        let operation = request.operation;
        let signed = self.signed(request).map_err(|error| (error, None))?;
        let sent = match request.body {
            Some(body) => {
                let time = self.timeouts.idle + Duration::from_secs(body.len() as u64 / 65_536);
                let config = self.agent.configure_request(signed.map(|()| body));
                let config = config.timeout_send_body(Some(time));
                let config = match SLOW.contains(&operation) {
                    false => config,
                    true => config
                        .timeout_recv_response(Some(self.timeouts.commit))
                        .timeout_recv_body(Some(self.timeouts.commit))
                        .timeout_per_read(Some(self.timeouts.commit)),
                };
                self.agent.run(config.build())
            }
            None => self.agent.run(signed),
        };
        let response = sent.map_err(|error| {
            // The store may have moved.
            self.addresses.look_up();
            (lost(operation, &error), None)
        })?;
        let status = response.status().as_u16();
        if (200..300).contains(&status) {
            let proved = proof::check_head(request, status, response.headers())
                .and_then(|()| self.check_sign(request, response.headers()));
            return proved.map(|()| response).map_err(|error| (error, None));
        }
        let date = header(response.headers(), "date").and_then(http_time);
        let location = header(response.headers(), "x-amz-bucket-region").map(str::to_owned);
        let is_signed = self.has_usual_sign(response.headers());
        // If the reason cannot be read, the refusal is still reported.
        let text = read_text(response.into_body(), operation).unwrap_or_default();
        let refusal = refused(operation, status, &text, location.as_deref());
        Err((proof::checked_refusal(request, refusal, is_signed), date))
    }

    /// Returns the headers that the settings add to a request. A copy keeps its class, and the server's
    /// own objects live too briefly for one.
    fn headers_of_object(&self, request: &Request<'_>) -> Vec<(&str, &str)> {
        let is_own = request.key.is_some_and(keys::is_hidden);
        let keeps_class = is_own || request.operation == "CopyObject";
        let is_there = |name: &str| request.headers.iter().any(|(own, _)| *own == name);
        let all = self.object_headers.iter().map(|(name, value)| (&**name, &**value));
        let makes = MAKING.contains(&request.operation);
        all.filter(|(name, _)| makes && !is_there(name) && !(keeps_class && *name == CLASS))
            .collect()
    }

    /// Returns the signed request without its body.
    fn signed(&self, request: &Request<'_>) -> Result<HttpRequest<()>, S3Error> {
        let credentials = unpoisoned(self.credentials.read()).clone().map_err(S3Error::NoKeys)?;
        let body = request.sum.unwrap_or_else(|| sha256(request.body.unwrap_or_default()));
        let (body, time) = (hex(&body), amz_time(now() + self.skew.load(Ordering::Relaxed)));
        let path = match request.key {
            Some(key) => format!("{}/{}", self.base, percent_path(key)),
            None => format!("{}/", self.base),
        };
        let mut headers: Vec<(&str, &str)> = vec![
            ("host", &*self.authority),
            ("x-amz-content-sha256", &*body),
            ("x-amz-date", &*time),
        ];
        if let Some(token) = &credentials.session_token {
            headers.push(("x-amz-security-token", token));
        }
        let (own, others): (Vec<_>, Vec<_>) =
            request.headers.iter().partition(|(name, _)| name.starts_with("x-amz-"));
        headers.extend(own.iter().map(|(name, value)| (*name, &**value)));
        headers.extend(self.headers_of_object(request));
        let signed = Signed {
            method: request.method,
            path: &path,
            query: &request.query,
            headers: &headers,
            body: &body,
            time: &time,
            region: &self.region,
        };
        let authorization = signed.authorization(&credentials);
        let query = signed.query();
        let mark = if query.is_empty() { "" } else { "?" };
        let uri = format!("{}://{}{path}{mark}{query}", self.scheme, self.authority);
        let mut built = HttpRequest::builder().method(request.method).uri(uri);
        // `ureq` adds the host itself, from the URI.
        for (name, value) in headers.iter().filter(|(name, _)| *name != "host") {
            built = built.header(*name, *value);
        }
        for (name, value) in &others {
            built = built.header(*name, value);
        }
        built.header("authorization", authorization).body(()).map_err(|error| {
            S3Error::Configuration(format!("{}: invalid request: {error}", request.operation))
        })
    }
}

/// Sends a request with `once`, and retries it after transient failures within `limit`.
pub(super) fn retried<T>(
    limit: Duration,
    mut once: impl FnMut() -> Result<T, S3Error>,
) -> Result<T, S3Error> {
    let mut retries = Retries::new(limit);
    loop {
        match once() {
            Err(error) if error.is_transient() => retries.again(error)?,
            done => return done,
        }
    }
}

pub(super) struct Retries {
    begun: Instant,
    limit: Duration,
    tries: u32,
}

impl Retries {
    /// Allows four attempts within `limit`.
    pub(super) fn new(limit: Duration) -> Self {
        Self { begun: Instant::now(), limit, tries: 0 }
    }

    /// Waits before the next attempt. Returns the error if no further attempt is allowed.
    pub(super) fn again(&mut self, error: S3Error) -> Result<(), S3Error> {
        const TRIES: u32 = 4;
        self.tries += 1;
        let wait = FIRST_WAIT * 4_u32.saturating_pow(self.tries - 1);
        if self.tries >= TRIES || self.begun.elapsed() + wait >= self.limit {
            return Err(error);
        }
        // Sessions that failed together should not retry together.
        let spread = random::number().map_or(0, |number| number % 100);
        thread::sleep(wait + wait * u32::try_from(spread).unwrap_or_default() / 100);
        // The session may have given up the change that this thread makes, or its client may have left.
        match IS_CHANGING.get() && !threads::is_wanted(RECENT) {
            true => Err(error),
            false => Ok(()),
        }
    }
}

pub(super) fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// Returns the error that the body of a successful response may contain.
pub(super) fn hidden_refusal(operation: &'static str, body: &str) -> Result<(), S3Error> {
    match xml_elements(body, "Error").first() {
        Some(_) => Err(refused(operation, 200, body, None)),
        None => Ok(()),
    }
}

pub(super) fn read_text(mut body: Body, operation: &'static str) -> Result<String, S3Error> {
    let mut bytes = Vec::new();
    let read = body.as_reader().take(ANSWER).read_to_end(&mut bytes);
    read.map_err(|error| S3Error::Lost { operation, reason: error.to_string() })?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Returns the error of a request without a response.
pub(super) fn lost(operation: &'static str, error: &Error) -> S3Error {
    let reason = error.to_string();
    let is_unsent = match error {
        Error::HostNotFound | Error::ConnectionFailed => true,
        Error::Timeout(timeout) => matches!(timeout, Timeout::Resolve | Timeout::Connect),
        Error::Io(error) => error.kind() == ErrorKind::ConnectionRefused,
        _ => false,
    };
    match is_unsent {
        true => S3Error::Unsent { operation, reason },
        false => S3Error::Lost { operation, reason },
    }
}

pub(super) fn refused(
    operation: &'static str,
    status: u16,
    body: &str,
    region: Option<&str>,
) -> S3Error {
    let error = xml_elements(body, "Error").first().copied().unwrap_or_default();
    let code = xml_text(error, "Code").unwrap_or_default();
    let mut message = xml_text(error, "Message").unwrap_or_default();
    if let (300..400, Some(region)) = (status, region) {
        message = format!("the bucket is in region {region}; configure this region");
    }
    let printable =
        |text: &str| -> String { text.chars().filter(|c| !c.is_control()).take(MESSAGE).collect() };
    S3Error::Refused { operation, status, code: printable(&code), message: printable(&message) }
}

/// Maximum time that a session waits for a thread before the session checks on its client again, as
/// [`Upload::ready`](crate::Upload::ready) requires.
pub(super) const STEP: Duration = Duration::from_millis(100);

thread_local! {
    /// Whether this thread is making a change of files.
    static IS_CHANGING: Cell<bool> = const { Cell::new(false) };
}

/// Returns an error if the session has given up the work of this thread, or has not seen its client
/// for the time `age`: see [`threads::is_wanted`].
pub(super) fn check_wanted(age: Duration) -> Result<(), S3Error> {
    match threads::is_wanted(age) {
        true => Ok(()),
        false => Err(S3Error::Local(io::Error::other("its session has given it up"))),
    }
}

/// Makes a change of files, whose request is neither sent nor sent again once the session has given
/// up the work of this thread: it could replace or remove newer files.
pub(super) fn change<T>(send: impl FnOnce() -> Result<T, S3Error>) -> Result<T, S3Error> {
    check_wanted(RECENT)?;
    IS_CHANGING.set(true);
    let sent = send();
    IS_CHANGING.set(false);
    sent
}

/// Number of times that a change of whatever is under a key looks at the object.
pub(super) const LOOKS: u32 = 4;

/// Runs `first` and `second` at the same time, `second` in a thread.
pub(super) fn both<A, B: Send>(
    first: impl FnOnce() -> A,
    second: impl FnOnce() -> B + Send,
) -> Result<(A, B), S3Error> {
    thread::scope(|scope| {
        let builder = Builder::new().name("s3".to_owned()).stack_size(threads::JOB_STACK);
        let second = builder.spawn_scoped(scope, second).map_err(S3Error::Local)?;
        let first = first();
        let panicked = |_| S3Error::Local(io::Error::other("the thread of a request panicked"));
        Ok((first, second.join().map_err(panicked)?))
    })
}

/// Access keys of an account. `Debug` masks the secrets.
#[derive(Clone, Default)]
pub(super) struct Credentials {
    pub(super) access_key: String,
    pub(super) secret_key: String,
    pub(super) session_token: Option<String>,
}

impl Credentials {
    /// Returns whether the keys can be sent in a header.
    pub(super) fn is_sendable(&self) -> bool {
        let token = self.session_token.as_deref().unwrap_or_default();
        [&*self.access_key, &*self.secret_key, token]
            .iter()
            .all(|text| text.bytes().all(|byte| byte.is_ascii_graphic()))
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("access_key", &self.access_key)
            .field("secret_key", &"****")
            .field("session_token", &self.session_token.as_ref().map(|_| "****"))
            .finish()
    }
}

/// The signed parts of a request.
pub(super) struct Signed<'a> {
    pub(super) method: &'a str,
    /// The path of the URI, percent-encoded.
    pub(super) path: &'a str,
    pub(super) query: &'a [(&'a str, &'a str)],
    /// Headers to sign, with names in lower case, including `host`.
    pub(super) headers: &'a [(&'a str, &'a str)],
    /// The SHA-256 digest of the body in hexadecimal.
    pub(super) body: &'a str,
    /// The time, such as `20130524T000000Z`.
    pub(super) time: &'a str,
    pub(super) region: &'a str,
}

impl Signed<'_> {
    /// Returns the query of the URI, sorted by name; empty if there is none.
    pub(super) fn query(&self) -> String {
        let mut pairs: Vec<_> =
            self.query.iter().map(|(name, value)| (percent(name), percent(value))).collect();
        pairs.sort();
        let pairs: Vec<_> = pairs.iter().map(|(name, value)| format!("{name}={value}")).collect();
        pairs.join("&")
    }

    pub(super) fn authorization(&self, credentials: &Credentials) -> String {
        let Self { method, path, body, time, region, .. } = self;
        let mut headers = self.headers.to_vec();
        headers.sort_unstable();
        let names: Vec<_> = headers.iter().map(|(name, _)| *name).collect();
        let names = names.join(";");
        let mut request = format!("{method}\n{path}\n{}\n", self.query());
        for (name, value) in &headers {
            // Spaces count as one, wherever they are.
            let words: Vec<_> = value.split_whitespace().collect();
            request.push_str(&format!("{name}:{}\n", words.join(" ")));
        }
        request.push_str(&format!("\n{names}\n{body}"));
        let day = time.get(..8).unwrap_or_default();
        let scope = format!("{day}/{region}/s3/aws4_request");
        let digest = hex(&sha256(request.as_bytes()));
        let text = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{digest}");
        let first = format!("AWS4{}", credentials.secret_key);
        let key = [day, region, "s3", "aws4_request"]
            .iter()
            .fold(first.into_bytes(), |key, part| sign(&key, part).as_ref().to_vec());
        let signature = hex(sign(&key, &text).as_ref());
        let account = &credentials.access_key;
        format!(
            "AWS4-HMAC-SHA256 Credential={account}/{scope}, SignedHeaders={names}, \
             Signature={signature}"
        )
    }
}

fn sign(key: &[u8], message: &str) -> hmac::Tag {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), message.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The keys of the examples in the documentation of Amazon S3.
    fn example() -> Credentials {
        Credentials {
            access_key: "AKIAIOSFODNN7EXAMPLE".to_owned(),
            secret_key: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".to_owned(),
            session_token: Some("token-of-the-session".to_owned()),
        }
    }

    const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    const HOST: &str = "examplebucket.s3.amazonaws.com";
    const TIME: &str = "20130524T000000Z";

    fn signature(
        method: &str,
        path: &str,
        query: &[(&str, &str)],
        more: &[(&str, &str)],
        body: &str,
    ) -> String {
        let mut headers =
            vec![("host", HOST), ("x-amz-content-sha256", body), ("x-amz-date", TIME)];
        headers.extend_from_slice(more);
        let signed = Signed {
            method,
            path,
            query,
            headers: &headers,
            body,
            time: TIME,
            region: "us-east-1",
        };
        let value = signed.authorization(&example());
        value.rsplit_once("Signature=").map(|(_, signature)| signature.to_owned()).unwrap()
    }

    /// "Signature Calculations for the Authorization Header", Amazon S3 API Reference.
    #[test]
    fn signatures_match_the_examples_of_amazon() {
        assert_eq!(
            signature("GET", "/test.txt", &[], &[("range", "bytes=0-9")], EMPTY),
            "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
        );
        assert_eq!(
            signature(
                "PUT",
                "/test%24file.text",
                &[],
                &[
                    ("date", "Fri, 24 May 2013 00:00:00 GMT"),
                    ("x-amz-storage-class", "REDUCED_REDUNDANCY"),
                ],
                "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072",
            ),
            "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"
        );
        assert_eq!(
            signature("GET", "/", &[("lifecycle", "")], &[], EMPTY),
            "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"
        );
        assert_eq!(
            signature("GET", "/", &[("prefix", "J"), ("max-keys", "2")], &[], EMPTY),
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"
        );
    }

    #[test]
    fn spaces_in_signed_headers_count_as_one() {
        let sign = |value| signature("GET", "/f", &[], &[("x-amz-meta-title", value)], EMPTY);
        for value in [" a b", "a  b ", "a   b"] {
            assert_eq!(sign(value), sign("a b"), "{value:?}");
        }
        assert_ne!(sign("ab"), sign("a b"));
    }

    /// RFC 4231, test cases 2 and 6.
    #[test]
    fn signatures_are_the_hmac_of_rfc_4231() {
        assert_eq!(
            hex(sign(b"Jefe", "what do ya want for nothing?").as_ref()),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
        let text = "Test Using Larger Than Block-Size Key - Hash Key First";
        assert_eq!(
            hex(sign(&[0xaa; 131], text).as_ref()),
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"
        );
    }

    #[test]
    fn secrets_are_not_shown() {
        let shown = format!("{:?}", example());
        assert!(shown.contains("AKIAIOSFODNN7EXAMPLE"), "{shown}");
        assert!(!shown.contains("wJalr") && !shown.contains("token-of"), "{shown}");
    }
}
