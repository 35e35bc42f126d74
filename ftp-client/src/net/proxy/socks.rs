//! SOCKS5 (RFC 1928) with user and password (RFC 1929).

use std::net::IpAddr;

use super::Dialogue;
use crate::error::{Error, ProxyAnswer, ProxyFault, Unsupported};
use crate::net::Server;

const VERSION: u8 = 5;
const NO_LOGIN: u8 = 0;
const USER_AND_PASSWORD: u8 = 2;
const NO_METHOD: u8 = 0xff;
/// The version of the login dialogue (RFC 1929 §2).
const LOGIN_VERSION: u8 = 1;
const CONNECT: u8 = 1;
const SUCCEEDED: u8 = 0;
const IPV4: u8 = 1;
const NAME: u8 = 3;
const IPV6: u8 = 4;

const NOT_SOCKS: ProxyFault = ProxyFault::NotAProxy("SOCKS5");

/// Logs in if the proxy requires it, and asks for a connection to `target`.
pub(super) fn connect(dialogue: &mut Dialogue<'_>, target: &Server) -> Result<(), Error> {
    let request = request(target)?;
    match dialogue.login() {
        None => dialogue.send(&[VERSION, 1, NO_LOGIN])?,
        Some(_) => dialogue.send(&[VERSION, 2, NO_LOGIN, USER_AND_PASSWORD])?,
    }
    match (dialogue.read()?, dialogue.login()) {
        ([VERSION, NO_LOGIN], _) => {}
        ([VERSION, USER_AND_PASSWORD], Some(login)) => {
            let mut message = vec![LOGIN_VERSION];
            for word in [&login.user, &login.password.0] {
                message.push(length(word)?);
                message.extend_from_slice(word);
            }
            dialogue.send(&message)?;
            match dialogue.read()? {
                [LOGIN_VERSION, SUCCEEDED] => {}
                [LOGIN_VERSION, _] => {
                    return Err(dialogue.error(ProxyFault::LoginRefused(None)));
                }
                [_, _] => return Err(dialogue.error(NOT_SOCKS)),
            }
        }
        ([VERSION, NO_METHOD], None) => return Err(dialogue.error(ProxyFault::LoginRequired)),
        ([VERSION, NO_METHOD], Some(_)) => {
            return Err(dialogue.error(ProxyFault::LoginUnsupported));
        }
        _ => return Err(dialogue.error(NOT_SOCKS)),
    }
    dialogue.send(&request)?;
    let [version, reply] = dialogue.read()?;
    match (version, reply) {
        (VERSION, SUCCEEDED) => {}
        (VERSION, code) => return Err(dialogue.refused(target, ProxyAnswer::Socks(code))),
        _ => return Err(dialogue.error(NOT_SOCKS)),
    }
    // The proxy's own address is not needed, but the next byte must be the server's first.
    let length = match dialogue.read()? {
        [0, IPV4] => 4,
        [0, IPV6] => 16,
        [0, NAME] => {
            let [length] = dialogue.read()?;
            usize::from(length)
        }
        [_, _] => return Err(dialogue.error(NOT_SOCKS)),
    };
    dialogue.fill(&mut vec![0; length + size_of::<u16>()])
}

fn request(target: &Server) -> Result<Vec<u8>, Error> {
    let mut request = vec![VERSION, CONNECT, 0];
    match target.host.parse() {
        Ok(IpAddr::V4(address)) => {
            request.push(IPV4);
            request.extend(address.octets());
        }
        Ok(IpAddr::V6(address)) => {
            request.push(IPV6);
            request.extend(address.octets());
        }
        Err(_) => {
            request.extend([NAME, length(target.host.as_bytes())?]);
            request.extend_from_slice(target.host.as_bytes());
        }
    }
    request.extend(target.port.to_be_bytes());
    Ok(request)
}

/// Returns the length of a host, user or password as one byte.
fn length(word: &[u8]) -> Result<u8, Error> {
    u8::try_from(word.len()).map_err(|_| Error::Unsupported(Unsupported::LongNameThroughSocks))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn socks_requests_follow_rfc_1928() {
        for (host, want) in [
            ("192.0.2.1", &b"\x05\x01\x00\x01\xc0\x00\x02\x01\x00\x15"[..]),
            ("::1", b"\x05\x01\x00\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\x00\x15"),
            ("h.example", b"\x05\x01\x00\x03\x09h.example\x00\x15"),
        ] {
            let request = request(&Server { host: host.to_owned(), port: 21 }).unwrap();
            assert_eq!(request, want, "{host}");
        }
        let long = Server { host: "h".repeat(256), port: 21 };
        assert!(matches!(request(&long), Err(Error::Unsupported(_))));
    }
}
