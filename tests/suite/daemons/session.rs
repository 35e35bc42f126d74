//! The operations in terms of the client's methods: the only file of these tests that uses them.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::time::Duration;

use ftp_client::listing::{ListOptions, ListingForm, Walked};
use ftp_client::{Client, ClientBuilder, Entry, Error, Extended, ListLine};
use ftp_client::{Mode, RepresentationType, TimeVal, Timeouts};
use ftp_tests::site::Site;

use super::Way;

/// A logged-in client.
pub(super) struct Session {
    client: Client,
}

impl Session {
    /// Opens it with the default kind of data connection.
    pub(super) fn new(site: &Site) -> Result<Self, Error> {
        Self::with(site, Client::builder())
    }

    /// Opens it with one kind of data connection only.
    pub(super) fn by(site: &Site, way: Way) -> Result<Self, Error> {
        let (builder, only) =
            (
                Client::builder(),
                |is_extended| {
                    if is_extended { Extended::Always } else { Extended::Never }
                },
            );
        Self::with(
            site,
            match way {
                Way::Epsv | Way::Pasv => builder.epsv(only(way == Way::Epsv)),
                Way::Eprt | Way::Port => builder.mode(Mode::Active).eprt(only(way == Way::Eprt)),
                Way::Active => builder.mode(Mode::Active),
            },
        )
    }

    fn with(site: &Site, builder: ClientBuilder) -> Result<Self, Error> {
        let limit = Duration::from_secs(60);
        let timeouts = Timeouts::new().greeting(limit).reply(limit).stall(limit).final_reply(limit);
        let address: SocketAddr = site.address;
        let mut client = builder.timeouts(timeouts).connect(&address.to_string())?;
        client.login(site.user, site.password)?;
        Ok(Self { client })
    }

    pub(super) fn quit(self) -> Result<(), Error> {
        self.client.quit()
    }

    pub(super) fn noop(&mut self) -> Result<(), Error> {
        self.client.noop()
    }

    /// Sets whether later transfers are text.
    pub(super) fn is_text(&mut self, text: bool) {
        self.client.set_representation(if text {
            RepresentationType::Ascii
        } else {
            RepresentationType::Image
        });
    }

    pub(super) fn put(&mut self, name: &[u8], content: &[u8]) -> Result<(), Error> {
        self.put_from(name, 0, content)
    }

    /// Downloads the rest of a file from `offset` on.
    pub(super) fn put_from(&mut self, name: &[u8], offset: u64, rest: &[u8]) -> Result<(), Error> {
        let mut upload = self.client.store_from(name, offset)?;
        let written = upload.write_all(rest);
        conclude(written, upload.finish().map(drop))
    }

    pub(super) fn append(&mut self, name: &[u8], more: &[u8]) -> Result<(), Error> {
        let mut upload = self.client.append(name)?;
        let written = upload.write_all(more);
        conclude(written, upload.finish().map(drop))
    }

    pub(super) fn get(&mut self, name: &[u8]) -> Result<Vec<u8>, Error> {
        self.get_from(name, 0)
    }

    /// Downloads a file from `offset` on.
    pub(super) fn get_from(&mut self, name: &[u8], offset: u64) -> Result<Vec<u8>, Error> {
        let mut content = Vec::new();
        let mut download = self.client.retrieve_from(name, offset)?;
        let read = download.read_to_end(&mut content).map(drop);
        conclude(read, download.finish().map(drop))?;
        Ok(content)
    }

    /// Downloads the first `count` bytes of a longer file, and stops.
    pub(super) fn get_and_abort(&mut self, name: &[u8], count: usize) -> Result<Vec<u8>, Error> {
        let mut content = vec![0; count];
        let mut download = self.client.retrieve(name)?;
        let read = download.read_exact(&mut content);
        conclude(read, download.abort())?;
        Ok(content)
    }

    /// Returns the entries of a directory; of the current one if it is empty.
    pub(super) fn list(&mut self, directory: &[u8]) -> Result<Vec<Entry>, Error> {
        let mut entries = Vec::new();
        for listed in self.client.list(directory)? {
            if let ListLine::Entry(entry) = listed? {
                entries.push(entry);
            }
        }
        Ok(entries)
    }

    /// Returns the names in a directory; in the current one if it is empty.
    pub(super) fn names(&mut self, directory: &[u8]) -> Result<Vec<Vec<u8>>, Error> {
        let mut names = Vec::new();
        for listed in self.client.list_with(directory, ListOptions::by(ListingForm::Nlst))? {
            if let ListLine::Entry(entry) = listed? {
                names.push(entry.name);
            }
        }
        Ok(names)
    }

    /// Returns the paths of everything below the current directory.
    pub(super) fn walk(&mut self, form: ListingForm) -> Result<Vec<Vec<u8>>, Error> {
        let mut paths = Vec::new();
        let list = ListOptions::by(form).all(true);
        for walked in self.client.walk("").list(list) {
            if let Walked::Entry { path, .. } = walked? {
                paths.push(path);
            }
        }
        Ok(paths)
    }

    pub(super) fn rename(&mut self, from: &[u8], to: &[u8]) -> Result<(), Error> {
        self.client.rename(from, to)
    }

    pub(super) fn delete(&mut self, name: &[u8]) -> Result<(), Error> {
        self.client.delete(name)
    }

    pub(super) fn mkdir(&mut self, name: &[u8]) -> Result<(), Error> {
        self.client.mkdir(name).map(drop)
    }

    pub(super) fn rmdir(&mut self, name: &[u8]) -> Result<(), Error> {
        self.client.rmdir(name)
    }

    pub(super) fn size(&mut self, name: &[u8]) -> Result<Option<u64>, Error> {
        self.client.size(name)
    }

    pub(super) fn modified(&mut self, name: &[u8]) -> Result<Option<TimeVal>, Error> {
        self.client.modified(name)
    }

    pub(super) fn set_modified(&mut self, name: &[u8], time: TimeVal) -> Result<(), Error> {
        self.client.set_modified(name, time).map(drop)
    }
}

/// Returns the result of a transfer: the first error counts for more than the missing end.
fn conclude(moved: io::Result<()>, ended: Result<(), Error>) -> Result<(), Error> {
    match moved {
        Ok(()) => ended,
        Err(error) => Err(Error::downcast(error).unwrap_or_else(Error::io)),
    }
}
