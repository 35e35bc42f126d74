//! The S3 operations on single objects.

use ureq::Body;
use ureq::http::{HeaderMap, Response};

use super::encode::{Sum, base64, http_time, iso_time, now, percent_path, sha256};
use super::error::S3Error;
use super::http::{Answer, Client, Request, Retries, Wait, header, hidden_refusal, retried};
use super::xml;

/// Metadata that identifies the upload or copy that made an object.
pub(super) const ID: &str = "x-amz-meta-ftp-id";

/// Metadata with the modification time in seconds since 1970, in the format of rclone and s3fs.
pub(super) const MTIME: &str = "x-amz-meta-mtime";

/// The condition for a change to an object.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Condition {
    None,
    /// No object has this key.
    New,
    /// The object has this entity tag.
    Is(String),
}

impl Condition {
    fn header(&self) -> Option<(&'static str, String)> {
        match self {
            Self::None => None,
            Self::New => Some(("if-none-match", "*".to_owned())),
            Self::Is(tag) => Some(("if-match", tag.clone())),
        }
    }
}

/// The properties of an object, from a response to `HEAD` or `GET`.
#[derive(Clone, Debug)]
pub(super) struct Object {
    pub(super) size: u64,
    pub(super) tag: String,
    /// Time of the last change by the store's clock, in seconds since 1970.
    pub(super) modified: i64,
    /// Time of the response by the store's clock, in seconds since 1970. If the response has no
    /// time, this computer's time.
    pub(super) answered: i64,
    /// The digest of the whole content in base64, if the store knows it.
    pub(super) sum: Option<String>,
    /// The headers to keep when the object is copied.
    pub(super) kept: Vec<(String, String)>,
}

impl Object {
    fn new(headers: &HeaderMap) -> Self {
        let answered = header(headers, "date").and_then(http_time).unwrap_or_else(now);
        let text = |name| header(headers, name).map(str::to_owned);
        let is_kept = |name: &str| {
            const MORE: [&str; 5] = [
                "cache-control",
                "content-disposition",
                "content-encoding",
                "content-language",
                "content-type",
            ];
            name.starts_with("x-amz-meta-") || MORE.contains(&name)
        };
        // For an object stored in parts, the store reports a digest of the parts' digests, and an
        // entity tag that ends in a dash and a number.
        let is_whole = !header(headers, "etag").unwrap_or_default().contains('-');
        let kept = headers.iter().filter(|(name, _)| is_kept(name.as_str()));
        let kept = kept.filter_map(|(name, value)| {
            Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned()))
        });
        Self {
            size: length(headers).unwrap_or(0),
            tag: text("etag").unwrap_or_default(),
            modified: header(headers, "last-modified").and_then(http_time).unwrap_or(answered),
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
        own.unwrap_or(self.modified)
    }

    /// Returns a text that is another one after the object was stored again. The tag alone stays
    /// the same if the content does.
    pub(super) fn version(&self) -> String {
        format!("{} {} {}", self.tag, self.modified, self.metadata(ID).unwrap_or("-"))
    }

    /// Returns the time since the last change in seconds, by the store's clock.
    pub(super) const fn age(&self) -> i64 {
        self.answered.saturating_sub(self.modified)
    }
}

impl Client {
    /// Returns the properties of an object; `None` if the object is missing.
    pub(super) fn head(&self, key: &str) -> Result<Option<Object>, S3Error> {
        let request = Request {
            operation: "HeadObject",
            method: "HEAD",
            key: Some(key),
            headers: vec![("x-amz-checksum-mode", "ENABLED".to_owned())],
            ..Request::default()
        };
        match self.call(&request) {
            Ok(answer) if length(&answer.headers).is_some() => {
                Ok(Some(Object::new(&answer.headers)))
            }
            Ok(_) => {
                let reason = "the size is missing".to_owned();
                Err(S3Error::Wrong { operation: request.operation, reason })
            }
            Err(error) if error.is_missing() => Ok(None),
            // A response to HEAD has no body, and so no reason: ask again with GET.
            Err(error) if error.status() == Some(403) => Err(self.reason(key).unwrap_or(error)),
            Err(error) => Err(error),
        }
    }

    /// Returns the error that `GET` reports for an object, if any.
    fn reason(&self, key: &str) -> Option<S3Error> {
        let headers = vec![("range", "bytes=0-0".to_owned())];
        let (operation, method) = ("GetObject", "GET");
        let request = Request { operation, method, key: Some(key), headers, ..Request::default() };
        self.send(&request).err()
    }

    /// Returns the properties of an object and its content; `None` if the object is missing. The
    /// content is `None` if the response does not state its length; the caller must request it with
    /// [`get`](Self::get).
    pub(super) fn open(&self, key: &str) -> Result<Option<(Object, Option<Body>)>, S3Error> {
        let request = Request {
            operation: "GetObject",
            method: "GET",
            key: Some(key),
            headers: vec![("x-amz-checksum-mode", "ENABLED".to_owned())],
            ..Request::default()
        };
        match retried(self.timeouts.retries, || self.send(&request)) {
            // The size must be known before the content is read.
            Ok(response) if length(response.headers()).is_none() => {
                Ok(self.head(key)?.map(|object| (object, None)))
            }
            Ok(response) => Ok(Some((Object::new(response.headers()), Some(response.into_body())))),
            Err(error) if error.is_missing() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Begins to read an object at the offset `from`, if the object still has this entity tag.
    pub(super) fn get(&self, key: &str, tag: &str, from: u64) -> Result<Response<Body>, S3Error> {
        let mut headers = vec![("if-match", tag.to_owned())];
        if from > 0 {
            headers.push(("range", format!("bytes={from}-")));
        }
        let operation = "GetObject";
        let request =
            Request { operation, method: "GET", key: Some(key), headers, ..Request::default() };
        let response = self.send(&request)?;
        let range = header(response.headers(), "content-range").unwrap_or_default();
        if from > 0 && !range.starts_with(&format!("bytes {from}-")) {
            let reason = format!("expected bytes {from}-, found range {range:?}");
            return Err(S3Error::Wrong { operation, reason });
        }
        Ok(response)
    }

    /// Returns the properties and up to `most` bytes of a small object; `None` if the object is
    /// missing.
    pub(super) fn get_small(
        &self,
        key: &str,
        most: u64,
    ) -> Result<Option<(Object, Vec<u8>)>, S3Error> {
        let operation = "GetObject";
        let headers = vec![("range", format!("bytes=0-{}", most.saturating_sub(1)))];
        let request =
            Request { operation, method: "GET", key: Some(key), headers, ..Request::default() };
        let found = retried(self.timeouts.retries, || {
            let mut response = self.send(&request)?;
            let mut object = Object::new(response.headers());
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
        });
        match found {
            Err(error) if error.is_missing() => Ok(None),
            found => found.map(Some),
        }
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
        let mut headers = vec![(ID, id.to_owned())];
        headers.extend(condition.header());
        if checksums {
            headers.push(("x-amz-checksum-sha256", base64(&sum)));
        }
        let request = Request {
            operation: "PutObject",
            method: "PUT",
            key: Some(key),
            headers,
            body: Some(bytes),
            sum: Some(sum),
            ..Request::default()
        };
        self.decided(key, id, || {
            let answer = self.once(&request)?;
            check_sum(&request, &answer)?;
            Ok(tag_of(&answer))
        })
    }

    /// Makes a change that gives an object the metadata `id`, and returns the entity tag. After an
    /// error that leaves the result unknown, first checks whether the change was made, and retries
    /// only if it was not. Without this check, the effect of the first attempt could make the
    /// second one fail.
    pub(super) fn decided(
        &self,
        key: &str,
        id: &str,
        change: impl Fn() -> Result<String, S3Error>,
    ) -> Result<String, S3Error> {
        let made = || -> Result<Option<String>, S3Error> {
            let object = self.head(key)?;
            Ok(object.filter(|object| object.metadata(ID) == Some(id)).map(|object| object.tag))
        };
        let mut retries = Retries::new(self.timeouts.retries);
        let mut is_undecided = false;
        loop {
            let error = match change() {
                Ok(tag) => return Ok(tag),
                Err(error) => error,
            };
            is_undecided |= error.is_undecided();
            // A refusal after a lost response can be the effect of the first attempt.
            if is_undecided && let Some(tag) = made()? {
                return Ok(tag);
            }
            match error.is_transient() {
                true => retries.again(error)?,
                false => return Err(error),
            }
        }
    }

    /// Removes an object. Stores that do not support `condition` ignore it.
    pub(super) fn delete(&self, key: &str, condition: &Condition) -> Result<(), S3Error> {
        let request = Request {
            operation: "DeleteObject",
            method: "DELETE",
            key: Some(key),
            headers: condition.header().into_iter().collect(),
            ..Request::default()
        };
        match self.call(&request) {
            Err(error) if !error.is_missing() => Err(error),
            _ => Ok(()),
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
        let id = headers.iter().find(|(name, _)| name == ID).map(|(_, id)| id.clone());
        let operation = "CopyObject";
        let request = Request {
            operation,
            method: "PUT",
            key: Some(to),
            headers: all,
            body: Some(&[]),
            wait: Wait::Commit,
            ..Request::default()
        };
        self.decided(to, &id.unwrap_or_default(), || {
            let answer = self.once(&request)?;
            hidden_refusal(operation, &answer.body)?;
            xml::text(&answer.body, "ETag")
                .ok_or(S3Error::Wrong { operation, reason: "no ETag".to_owned() })
        })
    }

    /// Returns the value of `x-amz-copy-source` for an object of this bucket.
    pub(super) fn source(&self, key: &str) -> String {
        format!("/{}/{}", percent_path(&self.bucket), percent_path(key))
    }

    /// Returns a page of the keys that begin with the prefix of `query`.
    pub(super) fn list(&self, query: &ListQuery<'_>) -> Result<Page, S3Error> {
        let most = query.most.to_string();
        let mut pairs = vec![
            ("list-type", "2"),
            ("encoding-type", "url"),
            ("prefix", query.prefix),
            ("max-keys", &*most),
        ];
        if query.by_directory {
            pairs.push(("delimiter", "/"));
        }
        if let Some(token) = query.token {
            pairs.push(("continuation-token", token));
        }
        let operation = "ListObjectsV2";
        let request = Request { operation, method: "GET", query: pairs, ..Request::default() };
        let answer = self.call(&request)?;
        Page::read(&answer.body)
            .ok_or_else(|| S3Error::Wrong { operation, reason: "expected a key list".to_owned() })
    }
}

/// The parameters of a listing.
pub(super) struct ListQuery<'a> {
    pub(super) prefix: &'a str,
    /// Whether to list a key with a `/` after the prefix only as a directory.
    pub(super) by_directory: bool,
    pub(super) most: u32,
    pub(super) token: Option<&'a str>,
}

/// A page of a listing.
#[derive(Debug, Default)]
pub(super) struct Page {
    pub(super) keys: Vec<Listed>,
    /// Common prefixes, each ending in `/`.
    pub(super) directories: Vec<String>,
    /// The token of the next page.
    pub(super) next: Option<String>,
}

/// An object in a listing.
#[derive(Debug)]
pub(super) struct Listed {
    pub(super) key: String,
    pub(super) size: u64,
    pub(super) modified: i64,
}

impl Page {
    fn read(body: &str) -> Option<Self> {
        let result = xml::elements(body, "ListBucketResult").first().copied()?;
        let is_encoded = xml::text(result, "EncodingType").as_deref() == Some("url");
        let key_of = |text: String| match is_encoded {
            true => String::from_utf8(super::encode::decoded(&text)?).ok(),
            false => Some(text),
        };
        let mut page = Self::default();
        for object in xml::elements(result, "Contents") {
            let size = xml::text(object, "Size")?.trim().parse().ok()?;
            let modified = iso_time(&xml::text(object, "LastModified")?)?;
            // No path leads to a key that is not UTF-8.
            if let Some(key) = key_of(xml::text(object, "Key")?) {
                page.keys.push(Listed { key, size, modified });
            }
        }
        for prefix in xml::elements(result, "CommonPrefixes") {
            page.directories.extend(key_of(xml::text(prefix, "Prefix")?));
        }
        if xml::text(result, "IsTruncated").as_deref() == Some("true") {
            page.next = Some(xml::text(result, "NextContinuationToken")?);
        }
        Some(page)
    }
}

/// Returns the length of the body from the headers of a response; `None` if they do not contain it.
fn length(headers: &HeaderMap) -> Option<u64> {
    header(headers, "content-length")?.parse().ok()
}

/// Returns the entity tag in the headers of a response.
pub(super) fn tag_of(answer: &Answer) -> String {
    header(&answer.headers, "etag").unwrap_or_default().to_owned()
}

/// Returns an error if the store reports a digest other than that of the sent body.
pub(super) fn check_sum(request: &Request<'_>, answer: &Answer) -> Result<(), S3Error> {
    let told = header(&answer.headers, "x-amz-checksum-sha256");
    let own = request.sum.as_ref().map(|sum: &Sum| base64(sum));
    match (told, own) {
        (Some(told), Some(own)) if told != own => Err(S3Error::Wrong {
            operation: request.operation,
            reason: "the checksum differs from that of the sent bytes".to_owned(),
        }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn incomplete_or_malformed_listing_pages_are_rejected() {
        let body = "<ListBucketResult><EncodingType>url</EncodingType><IsTruncated>true\
            </IsTruncated><NextContinuationToken>t&amp;1</NextContinuationToken><Contents><Key>d/a%2Bb+c\
            </Key><Size>5</Size><LastModified>2009-10-12T17:50:30.000Z</LastModified></Contents>\
            <CommonPrefixes><Prefix>d/e/</Prefix></CommonPrefixes></ListBucketResult>";
        let page = Page::read(body).unwrap();
        assert_eq!((&*page.keys[0].key, page.keys[0].size), ("d/a+b c", 5));
        assert_eq!(page.directories, ["d/e/"]);
        assert_eq!(page.next.as_deref(), Some("t&1"));
        for (cut, with) in [("<Size>5</Size>", ""), ("NextContinuationToken>t", "x"), ("5<", "x<")]
        {
            assert!(Page::read(&body.replace(cut, with)).is_none(), "{cut}");
        }
        // A truncated page must not look like an empty directory.
        assert!(Page::read(&body[..body.len() - 5]).is_none());
        assert!(Page::read("<html>").is_none());
    }
}
