//! Lists all diagnoses as data: the meaning of each, the cure, and the side that can apply it.

use std::fmt;

use crate::exit::Exit;

/// Side that can apply the cure.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Party {
    /// The user of this client.
    Here,
    /// The operator of a firewall or NAT between client and server.
    Between,
    /// The operator of the server.
    Server,
}

impl Party {
    /// Returns one lower-case word for programs.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Here => "client",
            Self::Between => "network",
            Self::Server => "server",
        }
    }
}

impl fmt::Display for Party {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Here => "here",
            Self::Between => "in the network",
            Self::Server => "at the server",
        })
    }
}

/// One row of the table: everything that is reported about a diagnosis.
#[derive(Clone, Copy, Debug)]
pub(super) struct Explanation {
    /// Lower-case words joined by `-`, for programs. Part of the stable interface.
    pub(super) name: &'static str,
    /// Exit code of `doctor` if this diagnosis is the first failure.
    pub(super) exit: Exit,
    /// Meaning, in full sentences.
    pub(super) means: &'static str,
    pub(super) side: Party,
    /// Cure on that side: an imperative without a final full stop.
    pub(super) cure: &'static str,
}

/// Defines the enum and the table together, so that neither lacks an entry.
macro_rules! diagnoses {
    ($($variant:ident $name:literal $exit:ident, $means:literal, $side:ident: $cure:literal;)*) => {
        /// A problem that doctor can find.
        #[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
        pub(super) enum Diagnosis { $($variant),* }

        impl Diagnosis {
            /// All diagnoses, in the order of the checks that find them.
            #[cfg(test)]
            pub(super) const ALL: &[Self] = &[$(Self::$variant),*];

            /// Returns the row of the table.
            pub(super) const fn row(self) -> Explanation {
                match self {
                    $(Self::$variant => Explanation {
                        name: $name,
                        exit: Exit::$exit,
                        means: $means,
                        side: Party::$side,
                        cure: $cure,
                    }),*
                }
            }
        }
    };
}

diagnoses! {
    NameUnknown "name-unknown" Network,
        "The resolver returned no address for this name, so clients on this computer cannot find the server.",
        Here: "check the spelling of the name; if it is right, ask the resolver directly: getent hosts NAME";
    NameUnanswered "name-unanswered" Timeout,
        "The resolver of this computer did not answer in time. This says nothing about the server.",
        Here: "repair the resolver (/etc/resolv.conf), or use the server's address instead of its name";
    ResolverFailed "resolver-failed" Network,
        "The resolver of this computer failed, so it is unknown whether the name has an address. This says nothing about the server.",
        Here: "try again; if it keeps failing, check the network connection and the resolver (/etc/resolv.conf), or use the server's address instead of its name";
    NoAddressOfFamily "no-address-of-family" Network,
        "The server has addresses, but none of the requested family (IPv4 or IPv6).",
        Here: "remove -4, -6 or --bind";
    LocalAddressMissing "local-address-missing" Network,
        "This computer does not have the address of --bind, so it cannot open a connection from there.",
        Here: "use an address of this computer (the command \"ip address\" lists them), or remove --bind";
    ProxyUnreachable "proxy-unreachable" Network,
        "The proxy cannot be reached, so nothing is known about the server.",
        Here: "check the host and port of the proxy, or use --proxy none to connect directly";
    ProxySilent "proxy-silent" Timeout,
        "The proxy accepts the connection, but does not answer in time: it speaks another protocol, is overloaded, or gets no answer from the server.",
        Between: "check that the scheme of the proxy's URL is right (socks5, socks5h, http or ftp), and check the proxy's log";
    NotAProxy "not-a-proxy" Network,
        "The program that listens at the proxy's address does not speak the protocol of the proxy's URL.",
        Here: "use the scheme of the proxy's protocol: socks5, socks5h, http or ftp";
    ProxyLogin "proxy-login" Network,
        "The proxy demands a user and password, or refuses the given ones.",
        Here: "write the user and password into the proxy's URL, preferably in an environment variable: ftp_proxy=socks5://USER:PASSWORD@HOST";
    ProxyRefuses "proxy-refuses" Network,
        "The proxy does not connect to the server: its rules forbid that, or it cannot reach the server.",
        Between: "let the proxy connect to the server's port; an HTTP proxy must allow CONNECT to it";
    ProxyBlocksData "proxy-blocks-data" Data,
        "The proxy carries the control connection, but opens no data connections: its rules allow only some ports.",
        Between: "let the proxy connect to the server's passive ports; an HTTP proxy must allow CONNECT to them";
    PortClosed "port-closed" Network,
        "The server's computer answers, but no program listens on this port. A firewall that rejects connections looks the same.",
        Server: "start the FTP server, or use the port that it listens on";
    HostSilent "host-silent" Timeout,
        "No answer: the server's computer is off, the address is wrong, or a firewall drops the packets.",
        Between: "check that the server's computer is on, and allow TCP connections to this port";
    HostUnreachable "host-unreachable" Network,
        "The network reports that there is no route to this address.",
        Between: "repair the route, on this computer or on the router that sent the message";
    AddressDead "address-dead" Network,
        "Some addresses of this name do not work. Clients that try such an address first are slow, or fail.",
        Server: "make the server listen on every address of its name, or remove the dead addresses from DNS";
    SshOnPort "ssh-on-port" Protocol,
        "An SSH server listens on this port, not an FTP server. SFTP is a part of SSH, and unrelated to FTP.",
        Here: "use an SFTP program (sftp, scp) for this port, or use the port of the FTP server";
    HttpOnPort "http-on-port" Protocol,
        "A web server listens on this port, not an FTP server.",
        Here: "use a web client (curl, wget) with http:// or https://, or use the port of the FTP server";
    TlsOnPlainPort "tls-on-plain-port" Tls,
        "The server expects TLS from the first byte on this port (implicit TLS), but with this URL the client starts unencrypted.",
        Here: "use ftps:// with this port";
    PlainOnTlsPort "plain-on-tls-port" Tls,
        "The server starts unencrypted on this port, but ftps:// starts with TLS.",
        Here: "use ftpes://, which switches to TLS before anything secret is sent";
    OtherProtocol "other-protocol" Protocol,
        "The program that listens on this port is not an FTP server.",
        Here: "find out which program listens on the port, and use the port of the FTP server";
    GreetingNever "greeting-never" Timeout,
        "The server accepts the connection, but sends no complete greeting. The server may hang, have no free process, or wait for a name server. Or a proxy lost the connection.",
        Server: "check the server's log and load, and switch off its lookups of client names (vsftpd: reverse_lookup_enable=NO, ProFTPD: UseReverseDNS off, Pure-FTPd: -H)";
    GreetingLate "greeting-late" Timeout,
        "The greeting is late, most often because the server looks up the client's name and gets no answer. Impatient clients give up.",
        Server: "switch off lookups of client names (vsftpd: reverse_lookup_enable=NO, ProFTPD: UseReverseDNS off, Pure-FTPd: -H), or repair the server's resolver";
    ClosedUnspoken "closed-unspoken" Network,
        "The server accepts the connection and closes it without a greeting. It may have banned this client's address, or may not allow it.",
        Server: "look for this client's address in the ban and deny lists (fail2ban, hosts.deny) and in the server's log";
    GreetingRefused "greeting-refused" Temporary,
        "The server is running, but it refuses new sessions at the moment.",
        Server: "wait, or raise the server's session limits (total and per address)";
    TlsNotOffered "tls-not-offered" Tls,
        "The URL requires TLS, but the server does not offer it.",
        Server: "install a certificate and switch TLS on; until then only ftp:// works, without any protection";
    TlsHandshake "tls-handshake" Tls,
        "The server offers TLS, but the handshake fails: the server is too old, or its TLS is not fully configured.",
        Server: "check the server's TLS log, check that the server can read its certificate and key, and enable TLS 1.2 or 1.3";
    CertificateExpired "certificate-expired" Tls,
        "The certificate has expired, so clients that verify it refuse the connection.",
        Server: "renew the certificate if you have not done so yet, then reload the server";
    CertificateNotYetValid "certificate-not-yet-valid" Tls,
        "The certificate is not valid yet: it is new, or the clock of this computer or of the certificate's issuer is wrong.",
        Server: "correct the wrong clock, or wait until the certificate is valid; if its start date is wrong, issue a new certificate";
    CertificateSelfSigned "certificate-self-signed" Tls,
        "The certificate is self-signed, so the server's identity cannot be verified.",
        Here: "ask the server's operator to confirm the pin, by phone for example, then use it with --pin; or install a certificate that a trusted CA signed";
    CertificateUnknownIssuer "certificate-unknown-issuer" Tls,
        "This computer does not trust the CA that issued the certificate, or the server does not send the whole certificate chain.",
        Server: "send the whole chain (fullchain.pem); if a private CA issued the certificate, clients need --ca-file";
    CertificateWrongName "certificate-wrong-name" Tls,
        "The certificate is valid for other names, not for the one in the URL.",
        Here: "use a name that the certificate contains, or install a certificate for this name";
    CertificateNotPinned "certificate-not-pinned" Tls,
        "The server's key does not match --pin: the server has a new key, or the connection is intercepted.",
        Server: "ask the server's operator to confirm the new pin, by phone for example, before you use it";
    CertificateEndsSoon "certificate-ends-soon" Tls,
        "The certificate expires within two weeks. After that, clients that verify it refuse the connection.",
        Server: "renew the certificate, then reload the server";
    CertificateUnusable "certificate-unusable" Tls,
        "The certificate is not a valid server certificate.",
        Server: "issue a new certificate with extended key usage serverAuth, and with an ECDSA key or an RSA key of at least 2048 bits";
    TlsBroken "tls-broken" Tls,
        "The server lists AUTH TLS among its features but refuses the command, or does not answer it properly.",
        Server: "check the server's TLS log, give the server a certificate and a key that it can read, and switch TLS on";
    TlsStalls "tls-stalls" Timeout,
        "The server agrees to TLS, but the handshake stops. Either the path loses the large packets that a handshake needs (MTU), or the server hangs.",
        Between: "let ICMP \"fragmentation needed\" pass, or limit the MSS of TCP connections on the router; if the path is good, check the server's TLS log";
    ProtectionRefused "protection-refused" Tls,
        "The server encrypts commands, but refuses to encrypt files and listings (PROT P).",
        Server: "allow protected data connections (PBSZ 0, PROT P), or accept unencrypted data with --tls-data clear";
    ReuseDemanded "reuse-demanded" Tls,
        "The server requires data connections to resume the TLS session of the control connection. Clients that cannot do this (many libraries) fail with 522 or 425.",
        Server: "if other clients cannot resume sessions, switch the requirement off (vsftpd: require_ssl_reuse=NO, ProFTPD: TLSOptions NoSessionReuseRequired, serve: tls.session_reuse=prefer); ftp-cli can resume them";
    DataTls "data-tls" Tls,
        "TLS works on the control connection, but fails on data connections.",
        Server: "check the server's TLS log; a server that requires session resumption must also accept resumed sessions (vsftpd before 3.0.5 cannot do this with TLS 1.3)";
    NoCloseNotify "no-close-notify" Tls,
        "The server ends encrypted data without close_notify, so clients cannot tell a truncated file from a whole one.",
        Server: "update the server; this client rejects files that may be truncated";
    ClearPassword "clear-password" Tls,
        "The password and all files are sent unencrypted: anyone on the network path can read them.",
        Here: "use ftpes:// if the check \"tls\" finds that the server offers TLS; if not, ask the server's operator for TLS";
    LoginRefused "login-refused" Login,
        "The server rejects this user name or password.",
        Here: "check the user name, the password and where the password comes from; some servers reject a correct password if the user lacks a valid shell or home, and log this";
    LoginNeedsTls "login-needs-tls" Tls,
        "The server accepts logins only over TLS.",
        Here: "use ftpes:// instead of ftp://";
    LoginTlsMissing "login-tls-missing" Tls,
        "The server accepts logins only over TLS, but refuses TLS, so nobody can log in.",
        Server: "install a certificate and switch TLS on, or allow logins without TLS";
    LoginFailed "login-failed" Temporary,
        "The login failed for a temporary reason, according to the server's reply.",
        Server: "wait and try again; if it keeps failing, check the server's log";
    LoginAgain "login-again" Temporary,
        "The server accepted a connection or login at first, but refuses one now. It limits sessions or logins per address, or bans frequent clients.",
        Server: "wait a few minutes and run doctor again; if the server still refuses, raise the limits per address (vsftpd: max_per_ip, ProFTPD: MaxClientsPerHost, Pure-FTPd: -C, serve: limits.per_address), or look for this client's address in the ban lists";
    ClockSkew "clock-skew" Integrity,
        "The clocks of this computer and of the server differ. Programs that compare modification times (mirror, --continue, make) may skip files or transfer them again.",
        Server: "set the server's clock (NTP), and make MDTM and MLSD report UTC (vsftpd: use_localtime=NO)";
    EpsvUnsupported "epsv-unsupported" Data,
        "The server does not support EPSV (RFC 2428, 1998). PASV replaces it for IPv4; nothing replaces it for IPv6.",
        Server: "update the server or switch EPSV on; clients can avoid EPSV with --epsv never";
    EpsvBlocked "epsv-blocked" Data,
        "PASV works, but EPSV does not: a firewall or NAT that reads FTP commands to open ports understands only PASV.",
        Between: "update the FTP helper of the firewall, or open the passive ports permanently; clients can use --epsv never";
    PasvBlocked "pasv-blocked" Data,
        "EPSV works, but PASV does not: a firewall or NAT that reads FTP commands to open ports misreads PASV.",
        Between: "open the passive ports permanently; clients can use EPSV, the default";
    PasvPrivateAddress "pasv-private-address" Data,
        "The PASV reply announces an address that other networks cannot reach, such as a private one. Clients that connect to it reach nothing, or another computer; this client uses the address of the control connection, except with --passive-address reply.",
        Server: "make the server announce its public address (vsftpd: pasv_address, ProFTPD: MasqueradeAddress, Pure-FTPd: -P, serve: passive.address)";
    PasvOtherAddress "pasv-other-address" Data,
        "The PASV reply announces a host other than that of the control connection. Clients that trust the reply connect to that host; this client does so only with --passive-address reply or smart.",
        Server: "if this is not intended, make the server announce its own address (vsftpd: pasv_address, ProFTPD: MasqueradeAddress, Pure-FTPd: -P, serve: passive.address)";
    PassiveBlocked "passive-blocked" Data,
        "Connections to the server's passive ports get no answer: a firewall drops them, or the server's NAT does not forward them.",
        Server: "set a range of passive ports, and open and forward it like port 21 (vsftpd: pasv_min_port and pasv_max_port, ProFTPD: PassivePorts, Pure-FTPd: -p, serve: passive.ports)";
    PassiveClosed "passive-closed" Data,
        "Connections to the server's passive ports are rejected, by a firewall or by another computer to which a NAT forwards them.",
        Server: "open the range of passive ports, and forward it to the same computer as port 21 (vsftpd: pasv_min_port and pasv_max_port, ProFTPD: PassivePorts, Pure-FTPd: -p, serve: passive.ports)";
    PassiveOff "passive-off" Data,
        "The server refuses passive mode, so clients behind a NAT or firewall cannot transfer data.",
        Server: "switch passive mode on (vsftpd: pasv_enable=YES); --active works if the server can reach this computer";
    PassiveFailed "passive-failed" Temporary,
        "The server refuses passive mode for a temporary reason, according to its reply.",
        Server: "wait and try again; if it keeps failing, check the server's log";
    PassivePartly "passive-ports-partly" Data,
        "Some passive ports of the server work and others do not, so transfers fail at random. A firewall or NAT opens or forwards only part of the range.",
        Server: "open and forward the whole range, or narrow the server's range to the open ports (vsftpd: pasv_min_port and pasv_max_port, ProFTPD: PassivePorts, Pure-FTPd: -p, serve: passive.ports)";
    FewPorts "few-ports" Data,
        "The server has very few passive ports, and each port stays occupied for up to a minute after its transfer ends. Parallel transfers fail with 425.",
        Server: "widen the range of passive ports to 100 ports or more";
    ActiveBehindNat "active-behind-nat" Data,
        "Active mode cannot work from here: this computer has a private address that the server cannot reach.",
        Here: "use passive mode, the default; or forward ports from the NAT to this computer and use --active-address and --active-ports";
    EprtBlocked "eprt-blocked" Data,
        "PORT works, but EPRT does not: a firewall or NAT that reads FTP commands to open ports understands only PORT.",
        Between: "use passive mode, the default; or active mode with --eprt never";
    PortBlocked "port-blocked" Data,
        "EPRT works, but PORT does not: a firewall or NAT that reads FTP commands to open ports misreads PORT.",
        Between: "use passive mode, the default; or active mode with EPRT, which this client tries first";
    ActiveBlocked "active-blocked" Data,
        "Active mode does not work: a firewall on the network path or on this computer drops the server's connection.",
        Here: "use passive mode, the default; or set the firewall to allow connections from the server's port 20 or to the ports of --active-ports";
    MiddleboxRewrites "middlebox-rewrites" Data,
        "Active mode works from a private address, so a NAT reads the FTP commands and rewrites PORT and EPRT. This cannot work under TLS, and may break sessions.",
        Between: "use passive mode, the default; if transfers break, switch off the FTP helper of the router (ALG, nf_nat_ftp)";
    ActiveOff "active-off" Data,
        "The server refuses to connect to clients (active mode).",
        Here: "use passive mode, the default";
    ReplyNever "reply-never" Timeout,
        "The server accepts the login, then stops answering commands: it hangs, or a proxy or firewall loses the commands.",
        Server: "check the server's processes, and its log at the time of this run; if the log lacks the commands, look for a proxy or firewall on the path";
    FinalReplyNever "final-reply-never" Timeout,
        "The server does not answer the command that starts a transfer, or never confirms its end, so every transfer ends in a timeout. The server hangs, or a proxy or firewall loses the reply.",
        Server: "check the server's processes, and its log at the time of this run; if the server sent the reply (150 or 226), look for a proxy or firewall that loses it";
    BigPacketsLost "big-packets-lost" Network,
        "Small transfers work, but large ones stall: this is an MTU problem. A tunnel, VPN or PPPoE link on the path carries only smaller packets, and a firewall drops the ICMP messages that report this.",
        Between: "let ICMP \"fragmentation needed\" (IPv6: \"packet too big\") pass, or limit the MSS of TCP connections on the router (nft: tcp option maxseg size set rt mtu); to confirm the cause, set the MTU of this computer's interface to 1280 and try again";
    FewConnections "few-connections" Temporary,
        "The server accepts few connections at a time from one address, so parallel clients (-j, graphical clients) are refused.",
        Server: "raise the limit per address (vsftpd: max_per_ip, ProFTPD: MaxClientsPerHost, Pure-FTPd: -C, serve: limits.per_address), or use one connection at a time (no -j)";
    PathMissing "path-missing" Refused,
        "The login works, but the path in the URL does not exist for this user.",
        Here: "check the spelling of the path, upper and lower case included; the best command line below is for the login directory";
    MlsdBroken "mlsd-broken" Protocol,
        "The server lists MLST among its features, but refuses MLSD, or sends lines in an unknown format.",
        Server: "update the server; clients can use --listing list";
    ListingUnreadable "listing-unreadable" Protocol,
        "The server's listing has lines in an unknown format, so programs cannot read names, sizes and times.",
        Server: "configure the server to send listings in the format of ls -l, or enable MLSD";
    NoRestart "no-restart" Unsupported,
        "The server refuses REST, so interrupted transfers cannot be resumed.",
        Server: "allow REST, or update the server";
    UploadRefused "upload-refused" Refused,
        "The server does not let this user store files in the directory of --upload-dir.",
        Server: "allow this FTP user to write there, and give the server process write permission for the directory; or use another --upload-dir";
    UploadDirMissing "upload-dir-missing" Refused,
        "The directory for the test files does not exist, or this user cannot see it.",
        Here: "check the spelling of --upload-dir, or create the directory with ftp-cli mkdir";
    UploadFailed "upload-failed" Temporary,
        "An upload could not be completed. Perhaps the server lacks space or has a temporary problem.",
        Server: "check the free space of the server's disk and the user's quota";
    UploadChanged "upload-changed" Integrity,
        "The downloaded file differs from the uploaded one. The server or a device on the path changes bytes, for example line endings.",
        Server: "check that the server honours TYPE I, and that no proxy or helper changes data";
    AppendRefused "append-refused" Refused,
        "The server does not append to files (APPE). Programs that upload logs, and some clients that resume uploads, need this.",
        Server: "if clients need APPE, allow this user to append to files";
    ResumeRefused "resume-refused" Refused,
        "The server does not resume interrupted uploads.",
        Server: "to let clients resume uploads, allow REST before STOR (ProFTPD: AllowStoreRestart on)";
    RenameRefused "rename-refused" Refused,
        "The server does not let this user rename files, so other programs can see incomplete uploads under their final names.",
        Server: "if clients upload under temporary names, allow this user to rename files";
    DeleteRefused "delete-refused" Refused,
        "The server does not let this user delete files, so the test files are still there.",
        Server: "delete the test files on the server; to let doctor delete them, allow this user to delete files";
    ConnectionLost "connection-lost" Network,
        "The control connection broke during the checks, or could not be opened again.",
        Server: "check the server's log at the time of this run; if the log shows nothing, a device on the path cut the connection";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_diagnosis_has_a_unique_name_a_meaning_and_a_cure() {
        let mut names: Vec<&str> = Vec::new();
        for diagnosis in Diagnosis::ALL {
            let Explanation { name, exit, means, cure, .. } = diagnosis.row();
            assert!(!names.contains(&name), "{name} twice");
            names.push(name);
            let is_word = |char: char| char.is_ascii_lowercase() || char == '-' || char == '8';
            assert!(name.chars().all(is_word), "{name}");
            assert!(
                means.ends_with('.') && means.starts_with(char::is_uppercase),
                "{name}: {means}"
            );
            assert!(
                !cure.ends_with('.') && !cure.starts_with(char::is_uppercase),
                "{name}: {cure}"
            );
            assert_ne!(exit, Exit::Success, "{name}");
        }
    }
}
