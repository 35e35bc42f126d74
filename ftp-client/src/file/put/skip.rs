//! Which uploads are skipped, from the facts of the local file and of the server's file.

use super::{Job, StoreAs};
use crate::client::Client;
use crate::error::{Error, UploadFault};
use crate::file::journal::LocalFacts;
use crate::file::options::Existing;

impl Job<'_> {
    /// Returns why the upload is skipped, or `None` if it is not.
    pub(super) fn skips(
        &mut self,
        client: &mut Client,
        here: Option<LocalFacts>,
    ) -> Result<Option<&'static str>, Error> {
        let selection = self.options.selection;
        let times = here.map(|here| (here.modified_seconds(), here.modified_seconds()));
        if let Some(why) = selection.refuses(here.map(|here| here.size), times) {
            return Ok(Some(why));
        }
        let why = match (self.options.existing, here) {
            (Existing::Keep, _) if self.is_there(client)? => Some("exists"),
            (Existing::ReplaceOlder | Existing::ReplaceDifferent, Some(here)) => {
                self.is_current(client, &here)?
            }
            _ => None,
        };
        match why {
            Some(why) if !self.is_leftover(client)? => Ok(Some(why)),
            _ => Ok(None),
        }
    }

    /// Returns why the server's file is current, or `None` if it is not.
    fn is_current(
        &self,
        client: &mut Client,
        here: &LocalFacts,
    ) -> Result<Option<&'static str>, Error> {
        let path = self.place.path();
        let Some(time) = client.readable_time(path)? else {
            let features = client.features()?;
            if features.has("MDTM") || !client.exists(path)? && features.has("SIZE") {
                // The file is missing.
                return Ok(None);
            }
            return Err(Error::Unsupported("the server does not report the modification time"));
        };
        let (there, here_time) = (time.unix_seconds(), here.modified_seconds());
        Ok(match self.options.existing {
            Existing::ReplaceOlder => (there >= here_time).then_some("not newer here"),
            _ if there != here_time => None,
            _ => (client.size(path)? == Some(here.size)).then_some("unchanged"),
        })
    }

    /// Returns whether the server's file can be the incomplete file of an earlier attempt. A
    /// temporary name does not count: the final name is asked for.
    fn is_leftover(&mut self, client: &mut Client) -> Result<bool, Error> {
        let sent = self.past.sent.filter(|_| !matches!(self.store, StoreAs::Under(_)));
        let Some(sent) = sent else { return Ok(false) };
        match client.size(self.place.path())? {
            Some(size) => Ok(size <= sent),
            None => {
                self.past.is_final = true;
                Err(Error::Upload(UploadFault::Leftover))
            }
        }
    }

    /// Returns whether the server already has the file.
    fn is_there(&self, client: &mut Client) -> Result<bool, Error> {
        let path = self.place.path();
        if client.exists(path)? {
            return Ok(true);
        }
        // The negative answer proves that the file is missing only if the server has MDTM or MLST.
        let features = client.features()?;
        if features.has("MDTM") || features.has("MLST") {
            return Ok(false);
        }
        // A size alone proves nothing: the file may be from an interrupted upload.
        if client.size(path)?.is_none() && features.has("SIZE") {
            return Ok(false);
        }
        Err(Error::Unsupported("the server does not report whether the file exists"))
    }
}
