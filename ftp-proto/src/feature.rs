//! The feature list of `FEAT` (RFC 2389 §3.2).

use std::fmt;

use crate::bytes::{Escaped, split_or_all};
use crate::reply::Reply;

/// The features that a server lists: words with parameters.
///
/// ```
/// use ftp_proto::{Features, Reply, ReplyCode};
///
/// let lines = [" REST STREAM", " MLST type*;size*;"];
/// let reply = Reply::multi_line(ReplyCode::SYSTEM_STATUS, "Features:", lines, "End");
/// let features = Features::read(&reply);
/// assert!(features.has("mlst"));
/// assert_eq!(features.parameters("REST"), Some(b"STREAM".as_slice()));
/// assert!(!features.has("MD5"));
/// assert_eq!(features.iter().count(), 2);
/// ```
#[derive(Clone, Default, Eq, PartialEq)]
pub struct Features(Vec<Vec<u8>>);

/// Shows the lines as text.
impl fmt::Debug for Features {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|line| Escaped(line))).finish()
    }
}

impl Features {
    /// Reads the lines between the first and the last line of a 211 reply.
    ///
    /// Also accepts lines that begin without SP, or with `211-`.
    #[must_use]
    pub fn read(reply: &Reply) -> Self {
        let count = reply.lines().count();
        let between = reply.lines().skip(1).take(count.saturating_sub(2));
        let again = format!("{}-", reply.code());
        let features = between.map(|line| {
            let line = line.strip_prefix(again.as_bytes()).unwrap_or(line);
            line.trim_ascii_start().to_vec()
        });
        Self(features.filter(|line| !line.is_empty()).collect())
    }

    /// Returns whether a feature is listed, ignoring case.
    #[must_use]
    pub fn has(&self, feature: &str) -> bool {
        self.parameters(feature).is_some()
    }

    /// Returns the parameters of a feature, empty if it has none; `None` if the feature is not
    /// listed. If several lines list it, the first one counts.
    #[must_use]
    pub fn parameters(&self, feature: &str) -> Option<&[u8]> {
        self.all_parameters(feature).next()
    }

    /// Returns the parameters of each line that lists a feature, in order. Some servers list `AUTH
    /// TLS` and `AUTH SSL` on separate lines (RFC 4217 §6).
    pub fn all_parameters(&self, feature: &str) -> impl Iterator<Item = &[u8]> {
        let has_word = |(word, _): &(&[u8], _)| word.eq_ignore_ascii_case(feature.as_bytes());
        self.iter().filter(has_word).map(|(_, parameters)| parameters)
    }

    /// Returns the items of a feature in order, and whether each is currently selected (marked
    /// `*`).
    ///
    /// Features with such items are `MLST` with its facts (RFC 3659 §7.8) and `HASH` with its
    /// algorithms (draft-bryan-ftpext-hash-02 §3.1). Returns no items if the feature is not listed.
    ///
    /// ```
    /// # use ftp_proto::{Features, Reply, ReplyCode};
    /// # let lines = [" HASH SHA-256*;SHA-1;"];
    /// # let reply = Reply::multi_line(ReplyCode::SYSTEM_STATUS, "Features:", lines, "End");
    /// # let features = Features::read(&reply);
    /// let algorithms: Vec<_> = features.choices("HASH").collect();
    /// assert_eq!(algorithms, [(&b"SHA-256"[..], true), (b"SHA-1", false)]);
    /// ```
    pub fn choices(&self, feature: &str) -> impl Iterator<Item = (&[u8], bool)> {
        let parameters = self.parameters(feature).unwrap_or_default();
        let items = parameters.split(|&byte| byte == b';').map(<[u8]>::trim_ascii);
        items.filter(|item| !item.is_empty()).map(|item| match item.strip_suffix(b"*") {
            Some(item) => (item, true),
            None => (item, false),
        })
    }

    /// Returns whether a feature has the parameter `word`, for example whether `REST` has `STREAM`
    /// (RFC 3659 §5.4). Ignores the case of both.
    #[must_use]
    pub fn has_with(&self, feature: &str, word: &str) -> bool {
        let is_there = |parameters: &[u8]| {
            let mut words = parameters.split(|byte| matches!(byte, b' ' | b';' | b','));
            words.any(|found| found.eq_ignore_ascii_case(word.as_bytes()))
        };
        self.all_parameters(feature).any(is_there)
    }

    /// Returns all features in order: the word as received, and its parameters (empty if there are
    /// none).
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.0.iter().map(|line| split_or_all(line, b' '))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reply::{ReplyCode, ReplyDecoder};

    #[test]
    fn read_accepts_lines_with_and_without_a_leading_space_cl_19() {
        let lines = [" SIZE", "MDTM", "", " AUTH TLS", " REST STREAM"];
        let reply = Reply::multi_line(ReplyCode::SYSTEM_STATUS, "Features", lines, "End");
        let features = Features::read(&reply);
        assert_eq!(format!("{features:?}"), r#"["SIZE", "MDTM", "AUTH TLS", "REST STREAM"]"#);
        for (word, want) in [
            ("size", Some("")),
            ("MDTM", Some("")),
            ("AUTH", Some("TLS")),
            ("REST", Some("STREAM")),
            ("RES", None),
            ("SIZES", None),
            ("End", None),
        ] {
            assert_eq!(features.parameters(word), want.map(str::as_bytes), "{word}");
        }
    }

    #[test]
    fn read_accepts_lines_with_a_repeated_code_cl_19() {
        let lines = ["211-SIZE", "211- MDTM", "211-REST STREAM", "213-TVFS", "211-", " 211-MLST"];
        let mut sent = b"211-Features:\r\n".to_vec();
        lines.iter().for_each(|line| sent.extend_from_slice(format!("{line}\r\n").as_bytes()));
        sent.extend_from_slice(b"211 End\r\n");
        let mut decoder = ReplyDecoder::new();
        let _ = decoder.push(&sent);
        let features = Features::read(&decoder.next().unwrap().unwrap());
        let listed: Vec<_> = features.iter().collect();
        let want: [(&[u8], &[u8]); 5] = [
            (b"SIZE", b""),
            (b"MDTM", b""),
            (b"REST", b"STREAM"),
            (b"213-TVFS", b""),
            (b"211-MLST", b""),
        ];
        assert_eq!(listed, want);
    }

    #[test]
    fn all_lines_of_a_feature_are_found_cl_19() {
        let lines = [" AUTH SSL", " SIZE", " Auth TLS", " auth", " AUTHX y", " PBSZ  0 "];
        let reply = Reply::multi_line(ReplyCode::SYSTEM_STATUS, "Features", lines, "End");
        let features = Features::read(&reply);
        let all = |word| features.all_parameters(word).collect::<Vec<_>>();
        assert_eq!(all("AUTH"), [&b"SSL"[..], b"TLS", b""]);
        assert_eq!(features.parameters("auth"), Some(&b"SSL"[..]));
        assert_eq!(all("PBSZ"), [&b" 0 "[..]]);
        assert_eq!(all("MDTM"), [&b""[..]; 0]);
        let words: Vec<_> = features.iter().map(|(word, _)| word).collect();
        assert_eq!(words, [&b"AUTH"[..], b"SIZE", b"Auth", b"auth", b"AUTHX", b"PBSZ"]);
    }

    #[test]
    fn feature_choices_and_words_are_parsed() {
        let lines = [
            " MLST Type*;size;; modify* ;",
            " REST STREAM",
            " SITE CHMOD",
            " SITE MKDIR;UTIME;SYMLINK",
            " HASH",
        ];
        let reply = Reply::multi_line(ReplyCode::SYSTEM_STATUS, "Features", lines, "End");
        let features = Features::read(&reply);
        let facts: Vec<_> = features.choices("mlst").collect();
        assert_eq!(facts, [(&b"Type"[..], true), (b"size", false), (b"modify", true)]);
        assert_eq!(features.choices("HASH").count() + features.choices("AUTH").count(), 0);
        for (feature, word, want) in [
            ("rest", "stream", true),
            ("REST", "STREA", false),
            ("SITE", "CHMOD", true),
            ("SITE", "utime", true),
            ("SITE", "SITE", false),
            ("RANG", "STREAM", false),
        ] {
            assert_eq!(features.has_with(feature, word), want, "{feature} {word}");
        }
    }

    #[test]
    fn a_single_line_reply_has_no_features() {
        let reply = Reply::new(ReplyCode::SYSTEM_STATUS, "no-features");
        assert_eq!(Features::read(&reply), Features::default());
    }

    #[test]
    fn has_matches_the_whole_word() {
        let reply = Reply::multi_line(ReplyCode::SYSTEM_STATUS, "Features", [" SIZE"], "End");
        let features = Features::read(&reply);
        assert!(features.has("size") && !features.has("MDTM") && !features.has("SIZ"));
    }
}
