//! Package indexes: their URLs, and the credentials that must not leave them.
//!
//! A credential is found here and given to requests of its own origin; nothing here sends one.

use std::fmt;

use url::Url;

/// A user name and password for one origin; `Debug` shows neither.
#[derive(Clone, PartialEq, Eq)]
pub struct IndexCredential {
    user: String,
    password: String,
}

impl fmt::Debug for IndexCredential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IndexCredential(..)")
    }
}

impl IndexCredential {
    /// The user name.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// The password; empty when there is none.
    pub fn password(&self) -> &str {
        &self.password
    }
}

/// The credentials of the indexes in use, from their URLs and from a netrc file.
#[derive(Clone, Default)]
pub struct IndexCredentials {
    places: Vec<(Url, IndexCredential)>,
    hosts: Vec<(String, IndexCredential)>,
}

impl fmt::Debug for IndexCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.places.iter().map(|(place, _)| place.as_str())).finish()
    }
}

impl IndexCredentials {
    /// Takes the userinfo of an index URL, when it has some.
    pub fn add_url(&mut self, url: &str) {
        let Ok(url) = Url::parse(url.trim()) else { return };
        let (user, password) = (decoded(url.username()), decoded(url.password().unwrap_or_default()));
        self.add(url, &user, &password);
    }

    /// Takes a user name and password for the index at `url`.
    pub fn add(&mut self, mut url: Url, user: &str, password: &str) {
        let _ = url.set_username("");
        let _ = url.set_password(None);
        if user.is_empty() && password.is_empty() {
            return;
        }
        self.places.push((url, IndexCredential { user: user.into(), password: password.into() }));
    }

    /// Takes the machines of a netrc file; `default` and macros are left out, since they name no host.
    pub fn add_netrc(&mut self, text: &str) {
        for (host, user, password) in machines(text) {
            self.hosts.push((host.to_ascii_lowercase(), IndexCredential { user, password }));
        }
    }

    /// The credential for a request to `url`: that of the index of the same origin with the longest common path,
    /// else that of the host in the netrc file, when the request is encrypted or stays on this machine.
    pub fn for_url(&self, url: &Url) -> Option<&IndexCredential> {
        let shared = |place: &Url| place.path().bytes().zip(url.path().bytes()).take_while(|(a, b)| a == b).count();
        let of_index = self.places.iter().filter(|(place, _)| place.origin() == url.origin());
        if let Some((_, credential)) = of_index.max_by_key(|(place, _)| shared(place)) {
            return Some(credential);
        }
        let host = url.host_str()?;
        let is_safe = url.scheme() == "https" || is_loopback(url);
        self.hosts.iter().find(|(name, _)| is_safe && name == host).map(|(_, credential)| credential)
    }

    /// `url` with the credential for it, unless it has one of its own; `None` where none is known.
    pub fn signed(&self, url: &str) -> Option<String> {
        let mut signed = Url::parse(url).ok().filter(|url| url.username().is_empty() && url.password().is_none())?;
        let credential = self.for_url(&signed)?.clone();
        signed.set_username(&credential.user).ok()?;
        signed.set_password(Some(&credential.password)).ok()?;
        Some(signed.into())
    }

    /// `text` with every password that is known here taken out.
    pub fn redact(&self, text: &str) -> String {
        let mut clean = text.to_owned();
        let of_indexes = self.places.iter().map(|(_, credential)| credential);
        for credential in of_indexes.chain(self.hosts.iter().map(|(_, credential)| credential)) {
            // A token may stand in the place of the user's name.
            let secret = if credential.password.is_empty() { &credential.user } else { &credential.password };
            clean = clean.replace(secret.as_str(), "****").replace(&encoded(secret), "****");
        }
        clean
    }
}

/// Whether the URL's host is this machine.
pub(super) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        Some(url::Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

/// `text` without userinfo, when it is a URL.
pub(super) fn without_userinfo(text: &str) -> String {
    let Ok(mut url) = Url::parse(text) else { return text.to_owned() };
    if url.username().is_empty() && url.password().is_none() {
        return text.to_owned();
    }
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.into()
}

/// Whether `text` holds a URL with userinfo.
pub(super) fn has_userinfo(text: &str) -> bool {
    let Some((_, rest)) = text.split_once("://") else { return false };
    rest.split(['/', '?', '#']).next().unwrap_or_default().contains('@')
}

fn decoded(text: &str) -> String {
    crate::python::lock::percent_decoded(text).unwrap_or_else(|| text.to_owned())
}

fn encoded(secret: &str) -> String {
    let mut url = match Url::parse("http://x/") {
        Ok(url) => url,
        Err(_) => return secret.to_owned(),
    };
    let _ = url.set_password(Some(secret));
    url.password().unwrap_or(secret).to_owned()
}

/// The `machine` entries of a netrc file: host, login, password.
fn machines(text: &str) -> Vec<(String, String, String)> {
    let mut found: Vec<(String, String, String)> = Vec::new();
    let mut in_machine = false;
    let mut in_macro = false;
    for line in text.lines() {
        if in_macro {
            in_macro = !line.trim().is_empty();
            continue;
        }
        let mut words = words(line).into_iter();
        while let Some(word) = words.next() {
            match word.as_str() {
                "machine" => {
                    found.push((words.next().unwrap_or_default(), String::new(), String::new()));
                    in_machine = true;
                }
                "default" => in_machine = false,
                "macdef" => {
                    in_macro = true;
                    break;
                }
                "login" | "password" => {
                    let value = words.next().unwrap_or_default();
                    match found.last_mut().filter(|_| in_machine) {
                        Some((_, login, _)) if word == "login" => *login = value,
                        Some((_, _, password)) => *password = value,
                        None => {}
                    }
                }
                "account" => {
                    words.next();
                }
                _ => {}
            }
        }
    }
    found
}

/// The words of a netrc line: quotes hold spaces, a backslash takes the next character, `#` begins a comment.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = line.chars().peekable();
    loop {
        while rest.next_if(|c| c.is_whitespace()).is_some() {}
        match rest.peek() {
            None | Some('#') => return words,
            Some(_) => {}
        }
        let quoted = rest.next_if_eq(&'"').is_some();
        let mut word = String::new();
        while let Some(character) = rest.next_if(|c| if quoted { *c != '"' } else { !c.is_whitespace() }) {
            word.push(if character == '\\' { rest.next().unwrap_or('\\') } else { character });
        }
        if quoted {
            rest.next();
        }
        words.push(word);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(credentials: &IndexCredentials, url: &str) -> Option<(String, String)> {
        let found = credentials.for_url(&Url::parse(url).unwrap())?;
        Some((found.user().to_owned(), found.password().to_owned()))
    }

    #[test]
    fn credentials_stay_on_their_origin() {
        let mut credentials = IndexCredentials::default();
        credentials.add_url("https://u:p%40ss@index.example/team/simple");
        credentials.add_url("https://token@index.example/other/simple/");
        credentials.add_netrc("machine files.example login n password \"a b\" # c\ndefault login d password e\n");
        let pair = |user: &str, password: &str| Some((user.to_owned(), password.to_owned()));
        assert_eq!(find(&credentials, "https://index.example/team/files/a.whl"), pair("u", "p@ss"));
        assert_eq!(find(&credentials, "https://index.example/other/a.whl"), pair("token", ""));
        assert_eq!(find(&credentials, "https://files.example/a.whl"), pair("n", "a b"));
        for url in [
            "http://index.example/team/a.whl",
            "https://index.example:8443/team/a.whl",
            "https://index.example.evil.example/team/a.whl",
            "http://files.example/a.whl",
            "https://elsewhere.example/a.whl",
        ] {
            assert_eq!(find(&credentials, url), None, "{url}");
        }
        let text = format!("{credentials:?}");
        assert!(!text.contains("p@ss") && !text.contains("token"), "{text}");
        assert_eq!(credentials.redact("x p@ss y p%40ss z token"), "x **** y **** z ****");
    }

    #[test]
    fn netrc_is_read_over_lines_and_macros() {
        let text = "machine a\n  login x\n  password y\\\"z\nmacdef init\nmachine no login no password no\n\nmachine b login q account r password s";
        let found = machines(text);
        assert_eq!(found.len(), 2);
        assert_eq!(found[0], ("a".into(), "x".into(), "y\"z".into()));
        assert_eq!(found[1], ("b".into(), "q".into(), "s".into()));
    }

    #[test]
    fn userinfo_is_seen_and_removed() {
        assert!(has_userinfo("https://u:p@h/x") && !has_userinfo("https://h/x@1") && !has_userinfo("a@b"));
        assert_eq!(without_userinfo("https://u:p@h/x"), "https://h/x");
        assert_eq!(without_userinfo("wheels"), "wheels");
    }
}
