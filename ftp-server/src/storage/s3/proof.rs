//! The proof that a response comes from the store. Proxies, captive portals and block pages also
//! respond, with any status: without its proof, a response counts as lost.

use std::sync::atomic::{AtomicBool, Ordering};

use ureq::http::HeaderMap;

use super::encode::{xml_elements, xml_text};
use super::error::S3Error;
use super::http::{Client, Request, header, hidden_refusal};

/// Headers that only stores send.
const SIGNS: [&str; 3] = ["x-amz-request-id", "x-amz-id-2", "x-amzn-requestid"];

/// Whether the store sends one of the [`SIGNS`], as it is known so far.
#[derive(Default)]
pub(super) struct StoreSigns {
    are_sent: AtomicBool,
    /// Whether a response without a sign was proved by its content.
    are_left_out: AtomicBool,
}

/// The sign that a response needs besides its status, its tag and its content.
#[derive(Clone, Copy, Eq, PartialEq)]
enum NeededSign {
    /// None: only a store sends such content.
    Content,
    /// A sign, if the store sends them.
    Usual,
    /// A sign. A response without one counts as lost, and the object decides.
    Always,
}

/// What a response to an operation must have, so that it proves success.
struct Row {
    operation: &'static str,
    method: &'static str,
    statuses: &'static [u16],
    sign: NeededSign,
    content: ExpectedContent,
}

const fn row(
    (operation, method): (&'static str, &'static str),
    statuses: &'static [u16],
    sign: NeededSign,
    content: ExpectedContent,
) -> Row {
    Row { operation, method, statuses, sign, content }
}

/// The content that a response must have.
#[derive(Clone, Copy)]
enum ExpectedContent {
    Nothing,
    /// None, but a strong `ETag`.
    Tag,
    /// The bytes of an object, and a strong `ETag`.
    Object,
    /// An XML element with one of these names, in which an element with the other name is not
    /// empty. If the other name is empty, any content counts.
    Element(&'static [&'static str], &'static str),
}

/// All operations that the server uses. The completion of an upload fails if a part is not there. The
/// test server moto uses the second names.
#[rustfmt::skip]
const ROWS: &[Row] = {
    use ExpectedContent::{Element, Nothing, Object, Tag};
    use NeededSign::{Always, Content, Usual};
    &[
        row(("HeadObject",                      "HEAD"),   &[200],      Usual,   Object),
        row(("GetObject",                       "GET"),    &[200, 206], Usual,   Object),
        row(("PutObject",                       "PUT"),    &[200],      Always,  Tag),
        row(("DeleteObject",                    "DELETE"), &[204],      Always,  Nothing),
        row(("CopyObject",                      "PUT"),    &[200],      Content, Element(&["CopyObjectResult"], "ETag")),
        row(("ListObjectsV2",                   "GET"),    &[200],      Content, Element(&["ListBucketResult"], "")),
        row(("CreateMultipartUpload",           "POST"),   &[200],      Content, Element(&["InitiateMultipartUploadResult"], "UploadId")),
        row(("UploadPart",                      "PUT"),    &[200],      Usual,   Tag),
        row(("UploadPartCopy",                  "PUT"),    &[200],      Content, Element(&["CopyPartResult"], "ETag")),
        row(("CompleteMultipartUpload",         "POST"),   &[200],      Content, Element(&["CompleteMultipartUploadResult"], "")),
        row(("AbortMultipartUpload",            "DELETE"), &[204],      Always,  Nothing),
        row(("ListParts",                       "GET"),    &[200],      Content, Element(&["ListPartsResult", "ListPartsResponse"], "")),
        row(("GetBucketLifecycleConfiguration", "GET"),    &[200],      Content, Element(&["LifecycleConfiguration"], "")),
        row(("GetBucketVersioning",             "GET"),    &[200],      Content, Element(&["VersioningConfiguration", "GetBucketVersioningResponse"], "")),
    ]
};

pub(super) fn method_of(operation: &str) -> &'static str {
    ROWS.iter().find(|row| row.operation == operation).map_or("GET", |row| row.method)
}

fn row_of(operation: &'static str) -> Result<&'static Row, S3Error> {
    let row = ROWS.iter().find(|row| row.operation == operation);
    row.ok_or_else(|| unproved(operation, "an operation without a known proof"))
}

fn unproved(operation: &'static str, found: &str) -> S3Error {
    S3Error::Lost { operation, reason: format!("another program responded with {found}") }
}

fn has_sign(headers: &HeaderMap) -> bool {
    SIGNS.iter().any(|name| headers.contains_key(*name))
}

/// Checks the status and the headers of a response with a status of success.
pub(super) fn check_head(
    request: &Request<'_>,
    status: u16,
    headers: &HeaderMap,
) -> Result<(), S3Error> {
    let operation = request.operation;
    let Row { statuses, content, .. } = row_of(operation)?;
    if !statuses.contains(&status) {
        return Err(unproved(operation, &format!("the status {status}")));
    }
    // Frameworks for web servers add weak tags to all their answers.
    let is_strong = |tag: &str| !tag.is_empty() && !tag.starts_with("W/");
    let has_tag = matches!(content, ExpectedContent::Tag | ExpectedContent::Object);
    if has_tag && !header(headers, "etag").is_some_and(is_strong) {
        return Err(unproved(operation, "no strong ETag"));
    }
    // A web server adds an entity tag to its pages too, but not the headers of S3.
    let media = header(headers, "content-type").unwrap_or_default().to_ascii_lowercase();
    let is_html = ["text/html", "application/xhtml+xml"].iter().any(|it| media.starts_with(it));
    let is_s3 = || headers.keys().any(|name| name.as_str().starts_with("x-amz-"));
    if matches!(content, ExpectedContent::Object) && is_html && !is_s3() {
        return Err(unproved(operation, "a page"));
    }
    let asked = request.headers.iter().find(|(name, _)| *name == "range");
    let from = asked.and_then(|(_, range)| range.strip_prefix("bytes=")?.split_once('-'));
    let from = from.map_or("0", |(from, _)| from);
    let range = header(headers, "content-range").unwrap_or_default();
    if (from != "0" || status == 206) && !range.starts_with(&format!("bytes {from}-")) {
        let reason = format!("expected bytes {from}-, found range {range:?}");
        return Err(S3Error::wrong(operation, reason));
    }
    Ok(())
}

impl Client {
    /// Checks the sign of a response with a status of success. If the response has none, and it is
    /// not known yet whether the store sends them, first asks the store for a list of keys, which
    /// is proved by its content.
    pub(super) fn check_sign(
        &self,
        request: &Request<'_>,
        headers: &HeaderMap,
    ) -> Result<(), S3Error> {
        let operation = request.operation;
        if has_sign(headers) {
            self.signs.are_sent.store(true, Ordering::Relaxed);
            return Ok(());
        }
        let failed = || unproved(operation, "no header of S3");
        match row_of(operation)?.sign {
            NeededSign::Content => return Ok(()),
            NeededSign::Always => return Err(failed()),
            NeededSign::Usual => {}
        }
        if !self.signs.are_sent.load(Ordering::Relaxed)
            && !self.signs.are_left_out.load(Ordering::Relaxed)
        {
            self.clock().map_err(|_| failed())?;
        }
        match self.signs.are_sent.load(Ordering::Relaxed) {
            true => Err(failed()),
            false => Ok(()),
        }
    }

    /// Returns whether a response has a sign, or the store is not known to send them.
    pub(super) fn has_usual_sign(&self, headers: &HeaderMap) -> bool {
        has_sign(headers) || !self.sends_signs()
    }

    pub(super) fn sends_signs(&self) -> bool {
        self.signs.are_sent.load(Ordering::Relaxed)
    }

    /// Checks the content of a response with a status of success, and learns from it whether the
    /// store sends signs.
    pub(super) fn check_whole(
        &self,
        operation: &'static str,
        content: &str,
    ) -> Result<(), S3Error> {
        check_content(operation, content)?;
        if row_of(operation)?.sign == NeededSign::Content {
            // Has no effect if this or another response had a sign.
            self.signs.are_left_out.store(true, Ordering::Relaxed);
        }
        Ok(())
    }
}

/// Checks the content of a response with a status of success. Stores can send this status before
/// they know the result, so the content can also be an error.
fn check_content(operation: &'static str, content: &str) -> Result<(), S3Error> {
    match row_of(operation)?.content {
        ExpectedContent::Object => Ok(()),
        ExpectedContent::Nothing | ExpectedContent::Tag if content.trim().is_empty() => Ok(()),
        ExpectedContent::Nothing | ExpectedContent::Tag => {
            Err(unproved(operation, "unexpected content"))
        }
        ExpectedContent::Element(names, inside) => {
            hidden_refusal(operation, content)?;
            let found = names.iter().find_map(|name| xml_elements(content, name).first().copied());
            let is_whole = |found: &str| {
                inside.is_empty() || xml_text(found, inside).is_some_and(|text| !text.is_empty())
            };
            match found.is_some_and(is_whole) {
                true => Ok(()),
                false => Err(unproved(operation, "other content")),
            }
        }
    }
}

/// Returns the error for a refusal. The statuses whose meaning decides what the client is told count
/// only with an error code of S3. A response to `HEAD` has no content, so its caller must ask again.
/// That a condition is unknown counts only from the store itself.
pub(super) fn checked_refusal(request: &Request<'_>, refusal: S3Error, is_signed: bool) -> S3Error {
    match refusal.status() {
        Some(501)
            if request.condition().is_some() && !(is_signed && refusal.is_unimplemented()) =>
        {
            unproved(request.operation, "the status 501")
        }
        Some(status @ (403 | 404 | 409 | 412)) if refusal.code().is_empty() => {
            match request.method {
                "HEAD" => refusal,
                _ => unproved(request.operation, &format!("the status {status}")),
            }
        }
        _ => refusal,
    }
}
