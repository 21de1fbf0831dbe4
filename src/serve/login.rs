//! Login: who may use the server, from a file as `htpasswd -B` makes it.
//!
//! Whoever is in the file may do everything; nothing here knows of repositories or of rights to them.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bcrypt::HashParts;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::Instant;

use super::ServeError;
use crate::oci::{Algorithm, Digest, Digester};
use crate::store::StoreError;

/// How long a password that was right is not hashed again.
const REMEMBERED: Duration = Duration::from_secs(300);
/// Passwords remembered at once.
const LIMIT: usize = 1024;
/// Passwords hashed at once: guessing must not keep other requests from the processors.
const HASHING: usize = 2;
/// The largest file in bytes.
const FILE_LIMIT: u64 = 1024 * 1024;

/// The users, and which of them were recognised lately.
pub(super) struct Login {
    users: BTreeMap<String, String>,
    /// Makes what is remembered worthless outside this process.
    key: [u8; 32],
    /// By a keyed digest of name and password: until when they count as right.
    remembered: Mutex<BTreeMap<Digest, Instant>>,
    hashing: Semaphore,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").field("users", &self.users.len()).finish_non_exhaustive()
    }
}

impl Login {
    /// Reads a file of lines `name:hash`; every hash has to be bcrypt's.
    pub(super) fn read(path: &Path) -> Result<Self, ServeError> {
        let storage = |error| ServeError::from(StoreError::io("read", path, error));
        if fs::metadata(path).map_err(storage)?.len() > FILE_LIMIT {
            return Err(storage(std::io::Error::from(std::io::ErrorKind::FileTooLarge)));
        }
        let users = parse(&fs::read_to_string(path).map_err(storage)?).map_err(|reason| ServeError::Passwords {
            path: path.to_owned(),
            line: reason.0,
            reason: reason.1,
        })?;
        let mut key = [0; 32];
        let random = rustls::crypto::ring::default_provider().secure_random;
        random.fill(&mut key).map_err(|_| ServeError::Random)?;
        Ok(Self { users, key, remembered: Mutex::default(), hashing: Semaphore::new(HASHING) })
    }

    /// Whether an `Authorization` header names a user and has the right password (RFC 7617).
    pub(super) async fn admits(self: &Arc<Self>, header: Option<&str>) -> bool {
        let Some((name, password)) = header.and_then(credentials) else { return false };
        let mark = self.mark(&name, &password);
        let now = Instant::now();
        if self.remembered.lock().unwrap_or_else(PoisonError::into_inner).get(&mark).is_some_and(|until| *until > now) {
            return true;
        }
        let Ok(_turn) = self.hashing.acquire().await else { return false };
        let login = Arc::clone(self);
        let is_right = spawn_blocking(move || login.verify(&name, &password)).await.unwrap_or(false);
        if is_right {
            self.remember(mark, Instant::now());
        }
        is_right
    }

    /// Hashes for unknown names as well, so that the time does not tell who is in the file.
    fn verify(&self, name: &str, password: &[u8]) -> bool {
        let found = self.users.get(name);
        let hash = found.or_else(|| self.users.values().next());
        let matches = hash.is_some_and(|hash| bcrypt::verify(password, hash).unwrap_or(false));
        matches && found.is_some()
    }

    fn remember(&self, mark: Digest, now: Instant) {
        let mut remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        remembered.retain(|_, until| *until > now);
        if remembered.len() >= LIMIT {
            remembered.pop_first();
        }
        remembered.insert(mark, now + REMEMBERED);
    }

    /// A digest that only this process can compute: keyed inside and outside, as HMAC is.
    fn mark(&self, name: &str, password: &[u8]) -> Digest {
        let keyed = |parts: &[&[u8]]| {
            let mut digester = Digester::new(Algorithm::Sha256);
            digester.update(&self.key);
            parts.iter().for_each(|part| digester.update(part));
            digester.finish()
        };
        let inner = keyed(&[b"inner", &(name.len() as u64).to_be_bytes(), name.as_bytes(), password]);
        keyed(&[b"outer", inner.as_str().as_bytes()])
    }
}

/// The users of a file, or the line that is wrong and why; line 0 stands for the whole.
fn parse(text: &str) -> Result<BTreeMap<String, String>, (usize, &'static str)> {
    let mut users = BTreeMap::new();
    for (number, line) in (1..).zip(text.lines()).map(|(number, line)| (number, line.trim())) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (name, hash) = line.split_once(':').ok_or((number, "is not of the form `name:hash`"))?;
        let is_bcrypt = ["$2a$", "$2b$", "$2y$"].iter().any(|prefix| hash.starts_with(prefix));
        let cost = hash.parse::<HashParts>().ok().filter(|_| is_bcrypt).map(|parts| parts.get_cost());
        match cost {
            None => return Err((number, "has a hash that is not bcrypt's")),
            Some(4..=31) if name.is_empty() => return Err((number, "has no name")),
            Some(4..=31) => {}
            Some(_) => return Err((number, "has a bcrypt cost that is not between 4 and 31")),
        }
        if users.insert(name.to_owned(), hash.to_owned()).is_some() {
            return Err((number, "names a user for the second time"));
        }
    }
    if users.is_empty() { Err((0, "names no user")) } else { Ok(users) }
}

fn credentials(header: &str) -> Option<(String, Vec<u8>)> {
    let (scheme, token) = header.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = STANDARD.decode(token.trim()).ok()?;
    let colon = decoded.iter().position(|byte| *byte == b':')?;
    let name = std::str::from_utf8(&decoded[..colon]).ok()?.to_owned();
    Some((name, decoded[colon + 1..].to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `htpasswd -nbBC 5 ada sesame` answered once.
    const HASH: &str = "$2y$05$KM8UYGTcl..AikIc1wNgg.S.s1KwUeV.O64gGpZynMoy120iCAvfC";

    fn login(text: &str) -> Result<Arc<Login>, ServeError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), text).unwrap();
        Login::read(file.path()).map(Arc::new)
    }

    fn basic(pair: &str) -> String {
        format!("Basic {}", STANDARD.encode(pair))
    }

    #[test]
    fn only_lines_with_bcrypt_are_read() {
        let other = HASH.replace("2y", "2b");
        assert_eq!(parse(&format!("# made by hand\n\nada:{HASH}\r\ngrace:{other}\n")).unwrap().len(), 2);
        for (text, line, reason) in [
            ("ada:{SHA}fEqNCco3Yq9h5ZUglD3CZJT4lBs=", 1, "not bcrypt"),
            ("ada:$apr1$dHjB0/..$mkTTbqwpK/0h/rz4ZeN8M0", 1, "not bcrypt"),
            ("ada:secret", 1, "not bcrypt"),
            (&format!("ada:{}", HASH.replace("2y", "2x")), 1, "not bcrypt"),
            (&format!("ada:{}", &HASH[..59]), 1, "not bcrypt"),
            (&format!("ada:{}", HASH.replace("$05$", "$03$")), 1, "cost"),
            (&format!("ada:{}", HASH.replace("$05$", "$32$")), 1, "cost"),
            (&format!("ada:{HASH}\n\nada:{HASH}"), 3, "second time"),
            (&format!(":{HASH}"), 1, "no name"),
            ("ada", 1, "form"),
            ("# nobody\n", 0, "no user"),
        ] {
            let (at, why) = parse(text).unwrap_err();
            assert!(at == line && why.contains(reason), "{text}: {at} {why}");
        }
    }

    #[tokio::test]
    async fn right_password_is_hashed_once_and_wrong_ones_are_not_remembered() {
        let hash = bcrypt::hash("open:sesame", 4).unwrap();
        let login = login(&format!("ada:{hash}\n")).unwrap();
        for _ in 0..3 {
            assert!(login.admits(Some(&basic("ada:open:sesame"))).await);
        }
        let remembered = |login: &Login| login.remembered.lock().unwrap().len();
        assert_eq!(remembered(&login), 1);
        let lower = basic("ada:open:sesame").replace("Basic", "bASIC");
        assert!(login.admits(Some(&lower)).await);
        for header in ["ada:open", "ada:", "ada", "grace:open:sesame", ":open:sesame", "aDa:open:sesame"] {
            assert!(!login.admits(Some(&basic(header))).await, "{header}");
        }
        for header in [None, Some(""), Some("Basic"), Some("Basic !"), Some("Bearer YWRhOm9wZW46c2VzYW1l")] {
            assert!(!login.admits(header).await, "{header:?}");
        }
        assert_eq!(remembered(&login), 1);
        let past = login.remembered.lock().unwrap().values().next().unwrap().checked_sub(REMEMBERED).unwrap();
        login.remember(Digest::of(b"x"), past + 2 * REMEMBERED);
        assert_eq!(remembered(&login), 1, "what is too old is forgotten");
    }

    #[test]
    fn hash_made_by_htpasswd_is_understood() {
        let login = login(&format!("ada:{HASH}\n\n")).unwrap();
        assert!(login.verify("ada", b"sesame") && !login.verify("ada", b"Sesame") && !login.verify("eve", b"sesame"));
    }
}
