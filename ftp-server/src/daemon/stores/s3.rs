//! The object stores of the configuration. The process has one client for each of them, with one
//! pool of connections and one thread that removes abandoned uploads.

mod ledger;

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, BufRead, BufReader, ErrorKind, Read};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use self::ledger::OpenLedger;
use super::super::check::Findings;
use super::super::config::{Environment, Objects, Settings, StoreSettings, key_of_store};
use super::super::logging::LOG;
use crate::daemon::{DaemonError, DaemonErrorKind};
use crate::storage::StorageResult;
use crate::{
    LocalConfig, PartialPolicy, S3Error, S3Features, S3Store, S3StoreBuilder, S3Timeouts,
    SharedState, Storage, StorageError, StorageErrorKind,
};
use ftp_proto::text::values::{in_full, shown_path, without_mark};

/// The stores by name, and the ledger.
#[derive(Default)]
pub(in crate::daemon) struct ObjectStores {
    stores: BTreeMap<String, Store>,
    ledger: Option<OpenLedger>,
}

struct Store {
    name: String,
    settings: StoreSettings,
    keys: AccountKeys,
    client: S3Store,
}

#[derive(Clone, Eq, PartialEq)]
enum AccountKeys {
    Known {
        access_key: String,
        secret_key: String,
        session_token: Option<String>,
    },
    /// The client requests keys for a role, and renews them.
    Role {
        arn: String,
        token_file: PathBuf,
    },
    /// Amazon EC2 offers the keys at this URL, or if it is empty, at the usual one.
    Instance(String),
    /// Amazon ECS or EKS offers the keys at this URI, for the token in this file.
    Container(String, Option<PathBuf>),
}

impl ObjectStores {
    /// Reads the keys of the accounts, and looks up the endpoints. Sends nothing, except requests
    /// for the first keys of roles. Stores of `former` whose settings have not changed keep their
    /// connections. They keep their keys until [`use_keys`](Self::use_keys) is called. The ledger of
    /// `former` stays; without `former`, opens the ledger.
    ///
    /// # Errors
    ///
    /// Returns `Local` if a file cannot be read, and `Network` if an endpoint has no address.
    /// Returns `Configuration` for unusable values, and `Internal` if a thread cannot be started.
    /// The message names the store. Also returns the errors of opening the ledger.
    pub(in crate::daemon) fn open(
        settings: &Settings,
        former: Option<&Self>,
    ) -> Result<Self, DaemonError> {
        let environment = settings.environment;
        let mut stores = BTreeMap::new();
        for (name, settings) in settings.stores.iter().filter(|(_, store)| !store.is_own()) {
            let known = former.and_then(|former| former.stores.get(name));
            let known = known.filter(|known| known.settings.is_same(settings));
            stores.insert(name.clone(), Store::open(name, settings, environment, known)?);
        }
        let mut stores = Self { stores, ledger: None };
        stores.ledger = match former {
            Some(former) => former.ledger.clone(),
            None => OpenLedger::open(settings, &stores)?,
        };
        Ok(stores)
    }

    /// Tests the ledger, and returns the state that this server shares with others.
    ///
    /// # Errors
    ///
    /// Returns `Network` if the ledger does not answer and the server must not start without it, or
    /// `Unsupported` if the ledger lacks an ability.
    pub(in crate::daemon) fn shared_state(&self) -> Result<Option<SharedState>, DaemonError> {
        let Some(ledger) = &self.ledger else { return Ok(None) };
        ledger.prove()?;
        Ok(Some(ledger.state.clone()))
    }

    /// Gives changed keys to the clients of the stores that `former` already had.
    pub(in crate::daemon) fn use_keys(&self, former: &Self) {
        for (name, store) in &self.stores {
            let is_known = |known: &&Store| known.settings.is_same(&store.settings);
            let known = former.stores.get(name).filter(is_known);
            if known.is_some_and(|known| known.keys != store.keys) {
                store.keys.give_to(&store.client);
                log::info!(target: LOG, "{}: new access keys are in use", key_of_store(name, ""));
            }
        }
        if let Some(ledger) = &self.ledger {
            ledger.use_keys(self);
        }
    }

    /// Returns the objects of a root as a storage. Of `config`, only the confinement, the handling
    /// of partial uploads and the limits apply.
    ///
    /// # Errors
    ///
    /// Returns `Denied` if `config` has a quota but there is no ledger, and `Io` if there is no
    /// such store. Returns `Unsupported` if sessions cannot be confined as `config` requires.
    pub(in crate::daemon) fn storage(
        &self,
        objects: &Objects,
        config: LocalConfig,
    ) -> StorageResult<Arc<dyn Storage>> {
        let failed = |kind, why: String| StorageError::caused_by(kind, io::Error::other(why));
        let Some(store) = self.get(objects) else {
            let why = format!("{objects}: no such store");
            return Err(failed(StorageErrorKind::Io, why));
        };
        let has_quota = config.quota > 0 || config.max_files > 0;
        if has_quota && self.ledger.is_none() {
            let why = format!("{objects}: quota and max_files need ledger.url");
            return Err(failed(StorageErrorKind::Denied, why));
        }
        let storage = store.client.storage(&objects.prefix)?;
        let storage = storage
            .rename_trees(store.settings.rename_directories)
            .keep_times(store.settings.keep_times)
            .keep_partials(config.partial == PartialPolicy::Resume)
            .confine(config.confine)?;
        let Some(ledger) = self.ledger.as_ref().filter(|_| has_quota) else {
            return Ok(Arc::new(storage));
        };
        let account = format!("{}/{}/{}", store.name, store.settings.bucket, objects.prefix);
        Ok(ledger.limit(storage, &account, config))
    }

    fn get(&self, objects: &Objects) -> Option<&Store> {
        let is_meant =
            |(name, store): &(&String, &Store)| objects.is_in(name, &store.settings.bucket);
        let mut found = self.stores.iter().filter(is_meant);
        let (_, only) = found.next()?;
        found.next().is_none().then_some(only)
    }

    /// Returns a warning for each token that the current user of the process cannot read. Call it
    /// after dropping privileges.
    pub(in crate::daemon) fn unreadable_tokens(&self) -> Vec<String> {
        let of = |(name, store): (&String, &Store)| store.unreadable_token(&key_of_store(name, ""));
        self.stores.iter().filter_map(of).collect()
    }

    /// For `--check`, tests each store and the ledger with test objects, and reports what they
    /// lack.
    pub(in crate::daemon) fn check(&self, findings: &mut Findings) {
        for (name, store) in &self.stores {
            let key = key_of_store(name, "");
            store.check(&key, findings);
        }
        if let Some(ledger) = &self.ledger {
            ledger.check(findings);
        }
    }
}

impl Store {
    fn open(
        name: &str,
        settings: &StoreSettings,
        environment: Environment,
        known: Option<&Self>,
    ) -> Result<Self, DaemonError> {
        let keys = AccountKeys::read(name, settings, environment, known)?;
        let settings = settings.clone();
        if let Some(Self { client, .. }) = known {
            return Ok(Self { name: name.to_owned(), settings, keys, client: client.clone() });
        }
        let builder = builder(name, &settings, &keys)?;
        let client = builder.build().map_err(|error| {
            let kind = match error {
                S3Error::Unresolved { .. } => DaemonErrorKind::Network,
                S3Error::Configuration(_) => DaemonErrorKind::Configuration,
                _ => DaemonErrorKind::Internal,
            };
            DaemonError::new(kind, format!("{}: {error}", key_of_store(name, "")))
        })?;
        Ok(Self { name: name.to_owned(), settings, keys, client })
    }

    /// Returns a message if the current user of the process cannot read the token of the role. Root
    /// may have read the token at startup, but each renewal of the keys reads the token again.
    fn unreadable_token(&self, key: &str) -> Option<String> {
        let (AccountKeys::Role { token_file, .. } | AccountKeys::Container(_, Some(token_file))) =
            &self.keys
        else {
            return None;
        };
        let error = fs::File::open(token_file).err()?;
        let what = format!("{key}: {}: cannot read the token", shown_path(token_file));
        let what_to_do = "let the system user that runs the server read the file";
        Some(format!("{what}: {}; {what_to_do}", in_full(&error)))
    }

    fn check(&self, key: &str, findings: &mut Findings) {
        let StoreSettings { endpoint, bucket, sts_endpoint, .. } = &self.settings;
        for (url, what) in
            [(endpoint, "files and their names"), (sts_endpoint, "the web identity token")]
        {
            if url.starts_with("http://") && !is_local(url) {
                findings.warn(format_args!(
                    "{key}: the server sends {what} unencrypted to {url}; use https"
                ));
            }
        }
        if let Some(unreadable) = self.unreadable_token(key) {
            return findings.fail(DaemonErrorKind::Local, unreadable);
        }
        let features = match self.client.probe() {
            Ok(features) => features,
            Err(error) => {
                let what_to_do = match (&error, &self.keys) {
                    (S3Error::NoKeys(_), AccountKeys::Instance(_)) => {
                        "check the role of the instance, and in a container its hop limit"
                    }
                    (S3Error::NoKeys(_), AccountKeys::Container(..)) => {
                        "check the role of the container"
                    }
                    (S3Error::NoKeys(_), _) => {
                        "check role_arn, web_identity_token_file and sts_endpoint"
                    }
                    _ => "check endpoint, bucket, region and keys",
                };
                let words = format!("{key}: bucket {bucket} of {endpoint}: {error}; {what_to_do}");
                return findings.fail(DaemonErrorKind::Network, words);
            }
        };
        let done = "put, get, list, delete and an upload in parts succeeded";
        findings.ok(format_args!("{key}: bucket {bucket} of {endpoint}: {done}"));
        for lack in lacks(&features) {
            findings.warn(format_args!("{key}: {lack}"));
        }
        let S3Features { conditional_writes, conditional_completion, .. } = features;
        let S3Features { conditional_copy, conditional_removal, .. } = features;
        if conditional_writes && conditional_completion && conditional_copy && conditional_removal {
            findings.ok(format_args!("{key}: the store supports conditional writes"));
        }
        if features.removes_abandoned {
            let why = "a lifecycle rule of the bucket removes incomplete uploads";
            findings.ok(format_args!("{key}: {why}"));
        }
    }
}

fn builder(
    name: &str,
    settings: &StoreSettings,
    keys: &AccountKeys,
) -> Result<S3StoreBuilder, DaemonError> {
    let mut builder = S3Store::builder(&settings.endpoint, &settings.bucket)
        .region(&settings.region)
        .path_style(settings.path_style)
        .part_size(settings.part_size)
        .memory(settings.memory)
        .lease(settings.lease)
        .timeouts(S3Timeouts::new().late(settings.late))
        .checksums(settings.checksums);
    for (name, value) in settings.object_headers.iter().filter_map(|it| it.split_once(": ")) {
        builder = builder.object_header(name, value);
    }
    builder = match keys {
        AccountKeys::Known { access_key, secret_key, session_token } => {
            let builder = builder.credentials(access_key, secret_key);
            match session_token {
                Some(token) => builder.session_token(token),
                None => builder,
            }
        }
        AccountKeys::Role { arn, token_file } => {
            let builder = builder.web_identity(arn, token_file);
            match &*settings.sts_endpoint {
                "" => builder,
                endpoint => builder.sts_endpoint(endpoint),
            }
        }
        AccountKeys::Instance(endpoint) => builder.instance_keys(endpoint),
        AccountKeys::Container(uri, token_file) => builder.container_keys(uri, token_file.clone()),
    };
    if let Some(path) = &settings.ca_file {
        builder = builder.ca_pem(pem(&key_of_store(name, "ca_file"), path)?);
    }
    Ok(builder)
}

/// Reads the CAs in the setting `key`.
fn pem(key: &str, path: &Path) -> Result<Vec<u8>, DaemonError> {
    fs::read(path)
        .map_err(|error| DaemonError::local(format_args!("{key}: {}", shown_path(path)), &error))
}

/// Returns a message about the effects of each missing ability.
fn lacks(features: &S3Features) -> impl Iterator<Item = &'static str> {
    let has_parts = features.conditional_completion && features.part_copies;
    [
        (
            features.conditional_writes,
            "the store does not check If-Match and If-None-Match: on two servers, two clients that store one \
             name at once both succeed, and two can resume one upload; a request without a response can replace \
             newer bytes once `late` is over; use one server for this bucket",
        ),
        (
            features.conditional_completion,
            "the store does not check conditions of CompleteMultipartUpload: if two clients of two servers \
             store one new name at once, in parts, both succeed, and APPE can lose what another server stores at \
             the same moment",
        ),
        (
            features.conditional_copy || has_parts,
            "the store does not check conditions of CopyObject: RNTO can lose a file that another server \
             stores at the same moment, and MFMT fails with 502; use one server for this bucket",
        ),
        (
            features.conditional_copy || !has_parts,
            "the store does not check conditions of CopyObject: RNTO and MFMT copy in parts, with three \
             requests instead of one",
        ),
        (
            features.conditional_removal,
            "the store does not check conditions of DeleteObject: RNTO, DELE and RMD can lose a file that \
             another server stores at the same moment; use one server for this bucket",
        ),
        (
            !features.refuses_conditions,
            "the store refuses requests with conditions: the server looks at the object before each of them, \
             and sends it without a condition",
        ),
        (features.copies, "the store lacks CopyObject: RNTO and MFMT fail"),
        (
            features.part_copies,
            "the store lacks UploadPartCopy: APPE and REST before STOR fail for existing files",
        ),
        (
            features.removes_abandoned,
            "the bucket has no lifecycle rule AbortIncompleteMultipartUpload: each hour, the server removes \
             partial uploads that are older than 12 hours; add the rule for those that the server cannot find",
        ),
        (
            features.removes_old_versions,
            "the bucket keeps old versions: each upload leaves up to 3 of the server's own objects, and each \
             login and lease with a ledger in this bucket one more; add a lifecycle rule \
             NoncurrentVersionExpiration for .ftp-server/",
        ),
    ]
    .into_iter()
    .filter_map(|(is_there, lack)| (!is_there).then_some(lack))
}

/// Returns whether an endpoint is on this computer.
fn is_local(endpoint: &str) -> bool {
    let rest = endpoint.trim_start_matches("http://");
    let host = match rest.strip_prefix('[') {
        Some(bracketed) => bracketed.split(']').next(),
        None => rest.split([':', '/']).next(),
    };
    let host = host.unwrap_or_default();
    let is_loopback = |address: IpAddr| address.to_canonical().is_loopback();
    host.eq_ignore_ascii_case("localhost") || host.parse().is_ok_and(is_loopback)
}

/// Returns the secret in the first line of a file.
fn first_line(key: &str, path: &Path) -> Result<String, DaemonError> {
    let shown = shown_path(path);
    let refused = |why: &str| DaemonError::configuration(format!("{key}: {shown}: {why}"));
    let failed = |error: io::Error| DaemonError::local(format_args!("{key}: {shown}"), &error);
    let mut line = Vec::new();
    let file = fs::File::open(path).map_err(failed)?;
    BufReader::new(file.take(LONGEST_SECRET + 1)).read_until(b'\n', &mut line).map_err(failed)?;
    if line.trim_ascii_end().len() as u64 > LONGEST_SECRET {
        return Err(refused("line too long for a secret: expected at most 4096 bytes"));
    }
    let text = str::from_utf8(without_mark(&line)).map(str::trim).unwrap_or_default();
    match !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        true => Ok(text.to_owned()),
        false if without_mark(&line).trim_ascii().is_empty() => {
            Err(refused("expected a secret, but the line is empty or missing"))
        }
        false => Err(refused("expected printable ASCII without spaces in the first line")),
    }
}

/// The environment variable with the file whose token a container sends for its keys.
const CONTAINER_TOKEN: &str = "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE";

/// Longest line of a secret, in bytes; a longer one means the wrong file.
const LONGEST_SECRET: u64 = 4_096;

impl AccountKeys {
    /// Replaces the keys of a client, unless it renews them itself.
    fn give_to(&self, client: &S3Store) {
        if let Self::Known { access_key, secret_key, session_token } = self.clone() {
            client.set_credentials(access_key, secret_key, session_token);
        }
    }

    /// Reads the keys from files or from the environment. If the current user cannot read a file
    /// that root read at startup, the known keys stay.
    fn read(
        name: &str,
        settings: &StoreSettings,
        environment: Environment,
        known: Option<&Store>,
    ) -> Result<Self, DaemonError> {
        let StoreSettings { access_key, secret_key_file, session_token_file, .. } = settings;
        if let Some(token_file) = &settings.web_identity_token_file {
            let (arn, token_file) = (settings.role_arn.clone(), token_file.clone());
            return Ok(Self::Role { arn, token_file });
        }
        if settings.instance_keys {
            let endpoint = environment.get("AWS_EC2_METADATA_SERVICE_ENDPOINT");
            let endpoint = endpoint.and_then(|endpoint| endpoint.into_string().ok());
            return Ok(Self::Instance(endpoint.unwrap_or_default()));
        }
        let Some(secret) = secret_key_file else {
            return Self::of_environment(name, environment);
        };
        let files = [Some(secret), session_token_file.as_ref()];
        let is_denied = |path: &Path| {
            fs::File::open(path).is_err_and(|error| error.kind() == ErrorKind::PermissionDenied)
        };
        if let Some(known) = known
            && let Some(denied) = files.into_iter().flatten().find(|path| is_denied(path))
        {
            let (key, path) = (key_of_store(name, ""), shown_path(denied));
            log::warn!(target: LOG, "{key}: cannot read {path} again; the former keys stay in use");
            return Ok(known.keys.clone());
        }
        let read = |key: &str, path: &Path| first_line(&key_of_store(name, key), path);
        let token = session_token_file.as_deref().map(|path| read("session_token_file", path));
        Ok(Self::Known {
            access_key: access_key.clone(),
            secret_key: read("secret_key_file", secret)?,
            session_token: token.transpose()?,
        })
    }

    fn of_environment(name: &str, environment: Environment) -> Result<Self, DaemonError> {
        let value = |name: &str| environment.get(name)?.into_string().ok();
        if let (Some(access_key), Some(secret_key)) =
            (value("AWS_ACCESS_KEY_ID"), value("AWS_SECRET_ACCESS_KEY"))
        {
            let session_token = value("AWS_SESSION_TOKEN");
            return Ok(Self::Known { access_key, secret_key, session_token });
        }
        if let (Some(arn), Some(file)) =
            (value("AWS_ROLE_ARN"), value("AWS_WEB_IDENTITY_TOKEN_FILE"))
        {
            return Ok(Self::Role { arn, token_file: file.into() });
        }
        let of_container = ["RELATIVE", "FULL"];
        let mut uris =
            of_container.map(|it| format!("AWS_CONTAINER_CREDENTIALS_{it}_URI")).into_iter();
        match uris.find_map(|name| value(&name)) {
            Some(uri) => Ok(Self::Container(uri, value(CONTAINER_TOKEN).map(PathBuf::from))),
            None => Err(DaemonError::configuration(format!(
                "{}: no access keys: set access_key and secret_key_file, role_arn or instance_keys, or \
                 AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment",
                key_of_store(name, "")
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_endpoints_count_as_local() {
        for (endpoint, want) in [
            ("http://127.0.0.1:9000", true),
            ("http://127.9.9.9", true),
            ("http://localhost", true),
            ("http://LOCALHOST:9000/", true),
            ("http://[::1]:9000", true),
            ("http://[::ffff:127.0.0.1]", true),
            ("http://127.example.org", false),
            ("http://127.0.0.1.example.org:9000", false),
            ("http://localhost.example.org", false),
            ("http://[2001:db8::1]:9000", false),
            ("http://10.0.0.1", false),
        ] {
            assert_eq!(is_local(endpoint), want, "{endpoint}");
        }
    }
}
