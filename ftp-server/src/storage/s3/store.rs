//! A bucket, and the settings to reach it.

use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicI64};
use std::sync::{Arc, RwLock, Weak};
use std::time::{Duration, Instant};

use super::connection::{Connections, S3Timeouts, StorePlace};
use super::error::S3Error;
use super::http::{Checks, Client, Credentials, OBJECT_HEADERS};
use super::inner::Inner;
use super::issued_keys::{self, Issuer, KeySource, Platform, WebIdentity};
use super::keys::Keys;
use super::multipart::LEAST;
use super::probe::{self, S3Features};
use super::proof::StoreSigns;
use super::record::Memory;
use super::remembered::SeenDirectories;
use super::{S3Storage, multipart, partial};
use crate::lock::{Lock, unpoisoned};
use crate::{limits, threads};

/// Default part size, in bytes.
const PART: u64 = 8 * 1024 * 1024;

/// Default size of the memory for parts, in bytes.
const MEMORY: u64 = 128 * 1024 * 1024;

/// Maximum time that a session waits while its interrupted upload is saved or discarded. So if the
/// store is fast, a client that reconnects at once finds its partial upload. With the time in which
/// the session notices the interruption, this is less than a second.
pub(super) const PATIENCE: Duration = Duration::from_millis(600);

/// Interval at which the background thread resolves the endpoint.
const LOOK_UP: Duration = Duration::from_secs(300);

/// Interval at which the background thread removes abandoned partial uploads.
const SWEEP: Duration = Duration::from_secs(3_600);

/// Maximum time after which the background thread first sweeps.
const LONGEST_TICK: Duration = Duration::from_secs(20);

/// A bucket of an object store that supports the protocol of Amazon S3.
///
/// [`storage`](Self::storage) returns a storage with the files below a prefix.
/// [`probe`](Self::probe) tests which features the store supports.
///
/// Clones share the connections and the memory. Background threads resolve the endpoint
/// regularly, renew the [leases](S3StoreBuilder::lease) of running uploads, and remove the bytes
/// of partial uploads after 12 hours. With a [role](S3StoreBuilder::web_identity), another thread
/// renews the access keys. The threads end after the last clone and the last storage of the store
/// are dropped.
///
/// ```no_run
/// use ftp_server::{Rights, S3Store, Server};
///
/// let store = S3Store::builder("https://s3.eu-central-1.amazonaws.com", "bucket")
///     .region("eu-central-1")
///     .credentials("AKIAIOSFODNN7EXAMPLE", std::env::var("AWS_SECRET_ACCESS_KEY")?)
///     .build()?;
/// println!("{:?}", store.probe()?);
/// let server = Server::builder()
///     .storage(store.storage("users/ann")?)
///     .user("ann", "password", Rights::FULL)
///     .bind("127.0.0.1:2121")?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct S3Store {
    pub(super) inner: Arc<Inner>,
}

/// Settings of an [`S3Store`].
#[derive(Clone, Debug)]
#[must_use = "call build"]
pub struct S3StoreBuilder {
    endpoint: String,
    bucket: String,
    region: String,
    credentials: Credentials,
    key_source: Option<KeySource>,
    path_style: bool,
    ca: Option<Vec<u8>>,
    timeouts: S3Timeouts,
    part_size: u64,
    memory: u64,
    lease: Duration,
    patience: Duration,
    object_headers: Vec<(String, String)>,
    checksums: bool,
    #[cfg(test)]
    process: usize,
}

impl fmt::Debug for S3Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let client = &self.inner.client;
        f.debug_struct("S3Store")
            .field("endpoint", &format_args!("{}://{}", client.scheme, client.authority))
            .field("bucket", &client.bucket)
            .field("region", &client.region)
            .field("credentials", &unpoisoned(client.credentials.read()))
            .finish_non_exhaustive()
    }
}

impl S3Store {
    /// Returns a builder for a store in `bucket` at `endpoint`, such as `https://s3.example.com` or
    /// `http://127.0.0.1:8333`.
    pub fn builder(endpoint: impl Into<String>, bucket: impl Into<String>) -> S3StoreBuilder {
        S3StoreBuilder {
            endpoint: endpoint.into(),
            bucket: bucket.into(),
            region: "us-east-1".to_owned(),
            credentials: Credentials::default(),
            key_source: None,
            path_style: true,
            ca: None,
            timeouts: S3Timeouts::default(),
            part_size: PART,
            memory: MEMORY,
            lease: Duration::from_secs(60),
            patience: PATIENCE,
            object_headers: Vec::new(),
            checksums: true,
            #[cfg(test)]
            process: 0,
        }
    }

    /// Returns a storage with the objects whose keys begin with `prefix` and a `/`. An empty prefix
    /// selects all objects.
    ///
    /// # Errors
    ///
    /// Returns [`S3Error::Configuration`] if the prefix is too long, is reserved for the server's
    /// own objects, or contains an empty name, `.`, `..` or a control character.
    pub fn storage(&self, prefix: &str) -> Result<S3Storage, S3Error> {
        let keys = Keys::new(prefix).ok_or_else(|| {
            S3Error::Configuration(format!(
                "invalid prefix {prefix:?}: expected names separated by slashes"
            ))
        })?;
        Ok(S3Storage::new(Arc::clone(&self.inner), keys))
    }

    /// Tests the store with temporary objects below `.ftp-server/`. Returns the optional features that
    /// the store supports.
    ///
    /// # Errors
    ///
    /// Returns the error of the first request that fails, unless the failure only shows that an
    /// optional feature is missing.
    pub fn probe(&self) -> Result<S3Features, S3Error> {
        probe::probe(&self.inner)
    }

    /// Replaces the access keys of the account, for example before temporary ones expire. Later
    /// requests use the new keys.
    pub fn set_credentials(
        &self,
        access_key: impl Into<String>,
        secret_key: impl Into<String>,
        session_token: Option<String>,
    ) {
        let (access_key, secret_key) = (access_key.into(), secret_key.into());
        *unpoisoned(self.inner.client.credentials.write()) =
            Ok(Credentials { access_key, secret_key, session_token });
    }

    /// Removes the bytes of uploads that ended without success more than 12 hours ago, and the records
    /// that have ended. Returns the number of uploads. The background thread calls this method soon
    /// after its start, and then every hour. It logs a warning for an object that cannot be read or
    /// removed, and goes on.
    ///
    /// # Errors
    ///
    /// Returns the error of a listing, or of the eleventh such object.
    pub fn sweep(&self) -> Result<usize, S3Error> {
        partial::sweep(&self.inner)
    }
}

impl S3StoreBuilder {
    /// Sets the region (default: `us-east-1`).
    pub fn region(mut self, region: impl Into<String>) -> Self {
        self.region = region.into();
        self
    }

    /// Sets the access keys of the account.
    pub fn credentials(
        mut self,
        access_key: impl Into<String>,
        secret_key: impl Into<String>,
    ) -> Self {
        self.credentials.access_key = access_key.into();
        self.credentials.secret_key = secret_key.into();
        self
    }

    /// Sets the session token that belongs to temporary access keys (default: none).
    pub fn session_token(mut self, token: impl Into<String>) -> Self {
        self.credentials.session_token = Some(token.into());
        self
    }

    /// Sets a role whose temporary access keys the store uses instead of
    /// [`credentials`](Self::credentials) (default: none).
    ///
    /// `AssumeRoleWithWebIdentity` of the AWS Security Token Service issues the keys for the token
    /// in `token_file`. Kubernetes and other platforms keep such a token up to date. The keys are
    /// renewed before they expire, so the process must always be able to read the file. Keys from
    /// [`set_credentials`](S3Store::set_credentials) are used only until the next renewal.
    pub fn web_identity(
        mut self,
        role_arn: impl Into<String>,
        token_file: impl Into<PathBuf>,
    ) -> Self {
        let (role, token_file) = (role_arn.into(), token_file.into());
        self.key_source = Some(KeySource::Role(WebIdentity { role, token_file, endpoint: None }));
        self
    }

    /// Uses the temporary access keys that Amazon EC2 offers for the role of the instance, instead of
    /// [`credentials`](Self::credentials) (default: no). `endpoint` is the URL of the metadata
    /// service; if it is empty, `http://169.254.169.254`. Only IMDSv2 is used. In a container, the
    /// instance needs a hop limit of 2. The keys are renewed as those of
    /// [`web_identity`](Self::web_identity).
    pub fn instance_keys(mut self, endpoint: impl Into<String>) -> Self {
        self.key_source = Some(KeySource::Platform(Platform::Instance(endpoint.into())));
        self
    }

    /// Uses the temporary access keys that Amazon ECS or EKS Pod Identity offers a container, instead
    /// of [`credentials`](Self::credentials) (default: no). `uri` is
    /// `AWS_CONTAINER_CREDENTIALS_FULL_URI` or `AWS_CONTAINER_CREDENTIALS_RELATIVE_URI` of the
    /// container, `token_file` its `AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE`. The keys are renewed as
    /// those of [`web_identity`](Self::web_identity).
    pub fn container_keys(mut self, uri: impl Into<String>, token_file: Option<PathBuf>) -> Self {
        let platform = Platform::Container(uri.into(), token_file);
        self.key_source = Some(KeySource::Platform(platform));
        self
    }

    /// Sets the URL of the service that issues the keys of [`web_identity`](Self::web_identity)
    /// (default: `https://sts.REGION.amazonaws.com`, or `https://sts.REGION.amazonaws.com.cn` for
    /// regions in China). Call this method after `web_identity`.
    pub fn sts_endpoint(mut self, endpoint: impl Into<String>) -> Self {
        if let Some(KeySource::Role(identity)) = &mut self.key_source {
            identity.endpoint = Some(endpoint.into());
        }
        self
    }

    /// Sets whether requests name the bucket in the path instead of the host name (default: true).
    pub fn path_style(mut self, path_style: bool) -> Self {
        self.path_style = path_style;
        self
    }

    /// Sets the trusted CAs, in PEM, for the endpoint and for [`sts_endpoint`](Self::sts_endpoint)
    /// (default: the system's CAs).
    pub fn ca_pem(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.ca = Some(pem.into());
        self
    }

    /// Sets the timeouts.
    pub fn timeouts(mut self, timeouts: S3Timeouts) -> Self {
        self.timeouts = timeouts;
        self
    }

    /// Sets the size of the first 1,000 parts of an upload, in bytes, at least 5 MiB (default: 8
    /// MiB). The size doubles after every 1,000 parts, up to half of [`memory`](Self::memory).
    pub fn part_size(mut self, bytes: u64) -> Self {
        self.part_size = bytes;
        self
    }

    /// Sets the memory for the parts of all uploads together, in bytes (default: 128 MiB).
    ///
    /// An upload takes it in steps of 512 KiB, beyond 1 MiB of its own. Without room, it waits until
    /// others have stored their parts; a part is then stored at half of its size, but not below 5
    /// MiB. A part is at most half of this memory, so the memory also limits the size of files: by
    /// default to about 500 GiB, and to half of that if memory is always scarce.
    pub fn memory(mut self, bytes: u64) -> Self {
        self.memory = bytes;
        self
    }

    /// Sets the maximum time that a session waits while its interrupted upload is saved or
    /// discarded.
    #[cfg(test)]
    pub(super) fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Lets stores share what they remember of their uploads only if they have the same number, as if
    /// others were in another process.
    #[cfg(test)]
    pub(super) fn process(mut self, number: usize) -> Self {
        self.process = number;
        self
    }

    /// Sets the time after which another server may resume the uploads of a server that died
    /// (default: 60 s, minimum: 2 s). All servers of a bucket need the same value.
    pub fn lease(mut self, lease: Duration) -> Self {
        self.lease = lease;
        self
    }

    /// Adds a header to each request that makes an object, as some buckets demand:
    /// `x-amz-server-side-encryption`, its `-aws-kms-key-id` and `-bucket-key-enabled`,
    /// `x-amz-storage-class`, `x-amz-acl` or `x-amz-expected-bucket-owner`. The server's own objects, which
    /// live for a short time, do not get the storage class, and a renamed file keeps its own.
    pub fn object_header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.object_headers.push((name.into().to_ascii_lowercase(), value.into()));
        self
    }

    /// Sets whether a file of one part is sent with its SHA-256 checksum, which the store checks
    /// and keeps (default: true). Regardless of this setting, each request is signed with the
    /// digest of its content.
    pub fn checksums(mut self, checksums: bool) -> Self {
        self.checksums = checksums;
        self
    }

    /// Checks the settings, and resolves the endpoint. Sends no request to the store.
    ///
    /// With [`web_identity`](Self::web_identity), [`instance_keys`](Self::instance_keys) or
    /// [`container_keys`](Self::container_keys), this method also requests the first access keys.
    /// If that fails, a thread keeps trying. Until the thread succeeds, requests to the store fail
    /// with [`S3Error::NoKeys`].
    ///
    /// # Errors
    ///
    /// Returns [`S3Error::Configuration`] if a setting is invalid, or [`S3Error::Unresolved`] if
    /// the host name of an endpoint has no address. Returns [`S3Error::Local`] if a thread cannot
    /// be started.
    pub fn build(self) -> Result<S3Store, S3Error> {
        let place = StorePlace::of(&self.endpoint)?;
        self.check()?;
        let bucket = format!("{}/{}", place.name(), self.bucket);
        #[cfg(test)]
        let bucket = format!("{bucket} {}", self.process);
        let memory = Memory::of(bucket);
        let place = if self.path_style { place } else { place.with_label(&self.bucket) };
        let (timeouts, ca) = (self.timeouts, self.ca.as_deref());
        let Connections { agent, scheme, authority, addresses } =
            Connections::to(&place, timeouts, ca)?;
        let (credentials, renewal) = match &self.key_source {
            Some(source) => {
                let issuer = Issuer::new(source, &self.region, timeouts, ca)?;
                let (credentials, due) = issued_keys::first(&issuer);
                (credentials, Some((issuer, due)))
            }
            None => (Ok(self.credentials), None),
        };
        let base = if self.path_style { format!("/{}", self.bucket) } else { String::new() };
        let client = Client {
            agent,
            scheme,
            authority,
            bucket: self.bucket,
            base,
            object_headers: self.object_headers,
            region: self.region,
            credentials: RwLock::new(credentials),
            are_expired: AtomicBool::new(false),
            skew: AtomicI64::new(0),
            timeouts,
            checks: Checks::default(),
            late: Arc::clone(&memory.late),
            signs: StoreSigns::default(),
            addresses,
        };
        let inner = Arc::new(Inner {
            client,
            pool: multipart::pool(self.memory),
            part_size: self.part_size,
            largest_part: self.memory / 2,
            lease: self.lease,
            patience: self.patience,
            checksums: self.checksums,
            memory,
            seen: SeenDirectories::default(),
            told: Lock::default(),
        });
        let weak = Arc::downgrade(&inner);
        let tick = (self.lease / 3).min(LONGEST_TICK);
        threads::start(Some("s3-store"), limits::LOOKUP_STACK, move || keep(&weak, tick))
            .map_err(S3Error::Local)?;
        let weak = Arc::downgrade(&inner);
        threads::start(Some("s3-notes"), limits::LOOKUP_STACK, move || attend(&weak))
            .map_err(S3Error::Local)?;
        if let Some((issuer, due)) = renewal {
            let weak = Arc::downgrade(&inner);
            let renew = move || issued_keys::keep_valid(&weak, &issuer, due);
            threads::start(Some("s3-keys"), limits::LOOKUP_STACK, renew).map_err(S3Error::Local)?;
        }
        Ok(S3Store { inner })
    }

    fn check(&self) -> Result<(), S3Error> {
        let refuse = |text: &str| Err(S3Error::Configuration(text.to_owned()));
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        if self.bucket.is_empty() || !self.bucket.bytes().all(is_name) {
            return refuse("invalid bucket: expected letters, digits, \"-\", \".\" and \"_\"");
        }
        if self.region.is_empty() || !self.region.bytes().all(is_name) {
            return refuse("invalid region: expected a name such as us-east-1");
        }
        if !self.credentials.is_sendable() {
            return refuse("invalid access keys: expected printable ASCII without spaces");
        }
        if self.part_size < LEAST || self.memory < 2 * self.part_size {
            return refuse(
                "invalid part size: expected at least 5 MiB and at most half of the memory for parts",
            );
        }
        if self.lease < Duration::from_secs(2) {
            return refuse("invalid lease: expected at least 2 s");
        }
        for (name, value) in &self.object_headers {
            let is_sendable = value.bytes().all(|byte| byte.is_ascii_graphic());
            if !OBJECT_HEADERS.contains(&&**name) || !is_sendable || value.is_empty() {
                return refuse(&format!(
                    "invalid object header \"{name}: {value}\": expected a value without spaces, and one of \
                     {}",
                    OBJECT_HEADERS.join(", ")
                ));
            }
        }
        Ok(())
    }
}

/// Lets the notes be written and renewed that are due, until the store is dropped.
fn attend(store: &Weak<Inner>) {
    loop {
        std::thread::sleep(limits::TICK);
        let Some(store) = store.upgrade() else { return };
        store.attend();
    }
}

/// Does the other background work of a store, until the store is dropped.
fn keep(store: &Weak<Inner>, tick: Duration) {
    let mut looked_up = Instant::now();
    // The first sweep comes soon, so that even a server that never runs for long removes old
    // uploads.
    let mut swept: Option<Instant> = None;
    loop {
        std::thread::sleep(tick);
        let Some(store) = store.upgrade() else { return };
        if looked_up.elapsed() >= LOOK_UP {
            looked_up = Instant::now();
            store.client.addresses.look_up();
        }
        if swept.is_none_or(|swept| swept.elapsed() >= SWEEP) {
            swept = Some(Instant::now());
            store.client.checks.forget_lacks();
            let bucket = &store.client.bucket;
            match partial::sweep(&store) {
                Ok(0) => {}
                Ok(removed) => {
                    let uploads = if removed == 1 { "upload" } else { "uploads" };
                    log::info!("bucket {bucket}: {removed} abandoned partial {uploads} removed");
                }
                Err(error) => {
                    log::warn!("bucket {bucket}: cannot remove abandoned partial uploads: {error}");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn builder() -> S3StoreBuilder {
        S3Store::builder("http://127.0.0.1:9", "bucket").credentials("key", "secret-of-it")
    }

    #[test]
    fn unusable_settings_are_refused() {
        for (what, changed) in [
            ("bucket", S3Store::builder("http://127.0.0.1:9", "a/b")),
            ("region", builder().region("a b")),
            ("keys", builder().credentials("key", "a\nb")),
            ("role", builder().web_identity("", "/dev/null")),
            ("endpoint", builder().web_identity("arn:x", "/dev/null").sts_endpoint("x")),
            ("parts", builder().part_size(1)),
            ("parts", builder().memory(PART)),
            ("lease", builder().lease(Duration::ZERO)),
            ("object header", builder().object_header("x-amz-date", "1")),
            ("object header", builder().object_header("x-amz-acl", "a\nb")),
            ("object header", builder().object_header("x-amz-acl", "")),
            ("CA", S3Store::builder("https://127.0.0.1:9", "b").ca_pem("x")),
        ] {
            let error = changed.build().err().unwrap();
            assert!(error.to_string().contains(what), "{error}");
        }
    }

    #[test]
    fn no_secret_is_shown() {
        let builder = builder().session_token("token-of-it");
        let shown = format!("{builder:?} {:?}", builder.clone().build().unwrap());
        assert!(!shown.contains("-of-it") && shown.contains("bucket"), "{shown}");
    }

    #[test]
    fn storage_prefixes_are_validated() {
        let store = builder().build().unwrap();
        assert!(store.storage("").is_ok() && store.storage("/a/b/").is_ok());
        for prefix in ["a//b", "../a", ".ftp-server"] {
            assert!(store.storage(prefix).is_err(), "{prefix}");
        }
    }
}
