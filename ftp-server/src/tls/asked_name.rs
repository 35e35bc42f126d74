//! The server name of a handshake (RFC 6066 §3).

use ftp_proto::HostName;

/// The server name that a client sent in the handshake of its control connection.
#[derive(Clone, Debug, Eq, PartialEq)]
#[cfg_attr(not(feature = "tls"), expect(dead_code, reason = "there are no handshakes"))]
pub(crate) enum AskedName {
    /// No name.
    Missing,
    /// A name that no host can have, such as one with an underscore.
    Foreign,
    /// A host name.
    Host(HostName),
}

#[cfg(feature = "tls")]
impl AskedName {
    /// Returns the name in a `ClientHello`. Ignores a final dot, which RFC 6066 forbids.
    pub(super) fn of(name: Option<&str>) -> Self {
        let Some(name) = name else { return Self::Missing };
        let name = name.strip_suffix('.').unwrap_or(name);
        HostName::parse(name.as_bytes()).map_or(Self::Foreign, Self::Host)
    }
}

#[cfg(all(test, feature = "tls"))]
mod tests {
    use super::*;

    #[test]
    fn requested_server_names_are_classified() {
        let host = |text: &str| AskedName::Host(HostName::parse(text.as_bytes()).unwrap());
        for (name, want) in [
            (None, AskedName::Missing),
            (Some("A.example.org"), host("a.example.org")),
            (Some("a.example.org."), host("a.example.org")),
            (Some("a.example.org.."), AskedName::Foreign),
            (Some("ftp_a.example.org"), AskedName::Foreign),
            (Some("."), AskedName::Foreign),
        ] {
            assert_eq!(AskedName::of(name), want, "{name:?}");
        }
    }
}
