//! Tests the features of a store, because some stores silently ignore the conditions of a request.

use super::aliases;
use super::encode::base64;
use super::error::S3Error;
use super::http::{Client, Request};
use super::inner::Inner;
use super::multipart::LEAST;
use super::objects::{Condition, ID};
use super::xml;

/// The content of test objects.
const CONTENT: &[u8] = b"a probe of ftp-server";

impl Inner {
    /// Returns whether the store is proved to check the condition of this operation, or to copy
    /// parts. The first call tests it; if the test fails, the next one does so again.
    pub(super) fn test(&self, operation: &str) -> Result<bool, S3Error> {
        let Some(cell) = self.client.checks.cell(operation) else { return Ok(false) };
        if let Some(is_checked) = cell.get() {
            return Ok(*is_checked);
        }
        let is_checked = match test(self, operation) {
            Err(error) if is_unsupported(&error) => false,
            tested => tested?,
        };
        Ok(*cell.get_or_init(|| is_checked))
    }

    /// Returns whether the store is proved to check the condition of this operation.
    pub(super) fn checks(&self, operation: &str) -> bool {
        self.test(operation).unwrap_or_else(|error| {
            log::warn!("bucket {}: cannot test the store: {error}", self.client.bucket);
            false
        })
    }
}

/// The optional features of an object store.
///
/// A store that lacks some features is still usable. [`missing`](Self::missing) names the missing
/// ones.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct S3Features {
    /// The store refuses a write if its condition is not met. A condition requires that the object
    /// is new, or that it has not changed. Without this feature, two clients that create the same
    /// file at once may both succeed, two servers may resume the same upload, and a request without a
    /// response may replace newer bytes.
    pub conditional_writes: bool,
    /// The store checks such conditions when it completes a multipart upload, not only when it
    /// stores an object in one request.
    pub conditional_completion: bool,
    /// The store checks such conditions on the target of a copy. Without this feature, `RNTO` and
    /// `MFMT` can lose a file that another server stores at the same moment.
    pub conditional_copy: bool,
    /// The store removes an object only if a condition is met. Without this feature, `RNTO`, `DELE`
    /// and `RMD` can lose a file that another server stores at the same moment.
    pub conditional_removal: bool,
    /// The store copies objects, which `RNTO` and `MFMT` require.
    pub copies: bool,
    /// The store copies parts of objects, which `APPE` and `REST` before `STOR` require to keep 5
    /// MiB or more of an existing file.
    pub part_copies: bool,
    /// The store refuses content whose checksum differs from the one in the request.
    pub checksums: bool,
    /// The bucket has a lifecycle rule that removes abandoned multipart uploads.
    pub removes_abandoned: bool,
    /// The bucket keeps no old versions, or a lifecycle rule removes those of the server's own
    /// objects. Otherwise each upload and each change of a ledger leaves versions for ever.
    pub removes_old_versions: bool,
}

impl S3Features {
    /// Returns the S3 names of the missing features.
    ///
    /// ```no_run
    /// # let store = ftp_server::S3Store::builder("http://127.0.0.1:8333", "bucket").build()?;
    /// for missing in store.probe()?.missing() {
    ///     eprintln!("bucket: the store lacks {missing}");
    /// }
    /// # Ok::<(), ftp_server::S3Error>(())
    /// ```
    #[must_use]
    pub fn missing(&self) -> Vec<&'static str> {
        [
            (self.conditional_writes, "conditional writes (If-Match, If-None-Match)"),
            (self.conditional_completion, "conditional CompleteMultipartUpload"),
            (self.conditional_copy, "conditional CopyObject"),
            (self.conditional_removal, "conditional DeleteObject"),
            (self.copies, "CopyObject"),
            (self.part_copies, "UploadPartCopy"),
            (self.checksums, "checks of x-amz-checksum-sha256"),
            (self.removes_abandoned, "a lifecycle rule AbortIncompleteMultipartUpload"),
            (self.removes_old_versions, "a lifecycle rule NoncurrentVersionExpiration"),
        ]
        .into_iter()
        .filter_map(|(is_there, name)| (!is_there).then_some(name))
        .collect()
    }
}

fn test(store: &Inner, operation: &str) -> Result<bool, S3Error> {
    match operation {
        "PutObject" => return Ok(keeps_conditions(store)?.is_some()),
        "DeleteObject" => return checks_removals(store),
        _ => {}
    }
    let id = Inner::unique()?;
    let key = format!("{}probe/{id}", store.hidden);
    let put = || store.client.put(&key, CONTENT, &Condition::New, &id, store.checksums);
    let tested = match operation {
        "CopyObject" => put().and_then(|tag| Ok(copies(store, &key, &tag)?.1)),
        "UploadPartCopy" => put().and_then(|tag| part_copies(store, &key, &tag)),
        _ => parts(store, &key, &id),
    };
    store.client.delete(&key, &Condition::None)?;
    tested
}

/// Tests each operation with temporary objects below the hidden prefix.
pub(super) fn probe(store: &Inner) -> Result<S3Features, S3Error> {
    let id = Inner::unique()?;
    let key = format!("{}probe/{id}", store.hidden);
    let probed = with_objects(store, &key, &id);
    for key in [key.clone(), format!("{key}-parts")] {
        let removed = store.client.delete(&key, &Condition::None);
        // The earlier error is more useful than the error of the removal.
        if probed.is_ok() {
            removed?;
        }
    }
    probed
}

/// Returns the time by the store's clock, or `None` if the store does not support conditional
/// writes.
pub(super) fn keeps_conditions(store: &Inner) -> Result<Option<i64>, S3Error> {
    let id = Inner::unique()?;
    let key = format!("{}probe/{id}", store.hidden);
    let found = conditions(store, &key, &id).and_then(|(is_kept, _)| {
        let Some(object) = store.client.head(&key)?.filter(|_| is_kept) else { return Ok(None) };
        // A store that refuses every conditional write passes the tests above, so test one that
        // must succeed.
        let condition = Condition::Is(object.tag);
        store.client.put(&key, CONTENT, &condition, &Inner::unique()?, store.checksums)?;
        Ok(Some(object.answered))
    });
    let removed = store.client.delete(&key, &Condition::None);
    found.and_then(|found| removed.map(|()| found))
}

/// Stores a new object. Returns whether the store refuses to replace the object if a condition is
/// not met, and the entity tag of the object.
fn conditions(store: &Inner, key: &str, id: &str) -> Result<(bool, String), S3Error> {
    let put = |id: &str, condition| store.client.put(key, CONTENT, &condition, id, store.checksums);
    let tag = put(id, Condition::New)?;
    // Another id, so that after a lost response the object above does not look like the result of
    // this request.
    let refused = |condition| is_refused(put(&Inner::unique()?, condition));
    let is_kept = refused(Condition::New)? && refused(Condition::Is(format!("\"{id}\"")))?;
    Ok((is_kept, tag))
}

/// Returns whether the store removes an object only if a condition is met, and then removes it.
fn checks_removals(store: &Inner) -> Result<bool, S3Error> {
    let id = Inner::unique()?;
    let key = format!("{}probe/{id}", store.hidden);
    let client = &store.client;
    let tag = client.put(&key, CONTENT, &Condition::New, &id, store.checksums)?;
    let is_refused = match client.delete(&key, &Condition::Is(format!("\"{id}\""))) {
        Err(error) if is_unsupported(&error) => Ok(false),
        done => is_refused(done),
    };
    let removed = client.delete(&key, &Condition::Is(tag));
    if removed.is_err() {
        client.delete(&key, &Condition::None)?;
    }
    Ok(is_refused? && removed.is_ok())
}

fn with_objects(store: &Inner, key: &str, id: &str) -> Result<S3Features, S3Error> {
    let client = &store.client;
    let (conditional_writes, tag) = conditions(store, key, id)?;
    match client.get_small(key, 1_024)? {
        Some((_, bytes)) if bytes == CONTENT => {}
        _ => return Err(S3Error::wrong("GetObject", "expected the stored bytes")),
    }
    let mut is_listed = false;
    store.each_key(key, |listed| {
        is_listed |= listed.key == key;
        Ok(())
    })?;
    if !is_listed {
        return Err(S3Error::wrong("ListObjectsV2", "the object that was just stored is missing"));
    }
    aliases::check(store, key)?;
    let tag = match client.head(key)? {
        Some(object) => object.tag,
        None => tag,
    };
    let conditional_completion = parts(store, &format!("{key}-parts"), id)?;
    let (copies, conditional_copy) = copies(store, key, &tag)?;
    let rules = client.setting("GetBucketLifecycleConfiguration", "lifecycle")?;
    let versioning = client.setting("GetBucketVersioning", "versioning")?;
    Ok(S3Features {
        conditional_writes,
        conditional_completion,
        conditional_copy,
        conditional_removal: checks_removals(store)?,
        copies,
        part_copies: part_copies(store, key, &tag)?,
        checksums: checksums(store, key)?,
        removes_abandoned: rules.contains("AbortIncompleteMultipartUpload"),
        removes_old_versions: xml::text(&versioning, "Status").as_deref() != Some("Enabled")
            || removes_old_versions(&rules, &store.hidden),
    })
}

impl Client {
    /// Returns a setting of the bucket, which is empty if the bucket or the store has none. An
    /// account may have access to the bucket without the right to read its settings.
    fn setting(&self, operation: &'static str, name: &str) -> Result<String, S3Error> {
        let query = vec![(name, "")];
        match self.call(&Request { operation, method: "GET", query, ..Request::default() }) {
            Ok(answer) => Ok(answer.body),
            Err(error) if error.is_missing() || matches!(error.status(), Some(403 | 405 | 501)) => {
                Ok(String::new())
            }
            Err(error) => Err(error),
        }
    }
}

/// Returns whether a lifecycle rule removes old versions of all objects with this prefix.
fn removes_old_versions(rules: &str, prefix: &str) -> bool {
    let has = |rule: &str, name| !xml::elements(rule, name).is_empty();
    xml::elements(rules, "Rule").into_iter().any(|rule| {
        let is_for_all = prefix.starts_with(&xml::text(rule, "Prefix").unwrap_or_default())
            && !["Tag", "ObjectSizeGreaterThan", "ObjectSizeLessThan"]
                .iter()
                .any(|it| has(rule, it));
        let is_on = xml::text(rule, "Status").as_deref() == Some("Enabled");
        is_on && is_for_all && has(rule, "NoncurrentVersionExpiration")
    })
}

/// Returns whether the store copies objects, and whether it checks the condition on the target.
fn copies(store: &Inner, key: &str, tag: &str) -> Result<(bool, bool), S3Error> {
    let copy = |condition: &Condition| {
        let metadata = [(ID.to_owned(), Inner::unique()?)];
        store.client.copy(key, tag, key, condition, &metadata)
    };
    let copied = copy(&Condition::None);
    let Ok(own) = copied else { return Ok((is_supported(copied.map(drop))?, false)) };
    let refuses = |condition: &Condition| match copy(condition) {
        Err(error) if is_unsupported(&error) => Ok(false),
        done => is_refused(done),
    };
    let is_checked = refuses(&Condition::New)? && refuses(&Condition::Is("\"none\"".to_owned()))?;
    Ok((true, is_checked && copy(&Condition::Is(own)).is_ok()))
}

/// Makes an object with a multipart upload. Returns whether the store then checks the conditions of
/// further uploads.
fn parts(store: &Inner, key: &str, id: &str) -> Result<bool, S3Error> {
    let client = &store.client;
    let complete = |id: &str, condition: &Condition| {
        let upload = client.create_upload(key, &[(ID.to_owned(), id.to_owned())])?;
        let part = client.upload_part(&upload, 1, b"a part");
        let done = part.and_then(|part| {
            if client.list_parts(&upload)?.is_none_or(|parts| parts.len() != 1) {
                let reason = "the part that was just stored is missing";
                return Err(S3Error::wrong("ListParts", reason));
            }
            client.complete(&upload, &[part], condition, id).map(drop)
        });
        if done.is_err() {
            client.abort_upload(&upload)?;
        }
        done
    };
    complete(id, &Condition::New)?;
    let refuses = |condition: &Condition| is_refused(complete(&Inner::unique()?, condition));
    let is_checked = refuses(&Condition::New)? && refuses(&Condition::Is(format!("\"{id}\"")))?;
    let Some(object) = client.head(key)?.filter(|_| is_checked) else { return Ok(false) };
    Ok(complete(&Inner::unique()?, &Condition::Is(object.tag)).is_ok())
}

fn part_copies(store: &Inner, key: &str, tag: &str) -> Result<bool, S3Error> {
    let client = &store.client;
    let upload = client.create_upload(&format!("{key}-copy"), &[])?;
    let copied = client.copy_part(&upload, 1, key, tag, 0..5);
    client.abort_upload(&upload)?;
    match copied {
        // A store may refuse because this object is too small. It still supports the operation.
        Err(error) if error.status() == Some(400) && LEAST > 5 => Ok(true),
        copied => is_supported(copied.map(drop)),
    }
}

/// Stores content with a wrong checksum, and returns whether the store refuses it.
fn checksums(store: &Inner, key: &str) -> Result<bool, S3Error> {
    let wrong = base64(&super::encode::sha256(b"something else"));
    let request = Request {
        operation: "PutObject",
        method: "PUT",
        key: Some(key),
        headers: vec![("x-amz-checksum-sha256", wrong)],
        body: Some(CONTENT),
        ..Request::default()
    };
    match store.client.call(&request) {
        Ok(_) => Ok(false),
        Err(error) if error.status().is_some_and(|status| status < 500) => Ok(true),
        Err(error) => Err(error),
    }
}

/// Returns whether the store refused a request because of its condition.
fn is_refused<T>(result: Result<T, S3Error>) -> Result<bool, S3Error> {
    match result {
        Ok(_) => Ok(false),
        Err(error) if error.is_precondition() => Ok(true),
        Err(error) => Err(error),
    }
}

/// Returns whether the store knows no such conditions.
fn is_unsupported(error: &S3Error) -> bool {
    let is_refusal = matches!(error.status(), Some(400 | 405 | 501));
    is_refusal && !error.is_expiry() && !error.is_transient()
}

/// Returns whether the store supports an operation.
fn is_supported(result: Result<(), S3Error>) -> Result<bool, S3Error> {
    match result {
        Ok(()) => Ok(true),
        Err(error) if matches!(error.status(), Some(405 | 501)) => Ok(false),
        Err(error) => Err(error),
    }
}
