use super::*;

/// A hash of `Hello world!`.
const SHA_512: &str = "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1";

/// Hashes of `Hello world!`, made by mkpasswd with the lowest costs.
const YESCRYPT: &str = "$y$j75$VKDQ6SyktOSZWL3fb5Sbp0$0JETcSjoA/u7Q0WDsKqfgfwjPnTL9pLEVP5lXrHrWd0";
const BCRYPT: &str = "$2b$05$tlfAvebhIIw//7Eg7X2sk.8/p.wzaZF0mJonZnTNpcpdH2whOLQqy";

fn parse(text: &str) -> Result<PasswordHash, PasswordHashError> {
    text.parse()
}

#[test]
fn a_locked_hash_keeps_its_hash_and_is_never_right_hs_39() {
    let open = PasswordHash::new(b"p").unwrap();
    for text in [
        "!",
        "*",
        "!!",
        "!*",
        "*LK*",
        "*NP*",
        "!$1$salt$hash",
        &format!("!{open}"),
        &format!("*{open}"),
    ] {
        let locked: PasswordHash = text.parse().unwrap();
        assert!(locked.is_locked() && locked.to_string() == text, "{text}");
        for password in [&b"p"[..], b"", b"!", b"*", b"LK*"] {
            assert!(!locked.verify(password).unwrap(), "{text}");
        }
        assert_eq!(locked.takes_time(), text.contains("argon2id"), "{text}");
    }
    assert!(!open.is_locked() && open.verify(b"p").unwrap());
    for text in ["", "!secret", "*secret", "p!", "x"] {
        assert_eq!(text.parse::<PasswordHash>().err(), Some(PasswordHashError::NotAHash), "{text}");
    }
}

#[test]
fn hashes_of_other_programs_are_verified() {
    for (password, text) in [
        // crypt(3) of glibc, with salts from SHA-crypt.txt, by the author of SHA-crypt.
        ("Hello world!", "$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5"),
        (
            "a short string",
            "$5$rounds=1400$anotherlongsalts$/ZgXZz1bepTx51r3fHwPYEod.GKaJYK9TtVXmNiwQ93",
        ),
        ("Hello world!", SHA_512),
        // mkpasswd of Debian, for yescrypt and bcrypt.
        ("Hello world!", YESCRYPT),
        (
            "Hello world!",
            "$y$j9T$u4s30rHMNUZJ7PHoak1E8.$MY.CSSakm5S8ak4tx9moYCezDf6CVOp8/9.tEj5oni/",
        ),
        (
            "Gr\u{fc}\u{df}e",
            "$y$j9T$04Rz79LAdtuclfJBN/tQH.$e1nooNrQBNKpW29V66Ie8XfXE52dAqHg8DYsaw6ZgMD",
        ),
        ("Hello world!", BCRYPT),
        ("Gr\u{fc}\u{df}e", "$2a$05$SKgCpdsW/F3hzGNvC7vDFetp1hRB0CsaT/DnH8TxRolr0kCEwaQRW"),
        // htpasswd of Apache, with `-B`.
        ("Hello world!", "$2y$05$dABuYLUO3kefKfih/SAeWuzE6l3vXaxJz.vnKEg0MJUbCJB6oGAEW"),
        // password_hash() of PHP.
        (
            "password",
            "$argon2id$v=19$m=1024,t=2,p=1$T1FpQzhPdHhFNExxTUxVQg$LXxbBhtTEqJ8N8QIPeuN2Gi10getTRwPtgS3IF/sUmI",
        ),
        // The reference implementation of argon2, with `-id -v 13`.
        (
            "password",
            "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
        ),
        (
            "password",
            "$argon2id$v=19$m=256,t=2,p=2$c29tZXNhbHQ$bQk8UB/VmZZF4Oo79iDXuL5/0ttZwg2f/5U52iv1cDc",
        ),
    ] {
        let hash = parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert!(hash.verify(password.as_bytes()).unwrap(), "{text}");
        assert!(!hash.verify(b"Password").unwrap(), "{text}");
        assert!(!hash.verify(b"").unwrap(), "{text}");
        assert_eq!(hash.to_string(), text);
    }
}

#[test]
fn new_hashes_verify_and_round_trip() {
    let longest = [b'x'; limits::PASSWORD];
    for password in [&b""[..], b"secret", b"\0\xff \n", &longest] {
        let hash = PasswordHash::new(password).unwrap();
        assert!(hash.to_string().starts_with("$argon2id$v=19$m=7168,t=5,p=1$"));
        assert_eq!(parse(&hash.to_string()), Ok(hash.clone()));
        assert!(hash.verify(password).unwrap());
        assert_ne!(PasswordHash::new(password).unwrap(), hash, "another salt");
        let longer = [password, b"x"].concat();
        assert!(!hash.verify(&longer).unwrap());
        assert!(!format!("{hash:?}").contains('$'));
    }
    assert!(PasswordHash::new(&[b'x'; limits::PASSWORD + 1]).is_err());
}

#[test]
fn accepted_hashes_are_written_unchanged() {
    let argon =
        "$argon2id$v=19$m=256,t=2,p=2$c29tZXNhbHQ$bQk8UB/VmZZF4Oo79iDXuL5/0ttZwg2f/5U52iv1cDc";
    let rounds = "$5$rounds=1400$anotherlongsalts$/ZgXZz1bepTx51r3fHwPYEod.GKaJYK9TtVXmNiwQ93";
    let mut read = 0;
    for text in [argon, rounds, SHA_512, YESCRYPT, BCRYPT] {
        for at in 0..=text.len() {
            let (head, tail) = text.split_at(at);
            let mut others = vec![head.to_owned(), tail.to_owned()];
            for between in ["", "$", ",", "=", "0", "9", "A", "/", ".", "z", "+", " ", "\u{e9}"] {
                others.push(format!("{head}{between}{tail}"));
                others.push(format!("{head}{between}{}", tail.get(1..).unwrap_or_default()));
            }
            for other in others {
                if let Ok(hash) = parse(&other) {
                    assert_eq!(hash.to_string(), other);
                    read += 1;
                }
            }
        }
    }
    assert!(read > 100, "{read}");
}

#[test]
fn bcrypt_uses_the_first_72_bytes_and_rejects_nul() {
    let letters = |count| "x".repeat(count);
    for text in [
        // Hashes of 100 letters, made by mkpasswd and htpasswd.
        "$2b$05$SuNEk8.vitCpa/GFbW0LjeiEEVONcqFaHA/SUtAa7HAvCJGeUYQyq",
        "$2y$04$aKqdn7ds.2YXgct8wo9RlOnpSYU/XAsO1SWbOVF9YhA4CQYgCXX0C",
    ] {
        let hash = parse(text).unwrap();
        for (count, is_right) in [(71, false), (72, true), (73, true), (100, true)] {
            let password = letters(count);
            assert_eq!(hash.verify(password.as_bytes()).unwrap(), is_right, "{count}");
        }
        assert!(!hash.verify(letters(limits::PASSWORD + 1).as_bytes()).unwrap());
    }
    // A hash of the empty password.
    let text = "$2b$05$jbclMOewQXKcvpTK8wBbn.ARaC1yjSsAluAlto3mibU5esZCsGtU6";
    let hash = parse(text).unwrap();
    for (password, is_right) in [(&b""[..], true), (b"\0", false), (b"\0\0\0", false)] {
        assert_eq!(hash.verify(password).unwrap(), is_right, "{password:?}");
    }
}

#[test]
fn every_accepted_yescrypt_hash_can_be_computed() {
    let characters = "./059AJTUaz";
    let mut computed = 0;
    for blocks in characters.chars() {
        for size in characters.chars() {
            let text = YESCRYPT.replace("j75", &format!("j{blocks}{size}"));
            // Larger costs would take too long here.
            let Ok(hash) = parse(&text) else { continue };
            if hash.memory() <= 4 * 1024 * 1024 {
                let is_same = text == YESCRYPT;
                assert_eq!(hash.verify(b"Hello world!").unwrap(), is_same, "{text}");
                computed += 1;
            }
        }
    }
    assert!(computed > 20, "{computed}");
    let most = parse(&YESCRYPT.replace("j75", "jDT")).unwrap();
    assert_eq!(most.memory(), 256 * 1024 * 1024);
}

#[test]
fn a_huge_password_is_rejected_hs_32() {
    let hash = parse(SHA_512).unwrap();
    // SHA-crypt hashes the whole password once for each of its bytes, which would be 64 GiB
    // here.
    assert!(!hash.verify(&vec![b'x'; 256 * 1024]).unwrap());
}

#[test]
fn invalid_hashes_are_rejected() {
    use PasswordHashError::{Malformed, NotAHash, TooCostly, Unsupported};
    let salt_and_hash = "c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4";
    let argon = |parameters: &str| format!("$argon2id$v=19${parameters}${salt_and_hash}");
    for (text, want) in [
        (String::new(), NotAHash),
        ("secret".to_owned(), NotAHash),
        ("$ecret".to_owned(), NotAHash),
        ("pa$$word$".to_owned(), NotAHash),
        ("$$$".to_owned(), NotAHash),
        ("$1$salt$qJH7.N4xYta3aEG/dfqo/0".to_owned(), Unsupported),
        (
            "$7$C6..../....SodiumChloride$kBGj9fHznVYFQMEn/qDCfrDevf9YDtcDdKvEqHJLV8D".to_owned(),
            Unsupported,
        ),
        (BCRYPT.replace("2b", "2x"), Unsupported),
        ("$2b$12$abcdefghijklmnopqrstuu".to_owned(), Malformed),
        (BCRYPT.replace("$05$", "$5$"), Malformed),
        (BCRYPT.replace("$05$", "$03$"), Malformed),
        (BCRYPT.replace("$05$", "$+5$"), Malformed),
        (BCRYPT.replace("$05$", "$005$"), Malformed),
        (BCRYPT.replace("$05$", "$05$$"), Malformed),
        (BCRYPT.replace("tlf", "t\u{e9}f"), Malformed),
        (format!("{BCRYPT}."), Malformed),
        (BCRYPT.replace("$05$", "$16$"), TooCostly),
        (BCRYPT.replace("$05$", "$99$"), TooCostly),
        ("$y$j9T$x$y".to_owned(), Malformed),
        (YESCRYPT.replace("j75", "j7"), Malformed),
        (YESCRYPT.replace("j75", "./5"), Malformed),
        (YESCRYPT.replace("j75", "/75"), Malformed),
        (YESCRYPT.replace("j75", "jz5"), Malformed),
        (YESCRYPT.replace("j75", "j7\u{e9}"), Malformed),
        // Two lanes and three passes, which crypt(3) never writes.
        (YESCRYPT.replace("j75", "j75/."), Malformed),
        (YESCRYPT.replace("j75", "j750/"), Malformed),
        (YESCRYPT.replace("Wd0", "Wd"), Malformed),
        (YESCRYPT.replace("VKDQ", &"VKDQ".repeat(18)), Malformed),
        // 512 MiB, and the largest value that can be written.
        (YESCRYPT.replace("j75", "jET"), TooCostly),
        (YESCRYPT.replace("j75", "jjj"), TooCostly),
        (argon("m=256,t=2,p=1").replace("2id", "2i"), Unsupported),
        (argon("m=256,t=2,p=1").replace("v=19", "v=16"), Malformed),
        (argon("m=256,t=2"), Malformed),
        (argon("t=2,m=256,p=1"), Malformed),
        (argon("m=256,t=2,p=1,data=x"), Malformed),
        (argon("m=+256,t=2,p=1"), Malformed),
        (argon("m=0256,t=2,p=1"), Malformed),
        (argon("m=,t=2,p=1"), Malformed),
        (argon("m=0,t=2,p=1"), Malformed),
        (argon("m=256,t=0,p=1"), Malformed),
        (argon("m=256,t=2,p=0"), Malformed),
        (argon("m=15,t=2,p=2"), Malformed),
        (argon("m=256,t=2,p=1") + "$", Malformed),
        (argon("m=256,t=2,p=1") + "=", Malformed),
        (argon("m=104857600,t=1,p=1"), TooCostly),
        (argon("m=99999999999999999999,t=1,p=1"), TooCostly),
        (argon("m=4294967295,t=4294967295,p=1"), TooCostly),
        (argon("m=65536,t=1000,p=1"), TooCostly),
        (argon("m=65536,t=1,p=64"), TooCostly),
        ("$argon2id$v=19$m=256,t=2,p=1$c29t$nf65EOgLrQMR/uIPnA4rEg".to_owned(), Malformed),
        ("$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65".to_owned(), Malformed),
        // 15 bytes: one less than the shortest hash.
        ("$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4r".to_owned(), Malformed),
        ("$6$salt".to_owned(), Malformed),
        ("$6$salt$".to_owned(), Malformed),
        ("$6$salt$abc".to_owned(), Malformed),
        (format!("$6$salt${}", "!".repeat(86)), Malformed),
        (format!("$5$salt${}", ".".repeat(86)), Malformed),
        (format!("$6${}${}", "s".repeat(17), ".".repeat(86)), Malformed),
        (format!("$6$rounds=999$s${}", ".".repeat(86)), Malformed),
        (format!("$6$5000$s${}", ".".repeat(86)), Malformed),
        (format!("$6$rounds=999999999$s${}", ".".repeat(86)), TooCostly),
    ] {
        let error = parse(&text).unwrap_err();
        assert_eq!(error, want, "{text}");
    }
}
