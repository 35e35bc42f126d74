//! What a server, a connection or settings exclude, as values.

use std::fmt;

/// Declares the reasons with their texts, which are also their documentation.
macro_rules! reasons {
    ($($name:ident: $text:literal,)+) => {
        /// Why a request is not possible with this server, over this connection or with these
        /// settings. `Display` explains it.
        #[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
        #[non_exhaustive]
        pub enum Unsupported {
            $(#[doc = concat!("`", $text, "`")] $name,)+
        }

        impl fmt::Display for Unsupported {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $(Self::$name => $text,)+ })
            }
        }
    };
}

reasons! {
    // The server.
    NoModificationTime: "the server does not report the modification time",
    UnknownClock: "the server's clock cannot be measured, and it may report local times, so it is \
        unknown which file is newer",
    UnknownAge: "the server's clock cannot be measured, and it may report local times, so the age of \
        the file is unknown",
    NoExistence: "the server does not report whether the file exists",
    NoSize: "the server does not report the size of the file",
    NoSizeOfCopy: "a server does not report the size of its file",
    NoDigest: "the server offers no suitable digest",
    NoCommonDigest: "the servers offer no digest in common",
    NoIdentity: "nothing identifies the server's file for a move",
    NoType: "the removal of what a listing shows without a type",
    UnknownIac: "a name with the byte 0xFF: it is not known how the server reads that; uploading a \
        directory finds out",
    NoPaths: "a move to another directory: the server takes no paths",
    OtherProtocol: "a 229 that names a protocol other than the control connection's",
    LowPort: "a data port below 1024",
    UnknownAddress: "a data connection to a server whose address is unknown",
    UnknownAddressOfCopy: "a copy to or from a server whose address is unknown",
    PasvIpv6: "PASV carries IPv4 addresses only",
    PortIpv6: "PORT carries IPv4 addresses only",
    HalfProtectedCopy: "a copy between a server with protected data connections and one without; \
        use unencrypted data (PROT C) on both",
    ProtectedCopy: "a protected copy if the connecting server lacks SSCN and the listening one lacks \
        CPSV; use unencrypted data (PROT C)",
    CopyAfterEpsvAll: "a copy between two servers after EPSV ALL",
    // The settings.
    EpsvAllActive: "EPSV ALL in active mode",
    EpsvAllWithoutEpsv: "EPSV ALL without EPSV",
    PipelineWithoutEpsv: "pipelining without EPSV",
    CompressedReuse: "compression together with a reused data connection",
    ConnectorAndAddress: "a local address or an address family together with a connector",
    ConnectorAndRule: "a rule for the passive address together with a connector",
    ConnectorAndProxy: "a proxy together with a connector",
    ActiveRelayed: "active mode through a proxy or connector",
    ProxyAndRule: "a rule for the passive address together with a proxy",
    FtpProxyAndTls: "TLS through an FTP proxy, which reads what the client sends",
    FtpProxyAndHost: "HOST through an FTP proxy",
    NameThroughProxy: "a host with an IPv6 zone or a non-ASCII name through a proxy",
    LongNameThroughSocks: "host, user or password over 255 bytes for a SOCKS5 proxy",
    // The call.
    SecondStream: "another download to a stream with bytes of the first",
    TwoLocalSides: "two local directories",
    PoolIsFull: "more connections than the pool has",
}
