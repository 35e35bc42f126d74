//! The cryptography that TLS is made of.

use std::sync::{Arc, OnceLock};

use rustls::crypto::{CryptoProvider, ring};

/// What the whole process has of it is nobody's choice here.
pub(super) fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    Arc::clone(PROVIDER.get_or_init(|| Arc::new(ring::default_provider())))
}
