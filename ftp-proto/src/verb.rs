//! The verb of a command line, which RFC 959 §5.3 calls the command code.

use std::fmt;

use crate::bytes::split_or_all;
use crate::{ParseError, ParseErrorKind, limits};

/// A well-formed verb that this crate does not know.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct OtherVerb {
    bytes: [u8; limits::VERB],
    length: usize,
}

impl OtherVerb {
    /// Returns the verb in upper case: 1 to 12 ASCII letters and digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.word()
    }

    fn word(&self) -> &str {
        let word = self.bytes.get(..self.length).expect("the word is within the array");
        std::str::from_utf8(word).expect("letters and digits are ASCII")
    }
}

macro_rules! verbs {
    ($($(#[$doc:meta])* $variant:ident $word:literal,)*) => {
        /// The first word of a command line, parsed without regard to case (RFC 959 §5.3).
        ///
        /// The X forms of RFC 775 are aliases (RFC 1123 §4.1.3.1): `XCWD` is parsed as
        /// [`Verb::Cwd`].
        #[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
        #[non_exhaustive]
        pub enum Verb {
            $($(#[$doc])* $variant,)*
            /// Any other well-formed word.
            Other(OtherVerb),
        }

        impl Verb {
            /// Every known verb, in the order of RFC 959 and its extensions.
            pub const KNOWN: &[Self] = &[$(Self::$variant,)*];

            /// Returns the verb as sent, in upper case.
            #[must_use]
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$variant => $word,)*
                    Self::Other(other) => other.as_str(),
                }
            }

            /// Returns the known verb for `word`, which must be in upper case.
            fn known(word: &str) -> Option<Self> {
                Some(match word {
                    $($word => Self::$variant,)*
                    "XCUP" => Self::Cdup,
                    "XCWD" => Self::Cwd,
                    "XMKD" => Self::Mkd,
                    "XPWD" => Self::Pwd,
                    "XRMD" => Self::Rmd,
                    _ => return None,
                })
            }
        }
    };
}

verbs! {
    /// RFC 959 §4.1.1: the user name.
    User "USER",
    /// RFC 959 §4.1.1: the password.
    Pass "PASS",
    /// RFC 959 §4.1.1: the account.
    Acct "ACCT",
    /// RFC 959 §4.1.1: change the current directory.
    Cwd "CWD",
    /// RFC 959 §4.1.1: change to the parent directory.
    Cdup "CDUP",
    /// RFC 959 §4.1.1: mount another file system.
    Smnt "SMNT",
    /// RFC 959 §4.1.1: end of session.
    Quit "QUIT",
    /// RFC 959 §4.1.1: reset the session to its state after the greeting.
    Rein "REIN",
    /// RFC 959 §4.1.2: the address to which the server must connect.
    Port "PORT",
    /// RFC 959 §4.1.2: make the server listen.
    Pasv "PASV",
    /// RFC 959 §4.1.2: representation type.
    Type "TYPE",
    /// RFC 959 §4.1.2: file structure.
    Stru "STRU",
    /// RFC 959 §4.1.2: transfer mode.
    Mode "MODE",
    /// RFC 959 §4.1.3: retrieve a file.
    Retr "RETR",
    /// RFC 959 §4.1.3: store a file.
    Stor "STOR",
    /// RFC 959 §4.1.3: store under a name that the server chooses.
    Stou "STOU",
    /// RFC 959 §4.1.3: append to a file.
    Appe "APPE",
    /// RFC 959 §4.1.3: reserve space.
    Allo "ALLO",
    /// RFC 959 §4.1.3 and RFC 3659 §5: the offset at which the next transfer starts.
    Rest "REST",
    /// RFC 959 §4.1.3: rename from.
    Rnfr "RNFR",
    /// RFC 959 §4.1.3: rename to.
    Rnto "RNTO",
    /// RFC 959 §4.1.3: abort the transfer.
    Abor "ABOR",
    /// RFC 959 §4.1.3: delete a file.
    Dele "DELE",
    /// RFC 959 §4.1.3: remove a directory.
    Rmd "RMD",
    /// RFC 959 §4.1.3: make a directory.
    Mkd "MKD",
    /// RFC 959 §4.1.3: print the current directory.
    Pwd "PWD",
    /// RFC 959 §4.1.3: listing for human readers.
    List "LIST",
    /// RFC 959 §4.1.3: list of names.
    Nlst "NLST",
    /// RFC 959 §4.1.3: site-specific commands.
    Site "SITE",
    /// RFC 959 §4.1.3: the operating system.
    Syst "SYST",
    /// RFC 959 §4.1.3: status.
    Stat "STAT",
    /// RFC 959 §4.1.3: help.
    Help "HELP",
    /// RFC 959 §4.1.3: no operation.
    Noop "NOOP",
    /// RFC 2228 §3: start a security mechanism.
    Auth "AUTH",
    /// RFC 2228 §3: data of a security mechanism.
    Adat "ADAT",
    /// RFC 2228 §3: protection buffer size.
    Pbsz "PBSZ",
    /// RFC 2228 §3: protection of the data channel.
    Prot "PROT",
    /// RFC 2228 §3: clear command channel.
    Ccc "CCC",
    /// RFC 2228 §3: integrity protected command.
    Mic "MIC",
    /// RFC 2228 §3: confidential command.
    Conf "CONF",
    /// RFC 2228 §3: privacy protected command.
    Enc "ENC",
    /// RFC 2389 §3: list the server's features.
    Feat "FEAT",
    /// RFC 2389 §4: options of a command.
    Opts "OPTS",
    /// RFC 2428 §2: `PORT` for any address family.
    Eprt "EPRT",
    /// RFC 2428 §3: `PASV` for any address family.
    Epsv "EPSV",
    /// RFC 1639: `PORT` with an address of any length.
    Lprt "LPRT",
    /// RFC 1639: `PASV` with an address of any length in the reply.
    Lpsv "LPSV",
    /// RFC 2640 §4: language of the replies.
    Lang "LANG",
    /// RFC 3659 §3: modification time.
    Mdtm "MDTM",
    /// RFC 3659 §4: transfer size.
    Size "SIZE",
    /// RFC 3659 §7: facts of one object.
    Mlst "MLST",
    /// RFC 3659 §7: facts of a directory's entries.
    Mlsd "MLSD",
    /// RFC 7151: the virtual host.
    Host "HOST",
    /// draft-somers-ftp-mfxx §3: set the modification time.
    Mfmt "MFMT",
    /// draft-somers-ftp-mfxx §4: set the creation time.
    Mfct "MFCT",
    /// draft-somers-ftp-mfxx §5: set facts.
    Mff "MFF",
    /// draft-bryan-ftpext-hash §3: digest of a file.
    Hash "HASH",
    /// draft-bryan-ftp-range: a byte range.
    Rang "RANG",
    /// Name of the client program; in no RFC, but in common use.
    Clnt "CLNT",
    /// Names of the client and server programs; expired draft.
    Csid "CSID",
    /// Free space; expired draft.
    Avbl "AVBL",
    /// Remove a directory and its contents; expired draft.
    Rmda "RMDA",
    /// Allocated size of a directory; in no RFC, but in common use.
    Dsiz "DSIZ",
    /// Join uploaded parts; in no RFC, but in common use.
    Comb "COMB",
    /// Announce the next transfer before `PASV`; in no RFC, but distributed servers require it.
    Pret "PRET",
    /// TLS client role for server-to-server copies; in no RFC, but in common use.
    Sscn "SSCN",
    /// Passive mode with the TLS client role; in no RFC, but in common use.
    Cpsv "CPSV",
    /// CRC-32 of a file; in no RFC, but in common use.
    Xcrc "XCRC",
    /// MD5 of a file; in no RFC, but in common use.
    Xmd5 "XMD5",
    /// SHA-1 of a file; in no RFC, but in common use.
    Xsha "XSHA",
    /// SHA-1 of a file; in no RFC, but in common use.
    Xsha1 "XSHA1",
    /// SHA-256 of a file; in no RFC, but in common use.
    Xsha256 "XSHA256",
    /// SHA-512 of a file; in no RFC, but in common use.
    Xsha512 "XSHA512",
}

impl Verb {
    /// Parses a verb that fills all of `word`.
    ///
    /// # Errors
    ///
    /// Returns `UnexpectedEnd` for empty input, `UnexpectedByte` for a leading digit or a character
    /// other than ASCII letters and digits, and `TooLong` beyond 12 bytes.
    pub fn parse(word: &[u8]) -> Result<Self, ParseError> {
        let error = |at, kind| Err(ParseError::new("verb", at, kind));
        let Some(first) = word.first() else {
            return error(0, ParseErrorKind::UnexpectedEnd);
        };
        if !first.is_ascii_alphabetic() {
            return error(0, ParseErrorKind::UnexpectedByte);
        }
        if let Some(at) = word.iter().position(|byte| !byte.is_ascii_alphanumeric()) {
            return error(at, ParseErrorKind::UnexpectedByte);
        }
        let mut bytes = [0; limits::VERB];
        let Some(upper) = bytes.get_mut(..word.len()) else {
            return error(limits::VERB, ParseErrorKind::TooLong);
        };
        upper.copy_from_slice(word);
        upper.make_ascii_uppercase();
        let verb = OtherVerb { bytes, length: word.len() };
        Ok(Self::known(verb.as_str()).unwrap_or(Self::Other(verb)))
    }

    /// Splits a line from a [`LineDecoder`](crate::LineDecoder) into its verb and its argument.
    ///
    /// Exactly one SP separates them; further SP belong to the argument, which may be empty (RFC
    /// 2640 §3.1).
    ///
    /// ```
    /// use ftp_proto::Verb;
    ///
    /// assert_eq!(Verb::split(b"retr  a b")?, (Verb::Retr, b" a b".as_slice()));
    /// assert_eq!(Verb::split(b"XPWD")?, (Verb::Pwd, b"".as_slice()));
    /// # Ok::<(), ftp_proto::ParseError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Returns the errors of [`Verb::parse`] for the text before the first SP.
    pub fn split(line: &[u8]) -> Result<(Self, &[u8]), ParseError> {
        let (word, argument) = split_or_all(line, b' ');
        Ok((Self::parse(word)?, argument))
    }
}

impl Verb {
    /// Returns whether the command sends data to the server: `STOR`, `STOU` and `APPE`.
    #[must_use]
    pub const fn is_upload(self) -> bool {
        matches!(self, Self::Appe | Self::Stor | Self::Stou)
    }

    /// Returns whether the command always uses a data connection: an upload, `RETR`, or a listing
    /// other than `STAT`.
    #[must_use]
    pub const fn uses_data(self) -> bool {
        self.is_upload() || matches!(self, Self::List | Self::Mlsd | Self::Nlst | Self::Retr)
    }

    /// Returns whether the command, carried out or not, leaves the session as it was, apart from the
    /// next command: it only asks, or acts on objects. False for `SITE`, and for unknown commands.
    #[must_use]
    #[rustfmt::skip]
    pub const fn keeps_session(self) -> bool {
        self.only_asks() || self.is_upload() || matches!(
            self,
            Self::Dele | Self::Mfct | Self::Mff | Self::Mfmt | Self::Mkd | Self::Rmd | Self::Rmda | Self::Rnto
        )
    }

    /// Returns whether the command changes nothing on the server that outlasts the session, and not the
    /// directory to which later names are relative. False for `SITE`, and for unknown commands.
    #[must_use]
    #[rustfmt::skip]
    pub const fn keeps_objects(self) -> bool {
        self.only_asks() || self.uses_data() && !self.is_upload() || matches!(
            self,
            // They begin, protect or end the session.
            Self::Acct | Self::Adat | Self::Auth | Self::Ccc | Self::Clnt | Self::Csid | Self::Host
                | Self::Pass | Self::Pbsz | Self::Prot | Self::Quit | Self::Rein | Self::User
            // They set what ends with the session, or prepare the next command.
                | Self::Abor | Self::Allo | Self::Lang | Self::Mode | Self::Opts | Self::Pret | Self::Rang
                | Self::Rest | Self::Sscn | Self::Stru | Self::Type
            // They agree on a data connection.
                | Self::Cpsv | Self::Epsv | Self::Eprt | Self::Lprt | Self::Lpsv | Self::Pasv | Self::Port
        )
    }

    /// `RNFR` asks whether an object can be renamed.
    #[rustfmt::skip]
    const fn only_asks(self) -> bool {
        matches!(
            self,
            Self::Avbl | Self::Dsiz | Self::Feat | Self::Hash | Self::Help | Self::Mdtm | Self::Mlst
                | Self::Noop | Self::Pwd | Self::Rnfr | Self::Size | Self::Stat | Self::Syst | Self::Xcrc
                | Self::Xmd5 | Self::Xsha | Self::Xsha1 | Self::Xsha256 | Self::Xsha512
        )
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verb_followed_by_other_bytes_is_rejected() {
        for word in ["RETR ", "RETR x", "RETR\t", "SITE\0"] {
            assert!(Verb::parse(word.as_bytes()).is_err(), "{word:?}");
        }
    }

    #[test]
    fn parse_reads_any_case_fr_13() {
        for (word, want) in [
            ("mLsD", Verb::Mlsd),
            ("USER", Verb::User),
            ("xsha512", Verb::Xsha512),
            ("xcwd", Verb::Cwd),
            ("XCUP", Verb::Cdup),
            ("XMKD", Verb::Mkd),
            ("XPWD", Verb::Pwd),
            ("XRMD", Verb::Rmd),
        ] {
            assert_eq!(Verb::parse(word.as_bytes()), Ok(want), "{word}");
        }
    }

    #[test]
    fn parse_keeps_unknown_verbs() {
        let verb = Verb::parse(b"xyz9").unwrap();
        assert!(matches!(verb, Verb::Other(_)));
        assert_eq!(verb.as_str(), "XYZ9");
        assert_eq!(Verb::parse(b"ABCDEFGHIJKL").unwrap().to_string(), "ABCDEFGHIJKL");
    }

    #[test]
    fn parse_rejects_invalid_verbs_fr_12() {
        use ParseErrorKind::{TooLong, UnexpectedByte, UnexpectedEnd};
        for (word, at, kind) in [
            ("", 0, UnexpectedEnd),
            ("9ABC", 0, UnexpectedByte),
            ("RE-TR", 2, UnexpectedByte),
            ("RETR\tx", 4, UnexpectedByte),
            ("R\u{e9}", 1, UnexpectedByte),
            (" NOOP", 0, UnexpectedByte),
            ("\0NOOP", 0, UnexpectedByte),
            ("NO\0OP", 2, UnexpectedByte),
            ("R@TR", 1, UnexpectedByte),
            ("ABCDEFGHIJKLM", 12, TooLong),
        ] {
            let want = ParseError::new("verb", at, kind);
            assert_eq!(Verb::parse(word.as_bytes()), Err(want), "{word}");
        }
    }

    #[test]
    fn every_known_verb_round_trips() {
        for verb in Verb::KNOWN {
            assert_eq!(Verb::parse(verb.as_str().as_bytes()), Ok(*verb));
        }
    }

    #[test]
    fn split_removes_only_one_space_fr_14() {
        for (line, verb, argument) in [
            ("RETR a", Verb::Retr, "a"),
            ("RETR  a ", Verb::Retr, " a "),
            ("RETR ", Verb::Retr, ""),
            ("RETR", Verb::Retr, ""),
        ] {
            assert_eq!(Verb::split(line.as_bytes()), Ok((verb, argument.as_bytes())), "{line}");
        }
    }

    #[test]
    fn split_rejects_a_tab_fr_16() {
        assert!(Verb::split(b"RETR\tx").is_err());
        assert!(Verb::split(b"").is_err(), "FR-08");
        assert!(Verb::split(b" NOOP").is_err());
    }
}
