//! The commands about one object, and the forms that old servers know.

use std::time::Duration;

use ftp_client::error::Phase;
use ftp_client::file::HashAlgorithm;
use ftp_client::listing::Existence;
use ftp_client::{Client, Entry, EntryKind, Error, Fact, Permissions, TimeVal, Verb};

use crate::peer::{Server, timeouts};

const MD5: &str = "fcb217f0a094ad05f572e3678615b9d1";

#[test]
fn x_forms_are_tried_once_and_remembered_cl_16() {
    let (server, mut client) = Server::logged_in(|mut peer| {
        peer.answer("PWD", "500 what");
        peer.answer("XPWD", "257 \"/a\"");
        peer.answer("XPWD", "257 \"/b\"");
        peer.answer("CWD a", "502 what");
        // Known, whatever the reply.
        peer.answer("XCWD a", "550 no such directory");
        peer.answer("XCWD b", "250 ok");
        peer.answer("CDUP", "502 what");
        peer.answer("XCUP", "200 ok");
        peer.answer("MKD d", "502 what");
        peer.answer("XMKD d", "257 \"/d\"");
        peer.answer("RMD d", "500 what");
        peer.answer("XRMD d", "500 what");
        peer.answer("RMD d", "500 what");
        // Refused, but known.
        peer.answer("DELE a", "500 what");
    });
    assert_eq!(client.pwd().unwrap().as_bytes(), b"/a");
    assert_eq!(client.pwd().unwrap().as_bytes(), b"/b");
    assert!(
        matches!(client.cwd("a"), Err(Error::Refused { verb: Verb::Cwd, reply, .. }) if reply.code().value() == 550)
    );
    client.cwd("b").unwrap();
    client.cdup().unwrap();
    assert_eq!(client.mkdir("d").unwrap().unwrap().as_bytes(), b"/d");
    for _ in 0..2 {
        assert!(matches!(client.rmdir("d"), Err(Error::Refused { verb: Verb::Rmd, .. })));
    }
    assert!(matches!(client.delete("a"), Err(Error::Refused { verb: Verb::Dele, .. })));
    server.end();
}

#[test]
fn a_refusal_of_a_known_command_tries_no_x_form_cl_16() {
    let (server, mut client) = Server::logged_in(|mut peer| {
        for reply in ["550 no", "501 no", "530 no", "450 no"] {
            peer.answer("RMD d", reply);
        }
    });
    for _ in 0..4 {
        assert!(matches!(client.rmdir("d"), Err(Error::Refused { verb: Verb::Rmd, .. })));
    }
    server.end();
}

#[test]
fn stat_reads_one_object_by_mlst_cl_17() {
    let (server, mut client) = Server::logged_in(|mut peer| {
        peer.answer(
            "MLST a",
            "250-Begin\r\n type=file;size=5;modify=20200102030405; /a\r\n250 End",
        );
        peer.answer("MLST", "250-Begin\r\n type=dir; /\r\n250 End");
        for reply in ["550 no", "500 what", "250 nothing"] {
            peer.answer("MLST a", reply);
        }
        for reply in ["530 who", "450 later"] {
            peer.answer("MLST a", reply);
        }
    });
    let Entry { name, kind, size, modified, .. } = client.stat("a").unwrap().unwrap();
    assert_eq!((name.as_slice(), kind, size), (&b"/a"[..], Some(EntryKind::File), Some(5)));
    assert_eq!(modified.unwrap().time.to_string(), "20200102030405");
    assert_eq!(client.stat("").unwrap().unwrap().kind, Some(EntryKind::Directory));
    for _ in 0..3 {
        assert_eq!(client.stat("a").unwrap(), None);
    }
    for _ in 0..2 {
        assert!(matches!(client.stat("a"), Err(Error::Refused { verb: Verb::Mlst, .. })));
    }
    server.end();
}

#[test]
fn a_size_does_not_prove_that_a_file_exists() {
    let (server, mut client) = Server::logged_in(|mut peer| {
        peer.answer("MDTM b", "213 20260101000000");
        peer.answer("MDTM c", "502 what");
        peer.answer("MLST c", "250-Begin\r\n type=file; c\r\n250 End");
        peer.answer("MDTM d", "450 not now");
        peer.answer("MDTM a", "550 no such file");
        loop {
            match String::from_utf8(peer.line()).unwrap().trim_end() {
                "" => return,
                line => assert!(!line.starts_with("SIZE"), "{line}"),
            }
            peer.reply("502 what");
        }
    });
    for path in ["b", "c"] {
        assert_eq!(client.existence(path).unwrap(), Existence::Present, "{path}");
    }
    assert!(matches!(client.existence("d"), Err(Error::Refused { verb: Verb::Mdtm, .. })));
    // Without a listing, only a size could tell.
    assert!(client.existence("a").is_err());
    drop(client);
    server.end();
}

#[test]
fn times_and_modes_are_set_cl_06() {
    let (server, mut client) = Server::logged_in(|mut peer| {
        let time = "20200102030405";
        peer.answer(&format!("MFMT {time} a b"), "213 Modify=20200102030404; a b");
        peer.answer(&format!("MFMT {time} a"), "213 done");
        peer.answer(&format!("MFMT {time} a"), "550 not yours");
        peer.answer(&format!("MFMT {time}.5 a b"), "500 what");
        peer.answer("FEAT", "211-features\r\n SITE UTIME\r\n211 end");
        peer.answer(&format!("SITE UTIME a b {time} {time} {time} UTC"), "200 ok");
        // This is the answer of some servers to all that they do not know.
        for code in ["202 so", "504 not that"] {
            peer.answer(&format!("MFMT {time} a"), code);
            peer.answer(&format!("SITE UTIME a {time} {time} {time} UTC"), "200 ok");
        }
        peer.answer("SITE CHMOD 640 a b", "200 if you say so");
        // The server says that it does nothing.
        for command in ["SITE CHMOD 640 a b", "DELE a b", "RMD a b", "MKD a b", "CWD a b"] {
            peer.answer(command, "202 superfluous");
        }
        peer.answer("SITE CHMOD 1755 a", "550 not yours");
        peer.answer("ACCT billing", "230 ok");
        peer.answer("ACCT other", "530 no");
    });
    let time = TimeVal::parse(b"20200102030405").unwrap();
    let stored = client.set_modified("a b", time).unwrap().unwrap();
    assert_eq!(stored.to_string(), "20200102030404");
    assert_eq!(client.set_modified("a", time).unwrap(), None);
    assert!(matches!(client.set_modified("a", time), Err(Error::Refused { verb: Verb::Mfmt, .. })));
    let with_fraction = TimeVal::parse(b"20200102030405.5").unwrap();
    assert_eq!(client.set_modified("a b", with_fraction).unwrap(), None);
    for _ in 0..2 {
        assert_eq!(client.set_modified("a", time).unwrap(), None);
    }
    client.chmod("a b", Permissions::new(0o640)).unwrap();
    for done in [
        client.chmod("a b", Permissions::new(0o640)),
        client.delete("a b"),
        client.rmdir("a b"),
        client.mkdir("a b").map(drop),
        client.cwd("a b"),
    ] {
        let Err(Error::Refused { reply, .. }) = done else { panic!("{done:?}") };
        assert_eq!(reply.code().value(), 202);
    }
    assert!(matches!(
        client.chmod("a", Permissions::new(0o1755)),
        Err(Error::Refused { verb: Verb::Site, .. })
    ));
    client.account("billing").unwrap();
    assert!(matches!(client.account("other"), Err(Error::Refused { verb: Verb::Acct, .. })));
    server.end();
}

#[test]
fn mlst_facts_are_selected() {
    let (server, mut client) = Server::logged_in(|mut peer| {
        peer.answer("FEAT", "211-features\r\n MLST type*;size;modify*;\r\n211 end");
        peer.answer("OPTS MLST type;size;UNIX.mode;", "200 MLST OPTS type;size;");
        peer.answer("FEAT", "211-features\r\n MLST type*;size*;modify;\r\n211 end");
        peer.answer("OPTS MLST", "200 MLST OPTS");
        peer.answer("OPTS MLST type;", "501 what");
    });
    let marked = |features: ftp_client::Features| -> Vec<Fact> {
        let chosen = features.choices("MLST").filter(|(_, chosen)| *chosen);
        chosen.filter_map(|(name, _)| Fact::parse(name)).collect()
    };
    assert_eq!(marked(client.features().unwrap()), [Fact::Type, Fact::Modify]);
    let chosen = client.select_facts(&[Fact::Type, Fact::Size, Fact::UnixMode]).unwrap();
    assert_eq!(chosen, [Fact::Type, Fact::Size]);
    assert_eq!(marked(client.features().unwrap()), chosen);
    assert_eq!(client.select_facts(&[]).unwrap(), []);
    assert!(matches!(
        client.select_facts(&[Fact::Type]),
        Err(Error::Refused { verb: Verb::Opts, .. })
    ));
    server.end();
}

#[test]
fn digests_by_hash() {
    let (server, mut client) = Server::logged_in(|mut peer| {
        peer.answer("FEAT", "211-features\r\n HASH SHA-1*;MD5;\r\n XMD5\r\n211 end");
        let sha1 = "0".repeat(40);
        peer.answer("HASH a b", &format!("213-wait\r\n213 SHA-1 0-49 {sha1} a b"));
        peer.answer("TYPE I", "200 image");
        peer.answer("SIZE a b", "213 50");
        peer.answer("OPTS HASH MD5", "200 MD5");
        peer.answer("HASH a", &format!("213 MD5 0-49 {MD5} a"));
        // The algorithm is in force now.
        peer.answer("HASH a", &format!("213 MD5 0-49 {MD5}"));
        peer.answer("OPTS HASH SHA-1", "200 SHA-1");
        peer.answer("HASH a", "550 no such file");
        peer.answer("HASH a", "450 busy");
        // The digest of a part, and one by another algorithm.
        peer.answer("HASH a", &format!("213 SHA-1 5-49 {sha1} a"));
        peer.answer("HASH a", &format!("213 MD5 0-49 {MD5} a"));
        peer.answer("HASH a", &format!("213 SHA-1 0-49 {sha1} a"));
        peer.answer("SIZE a", "213 51");
    });
    let digest = client.hash("a b", None).unwrap();
    assert_eq!((digest.algorithm, digest.bytes.len()), (HashAlgorithm::Sha1, 20));
    for _ in 0..2 {
        let digest = client.hash("a", Some(HashAlgorithm::Md5)).unwrap();
        assert_eq!(digest.to_string(), MD5);
    }
    for _ in 0..2 {
        assert!(matches!(client.hash("a", None), Err(Error::Refused { verb: Verb::Hash, .. })));
    }
    for _ in 0..2 {
        assert!(matches!(client.hash("a", None), Err(Error::Protocol(_))));
    }
    let part = client.hash("a", None);
    assert!(matches!(part, Err(Error::Incomplete { bytes: 50, announced: Some(51), .. })));
    assert!(matches!(client.hash("a", Some(HashAlgorithm::Crc32)), Err(Error::Unsupported(_))));
    server.end();
}

#[test]
fn digests_by_the_older_commands_hc_21() {
    let (server, mut client) = Server::logged_in(|mut peer| {
        let lines = " HASH SHA-256*;\r\n XSHA256\r\n XMD5\r\n XCRC filename;start;end\r\n";
        peer.answer("FEAT", &format!("211-features\r\n{lines}211 end"));
        peer.answer("HASH a", "500 what");
        peer.answer("XSHA256 a", "502 what");
        peer.answer("XMD5 a", &format!("250 {MD5}"));
        peer.answer("XCRC \"a b\"", "250-Computing\r\n250 aae4aae");
        // This is no range.
        peer.answer("XCRC \"a 1-5\"", "250 a 1-5 0aae4aae");
        peer.answer("XMD5 a", "550 no such file");
    });
    let digest = client.hash("a", None).unwrap();
    assert_eq!((digest.algorithm, digest.to_string().as_str()), (HashAlgorithm::Md5, MD5));
    let digest = client.hash("a b", Some(HashAlgorithm::Crc32)).unwrap();
    assert_eq!(digest.bytes, [0x0a, 0xae, 0x4a, 0xae]);
    assert_eq!(client.hash("a 1-5", Some(HashAlgorithm::Crc32)).unwrap(), digest);
    assert!(matches!(
        client.hash("a", Some(HashAlgorithm::Md5)),
        Err(Error::Refused { verb: Verb::Xmd5, .. })
    ));
    server.end();
}

#[test]
fn quit_does_not_wait_long_for_a_silent_server() {
    let long = Duration::from_secs(600);
    let builder = Client::builder().timeouts(timeouts().reply(long));
    let (server, client) = Server::logged_in_with(builder, |mut peer| {
        peer.expect("QUIT");
        peer.expect_end();
    });
    // If it waited for the reply, the peer would hang up first, which is not an error.
    assert!(matches!(client.quit(), Err(Error::Timeout(Phase::Reply(_)))));
    server.end();
}
