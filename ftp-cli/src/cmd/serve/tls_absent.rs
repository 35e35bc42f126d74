//! What stands in for making certificates without the feature `tls`.

/// Refuses.
///
/// # Errors
///
/// Always.
pub(crate) fn self_signed(_names: Vec<String>) -> Result<String, String> {
    Err("built without TLS".to_owned())
}
