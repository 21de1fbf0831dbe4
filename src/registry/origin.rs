//! Origins: to which scheme, host and port a registry's credentials belong, and where else a registry may send us.
//!
//! Names are not resolved here: an address that hides behind a name is judged by its name alone.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use url::{Host, Url};

/// The scheme, host and port of a registry.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Origin {
    secure: bool,
    /// As URLs write it: lower case, IPv6 in brackets.
    host: String,
    port: u16,
}

/// Why a registry's address cannot be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{0}` is not a registry's address (`host` or `host:port`)")]
pub struct OriginError(pub String);

/// Why a URL that a registry gave is not followed.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Detour {
    /// The URL cannot be read.
    #[error("`{0}` is not a URL")]
    Form(String),
    /// The scheme is neither http nor https.
    #[error("`{0}` is neither http nor https")]
    Scheme(String),
    /// The URL holds a user name or a password.
    #[error("the URL at `{0}` holds a user name or password")]
    UserInfo(String),
    /// From https to http.
    #[error("`{0}` is plain http")]
    Downgrade(String),
    /// To an address of a private network, this machine or a cloud's metadata service.
    #[error("`{0}` is a private address")]
    Private(String),
}

impl Origin {
    /// The origin that serves `domain`, a reference's first part: `docker.io` is served by `registry-1.docker.io`;
    /// loopback hosts and those in `insecure` (`host` or `host:port`) are spoken to by plain http, all others by https.
    ///
    /// # Errors
    /// Fails when `domain` is not `host` or `host:port`.
    pub fn of(domain: &str, insecure: &[String]) -> Result<Self, OriginError> {
        Self::spoken(domain, Self::is_named(domain, insecure).then_some(true))
    }

    /// The origin that serves `domain`, by plain http or https as `plain` says; `None` leaves it to the address.
    ///
    /// # Errors
    /// Fails when `domain` is not `host` or `host:port`.
    pub(super) fn spoken(domain: &str, plain: Option<bool>) -> Result<Self, OriginError> {
        let refused = || OriginError(domain.to_owned());
        let served_by = served_by(domain);
        if served_by.is_empty() || served_by.contains(['/', '@', '?', '#', '\\']) {
            return Err(refused());
        }
        let url = Url::parse(&format!("https://{served_by}")).map_err(|_| refused())?;
        let host = url.host_str().ok_or_else(refused)?.to_owned();
        let secure = !plain.unwrap_or_else(|| is_loopback(&url));
        let written_port = served_by.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
        let port = written_port.unwrap_or(if secure { 443 } else { 80 });
        Ok(Self { secure, host, port })
    }

    /// Whether `domain` stands in a list of `host` and `host:port`.
    pub(super) fn is_named(domain: &str, list: &[String]) -> bool {
        let (whole, host) = (served_by(domain), without_port(served_by(domain)));
        list.iter().any(|entry| entry.eq_ignore_ascii_case(whole) || entry.eq_ignore_ascii_case(host))
    }

    /// The origin of `url`; `None` unless it is http or https.
    pub fn of_url(url: &Url) -> Option<Self> {
        let secure = match url.scheme() {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        Some(Self { secure, host: url.host_str()?.to_owned(), port: url.port_or_known_default()? })
    }

    /// Whether the origin is spoken to by https.
    pub fn is_secure(&self) -> bool {
        self.secure
    }

    /// Host and port, as a connection needs them; an IPv6 address has no brackets.
    pub(super) fn endpoint(&self) -> (&str, u16) {
        (self.host.trim_matches(['[', ']']), self.port)
    }

    /// Whether the origin is this machine.
    pub fn is_loopback(&self) -> bool {
        Url::parse(&self.to_string()).is_ok_and(|url| is_loopback(&url))
    }

    /// The URL of `path`, which begins with a slash and may hold a query.
    ///
    /// # Errors
    /// Fails when `path` makes no URL.
    pub fn url(&self, path: &str) -> Result<Url, Detour> {
        Url::parse(&format!("{self}{path}")).map_err(|_| Detour::Form(path.to_owned()))
    }

    fn private_network(&self) -> bool {
        self.host.trim_matches(['[', ']']).parse().is_ok_and(is_private_network)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.secure { "https" } else { "http" };
        write!(f, "{scheme}://{}", self.host)?;
        match (self.secure, self.port) {
            (true, 443) | (false, 80) => Ok(()),
            (_, port) => write!(f, ":{port}"),
        }
    }
}

/// Checks the realm of a bearer challenge before a credential goes there.
///
/// # Errors
/// Refuses a realm with user info, on plain http when the registry is on https, or on a private address that is
/// neither the registry itself nor, when the registry too has an address of a private network, in such a network.
pub fn validate_realm(realm: &str, registry: &Origin) -> Result<Url, Detour> {
    let url = Url::parse(realm).map_err(|_| Detour::Form(realm.to_owned()))?;
    check(&url, registry)?;
    Ok(url)
}

/// Checks the `Location` of an upload, relative to `base`, before bytes go there; credentials go there only when
/// its origin is the registry's.
///
/// # Errors
/// Refuses what [`validate_realm`] refuses.
pub fn validate_upload_location(location: &str, base: &Url, registry: &Origin) -> Result<Url, Detour> {
    let url = base.join(location).map_err(|_| Detour::Form(location.to_owned()))?;
    check(&url, registry)?;
    Ok(url)
}

/// Checks where a read is redirected to, relative to `from`.
///
/// # Errors
/// Refuses a redirect from https to http, to another scheme, with user info, or to a private address unless the
/// registry has one itself.
pub fn validate_redirect(location: &str, from: &Url, registry: &Origin) -> Result<Url, Detour> {
    let url = from.join(location).map_err(|_| Detour::Form(location.to_owned()))?;
    if from.scheme() == "https" && url.scheme() == "http" {
        return Err(Detour::Downgrade(place(&url)));
    }
    match check(&url, registry) {
        Err(Detour::Private(_)) if registry.is_loopback() || registry.private_network() => Ok(url),
        Err(detour) => Err(detour),
        Ok(()) => Ok(url),
    }
}

fn check(url: &Url, registry: &Origin) -> Result<(), Detour> {
    let origin = Origin::of_url(url).ok_or_else(|| Detour::Scheme(url.scheme().to_owned()))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Detour::UserInfo(place(url)));
    }
    if registry.secure && !origin.secure {
        return Err(Detour::Downgrade(place(url)));
    }
    let itself = origin.host == registry.host && origin.port == registry.port;
    let neighbours = origin.private_network() && registry.private_network();
    if !itself && !neighbours && is_private(url) {
        return Err(Detour::Private(place(url)));
    }
    Ok(())
}

/// The host that serves a registry.
pub(super) fn served_by(domain: &str) -> &str {
    match domain {
        "docker.io" | "index.docker.io" => "registry-1.docker.io",
        other => other,
    }
}

/// The host of a `host:port`.
pub(super) fn without_port(domain: &str) -> &str {
    match domain.rsplit_once(':') {
        Some((host, port)) if port.parse::<u16>().is_ok() => host,
        _ => domain,
    }
}

/// The host and port of a URL: what may be shown of it.
pub(super) fn place(url: &Url) -> String {
    match (url.host_str(), url.port()) {
        (Some(host), Some(port)) => format!("{host}:{port}"),
        (Some(host), None) => host.to_owned(),
        (None, _) => url.scheme().to_owned(),
    }
}

pub(super) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => is_localhost(name),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => {
            address.is_loopback() || address.to_ipv4_mapped().is_some_and(|v4| v4.is_loopback())
        }
        None => false,
    }
}

fn is_localhost(name: &str) -> bool {
    let name = name.trim_end_matches('.');
    name == "localhost" || name.ends_with(".localhost")
}

fn is_private(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => is_localhost(name) || name.trim_end_matches('.') == "metadata.google.internal",
        Some(Host::Ipv4(address)) => is_private_v4(address),
        Some(Host::Ipv6(address)) => is_private_v6(address),
        None => true,
    }
}

/// RFC 1918 and RFC 4193: networks of houses and companies, where a registry may well live.
fn is_private_network(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_private(),
        IpAddr::V6(address) => address.is_unique_local(),
    }
}

fn is_private_v4(address: Ipv4Addr) -> bool {
    let [first, second, ..] = address.octets();
    let carrier_grade = first == 100 && second & 0xc0 == 64;
    let special = address.is_loopback() || address.is_link_local() || address.is_multicast();
    special || first == 0 || first >= 240 || carrier_grade || address.is_private()
}

fn is_private_v6(address: Ipv6Addr) -> bool {
    // Addresses of the old family are carried in several forms; what counts is the one inside.
    let segments = address.segments();
    let [.., high, low] = segments;
    let translated = segments[..6] == [0x64, 0xff9b, 0, 0, 0, 0] || segments[..6] == [0; 6];
    let embedded = match address.to_ipv4_mapped() {
        Some(v4) => Some(v4),
        None if translated => Some(Ipv4Addr::from(u32::from(high) << 16 | u32::from(low))),
        None if segments[0] == 0x2002 => Some(Ipv4Addr::from(u32::from(segments[1]) << 16 | u32::from(segments[2]))),
        None => None,
    };
    let local = address.is_loopback() || address.is_unspecified() || address.is_unicast_link_local();
    local || address.is_unique_local() || address.is_multicast() || embedded.is_some_and(is_private_v4)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(domain: &str) -> Origin {
        Origin::of(domain, &["plain.test:8080".into(), "every.test".into()]).unwrap()
    }

    #[test]
    fn scheme_follows_from_host() {
        for (domain, expected) in [
            ("docker.io", "https://registry-1.docker.io"),
            ("ghcr.io", "https://ghcr.io"),
            ("localhost:5000", "http://localhost:5000"),
            ("127.3.2.1", "http://127.3.2.1"),
            ("[::1]:5000", "http://[::1]:5000"),
            ("plain.test:8080", "http://plain.test:8080"),
            ("plain.test", "https://plain.test"),
            ("every.test:81", "http://every.test:81"),
            ("10.0.0.1:5000", "https://10.0.0.1:5000"),
            ("ghcr.io:80", "https://ghcr.io:80"),
        ] {
            assert_eq!(origin(domain).to_string(), expected);
        }
        for domain in ["", "a/b", "a@b", "a b", "a:70000"] {
            assert!(Origin::of(domain, &[]).is_err(), "{domain}");
        }
    }

    #[test]
    fn realms_elsewhere_are_refused_when_private_or_plain() {
        let public = origin("ghcr.io");
        for realm in [
            "https://user@auth.test/",
            "http://auth.test/",
            "ftp://auth.test/",
            "https://2130706433/",
            "https://0x7f.1/",
            "https://[::ffff:10.0.0.1]/",
            "https://[64:ff9b::a9fe:a9fe]/",
            "https://100.64.0.1/",
            "https://localhost/",
            "https://metadata.google.internal./",
            "no url",
        ] {
            assert!(validate_realm(realm, &public).is_err(), "{realm}");
        }
        assert!(validate_realm("https://auth.test/token", &public).is_ok());
        assert!(validate_realm("https://10.0.0.2/token", &origin("10.0.0.1")).is_ok());
        assert!(validate_realm("https://169.254.169.254/token", &origin("10.0.0.1")).is_err());
    }

    #[test]
    fn redirects_stay_on_https_and_off_private_addresses() {
        let public = origin("ghcr.io");
        let from = public.url("/v2/a/blobs/x").unwrap();
        assert!(validate_redirect("https://cdn.test/x?sig=1", &from, &public).is_ok());
        assert!(validate_redirect("/x", &from, &public).is_ok());
        assert!(matches!(validate_redirect("http://ghcr.io/x", &from, &public), Err(Detour::Downgrade(_))));
        assert!(matches!(validate_redirect("https://127.0.0.1/x", &from, &public), Err(Detour::Private(_))));
        let local = origin("127.0.0.1:5000");
        let from = local.url("/v2/a/blobs/x").unwrap();
        assert!(validate_redirect("http://127.0.0.1:6000/x", &from, &local).is_ok());
    }
}
