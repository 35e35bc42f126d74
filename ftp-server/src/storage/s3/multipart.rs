//! The S3 operations on multipart uploads.

use std::ops::Range;

use super::encode::{Sum, md5, sha256, xml_elements, xml_escaped, xml_next_page, xml_text};
use super::error::S3Error;
use super::http::{Client, Request, retried};
use super::objects::{Condition, check_sum, existing};

#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Part {
    /// The number, from 1 to [`PARTS`].
    pub(super) number: u32,
    pub(super) size: u64,
    pub(super) tag: String,
}

pub(super) const PARTS: u32 = 10_000;

/// Minimum size of a part other than the last one, in bytes.
pub(super) const LEAST: u64 = 5 * 1024 * 1024;

/// A multipart upload: the key of its object, and the upload id from the store.
#[derive(Clone, Debug)]
pub(super) struct Multipart {
    pub(super) key: String,
    pub(super) upload: String,
}

impl Client {
    pub(super) fn create_upload(
        &self,
        key: &str,
        metadata: &[(String, String)],
    ) -> Result<Multipart, S3Error> {
        let headers = metadata.iter().map(|(name, value)| (&**name, value.clone())).collect();
        let query = vec![("uploads", "")];
        let request = Request { query, headers, ..Request::of("CreateMultipartUpload", key) };
        // If the response is lost, an empty upload may remain. Only a lifecycle rule removes it.
        let answer = self.call(&request)?;
        Ok(Multipart { key: key.to_owned(), upload: answer.text("UploadId") })
    }

    /// Stores a part, or replaces the part with this number.
    ///
    /// The signature contains the part's digest, which the store checks. The part has no checksum of
    /// S3: the completion would have to repeat it, but some stores do not report it to a server that
    /// resumes the upload.
    pub(super) fn upload_part(
        &self,
        to: &Multipart,
        number: u32,
        bytes: &[u8],
    ) -> Result<Part, S3Error> {
        let sum: Sum = sha256(bytes);
        let digits = number.to_string();
        let request = Request {
            query: vec![("partNumber", &*digits), ("uploadId", &*to.upload)],
            headers: vec![("content-md5", md5(bytes))],
            body: Some(bytes),
            sum: Some(sum),
            ..Request::of("UploadPart", &*to.key)
        };
        let answer = self.call(&request)?;
        check_sum(&request, &answer)?;
        Ok(Part { number, size: bytes.len() as u64, tag: answer.tag() })
    }

    /// Lets the store copy a range of an object as a part, if the object still has this entity tag.
    /// A small object must be the whole range: stores copy no other one.
    pub(super) fn copy_part(
        &self,
        to: &Multipart,
        number: u32,
        (from, tag): (&str, &str),
        range: Range<u64>,
        is_whole: bool,
    ) -> Result<Part, S3Error> {
        let bytes = format!("bytes={}-{}", range.start, range.end.saturating_sub(1));
        let digits = number.to_string();
        let mut headers = vec![
            ("x-amz-copy-source", self.source(from)),
            ("x-amz-copy-source-if-match", tag.to_owned()),
        ];
        headers.extend((!is_whole).then_some(("x-amz-copy-source-range", bytes)));
        let query = vec![("partNumber", &*digits), ("uploadId", &*to.upload)];
        let request = Request { query, headers, ..Request::of("UploadPartCopy", &*to.key) };
        let tag = self.call(&request)?.text("ETag");
        Ok(Part { number, size: range.end - range.start, tag })
    }

    /// Makes the object from the parts, and returns its entity tag. If the response is lost, the
    /// metadata `id` shows whether the object was made.
    pub(super) fn complete(
        &self,
        upload: &Multipart,
        parts: &[Part],
        condition: &Condition,
        id: &str,
    ) -> Result<String, S3Error> {
        let body = complete_body(parts);
        let request = Request {
            query: vec![("uploadId", &*upload.upload)],
            headers: condition.header().into_iter().collect(),
            body: Some(body.as_bytes()),
            ..Request::of("CompleteMultipartUpload", &*upload.key)
        };
        let made = || self.made(&upload.key, id);
        self.decided(&request, made, |answer| Ok(answer.text("ETag")))
    }

    pub(super) fn abort_upload(&self, upload: &Multipart) -> Result<(), S3Error> {
        let query = vec![("uploadId", &*upload.upload)];
        let request = Request { query, ..Request::of("AbortMultipartUpload", &*upload.key) };
        retried(self.timeouts.retries, || match existing(self.once(&request)) {
            // The response of a store without signs proves nothing.
            Err(error) if error.is_undecided() && !self.sends_signs() => {
                if self.list_parts(upload)?.is_some() { Err(error) } else { Ok(()) }
            }
            done => done.map(drop),
        })
    }

    /// Returns the stored parts of an upload in order; `None` if the upload does not exist.
    pub(super) fn list_parts(&self, upload: &Multipart) -> Result<Option<Vec<Part>>, S3Error> {
        let operation = "ListParts";
        let mut parts: Vec<Part> = Vec::new();
        let mut after = String::from("0");
        loop {
            let query = vec![("uploadId", &*upload.upload), ("part-number-marker", &*after)];
            let request = Request { query, ..Request::of(operation, &*upload.key) };
            let Some(answer) = existing(self.call(&request))? else { return Ok(None) };
            let reason = "expected parts with numbers, sizes and tags";
            let wrong = || S3Error::wrong(operation, reason);
            let (page, next) = page_of_parts(&answer.body).ok_or_else(wrong)?;
            parts.extend(page);
            match next {
                Some(next) if next != after && parts.len() <= PARTS as usize => after = next,
                Some(_) => return Err(wrong()),
                None => break,
            }
        }
        parts.sort_by_key(|part| part.number);
        Ok(Some(parts))
    }
}

fn complete_body(parts: &[Part]) -> String {
    let mut body = String::from("<CompleteMultipartUpload>");
    for part in parts {
        let tag = xml_escaped(&part.tag);
        let number = part.number;
        let part = format!("<PartNumber>{number}</PartNumber><ETag>{tag}</ETag>");
        body.push_str(&format!("<Part>{part}</Part>"));
    }
    body.push_str("</CompleteMultipartUpload>");
    body
}

/// Reads a page of `ListParts`, and the marker of the next page.
fn page_of_parts(body: &str) -> Option<(Vec<Part>, Option<String>)> {
    // The test server moto uses the second name.
    let result = ["ListPartsResult", "ListPartsResponse"];
    let result = result.iter().find_map(|name| xml_elements(body, name).first().copied())?;
    let part = |part: &&str| {
        let number = |name| xml_text(part, name)?.trim().parse::<u64>().ok();
        Some(Part {
            number: u32::try_from(number("PartNumber")?).ok()?,
            size: number("Size")?,
            tag: xml_text(part, "ETag")?,
        })
    };
    let parts: Option<Vec<Part>> = xml_elements(result, "Part").iter().map(part).collect();
    Some((parts?, xml_next_page(result, "NextPartNumberMarker")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn multipart_parts_are_parsed_and_encoded_for_completion() {
        let body = "<ListPartsResult><IsTruncated>true</IsTruncated><NextPartNumberMarker>2\
            </NextPartNumberMarker><Part><PartNumber>1</PartNumber><Size>7</Size><ETag>&quot;x&quot;\
            </ETag></Part><Part><PartNumber>2</PartNumber><Size>5</Size><ETag>y</ETag>\
            <ChecksumSHA256>s=</ChecksumSHA256></Part></ListPartsResult>";
        let (parts, next) = page_of_parts(body).unwrap();
        assert_eq!((parts[0].size, &*parts[0].tag, next.as_deref()), (7, "\"x\"", Some("2")));
        let told = complete_body(&parts);
        assert!(told.contains("<PartNumber>1</PartNumber><ETag>&quot;x&quot;</ETag></Part>"));
        assert!(told.contains("<ETag>y</ETag></Part>"));
        assert!(page_of_parts(&body.replace("Size>5", "Size>x")).is_none());
        assert!(page_of_parts("").is_none());
    }
}
