//! The feature list of `FEAT` (RFC 2389 §3.2).

use crate::reply::Reply;

/// What a server says it can do: feature words with their parameters.
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
/// ```
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Features(Vec<Vec<u8>>);

impl Features {
    /// Reads the lines between the first and the last of a 211 reply. Servers that leave out the
    /// leading SP are understood.
    #[must_use]
    pub fn read(reply: &Reply) -> Self {
        let count = reply.lines().count();
        let between = reply.lines().skip(1).take(count.saturating_sub(2));
        let features = between.map(|line| line.trim_ascii_start().to_vec());
        Self(features.filter(|line| !line.is_empty()).collect())
    }

    /// Whether a feature is listed, its word in any case.
    #[must_use]
    pub fn has(&self, feature: &str) -> bool {
        self.parameters(feature).is_some()
    }

    /// What stands behind a feature's word and the SP, empty if nothing does; `None` if the
    /// feature is not listed.
    #[must_use]
    pub fn parameters(&self, feature: &str) -> Option<&[u8]> {
        self.0.iter().find_map(|line| {
            let (word, rest) = line.split_at_checked(feature.len())?;
            match rest.split_first() {
                _ if !word.eq_ignore_ascii_case(feature.as_bytes()) => None,
                None => Some(rest),
                Some((b' ', parameters)) => Some(parameters),
                Some(_) => None,
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reply::ReplyCode;

    #[test]
    fn read_takes_lines_with_and_without_space_cl_19() {
        let lines = [" SIZE", "MDTM", "", " AUTH TLS", " REST STREAM"];
        let reply = Reply::multi_line(ReplyCode::SYSTEM_STATUS, "Features", lines, "End");
        let features = Features::read(&reply);
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
    fn a_single_line_has_none() {
        let reply = Reply::new(ReplyCode::SYSTEM_STATUS, "no-features");
        assert_eq!(Features::read(&reply), Features::default());
    }

    #[test]
    fn has_asks_for_the_word() {
        let reply = Reply::multi_line(ReplyCode::SYSTEM_STATUS, "Features", [" SIZE"], "End");
        let features = Features::read(&reply);
        assert!(features.has("size") && !features.has("MDTM") && !features.has("SIZ"));
    }
}
