//! The text of a list: JSON, one file a line, in exactly one form. It ends with its own digest, so
//! that a part of a list, or an edited one, is not a list.
//!
//! A user who can write to the target can write any text: a list is bounded, and names no path that
//! leads out of the tree.

use std::fmt::Write;

use super::{Distrust, LARGEST, Manifest, ManifestRecord, Records};
use crate::digest::{Base64, Checksum, HashAlgorithm, from_base64, hex, unhex};
use crate::tree::entry::{Stamp, check_name};

/// The version of the form, which changes with it.
const VERSION: u64 = 1;

const HEAD: &[u8] = b"{\"format\":\"ftp-cli-manifest\",\"version\":";
const GENERATION: &[u8] = b",\"generation\":\"";
const FILES: &[u8] = b"\",\"files\":[";
const PENDING: &[u8] = b"],\"pending\":[";
const END: &[u8] = b"],\"sha256\":\"";
const CLOSE: &[u8] = b"\"}\n";

const PARTS: usize = 128;

pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut sum = Checksum::new(HashAlgorithm::Sha256).expect("SHA-256 is computed here");
    sum.update(bytes);
    first_32(&sum.finish().bytes)
}

/// Returns the first 32 bytes, which a digest of SHA-256 has.
pub(crate) fn first_32(bytes: &[u8]) -> [u8; 32] {
    let mut first = [0; 32];
    first.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
    first
}

impl Manifest {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let version = VERSION.to_string();
        let generation = format!("{:016x}", self.generation);
        let mut text =
            [HEAD, version.as_bytes(), GENERATION, generation.as_bytes(), FILES].concat();
        write_records(&mut text, &self.files);
        text.extend_from_slice(PENDING);
        write_records(&mut text, &self.pending);
        let digest = hex(&sha256(&text));
        [END, digest.as_bytes(), CLOSE].iter().for_each(|part| text.extend_from_slice(part));
        text
    }

    /// Reads a text.
    ///
    /// # Errors
    ///
    /// Returns the reason if it is not a whole list of this version.
    pub(crate) fn parse(text: &[u8]) -> Result<Self, Distrust> {
        let Some(rest) = text.strip_prefix(HEAD) else {
            return Err(if HEAD.starts_with(text) { Distrust::Cut } else { Distrust::Foreign });
        };
        if text.len() > LARGEST {
            return Err(Distrust::TooLarge);
        }
        let mut head = UnreadText(rest);
        if head.number::<u64>().ok_or(Distrust::Cut)? != VERSION {
            return Err(Distrust::Newer);
        }
        parse_whole(text, head).ok_or(Distrust::Cut)
    }
}

/// Reads a text whose beginning was read up to the version.
fn parse_whole(text: &[u8], mut rest: UnreadText<'_>) -> Option<Manifest> {
    let (body, digest) = text.strip_suffix(CLOSE)?.split_last_chunk::<64>()?;
    let body = body.strip_suffix(END)?;
    if hex(&sha256(body)).as_bytes() != digest {
        return None;
    }
    rest.skip(GENERATION)?;
    let (generation, after) = rest.0.split_first_chunk::<16>()?;
    let generation = u64::from_str_radix(std::str::from_utf8(generation).ok()?, 16).ok()?;
    rest.0 = after;
    rest.skip(FILES)?;
    let files = rest.records()?;
    rest.skip(PENDING)?;
    let pending = rest.records()?;
    rest.skip(END)?;
    Some(Manifest { generation, files, pending })
}

fn write_records(text: &mut Vec<u8>, records: &Records) {
    for (number, (path, record)) in records.iter().enumerate() {
        text.extend_from_slice(if number == 0 { b"\n" } else { b",\n" });
        let mut line = String::from("{");
        match std::str::from_utf8(path) {
            Ok(path) => write_text(&mut line, path),
            Err(_) => _ = write!(line, "\"path_b64\":\"{}\"", Base64(path)),
        }
        let ManifestRecord { size, digest, modified, is_new } = record;
        let _ = write!(line, ",\"size\":{size},\"sha256\":\"{}\"", hex(digest));
        if let Some((earliest, latest)) = modified {
            let _ = write!(line, ",\"modified\":[{earliest},{latest}]");
        }
        line.push_str(if *is_new { ",\"new\":true}" } else { "}" });
        text.extend_from_slice(line.as_bytes());
    }
    text.extend_from_slice(if records.is_empty() { b"" } else { b"\n" });
}

fn write_text(line: &mut String, path: &str) {
    line.push_str("\"path\":\"");
    for letter in path.chars() {
        match letter {
            '"' | '\\' => line.extend(['\\', letter]),
            control if control.is_ascii_control() => {
                let _ = write!(line, "\\u{:04x}", u32::from(control));
            }
            letter => line.push(letter),
        }
    }
    line.push('"');
}

struct UnreadText<'t>(&'t [u8]);

impl<'t> UnreadText<'t> {
    fn skip(&mut self, text: &[u8]) -> Option<()> {
        self.0 = self.0.strip_prefix(text)?;
        Some(())
    }

    /// Reads up to `end`, which is read too.
    fn until(&mut self, end: u8) -> Option<&'t [u8]> {
        let at = self.0.iter().position(|byte| *byte == end)?;
        let (text, rest) = self.0.split_at_checked(at)?;
        self.0 = rest.get(1..)?;
        Some(text)
    }

    /// Reads a whole number, which may be negative.
    fn number<T: std::str::FromStr>(&mut self) -> Option<T> {
        let is_part = |byte: &u8| byte.is_ascii_digit() || *byte == b'-';
        let length = self.0.iter().take_while(|byte| is_part(byte)).count();
        let (digits, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        std::str::from_utf8(digits).ok()?.parse().ok()
    }

    fn records(&mut self) -> Option<Records> {
        let mut records = Records::new();
        if self.0.first() == Some(&b']') {
            return Some(records);
        }
        self.skip(b"\n")?;
        loop {
            let (path, record) = self.record()?;
            if records.insert(path, record).is_some() {
                return None;
            }
            if self.skip(b",\n").is_none() {
                self.skip(b"\n")?;
                return Some(records);
            }
        }
    }

    fn record(&mut self) -> Option<(Vec<u8>, ManifestRecord)> {
        let path = match self.skip(b"{\"path\":\"") {
            Some(()) => self.text()?,
            None => {
                self.skip(b"{\"path_b64\":\"")?;
                from_base64(self.until(b'"')?)?
            }
        };
        let mut parts = path.split(|byte| *byte == b'/');
        if path.iter().filter(|byte| **byte == b'/').count() >= PARTS
            || !parts.all(|part| check_name(part).is_ok())
        {
            return None;
        }
        self.skip(b",\"size\":")?;
        let size = self.number()?;
        self.skip(b",\"sha256\":\"")?;
        let digest = unhex(self.until(b'"')?)?.try_into().ok()?;
        let mut modified = None;
        if self.skip(b",\"modified\":[").is_some() {
            let earliest = self.number()?;
            self.skip(b",")?;
            modified = Some((earliest, self.number()?)).filter(|range| Stamp::may_be(*range));
            self.skip(b"]").and(modified)?;
        }
        let is_new = self.skip(b",\"new\":true").is_some();
        self.skip(b"}")?;
        Some((path, ManifestRecord { size, digest, modified, is_new }))
    }

    fn text(&mut self) -> Option<Vec<u8>> {
        let mut text = Vec::new();
        loop {
            let (byte, rest) = self.0.split_first()?;
            self.0 = rest;
            match byte {
                b'"' => return std::str::from_utf8(&text).is_ok().then_some(text),
                b'\\' => match self.0.split_first()? {
                    (escaped @ (b'"' | b'\\'), rest) => {
                        text.push(*escaped);
                        self.0 = rest;
                    }
                    _ => {
                        self.skip(b"u00")?;
                        let (digits, rest) = self.0.split_at_checked(2)?;
                        self.0 = rest;
                        text.extend(unhex(digits).filter(|code| code.is_ascii())?);
                    }
                },
                byte => text.push(*byte),
            }
        }
    }
}
