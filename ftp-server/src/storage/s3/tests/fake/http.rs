//! The part of HTTP that the fake store needs.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use super::super::super::encode::{base64, decoded, hex, md5, sha256};
use super::state::http_date;

/// A request.
pub(super) struct Asked {
    pub(super) method: String,
    /// The key without the bucket; empty for the bucket.
    pub(super) key: String,
    pub(super) query: Vec<(String, String)>,
    headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
    /// The length to report for HEAD.
    pub(super) length: Option<usize>,
}

impl Asked {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(own, _)| own == name).map(|(_, value)| &**value)
    }

    pub(super) fn metadata(&self) -> Vec<(String, String)> {
        const MORE: [&str; 3] = ["content-type", "expires", "x-amz-storage-class"];
        let is_kept = |name: &str| name.starts_with("x-amz-meta-") || MORE.contains(&name);
        self.headers.iter().filter(|(name, _)| is_kept(name)).cloned().collect()
    }

    pub(super) fn query(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(own, _)| own == name).map(|(_, value)| &**value)
    }

    /// Returns a field of a form in the body.
    pub(super) fn form(&self, name: &str) -> Option<String> {
        let body = str::from_utf8(&self.body).ok()?;
        let mut fields = body.split('&').filter_map(|field| field.split_once('='));
        let (_, value) = fields.find(|(own, _)| *own == name)?;
        String::from_utf8(decoded(value)?).ok()
    }

    pub(super) fn operation(&self) -> &'static str {
        let has = |name| self.query(name).is_some();
        let copies = self.header("x-amz-copy-source").is_some();
        match &*self.method {
            "HEAD" => "HeadObject",
            "GET" if has("list-type") => "ListObjectsV2",
            "GET" if has("lifecycle") => "GetBucketLifecycleConfiguration",
            "GET" if has("versioning") => "GetBucketVersioning",
            "GET" if has("uploadId") => "ListParts",
            "GET" => "GetObject",
            "PUT" if has("uploadId") && copies => "UploadPartCopy",
            "PUT" if has("uploadId") => "UploadPart",
            "PUT" if copies => "CopyObject",
            "PUT" => "PutObject",
            "POST" if self.form("Action").is_some() => "AssumeRoleWithWebIdentity",
            "POST" if has("uploads") => "CreateMultipartUpload",
            "POST" => "CompleteMultipartUpload",
            "DELETE" if has("uploadId") => "AbortMultipartUpload",
            _ => "DeleteObject",
        }
    }

    /// Returns whether the request has a digest that a bucket with Object Lock accepts.
    pub(super) fn is_lockable(&self) -> bool {
        ["content-md5", "x-amz-checksum-sha256"].iter().any(|name| self.header(name).is_some())
    }

    /// Returns the access key of the signature, and the session token.
    pub(super) fn keys(&self) -> Option<(&str, Option<&str>)> {
        let (_, rest) = self.header("authorization")?.split_once("Credential=")?;
        Some((rest.split('/').next()?, self.header("x-amz-security-token")))
    }

    pub(super) fn is_signed(&self) -> bool {
        self.header("authorization").is_some_and(|value| value.starts_with("AWS4-HMAC-SHA256 "))
    }

    /// Returns whether the body matches the digests in the request.
    pub(super) fn has_its_digest(&self) -> bool {
        let digest = sha256(&self.body);
        let signed = self.header("x-amz-content-sha256") == Some(&hex(&digest));
        let told = self.header("x-amz-checksum-sha256");
        let md5 = self.header("content-md5").is_none_or(|told| told == md5(&self.body));
        signed && md5 && told.is_none_or(|told| told == base64(&digest))
    }
}

impl Answer {
    /// Returns an answer of the store.
    pub(super) fn ok(body: impl Into<Vec<u8>>) -> Self {
        Self::page(200, body).with("x-amz-request-id", "4711")
    }

    /// Returns an answer of another program.
    pub(super) fn page(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self { status, headers: Vec::new(), body: body.into(), length: None }
    }

    pub(super) fn refusal(status: u16, code: &str) -> Self {
        let body = format!("<Error><Code>{code}</Code><Message>by the test</Message></Error>");
        Self { status, ..Self::ok(body) }
    }

    pub(super) fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    pub(super) fn damaged(mut self) -> Self {
        if let Some(byte) = self.body.first_mut() {
            *byte ^= 1;
        }
        self
    }

    pub(super) fn with_wrong_sum(self) -> Self {
        self.with("x-amz-checksum-sha256", base64(&[7; 32]))
    }
}

pub(super) struct Connection {
    stream: BufReader<TcpStream>,
}

impl Connection {
    pub(super) fn new(stream: TcpStream) -> Self {
        stream.set_nodelay(true).unwrap();
        Self { stream: BufReader::new(stream) }
    }

    /// Returns the next request; `None` if the client has closed the connection.
    pub(super) fn next(&mut self) -> Option<Asked> {
        let first = self.line()?;
        let mut words = first.split(' ');
        let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
        let mut headers = Vec::new();
        loop {
            let line = self.line()?;
            let Some((name, value)) = line.split_once(':') else { break };
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let length = headers.iter().find(|(name, _)| name == "content-length");
        let mut body = vec![0; length.map_or(0, |(_, value)| value.parse().unwrap())];
        self.stream.read_exact(&mut body).ok()?;
        let (path, query) = target.split_once('?').unwrap_or((&target, ""));
        let text = |text: &str| String::from_utf8(decoded(text).unwrap()).unwrap();
        let pairs = query.split('&').filter(|pair| !pair.is_empty());
        let pairs = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        let query = pairs.map(|(name, value)| (text(name), text(value))).collect();
        let key = text(path.strip_prefix("/bucket").unwrap_or(path).trim_start_matches('/'));
        Some(Asked { method, key, query, headers, body })
    }

    fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        self.stream.read_line(&mut line).ok().filter(|count| *count > 0)?;
        Some(line.trim_end().to_owned())
    }

    fn head(answer: &Answer) -> String {
        let mut head = format!("HTTP/1.1 {} Answer\r\ndate: {}\r\n", answer.status, http_date(0));
        for (name, value) in &answer.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        let length = answer.length.unwrap_or(answer.body.len());
        head.push_str(&format!("content-length: {length}\r\n\r\n"));
        head
    }

    pub(super) fn answer(&mut self, asked: &Asked, answer: &Answer) -> bool {
        let mut bytes = Self::head(answer).into_bytes();
        if asked.method != "HEAD" {
            bytes.extend_from_slice(&answer.body);
        }
        self.stream.get_mut().write_all(&bytes).is_ok()
    }

    pub(super) fn answer_half(&mut self, answer: &Answer) {
        let mut bytes = Self::head(answer).into_bytes();
        bytes.extend_from_slice(&answer.body[..answer.body.len() / 2]);
        // Fails if the client has closed the connection.
        let _ = self.stream.get_mut().write_all(&bytes);
    }

    pub(super) fn reset(self) {
        let socket = socket2::SockRef::from(self.stream.get_ref()).set_linger(Some(Duration::ZERO));
        socket.unwrap();
    }

    pub(super) fn wait_for_end(&mut self) {
        let mut sink = [0; 1_024];
        while self.stream.read(&mut sink).is_ok_and(|count| count > 0) {}
    }
}
