//! The S3 operations on single objects.

use ureq::Body;
use ureq::http::HeaderMap;

use super::encode::{Sum, base64, http_time, md5, now, percent_path, sha256};
use super::error::S3Error;
use super::http::{CLASS, Client, IF_IS, IF_NEW, Request, Retries, StoreAnswer, header, retried};

/// Metadata that identifies the upload or copy that made an object.
pub(super) const ID: &str = "x-amz-meta-ftp-id";

/// Metadata with the modification time in seconds since 1970, in the format of rclone and s3fs.
pub(super) const MTIME: &str = "x-amz-meta-mtime";

/// The classes that a copy keeps: those that Amazon accepts for new objects that can be read at once.
const CLASSES: [&str; 5] =
    ["STANDARD_IA", "ONEZONE_IA", "INTELLIGENT_TIERING", "GLACIER_IR", "REDUCED_REDUNDANCY"];

#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Condition {
    None,
    /// No object has this key.
    New,
    /// The object has this entity tag.
    Is(String),
}

impl Condition {
    pub(super) fn header(&self) -> Option<(&'static str, String)> {
        match self {
            Self::None => None,
            Self::New => Some((IF_NEW, "*".to_owned())),
            Self::Is(tag) => Some((IF_IS, tag.clone())),
        }
    }

    /// Returns the condition that the object is still this one, or is still missing.
    pub(super) fn of(object: Option<&StoredObject>) -> Self {
        object.map_or(Self::New, |object| Self::Is(object.tag.clone()))
    }

    pub(super) fn is_met(&self, object: Option<&StoredObject>) -> bool {
        match self {
            Self::None => true,
            Self::New => object.is_none(),
            Self::Is(tag) => object.is_some_and(|object| object.tag == *tag),
        }
    }
}

/// The properties of an object, from a response to `HEAD` or `GET`.
#[derive(Clone, Debug)]
pub(super) struct StoredObject {
    pub(super) size: u64,
    pub(super) tag: String,
    /// Time of the last change by the store's clock, in seconds since 1970; `None` if the response
    /// does not state it.
    pub(super) modified: Option<i64>,
    /// Time of the response by the store's clock, in seconds since 1970. If the response has no
    /// time, this computer's time.
    pub(super) answered: i64,
    /// The digest of the whole content in base64, if the store knows it.
    pub(super) sum: Option<String>,
    /// The headers to keep when the object is copied.
    pub(super) kept: Vec<(String, String)>,
}

impl StoredObject {
    fn new(headers: &HeaderMap) -> Self {
        let answered = header(headers, "date").and_then(http_time).unwrap_or_else(now);
        let text = |name| header(headers, name).map(str::to_owned);
        let is_kept = |name: &str| {
            const MORE: [&str; 6] = [
                "cache-control",
                "content-disposition",
                "content-encoding",
                "content-language",
                "content-type",
                "expires",
            ];
            name.starts_with("x-amz-meta-") || MORE.contains(&name)
        };
        // For an object stored in parts, the store reports a digest of the parts' digests, and an
        // entity tag that ends in a dash and a number.
        let is_whole = !header(headers, "etag").unwrap_or_default().contains('-');
        let kept = headers.iter().filter_map(|(name, value)| {
            let (name, value) = (name.as_str(), str::from_utf8(value.as_bytes()).ok()?);
            let is_kept = is_kept(name) || name == CLASS && CLASSES.contains(&value);
            is_kept.then(|| (name.to_owned(), value.to_owned()))
        });
        Self {
            size: length(headers).unwrap_or(0),
            tag: text("etag").unwrap_or_default(),
            modified: header(headers, "last-modified").and_then(http_time),
            answered,
            sum: text("x-amz-checksum-sha256").filter(|sum| !sum.contains('-') && is_whole),
            kept: kept.collect(),
        }
    }

    pub(super) fn metadata(&self, name: &str) -> Option<&str> {
        self.kept.iter().find(|(key, _)| key == name).map(|(_, value)| &**value)
    }

    /// Returns the modification time from the metadata, otherwise the time of the last change.
    pub(super) fn time(&self) -> i64 {
        let own = self.metadata(MTIME).and_then(|text| text.split('.').next()?.parse().ok());
        own.unwrap_or_else(|| self.changed())
    }

    /// Returns the time of the last change, or of the response if the store does not state it.
    pub(super) fn changed(&self) -> i64 {
        self.modified.unwrap_or(self.answered)
    }

    /// Returns a version, which changes whenever the object is stored again. The ETag alone would not
    /// change with equal content.
    pub(super) fn version(&self) -> String {
        let modified = self.modified.unwrap_or_default();
        format!("{} {modified} {}", self.tag, self.metadata(ID).unwrap_or("-"))
    }

    /// Returns the time since the last change in seconds, by the store's clock.
    pub(super) fn age(&self) -> i64 {
        self.answered.saturating_sub(self.changed())
    }
}

impl Client {
    pub(super) fn head(&self, key: &str) -> Result<Option<StoredObject>, S3Error> {
        let headers = vec![("x-amz-checksum-mode", "ENABLED".to_owned())];
        let request = Request { headers, ..Request::of("HeadObject", key) };
        let found = retried(self.timeouts.retries, || match self.once(&request) {
            // A response to HEAD has no content, and so no reason: ask with GET.
            Err(error) if matches!(error.status(), Some(400 | 403 | 404)) => {
                Err(self.reason(key, &error))
            }
            found => found,
        });
        match existing(found)? {
            Some(answer) if length(&answer.headers).is_none() => {
                Err(S3Error::wrong(request.operation, "the size is missing"))
            }
            found => Ok(found.map(|answer| StoredObject::new(&answer.headers))),
        }
    }

    /// Returns the error that `GET` reports for an object for which `HEAD` was refused. If `GET`
    /// finds the object, returns an error after which `HEAD` is sent again.
    fn reason(&self, key: &str, error: &S3Error) -> S3Error {
        let headers = vec![("range", "bytes=0-0".to_owned())];
        match self.send(&Request { headers, ..Request::of("GetObject", key) }) {
            // An empty object has no such range.
            Err(reason) if reason.status() != Some(416) => reason,
            _ => S3Error::Lost { operation: "HeadObject", reason: error.to_string() },
        }
    }

    /// Returns the properties of an object and its content; `None` if the object is missing. The
    /// content is `None` if the response does not state its length; the caller must request it with
    /// [`get`](Self::get).
    pub(super) fn open(&self, key: &str) -> Result<Option<(StoredObject, Option<Body>)>, S3Error> {
        let headers = vec![("x-amz-checksum-mode", "ENABLED".to_owned())];
        let request = Request { headers, ..Request::of("GetObject", key) };
        match existing(retried(self.timeouts.retries, || self.send(&request)))? {
            // The size must be known before the content is read.
            Some(response) if length(response.headers()).is_none() => {
                Ok(self.head(key)?.map(|object| (object, None)))
            }
            found => Ok(found.map(|response| {
                (StoredObject::new(response.headers()), Some(response.into_body()))
            })),
        }
    }

    /// Begins to read an object at the offset `from`, if the object still has this entity tag.
    pub(super) fn get(&self, key: &str, tag: &str, from: u64) -> Result<Body, S3Error> {
        let mut headers = vec![("if-match", tag.to_owned())];
        if from > 0 {
            headers.push(("range", format!("bytes={from}-")));
        }
        let operation = "GetObject";
        match self.send(&Request { headers, ..Request::of(operation, key) }) {
            Ok(response) if header(response.headers(), "etag") == Some(tag) => {
                Ok(response.into_body())
            }
            Err(error) if !error.is_precondition() && !error.is_missing() => Err(error),
            _ => Err(S3Error::wrong(operation, "the object changed during the download")),
        }
    }

    /// Returns the properties and up to `most` bytes of a small object; `None` if the object is
    /// missing.
    pub(super) fn get_small(
        &self,
        key: &str,
        most: u64,
    ) -> Result<Option<(StoredObject, Vec<u8>)>, S3Error> {
        let operation = "GetObject";
        let headers = vec![("range", format!("bytes=0-{}", most.saturating_sub(1)))];
        let request = Request { headers, ..Request::of(operation, key) };
        existing(retried(self.timeouts.retries, || {
            let mut response = self.send(&request)?;
            let mut object = StoredObject::new(response.headers());
            let range = header(response.headers(), "content-range");
            let total = range.and_then(|range| range.rsplit_once('/')?.1.parse().ok());
            object.size = total.unwrap_or(object.size);
            let bytes = response.body_mut().with_config().limit(most + 1).read_to_vec();
            let bytes =
                bytes.map_err(|error| S3Error::Lost { operation, reason: error.to_string() })?;
            if bytes.len() as u64 != object.size.min(most) {
                let reason = "the content is incomplete".to_owned();
                return Err(S3Error::Lost { operation, reason });
            }
            Ok((object, bytes))
        }))
    }

    /// Stores an object in one request, and returns its entity tag. If the response is lost, the
    /// metadata `id` shows whether this request stored the object.
    pub(super) fn put(
        &self,
        key: &str,
        bytes: &[u8],
        condition: &Condition,
        id: &str,
        checksums: bool,
    ) -> Result<String, S3Error> {
        let sum = sha256(bytes);
        let mut headers = vec![(ID, id.to_owned()), ("content-md5", md5(bytes))];
        headers.extend(condition.header());
        headers.extend(checksums.then(|| ("x-amz-checksum-sha256", base64(&sum))));
        let (body, sum) = (Some(bytes), Some(sum));
        let request = Request { headers, body, sum, ..Request::of("PutObject", key) };
        let made = || self.made(key, id);
        self.decided(&request, made, |answer| check_sum(&request, answer).map(|()| answer.tag()))
    }

    /// Returns the entity tag of the object at `key` if its metadata has this id.
    pub(super) fn made(&self, key: &str, id: &str) -> Result<Option<String>, S3Error> {
        let object = self.head(key)?;
        Ok(object.filter(|object| object.metadata(ID) == Some(id)).map(|object| object.tag))
    }

    /// Makes a change, and returns what `read` finds in the response. After an error that leaves the
    /// result unknown, first asks `made` whether the change was made. Retries it only if it was not, with
    /// the same condition, and only if the store is proved to check that. Without the look, the effect of
    /// the first attempt could make the second one fail.
    pub(super) fn decided<T>(
        &self,
        request: &Request<'_>,
        made: impl Fn() -> Result<Option<T>, S3Error>,
        read: impl Fn(&StoreAnswer) -> Result<T, S3Error>,
    ) -> Result<T, S3Error> {
        let mut retries = Retries::new(self.timeouts.retries);
        let mut is_undecided = false;
        loop {
            let error = match self.once(request).and_then(|answer| read(&answer)) {
                Ok(done) => return Ok(done),
                Err(error) => error,
            };
            is_undecided |= error.is_undecided();
            // A refusal after a lost response can be the effect of the first attempt.
            let found = if is_undecided { made() } else { Ok(None) };
            if let Ok(Some(done)) = found {
                return Ok(done);
            }
            if error.is_undecided() {
                self.note_late(request);
            }
            if found.is_err() {
                return Err(S3Error::Undecided(Box::new(error)));
            }
            if error.is_undecided() && !self.may_repeat(request) {
                return Err(error);
            }
            // After an earlier attempt without a response, only a condition that is not met is a refusal.
            let hides_doubt = is_undecided && !error.is_undecided() && !error.is_precondition();
            match error.is_transient() {
                true => retries.again(error),
                false => Err(error),
            }
            .map_err(|error| if hides_doubt { S3Error::Undecided(error.into()) } else { error })?;
        }
    }

    /// Copies an object if it still has the entity tag `tag`, and gives the copy the metadata
    /// `headers`. Returns the entity tag of the copy.
    pub(super) fn copy(
        &self,
        from: &str,
        tag: &str,
        to: &str,
        condition: &Condition,
        headers: &[(String, String)],
    ) -> Result<String, S3Error> {
        let mut all = vec![
            ("x-amz-copy-source", self.source(from)),
            ("x-amz-copy-source-if-match", tag.to_owned()),
            ("x-amz-metadata-directive", "REPLACE".to_owned()),
        ];
        all.extend(condition.header());
        all.extend(headers.iter().map(|(name, value)| (&**name, value.clone())));
        let id = headers.iter().find(|(name, _)| name == ID).map_or("", |(_, id)| id);
        let request = Request { headers: all, ..Request::of("CopyObject", to) };
        self.decided(&request, || self.made(to, id), |answer| Ok(answer.text("ETag")))
    }

    /// Returns the value of `x-amz-copy-source` for an object of this bucket.
    pub(super) fn source(&self, key: &str) -> String {
        format!("/{}/{}", percent_path(&self.bucket), percent_path(key))
    }
}

/// Returns `None` instead of the error that the object or the upload is missing.
pub(super) fn existing<T>(found: Result<T, S3Error>) -> Result<Option<T>, S3Error> {
    match found {
        Err(error) if error.is_missing() => Ok(None),
        found => found.map(Some),
    }
}

/// Returns the length of the body from the headers of a response; `None` if they do not contain it.
fn length(headers: &HeaderMap) -> Option<u64> {
    header(headers, "content-length")?.parse().ok()
}

/// Returns an error if the store reports a digest other than that of the sent body.
pub(super) fn check_sum(request: &Request<'_>, answer: &StoreAnswer) -> Result<(), S3Error> {
    let told = header(&answer.headers, "x-amz-checksum-sha256");
    let own = request.sum.as_ref().map(|sum: &Sum| base64(sum));
    match (told, own) {
        (Some(told), Some(own)) if told != own => {
            let reason = "the checksum differs from that of the sent bytes";
            Err(S3Error::wrong(request.operation, reason))
        }
        _ => Ok(()),
    }
}
