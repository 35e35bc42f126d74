//! The commands of our client and the replies of our server, compared with the disk.

use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use ftp_client::file::{Digest, HashAlgorithm};
use ftp_client::listing::{Budget, ListOptions, ListingForm, Walked};
use ftp_client::{Client, EntryKind, Error, Fact, Permissions, TimeVal};
use ftp_tests::content::binary;
use ftp_tests::peer::RealServer;
use ftp_tests::site::{OurServer, Site};

fn client(site: &Site) -> Client {
    let address = site.address;
    let mut client = Client::builder().connect(&address.to_string()).unwrap();
    client.login(site.user, site.password).unwrap();
    client
}

fn read(client: &mut Client, path: &str, offset: u64, length: u64) -> (Vec<u8>, bool) {
    let mut download = client.retrieve_range(path, offset, length).unwrap();
    let mut bytes = Vec::new();
    download.read_to_end(&mut bytes).unwrap();
    (bytes, download.finish().unwrap().is_stopped)
}

#[test]
fn attributes_of_one_file_are_read_and_changed() {
    let server = OurServer::start();
    server.root.write("f", b"12345");
    server.root.mkdir("d");
    let mut client = client(&server);
    let entry = client.stat("f").unwrap().unwrap();
    assert_eq!((entry.name.as_slice(), entry.size), (&b"/f"[..], Some(5)));
    assert_eq!(client.stat("d").unwrap().unwrap().kind, Some(EntryKind::Directory));
    assert_eq!(client.stat("").unwrap().unwrap().name, b"/");
    assert_eq!(client.stat("gone").unwrap(), None);

    let time = TimeVal::parse(b"20010203040506").unwrap();
    assert_eq!(client.set_modified("f", time).unwrap(), Some(time));
    assert_eq!(client.modified("f").unwrap(), Some(time));
    client.chmod("f", Permissions::new(0o640)).unwrap();
    let metadata = server.root.path().join("f").metadata().unwrap();
    assert_eq!((metadata.mtime(), metadata.permissions().mode() & 0o7777), (981_173_106, 0o640));
    assert!(matches!(client.chmod("gone", Permissions::new(0o640)), Err(Error::Refused { .. })));

    assert_eq!(client.select_facts(&[Fact::Size, Fact::CharSet]).unwrap(), [Fact::Size]);
    let entry = client.stat("f").unwrap().unwrap();
    assert_eq!((entry.size, entry.kind, entry.unique), (Some(5), None, None));
    client.quit().unwrap();
}

#[test]
fn hash_returns_the_digest_of_the_content() {
    let server = OurServer::start();
    server.root.write("a b", b"abc");
    let mut client = client(&server);
    let hash = |client: &mut Client, algorithm| {
        client.hash("a b", algorithm).map(|digest: Digest| digest.to_string())
    };
    // FIPS 180-4, appendix.
    let sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    let sha1 = "a9993e364706816aba3e25717850c26c9cd0d89d";
    assert_eq!(hash(&mut client, None).unwrap(), sha256);
    assert_eq!(hash(&mut client, Some(HashAlgorithm::Sha1)).unwrap(), sha1);
    assert_eq!(hash(&mut client, Some(HashAlgorithm::Sha256)).unwrap(), sha256);
    assert_eq!(hash(&mut client, Some(HashAlgorithm::Crc32)).unwrap(), "352441c2");
    assert_eq!(
        hash(&mut client, Some(HashAlgorithm::Md5)).unwrap(),
        "900150983cd24fb0d6963f7d28e17f72"
    );
    assert!(
        matches!(hash(&mut client, Some(HashAlgorithm::Sha512)), Ok(digest) if digest.len() == 128)
    );
    assert!(matches!(client.hash("gone", None), Err(Error::Refused { .. })));
    client.quit().unwrap();
}

#[test]
fn retrieve_range_returns_the_requested_bytes() {
    let server = OurServer::start();
    let content = binary(3_000_000, 1);
    server.root.write("f", &content);
    let mut client = client(&server);
    for (offset, length) in
        [(0, 1), (0, 3_000_000), (2_999_999, 1), (7, 100_000), (1_000, 2_000_000)]
    {
        let (bytes, ended) = read(&mut client, "f", offset as u64, length as u64);
        let want = &content[offset..offset + length];
        assert!(bytes == want, "{} bytes at {offset}", bytes.len());
        let is_end = offset + length == 3_000_000;
        assert_eq!(ended, !is_end);
        client.noop().unwrap();
    }
    let mut beyond = client.retrieve_range("f", 2_999_990, 20).unwrap();
    let mut bytes = Vec::new();
    beyond.read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes.len(), 10);
    assert!(matches!(
        beyond.finish(),
        Err(Error::Incomplete { bytes: 10, announced: Some(20), .. })
    ));
    client.quit().unwrap();
}

#[test]
fn downloads_and_uploads_resume_as_09() {
    let server = OurServer::start();
    let content = binary(100_000, 1);
    let mut client = client(&server);
    for there in [0_usize, 1, 99_999, 100_000] {
        server.root.write("f", &content);
        let mut download = client.retrieve_from("f", there as u64).unwrap();
        let mut bytes = Vec::new();
        download.read_to_end(&mut bytes).unwrap();
        download.finish().unwrap();
        assert!(bytes == content[there..], "{} bytes from {there}", bytes.len());

        server.root.write("g", &content[..there]);
        let mut upload = client.store_from("g", there as u64).unwrap();
        upload.write_all(&content[there..]).unwrap();
        upload.finish().unwrap();
        assert!(server.root.read("g") == content, "stored from {there}");
    }
    client.quit().unwrap();
}

#[test]
fn store_unique_returns_distinct_names() {
    let server = OurServer::start();
    let mut client = client(&server);
    let mut names = Vec::new();
    for wish in ["", "a", "a"] {
        let mut upload = client.store_unique(wish).unwrap();
        upload.write_all(b"12345").unwrap();
        let name = upload.finish().unwrap().unique_name.unwrap();
        assert_eq!(server.root.read(name.as_bytes()), b"12345");
        assert!(!names.contains(&name), "{names:?} {name:?}");
        names.push(name);
    }
    client.quit().unwrap();
}

#[test]
fn a_tree_is_walked_ls_48() {
    let server = OurServer::start();
    for directory in ["a", "a/b", "a/-c", "x y"] {
        server.root.mkdir(directory);
    }
    for file in ["a/b/f", "a/-c/g", "x y/h", "top"] {
        server.root.write(file, b"1");
    }
    let root = server.root.path();
    // A link to a directory is shown as a link, whether it leads out or not.
    symlink("..", root.join("a/up")).unwrap();
    symlink("/etc", root.join("a/out")).unwrap();
    let mut client = client(&server);
    for form in [ListingForm::Auto, ListingForm::List] {
        let list = ListOptions::by(form);
        let mut paths = Vec::new();
        for walked in client.walk("").list(list).depth(10) {
            if let Walked::Entry { path, .. } = walked.unwrap() {
                paths.push(String::from_utf8(path).unwrap());
            }
        }
        paths.sort();
        let is_below_link = |path: &String| path.starts_with("a/up/");
        if form == ListingForm::Auto {
            assert!(!paths.iter().any(is_below_link), "{paths:?}");
        }
        paths.retain(|path| !is_below_link(path));
        let want = ["a", "a/-c", "a/-c/g", "a/b", "a/b/f", "a/out", "a/up", "top", "x y", "x y/h"];
        assert_eq!(paths, want, "{form:?}");
    }
    client.quit().unwrap();
}

/// Operations that must work with every server, whatever extensions it supports.
fn meet(site: &Site, what: &str) {
    let content = binary(3_000_000, 2);
    site.root.write("a b", &content);
    site.root.mkdir("d");
    site.root.mkdir("d/-e");
    site.root.write("d/-e/f", b"12345");
    let mut client = client(site);

    let features = client.features().unwrap();
    for form in [ListingForm::Auto, ListingForm::List, ListingForm::Nlst] {
        let list = ListOptions::by(form);
        let listing = client.list_with("", list).unwrap().gather(Budget::default()).unwrap();
        let mut names: Vec<_> = listing.entries.iter().map(|entry| entry.name_lossy()).collect();
        names.sort();
        assert_eq!((names, listing.unparsed.len()), (vec!["a b".into(), "d".into()], 0), "{what}");
        if form == ListingForm::Nlst {
            continue;
        }
        let file = listing.entries.iter().find(|entry| entry.name == b"a b").unwrap();
        assert_eq!((file.kind, file.size), (Some(EntryKind::File), Some(3_000_000)), "{what}");
        let mut paths = Vec::new();
        for walked in client.walk("").list(list) {
            match walked.unwrap() {
                Walked::Entry { path, .. } => paths.push(String::from_utf8(path).unwrap()),
                Walked::Skipped { why, .. } => panic!("{what}: {why}"),
            }
        }
        paths.sort();
        assert_eq!(paths, ["a b", "d", "d/-e", "d/-e/f"], "{what} {form:?}");
    }
    if features.has("MLST") {
        let entry = client.stat("a b").unwrap().unwrap();
        assert_eq!((entry.kind, entry.size), (Some(EntryKind::File), Some(3_000_000)), "{what}");
    }
    let time = TimeVal::parse(b"20010203040506").unwrap();
    match client.set_modified("a b", time) {
        Ok(_) => assert_eq!(client.modified("a b").unwrap(), Some(time), "{what}"),
        Err(error) => assert!(!features.has("MFMT"), "{what}: {error}"),
    }
    for (offset, length) in [(0, 1), (1_000, 2_000_000), (2_999_999, 1)] {
        let (bytes, _) = read(&mut client, "a b", offset as u64, length as u64);
        let want = &content[offset..offset + length];
        assert!(bytes == want, "{what}: {} bytes at {offset}", bytes.len());
    }
    let mut upload = client.store_unique("").unwrap();
    upload.write_all(b"12345").unwrap();
    let name = upload.finish().unwrap().unique_name.expect(what);
    assert_eq!(client.size(&name).unwrap(), Some(5), "{what}: {name:?}");
    match client.hash("a b", None) {
        Ok(digest) => assert_eq!(digest.bytes.len(), digest.algorithm.length(), "{what}"),
        Err(Error::Unsupported(_)) => {}
        Err(error) => panic!("{what}: {error}"),
    }
    client.quit().unwrap();
}

#[test]
fn listings_and_attributes_of_real_servers_ls_49() {
    let host = std::net::Ipv4Addr::LOCALHOST;
    meet(&OurServer::start(), "ours");
    for (what, server) in [
        ("vsftpd", RealServer::vsftpd()),
        ("proftpd", RealServer::proftpd_at(host)),
        ("pure-ftpd", RealServer::pure_ftpd_at(host)),
        ("pyftpdlib", RealServer::pyftpdlib()),
    ] {
        if let Some(server) = server {
            meet(&server, what);
        }
    }
}
