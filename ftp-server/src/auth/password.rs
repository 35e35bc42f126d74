//! Hashed passwords: argon2id (RFC 9106) in the PHC string format, and the hashes of Unix:
//! yescrypt, bcrypt and SHA-crypt.

use std::{fmt, io};

use argon2::{Algorithm, Argon2, Block, Params, Version};
use base64ct::{Base64Bcrypt, Base64ShaCrypt, Base64Unpadded, Encoding};
use blowfish::Blowfish;

use super::equal_in_constant_time;
use crate::net::random;
use crate::{budget, limits};

/// Cost of a new hash, as OWASP recommends for small hosts: the memory in KiB, and the number of
/// passes.
const MEMORY: u32 = 7 * 1024;
const PASSES: u32 = 5;

/// Minimum capacity of the vector for argon2id, in blocks of 1 KiB. When a vector of 32 MiB or more
/// is dropped, glibc returns its memory to the system. glibc may keep the memory of a smaller
/// vector for the thread.
const MAPPED: usize = 33 * 1024;

/// A hashed password, in one of these text forms:
///
/// - `$argon2id$v=19$m=7168,t=5,p=1$SALT$HASH`, the form of [`new`](Self::new);
/// - `$y$j9T$SALT$HASH`, the yescrypt of `/etc/shadow` and of `mkpasswd`;
/// - `$2b$12$SALTHASH`, the bcrypt of `htpasswd -B` and others, also as `$2a$` and `$2y$`; only the
///   first 72 bytes of a password count;
/// - `$6$SALT$HASH` and `$5$SALT$HASH`, optionally with `rounds=N$` before the salt, as in
///   `/etc/shadow`;
/// - `!` or `*` before a hash, or alone: a locked account, whose password is never right.
///
/// A hash with too high a cost fails to parse ([`TooCostly`](PasswordHashError::TooCostly)), so a
/// line in a file cannot exhaust the machine.
///
/// ```
/// use ftp_server::PasswordHash;
///
/// let hash = PasswordHash::new(b"secret")?;
/// let kept: PasswordHash = hash.to_string().parse()?;
/// assert!(kept.verify(b"secret")?);
/// assert!(!kept.verify(b"Secret")?);
/// assert!("secret".parse::<PasswordHash>().is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Eq, PartialEq)]
pub struct PasswordHash {
    function: Function,
    salt: Vec<u8>,
    hash: Vec<u8>,
    /// The mark before the hash of a locked account; empty for others.
    lock: String,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Function {
    /// The hash of a locked account without a password.
    Missing,
    /// The `m` (in KiB), `t` and `p` of the PHC string.
    Argon2id {
        memory: u32,
        passes: u32,
        lanes: u32,
    },
    Yescrypt(Yescrypt),
    Bcrypt(Bcrypt),
    /// A `$5$` or `$6$` hash; `rounds` is `None` for the default number of rounds.
    ShaCrypt {
        is_512: bool,
        rounds: Option<u32>,
    },
}

/// Reason why a text is not a [`PasswordHash`]. The error never contains the text, which may be a
/// password.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PasswordHashError {
    /// The text does not begin like a hash: it may be the password itself.
    #[error("not a password hash")]
    NotAHash,
    /// A hash of an unsupported kind.
    #[error("unsupported password hash: expected $argon2id$, $y$, $2b$, $6$ or $5$")]
    Unsupported,
    /// A malformed hash of a known kind.
    #[error("truncated or malformed password hash")]
    Malformed,
    /// The hash costs too much to check at a login: too much memory, or too many passes, lanes or
    /// rounds.
    #[error(
        "password hash with too high a cost: expected at most 256 MiB (2 GiB in all passes), 32 lanes, \
         bcrypt cost 15 or 1,000,000 rounds"
    )]
    TooCostly,
}

impl PasswordHash {
    /// Hashes a password with argon2id (7 MiB, five passes) and a random salt.
    ///
    /// # Errors
    ///
    /// Returns `InvalidInput` if the password has more than 512 bytes. Returns
    /// another error if the system lacks memory or random numbers.
    pub fn new(password: &[u8]) -> io::Result<Self> {
        if password.len() > limits::PASSWORD {
            let text = format!("password too long: expected at most {} bytes", limits::PASSWORD);
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        let salt = [random::number()?.to_ne_bytes(), random::number()?.to_ne_bytes()].concat();
        let function = Function::Argon2id { memory: MEMORY, passes: PASSES, lanes: 1 };
        let hash = function.compute(password, &salt, 32)?;
        Ok(Self::of(function, salt, hash))
    }

    /// Returns whether `password` is right. The time does not depend on the result. A password of
    /// more than 512 bytes is wrong; the bytes beyond that are not hashed. For
    /// bcrypt, a password that contains NUL is wrong.
    ///
    /// # Errors
    ///
    /// Returns an error if the system has too little memory.
    pub fn verify(&self, password: &[u8]) -> io::Result<bool> {
        budget::check_memory(self.memory())?;
        let hashed = password.get(..limits::PASSWORD).unwrap_or(password);
        let computed = self.function.compute(hashed, &self.salt, self.hash.len())?;
        // For bcrypt, `a` NUL `a` would have the same hash as `a`. Other programs cannot hash a
        // NUL.
        let is_text = !matches!(self.function, Function::Bcrypt(_)) | !hashed.contains(&0);
        let is_whole = hashed.len() == password.len();
        let is_open = self.lock.is_empty();
        Ok(equal_in_constant_time(&self.hash, &computed) & is_whole & is_text & is_open)
    }

    #[cfg(any(test, feature = "daemon"))]
    pub(crate) const fn is_locked(&self) -> bool {
        !self.lock.is_empty()
    }

    /// Returns whether there is a hash to compute, whose time a login takes.
    pub(super) fn takes_time(&self) -> bool {
        self.function != Function::Missing
    }

    fn of(function: Function, salt: Vec<u8>, hash: Vec<u8>) -> Self {
        Self { function, salt, hash, lock: String::new() }
    }

    /// Returns the memory that [`verify`](Self::verify) needs, in bytes.
    pub(super) fn memory(&self) -> u64 {
        match self.function {
            Function::Argon2id { memory, .. } => u64::from(memory) * 1024,
            Function::Yescrypt(yescrypt) => yescrypt.memory(),
            Function::Missing | Function::Bcrypt(_) | Function::ShaCrypt { .. } => 0,
        }
    }
}

impl Function {
    /// Computes the hash of a password; `length` is the size of the hash in bytes, for functions
    /// that allow several sizes.
    fn compute(self, password: &[u8], salt: &[u8], length: usize) -> io::Result<Vec<u8>> {
        match self {
            Self::Missing => Ok(Vec::new()),
            Self::Argon2id { memory, passes, lanes } => {
                let params = Params::new(memory, passes, lanes, Some(length))
                    .map_err(|error| io::Error::other(error.to_string()))?;
                let count = params.block_count();
                let mut blocks: Vec<Block> = Vec::new();
                blocks.try_reserve_exact(count.max(MAPPED)).map_err(io::Error::other)?;
                blocks.resize(count, Block::new());
                let mut hash = vec![0; length];
                Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
                    .hash_password_into_with_memory(password, salt, &mut hash, &mut blocks)
                    .map_err(|error| io::Error::other(error.to_string()))?;
                Ok(hash)
            }
            Self::Yescrypt(yescrypt) => yescrypt.compute(password, salt),
            Self::Bcrypt(bcrypt) => Ok(bcrypt.compute(password, salt)),
            Self::ShaCrypt { is_512, rounds } => {
                let rounds = rounds.unwrap_or(sha_crypt::Params::RECOMMENDED_ROUNDS);
                let params = sha_crypt::Params::new(rounds)
                    .map_err(|error| io::Error::other(error.to_string()))?;
                Ok(match is_512 {
                    true => permuted(&sha_crypt::sha512_crypt(password, salt, params), &ORDER_512),
                    false => permuted(&sha_crypt::sha256_crypt(password, salt, params), &ORDER_256),
                })
            }
        }
    }
}

/// Returns the bytes of a hash in the order in which SHA-crypt writes them.
fn permuted(hash: &[u8], order: &[u8]) -> Vec<u8> {
    order.iter().filter_map(|&at| hash.get(usize::from(at)).copied()).collect()
}

const ORDER_256: [u8; 32] = [
    20, 10, 0, 11, 1, 21, 2, 22, 12, 23, 13, 3, 14, 4, 24, 5, 25, 15, 26, 16, 6, 17, 7, 27, 8, 28,
    18, 29, 19, 9, 30, 31,
];

const ORDER_512: [u8; 64] = [
    42, 21, 0, 1, 43, 22, 23, 2, 44, 45, 24, 3, 4, 46, 25, 26, 5, 47, 48, 27, 6, 7, 49, 28, 29, 8,
    50, 51, 30, 9, 10, 52, 31, 32, 11, 53, 54, 33, 12, 13, 55, 34, 35, 14, 56, 57, 36, 15, 16, 58,
    37, 38, 17, 59, 60, 39, 18, 19, 61, 40, 41, 20, 62, 63,
];

impl std::str::FromStr for PasswordHash {
    type Err = PasswordHashError;

    fn from_str(text: &str) -> Result<Self, PasswordHashError> {
        let kept = text.trim_start_matches(['!', '*']);
        if let Some(lock) = text.strip_suffix(kept).filter(|lock| !lock.is_empty()) {
            // The hash can be of an unsupported kind, because no login uses it. Other words may be a
            // password.
            let is_known = kept.starts_with('$') || matches!(kept, "" | "LK*" | "NP*");
            let missing = Self::of(Function::Missing, Vec::new(), kept.as_bytes().to_vec());
            let hash = kept.parse().ok().or(Some(missing).filter(|_| is_known));
            let hash = hash.ok_or(PasswordHashError::NotAHash)?;
            return Ok(Self { lock: lock.to_owned(), ..hash });
        }
        let fields: Vec<&str> = text.split('$').collect();
        match fields.as_slice() {
            ["", "argon2id", rest @ ..] => argon2id(rest),
            ["", "y", rest @ ..] => {
                let (yescrypt, salt, hash) = Yescrypt::parse(rest)?;
                Ok(Self::of(Function::Yescrypt(yescrypt), salt, hash))
            }
            ["", kind @ ("2a" | "2b" | "2y"), rest @ ..] => {
                let (bcrypt, salt, hash) = Bcrypt::parse(kind, rest)?;
                Ok(Self::of(Function::Bcrypt(bcrypt), salt, hash))
            }
            ["", digit @ ("5" | "6"), rest @ ..] => sha_crypt(*digit == "6", rest),
            ["", kind, _, ..] if !kind.is_empty() => Err(PasswordHashError::Unsupported),
            _ => Err(PasswordHashError::NotAHash),
        }
    }
}

/// Parses the fields `v=19`, `m=7168,t=5,p=1`, salt and hash.
fn argon2id(fields: &[&str]) -> Result<PasswordHash, PasswordHashError> {
    use PasswordHashError::{Malformed, TooCostly};
    let ["v=19", parameters, salt, hash] = fields else { return Err(Malformed) };
    let parameters: Vec<&str> = parameters.split(',').collect();
    let [memory, passes, lanes] = parameters.as_slice() else { return Err(Malformed) };
    let memory = number(memory.strip_prefix("m=").ok_or(Malformed)?)?;
    let passes = number(passes.strip_prefix("t=").ok_or(Malformed)?)?;
    let lanes = number(lanes.strip_prefix("p=").ok_or(Malformed)?)?;
    let work = u64::from(memory) * u64::from(passes);
    if memory > limits::HASH_MEMORY || work > limits::HASH_WORK || lanes > limits::HASH_LANES {
        return Err(TooCostly);
    }
    let salt = Base64Unpadded::decode_vec(salt).map_err(|_| Malformed)?;
    let hash = Base64Unpadded::decode_vec(hash).map_err(|_| Malformed)?;
    let is_whole = (8..=64).contains(&salt.len()) && (16..=64).contains(&hash.len());
    // `Params` rejects other invalid values: less than 8 KiB per lane, no passes, no lanes.
    if !is_whole || Params::new(memory, passes, lanes, Some(hash.len())).is_err() {
        return Err(Malformed);
    }
    Ok(PasswordHash::of(Function::Argon2id { memory, passes, lanes }, salt, hash))
}

/// Parses the fields `rounds=5000` (optional), salt and hash.
fn sha_crypt(is_512: bool, fields: &[&str]) -> Result<PasswordHash, PasswordHashError> {
    use PasswordHashError::{Malformed, TooCostly};
    let (rounds, salt, hash) = match fields {
        [salt, hash] => (None, salt, hash),
        [rounds, salt, hash] => {
            let rounds = number(rounds.strip_prefix("rounds=").ok_or(Malformed)?)?;
            (Some(rounds), salt, hash)
        }
        _ => return Err(Malformed),
    };
    if rounds.is_some_and(|rounds| rounds > limits::HASH_ROUNDS) {
        return Err(TooCostly);
    }
    let is_too_few = rounds.is_some_and(|rounds| rounds < sha_crypt::Params::ROUNDS_MIN);
    let hash = Base64ShaCrypt::decode_vec(hash).map_err(|_| Malformed)?;
    let length = if is_512 { ORDER_512.len() } else { ORDER_256.len() };
    if is_too_few || salt.len() > 16 || hash.len() != length {
        return Err(Malformed);
    }
    let function = Function::ShaCrypt { is_512, rounds };
    Ok(PasswordHash::of(function, salt.as_bytes().to_vec(), hash))
}

/// Parses a number without a sign or leading zeros. Returns `TooCostly` if the number exceeds 32
/// bits, and `Malformed` if the text is not such a number.
fn number(text: &str) -> Result<u32, PasswordHashError> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit())
        && !text.is_empty()
        && (text == "0" || !text.starts_with('0'));
    if !is_number {
        return Err(PasswordHashError::Malformed);
    }
    text.parse().map_err(|_| PasswordHashError::TooCostly)
}

impl fmt::Display for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.lock)?;
        match self.function {
            Function::Missing => f.write_str(&String::from_utf8_lossy(&self.hash)),
            Function::Argon2id { memory, passes, lanes } => {
                let salt = Base64Unpadded::encode_string(&self.salt);
                let hash = Base64Unpadded::encode_string(&self.hash);
                write!(f, "$argon2id$v=19$m={memory},t={passes},p={lanes}${salt}${hash}")
            }
            Function::Yescrypt(yescrypt) => yescrypt.show(f, &self.salt, &self.hash),
            Function::Bcrypt(bcrypt) => bcrypt.show(f, &self.salt, &self.hash),
            Function::ShaCrypt { is_512, rounds } => {
                f.write_str(if is_512 { "$6$" } else { "$5$" })?;
                if let Some(rounds) = rounds {
                    write!(f, "rounds={rounds}$")?;
                }
                let salt = String::from_utf8_lossy(&self.salt);
                write!(f, "{salt}${}", Base64ShaCrypt::encode_string(&self.hash))
            }
        }
    }
}

/// Shows the cost but not the hash: an attacker could find a weak password from its hash.
impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PasswordHash({:?})", self.function)
    }
}

/// yescrypt: the `$y$` of crypt(3), Debian's default for `/etc/shadow`. The value is the memory and work
/// of a hash.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Yescrypt(yescrypt::Params);

impl Yescrypt {
    /// Bytes of a hash.
    const HASH: usize = 32;

    /// Maximum bytes of a salt.
    const SALT: usize = 64;

    /// Parses the fields of a hash: parameters such as `j9T`, the salt and the hash. Returns the three
    /// in decoded form.
    fn parse(fields: &[&str]) -> Result<(Self, Vec<u8>, Vec<u8>), PasswordHashError> {
        use PasswordHashError::{Malformed, TooCostly};
        let [parameters, salt, hash] = fields else { return Err(Malformed) };
        // crypt_gensalt(3) writes three characters: the mode, the number of blocks, and their size. The
        // library would also read other parameters, such as an unlimited number of passes.
        if parameters.len() != 3 || !parameters.starts_with('j') {
            return Err(Malformed);
        }
        let params: yescrypt::Params = parameters.parse().map_err(|_| Malformed)?;
        if params.to_string() != *parameters {
            return Err(Malformed);
        }
        let salt = Base64ShaCrypt::decode_vec(salt).map_err(|_| Malformed)?;
        let hash = Base64ShaCrypt::decode_vec(hash).map_err(|_| Malformed)?;
        if salt.len() > Self::SALT || hash.len() != Self::HASH {
            return Err(Malformed);
        }
        let yescrypt = Self(params);
        if yescrypt.memory() > u64::from(limits::HASH_MEMORY) * 1024 {
            return Err(TooCostly);
        }
        Ok((yescrypt, salt, hash))
    }

    /// Returns the memory that the computation of a hash needs, in bytes.
    fn memory(self) -> u64 {
        let Self(params) = self;
        params.n().saturating_mul(u64::from(params.r())).saturating_mul(128)
    }

    fn compute(self, password: &[u8], salt: &[u8]) -> io::Result<Vec<u8>> {
        // The library aborts the process if it gets no memory, so check first that memory is
        // available.
        let memory = usize::try_from(self.memory()).map_err(io::Error::other)?;
        Vec::<u8>::new().try_reserve_exact(memory).map_err(io::Error::other)?;
        let mut hash = vec![0; Self::HASH];
        yescrypt::yescrypt(password, salt, &self.0, &mut hash)
            .map_err(|error| io::Error::other(error.to_string()))?;
        Ok(hash)
    }

    fn show(self, f: &mut fmt::Formatter<'_>, salt: &[u8], hash: &[u8]) -> fmt::Result {
        let salt = Base64ShaCrypt::encode_string(salt);
        write!(f, "$y${}${salt}${}", self.0, Base64ShaCrypt::encode_string(hash))
    }
}

/// bcrypt: the `$2a$`, `$2b$` and `$2y$` of crypt(3). The value is the kind and the cost of a hash; the
/// cost is the binary logarithm of the number of rounds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Bcrypt {
    /// `a`, `b` or `y`, which give the same hash for passwords of at most 255 bytes.
    kind: char,
    cost: u8,
}

impl Bcrypt {
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

    /// Parses the fields of a hash: the cost, and one text with salt and hash. `kind` is `2b`, for
    /// example. Returns the parameters, the salt and the hash.
    fn parse(kind: &str, fields: &[&str]) -> Result<(Self, Vec<u8>, Vec<u8>), PasswordHashError> {
        use PasswordHashError::{Malformed, TooCostly};
        let kind = kind.chars().last().ok_or(Malformed)?;
        let [cost, rest] = fields else { return Err(Malformed) };
        if cost.len() != 2 || !cost.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(Malformed);
        }
        let cost: u8 = cost.parse().map_err(|_| Malformed)?;
        let (salt, hash) = rest.split_at_checked(Self::SALT_TEXT).ok_or(Malformed)?;
        let salt = Base64Bcrypt::decode_vec(salt).map_err(|_| Malformed)?;
        let hash = Base64Bcrypt::decode_vec(hash).map_err(|_| Malformed)?;
        if cost < Self::LEAST || salt.len() != Self::SALT || hash.len() != Self::HASH {
            return Err(Malformed);
        }
        if cost > limits::HASH_COST {
            return Err(TooCostly);
        }
        Ok((Self { kind, cost }, salt, hash))
    }

    fn compute(self, password: &[u8], salt: &[u8]) -> Vec<u8> {
        // bcrypt hashes a C string, including its final NUL.
        let key: Vec<u8> = password.iter().copied().chain([0]).take(Self::LONGEST).collect();
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
        hash.truncate(Self::HASH);
        hash
    }

    fn show(self, f: &mut fmt::Formatter<'_>, salt: &[u8], hash: &[u8]) -> fmt::Result {
        let Self { kind, cost } = self;
        let salt = Base64Bcrypt::encode_string(salt);
        let hash = Base64Bcrypt::encode_string(hash);
        write!(f, "$2{kind}${cost:02}${salt}{hash}")
    }
}

#[cfg(test)]
mod tests;
