//! The cryptography that TLS is made of.

use std::sync::{Arc, OnceLock};

use rustls::crypto::{CryptoProvider, ring};

/// That of *ring*, whatever default the process has.
pub(super) fn ring() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    Arc::clone(PROVIDER.get_or_init(|| Arc::new(ring::default_provider())))
}
