//! The tests of the client under TLS, the same for every server: files in both directions in all
//! modes of the protocol, with the additions of TLS.

use std::io::{Read, Write};
use std::time::Duration;

use ftp_client::{Client, Error, ListLine, Mode, Timeouts, Tls, TlsInfo};
use ftp_tests::content::binary;
use ftp_tests::site::Site;
use ftp_tests::tls::Authority;

/// Returns a client of a server whose certificate this authority issued.
pub(super) fn connect(
    site: &Site,
    authority: &Authority,
    mode: Mode,
    implicit: bool,
) -> Result<Client, Error> {
    let tls = if implicit { Tls::implicit() } else { Tls::explicit() };
    let tls = tls.roots([authority.certificate().to_vec()]);
    let limit = Duration::from_secs(60);
    let timeouts = Timeouts::new()
        .greeting(limit)
        .reply(limit)
        .handshake(limit)
        .stall(limit)
        .final_reply(limit);
    let builder = Client::builder().timeouts(timeouts).mode(mode).tls(tls);
    let mut client = builder.connect(&site.address.to_string())?;
    client.login(site.user, site.password)?;
    Ok(client)
}

/// The steps with a server, one transfer or listing after the other.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Step {
    /// Upload this many bytes as a new file.
    Put(usize),
    /// Download them.
    Get(usize),
    /// Append to an existing file.
    Append,
    /// Upload the second half of a file.
    PutRest,
    /// Download the second half of a file.
    GetRest,
    List,
}

/// Ten transfers in a row, and more.
pub(super) const STEPS: [Step; 12] = [
    Step::Put(0),
    Step::Get(0),
    Step::Put(1),
    Step::Get(1),
    Step::Put((1 << 20) + 1),
    Step::Get((1 << 20) + 1),
    Step::List,
    Step::Append,
    Step::PutRest,
    Step::GetRest,
    Step::Put(300_000),
    Step::List,
];

/// Does one step, and compares every byte with the server's disk.
pub(super) fn step(client: &mut Client, site: &Site, step: Step) -> Result<(), String> {
    let half = 200_000;
    let content = |size: usize| binary(size, 7 + size as u64);
    let words = |error: Error| error.to_string();
    let same = |got: &[u8], want: &[u8]| match got == want {
        true => Ok(()),
        false => Err(format!("{} bytes differ from {}", got.len(), want.len())),
    };
    match step {
        Step::Put(size) => {
            put(client, "file", 0, &content(size)).map_err(words)?;
            same(&site.root.read("file"), &content(size))
        }
        Step::Get(size) => {
            site.root.write("file", &content(size));
            same(&get(client, "file", 0).map_err(words)?, &content(size))
        }
        Step::Append => {
            put(client, "file", 0, &content(2 * half)[..half]).map_err(words)?;
            let mut upload = client.append("file").map_err(words)?;
            let written = upload.write_all(&content(2 * half)[half..]);
            conclude(written, upload.finish().map(drop)).map_err(words)?;
            same(&site.root.read("file"), &content(2 * half))
        }
        Step::PutRest => {
            put(client, "file", 0, &content(2 * half)[..half]).map_err(words)?;
            put(client, "file", half as u64, &content(2 * half)[half..]).map_err(words)?;
            same(&site.root.read("file"), &content(2 * half))
        }
        Step::GetRest => {
            site.root.write("file", &content(2 * half));
            let rest = get(client, "file", half as u64).map_err(words)?;
            same(&rest, &content(2 * half)[half..])
        }
        Step::List => {
            let mut names = Vec::new();
            for item in client.list("").map_err(words)? {
                if let ListLine::Entry(entry) = item.map_err(words)? {
                    names.push(entry.name);
                }
            }
            same(&names.concat(), b"file")
        }
    }
}

/// Uploads `bytes` from `offset` on.
pub(super) fn put(client: &mut Client, name: &str, offset: u64, bytes: &[u8]) -> Result<(), Error> {
    let mut upload = client.store_from(name, offset)?;
    let written = upload.write_all(bytes);
    conclude(written, upload.finish().map(drop))
}

/// Downloads everything from `offset` on.
pub(super) fn get(client: &mut Client, name: &str, offset: u64) -> Result<Vec<u8>, Error> {
    let mut content = Vec::new();
    let mut download = client.retrieve_from(name, offset)?;
    let read = download.read_to_end(&mut content).map(drop);
    conclude(read, download.finish().map(drop))?;
    Ok(content)
}

fn conclude(moved: std::io::Result<()>, end: Result<(), Error>) -> Result<(), Error> {
    match moved {
        Ok(()) => end,
        Err(error) => Err(Error::downcast(error).unwrap_or_else(Error::io)),
    }
}

/// Returns the TLS parameters.
pub(super) fn info(client: &Client) -> TlsInfo {
    client.tls().expect("it was demanded").clone()
}
