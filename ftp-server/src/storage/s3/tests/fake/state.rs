//! The objects of the fake store, and its operations on them.

use std::collections::{BTreeMap, BTreeSet};

use ftp_proto::TimeVal;

use super::super::super::encode::{
    Sum, base64, decoded, hex, now, percent_path, sha256, xml_elements, xml_escaped, xml_text,
};
use super::super::super::multipart::LEAST;
use super::Fault;
use super::http::{Answer, Asked};

pub(super) struct Object {
    pub(super) bytes: Vec<u8>,
    sum: Sum,
    tag: String,
    pub(super) modified: i64,
    pub(super) metadata: Vec<(String, String)>,
    /// Whether one request stored the object, so that its checksum is that of its content.
    is_whole: bool,
}

pub(super) struct Part {
    bytes: Vec<u8>,
    tag: String,
}

pub(super) struct Upload {
    key: String,
    metadata: Vec<(String, String)>,
    pub(super) parts: BTreeMap<u32, Part>,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) objects: BTreeMap<String, Object>,
    pub(super) uploads: BTreeMap<String, Upload>,
    pub(super) ignores_conditions: bool,
    pub(super) ignores_ranges: bool,
    pub(super) refuses_checksums: bool,
    /// Whether responses to HEAD and GET lack `Last-Modified`.
    pub(super) hides_times: bool,
    /// Whether responses lack `x-amz-request-id`.
    pub(super) hides_ids: bool,
    /// Whether tags in listings lack their quotes.
    pub(super) hides_quotes: bool,
    /// Whether objects and parts need a digest, as in a bucket with Object Lock.
    pub(super) locks_objects: bool,
    /// The headers that the policy of the bucket demands of each object.
    pub(super) demands: Vec<(&'static str, &'static str)>,
    /// Whether `DeleteObject` ignores its condition.
    pub(super) removes_always: bool,
    /// Whether `CopyObject` ignores the condition on its target.
    pub(super) copies_always: bool,
    /// The operations that know no conditions.
    pub(super) refuses: (Vec<&'static str>, Vec<&'static str>),
    /// The key of the object that a key leads to.
    pub(super) alias: Option<fn(&str) -> String>,
    pub(super) keeps_versions: bool,
    pub(super) rules: Option<String>,
    pub(super) page_size: Option<usize>,
    number: u64,
}

/// Returns the time `ago` seconds before now, in the format of headers.
pub(super) fn http_date(ago: i64) -> String {
    date(now() - ago)
}

fn date(seconds: i64) -> String {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let t = TimeVal::from_unix_seconds(seconds).unwrap();
    let month = MONTHS[usize::from(t.month()) - 1];
    let (hour, minute, second) = (t.hour(), t.minute(), t.second());
    format!("Mon, {:02} {month} {:04} {hour:02}:{minute:02}:{second:02} GMT", t.day(), t.year())
}

pub(super) fn iso(seconds: i64) -> String {
    let t = TimeVal::from_unix_seconds(seconds).unwrap();
    let (hour, minute, second) = (t.hour(), t.minute(), t.second());
    format!(
        "{:04}-{:02}-{:02}T{hour:02}:{minute:02}:{second:02}.000Z",
        t.year(),
        t.month(),
        t.day()
    )
}

fn tag(sum: &Sum) -> String {
    format!("\"{}\"", hex(&sum[..16]))
}

impl State {
    pub(super) fn answer(&mut self, operation: &str, asked: &Asked) -> Answer {
        let is_locked = self.locks_objects && matches!(operation, "PutObject" | "UploadPart");
        if is_locked && !asked.is_lockable() {
            return Answer::refusal(400, "InvalidRequest");
        }
        let makes = ["PutObject", "CopyObject", "CreateMultipartUpload"].contains(&operation);
        if makes && !self.demands.iter().all(|(name, value)| asked.header(name) == Some(*value)) {
            return Answer::refusal(403, "AccessDenied");
        }
        let (headers, operations) = &self.refuses;
        let has_refused = headers.iter().any(|name| asked.header(name).is_some());
        if has_refused && operations.contains(&operation) {
            return Answer::refusal(501, "NotImplemented");
        }
        match operation {
            "HeadObject" | "GetObject" => self.get(asked),
            "PutObject" => self.put(asked),
            "DeleteObject" => self.delete(asked),
            "CopyObject" => self.copy(asked),
            "ListObjectsV2" => self.list(asked, None),
            "GetBucketLifecycleConfiguration" => match &self.rules {
                Some(rules) => {
                    Answer::ok(format!("<LifecycleConfiguration>{rules}</LifecycleConfiguration>"))
                }
                None => Answer::refusal(404, "NoSuchLifecycleConfiguration"),
            },
            "GetBucketVersioning" if self.keeps_versions => Answer::ok(
                "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>",
            ),
            "GetBucketVersioning" => Answer::ok("<VersioningConfiguration/>"),
            "CreateMultipartUpload" => self.create(asked),
            _ => self.in_upload(operation, asked),
        }
    }

    pub(super) fn store(
        &mut self,
        key: &str,
        bytes: Vec<u8>,
        metadata: Vec<(String, String)>,
        is_whole: bool,
    ) -> String {
        let sum = sha256(&bytes);
        let tag = tag(&sum);
        let object = Object { bytes, sum, tag: tag.clone(), modified: now(), metadata, is_whole };
        self.objects.insert(key.to_owned(), object);
        tag
    }

    /// Returns an error response if the condition of a change is not met.
    fn refusal(&self, asked: &Asked) -> Option<Answer> {
        if self.ignores_conditions {
            return None;
        }
        let object = self.objects.get(&asked.key);
        let is_new = asked.header("if-none-match").is_none_or(|_| object.is_none());
        let is_same = match (asked.header("if-match"), object) {
            (Some(tag), Some(object)) => tag == object.tag,
            (Some(_), None) => return Some(Answer::refusal(404, "NoSuchKey")),
            (None, _) => true,
        };
        (!is_new || !is_same).then(|| Answer::refusal(412, "PreconditionFailed"))
    }

    fn get(&self, asked: &Asked) -> Answer {
        let Some(object) = self.objects.get(&asked.key) else {
            return Answer::refusal(404, "NoSuchKey");
        };
        if asked.header("if-match").is_some_and(|tag| tag != object.tag) {
            return Answer::refusal(412, "PreconditionFailed");
        }
        let length = object.bytes.len();
        let mut answer = Answer::ok("").with("etag", &*object.tag);
        if !self.hides_times {
            answer = answer.with("last-modified", date(object.modified));
        }
        answer.headers.extend(object.metadata.iter().cloned());
        if asked.header("x-amz-checksum-mode").is_some() {
            let sum = base64(&object.sum);
            let sum = if object.is_whole { sum } else { format!("{sum}-2") };
            answer = answer.with("x-amz-checksum-sha256", sum);
        }
        let Some(range) = asked.header("range").filter(|_| !self.ignores_ranges) else {
            return Answer { body: object.bytes.clone(), ..answer };
        };
        let (first, last) = range.strip_prefix("bytes=").unwrap().split_once('-').unwrap();
        let first: usize = first.parse().unwrap();
        if first >= length {
            return Answer::refusal(416, "InvalidRange");
        }
        let last = last.parse().map_or(length - 1, |last: usize| last.min(length - 1));
        let body = object.bytes[first..=last].to_vec();
        let answer = Answer { status: 206, body, ..answer };
        answer.with("content-range", format!("bytes {first}-{last}/{length}"))
    }

    fn put(&mut self, asked: &Asked) -> Answer {
        if self.refuses_checksums && asked.header("x-amz-checksum-sha256").is_some() {
            return Answer::refusal(501, "NotImplemented");
        }
        if let Some(refusal) = self.refusal(asked) {
            return refusal;
        }
        let tag = self.store(&asked.key, asked.body.clone(), asked.metadata(), true);
        Answer::ok("").with("etag", tag)
    }

    fn delete(&mut self, asked: &Asked) -> Answer {
        match self.refusal(asked) {
            Some(refusal) if refusal.status == 412 && !self.removes_always => return refusal,
            _ => self.objects.remove(&asked.key),
        };
        Answer { status: 204, ..Answer::ok("") }
    }

    fn source(&self, asked: &Asked) -> Result<&Object, Answer> {
        let source = asked.header("x-amz-copy-source").unwrap();
        let source = String::from_utf8(decoded(source).unwrap()).unwrap();
        let key = source.strip_prefix("/bucket/").unwrap();
        let object = self.objects.get(key).ok_or_else(|| Answer::refusal(404, "NoSuchKey"))?;
        match asked.header("x-amz-copy-source-if-match") {
            Some(tag) if tag != object.tag => Err(Answer::refusal(412, "PreconditionFailed")),
            _ => Ok(object),
        }
    }

    fn copy(&mut self, asked: &Asked) -> Answer {
        let read = self.read_source(asked);
        self.end_copy(asked, read)
    }

    /// Does the first half of a copy, or returns the refusal.
    pub(super) fn read_source(&self, asked: &Asked) -> Result<Vec<u8>, Answer> {
        self.source(asked).map(|object| object.bytes.clone())
    }

    /// Does the second half of a copy.
    pub(super) fn end_copy(&mut self, asked: &Asked, read: Result<Vec<u8>, Answer>) -> Answer {
        let bytes = match read {
            Ok(bytes) => bytes,
            Err(refusal) => return refusal,
        };
        if let Some(refusal) = self.refusal(asked).filter(|_| !self.copies_always) {
            return refusal;
        }
        let tag = self.store(&asked.key, bytes, asked.metadata(), true);
        Answer::ok(format!(
            "<CopyObjectResult><ETag>{}</ETag></CopyObjectResult>",
            xml_escaped(&tag)
        ))
    }

    pub(super) fn list(&self, asked: &Asked, fault: Option<Fault>) -> Answer {
        let prefix = asked.query("prefix").unwrap_or_default();
        let prefix = if fault == Some(Fault::OtherPrefix) { "" } else { prefix };
        let most: usize = asked.query("max-keys").unwrap().parse().unwrap();
        let most = self.page_size.map_or(most, |size| size.min(most));
        let after = asked.query("continuation-token").unwrap_or_default();
        let after = if fault == Some(Fault::FirstPage) { "" } else { after };
        if fault == Some(Fault::EmptyPage) {
            return Answer::ok(format!(
                "<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>{}!\
                 </NextContinuationToken></ListBucketResult>",
                xml_escaped(after)
            ));
        }
        let by_directory = asked.query("delimiter").is_some();
        let (mut body, mut directories) = (String::new(), BTreeSet::new());
        let (mut count, mut last, mut is_cut) = (0, String::new(), false);
        for (key, object) in self.objects.iter().filter(|(key, _)| key.starts_with(prefix)) {
            let slash = key[prefix.len()..].find('/').filter(|_| by_directory);
            let shown = slash.map_or(&**key, |at| &key[..=prefix.len() + at]);
            if shown <= after || directories.contains(shown) {
                continue;
            }
            if count == most {
                is_cut = true;
                break;
            }
            count += 1;
            shown.clone_into(&mut last);
            let name = percent_path(shown);
            if slash.is_some() {
                directories.insert(shown);
                body += &format!("<CommonPrefixes><Prefix>{name}</Prefix></CommonPrefixes>");
            } else {
                let (size, time) = (object.bytes.len(), iso(object.modified));
                let quotes: &[char] = if self.hides_quotes { &['"'] } else { &[] };
                let tag = xml_escaped(object.tag.trim_matches(quotes));
                body += &format!(
                    "<Contents><Key>{name}</Key><Size>{size}</Size><ETag>{tag}</ETag>\
                     <LastModified>{time}</LastModified></Contents>"
                );
            }
        }
        let next = xml_escaped(&last);
        Answer::ok(format!(
            "<ListBucketResult><EncodingType>url</EncodingType><IsTruncated>{is_cut}</IsTruncated>\
             <NextContinuationToken>{next}</NextContinuationToken>{body}</ListBucketResult>"
        ))
    }

    fn create(&mut self, asked: &Asked) -> Answer {
        self.number += 1;
        let id = format!("upload+{}", self.number);
        let (key, metadata) = (asked.key.clone(), asked.metadata());
        self.uploads.insert(id.clone(), Upload { key, metadata, parts: BTreeMap::new() });
        let name = "InitiateMultipartUploadResult";
        Answer::ok(format!("<{name}><UploadId>{id}</UploadId></{name}>"))
    }

    fn in_upload(&mut self, operation: &str, asked: &Asked) -> Answer {
        let id = asked.query("uploadId").unwrap();
        let number = asked.query("partNumber").map(|number| number.parse().unwrap());
        let bytes = match operation {
            "UploadPartCopy" => match self.source(asked) {
                Ok(object) => {
                    let range = asked.header("x-amz-copy-source-range").map(|range| {
                        range.strip_prefix("bytes=").unwrap().split_once('-').unwrap()
                    });
                    range.map_or_else(
                        || object.bytes.clone(),
                        |(first, last)| {
                            object.bytes[first.parse().unwrap()..=last.parse().unwrap()].to_vec()
                        },
                    )
                }
                Err(refusal) => return refusal,
            },
            _ => asked.body.clone(),
        };
        let Some(upload) = self.uploads.get_mut(id).filter(|upload| upload.key == asked.key) else {
            return Answer::refusal(404, "NoSuchUpload");
        };
        match operation {
            "UploadPart" | "UploadPartCopy" => {
                let tag = tag(&sha256(&bytes));
                upload.parts.insert(number.unwrap(), Part { bytes, tag: tag.clone() });
                match operation {
                    "UploadPart" => Answer::ok("").with("etag", tag),
                    _ => Answer::ok(format!(
                        "<CopyPartResult><ETag>{}</ETag></CopyPartResult>",
                        xml_escaped(&tag)
                    )),
                }
            }
            "ListParts" => upload.list(asked),
            "AbortMultipartUpload" => {
                self.uploads.remove(id);
                Answer { status: 204, ..Answer::ok("") }
            }
            _ => self.complete(asked, id),
        }
    }

    fn complete(&mut self, asked: &Asked, id: &str) -> Answer {
        let upload = &self.uploads[id];
        let body = str::from_utf8(&asked.body).unwrap();
        let mut bytes = Vec::new();
        let told = xml_elements(body, "Part");
        for (at, part) in told.iter().enumerate() {
            let number: u32 = xml_text(part, "PartNumber").unwrap().parse().unwrap();
            let Some(stored) = upload.parts.get(&number) else {
                return Answer::refusal(400, "InvalidPart");
            };
            if xml_text(part, "ETag").unwrap() != stored.tag {
                return Answer::refusal(400, "InvalidPart");
            }
            if at + 1 < told.len() && (stored.bytes.len() as u64) < LEAST {
                return Answer::refusal(400, "EntityTooSmall");
            }
            bytes.extend_from_slice(&stored.bytes);
        }
        if let Some(refusal) = self.refusal(asked) {
            return refusal;
        }
        let metadata = self.uploads.remove(id).unwrap().metadata;
        let tag = self.store(&asked.key, bytes, metadata, false);
        let name = "CompleteMultipartUploadResult";
        Answer::ok(format!("<{name}><ETag>{}</ETag></{name}>", xml_escaped(&tag)))
    }
}

impl Upload {
    fn list(&self, asked: &Asked) -> Answer {
        let after: u32 = asked.query("part-number-marker").unwrap().parse().unwrap();
        // Pages are small, so that a listing has several.
        let page: Vec<_> =
            self.parts.iter().filter(|(number, _)| **number > after).take(2).collect();
        let last = page.last().map_or(after, |(number, _)| **number);
        let is_cut = self.parts.keys().any(|number| *number > last);
        let part = |(number, part): &(&u32, &Part)| {
            let (tag, size) = (xml_escaped(&part.tag), part.bytes.len());
            format!(
                "<Part><PartNumber>{number}</PartNumber><Size>{size}</Size><ETag>{tag}</ETag></Part>"
            )
        };
        let parts: String = page.iter().map(part).collect();
        Answer::ok(format!(
            "<ListPartsResult><IsTruncated>{is_cut}</IsTruncated><NextPartNumberMarker>{last}\
             </NextPartNumberMarker>{parts}</ListPartsResult>"
        ))
    }
}
