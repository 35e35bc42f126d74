use super::*;
use ParseErrorKind::{BadNumber, TooLong, UnexpectedByte, UnexpectedEnd, UnknownWord, Unsupported};

#[test]
fn type_codes_are_parsed_cm_30_cm_31() {
    use FormCode::{CarriageControl, NonPrint, Telnet};
    use TypeCode::{Ascii, Ebcdic, Image, Local};
    for (text, want) in [
        ("A", Ok(Ascii(NonPrint))),
        ("a n", Ok(Ascii(NonPrint))),
        ("A T", Ok(Ascii(Telnet))),
        ("A C", Ok(Ascii(CarriageControl))),
        ("i", Ok(Image)),
        ("I N", Ok(Image)),
        ("L 8", Ok(Local(8))),
        ("l8", Ok(Local(8))),
        ("L 7", Ok(Local(7))),
        ("L36", Ok(Local(36))),
        ("L 255", Ok(Local(255))),
        ("E", Ok(Ebcdic(NonPrint))),
        ("E N", Ok(Ebcdic(NonPrint))),
        ("e t", Ok(Ebcdic(Telnet))),
        ("e x", Err(Unsupported)),
        ("L 0", Err(Unsupported)),
        ("L 256", Err(Unsupported)),
        ("L 99999999999999999999999", Err(Unsupported)),
        ("", Err(UnexpectedEnd)),
        ("AN", Err(UnknownWord)),
        ("X", Err(UnknownWord)),
        ("A X", Err(UnknownWord)),
        ("L", Err(UnknownWord)),
        ("L ", Err(UnknownWord)),
        ("L -8", Err(UnknownWord)),
    ] {
        let got = TypeCode::parse(text.as_bytes()).map_err(|error| error.kind);
        assert_eq!(got, want, "{text:?}");
        if let Ok(code) = got {
            assert_eq!(TypeCode::parse(code.to_string().as_bytes()), Ok(code), "{text:?}");
        }
    }
}

#[test]
fn only_ascii_and_image_types_are_transferred_cm_30_cm_31() {
    use RepresentationType::{Ascii, Image};
    for (text, want) in [
        ("A", Some(Ascii)),
        ("A T", Some(Ascii)),
        ("A C", None),
        ("I", Some(Image)),
        ("L 8", Some(Image)),
        ("L 7", None),
        ("E", None),
    ] {
        let code = TypeCode::parse(text.as_bytes()).unwrap();
        assert_eq!(code.representation(), want, "{text}");
    }
    for representation in [Ascii, Image] {
        let code = TypeCode::from(representation);
        assert_eq!(code.representation(), Some(representation));
        assert_eq!(code.to_string(), representation.as_str());
    }
}

#[test]
fn structures_and_modes_are_parsed_cm_33_cm_34() {
    for (text, structure, mode) in [
        ("F", Ok(Structure::File), Err(UnknownWord)),
        ("s", Err(UnknownWord), Ok(TransferMode::Stream)),
        ("P", Ok(Structure::Page), Err(UnknownWord)),
        ("r", Ok(Structure::Record), Err(UnknownWord)),
        ("Z", Err(UnknownWord), Ok(TransferMode::Deflate)),
        ("b", Err(UnknownWord), Ok(TransferMode::Block)),
        ("C", Err(UnknownWord), Ok(TransferMode::Compressed)),
        ("", Err(UnexpectedEnd), Err(UnexpectedEnd)),
        ("FF", Err(UnknownWord), Err(UnknownWord)),
    ] {
        let text = text.as_bytes();
        assert_eq!(Structure::parse(text).map_err(|error| error.kind), structure);
        assert_eq!(TransferMode::parse(text).map_err(|error| error.kind), mode);
    }
}

#[test]
fn encoded_values_round_trip() {
    for structure in [Structure::File, Structure::Record, Structure::Page] {
        assert_eq!(Structure::parse(structure.as_str().as_bytes()), Ok(structure));
    }
    use TransferMode::{Block, Compressed, Deflate, Stream};
    for mode in [Stream, Block, Compressed, Deflate] {
        assert_eq!(TransferMode::parse(mode.as_str().as_bytes()), Ok(mode));
    }
}

#[test]
fn types_have_names() {
    assert_eq!(RepresentationType::Ascii.to_string(), "ASCII");
    assert_eq!(RepresentationType::Image.to_string(), "image");
}

#[test]
fn restart_markers_are_parsed_cm_52_as_05() {
    for (text, want) in [
        ("0", Ok(0)),
        ("0000000000000000001", Ok(1)),
        ("4294967296", Ok(1 << 32)),
        ("9223372036854775807", Ok(u64::MAX / 2)),
        ("9223372036854775808", Err(BadNumber)),
        ("00000000000000000001", Err(BadNumber)),
        ("", Err(UnexpectedEnd)),
        ("-1", Err(BadNumber)),
        ("+1", Err(BadNumber)),
        ("1 ", Err(BadNumber)),
        ("0x10", Err(BadNumber)),
    ] {
        let got = RestartMarker::parse(text.as_bytes());
        assert_eq!(got.map(RestartMarker::offset).map_err(|error| error.kind), want, "{text}");
    }
    assert_eq!(RestartMarker::new(1 << 63), None);
}

#[test]
fn auth_mechanisms_cm_60_cm_61() {
    let other = |name: &str| Ok(AuthMechanism::Other(name.to_owned()));
    for (text, want) in [
        ("TLS", Ok(AuthMechanism::Tls)),
        ("tls-c", Ok(AuthMechanism::Tls)),
        ("SSL", Ok(AuthMechanism::TlsWithData)),
        ("Tls-P", Ok(AuthMechanism::TlsWithData)),
        ("gssapi", other("GSSAPI")),
        ("ABCDEFGHIJKLMNOPQRST", other("ABCDEFGHIJKLMNOPQRST")),
        ("ABCDEFGHIJKLMNOPQRSTU", Err(TooLong)),
        ("", Err(UnexpectedEnd)),
        ("T LS", Err(UnexpectedByte)),
        ("T\u{e9}", Err(UnexpectedByte)),
    ] {
        let got = AuthMechanism::parse(text.as_bytes());
        assert_eq!(got.clone().map_err(|error| error.kind), want, "{text}");
        if let Ok(mechanism) = got {
            let sent = mechanism.to_string();
            assert_eq!(AuthMechanism::parse(sent.as_bytes()), Ok(mechanism), "{text}");
        }
    }
}

#[test]
fn protection_levels_cm_68() {
    for (text, want) in [
        ("C", Ok(ProtectionLevel::Clear)),
        ("s", Ok(ProtectionLevel::Safe)),
        ("E", Ok(ProtectionLevel::Confidential)),
        ("p", Ok(ProtectionLevel::Private)),
        ("X", Err(Unsupported)),
        ("", Err(UnexpectedEnd)),
        ("PP", Err(UnknownWord)),
        ("1", Err(UnknownWord)),
    ] {
        let got = ProtectionLevel::parse(text.as_bytes());
        assert_eq!(got.map_err(|error| error.kind), want, "{text}");
        if let Ok(level) = got {
            assert_eq!(ProtectionLevel::parse(level.as_str().as_bytes()), Ok(level));
        }
    }
}

#[test]
fn buffer_sizes_cm_67_hs_22() {
    for (text, want) in [
        ("0", Ok(0)),
        ("4294967295", Ok(u32::MAX)),
        ("4294967296", Err(BadNumber)),
        ("-1", Err(BadNumber)),
        ("", Err(UnexpectedEnd)),
    ] {
        let got = parse_buffer_size(text.as_bytes()).map_err(|error| error.kind);
        assert_eq!(got, want, "{text}");
    }
}

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
    let limit = limits::LANGUAGE_TAG;
    let fits = "abc-".repeat(limit / 4) + "abc";
    assert!(LanguageTag::parse(&fits.as_bytes()[..limit - 1]).is_ok());
    assert!(LanguageTag::parse(format!("{fits}-a").as_bytes()).is_err());
    assert_eq!(LanguageTag::parse(b"zh-Hant").unwrap().primary(), "zh");
}

#[test]
fn the_longest_language_tag() {
    let longest = format!("en{}", "-abcdefg".repeat((limits::LANGUAGE_TAG - 2) / 8));
    let tag = LanguageTag::parse(longest.as_bytes()).unwrap();
    assert_eq!(tag.to_string(), longest);
    let fill = limits::LANGUAGE_TAG - longest.len();
    let full = format!("{longest}{}", &"-abcdefgh"[..fill]);
    assert_eq!(LanguageTag::parse(full.as_bytes()).map(|tag| tag.as_str().len()), Ok(full.len()));
    let over = LanguageTag::parse(format!("{longest}-abcdefgh").as_bytes());
    let want = ParseError::new("lang-tag", limits::LANGUAGE_TAG, TooLong);
    assert_eq!(over, Err(want));
}
