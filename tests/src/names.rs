//! File names that careless programs mishandle. Each is a legal name on Linux and in FTP: any bytes
//! except NUL, CR, LF and `/`.

/// A plain name first, then one for each kind of problem.
pub const NAMES: &[&[u8]] = &[
    b"plain.txt",
    b"two  inner spaces",
    b" space before",
    b"space behind ",
    b"  both  ",
    b"\"quoted\"",
    b"one \" quote",
    b"two \"\" quotes",
    b"it's",
    b"-dash",
    b"--help",
    b"-",
    b"*",
    b"st*r and que?tion",
    b"[a-z]{1,2}",
    b"back\\slash",
    b"\\",
    b"per%20cent%",
    b"hash#tag",
    b"semi;type=a",
    b"~",
    b"~root",
    b"$HOME `id` | cat & > x",
    b"tab\there",
    b".hidden",
    b"...",
    b"a -> b",
    b"-rw-r--r-- 1 root root 0 Jan 1 00:00 x",
    "gr\u{fc}\u{df}e \u{65e5}\u{672c}\u{8a9e} \u{1f4c1}".as_bytes(),
    "u\u{308}nnormalised".as_bytes(),
    b"caf\xe9 in latin-1",
    b"cut utf-8 \xe6\x97",
    b"\x80\xfe",
    b"\xff",
    b"iac \xff\xf4 interrupt",
    b"iac \xff\xff twice",
    b"iac last \xff",
    b"escape \x1b[31m bell \x07",
];

/// Returns a name as an RFC 1738 path segment: all bytes except letters, digits, `-`, `_` and `.`
/// become `%XX`.
#[must_use]
pub fn percent(name: &[u8]) -> String {
    let one = |&byte: &u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => {
            char::from(byte).to_string()
        }
        other => format!("%{other:02X}"),
    };
    name.iter().map(one).collect()
}

/// Returns a name as the NVT carries it, with each 0xFF doubled, for clients that send arguments
/// unchanged.
#[must_use]
pub fn doubled(name: &[u8]) -> Vec<u8> {
    let one = |&byte: &u8| if byte == 0xFF { vec![byte; 2] } else { vec![byte] };
    name.iter().flat_map(one).collect()
}

#[test]
fn names_are_distinct_and_legal() {
    for (at, name) in NAMES.iter().enumerate() {
        assert!(!name.iter().any(|byte| b"\0\r\n/".contains(byte)), "{}", name.escape_ascii());
        assert!(!NAMES[..at].contains(name), "{}", name.escape_ascii());
    }
    assert_eq!(percent(b"a b%\xff-"), "a%20b%25%FF-");
    assert_eq!(doubled(b"a\xff\xf4"), b"a\xff\xff\xf4");
}
