use super::*;
use ParseErrorKind::{BadNumber, UnexpectedByte, UnexpectedEnd, UnknownWord, Unsupported};

#[test]
fn matches_as_a_shell_does_ls_27() {
    for (pattern, yes, no) in [
        ("", &[""][..], &["a"][..]),
        ("*", &["a", "", ".hidden", "a b", "*", "a/b"], &[]),
        ("**", &["a", "", "a/b"], &[]),
        ("?", &["a", ".", "?", "\u{e9}", "\u{1f600}"], &["", "ab"]),
        ("*.txt", &["a.txt", ".txt", "a.txt.txt"], &["a.txt ", "a.tx", "atxt", ""]),
        ("a*", &["a", "ab"], &["b", "ba", "A", ""]),
        ("a*b*c", &["abc", "aXbXc", "abbcc", "abcbc"], &["acb", "ab", "abcX"]),
        ("*a?", &["ab", "aab", "xaa"], &["a", "ba", "axx"]),
        ("[abc]", &["a", "b", "c"], &["d", "", "ab", "[abc]"]),
        ("[a-c]x", &["ax", "bx", "cx"], &["dx", "-x", "x"]),
        ("[!a-c]", &["d", "!", "]", "-", "\u{e9}"], &["a", "b", ""]),
        ("[^a]", &["b", "^"], &["a"]),
        ("[a^]", &["a", "^"], &["b"]),
        ("[a!]", &["a", "!"], &["b"]),
        ("[]]", &["]"], &["[", "[]]"]),
        ("[]a]", &["]", "a"], &["["]),
        ("[!]]", &["a", "["], &["]"]),
        ("[a-]", &["a", "-"], &["b"]),
        ("[-a]", &["a", "-"], &["b"]),
        ("[--/]", &["-", ".", "/"], &["0", ","]),
        ("[a-c-e]", &["a", "b", "c", "-", "e"], &["d"]),
        ("[[]", &["["], &["]"]),
        ("[[:]", &["[", ":"], &["a"]),
        ("[[:alpha:]_]", &["b", "Z", "_"], &["1", ":", "\u{e9}"]),
        ("[![:space:][:punct:]]", &["a", "1"], &[" ", "\t", "-", "~"]),
        ("[\\]\\\\-a]", &["]", "\\", "a", "^"], &["[", "b"]),
        ("[\u{e4}\u{3b1}-\u{3c9}]", &["\u{e4}", "\u{3b2}"], &["a", "\u{e5}"]),
        ("[*?]", &["*", "?"], &["a"]),
        ("[a]*[b]", &["ab", "aXb"], &["a", "b", "ba"]),
        ("\\*\\a", &["*a"], &["\\*a", "ba"]),
        ("{a,b}*", &["a", "b", "ax"], &["{a,b}", "c"]),
        ("a{,.gz}", &["a", "a.gz"], &["agz"]),
        ("{a{b,c{d,e}},f}", &["ab", "acd", "ace", "f"], &["a", "ac", "acf"]),
        ("{*.a,[xy]{1,2}}", &["q.a", "x1", "y2"], &["x", "x3"]),
        ("{\\,,\\}}", &[",", "}"], &["\\", ""]),
        ("{,}", &[""], &["a", ","]),
        ("a,b]", &["a,b]"], &["a"]),
        ("~*", &["~", "~root"], &["root"]),
    ] {
        let parsed = Pattern::parse_name(pattern.as_bytes()).unwrap();
        for name in yes {
            assert!(parsed.matches(name.as_bytes()), "{pattern} {name}");
        }
        for name in no {
            assert!(!parsed.matches(name.as_bytes()), "{pattern} {name}");
        }
    }
}

#[test]
fn paths_match_as_in_gitignore() {
    for (pattern, yes, no) in [
        ("*.o", &["a.o", "d/a.o", "d/.o"][..], &["a.o/b", "a.c"][..]),
        ("**", &["a", "d/a"], &[]),
        ("**.o", &["a.o", "d/a.o"], &["a.o/b"]),
        ("/a", &["a"], &["d/a", "ab"]),
        ("d/*", &["d/a"], &["d", "d/a/b", "x/d/a"]),
        ("d/[!x]", &["d/a"], &["d/", "d/x"]),
        ("d?a", &["x/d-a"], &["d/a"]),
        ("**/a", &["a", "d/a", "d/e/a"], &["ba", "d/ba"]),
        ("d/**", &["d/a", "d/a/b"], &["d", "x/d/a"]),
        ("d/**/b", &["d/b", "d/a/b", "d/a/c/b"], &["db", "d/ab", "d/b/c"]),
        ("/**/b/**", &["b/c", "a/b/c", "b/b/b"], &["b", "a/b"]),
        ("d/{a,b/c}", &["d/a", "d/b/c"], &["d/b", "a"]),
        ("/x{,/**}", &["x", "x/a", "x/a/b"], &["y/x", "xa"]),
        ("/{src/,}main", &["main", "src/main"], &["srcmain"]),
        ("{**/,}a/b", &["a/b", "x/a/b"], &["x/b"]),
        ("**/{a,**}", &["a", "b/c"], &[]),
    ] {
        let parsed = Pattern::parse_path(pattern.as_bytes()).unwrap();
        for name in yes {
            assert!(parsed.matches(name.as_bytes()), "{pattern} {name}");
        }
        for name in no {
            assert!(!parsed.matches(name.as_bytes()), "{pattern} {name}");
        }
    }
}

#[test]
fn invalid_patterns_are_errors_and_not_literals() {
    let of_name = Pattern::parse_name as fn(&[u8]) -> _;
    let of_path = Pattern::parse_path as fn(&[u8]) -> _;
    for (parse, pattern, at, kind) in [
        (of_name, "a[b", 1, UnexpectedEnd),
        (of_name, "[]", 0, UnexpectedEnd),
        (of_name, "[!]", 0, UnexpectedEnd),
        (of_name, "[a-", 0, UnexpectedEnd),
        (of_name, "\u{e9}{a,{b}", 5, Unsupported),
        (of_name, "\u{e9}{a,{b,c}", 2, UnexpectedEnd),
        (of_name, "{}", 0, Unsupported),
        (of_name, "*{guid}", 1, Unsupported),
        (of_name, "a}", 1, UnexpectedByte),
        (of_name, "a\\", 1, UnexpectedEnd),
        (of_name, "[a\\", 2, UnexpectedEnd),
        (of_name, "a\\/", 1, UnexpectedByte),
        (of_name, "[z-a]", 1, BadNumber),
        (of_name, "[[:letter:]]", 1, UnknownWord),
        (of_name, "[[=a=]]", 1, Unsupported),
        (of_path, "", 0, UnexpectedEnd),
        (of_path, "/", 0, UnexpectedByte),
        (of_path, "a/", 1, UnexpectedByte),
        (of_path, "a//b", 1, UnexpectedByte),
        (of_path, "//a", 0, UnexpectedByte),
        (of_path, "{a,b/c}", 4, UnexpectedByte),
        (of_path, "x{,/**}", 3, UnexpectedByte),
        (of_path, "/{/a,b}", 0, UnexpectedByte),
        (of_path, "a/{b,/c}", 1, UnexpectedByte),
        (of_path, "a/{b/,c}", 4, UnexpectedByte),
        (of_path, "d/**.o", 2, Unsupported),
        (of_path, "d/a**", 3, Unsupported),
        (of_path, "d/***", 2, Unsupported),
        (of_path, "/{a,**}b", 4, Unsupported),
        (of_path, "/a{**,b}", 3, Unsupported),
        (of_path, "**//a", 0, UnexpectedByte),
    ] {
        let want = ParseError::new("pattern", at, kind);
        assert_eq!(parse(pattern.as_bytes()), Err(want), "{pattern}");
    }
}

#[test]
fn plain_names_are_not_patterns_ls_28() {
    for name in
        ["", "name", "a b", "~", "\\", "[", "[[[[[", "[]", "[!]", "a]", "{guid}", "{", "a,b"]
    {
        assert!(!Pattern::is_in(name.as_bytes()), "{name}");
    }
    for name in ["*", "a?", "[a]", "{a,b}", "{guid}*", "[*"] {
        assert!(Pattern::is_in(name.as_bytes()), "{name}");
    }
}

#[test]
fn bytes_that_are_not_utf_8_are_one_character_each() {
    let matches = |pattern: &[u8], name: &[u8]| {
        let pattern = Pattern::parse_name(pattern).unwrap();
        pattern.matches(name)
    };
    assert!(matches(b"?", b"\xff") && !matches(b"?", b"\xff\xfe"));
    assert!(matches(b"\xe9*", b"\xe9t\xe9") && !matches(b"\xe9*", "\u{e9}".as_bytes()));
    assert!(matches(b"[!a]", b"\xe9") && matches(b"[\xe0-\xef]", b"\xe9"));
    assert!(!matches(b"[\0-\x7f]", b"\xe9") && matches(b"[\0-\x7f]", b"\0"));
}

#[test]
fn the_case_of_ascii_letters_can_be_ignored() {
    for (pattern, name, want) in [
        ("A[b-d]e", "aCE", true),
        ("[[:upper:]]", "a", true),
        ("[!a]", "A", false),
        ("[!a]", "b", true),
        ("\u{e9}", "\u{c9}", false),
        ("[@]", "`", false),
    ] {
        let pattern = Pattern::parse_name(pattern.as_bytes()).unwrap().ignoring_case();
        assert_eq!(pattern.matches(name.as_bytes()), want, "{pattern:?} {name}");
    }
}

#[test]
fn pattern_bombs_match_in_bounded_steps_hp_13() {
    let names = ["a".repeat(255), "a/".repeat(2_000), "{".repeat(255)];
    let bombs = [
        "a*".repeat(127) + "b",
        "*a".repeat(127) + "b",
        "*?".repeat(127) + "b",
        "?*".repeat(127) + "b",
        "[a-z]*".repeat(42) + "b",
        "*".to_owned() + &"a".repeat(126) + "b",
        "{a,a}".repeat(100) + "b",
        "{*,*}a".repeat(60) + "b",
        "{a,b}*".repeat(100) + "c",
        "{,a}".repeat(255) + "b",
        "{{{*,a},*},a}".repeat(40) + "b",
        "{,".repeat(500) + "*a" + &"}".repeat(500) + "b",
        "**/a/".repeat(100) + "b",
        "**/{a,*}/".repeat(60) + "b",
    ];
    for bomb in bombs {
        let parsed = Pattern::parse_path(bomb.as_bytes()).unwrap();
        assert!(parsed.steps.len() <= bomb.len() * 2, "{bomb}: {}", parsed.steps.len());
        for name in &names {
            let mut steps = 0;
            assert!(!parsed.run(name.as_bytes(), &mut || steps += 1));
            // A step adds at most two others to the steps that wait.
            let most = (name.len() + 1) * (parsed.steps.len() + 1) * 3;
            assert!(steps <= most, "{bomb}: {steps} of {most}");
        }
    }
    for bomb in ["[".repeat(4_000) + "*", "[!".repeat(2_000), "{".repeat(4_000), "{,".repeat(2_000)]
    {
        assert!(Pattern::parse_name(bomb.as_bytes()).is_err());
    }
}
