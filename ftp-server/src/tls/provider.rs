//! The cryptographic provider of TLS.

use std::sync::{Arc, OnceLock};

use rustls::crypto::{CryptoProvider, ring};

/// Returns the *ring* provider, whatever the default of the process is.
pub(crate) fn ring() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    Arc::clone(PROVIDER.get_or_init(|| Arc::new(ring::default_provider())))
}
