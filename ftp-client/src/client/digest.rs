//! Digests that the server computes: `HASH` (draft-bryan-ftpext-hash-02), and the older commands
//! without a specification, such as `XSHA256`.

use ftp_proto::{
    Command, FileRange, OptsArgument, ParseError, ParseErrorKind, Pathname, Reply, Severity, Verb,
};

use super::Client;
use crate::digest::{Checksum, Digest, HashAlgorithm, unhex};
use crate::error::{Error, Phase, Unsupported, accepted, is_missing};

impl Checksum {
    /// Returns an empty digest for the first algorithm that both the server and this library
    /// support; `None` if there is none.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`Client::hash_algorithms`].
    pub fn for_server(client: &mut Client) -> Result<Option<Self>, Error> {
        Ok(client.hash_algorithms()?.into_iter().find_map(Self::new))
    }
}

impl Client {
    /// Returns the algorithms that [`hash`](Self::hash) can use with this server, according to
    /// `FEAT`.
    ///
    /// They are in the order of [`HashAlgorithm::ALL`].
    ///
    /// # Errors
    ///
    /// Returns only errors of the control connection.
    pub fn hash_algorithms(&mut self) -> Result<Vec<HashAlgorithm>, Error> {
        let features = self.features()?;
        let is_listed = |algorithm: &HashAlgorithm| {
            features.choices("HASH").any(|(name, _)| algorithm.is_named(name))
                || algorithm.verbs().iter().any(|verb| features.has(verb.as_str()))
        };
        Ok(HashAlgorithm::ALL.iter().copied().filter(is_listed).collect())
    }

    /// Compares the server's digest of the file at `path` with a local digest, such as that of a
    /// [`Checksum`].
    ///
    /// # Errors
    ///
    /// Returns [`Error::Mismatch`] if the digests differ, and the errors of [`hash`](Self::hash).
    pub fn compare_hash(&mut self, path: impl AsRef<[u8]>, here: &Digest) -> Result<(), Error> {
        let there = self.hash(path, Some(here.algorithm))?;
        match there.bytes == here.bytes {
            true => Ok(()),
            false => Err(Error::Mismatch { here: here.clone(), there }),
        }
    }

    /// Returns the server's digest of the file at `path`.
    ///
    /// If `algorithm` is `None`, the first of [`HashAlgorithm::ALL`] that the server lists in
    /// `FEAT` is used. The client sends `HASH` if the server lists it with this algorithm, else a
    /// command such as `XSHA256`. If the server does not know a command that it lists, the client
    /// tries the next one. The reply may take as long as
    /// [`Timeouts::final_reply`](crate::Timeouts::final_reply).
    ///
    /// # Errors
    ///
    /// - [`Error::Unsupported`] if the server lists no suitable algorithm.
    /// - [`Error::Refused`] if the server refuses the command.
    /// - [`Error::Protocol`] for a reply without the digest of a file from its beginning; the connection
    ///   stays open.
    /// - [`Error::Incomplete`] if `algorithm` is `None` and the digest is that of a part of the file.
    /// - [`Error::Argument`] if `path` cannot be sent.
    pub fn hash(
        &mut self,
        path: impl AsRef<[u8]>,
        algorithm: Option<HashAlgorithm>,
    ) -> Result<Digest, Error> {
        let path = self.pathname(path.as_ref())?;
        let features = self.features()?;
        // Without an algorithm, the caller has no digest to compare with.
        let is_compared = algorithm.is_some();
        let wanted = algorithm.as_ref().map_or(HashAlgorithm::ALL, std::slice::from_ref);
        let mut refused = None;
        for &algorithm in wanted {
            let listed = features.choices("HASH").find(|(name, _)| algorithm.is_named(name));
            let single = algorithm.verbs().iter().find(|verb| features.has(verb.as_str()));
            let by_hash = listed.map(|(name, chosen)| {
                (Command::Hash(path.clone()), Some((name.to_ascii_uppercase(), chosen)))
            });
            let by_verb = single.map(|verb| (Command::Known(*verb, quoted(&path)), None));
            for (command, choice) in [by_hash, by_verb].into_iter().flatten() {
                if let Some((name, chosen)) = choice {
                    self.choose_hash(&name, chosen)?;
                }
                let reply = self.hash_reply(&command, FileRange::default())?;
                match reply.code().severity() {
                    // FEAT lists the command, but the server does not know it.
                    _ if is_missing(&reply) => refused = Some((command.verb(), reply)),
                    Severity::Completion => {
                        let bytes = match command.verb() {
                            Verb::Hash => read_hash(reply.text(), algorithm),
                            _ => read_single(reply.text(), &path, algorithm),
                        };
                        let bytes = bytes.map_err(Error::Protocol)?;
                        // The replies of other commands have the path where this one has a range.
                        if command.verb() == Verb::Hash
                            && !is_compared
                            && let Some(end) = range_end(reply.text())
                            && let Some(size) = self.size(path.as_bytes())?.filter(|it| end < *it)
                        {
                            return Err(Error::Incomplete { bytes: end, announced: Some(size) });
                        }
                        return Ok(Digest { algorithm, bytes });
                    }
                    _ => return Err(Error::Refused { verb: command.verb(), reply }),
                }
            }
        }
        Err(match refused {
            Some((verb, reply)) => Error::Refused { verb, reply },
            None => Error::Unsupported(Unsupported::NoDigest),
        })
    }

    /// Returns whether [`hash_first`](Self::hash_first) is worth a try.
    pub(crate) fn can_hash_ranges(&mut self) -> Result<bool, Error> {
        let features = self.features()?;
        Ok(features.has_with("RANG", "STREAM") && features.has("HASH") && !self.no_range)
    }

    /// Returns the server's digest of the first `length` bytes of the file at `path` (`RANG`,
    /// `HASH`).
    ///
    /// # Errors
    ///
    /// Returns the errors of [`hash`](Self::hash). A reply that does not name exactly these bytes
    /// is [`Error::Protocol`]; the connection stays open.
    pub(crate) fn hash_first(
        &mut self,
        path: &[u8],
        algorithm: HashAlgorithm,
        length: u64,
    ) -> Result<Digest, Error> {
        let path = self.pathname(path)?;
        let range = FileRange::between(0, length)?;
        let features = self.features()?;
        let listed = features.choices("HASH").find(|(name, _)| algorithm.is_named(name));
        let Some((name, chosen)) = listed else {
            return Err(Error::Unsupported(Unsupported::NoDigest));
        };
        self.choose_hash(&name.to_ascii_uppercase(), chosen)?;
        let reply = self.hash_reply(&Command::Hash(path), range)?;
        if is_missing(&reply) {
            return Err(Error::Unsupported(Unsupported::NoDigest));
        }
        let reply = accepted(Verb::Hash, reply)?;
        let end = format!("0-{}", length.saturating_sub(1));
        let is_range = reply.text().split(|&byte| byte == b' ').nth(1) == Some(end.as_bytes());
        let bytes = match is_range {
            true => read_hash(reply.text(), algorithm),
            false => Err(wrong(ParseErrorKind::BadNumber)),
        };
        Ok(Digest { algorithm, bytes: bytes.map_err(Error::Protocol)? })
    }

    /// Tells the server which algorithm `HASH` must use, if another one is selected.
    fn choose_hash(&mut self, name: &[u8], chosen_at_first: bool) -> Result<(), Error> {
        let in_force = match &self.hash {
            Some(chosen) => chosen.as_bytes() == name,
            None => chosen_at_first,
        };
        if !in_force {
            let name = String::from_utf8_lossy(name).into_owned();
            self.order(&Command::Opts(OptsArgument::Hash(Some(name.clone()))))?;
            self.hash = Some(name);
        }
        Ok(())
    }

    fn hash_reply(&mut self, command: &Command, range: FileRange) -> Result<Reply, Error> {
        let line = command.encode()?;
        self.settle()?;
        // If another range were in force, the digest would cover other bytes.
        self.put_range_in_force(range)?;
        let limit = self.config.timeouts.final_reply.max(self.config.timeouts.reply);
        let deadline = self.control.deadline(limit, Phase::Reply(None));
        self.control.send(command.verb(), &line, deadline)?;
        self.control.final_reply(deadline)
    }
}

/// Returns a path for `XCRC` and similar commands. Servers truncate the path at an SP unless it is
/// quoted.
fn quoted(path: &Pathname) -> Vec<u8> {
    let path = path.as_bytes();
    if path.contains(&b' ') { [b"\"", path, b"\""].concat() } else { path.to_vec() }
}

fn wrong(kind: ParseErrorKind) -> ParseError {
    ParseError::new("digest reply", 0, kind)
}

/// Reads the reply to `HASH`: algorithm, range, digest, pathname. Some servers leave out the
/// pathname, and servers of the first drafts leave out the range.
fn read_hash(text: &[u8], algorithm: HashAlgorithm) -> Result<Vec<u8>, ParseError> {
    let mut words = text.split(|&byte| byte == b' ').filter(|word| !word.is_empty());
    let end = || wrong(ParseErrorKind::UnexpectedEnd);
    if !algorithm.is_named(words.next().ok_or_else(end)?) {
        return Err(wrong(ParseErrorKind::UnexpectedByte));
    }
    let mut word = words.next().ok_or_else(end)?;
    if let Some(dash) = word.iter().position(|&byte| byte == b'-') {
        let first = word.get(..dash).expect("`dash` is within the word");
        if first.is_empty() || first.iter().any(|&digit| digit != b'0') {
            return Err(wrong(ParseErrorKind::BadNumber));
        }
        word = words.next().ok_or_else(end)?;
    }
    digest(word, algorithm).ok_or_else(|| wrong(ParseErrorKind::BadNumber))
}

/// Returns the number of bytes that a reply to `HASH` is about, if it names them.
fn range_end(text: &[u8]) -> Option<u64> {
    let range = text.split(|&byte| byte == b' ').nth(1)?;
    let (_, last) = std::str::from_utf8(range).ok()?.split_once('-')?;
    last.parse::<u64>().ok()?.checked_add(1)
}

/// Reads the reply to `XCRC` or a similar command: the digest, with or without the pathname before
/// or after it.
fn read_single(
    text: &[u8],
    path: &Pathname,
    algorithm: HashAlgorithm,
) -> Result<Vec<u8>, ParseError> {
    let text = text.trim_ascii();
    let quoted = path.quoted();
    let named = [quoted.as_slice(), path.as_bytes()].into_iter().find_map(|name| {
        let before = text.strip_prefix(name).filter(|rest| rest.starts_with(b" "));
        before.or_else(|| text.strip_suffix(name).filter(|rest| rest.ends_with(b" ")))
    });
    let mut found = named
        .unwrap_or(text)
        .split(|&byte| byte == b' ')
        .filter_map(|word| digest(word, algorithm));
    let bytes = found.next().ok_or_else(|| wrong(ParseErrorKind::BadNumber))?;
    match found.next() {
        // More than one word could be the digest.
        Some(_) => Err(wrong(ParseErrorKind::UnexpectedByte)),
        None => Ok(bytes),
    }
}

/// Returns the bytes of a hexadecimal digest. Some servers send a CRC without its leading zeros,
/// others with `0x`.
fn digest(word: &[u8], algorithm: HashAlgorithm) -> Option<Vec<u8>> {
    let mut digits = word.to_vec();
    if algorithm == HashAlgorithm::Crc32 {
        digits = word.strip_prefix(b"0x").unwrap_or(word).to_vec();
        if digits.is_empty() || digits.len() > 8 {
            return None;
        }
        digits = [vec![b'0'; 8 - digits.len()], digits].concat();
    }
    unhex(&digits).filter(|bytes| bytes.len() == algorithm.length())
}

#[cfg(test)]
mod tests {
    use super::*;
    use HashAlgorithm::{Crc32, Md5, Sha1, Sha256};

    const MD5: &str = "fcb217f0a094ad05f572e3678615b9d1";

    #[test]
    fn hash_replies_are_parsed() {
        for (text, algorithm, want) in [
            (format!("MD5 0-55 {MD5} a file"), Md5, true),
            (format!("MD5 0-55 {MD5}"), Md5, true),
            (format!("MD5 {MD5} a"), Md5, true),
            (format!("md5 0-55 {} a", MD5.to_uppercase()), Md5, true),
            (format!("MD5 1-55 {MD5} a"), Md5, false),
            (format!("MD5 -55 {MD5} a"), Md5, false),
            (format!("SHA-1 0-55 {MD5} a"), Md5, false),
            (format!("SHA-1 0-55 {MD5} a"), Sha1, false),
            ("MD5 0-55".to_owned(), Md5, false),
            ("MD5".to_owned(), Md5, false),
            (String::new(), Md5, false),
            (format!("SHA256 0-1 {MD5}{MD5} a"), Sha256, true),
        ] {
            let got = read_hash(text.as_bytes(), algorithm);
            assert_eq!(got.is_ok(), want, "{text}");
            assert!(got.is_err() || got.unwrap().starts_with(&[0xfc, 0xb2]), "{text}");
        }
    }

    #[test]
    fn replies_to_older_digest_commands_are_parsed() {
        let path = Pathname::new("dead beef").unwrap();
        for (text, algorithm, want) in [
            (MD5, Md5, Some(MD5)),
            (&format!("\"dead beef\" {MD5}"), Md5, Some(MD5)),
            (&format!("{MD5} dead beef"), Md5, Some(MD5)),
            ("aae4aae", Crc32, Some("0aae4aae")),
            ("0xAAE4AAE0", Crc32, Some("aae4aae0")),
            ("dead beef 12345678", Crc32, Some("12345678")),
            ("12345678 dead beef", Crc32, Some("12345678")),
            ("12345678 87654321", Crc32, None),
            ("123456789", Crc32, None),
            ("-1", Crc32, None),
            ("OK", Crc32, None),
            ("", Crc32, None),
            (MD5, Sha1, None),
        ] {
            let got = read_single(text.as_bytes(), &path, algorithm).ok();
            let got = got.map(|bytes| Digest { algorithm, bytes }.to_string());
            assert_eq!(got.as_deref(), want, "{text}");
        }
    }
}
