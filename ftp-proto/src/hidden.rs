//! The names of the hidden files that the programs of this project keep beside a user's files.

/// Kind of a hidden file, by its name. Only the exact forms count, in which the server and the
/// client write these names: users can have files whose names merely begin alike.
///
/// A directory with such a name is the user's.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum HiddenFile {
    /// The server's record of an unfinished upload.
    Record,
    /// The bytes of an upload to the server: running, kept, or left by a killed server.
    Bytes,
    /// The journal of an upload by the client.
    Journal,
    /// The journal of a move by the client, or the moved file.
    Move,
    /// A piece or a partial file of a download by the client, or the lock of a move.
    Part,
    /// A short-lived file of the client.
    Temporary,
    /// The list of a deploy by the client, or its next version, under the default name.
    Manifest,
}

impl HiddenFile {
    /// Prefix of the names of the server's hidden files.
    pub const UPLOAD: &[u8] = b".ftp-upload-";
    /// Prefix of the names of temporary files of downloads, and of records beside downloaded files.
    pub const CLIENT: &str = ".ftp-client-";
    /// Prefix of the names of files of trees and of locks. In those of journals and of moves, it follows
    /// a dot and 16 digits.
    pub const CLI: &str = ".ftp-cli-";
    /// Prefix of the names of files that show whether two directories are one.
    pub const PROBE: &[u8] = b"ftp-cli-probe-";

    /// Returns the kind of the file with this name; `None` for the names of users' files.
    ///
    /// ```
    /// use ftp_proto::HiddenFile;
    ///
    /// let kind = HiddenFile::of(b".ftp-upload-0123456789abcdef-scan.pdf.part");
    /// assert_eq!(kind, Some(HiddenFile::Bytes));
    /// assert_eq!(HiddenFile::of(b".ftp-uploads"), None);
    /// ```
    #[must_use]
    pub fn of(name: &[u8]) -> Option<Self> {
        if let Some(rest) = name.strip_prefix(Self::UPLOAD) {
            return of_upload(rest);
        }
        if let Some(rest) = name.strip_prefix(b".ftp-gateway-") {
            let digits = rest.strip_suffix(b".part")?;
            return (digits.len() == 16 && are_digits(digits)).then_some(Self::Bytes);
        }
        if let Some(rest) = name.strip_prefix(Self::CLIENT.as_bytes()) {
            let digits = rest.strip_prefix(b"record-").unwrap_or(rest);
            return (digits.len() == 16 && are_digits(digits)).then_some(Self::Temporary);
        }
        if let Some(rest) = name.strip_prefix(Self::CLI.as_bytes()) {
            return of_tree(rest);
        }
        if let Some(rest) = name.strip_prefix(Self::PROBE) {
            return is_temporary(rest).then_some(Self::Temporary);
        }
        let (id, word) = name.strip_prefix(b".")?.split_at_checked(16)?;
        match word.strip_prefix(Self::CLI.as_bytes())? {
            _ if !are_digits(id) => None,
            b"upload" => Some(Self::Journal),
            b"journal" | b"taken" | b"new" => Some(Self::Move),
            word if word.starts_with(b"taken.") => Some(Self::Move),
            _ => None,
        }
    }
}

/// Returns the kind of a file of the server; `rest` is its name without the prefix.
fn of_upload(rest: &[u8]) -> Option<HiddenFile> {
    let (rest, has_end) = rest.strip_suffix(b".part").map_or((rest, false), |rest| (rest, true));
    if let Some(rest) = rest.strip_prefix(b"record-") {
        let (owner, name) = rest.split_at_checked(12)?;
        let is_record = has_end && are_digits(owner) && name.starts_with(b"-");
        return is_record.then_some(HiddenFile::Record);
    }
    // The names of older versions have a word, or no end.
    let words = [&b"kept-"[..], b"running-", b"replacing-"];
    let rest = words.iter().find_map(|word| rest.strip_prefix(*word)).unwrap_or(rest);
    let digits = rest.split(|byte| *byte == b'-').next().unwrap_or_default();
    let is_bytes = digits.len() >= 16 && are_digits(digits);
    (is_bytes && (has_end || digits.len() == rest.len())).then_some(HiddenFile::Bytes)
}

/// Returns the kind of a file of a tree; `rest` is its name after `.ftp-cli-`.
fn of_tree(rest: &[u8]) -> Option<HiddenFile> {
    let lock = rest.strip_suffix(b".lock");
    match rest {
        b"manifest.json" | b"manifest.json.new" => Some(HiddenFile::Manifest),
        _ if lock.is_some_and(|id| id.len() == 16 && are_digits(id)) => Some(HiddenFile::Part),
        _ if rest.starts_with(b"part-") || rest.starts_with(b"pieces-") => Some(HiddenFile::Part),
        _ => (rest == b"clock.tmp" || is_temporary(rest)).then_some(HiddenFile::Temporary),
    }
}

/// Returns whether this is the end of the name of a short-lived file: two numbers and `.tmp`.
fn is_temporary(rest: &[u8]) -> bool {
    let mut numbers = rest.strip_suffix(b".tmp").unwrap_or_default().split(|byte| *byte == b'-');
    let is_number = |number: Option<&[u8]>| number.is_some_and(are_digits);
    is_number(numbers.next()) && is_number(numbers.next()) && numbers.next().is_none()
}

/// Returns whether all bytes are hexadecimal digits as these programs write them.
fn are_digits(digits: &[u8]) -> bool {
    !digits.is_empty() && digits.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_exact_forms_of_hidden_names_count() {
        use HiddenFile::{Bytes, Journal, Manifest, Move, Part, Record, Temporary};
        for (name, want) in [
            (".ftp-upload-record-0123456789ab-scan.pdf.part", Some(Record)),
            (".ftp-upload-record-0123456789ab-.part", Some(Record)),
            (".ftp-upload-record-0123456789ab-scan.pdf", None),
            (".ftp-upload-record-0123456789a-f.part", None),
            (".ftp-upload-0123456789abcdef-scan.pdf.part", Some(Bytes)),
            (".ftp-upload-0123456789abcdef", Some(Bytes)),
            (".ftp-upload-0123456789ABCDEF", None),
            (".ftp-upload-kept-0123456789abcdef0123456789abcdef01234567.part", Some(Bytes)),
            (".ftp-upload-notes.txt", None),
            (".ftp-uploads", None),
            (".ftp-client-0123456789abcdef", Some(Temporary)),
            (".ftp-client-record-0123456789abcdef", Some(Temporary)),
            (".ftp-client-notes", None),
            (".ftp-cli-0123456789abcdef.lock", Some(Part)),
            (".ftp-cli-12.lock", None),
            (".0123456789abcdef.ftp-cli-journal", Some(Move)),
            (".0123456789abcdef.ftp-cli-taken", Some(Move)),
            (".0123456789abcdef.ftp-cli-taken.part", Some(Move)),
            (".0123456789abcdef.ftp-cli-new", Some(Move)),
            (".0123456789abcdef.ftp-cli-upload", Some(Journal)),
            (".0123456789abcdef.ftp-cli-other", None),
            (".0123456789abcdeg.ftp-cli-upload", None),
            (".ftp-cli-1f-0.tmp", Some(Temporary)),
            (".ftp-cli-1f-.tmp", None),
            (".ftp-cli-1f-0-1.tmp", None),
            (".ftp-cli-clock.tmp", Some(Temporary)),
            ("ftp-cli-probe-1f-0.tmp", Some(Temporary)),
            ("ftp-cli-probe-results.tmp", None),
            (".ftp-cli-part-a.iso.part", Some(Part)),
            (".ftp-cli-pieces-a.iso.part.segment-8388608", Some(Part)),
            (".ftp-cli-manifest.json", Some(Manifest)),
            (".ftp-cli-manifest.json.new", Some(Manifest)),
            (".ftp-cli-notes", None),
            (".ftp-cli-", None),
            ("", None),
            (".", None),
        ] {
            assert_eq!(HiddenFile::of(name.as_bytes()), want, "{name}");
        }
    }
}
