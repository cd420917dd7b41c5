//! Addresses, paths and methods that are registered or configured. Each is accepted only in a form that is kept and
//! called byte for byte as it was given: nothing is left out, added or normalised on the way.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::bounds::ADDRESS_BYTES;

/// The form of an address, for messages.
pub const FORM: &str = "http://host:port";

/// Checks an address of the form `http://host:port`.
///
/// # Errors
/// The part that is wrong.
pub fn check(address: &str) -> Result<(), String> {
    check_length(address)?;
    if address.is_empty() {
        return Err("is empty".to_owned());
    }
    if address.starts_with("https://") {
        return Err("begins with https://, and there is no encryption".to_owned());
    }
    let Some(rest) = address.strip_prefix("http://") else {
        return Err("does not begin with http://".to_owned());
    };
    for (sign, part) in [
        ('#', "a fragment"),
        ('?', "a query"),
        ('/', "a path"),
        ('@', "a user"),
    ] {
        if rest.contains(sign) {
            return Err(format!("has {part}"));
        }
    }
    let (host, port) = match rest.rsplit_once(':') {
        // A colon inside of the brackets of an IPv6 address begins no port.
        Some((host, port)) if !port.ends_with(']') => (host, port),
        _ => return Err("has no port".to_owned()),
    };
    if !is_host(host) {
        return Err("has no host name, IPv4 address or IPv6 address in brackets".to_owned());
    }
    check_port(port)
}

fn check_length(text: &str) -> Result<(), String> {
    if text.len() > ADDRESS_BYTES {
        let bytes = text.len();
        return Err(format!(
            "has {bytes} bytes, and at most {ADDRESS_BYTES} are accepted"
        ));
    }
    Ok(())
}

fn check_port(port: &str) -> Result<(), String> {
    let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    let number = port.parse::<u16>().unwrap_or(0);
    if digits && number > 0 && !port.starts_with('0') {
        return Ok(());
    }
    Err(format!(
        "has the port {port:?}, and 1 to 65535 are accepted, in digits"
    ))
}

/// Returns whether a text is a name of a host or an IP address that every resolver reads alike: `127.1` is an address to
/// some and a name to others.
fn is_host(host: &str) -> bool {
    if let Some(inside) = host.strip_prefix('[') {
        let inside = inside.strip_suffix(']');
        return inside.is_some_and(|address| address.parse::<Ipv6Addr>().is_ok());
    }
    let is_label = |label: &str| {
        let sign = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        !label.is_empty() && label.bytes().all(sign)
    };
    let last = host.rsplit('.').next().unwrap_or_default();
    let is_number = last.starts_with(|first: char| first.is_ascii_digit());
    if is_number {
        host.parse::<Ipv4Addr>().is_ok()
    } else {
        host.split('.').all(is_label)
    }
}

/// Checks a path of an HTTP server, which may have a query.
///
/// # Errors
/// The part that is wrong, and the form that is accepted.
pub fn check_path(path: &str) -> Result<(), String> {
    check_length(path)?;
    let Some(rest) = path.strip_prefix('/') else {
        return Err("does not begin with /; give a path of the form /…".to_owned());
    };
    if path.contains('#') {
        return Err("has a fragment, which is never sent; leave it out".to_owned());
    }
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    check_signs(rest, b"!$&'()*+,-./:;=@_~")?;
    check_signs(query, b"!$&()*+,-./:;=?@_~")?;
    let segments: Vec<&str> = rest.split('/').collect();
    let (last, others) = segments.split_last().unwrap_or((&"", &[]));
    if others.iter().any(|segment| segment.is_empty()) {
        return Err("has //; give each / once".to_owned());
    }
    if others.iter().chain([last]).any(|segment| is_dots(segment)) {
        return Err("has a segment . or .., which is resolved on the way; leave it out".to_owned());
    }
    Ok(())
}

/// Checks that each byte is alphanumeric, one of these signs, or escaped: `%` and two hexadecimal digits.
fn check_signs(text: &str, signs: &[u8]) -> Result<(), String> {
    let mut left = text.as_bytes();
    while let [byte, rest @ ..] = left {
        left = match (byte, rest) {
            (b'%', [high, low, rest @ ..])
                if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                rest
            }
            (b'%', _) => {
                return Err("has a % without two hexadecimal digits; give %25 for it".to_owned());
            }
            (byte, rest) if byte.is_ascii_alphanumeric() || signs.contains(byte) => rest,
            (byte, _) => {
                return Err(format!(
                    "has the byte 0x{byte:02x}, which is escaped on the way; give %{byte:02X}"
                ));
            }
        };
    }
    Ok(())
}

/// Returns whether a segment is `.` or `..`, escaped or not.
fn is_dots(segment: &str) -> bool {
    let plain = segment.replace("%2e", ".").replace("%2E", ".");
    plain == "." || plain == ".."
}

/// Checks the path of a gRPC method, `/package.Service/Method`.
///
/// # Errors
/// The form that is accepted.
pub fn check_method(path: &str) -> Result<(), String> {
    check_length(path)?;
    let is_part = |part: &str| {
        let sign = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
        !part.is_empty() && part.bytes().all(sign) && !is_dots(part)
    };
    let parts: Vec<&str> = path.split('/').collect();
    match parts.as_slice() {
        ["", service, method] if is_part(service) && is_part(method) => Ok(()),
        _ => Err(
            "is no method of the form /package.Service/Method, of letters, digits, '.', '_' and '-'"
                .to_owned(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_host_and_a_port_and_nothing_else() {
        for right in [
            "http://127.0.0.1:1",
            "http://points:80",
            "http://Points_1.shop.example:65535",
            "http://[::1]:8080",
            "http://1-a.example:80",
        ] {
            assert_eq!(check(right), Ok(()), "{right}");
        }
        for (wrong, part) in [
            ("", "is empty"),
            ("points:80", "http://"),
            ("HTTP://points:80", "http://"),
            ("https://points:80", "encryption"),
            ("http://points", "no port"),
            ("http://[::1]", "no port"),
            ("http://points:", "the port"),
            ("http://points:0", "the port"),
            ("http://points:00080", "the port"),
            ("http://points:+80", "the port"),
            ("http://points:65536", "the port"),
            ("http://points:70000", "the port"),
            ("http://points:8o", "the port"),
            ("http://points:80/", "a path"),
            ("http://points:80/pay", "a path"),
            ("http://points:80?a=b", "a query"),
            ("http://points:80#a", "a fragment"),
            ("http://user@points:80", "a user"),
            ("http://user:password@points:80", "a user"),
            ("http://:80", "host"),
            ("http://po ints:80", "host"),
            ("http://po..ints:80", "host"),
            ("http://points.:80", "host"),
            ("http://p%6fints:80", "host"),
            ("http://p\u{fc}nkte:80", "host"),
            ("http://127.1:80", "host"),
            ("http://2130706433:80", "host"),
            ("http://127.0.0.01:80", "host"),
            ("http://127.0.0.0x1:80", "host"),
            ("http://::1:80", "host"),
            ("http://[fe80::1%25eth0]:80", "host"),
            ("http://points:80\n", "the port"),
        ] {
            let error = check(wrong).unwrap_err();
            assert!(error.contains(part), "{wrong}: {error}");
        }
        let long = format!("http://{}:1", "a".repeat(ADDRESS_BYTES));
        assert!(check(&long).unwrap_err().contains("bytes"));
    }

    /// Every path of some pieces, and every ASCII sign in each place: what is accepted leaves the client of the calls
    /// as it is.
    #[test]
    fn a_path_that_is_accepted_is_sent_byte_for_byte() {
        let mut pieces: Vec<String> = ["", "a", ".", "..", "...", "%2e", "%2E.", "%41", "%c3%bc"]
            .map(str::to_owned)
            .into();
        pieces.extend(["%", "%4", "%zz", "\\", "ü", "a?b", "??", "a#b"].map(str::to_owned));
        pieces.extend((0..128_u8).map(|byte| format!("a{}b", char::from(byte))));
        let mut accepted = 0;
        for first in &pieces {
            for second in &pieces {
                let path = format!("/{first}/{second}");
                if check_path(&path).is_err() {
                    continue;
                }
                accepted += 1;
                let url = reqwest::Url::parse(&format!("http://points:80{path}")).unwrap();
                let sent = url.as_str().strip_prefix("http://points");
                // Port 80 is that of every address of http, and is not written.
                assert_eq!(sent, Some(&*path));
            }
        }
        assert!(accepted > 5_000, "{accepted}");
        for right in ["/", "/pay", "/v1/pay/", "/pay?mode=try&to=a/b", "/%C3%BC"] {
            assert_eq!(check_path(right), Ok(()), "{right}");
        }
        for wrong in ["", "pay", "//pay", "/a//b", "/a/../b", "/a/%2e%2E", "/a b"] {
            assert!(check_path(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_method_is_a_service_and_a_name() {
        assert_eq!(check_method("/shop.v1.Shop/Pay"), Ok(()));
        for wrong in [
            "",
            "/",
            "/Shop",
            "/Shop/",
            "//Pay",
            "/Shop/Pay/",
            "/Shop/Pay?a",
            "/Shop/Pay#a",
            "Shop/Pay",
            "/Shop/..",
            "/Sh%6fp/Pay",
            "/Shop/Pay ",
        ] {
            assert!(check_method(wrong).is_err(), "{wrong}");
        }
    }
}
