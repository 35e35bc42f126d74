//! Replaces the creation of certificates in builds without the feature `tls`.

/// Fails, because this build has no TLS.
///
/// # Errors
///
/// Always returns a message.
pub(crate) fn self_signed(_names: Vec<String>) -> Result<String, String> {
    Err("built without TLS".to_owned())
}
