use super::*;
use ParseErrorKind::{BadNumber, LineBreak, UnexpectedByte, UnexpectedEnd, UnknownWord};

/// Returns user, password, host, port and path of a valid URL.
fn parts(text: &str) -> (Option<String>, Option<String>, String, u16, String) {
    let url = FtpUrl::parse(text.as_bytes()).unwrap_or_else(|error| panic!("{text}: {error}"));
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let (user, password) = (url.user().map(text), url.password().map(text));
    (user, password, url.host().to_owned(), url.port(), text(url.path()))
}

#[test]
fn parse_reads_urls_cl_60_cl_61_cl_65() {
    for (text, user, password, host, port, path) in [
        ("ftp://h", None, None, "h", 21, ""),
        ("ftp://h/", None, None, "h", 21, ""),
        ("FTP://h/a/b", None, None, "h", 21, "a/b"),
        ("ftpes://h:2121//a", None, None, "h", 2121, "/a"),
        ("ftps://h/%2Fetc/motd", None, None, "h", 990, "/etc/motd"),
        ("ftp://u:p@h/x", Some("u"), Some("p"), "h", 21, "x"),
        ("ftp://u@h:1/x", Some("u"), None, "h", 1, "x"),
        ("ftp://u:@h/x", Some("u"), Some(""), "h", 21, "x"),
        ("ftp://a%40b:c%3Ad@h/%23?", Some("a@b"), Some("c:d"), "h", 21, "#?"),
        ("ftp://h:/a", None, None, "h", 21, "a"),
        ("ftp://[::1]:/a", None, None, "::1", 21, "a"),
        ("ftp://h%41/", None, None, "hA", 21, ""),
        ("h:a#b", None, None, "h", 21, "a#b"),
        ("ftp://a@b@c/", Some("a@b"), None, "c", 21, ""),
        ("ftp://[::1]:2121/x", None, None, "::1", 2121, "x"),
        ("ftp://h/a%2Fb/c", None, None, "h", 21, "a/b/c"),
        ("ftp://127.0.0.1/a;b", None, None, "127.0.0.1", 21, "a;b"),
        ("ftp://h/a;type=i", None, None, "h", 21, "a"),
        ("h:a b%20", None, None, "h", 21, "a b%20"),
        ("u@h:", Some("u"), None, "h", 21, ""),
        ("u@h:2121:/a:b", Some("u"), None, "h", 2121, "/a:b"),
        ("u@h:2121", Some("u"), None, "h", 21, "2121"),
        ("u%41@v@h:p@q", Some("u%41@v"), None, "h", 21, "p@q"),
        ("u@[::1]:2121:a", Some("u"), None, "::1", 2121, "a"),
        ("[::1]:a", None, None, "::1", 21, "a"),
        ("h:a/b@c", None, None, "h", 21, "a/b@c"),
        ("h:a://b", None, None, "h", 21, "a://b"),
        ("u@h:ftp://b", Some("u"), None, "h", 21, "ftp://b"),
        ("u@ftp://b", Some("u"), None, "ftp", 21, "//b"),
        ("[::1]:a://b", None, None, "::1", 21, "a://b"),
    ] {
        let want = (
            user.map(str::to_owned),
            password.map(str::to_owned),
            host.to_owned(),
            port,
            path.to_owned(),
        );
        assert_eq!(parts(text), want, "{text}");
    }
}

#[test]
fn parts_are_split_before_they_are_decoded_cl_60_cl_61() {
    for (text, want) in [
        ("ftp://h", &[""][..]),
        ("ftp://h/", &[""]),
        ("ftp://h/a/b/c", &["a", "b", "c"]),
        ("ftp://h/a%2Fb/c", &["a/b", "c"]),
        ("ftp://h/a/b%2fc;type=i", &["a", "b/c"]),
        ("ftp://h/%2Fetc/motd", &["/etc", "motd"]),
        ("ftp://h/%2F/etc/motd", &["/", "etc", "motd"]),
        ("ftp://h//a", &["", "a"]),
        ("ftp://h/a//b/", &["a", "", "b", ""]),
        ("h:", &[""]),
        ("h:/a%2Fb/c", &["", "a%2Fb", "c"]),
    ] {
        let url = FtpUrl::parse(text.as_bytes()).unwrap();
        let parts: Vec<_> = url.parts().collect();
        let want: Vec<_> = want.iter().map(|part| part.as_bytes()).collect();
        assert_eq!(parts, want, "{text}");
        assert_eq!(url.path(), parts.join(&b'/'), "{text}");
    }
    let [one, other] = ["ftp://h/a%2Fb", "ftp://h/a/b"].map(|text| FtpUrl::parse(text.as_bytes()));
    assert_ne!(one, other, "the same path, other directories");
}

#[test]
fn zones_are_parsed_escaped_and_unescaped_hl_09() {
    for (text, want) in [
        ("ftp://[fe80::1%eth0]/x", "fe80::1%eth0"),
        ("ftp://[fe80::1%25eth0]/x", "fe80::1%eth0"),
        ("ftp://[fe80::1%25eth0%2E1]:21/", "fe80::1%eth0.1"),
        ("ftp://[fe80::1%25]/", "fe80::1%25"),
        ("ftp://[fe80::1%2525]/", "fe80::1%25"),
        ("ftp://[fe80::1%2]/", "fe80::1%2"),
        ("ftp://[::ffff:127.0.0.1]/", "::ffff:127.0.0.1"),
        ("u@[fe80::1%eth0]:x", "fe80::1%eth0"),
        ("[fe80::1%251]:x", "fe80::1%251"),
    ] {
        assert_eq!(parts(text).2, want, "{text}");
    }
}

#[test]
fn a_url_without_a_user_has_none_cl_64() {
    for text in ["ftp://h/", "h:a"] {
        assert_eq!(FtpUrl::parse(text.as_bytes()).unwrap().user(), None, "{text}");
    }
}

#[test]
fn parse_reads_the_type_parameter_cl_63() {
    let url = |text: &str| FtpUrl::parse(text.as_bytes());
    for text in ["ftp://h/a;TYPE=A", "ftp://h/a;Type=a", "ftp://h/a;tYPe=A"] {
        let ascii = url(text).unwrap();
        assert_eq!(ascii.representation(), Some(RepresentationType::Ascii), "{text}");
        assert_eq!(ascii.path(), b"a", "{text}");
    }
    let image = url("ftp://h/a;type=i").unwrap();
    assert_eq!(image.representation(), Some(RepresentationType::Image));
    let list = url("ftp://h/a;type=d").unwrap();
    assert!(list.is_directory() && list.representation().is_none());
    assert!(!url("ftp://h/a").unwrap().is_directory());
    assert!(url("ftp://h/a/").unwrap().is_directory());
    assert!(url("ftp://h").unwrap().is_directory());
    assert_eq!(url("ftp://h/a;type=x").map_err(|error| error.kind), Err(UnknownWord));
}

#[test]
fn parse_rejects_invalid_urls_cl_62_hl_09() {
    for (text, kind) in [
        ("", UnexpectedEnd),
        ("plain-name", UnexpectedEnd),
        ("./a/b", UnexpectedEnd),
        ("./a:b", UnexpectedEnd),
        ("a/b@h:c", UnexpectedEnd),
        ("[::1:a", UnexpectedEnd),
        (":a", UnexpectedEnd),
        ("http://h/", UnknownWord),
        ("://h/", UnknownWord),
        ("ftp://", UnexpectedEnd),
        ("ftp:///a", UnexpectedEnd),
        ("ftp://u@/a", UnexpectedEnd),
        ("ftp://h:0/", BadNumber),
        ("ftp://h:65536/", BadNumber),
        ("ftp://h:-1/", BadNumber),
        ("ftp://h/a#b", UnexpectedByte),
        ("ftp://h#b", UnexpectedByte),
        ("ftp://u:p#q@h/", UnexpectedByte),
        ("ftp://[::1/", UnexpectedEnd),
        ("ftp://[::1]x/", UnexpectedByte),
        ("ftp://[]/", UnexpectedByte),
        ("ftp://[:]/", UnexpectedByte),
        ("ftp://[abc]/", UnexpectedByte),
        ("ftp://[abc]:21/", UnexpectedByte),
        ("ftp://[127.0.0.1]/", UnexpectedByte),
        ("ftp://[::1\u{e9}]/", UnexpectedByte),
        ("[abc]:x", UnexpectedByte),
        ("ftp://[%25eth0]/", UnexpectedByte),
        ("ftp://[fe80::1%]/", UnexpectedEnd),
        ("ftp://[fe80::1%eth 0]/", UnexpectedByte),
        ("ftp://[fe80::1%25e%2F]/", UnexpectedByte),
        ("ftp://[fe80::1%25e%0A]/", LineBreak),
        ("ftp://[fe80::1%25e%4]/", UnexpectedEnd),
        ("h://b", UnknownWord),
        ("svn+ssh://h/b", UnknownWord),
        ("a.b-c://h/b", UnknownWord),
        ("ftp://h h/", UnexpectedByte),
        ("ftp://h~/", UnexpectedByte),
        ("ftp://h%2F/", UnexpectedByte),
        ("ftp://h%4/", UnexpectedEnd),
        ("h%41:a", UnexpectedByte),
        ("ftp://[::1%a:b]/", UnexpectedByte),
        ("ftp://h\u{1b}/", UnexpectedByte),
        ("ftp://h/%0d%0aDELE", LineBreak),
        ("ftp://h/%00", LineBreak),
        ("ftp://u%0a@h/", LineBreak),
        ("ftp://u:%0A@h/", LineBreak),
        ("ftp://h/a\nb", LineBreak),
        ("h:a\rb", LineBreak),
        ("ftp://h/%4", UnexpectedEnd),
        ("ftp://h/%zz", BadNumber),
        ("ftp://h/%+1", BadNumber),
    ] {
        let got = FtpUrl::parse(text.as_bytes()).map_err(|error| error.kind);
        assert_eq!(got, Err(kind), "{text:?}");
    }
}

#[test]
fn non_utf8_bytes_are_kept() {
    let url = FtpUrl::parse(b"ftp://h/%ff\xfe").unwrap();
    assert_eq!(url.path(), b"\xff\xfe");
}

#[test]
fn displayed_urls_round_trip_cl_60() {
    for (text, want) in [
        ("ftp://h", "ftp://h/"),
        ("ftp://h/a%2520b", "ftp://h/a%2520b"),
        ("ftp://h/a%3Btype=a", "ftp://h/a%3Btype=a"),
        ("ftp://h/a;TYPE=A", "ftp://h/a;type=a"),
        ("ftp://h/a;type=i", "ftp://h/a;type=i"),
        ("ftp://h/a;type=d", "ftp://h/a;type=d"),
        ("ftp://u%2Fx@h/a", "ftp://u%2Fx@h/a"),
        ("ftp://a@b%3Ac@h/", "ftp://a%40b%3Ac@h/"),
        ("ftp://h/%2Fetc/motd", "ftp://h/%2Fetc/motd"),
        ("ftp://h//etc/", "ftp://h//etc/"),
        ("ftps://h:990/a b?%23", "ftps://h:990/a%20b?%23"),
        ("ftp://h/[a]/b%2A", "ftp://h/%5Ba%5D/b%2A"),
        ("h:a/{b,c}*", "ftp://h/a/{b,c}*"),
        ("ftp://h/\u{e9}(1)+,~", "ftp://h/%C3%A9(1)+,~"),
        ("ftp://\u{e9}.example/", "ftp://%C3%A9.example/"),
        ("ftp://[fe80::1%eth0]/", "ftp://[fe80::1%25eth0]/"),
        ("ftp://[fe80::1%25]/", "ftp://[fe80::1%2525]/"),
        ("50%@h:/a%20b", "ftp://50%25@h//a%2520b"),
        ("h:2121:a", "ftp://h:2121/a"),
    ] {
        let url = FtpUrl::parse(text.as_bytes()).unwrap();
        assert_eq!(url.to_string(), want, "{text}");
        assert_eq!(want.parse(), Ok(url), "{text}");
    }
}

#[test]
fn below_appends_a_path() {
    for (directory, want) in [
        ("ftp://h", "ftp://h/a%25/b"),
        ("ftp://h/d", "ftp://h/d/a%25/b"),
        ("ftp://h/d/", "ftp://h/d/a%25/b"),
        ("ftp://h/d;type=d", "ftp://h/d/a%25/b"),
        ("ftp://h//", "ftp://h//a%25/b"),
        ("ftp://h/%2F", "ftp://h//a%25/b"),
        ("u@h:d", "ftp://u@h/d/a%25/b"),
    ] {
        let url = FtpUrl::parse(directory.as_bytes()).unwrap().below(b"a%/b");
        assert_eq!(url.to_string(), want, "{directory}");
    }
}

#[test]
fn beside_replaces_the_file_name() {
    for (url, want) in [
        ("ftp://h/*", "ftp://h/a%25"),
        ("ftp://h/d/*.x", "ftp://h/d/a%25"),
        ("ftp://h//*", "ftp://h//a%25"),
        ("ftp://h/%2F*", "ftp://h/%2Fa%25"),
        ("ftp://h/d%2F*;type=a", "ftp://h/d%2Fa%25;type=a"),
        ("u@h:d/*", "ftp://u@h/d/a%25"),
    ] {
        let beside = FtpUrl::parse(url.as_bytes()).unwrap().beside(b"a%");
        assert_eq!(beside.to_string(), want, "{url}");
    }
}

#[test]
fn passwords_are_not_shown() {
    let url = FtpUrl::parse(b"ftp://u:secret@[::1]:21/a%1bb").unwrap();
    assert_eq!(url.to_string(), "ftp://u@[::1]:21/a%1Bb");
    assert!(!format!("{url:?}").contains("secret"));
}

#[test]
fn hosts_and_zones_are_shown_escaped_hc_28() {
    let url = FtpUrl::parse("ftp://[::1%\u{9b}2J\u{202e}]/".as_bytes()).unwrap();
    assert_eq!(url.to_string(), "ftp://[::1%25%C2%9B2J%E2%80%AE]/");
    assert!(!format!("{url:?}").contains(['\u{9b}', '\u{202e}']));
}

#[test]
fn a_percent_in_a_short_form_user_is_not_an_escape() {
    for user in ["50%", "%0d", "u%zz"] {
        let url = FtpUrl::parse(format!("{user}@h:p").as_bytes()).unwrap();
        assert_eq!(url.user(), Some(user.as_bytes()));
    }
}

#[test]
fn errors_report_the_position() {
    for (text, at) in [
        ("ftp://h/ab%zz", 10),
        ("ftp://h/ab%4", 10),
        ("ftp://h/abc;type=x", 11),
        ("ftp://ab%zz@h/", 8),
        ("ftp://u@[::1/", 8),
        ("ftp://h/%41%00", 11),
        ("ftp://h/a/b/%zz", 12),
        ("ftp://user:%zz@h/", 11),
        ("ftp://u:p@h h/", 10),
        ("ftp://h:x/", 8),
        ("ftp://u@h:0/", 10),
        ("ftp://[::1]:65536/", 12),
        ("ftp://[::1]x/", 11),
        ("ftp://u@[abc]/", 9),
        ("ftp://[fe80::1%25e%zz]/", 18),
        ("ftp://[fe80::1%e/]/", 6),
        ("ftp://[fe80::1%e f]/", 15),
        ("u@h:0:a", 4),
        ("ftp://@h/", 6),
        ("ftp://:p@h/", 6),
        ("@h:a", 0),
    ] {
        let got = FtpUrl::parse(text.as_bytes()).map_err(|error| error.at);
        assert_eq!(got, Err(at), "{text}");
    }
}

#[test]
fn a_colon_at_the_start_of_the_path_is_not_a_port() {
    let url = FtpUrl::parse(b"h::a").unwrap();
    assert_eq!((url.port(), url.path()), (21, &b":a"[..]));
    assert_eq!(url.named_port(), None);
}

#[test]
fn debug_shows_the_url_without_secrets() {
    let url = FtpUrl::parse(b"ftp://u:p@h/a").unwrap();
    assert_eq!(format!("{url:?}"), "FtpUrl(ftp://u@h/a)");
}

#[test]
fn an_escaped_name_is_no_pattern() {
    for (text, want) in [
        ("ftp://h/a*b", true),
        ("ftp://h/a%2Ab", false),
        ("ftp://h/report[1].txt", true),
        ("ftp://h/report%5B1%5D.txt", false),
        ("ftp://h/[bc].%3F", true),
        ("ftp://h/d*/b", false),
        ("ftp://h/*;type=i", true),
        ("h:a?", true),
        ("h:a%3F", false),
    ] {
        let url = FtpUrl::parse(text.as_bytes()).unwrap();
        assert_eq!(url.is_pattern(), want, "{text}");
        assert_eq!(FtpUrl::parse(url.to_string().as_bytes()).unwrap(), url, "{text}");
    }
    let url = FtpUrl::parse(b"ftp://h/*").unwrap();
    assert_eq!(url.beside(b"a*b").to_string(), "ftp://h/a%2Ab");
}
