//! Language tags, the argument of `LANG` (RFC 2640 §4.2).

use std::fmt;

use crate::{ParseError, ParseErrorKind};

/// A language tag in lower case, such as `en-us`.
///
/// ```
/// use ftp_proto::LanguageTag;
///
/// assert_eq!(LanguageTag::parse(b"en-GB")?.primary(), "en");
/// # Ok::<(), ftp_proto::ParseError>(())
/// ```
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct LanguageTag(String);

impl LanguageTag {
    /// Parses a tag: parts of 1 to 8 letters, in upper or lower case, separated by hyphens.
    ///
    /// All parts but the first may contain digits (RFC 5646; RFC 2640 cites its predecessor RFC
    /// 1766). The maximum is [`limits::LANGUAGE_TAG`](crate::limits::LANGUAGE_TAG) bytes.
    ///
    /// # Errors
    ///
    /// - `UnexpectedEnd` for an empty part.
    /// - `UnexpectedByte` for a character that the part may not contain.
    /// - `TooLong` for a part over 8 bytes or a tag over the limit.
    pub fn parse(input: &[u8]) -> Result<Self, ParseError> {
        let error = |at, kind| ParseError::new("lang-tag", at, kind);
        let mut at = 0;
        for part in input.split(|&byte| byte == b'-') {
            if part.is_empty() {
                return Err(error(at, ParseErrorKind::UnexpectedEnd));
            }
            let allowed =
                |byte: u8| byte.is_ascii_alphabetic() || (at > 0 && byte.is_ascii_digit());
            if let Some(wrong) = part.iter().position(|&byte| !allowed(byte)) {
                return Err(error(at + wrong, ParseErrorKind::UnexpectedByte));
            }
            if part.len() > 8 {
                return Err(error(at, ParseErrorKind::TooLong));
            }
            at += part.len() + 1;
        }
        if input.len() > crate::limits::LANGUAGE_TAG {
            return Err(error(crate::limits::LANGUAGE_TAG, ParseErrorKind::TooLong));
        }
        Ok(Self(String::from_utf8_lossy(input).to_ascii_lowercase()))
    }

    /// Returns the whole tag.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the first part: the language itself.
    #[must_use]
    pub fn primary(&self) -> &str {
        self.0.split_once('-').map_or(&self.0, |(primary, _)| primary)
    }
}

impl fmt::Display for LanguageTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ParseErrorKind::{TooLong, UnexpectedByte, UnexpectedEnd};

    #[test]
    fn language_tags_cm_27() {
        for (text, want) in [
            ("en", Ok("en")),
            ("EN-us", Ok("en-us")),
            ("zh-Hant-TW", Ok("zh-hant-tw")),
            ("es-419", Ok("es-419")),
            ("abcdefgh", Ok("abcdefgh")),
            ("", Err((0, UnexpectedEnd))),
            ("en-", Err((3, UnexpectedEnd))),
            ("-en", Err((0, UnexpectedEnd))),
            ("e1", Err((1, UnexpectedByte))),
            ("en_US", Err((2, UnexpectedByte))),
            ("en*", Err((2, UnexpectedByte))),
            ("abcdefghi", Err((0, TooLong))),
            ("en-abcdefghi", Err((3, TooLong))),
        ] {
            let want = want.map_err(|(at, kind)| ParseError::new("lang-tag", at, kind));
            let got = LanguageTag::parse(text.as_bytes());
            assert_eq!(got.as_ref().map(LanguageTag::as_str), want.as_ref().copied(), "{text}");
        }
        let limit = crate::limits::LANGUAGE_TAG;
        let fits = "abc-".repeat(limit / 4) + "abc";
        assert!(LanguageTag::parse(&fits.as_bytes()[..limit - 1]).is_ok());
        assert!(LanguageTag::parse(format!("{fits}-a").as_bytes()).is_err());
        assert_eq!(LanguageTag::parse(b"zh-Hant").unwrap().primary(), "zh");
    }

    #[test]
    fn the_longest_language_tag() {
        let longest = format!("en{}", "-abcdefg".repeat((crate::limits::LANGUAGE_TAG - 2) / 8));
        let tag = LanguageTag::parse(longest.as_bytes()).unwrap();
        assert_eq!(tag.to_string(), longest);
        let fill = crate::limits::LANGUAGE_TAG - longest.len();
        let full = format!("{longest}{}", &"-abcdefgh"[..fill]);
        assert_eq!(
            LanguageTag::parse(full.as_bytes()).map(|tag| tag.as_str().len()),
            Ok(full.len())
        );
        let over = LanguageTag::parse(format!("{longest}-abcdefgh").as_bytes());
        let want = ParseError::new("lang-tag", crate::limits::LANGUAGE_TAG, TooLong);
        assert_eq!(over, Err(want));
    }
}
