//! Listings: `MLSD`, `LIST`, `NLST`, and whole trees.

use ftp_proto::{Command, Pathname, ReplyCode};

use super::{Client, is_unknown};
use crate::error::Error;
use crate::listing::{Entries, Lines, ListOptions, ListingForm, Walk, WalkOptions};
use crate::trace;
use crate::transfer::{self, Begun, Part, Transfer};

impl Client {
    /// What is in a directory, the working directory if it is empty: by `MLSD` where the server
    /// lists `MLST`, else by `LIST`.
    ///
    /// # Errors
    ///
    /// Those of [`retrieve`](Self::retrieve).
    pub fn list(&mut self, directory: impl AsRef<[u8]>) -> Result<Entries<'_>, Error> {
        self.list_with(directory, ListOptions::default())
    }

    /// The same, listed as `options` say.
    ///
    /// # Errors
    ///
    /// Those of [`retrieve`](Self::retrieve).
    pub fn list_with(
        &mut self,
        directory: impl AsRef<[u8]>,
        options: ListOptions,
    ) -> Result<Entries<'_>, Error> {
        let directory = directory.as_ref();
        let lines = self.list_lines(directory, options)?;
        Ok(Entries::new(lines, sent_as(directory)))
    }

    /// The lines of such a listing as they come. [`Facts::parse`](crate::Facts::parse) reads those
    /// of `MLSD` with facts that [`Entry`](crate::Entry) has no place for.
    ///
    /// # Errors
    ///
    /// Those of [`retrieve`](Self::retrieve).
    pub fn list_lines(
        &mut self,
        directory: impl AsRef<[u8]>,
        options: ListOptions,
    ) -> Result<Lines<'_>, Error> {
        let directory = directory.as_ref();
        // Before anything is sent.
        self.with_flags(directory, options)?;
        let mut form = options.form;
        let mut begun = None;
        if form == ListingForm::Auto {
            (form, begun) = match self.begin_mlsd_if_listed(directory)? {
                Some(begun) => (ListingForm::Mlsd, Some(begun)),
                None => (ListingForm::List, None),
            };
        }
        let begun = match begun {
            Some(begun) => begun,
            None => {
                let command = match form {
                    ListingForm::Nlst => Command::Nlst(self.with_flags(directory, options)?),
                    ListingForm::Mlsd => Command::Mlsd(self.pathname_or_none(directory)?),
                    _ => Command::List(self.with_flags(directory, options)?),
                };
                transfer::begin(self, &command, Part::default(), None)?
            }
        };
        Ok(Lines::new(Transfer::new(self, begun), form))
    }

    /// Goes through a directory, the working directory if it is empty, and all that is below it,
    /// one directory after the other.
    ///
    /// ```no_run
    /// # let mut client = ftp_client::Client::builder().connect("ftp.example.org")?;
    /// use ftp_client::{Walked, WalkOptions};
    ///
    /// for item in client.walk("pub", WalkOptions::default()) {
    ///     match item? {
    ///         Walked::Entry { path, .. } => println!("{}", String::from_utf8_lossy(&path)),
    ///         Walked::Skipped { directory, why } => {
    ///             println!("{}: {why}", String::from_utf8_lossy(&directory));
    ///         }
    ///     }
    /// }
    /// # Ok::<(), ftp_client::Error>(())
    /// ```
    pub fn walk(&mut self, directory: impl AsRef<[u8]>, options: WalkOptions) -> Walk<'_> {
        Walk::new(self, directory.as_ref(), options)
    }

    /// Begins `MLSD` with a server that says it has it. One that then does not know it is not
    /// asked again (HC-21), and what is no directory is left to `LIST`, which lists files too
    /// (RFC 3659 §7.2.1 has 501 for that).
    fn begin_mlsd_if_listed(&mut self, directory: &[u8]) -> Result<Option<Begun>, Error> {
        if self.no_mlsd || !self.features()?.has("MLST") {
            return Ok(None);
        }
        let command = Command::Mlsd(self.pathname_or_none(directory)?);
        match transfer::begin(self, &command, Part::default(), None) {
            Ok(begun) => Ok(Some(begun)),
            Err(Error::Refused(_, reply))
                if is_unknown(&reply)
                    || [ReplyCode::BAD_ARGUMENT, ReplyCode::PARAMETER_NOT_IMPLEMENTED]
                        .contains(&reply.code()) =>
            {
                self.no_mlsd = is_unknown(&reply);
                trace::note(format_args!("MLSD does not do here: LIST does"));
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// The argument of `LIST` or `NLST`.
    fn with_flags(
        &mut self,
        directory: &[u8],
        options: ListOptions,
    ) -> Result<Option<Pathname>, Error> {
        let directory = sent_as(directory);
        match (options.all, directory.as_slice()) {
            (false, directory) => self.pathname_or_none(directory),
            (true, b"") => self.pathname_or_none(b"-a"),
            (true, directory) => self.pathname_or_none(&[b"-a ", directory].concat()),
        }
    }
}

/// How a directory is named to `LIST` and `NLST`, where servers take a `-` in front for options
/// (CL-45).
fn sent_as(directory: &[u8]) -> Vec<u8> {
    match directory {
        [b'-', ..] => [b"./", directory].concat(),
        _ => directory.to_vec(),
    }
}
