//! yescrypt: the `$y$` of crypt(3), Debian's default for `/etc/shadow`.

use std::{fmt, io};

use base64ct::{Base64ShaCrypt, Encoding};
use yescrypt::Params;

use super::password::PasswordHashError;
use crate::limits;

/// Bytes of a hash.
const HASH: usize = 32;

/// Maximum bytes of a salt.
const SALT: usize = 64;

/// Memory and work of a hash.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Yescrypt(Params);

/// Parses the fields of a hash: parameters such as `j9T`, the salt and the hash. Returns the three
/// in decoded form.
pub(super) fn parse(fields: &[&str]) -> Result<(Yescrypt, Vec<u8>, Vec<u8>), PasswordHashError> {
    use PasswordHashError::{Malformed, TooCostly};
    let [parameters, salt, hash] = fields else { return Err(Malformed) };
    // crypt_gensalt(3) writes three characters: the mode, the number of blocks, and their size. The
    // library would also read other parameters, such as an unlimited number of passes.
    if parameters.len() != 3 || !parameters.starts_with('j') {
        return Err(Malformed);
    }
    let params: Params = parameters.parse().map_err(|_| Malformed)?;
    if params.to_string() != *parameters {
        return Err(Malformed);
    }
    let salt = Base64ShaCrypt::decode_vec(salt).map_err(|_| Malformed)?;
    let hash = Base64ShaCrypt::decode_vec(hash).map_err(|_| Malformed)?;
    if salt.len() > SALT || hash.len() != HASH {
        return Err(Malformed);
    }
    let yescrypt = Yescrypt(params);
    if yescrypt.memory() > u64::from(limits::HASH_MEMORY) * 1024 {
        return Err(TooCostly);
    }
    Ok((yescrypt, salt, hash))
}

impl Yescrypt {
    /// Returns the memory that the computation of a hash needs, in bytes.
    pub(super) fn memory(self) -> u64 {
        let Self(params) = self;
        params.n().saturating_mul(u64::from(params.r())).saturating_mul(128)
    }

    /// Computes the hash of a password.
    pub(super) fn compute(self, password: &[u8], salt: &[u8]) -> io::Result<Vec<u8>> {
        // The library aborts the process if it gets no memory, so check first that memory is
        // available.
        let memory = usize::try_from(self.memory()).map_err(io::Error::other)?;
        Vec::<u8>::new().try_reserve_exact(memory).map_err(io::Error::other)?;
        let mut hash = vec![0; HASH];
        yescrypt::yescrypt(password, salt, &self.0, &mut hash)
            .map_err(|error| io::Error::other(error.to_string()))?;
        Ok(hash)
    }

    /// Writes the text form.
    pub(super) fn show(self, f: &mut fmt::Formatter<'_>, salt: &[u8], hash: &[u8]) -> fmt::Result {
        let salt = Base64ShaCrypt::encode_string(salt);
        write!(f, "$y${}${salt}${}", self.0, Base64ShaCrypt::encode_string(hash))
    }
}
