//! The keys of an object store in `[stores.NAME]`.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::forms::{
    ACCESS_KEY, BUCKET, COUNT, ENDPOINT, FILE, HEADERS, LINE, REGION, ROLE, SIZE, SWITCH, TIME,
    WAITING_TIME,
};
use super::root::{ConfiguredRoot, IS_BUILT, Objects, StoreName};
use super::row::{Origin, Origins, SetOption, Setting, hint, row, with_defaults};
use super::table::Settings;
use super::user::User;
use super::value::{TomlEntry, TomlValue};
use crate::PartialPolicy;
use crate::daemon::store_kind::{StoreKind, StoreValues};
use ftp_proto::text::toml_text::{is_bare, shown};
use ftp_proto::text::values::did_you_mean;

pub(super) const STORE_TABLES: &str = "stores";

/// Key of the table itself in `origins`.
pub(super) const ITSELF: &str = "";

/// Key of the kind, and the key that makes a table without it one of the kind `ftp`.
pub(super) const KIND: &str = "kind";
const URL: &str = "url";

/// A value whose form is known only once the kind of its store is.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum GivenValue {
    File(TomlValue),
    /// Of `--set`.
    Plain(String),
}

/// The smallest part of an upload, in bytes.
const LEAST_PART: u64 = 5 * 1024 * 1024;

const LEAST_LEASE: Duration = Duration::from_secs(2);

with_defaults! {
    /// A bucket of an object store.
    #[derive(Clone, Debug)]
    pub(crate) struct StoreSettings {
        pub(crate) endpoint: String,
        pub(crate) bucket: String,
        pub(crate) region: String = "us-east-1".to_owned(),
        /// ID of the access key. Empty: `role_arn`, or the environment, supplies the keys.
        pub(crate) access_key: String,
        pub(crate) secret_key_file: Option<PathBuf>,
        pub(crate) session_token_file: Option<PathBuf>,
        /// The name of a role. Empty: none, or the role in the environment.
        pub(crate) role_arn: String,
        pub(crate) web_identity_token_file: Option<PathBuf>,
        pub(crate) instance_keys: bool,
        /// Endpoint of STS. Empty: the endpoint of the region.
        pub(crate) sts_endpoint: String,
        pub(crate) path_style: bool = true,
        pub(crate) ca_file: Option<PathBuf>,
        /// Size of a part, and memory for all parts, in bytes.
        pub(crate) part_size: u64 = 8 * 1024 * 1024,
        pub(crate) memory: u64 = 128 * 1024 * 1024,
        pub(crate) lease: Duration = Duration::from_secs(60),
        /// Time for which a change without a response blocks its path; 0: it blocks nothing.
        pub(crate) late: Duration = Duration::from_secs(60),
        /// Maximum number of objects in a renamed directory; 0: renames of directories fail.
        pub(crate) rename_directories: usize,
        pub(crate) keep_times: bool,
        pub(crate) checksums: bool = true,
        /// Headers of each object, `NAME: VALUE`.
        pub(crate) object_headers: Vec<String>,
        /// Kind of the store; empty: see [`kind`](Self::kind).
        pub(crate) kind: String,
        /// Values of another kind than s3, which [`Settings::values_of_store`] reads.
        given: Vec<(String, GivenValue, Origin)>,
        /// Origins of all values, and of the table.
        pub(crate) origins: Origins,
    }
}

#[rustfmt::skip]
pub(crate) static STORE: &[Setting<StoreSettings>] = &[
    row!(StoreSettings, "endpoint",                ENDPOINT,     endpoint,                "URL of the store: https://HOST or https://HOST:PORT."),
    row!(StoreSettings, "bucket",                  BUCKET,       bucket,                  "Existing bucket for the files."),
    row!(StoreSettings, "region",                  REGION,       region,                  "Region of the bucket."),
    row!(StoreSettings, "access_key",              ACCESS_KEY,   access_key,              "ID of the access key (empty: use role_arn, instance_keys, or the environment variables AWS_...)."),
    row!(StoreSettings, "secret_key_file",         FILE,         secret_key_file,         "File whose first line is the secret of access_key; read before privileges are dropped."),
    row!(StoreSettings, "session_token_file",      FILE,         session_token_file,      "File with the session token of a temporary access key (empty: none)."),
    row!(StoreSettings, "role_arn",                ROLE,         role_arn,                "Role to get temporary access keys for, such as arn:aws:iam::123456789012:role/ftp."),
    row!(StoreSettings, "web_identity_token_file", FILE,         web_identity_token_file, "File with the token that proves the right to use role_arn; read again each time the keys are renewed."),
    row!(StoreSettings, "instance_keys",           SWITCH,       instance_keys,           "Use the keys that Amazon EC2 offers for the role of the instance (IMDSv2); in a container, the hop limit must be 2."),
    row!(StoreSettings, "sts_endpoint",            ENDPOINT,     sts_endpoint,            "URL of the token service that issues the keys for role_arn (empty: https://sts.REGION.amazonaws.com)."),
    row!(StoreSettings, "path_style",              SWITCH,       path_style,              "Use https://HOST/BUCKET instead of https://BUCKET.HOST."),
    row!(StoreSettings, "ca_file",                 FILE,         ca_file,                 "PEM file of the CAs that may issue the store's certificate (empty: the system's)."),
    row!(StoreSettings, "part_size",               SIZE,         part_size,               "Size of each of the first 1,000 parts of an upload, at least 5 MiB; doubled after every 1,000 parts."),
    row!(StoreSettings, "memory",                  SIZE,         memory,                  "Maximum memory for the parts of all uploads together; at least twice part_size."),
    row!(StoreSettings, "lease",                   WAITING_TIME, lease,                   "Time after which another server can resume the uploads of a dead server; at least 2 s."),
    row!(StoreSettings, "late",                    TIME,         late,                    "Time for which a change without a response blocks its path with 450, if the store does not check conditions (0: not at all)."),
    row!(StoreSettings, "rename_directories",      COUNT,        rename_directories,      "Maximum objects in a directory that clients can rename (0: they cannot rename directories)."),
    row!(StoreSettings, "keep_times",              SWITCH,       keep_times,              "Let clients set modification times; each change copies the object."),
    row!(StoreSettings, "checksums",               SWITCH,       checksums,               "Send SHA-256 checksums of files that fit in one part, for the store to check and keep."),
    row!(StoreSettings, "object_headers",          HEADERS,      object_headers,          "Headers for each stored object: \"x-amz-server-side-encryption: aws:kms\", its key, a storage class, ACL or bucket owner."),
    row!(StoreSettings, "kind",                    LINE,         kind,                    "Kind of the store: s3, ftp (another FTP server), or a kind that the program adds (empty: ftp with url, otherwise s3)."),
];

impl StoreSettings {
    /// Returns whether all values are equal, whatever their origins.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        let given = |store: &Self| {
            let mut given: Vec<_> = store
                .given
                .iter()
                .map(|(key, value, _)| (key.clone(), shown_value(value)))
                .collect();
            given.sort();
            given
        };
        super::row::are_same(STORE, [((), self)].into_iter(), [((), other)].into_iter())
            && given(self) == given(other)
    }

    pub(crate) fn kind(&self) -> &str {
        match &*self.kind {
            "" if self.given.iter().any(|(key, ..)| key == URL) => "ftp",
            "" => "s3",
            kind => kind,
        }
    }

    /// Returns whether the program must have added the kind of the store.
    pub(crate) fn is_own(&self) -> bool {
        self.kind() != "s3"
    }

    /// Returns whether a table of a file is that of such a store.
    pub(super) fn is_own_table(entries: &[TomlEntry]) -> bool {
        let of = |key: &str| entries.iter().find(|entry| entry.name == key);
        match of(KIND).map(|entry| entry.value.bare()).unwrap_or_default().as_str() {
            "" => of(URL).is_some(),
            kind => kind != "s3",
        }
    }

    /// Notes a value of another kind than s3. The last one of a key wins.
    pub(super) fn give(&mut self, key: &str, value: GivenValue, origin: Origin) {
        self.given.retain(|(other, ..)| other != key);
        self.given.push((key.to_owned(), value, origin));
    }

    /// Returns the keys of another kind than s3, with the value as TOML and its origin.
    pub(crate) fn given(&self) -> impl Iterator<Item = (&str, String, &str)> {
        self.given.iter().map(|(key, value, origin)| (&**key, shown_value(value), &*origin.shown))
    }

    /// Reads the values that the kind of the store has.
    fn read(
        &self,
        name: &str,
        kind: &dyn StoreKind,
    ) -> Result<StoreValues, Vec<(&Origin, String, String)>> {
        let (mut values, mut wrong) = (Vec::new(), Vec::new());
        for (key, value, origin) in &self.given {
            let Some(known) = kind.keys().iter().find(|known| known.name() == key) else {
                let hint = hint(key, kind.keys().iter().map(|known| known.name()));
                wrong.push((origin, key.clone(), format!("unknown key{hint}")));
                continue;
            };
            let value = match value {
                GivenValue::File(value) => value.clone(),
                GivenValue::Plain(text) => known.kind().given(text),
            };
            match known.read(&value) {
                Ok(value) => values.push((known.name(), value)),
                Err(all) => wrong.extend(all.into_iter().map(|it| (origin, key.clone(), it.why))),
            }
        }
        if wrong.is_empty() { Ok(StoreValues::new(name, values)) } else { Err(wrong) }
    }

    /// Returns each contradiction of a store of another kind than s3: the place, the key and the
    /// reason.
    fn contradictions_of_own(
        &self,
        name: &str,
        kind: Option<&dyn StoreKind>,
        known: &str,
    ) -> Vec<(String, String, String)> {
        let place = |key: &str| match self.given.iter().find(|(given, ..)| given == key) {
            Some((.., origin)) => origin.place.clone(),
            None => self
                .origins
                .place(if self.origins.get(key).is_some() { key } else { ITSELF })
                .to_owned(),
        };
        let Some(kind) = kind else {
            let key = if self.kind.is_empty() { URL } else { KIND };
            let why = format!("unknown kind \"{}\": this program has {known}", self.kind());
            return vec![(place(key), key.to_owned(), why)];
        };
        let alien =
            STORE.iter().filter(|row| row.key != KIND && self.origins.get(row.key).is_some());
        let mut wrong: Vec<(String, String, String)> = alien
            .map(|row| {
                (
                    place(row.key),
                    row.key.to_owned(),
                    format!("not a key of the kind {}", self.kind()),
                )
            })
            .collect();
        match self.read(name, kind) {
            Ok(values) => {
                let objections = kind.objections(&values).into_iter();
                wrong.extend(objections.map(|(key, why)| (place(key), key.to_owned(), why)));
            }
            Err(all) => {
                let all = all.into_iter();
                wrong.extend(all.map(|(origin, key, why)| (origin.place.clone(), key, why)));
            }
        }
        wrong
    }

    /// Returns each contradiction: the wrong key, and the reason.
    fn contradictions(&self) -> Vec<(&'static str, String)> {
        let mut wrong = Vec::new();
        for (key, value) in [("endpoint", &self.endpoint), ("bucket", &self.bucket)] {
            if value.is_empty() {
                let at = if self.origins.get(key).is_none() { ITSELF } else { key };
                wrong.push((at, format!("{key} is missing")));
            }
        }
        let mut needs = |key, is_set: bool, is_there: bool, what: &str| {
            if is_set && !is_there {
                wrong.push((key, format!("needs {what}")));
            }
        };
        let has_key = !self.access_key.is_empty();
        needs("access_key", has_key, self.secret_key_file.is_some(), "secret_key_file");
        needs("secret_key_file", self.secret_key_file.is_some(), has_key, "access_key");
        needs("session_token_file", self.session_token_file.is_some(), has_key, "access_key");
        let (has_role, token_file) = (!self.role_arn.is_empty(), &self.web_identity_token_file);
        needs("role_arn", has_role, token_file.is_some(), "web_identity_token_file");
        needs("web_identity_token_file", token_file.is_some(), has_role, "role_arn");
        // The environment may name the role.
        let has_other = has_key || self.instance_keys;
        needs("sts_endpoint", !self.sts_endpoint.is_empty(), !has_other, "role_arn");
        let remove = "remove one of them";
        if has_key && has_role {
            wrong.push(("role_arn", format!("cannot be combined with access_key; {remove}")));
        }
        if self.instance_keys && (has_key || has_role) {
            let other = if has_key { "access_key" } else { "role_arn" };
            wrong.push(("instance_keys", format!("cannot be combined with {other}; {remove}")));
        }
        if self.part_size < LEAST_PART {
            wrong.push(("part_size", "expected at least 5 MiB".to_owned()));
        }
        if self.memory < self.part_size.saturating_mul(2) {
            wrong.push(("memory", "expected at least twice part_size".to_owned()));
        }
        if self.lease < LEAST_LEASE {
            wrong.push(("lease", "expected at least 2 s".to_owned()));
        }
        wrong
    }
}

fn shown_value(value: &GivenValue) -> String {
    match value {
        GivenValue::File(value) => value.to_string(),
        GivenValue::Plain(text) => TomlValue::text(&**text).to_string(),
    }
}

/// Returns the key of a store in the settings, such as `stores.main.bucket`.
pub(crate) fn key_of_store(name: &str, key: &str) -> String {
    match key {
        ITSELF => format!("{STORE_TABLES}.{}", shown(name)),
        key => format!("{STORE_TABLES}.{}.{key}", shown(name)),
    }
}

/// Returns a message if no store can have this name.
pub(super) fn objection_to_name(name: &str) -> Option<&'static str> {
    (!is_bare(name)).then_some("invalid store name: expected letters, digits, - and _")
}

const OTHER_BUILD: &str = "this build cannot use object stores; use a build with --features s3";

impl Settings {
    pub(super) fn assign_of_store(
        &mut self,
        name: &str,
        given: &SetOption<'_>,
    ) -> Result<(), String> {
        let table = key_of_store(name, ITSELF);
        if let Some(wrong) = objection_to_name(name) {
            return Err(format!("{table}: {wrong}"));
        }
        let mut store = self.stores.get(name).cloned().unwrap_or_default();
        if store.origins.get(ITSELF).is_none() {
            store.origins.note(ITSELF, Origin::new(given.source.to_owned(), None));
        }
        if given.key != KIND && (store.is_own() || given.key == URL) {
            let origin = Origin::new(given.source.to_owned(), None);
            store.give(given.key, GivenValue::Plain(given.value.to_owned()), origin);
            self.stores.insert(name.to_owned(), store);
            return Ok(());
        }
        let row = given.row("stores.NAME", STORE.iter())?;
        row.assign(&mut store, &format!("{table}."), given)?;
        self.stores.insert(name.to_owned(), store);
        Ok(())
    }

    /// Returns the name and the settings of the store that contains the objects.
    ///
    /// # Errors
    ///
    /// Returns a message if there is no such store, or if several stores have the bucket.
    pub(super) fn store_of(&self, objects: &Objects) -> Result<(&String, &StoreSettings), String> {
        let mut found =
            self.stores.iter().filter(|(name, store)| objects.is_in(name, &store.bucket));
        match (found.next(), found.next(), &objects.store) {
            (Some(only), None, _) => Ok(only),
            (None, _, StoreName::Table(name)) => {
                let near = did_you_mean(name, self.stores.keys().map(String::as_str));
                Err(format!("unknown store \"{name}\"{near}"))
            }
            (None, _, StoreName::Bucket(bucket)) => Err(format!(
                "no store has the bucket \"{bucket}\"; add [stores.NAME] with this bucket"
            )),
            (Some((one, _)), Some((other, store)), _) => {
                let bucket = &store.bucket;
                Err(format!(
                    "the stores {one} and {other} both have the bucket \"{bucket}\": use store:{one} or \
                     store:{other}"
                ))
            }
        }
    }

    /// Returns the contradictions in the keys of stores, each with its origin.
    pub(super) fn contradictions_of_stores(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        let known: Vec<&str> =
            ["s3"].into_iter().chain(self.kinds.0.keys().map(|name| &**name)).collect();
        for (name, store) in &self.stores {
            if store.is_own() {
                let kind = self.kinds.0.get(store.kind()).map(|kind| &**kind);
                for (place, key, why) in store.contradictions_of_own(name, kind, &known.join(", "))
                {
                    wrong.push(format!("{place}: {}: {why}", key_of_store(name, &key)));
                }
                continue;
            }
            let found = match IS_BUILT {
                true => store.contradictions(),
                false => vec![(ITSELF, OTHER_BUILD.to_owned())],
            };
            for (key, why) in found {
                let place = store.origins.place(key);
                wrong.push(format!("{place}: {}: {why}", key_of_store(name, key)));
            }
        }
        wrong
    }

    /// Returns why the store of a root cannot be used, or `None` for a usable store or a directory.
    pub(super) fn objection_to_root(&self, root: &ConfiguredRoot) -> Option<String> {
        let objects = root.objects()?;
        match self.store_of(objects) {
            Ok((_, store)) if store.is_own() => None,
            found if IS_BUILT => found.err(),
            _ => Some(OTHER_BUILD.to_owned()),
        }
    }

    /// Returns the kind and the values of a store of another kind than s3, or `None` for another
    /// store and for invalid values.
    pub(crate) fn values_of_store(&self, name: &str) -> Option<(Arc<dyn StoreKind>, StoreValues)> {
        let store = self.stores.get(name).filter(|store| store.is_own())?;
        let kind = self.kinds.0.get(store.kind())?;
        Some((Arc::clone(kind), store.read(name, &**kind).ok()?))
    }

    pub(super) fn has_same_stores(&self, other: &Self) -> bool {
        let is_same =
            |((name, store), (other_name, other)): ((&String, &StoreSettings), (&String, _))| {
                name == other_name && store.is_same(other)
            };
        self.stores.len() == other.stores.len()
            && self.stores.iter().zip(&other.stores).all(is_same)
    }

    pub(super) fn objection_to_ledger(&self, objects: &Objects) -> Option<String> {
        match self.store_of(objects) {
            Ok((name, store)) if store.is_own() => {
                Some(format!("the store {name} is not an object store"))
            }
            found => found.err(),
        }
    }

    /// Returns the keys of a user that do not fit the stores of the user's roots, each with the
    /// reason.
    pub(super) fn objections_to_stores(&self, user: &User) -> Vec<(&'static str, String)> {
        let mut wrong = Vec::new();
        wrong.extend(self.objection_to_root(&user.root).map(|why| ("root", why)));
        let of_mounts = user.mounts.iter().filter_map(|mount| {
            let why = self.objection_to_root(&mount.root)?;
            Some(("mounts", format!("\"{}\": {why}", mount.path)))
        });
        wrong.extend(of_mounts);
        let is_own = |objects| self.store_of(objects).is_ok_and(|(_, store)| store.is_own());
        if let Some(objects) = user.root.objects()
            && (!self.has_ledger() || is_own(objects))
        {
            let counts = [("quota", user.quota > 0), ("max_files", user.max_files > 0)];
            let counts = counts.into_iter().filter(|(_, is_set)| *is_set);
            let why = if is_own(objects) { NEVER_COUNTED } else { NOT_COUNTED };
            wrong.extend(counts.map(|(key, _)| (key, why.to_owned())));
        }
        let publishes = user.partial == Some(PartialPolicy::Publish);
        let mut mounted = user.mounts.iter().map(|mount| &mount.root);
        let has_objects = [
            ("root", user.root.objects().is_some()),
            ("mounts", mounted.any(|root| root.objects().is_some())),
        ];
        for (key, _) in has_objects.into_iter().filter(|(_, has_objects)| *has_objects) {
            if publishes {
                wrong.push(("partial", NOT_PUBLISHED.to_owned()));
            }
            if self.hooks.has_check() {
                wrong.push((key, NOT_CHECKED.to_owned()));
            }
        }
        if publishes && self.hooks.has_check() {
            wrong.push(("partial", UNCHECKED.to_owned()));
        }
        wrong
    }
}

/// Message about a quota in an object store without a ledger.
const NOT_COUNTED: &str =
    "not available in an object store without ledger.url; set ledger.url, or use 0";

/// Message about a quota in a store of another kind than s3.
const NEVER_COUNTED: &str = "not available in a store of this kind; use 0";

/// Message about the policy `publish` in an object store.
pub(super) const NOT_PUBLISHED: &str =
    "publish is not available in object stores; use resume or discard";

/// Message about `hooks.check` and an object store, whose uploads no program can read first.
pub(super) const NOT_CHECKED: &str =
    "hooks.check cannot read uploads to an object store; use a directory";

/// Message about `hooks.check` and the policy `publish`.
pub(super) const UNCHECKED: &str =
    "publish gives unchecked bytes their name, but hooks.check is set; use resume or discard";

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the contradictions of these settings and of a store `main` with the bucket `files`.
    fn found(assignments: &[&str]) -> String {
        let mut settings = Settings::default();
        let store = ["stores.main.endpoint=https://s3.example.org", "stores.main.bucket=files"];
        for assignment in store.iter().chain(assignments) {
            settings.assign(assignment).unwrap();
        }
        settings.contradictions().join("\n")
    }

    #[test]
    #[cfg(all(feature = "s3", feature = "redis"))]
    fn what_cannot_be_checked_is_refused_hf_20() {
        let check = "hooks.check=[\"/bin/true\"]";
        for (more, want) in [
            (&[][..], "users.a.root: hooks.check cannot read uploads to an object store"),
            (&["users.a.root=/a"], ""),
            (&["users.a.root=/a", "transfer.partial=publish"], "transfer.partial: publish gives"),
            (&["users.a.root=/a", "users.a.partial=publish"], "users.a.partial: publish gives"),
            (
                &["users.a.root=/a", "users.a.mounts={ '/b' = 'store:main/b' }"],
                "users.a.mounts: hooks.check cannot read uploads to an object store",
            ),
        ] {
            let found = found(&[&USER[..], &[check], more].concat());
            assert_eq!(found.is_empty(), want.is_empty(), "{more:?}: {found}");
            assert!(found.contains(want), "{more:?}: {found}");
        }
    }

    /// A user whose root names a store.
    const USER: [&str; 2] = [
        "users.a.password=$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5",
        "users.a.root=store:main/%u",
    ];

    #[test]
    #[cfg(all(feature = "s3", feature = "redis"))]
    fn settings_that_need_each_other_are_required_together() {
        assert_eq!(found(&USER), "");
        let keys = ["stores.main.access_key=k", "stores.main.secret_key_file=/s"];
        assert_eq!(found(&keys), "");
        for (more, want) in [
            (&["stores.main.bucket="][..], "--set: stores.main.bucket: bucket is missing"),
            (&["stores.b.bucket=b"], "--set: stores.b: endpoint is missing"),
            (&keys[..1], "--set: stores.main.access_key: needs secret_key_file"),
            (&keys[1..], "--set: stores.main.secret_key_file: needs access_key"),
            (&["stores.main.session_token_file=/t"], "session_token_file: needs access_key"),
            (&["stores.main.role_arn=r"], "role_arn: needs web_identity_token_file"),
            (&["stores.main.web_identity_token_file=/t"], "token_file: needs role_arn"),
            (
                &[keys[0], keys[1], "stores.main.sts_endpoint=https://sts"],
                "stores.main.sts_endpoint: needs role_arn",
            ),
            (
                &[
                    keys[0],
                    keys[1],
                    "stores.main.role_arn=r",
                    "stores.main.web_identity_token_file=/t",
                ],
                "stores.main.role_arn: cannot be combined with access_key",
            ),
            (
                &[keys[0], keys[1], "stores.main.instance_keys=true"],
                "stores.main.instance_keys: cannot be combined with access_key",
            ),
            (
                &["stores.main.instance_keys=true", "stores.main.sts_endpoint=https://sts"],
                "stores.main.sts_endpoint: needs role_arn",
            ),
            (&["stores.main.part_size=1 MiB"], "stores.main.part_size: expected at least 5 MiB"),
            (&["stores.main.memory=15 MiB"], "stores.main.memory: expected at least twice"),
            (&["stores.main.lease=1 s"], "stores.main.lease: expected at least 2 s"),
            (
                &["anonymous.root=store:mian"],
                "anonymous.root: unknown store \"mian\"; did you mean main?",
            ),
            (&["anonymous.root=s3://other/x"], "no store has the bucket \"other\""),
            (
                &[
                    "anonymous.root=s3://files",
                    "stores.b.endpoint=http://h",
                    "stores.b.bucket=files",
                ],
                "the stores b and main both have the bucket \"files\": use store:b or store:main",
            ),
            (
                &["anonymous.root=s3://files", "anonymous.quota=1"],
                "anonymous.quota: not available in an object store without ledger.url; set ledger.url, or use 0",
            ),
            (&[USER[0], USER[1], "users.a.max_files=1"], "users.a.max_files: not available"),
            (&[USER[0], USER[1], "users.a.partial=publish"], "users.a.partial: publish is not"),
            (&["transfer.partial=publish"], "transfer.partial: publish is not available"),
            (&[USER[0], "users.a.root=store:x/%u"], "users.a.root: unknown store \"x\""),
            (
                &[USER[0], USER[1], "users.a.mounts={ '/pub' = '/srv', '/x' = 'store:x' }"],
                "users.a.mounts: \"/x\": unknown store \"x\"",
            ),
            (&["hosts.h.root=s3://x"], "hosts.h.root: no store has the bucket \"x\""),
            (
                &[USER[0], "users.a.root=/srv", "users.a.quota=5", "hosts.h.root=store:main/%u"],
                "hosts.h.root: quota of user a: not available in an object store",
            ),
            (
                &[
                    "users.a/b.password=$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5",
                    "users.a/b.root=store:main/%u",
                ],
                "users.\"a/b\".root: this name cannot replace %u: it contains /, begins with ., or makes an invalid prefix; rename the user or remove %u",
            ),
        ] {
            let found = found(more);
            assert!(found.contains(want), "{more:?}: {found}");
        }
    }

    #[test]
    #[cfg(not(all(feature = "s3", feature = "redis")))]
    fn object_stores_need_a_build_with_s3() {
        let want = "this build cannot use object stores; use a build with --features s3";
        assert_eq!(
            found(&USER),
            format!("--set: stores.main: {want}\n--set: users.a.root: {want}")
        );
        assert!(found(&["anonymous.root=s3://files"]).contains("anonymous.root: this build"));
        assert!(found(&["hosts.h.root=s3://files"]).contains("hosts.h.root: this build"));
    }

    #[test]
    fn set_refuses_unknown_store_keys_and_invalid_names() {
        for (assignment, want) in [
            ("stores.main.buckets=x", "unknown setting stores.NAME.buckets; did you mean bucket?"),
            (
                "stores.main.colour=x",
                "unknown setting stores.NAME.colour: expected endpoint, bucket",
            ),
            ("stores.a b.bucket=x", "stores.\"a b\": invalid store name"),
            ("stores.main.bucket=a/b", "stores.main.bucket: invalid bucket"),
        ] {
            let wrong = Settings::default().assign(assignment).unwrap_err();
            assert!(wrong.starts_with(want), "{wrong}");
        }
    }
}
