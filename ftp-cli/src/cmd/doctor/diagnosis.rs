//! What can be wrong, as data: what it means, and what to do about it on which side.

use std::fmt;

use crate::exit::Exit;

/// Who can do something about it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Party {
    /// Whoever runs this client.
    Here,
    /// Whoever runs a firewall or NAT between the two.
    Between,
    /// Whoever runs the server.
    Server,
}

impl Party {
    /// One lower-case word, for programs.
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
            Self::Between => "in the network between",
            Self::Server => "at the server",
        })
    }
}

/// One row of the table: all that is said about a diagnosis.
#[derive(Clone, Copy, Debug)]
pub(super) struct Explanation {
    /// Lower-case words joined by `-`, for programs. A contract.
    pub(super) name: &'static str,
    /// How the program ends where it stops what was asked for.
    pub(super) exit: Exit,
    /// What it means, a sentence.
    pub(super) means: &'static str,
    pub(super) side: Party,
    /// What to do on that side, a sentence.
    pub(super) cure: &'static str,
}

/// Makes the enum and the table together, so that neither has what the other lacks.
macro_rules! diagnoses {
    ($($variant:ident $name:literal $exit:ident, $means:literal, $side:ident: $cure:literal;)*) => {
        /// What can be wrong.
        #[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
        pub(super) enum Diagnosis { $($variant),* }

        impl Diagnosis {
            /// All, in the order of the checks that find them.
            #[cfg(test)]
            pub(super) const ALL: &[Self] = &[$(Self::$variant),*];

            /// All that is to be said about it.
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
        "No address is known for this name, so no client that uses this resolver finds the server.",
        Here: "look for a slip in the name; if it is right, ask the resolver by another program, such as getent hosts";
    NameUnanswered "name-unanswered" Timeout,
        "The resolver of this computer did not answer in time, which says nothing about the server.",
        Here: "repair the resolver (/etc/resolv.conf), or use the server's address instead of its name";
    NoAddressOfFamily "no-address-of-family" Network,
        "The server has addresses, but none of the kind that was asked for.",
        Here: "leave out -4, -6 or --bind";
    PortClosed "port-closed" Network,
        "The computer is there and no program listens at this port.",
        Server: "start the FTP server, or tell the port that it has; a firewall that rejects looks the same";
    HostSilent "host-silent" Timeout,
        "Nobody answered at all: the computer is off, the address is wrong, or a firewall drops what comes.",
        Between: "let TCP to this port pass to the server, and see that the computer is on";
    HostUnreachable "host-unreachable" Network,
        "The network says that there is no way to this address.",
        Between: "repair the route, from here or at the router that the message is from";
    AddressDead "address-dead" Network,
        "Some of the addresses of this name cannot be used; clients that try such a one first are slow, or fail.",
        Server: "let the server listen on every address that its name has, or take the dead ones out of the DNS";
    SshOnPort "ssh-on-port" Protocol,
        "SSH talks at this port, not FTP; SFTP is a part of SSH and has only the letters in common with FTP.",
        Here: "use an SFTP program (sftp, scp) for this port, or tell the port of the FTP server";
    HttpOnPort "http-on-port" Protocol,
        "A web server talks at this port, not an FTP server.",
        Here: "use a web client (curl, wget) with http:// or https://, or tell the port of the FTP server";
    TlsOnPlainPort "tls-on-plain-port" Tls,
        "The server waits for TLS at once at this port (implicit TLS), where the URL means one that begins unencrypted.",
        Here: "use ftps:// with this port";
    PlainOnTlsPort "plain-on-tls-port" Tls,
        "The server begins unencrypted at this port, where ftps:// means one that begins with TLS.",
        Here: "use ftpes://, which has the server switch to TLS before anything secret is sent";
    OtherProtocol "other-protocol" Protocol,
        "What talks at this port is no FTP server.",
        Here: "look which program has the port, and tell the port of the FTP server";
    GreetingNever "greeting-never" Timeout,
        "The connection stands and the server never says a word: it hangs, is out of processes, waits for a name server that does not answer, or a proxy in front of it has lost it.",
        Server: "look at the server's log and load, and switch its look-ups of client names off (vsftpd: reverse_lookup_enable=NO, ProFTPD: UseReverseDNS off, Pure-FTPd: -H)";
    GreetingLate "greeting-late" Timeout,
        "The server takes long to greet, which most often is a look-up of the client's name that nobody answers; clients with little patience give up.",
        Server: "switch look-ups of client names off (vsftpd: reverse_lookup_enable=NO, ProFTPD: UseReverseDNS off, Pure-FTPd: -H), or repair its resolver";
    ClosedUnspoken "closed-unspoken" Network,
        "The server takes the connection and closes it without a word, as one does that bans this address or refuses it by a list.",
        Server: "look for this client's address in lists of bans (fail2ban, hosts.deny) and in the server's log";
    GreetingRefused "greeting-refused" Temporary,
        "The server is there and does not want this session now, as it says itself.",
        Server: "wait, or raise its limit on sessions, in all and for each address";
    TlsNotOffered "tls-not-offered" Tls,
        "The URL demands TLS and the server does not do it.",
        Server: "switch TLS on with a certificate; until then only ftp:// works, which protects nothing";
    TlsHandshake "tls-handshake" Tls,
        "The server says that it does TLS, and the two find no way to do it together: it is too old, or not set up to the end.",
        Server: "look at its TLS log; see that the certificate and key can be read, and that TLS 1.2 or 1.3 is on";
    CertificateExpired "certificate-expired" Tls,
        "The certificate's time is over, so clients that check refuse it.",
        Server: "renew the certificate and have the server read it again; if it was renewed, the server still has the old one";
    CertificateNotYetValid "certificate-not-yet-valid" Tls,
        "The certificate's time has not begun: it is new, or one of the two clocks is wrong.",
        Server: "set the clocks of both computers, or issue the certificate again";
    CertificateSelfSigned "certificate-self-signed" Tls,
        "The certificate is self-signed, so the server's identity cannot be verified.",
        Here: "compare the pin with the server's operator out of band and use it with --pin; or have the server get a certificate that a trusted CA signed";
    CertificateUnknownIssuer "certificate-unknown-issuer" Tls,
        "The certificate is from an authority that this computer does not know, or the server leaves out the certificates in between.",
        Server: "have it send the whole chain (fullchain.pem); if a private CA signed it, name that CA with --ca-file";
    CertificateWrongName "certificate-wrong-name" Tls,
        "The certificate is for other names than the one that was asked for.",
        Here: "use a name that the certificate has; or have the server get a certificate with this one";
    CertificateNotPinned "certificate-not-pinned" Tls,
        "The server shows another key than the one that was pinned: it has a new one, or somebody is in between.",
        Server: "compare the new pin with the server's operator by another way before it is used";
    CertificateEndsSoon "certificate-ends-soon" Tls,
        "The certificate ends within two weeks, and then clients that check refuse it.",
        Server: "renew it, and have the server read it again";
    CertificateUnusable "certificate-unusable" Tls,
        "The certificate is not one that a server can show.",
        Server: "issue a new one for a server (key usage serverAuth, an RSA key of 2048 bits or an ECDSA key)";
    TlsBroken "tls-broken" Tls,
        "The server lists AUTH TLS among its features and refuses it.",
        Server: "look at its TLS log, give it a certificate and a key that it can read, and switch TLS on";
    TlsStalls "tls-stalls" Timeout,
        "The server agrees to TLS, and then the handshake stops. Its messages are large: packets of full size are lost on the way (MTU), or the server hangs.",
        Between: "let ICMP \"fragmentation needed\" pass or limit the MSS of TCP connections at the router; if the path is good, look at the server's TLS log";
    ProtectionRefused "protection-refused" Tls,
        "Commands are protected, files and listings would go unencrypted: the server refuses PROT P.",
        Server: "let it protect data connections (PBSZ 0, PROT P); --tls-data clear does without";
    ReuseDemanded "reuse-demanded" Tls,
        "The server takes a protected data connection only if it continues the TLS session of the control connection; clients that cannot (many libraries) fail with 522 or 425.",
        Server: "for such clients switch the demand off (vsftpd: require_ssl_reuse=NO, ProFTPD: TLSOptions NoSessionReuseRequired, serve: tls.session_reuse); this client meets it";
    DataTls "data-tls" Tls,
        "The data connection stands, and TLS on it fails, where TLS on the control connection works.",
        Server: "look at its TLS log; a server that demands reuse of sessions must also take resumed ones (vsftpd before 3.0.5 cannot with TLS 1.3)";
    NoCloseNotify "no-close-notify" Tls,
        "The server ends protected data without saying that it is the end, so a file that somebody cuts short looks whole.",
        Server: "update the server; this client takes no file that may have been cut";
    ClearPassword "clear-password" Tls,
        "The password goes over public networks unencrypted, and so do files: anyone on the network path reads both.",
        Here: "use ftpes:// if the check tls says that the server offers it, else ask its operator for TLS";
    LoginRefused "login-refused" Login,
        "The server does not take this user with this password.",
        Here: "check the name, the password and where it was taken from; some servers refuse a right password for a user without a valid shell or home, which their log says";
    LoginNeedsTls "login-needs-tls" Tls,
        "The server takes logins under TLS only.",
        Here: "use ftpes:// instead of ftp://";
    LoginTlsMissing "login-tls-missing" Tls,
        "The server takes logins under TLS only, and refuses TLS as well, so nobody can log in.",
        Server: "switch TLS on with a certificate, or allow logins without it";
    LoginFailed "login-failed" Temporary,
        "The login failed for a reason that may pass, as the server says itself.",
        Server: "wait and try again; look at its log if it stays so";
    LoginAgain "login-again" Temporary,
        "The server let this user in before and does not now: it bounds the sessions or logins of one address, or bans who comes often.",
        Server: "wait some minutes and examine again; raise its limits for one address (vsftpd: max_per_ip, ProFTPD: MaxClientsPerHost, Pure-FTPd: -C, serve: limits.per_address), or look for this client's address in lists of bans";
    ClockSkew "clock-skew" Integrity,
        "The clocks of the two computers differ, so that times of files mislead whatever compares them (mirror, --continue, make).",
        Server: "set its clock (NTP), and see that MDTM and MLSD tell UTC (vsftpd: use_localtime=NO)";
    EpsvUnsupported "epsv-unsupported" Data,
        "The server does not know EPSV (RFC 2428, of 1998); PASV does the same for IPv4, and nothing does it for IPv6.",
        Server: "update it, or switch EPSV on; --epsv never saves the question here";
    EpsvBlocked "epsv-blocked" Data,
        "EPSV does not get through where PASV does: a firewall or NAT in between opens ports by reading the dialogue, and knows only the older command.",
        Between: "update its FTP helper, or open the passive ports for good; here --epsv never is the way around";
    PasvBlocked "pasv-blocked" Data,
        "PASV does not get through where EPSV does: whatever is in between opens ports by reading the dialogue and misreads the older command.",
        Between: "open the passive ports for good; here the default, EPSV first, is the way around";
    PasvPrivateAddress "pasv-private-address" Data,
        "Behind PASV the server announces an address of its inner network; clients that believe it reach nothing, or somebody else's computer. This one takes the control connection's address instead.",
        Server: "have it announce its public address (vsftpd: pasv_address, ProFTPD: MasqueradeAddress, Pure-FTPd: -P, serve: passive.address)";
    PasvOtherAddress "pasv-other-address" Data,
        "Behind PASV the server announces another host than the one that was called; clients that believe it go there. This one stays with the control connection's.",
        Server: "if it is not meant so, have it announce the address that clients call (vsftpd: pasv_address, ProFTPD: MasqueradeAddress, Pure-FTPd: -P, serve: passive.address)";
    PassiveBlocked "passive-blocked" Data,
        "The server listens for data connections and nobody answers at these ports: a firewall drops them, or the NAT in front of the server does not forward them.",
        Server: "give it a range of passive ports and open and forward that range as port 21 is (vsftpd: pasv_min_port and pasv_max_port, ProFTPD: PassivePorts, Pure-FTPd: -p, serve: passive.ports)";
    PassiveClosed "passive-closed" Data,
        "The server says that it listens, and connections to these ports are rejected at once: by a firewall, or by another computer to which a NAT forwards them.",
        Server: "open and forward the range of passive ports to the computer that port 21 goes to (vsftpd: pasv_min_port and pasv_max_port, ProFTPD: PassivePorts, Pure-FTPd: -p, serve: passive.ports)";
    PassiveOff "passive-off" Data,
        "The server refuses to listen for data connections, so clients behind a NAT or firewall cannot use it.",
        Server: "switch passive mode on (vsftpd: pasv_enable=YES); --active works where the server can reach this computer";
    PassivePartly "passive-ports-partly" Data,
        "Some of the server's passive ports can be reached and others cannot, so transfers fail by chance: a firewall or NAT opens or forwards only a part of the range.",
        Server: "open and forward the whole range, or narrow the server's range to the ports that are open (vsftpd: pasv_min_port and pasv_max_port, ProFTPD: PassivePorts, Pure-FTPd: -p, serve: passive.ports)";
    FewPorts "few-ports" Data,
        "The server has very few passive ports, one for each transfer that runs or ended a minute ago; clients in parallel get 425.",
        Server: "widen its range of passive ports to a hundred or more";
    ActiveBehindNat "active-behind-nat" Data,
        "Active mode cannot work from here: this computer has an inner address that the server cannot reach.",
        Here: "stay with passive mode, the default; or forward ports of the NAT to this computer and use --active-address and --active-ports";
    ActiveBlocked "active-blocked" Data,
        "Active mode does not work: the server's connection does not arrive here, because a firewall on the way or on this computer drops it.",
        Here: "stay with passive mode, the default; or let connections from the server's port 20 in, or the ports of --active-ports";
    MiddleboxRewrites "middlebox-rewrites" Data,
        "This computer has an inner address and active mode works all the same: a NAT in between reads the FTP dialogue and rewrites PORT and EPRT. It cannot under TLS, and such helpers break dialogues that they misread.",
        Between: "stay with passive mode, the default; if transfers break, switch the FTP helper (ALG, nf_nat_ftp) of the router off";
    ActiveOff "active-off" Data,
        "The server refuses to connect to clients (active mode).",
        Here: "stay with passive mode, the default";
    ReplyNever "reply-never" Timeout,
        "The server lets this user in and then leaves commands without an answer: it hangs, or a proxy or firewall in between loses them.",
        Server: "look at its log and processes for this time; if the commands are not in its log, look for the proxy or firewall in between";
    FinalReplyNever "final-reply-never" Timeout,
        "The server begins a listing and never confirms its end, so every transfer ends in a timeout, whatever the way of the data connection. The server hangs at the end of a transfer, or a proxy or firewall loses its reply.",
        Server: "look at its log and processes for this time; if it sent the reply (226), look for the proxy or firewall in between that loses it";
    BigPacketsLost "big-packets-lost" Network,
        "Small things pass, large ones stall: MTU. The path takes only packets that are smaller than the full size, as tunnels, VPN and PPPoE do, and the ICMP messages that say so are dropped.",
        Between: "let ICMP \"fragmentation needed\" (IPv6: \"packet too big\") pass, or limit the MSS of TCP connections at the router (nft: tcp option maxseg size set rt mtu); to prove it, set the MTU of this computer's interface to 1280 and try again";
    FewConnections "few-connections" Temporary,
        "The server takes few connections at a time from one address, so programs that open several (-j, graphical clients) are refused.",
        Server: "raise its limit for one address (vsftpd: max_per_ip, ProFTPD: MaxClientsPerHost, Pure-FTPd: -C, serve: limits.per_address), or use one connection at a time (no -j)";
    PathMissing "path-missing" Refused,
        "The login works, and the path of the URL names nothing that this user can use.",
        Here: "look for a slip in the path (upper and lower case count); the best command line below lists the directory after the login";
    MlsdBroken "mlsd-broken" Protocol,
        "The server lists MLSD among what it can do and does not do it.",
        Server: "update it; here --listing list is the way around";
    ListingUnreadable "listing-unreadable" Protocol,
        "Lines of the server's listing have a form that is not known, so programs cannot tell names, sizes and times.",
        Server: "have it list as ls -l does, or switch MLSD on";
    NoRestart "no-restart" Unsupported,
        "Transfers that were cut cannot be resumed: the server refuses REST.",
        Server: "switch restarting on, or update it";
    UploadRefused "upload-refused" Refused,
        "The server does not let this user store files in that directory.",
        Server: "give the user the right to write there, and the directory to the user that the server runs as; or name another --upload-dir";
    UploadDirMissing "upload-dir-missing" Refused,
        "There is no such directory for this user, so nothing can be stored in it.",
        Here: "look for a slip in --upload-dir, or create the directory with ftp-cli mkdir";
    UploadFailed "upload-failed" Temporary,
        "An upload could not be ended, for want of space or for a reason that may pass.",
        Server: "see that there is room on its disk and in the user's quota";
    UploadChanged "upload-changed" Integrity,
        "What was stored is not what comes back: something on the way or in the server changes the bytes, as the translation of line ends does.",
        Server: "see that TYPE I is honoured, and that no proxy or helper in between changes data";
    AppendRefused "append-refused" Refused,
        "The server does not append to files, as logs and some resuming clients need it.",
        Server: "give the user the right to append, if that is wanted";
    ResumeRefused "resume-refused" Refused,
        "An upload that was cut cannot be resumed here.",
        Server: "allow REST before STOR (ProFTPD: AllowStoreRestart on), if that is wanted";
    RenameRefused "rename-refused" Refused,
        "The server does not let this user rename, so that uploads cannot appear under their name when they are whole.",
        Server: "give the user the right to rename, if that is wanted";
    DeleteRefused "delete-refused" Refused,
        "The server does not let this user delete, so the files of this examination are still there.",
        Server: "delete them there; give the user the right to delete, if that is wanted";
    ConnectionLost "connection-lost" Network,
        "The control connection broke in the middle of the examination.",
        Server: "look at its log for this time; if nothing is there, something in between cut it";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_diagnosis_says_what_it_means_and_what_to_do() {
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
