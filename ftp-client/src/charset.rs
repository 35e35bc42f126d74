//! Character sets of servers whose names are not UTF-8: what is sent is translated to them, and replies
//! and listings from them.

use std::borrow::Cow;
use std::str::FromStr;

use encoding_rs::{Encoding, UTF_8};
use ftp_proto::{ParseError, ParseErrorKind};

use crate::error::Error;

/// The character set of a server, parsed from a name of the
/// [Encoding Standard](https://encoding.spec.whatwg.org/#names-and-labels), such as `windows-1252`,
/// `koi8-r` or `shift_jis`.
///
/// All paths of a client with a character set are UTF-8. No two names of a server become one path, and no
/// two paths one name: a name that is not text in the character set keeps its bytes, with a leading 0xFF
/// if they are UTF-8 by accident; a path that no name stands for is an error.
///
/// ```
/// use ftp_client::{Charset, Client};
///
/// let charset: Charset = "windows-1252".parse()?;
/// let builder = Client::builder().charset(charset);
/// # Ok::<(), ftp_client::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Charset(&'static Encoding);

/// The byte before a name that would be taken for UTF-8. It is in no UTF-8, and names with it in the
/// first place get another one.
const MARK: u8 = 0xff;

impl Charset {
    pub(crate) fn other_than_utf8(self) -> Option<Self> {
        (self.0 != UTF_8).then_some(self)
    }

    /// Translates what a server has sent. It cannot fail: what is not text keeps its bytes.
    pub(crate) fn decode(self, bytes: &[u8]) -> Vec<u8> {
        words(bytes).flat_map(|word| self.decode_word(word).into_owned()).collect()
    }

    /// Translates what is sent to a server.
    ///
    /// # Errors
    ///
    /// Returns `Argument` if the server would return other text: a character is not in the character set,
    /// two characters share a byte there, or the bytes are neither UTF-8 nor from [`decode`](Self::decode).
    pub(crate) fn encode(self, text: &[u8]) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::with_capacity(text.len());
        for word in words(text) {
            let sent = match std::str::from_utf8(word) {
                Ok(text) => self.0.encode(text).0,
                Err(_) => Cow::Borrowed(word.strip_prefix(&[MARK]).unwrap_or(word)),
            };
            // An unmappable character became a numeric reference, which is decoded as itself.
            if *self.decode_word(&sent) != *word {
                let kind = ParseErrorKind::Unencodable;
                return Err(ParseError::new("name", bytes.len(), kind).into());
            }
            bytes.extend_from_slice(&sent);
        }
        Ok(bytes)
    }

    fn decode_word(self, word: &[u8]) -> Cow<'_, [u8]> {
        if word.is_ascii() {
            return Cow::Owned(word.to_vec());
        }
        // Several sequences can stand for one character; only one of them is ever sent.
        let text = self.0.decode_without_bom_handling_and_without_replacement(word);
        let text = text.filter(|text| matches!(self.0.encode(text), (sent, ..) if *sent == *word));
        Cow::Owned(match text {
            Some(text) => text.into_owned().into_bytes(),
            None if word.first() == Some(&MARK) || std::str::from_utf8(word).is_ok() => {
                [&[MARK], word].concat()
            }
            None => word.to_vec(),
        })
    }

    /// Returns two names, as they are sent, that differ only in their last byte, which is not UTF-8, for
    /// a test of what the server does with such bytes. They have 0xFF if that is a letter.
    pub(crate) fn samples(self) -> Option<[Vec<u8>; 2]> {
        // A letter of the sets with one byte for each, of Shift_JIS, and of the other sets for Asia.
        let pairs: [[&[u8]; 2]; 3] =
            [[b"\xe9", b"\xe8"], [b"\xb1", b"\xb2"], [b"\xb0\xa1", b"\xb0\xa2"]];
        let is_text = |sent: &[u8]| std::str::from_utf8(&self.decode(sent)).is_ok();
        let start: &[u8] = if is_text(b"\xff") { b"\xff-" } else { b"" };
        let pair = pairs.into_iter().find(|pair| pair.iter().all(|sent| is_text(sent)))?;
        Some(pair.map(|sent| [start, sent].concat()))
    }
}

/// Returns words, and between them what separates names: in no character set is a byte below the digits a
/// part of a character of several bytes, although letters, `\` and `|` are.
fn words(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.chunk_by(|one, other| (*one < b'0') == (*other < b'0'))
}

/// Returns a path as the server reads it: in UTF-8 without a character set.
///
/// # Errors
///
/// Returns the error of [`Charset::encode`].
pub(crate) fn sent_in(charset: Option<Charset>, path: &[u8]) -> Result<Cow<'_, [u8]>, Error> {
    match charset {
        Some(charset) => charset.encode(path).map(Cow::Owned),
        None => Ok(Cow::Borrowed(path)),
    }
}

/// Returns whether a path is sent as UTF-8, which every server is expected to keep.
pub(crate) fn is_text(charset: Option<Charset>, path: &[u8]) -> bool {
    sent_in(charset, path).is_ok_and(|sent| std::str::from_utf8(&sent).is_ok())
}

impl FromStr for Charset {
    type Err = ParseError;

    /// # Errors
    ///
    /// Returns `UnknownWord` for a name that the Encoding Standard lacks, and `Unsupported` for a character
    /// set in which ASCII is not itself: UTF-16 and ISO-2022-JP.
    fn from_str(name: &str) -> Result<Self, ParseError> {
        let failed = |kind| ParseError::new("character set", 0, kind);
        match Encoding::for_label(name.as_bytes()) {
            None => Err(failed(ParseErrorKind::UnknownWord)),
            Some(encoding) if !encoding.is_ascii_compatible() => {
                Err(failed(ParseErrorKind::Unsupported))
            }
            Some(encoding) => Ok(Self(encoding)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    /// Every character set that the standard has for FTP.
    const NAMES: [&str; 32] = [
        "ibm866",
        "iso-8859-2",
        "iso-8859-3",
        "iso-8859-4",
        "iso-8859-5",
        "iso-8859-6",
        "iso-8859-7",
        "iso-8859-8",
        "iso-8859-10",
        "iso-8859-13",
        "iso-8859-14",
        "iso-8859-15",
        "iso-8859-16",
        "koi8-r",
        "koi8-u",
        "macintosh",
        "windows-874",
        "windows-1250",
        "windows-1251",
        "windows-1252",
        "windows-1253",
        "windows-1254",
        "windows-1255",
        "windows-1256",
        "windows-1257",
        "windows-1258",
        "gbk",
        "gb18030",
        "big5",
        "euc-jp",
        "shift_jis",
        "euc-kr",
    ];

    fn charset(name: &str) -> Charset {
        name.parse().unwrap()
    }

    #[test]
    fn names_are_translated_there_and_back_cl_84() {
        for (name, text, bytes) in [
            ("windows-1252", "dir é/naïve – 5 €.txt", &b"dir \xe9/na\xefve \x96 5 \x80.txt"[..]),
            ("windows-1252", "ÿ", b"\xff"),
            ("koi8-r", "Привет/Ъ.txt", b"\xf0\xd2\xc9\xd7\xc5\xd4/\xff.txt"),
            ("shift_jis", "表示/ソ|.txt", b"\x95\x5c\x8e\xa6/\x83\x5c|.txt"),
            ("gb18030", "漢𠀀", b"\x9dh\x952\x826"),
        ] {
            assert_eq!(charset(name).encode(text.as_bytes()).unwrap(), bytes, "{name}");
            assert_eq!(charset(name).decode(bytes), text.as_bytes(), "{name}");
        }
    }

    #[test]
    fn a_path_that_no_name_stands_for_is_refused_cl_84() {
        for (name, text) in [
            ("windows-1252", "日本".as_bytes()),
            ("windows-1252", b"caf\xe9"),
            // The Yen sign would be sent as a backslash, and listed as that.
            ("shift_jis", "¥".as_bytes()),
            ("shift_jis", b"\x83\x5c"),
            ("koi8-r", "a/€/b".as_bytes()),
        ] {
            let refused = charset(name).encode(text);
            assert!(matches!(refused, Err(Error::Argument(_))), "{name} {text:?}");
        }
    }

    #[test]
    fn no_two_names_become_one_cl_84() {
        // All names of one byte, or of two if the sets need two, and longer ones that decoders give up.
        let words = (0..=u16::MAX).map(|word| word.to_be_bytes().to_vec());
        let longer = [
            &b"\xe3\x81\x82"[..],
            b"\xff\xe3\x81\x82",
            b"\xff\xff\xe3\x81\x82",
            b"\xf0\x9f\x98\x80",
        ];
        let all = words.chain(longer.map(<[u8]>::to_vec));
        let all: Vec<Vec<u8>> = all.chain((0..=255).map(|byte| vec![byte])).collect();
        for name in NAMES {
            let charset = charset(name);
            let mut seen = HashMap::new();
            let is_single = charset.0.is_single_byte();
            for word in all.iter().filter(|word| !is_single || word.len() != 2) {
                let text = charset.decode(word);
                assert_eq!(charset.encode(&text).ok().as_ref(), Some(word), "{name}");
                let other = seen.insert(text, word);
                assert_eq!(other, None, "{name}: {word:?}");
            }
        }
    }

    #[test]
    fn separators_are_never_inside_a_character_cl_84() {
        for name in NAMES {
            for first in 0x80..=0xff {
                for second in 0..b'0' {
                    let (word, text) = ([first, second], charset(name).decode(&[first, second]));
                    assert_eq!(text.last(), Some(&second), "{name}: {word:?}");
                }
            }
        }
    }

    #[test]
    fn each_character_set_has_samples() {
        for name in NAMES {
            let [one, other] = charset(name).samples().unwrap_or_else(|| panic!("{name}"));
            assert_ne!(charset(name).decode(&one), charset(name).decode(&other), "{name}");
        }
        for (name, starts) in [("windows-1251", true), ("koi8-r", true), ("shift_jis", false)] {
            let [one, _] = charset(name).samples().unwrap();
            assert_eq!(one.starts_with(b"\xff-"), starts, "{name}");
        }
    }

    #[test]
    fn names_of_character_sets_are_those_of_the_standard() {
        assert_eq!("CP1252".parse::<Charset>(), "latin1".parse());
        assert_eq!(charset("utf-8").other_than_utf8(), None);
        for (name, want) in [
            ("klingon", ParseErrorKind::UnknownWord),
            ("", ParseErrorKind::UnknownWord),
            ("utf-16le", ParseErrorKind::Unsupported),
            ("iso-2022-jp", ParseErrorKind::Unsupported),
        ] {
            assert_eq!(name.parse::<Charset>().unwrap_err().kind, want, "{name}");
        }
    }
}
