//! Proxies: which requests go through one, as the usual variables say.
//!
//! Reads no environment: the variables come in. A proxy's user name and password are never shown.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use url::{Host, Url};

use super::origin::place;
use crate::diagnostic::Diagnose;

/// The schemes of proxies that can be used.
const SCHEMES: [&str; 6] = ["http", "https", "socks4", "socks4a", "socks5", "socks5h"];

/// The proxies of a run.
#[derive(Clone, Debug, Default)]
pub struct Proxies {
    http: Option<Result<Proxy, ProxyError>>,
    https: Option<Result<Proxy, ProxyError>>,
    except: Vec<Exception>,
}

/// One proxy.
#[derive(Clone, PartialEq, Eq)]
pub struct Proxy {
    /// With user name and password.
    url: Url,
    source: String,
}

/// Why a proxy cannot be used. The text of its URL may hold a password and is not repeated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProxyError {
    /// The text is no URL.
    #[error("`{0}` is not the URL of a proxy")]
    Form(String),
    /// The URL is of another kind of server.
    #[error("`{named_by}` names a proxy of the unknown kind `{scheme}`")]
    Scheme {
        /// The variable or setting.
        named_by: String,
        /// The URL's scheme.
        scheme: String,
    },
}

impl Diagnose for ProxyError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Form(_) => {
                "write `http://[user:password@]host:port`, with special characters percent-encoded".to_owned()
            }
            Self::Scheme { .. } => format!("a proxy's URL begins with one of {}", SCHEMES.join(", ")),
        })
    }
}

/// Hosts that are reached without a proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Exception {
    All,
    /// A network: address and length of its prefix in bits.
    Network(IpAddr, u8),
    /// A name and what is below it; perhaps one port alone.
    Name(String, Option<u16>),
}

impl Proxies {
    /// What `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY` say, each in capitals or, failing that, in small
    /// letters. An unusable proxy is told of when something would go through it. `HTTP_PROXY` in capitals does not
    /// count beside `REQUEST_METHOD`: under CGI it is a header that anybody may send.
    pub fn from_variables(variables: &BTreeMap<String, String>) -> Self {
        let filled = |name: &str| variables.get(name).map(String::as_str).filter(|text| !text.trim().is_empty());
        let proxy = |name: &str| {
            let small = name.to_ascii_lowercase();
            let found = filled(name).map(|text| (name, text)).or_else(|| filled(&small).map(|text| (&*small, text)));
            found.map(|(name, text)| Proxy::parse(text, name))
        };
        let all = proxy("ALL_PROXY");
        let http = if variables.contains_key("REQUEST_METHOD") {
            filled("http_proxy").map(|text| Proxy::parse(text, "http_proxy"))
        } else {
            proxy("HTTP_PROXY")
        };
        let except = filled("NO_PROXY").or_else(|| filled("no_proxy")).unwrap_or_default();
        Self {
            http: http.or_else(|| all.clone()),
            https: proxy("HTTPS_PROXY").or(all),
            except: except.split(',').filter_map(|entry| Exception::parse(entry.trim())).collect(),
        }
    }

    /// The proxy on the way to `url`; none to this machine and to the exceptions.
    ///
    /// # Errors
    /// Fails when the one that is named for it cannot be used.
    pub fn on_the_way(&self, url: &Url) -> Result<Option<&Proxy>, ProxyError> {
        let named = if url.scheme() == "https" { &self.https } else { &self.http };
        match named {
            Some(proxy) if !self.is_exception(url) => proxy.as_ref().map(Some).map_err(Clone::clone),
            _ => Ok(None),
        }
    }

    fn is_exception(&self, url: &Url) -> bool {
        super::origin::is_loopback(url) || self.except.iter().any(|entry| entry.covers(url))
    }

    /// All proxies, for people: each with the variable that names it.
    pub fn shown(&self) -> Vec<String> {
        let mut shown: Vec<String> = Vec::new();
        for proxy in [&self.https, &self.http].into_iter().flatten() {
            let text = match proxy {
                Ok(proxy) => proxy.to_string(),
                Err(error) => error.to_string(),
            };
            if !shown.contains(&text) {
                shown.push(text);
            }
        }
        shown
    }
}

impl Proxy {
    /// Reads the text of a variable or setting called `source`; `http://` may be left out.
    ///
    /// # Errors
    /// Fails when the text is no URL of a proxy that can be used.
    pub fn parse(text: &str, source: &str) -> Result<Self, ProxyError> {
        let text = text.trim();
        let full = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        let url = Url::parse(&full).map_err(|_| ProxyError::Form(source.to_owned()))?;
        if !SCHEMES.contains(&url.scheme()) {
            return Err(ProxyError::Scheme { named_by: source.to_owned(), scheme: url.scheme().to_owned() });
        }
        match url.host_str() {
            Some(host) if !host.is_empty() => Ok(Self { url, source: source.to_owned() }),
            _ => Err(ProxyError::Form(source.to_owned())),
        }
    }

    /// The whole URL, for the connection alone.
    pub(super) fn url(&self) -> &Url {
        &self.url
    }

    /// Host and port.
    pub fn place(&self) -> String {
        place(&self.url)
    }

    /// The variable or setting that names it.
    pub fn source(&self) -> &str {
        &self.source
    }
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{} from {}", self.url.scheme(), self.place(), self.source)
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proxy({self})")
    }
}

impl Exception {
    fn parse(entry: &str) -> Option<Self> {
        if entry == "*" {
            return Some(Self::All);
        }
        let (address, length) = entry.split_once('/').map_or((entry, None), |(address, bits)| (address, Some(bits)));
        if let Ok(address) = address.trim_matches(['[', ']']).parse::<IpAddr>() {
            let whole = if address.is_ipv4() { 32 } else { 128 };
            let length = length.map_or(Some(whole), |bits| bits.parse().ok().filter(|bits| *bits <= whole))?;
            return Some(Self::Network(address, length));
        }
        let (name, port) = match entry.rsplit_once(':') {
            Some((name, port)) => (name, Some(port.parse().ok()?)),
            None => (entry, None),
        };
        let name = name.trim_start_matches("*.").trim_matches('.').to_ascii_lowercase();
        (!name.is_empty()).then_some(Self::Name(name, port))
    }

    fn covers(&self, url: &Url) -> bool {
        match (self, url.host()) {
            (Self::All, _) => true,
            (Self::Network(network, length), Some(Host::Ipv4(address))) => {
                same_network(*network, address.into(), *length)
            }
            (Self::Network(network, length), Some(Host::Ipv6(address))) => {
                same_network(*network, address.into(), *length)
            }
            (Self::Name(name, port), Some(host)) => {
                let host = host.to_string();
                let host = host.trim_end_matches('.');
                let below = host.strip_suffix(name.as_str()).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
                below && port.is_none_or(|port| url.port_or_known_default() == Some(port))
            }
            _ => false,
        }
    }
}

fn same_network(network: IpAddr, address: IpAddr, length: u8) -> bool {
    let (left, right, width) = match (network, address) {
        (IpAddr::V4(left), IpAddr::V4(right)) => (u128::from(u32::from(left)), u128::from(u32::from(right)), 32),
        (IpAddr::V6(left), IpAddr::V6(right)) => (u128::from(left), u128::from(right), 128),
        _ => return false,
    };
    length == 0 || (left ^ right) >> (width - u32::from(length)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(variables: &[(&str, &str)]) -> Proxies {
        Proxies::from_variables(&variables.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect())
    }

    fn way(proxies: &Proxies, url: &str) -> String {
        match proxies.on_the_way(&Url::parse(url).unwrap()) {
            Ok(Some(proxy)) => proxy.to_string(),
            Ok(None) => "direct".to_owned(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn variables_of_both_cases_name_proxies_by_scheme() {
        let both = [("https_proxy", "s.test:1"), ("HTTP_PROXY", "http://p.test"), ("http_proxy", "other.test")];
        for (variables, url, expected) in [
            (&both[..], "https://a.test", "http://s.test:1 from https_proxy"),
            (&both[..], "http://a.test", "http://p.test from HTTP_PROXY"),
            (&[("ALL_PROXY", "socks5h://a.test:9")], "https://a.test", "socks5h://a.test:9 from ALL_PROXY"),
            (&[("HTTPS_PROXY", ""), ("https_proxy", "x.test")], "https://a.test", "http://x.test from https_proxy"),
            (&[("HTTP_PROXY", "x.test"), ("REQUEST_METHOD", "GET")], "http://a.test", "direct"),
            (&[("HTTPS_PROXY", "x.test")], "http://a.test", "direct"),
            (&[("HTTPS_PROXY", "http://[")], "https://a.test", "`HTTPS_PROXY` is not the URL of a proxy"),
            (&[("HTTPS_PROXY", "http://[")], "https://127.0.0.1", "direct"),
            (&[("ALL_PROXY", "ftp://x")], "https://a.test", "`ALL_PROXY` names a proxy of the unknown kind `ftp`"),
        ] {
            assert_eq!(way(&proxies(variables), url), expected, "{variables:?} {url}");
        }
    }

    #[test]
    fn exceptions_are_names_networks_and_this_machine() {
        let no_proxy = "10.0.0.0/8, .corp.test,*.star.test, plain.test:8443 ,fd00::/8,192.168.1.7";
        let set = proxies(&[("ALL_PROXY", "http://p.test"), ("no_proxy", no_proxy)]);
        for (url, direct) in [
            ("https://localhost:5000", true),
            ("https://127.8.0.1", true),
            ("https://[::1]:5000", true),
            ("https://10.200.3.4", true),
            ("https://11.0.0.1", false),
            ("https://corp.test", true),
            ("https://a.b.CORP.test", true),
            ("https://notcorp.test", false),
            ("https://a.star.test", true),
            ("https://plain.test:8443", true),
            ("https://plain.test", false),
            ("https://[fd12::1]", true),
            ("https://[fe12::1]", false),
            ("https://192.168.1.7", true),
            ("https://192.168.1.8", false),
        ] {
            assert_eq!(way(&set, url) == "direct", direct, "{url}");
        }
        let none = proxies(&[("ALL_PROXY", "http://p.test"), ("NO_PROXY", "*")]);
        assert_eq!(way(&none, "https://a.test"), "direct");
    }

    #[test]
    fn passwords_are_never_shown() {
        let set = proxies(&[("ALL_PROXY", "http://user:canary%40@p.test:3128")]);
        let proxy = set.on_the_way(&Url::parse("https://a.test").unwrap()).unwrap().unwrap();
        assert_eq!(proxy.url().password(), Some("canary%40"));
        assert!(!format!("{proxy} {proxy:?} {set:?} {:?}", set.shown()).contains("canary"));
        let broken = proxies(&[("ALL_PROXY", "http://user:canary@p.test:port")]);
        let error = broken.on_the_way(&Url::parse("https://a.test").unwrap()).unwrap_err();
        assert!(!format!("{error} {error:?} {broken:?} {:?}", error.hint()).contains("canary"));
    }
}
