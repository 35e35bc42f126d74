//! Our client and our server: every size, name, type, direction and kind of data connection,
//! compared byte by byte with the disk.

use std::io::{Read, Write};
use std::time::Duration;

use ftp_client::listing::{Budget, ListOptions, ListingForm};
use ftp_client::{Client, Extended, Mode, Timeouts};
use ftp_proto::RepresentationType;
use ftp_tests::compare::{assert_same, assert_same_stream};
use ftp_tests::content::{LARGE, SIZES, Stream, binary, large, text};
use ftp_tests::names::{NAMES, percent};
use ftp_tests::site::{OurServer, Site};

/// Passive by EPSV and by PASV, active by EPRT and by PORT.
const DATA: [(Mode, Extended); 4] = [
    (Mode::Passive, Extended::Always),
    (Mode::Passive, Extended::Never),
    (Mode::Active, Extended::Always),
    (Mode::Active, Extended::Never),
];

fn client(site: &Site, mode: Mode, extended: Extended) -> Client {
    let timeouts = Timeouts::new().reply(Duration::from_secs(60));
    let builder = Client::builder().timeouts(timeouts).mode(mode).epsv(extended).eprt(extended);
    let mut client = builder.connect(&site.address.to_string()).unwrap();
    client.login(site.user, site.password).unwrap();
    client
}

fn store(client: &mut Client, name: &[u8], content: &[u8]) {
    let mut upload = client.store(name).unwrap();
    upload.write_all(content).unwrap();
    upload.finish().unwrap();
}

fn retrieve(client: &mut Client, name: &[u8]) -> Vec<u8> {
    let mut download = client.retrieve(name).unwrap();
    let mut got = Vec::new();
    download.read_to_end(&mut got).unwrap();
    let report = download.finish().unwrap();
    assert!(report.bytes >= got.len() as u64, "{report:?} for {} bytes", got.len());
    got
}

/// Stores `content` under `name`, changes it on disk, and retrieves the new content.
fn round_trip(site: &Site, client: &mut Client, name: &[u8], up: &[u8], down: &[u8]) {
    let what = percent(name);
    store(client, name, up);
    assert_same(&format!("{what} stored"), &site.root.read(name), up);
    site.root.write(name, down);
    assert_same(&format!("{what} retrieved"), &retrieve(client, name), down);
}

#[test]
fn every_name_size_and_type() {
    let server = OurServer::start();
    let mut client = client(&server, Mode::Passive, Extended::Auto);
    for (seed, name) in (1..).zip(NAMES) {
        for size in SIZES {
            client.set_representation(RepresentationType::Image);
            let (up, down) = (binary(size, seed), binary(size, seed + 1000));
            round_trip(&server, &mut client, name, &up, &down);
            client.set_representation(RepresentationType::Ascii);
            let (up, down) = (text(size, seed), text(size, seed + 1000));
            round_trip(&server, &mut client, name, &up, &down);
        }
    }
    client.quit().unwrap();
    server.assert_only(NAMES);
}

#[test]
fn every_data_connection() {
    let server = OurServer::start();
    for (mode, extended) in DATA {
        let mut client = client(&server, mode, extended);
        for (seed, size) in (1..).zip(SIZES) {
            for representation in [RepresentationType::Image, RepresentationType::Ascii] {
                client.set_representation(representation);
                let (up, down) = (text(size, seed), text(size, seed + 1000));
                round_trip(&server, &mut client, b"file", &up, &down);
            }
        }
        client.quit().unwrap();
    }
}

#[test]
fn listings_contain_every_name_unchanged() {
    let server = OurServer::start();
    for name in NAMES {
        server.root.write(name, name);
    }
    let mut want: Vec<_> = NAMES.iter().map(|name| name.to_vec()).collect();
    want.sort();
    for (mode, extended) in DATA {
        let mut client = client(&server, mode, extended);
        for form in [ListingForm::Auto, ListingForm::Mlsd, ListingForm::List, ListingForm::Nlst] {
            let options = ListOptions::by(form);
            let entries = client.list_with("", options).unwrap();
            let listing = entries.gather(Budget::default()).unwrap();
            let mut named = Vec::new();
            for entry in listing.entries {
                let size = (form != ListingForm::Nlst).then_some(entry.name.len() as u64);
                assert_eq!(entry.size, size, "{entry:?}");
                named.push(entry.name);
            }
            named.sort();
            assert!(listing.unparsed.is_empty(), "{form:?}: {:?}", listing.unparsed);
            assert_eq!(named, want, "{form:?}, {mode:?} {extended:?}");
        }
        for name in NAMES {
            assert_eq!(client.size(name).unwrap(), Some(name.len() as u64), "{}", percent(name));
        }
        client.quit().unwrap();
    }
}

#[test]
fn resumes_and_appends() {
    let server = OurServer::start();
    let content = binary(100_000, 1);
    let mut client = client(&server, Mode::Passive, Extended::Auto);
    for there in [0, 1, 50_000, 99_999, 100_000] {
        server.root.write("file", &content);
        let mut download = client.retrieve_from("file", there as u64).unwrap();
        let mut got = Vec::new();
        download.read_to_end(&mut got).unwrap();
        download.finish().unwrap();
        assert_same(&format!("retrieved from {there}"), &got, &content[there..]);

        server.root.write("file", &content[..there]);
        let mut upload = client.store_from("file", there as u64).unwrap();
        upload.write_all(&content[there..]).unwrap();
        upload.finish().unwrap();
        assert_same(&format!("stored from {there}"), &server.root.read("file"), &content);

        server.root.write("file", &content[..there]);
        let mut upload = client.append("file").unwrap();
        upload.write_all(&content[there..]).unwrap();
        upload.finish().unwrap();
        assert_same(&format!("appended to {there}"), &server.root.read("file"), &content);
    }
    client.quit().unwrap();
}

#[test]
fn a_gibibyte_there_and_back() {
    if !large() {
        return;
    }
    let server = OurServer::start();
    let mut client = client(&server, Mode::Passive, Extended::Auto);
    let mut upload = client.store("large").unwrap();
    std::io::copy(&mut Stream::new(LARGE, 3), &mut upload).unwrap();
    assert_eq!(upload.finish().unwrap().bytes, LARGE);
    let count = assert_same_stream("stored", server.root.open("large"), Stream::new(LARGE, 3));
    assert_eq!(count, LARGE);
    let mut download = client.retrieve("large").unwrap();
    assert_same_stream("retrieved", &mut download, Stream::new(LARGE, 3));
    assert_eq!(download.finish().unwrap().bytes, LARGE);
    client.quit().unwrap();
}

/// The bytes of a [`Stream`] with a LF at the end of each line of 64 bytes, and without CR, which
/// the conversions would change.
struct Lines(Stream, usize);

impl Read for Lines {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.0.read(buffer)?;
        for byte in &mut buffer[..count] {
            self.1 += 1;
            match *byte {
                _ if self.1.is_multiple_of(64) => *byte = b'\n',
                b'\r' => *byte = b'x',
                _ => {}
            }
        }
        Ok(count)
    }
}

#[test]
fn a_gibibyte_of_text_there_and_back() {
    if !large() {
        return;
    }
    let lines = || Lines(Stream::new(LARGE, 5), 0);
    let server = OurServer::start();
    let mut client = client(&server, Mode::Passive, Extended::Auto);
    client.set_representation(RepresentationType::Ascii);
    let mut upload = client.store("large").unwrap();
    std::io::copy(&mut lines(), &mut upload).unwrap();
    assert_eq!(upload.finish().unwrap().bytes, LARGE);
    assert_eq!(assert_same_stream("stored", server.root.open("large"), lines()), LARGE);
    let mut download = client.retrieve("large").unwrap();
    assert_eq!(assert_same_stream("retrieved", &mut download, lines()), LARGE);
    assert_eq!(download.finish().unwrap().bytes, LARGE);
    client.quit().unwrap();
}
