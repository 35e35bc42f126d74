//! bcrypt: the `$2a$`, `$2b$` and `$2y$` of crypt(3).

use std::fmt;

use base64ct::{Base64Bcrypt, Encoding};
use blowfish::Blowfish;

use super::password::PasswordHashError;
use crate::limits;

/// Longest password that bcrypt uses, in bytes. Like crypt(3), this code ignores further bytes.
const LONGEST: usize = 72;

/// Bytes of a salt.
const SALT: usize = 16;

/// Bytes of a hash that are stored; bcrypt computes 24.
const HASH: usize = 23;

/// Characters of a salt.
const SALT_TEXT: usize = 22;

/// Smallest cost that crypt(3) accepts.
const LEAST: u8 = 4;

/// The kind and the cost of a hash; the cost is the binary logarithm of the number of rounds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Bcrypt {
    /// `a`, `b` or `y`, which give the same hash for passwords of at most 255 bytes.
    kind: char,
    cost: u8,
}

/// Parses the fields of a hash: the cost, and one text with salt and hash. `kind` is `2b`, for
/// example. Returns the parameters, the salt and the hash.
pub(super) fn parse(
    kind: &str,
    fields: &[&str],
) -> Result<(Bcrypt, Vec<u8>, Vec<u8>), PasswordHashError> {
    use PasswordHashError::{Malformed, TooCostly};
    let kind = kind.chars().last().ok_or(Malformed)?;
    let [cost, rest] = fields else { return Err(Malformed) };
    if cost.len() != 2 || !cost.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Malformed);
    }
    let cost: u8 = cost.parse().map_err(|_| Malformed)?;
    let (salt, hash) = rest.split_at_checked(SALT_TEXT).ok_or(Malformed)?;
    let salt = Base64Bcrypt::decode_vec(salt).map_err(|_| Malformed)?;
    let hash = Base64Bcrypt::decode_vec(hash).map_err(|_| Malformed)?;
    if cost < LEAST || salt.len() != SALT || hash.len() != HASH {
        return Err(Malformed);
    }
    if cost > limits::HASH_COST {
        return Err(TooCostly);
    }
    Ok((Bcrypt { kind, cost }, salt, hash))
}

impl Bcrypt {
    /// Computes the hash of a password.
    pub(super) fn compute(self, password: &[u8], salt: &[u8]) -> Vec<u8> {
        // bcrypt hashes a C string, including its final NUL.
        let key: Vec<u8> = password.iter().copied().chain([0]).take(LONGEST).collect();
        let mut state: Blowfish = Blowfish::bc_init_state();
        state.salted_expand_key(salt, &key);
        for _ in 0..1_u64 << self.cost {
            state.bc_expand_key(&key);
            state.bc_expand_key(salt);
        }
        let mut hash = Vec::new();
        for block in [*b"OrpheanB", *b"eholderS", *b"cryDoubt"] {
            let [a, b, c, d, e, f, g, h] = block;
            let mut halves = [[a, b, c, d], [e, f, g, h]].map(u32::from_be_bytes);
            for _ in 0..64 {
                halves = state.bc_encrypt(halves);
            }
            hash.extend(halves.into_iter().flat_map(u32::to_be_bytes));
        }
        hash.truncate(HASH);
        hash
    }

    /// Writes the text form.
    pub(super) fn show(self, f: &mut fmt::Formatter<'_>, salt: &[u8], hash: &[u8]) -> fmt::Result {
        let Self { kind, cost } = self;
        let salt = Base64Bcrypt::encode_string(salt);
        let hash = Base64Bcrypt::encode_string(hash);
        write!(f, "$2{kind}${cost:02}${salt}{hash}")
    }
}
