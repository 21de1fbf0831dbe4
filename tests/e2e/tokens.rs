//! A token server on loopback, whose tokens live as long as a case wants.
//!
//! Signs with openssl and lets one user in; which repositories there are it does not know.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use crate::harness::Halt;
use crate::process::done;
use crate::registries::{Realm, SERVICE};

/// What distribution adds to a token's life, in case its clock is wrong.
const GRACE: u64 = 60;
const ISSUER: &str = "e2e-token-server";

/// What a token server gives, and to whom.
#[derive(Clone, Debug)]
pub(crate) struct Terms {
    pub(crate) username: &'static str,
    pub(crate) password: &'static str,
    /// How long a registry takes a token, in seconds.
    pub(crate) life: u64,
    /// How long it says that tokens live; `None` says nothing.
    pub(crate) told: Option<u64>,
    /// Leaves the right to push out of every token.
    pub(crate) read_only: bool,
}

/// A token server that lasts as long as the value.
pub(crate) struct TokenServer {
    /// `127.0.0.1:PORT`.
    pub(crate) address: String,
    desk: Arc<Desk>,
}

struct Desk {
    terms: Terms,
    key: PathBuf,
    certificate: PathBuf,
    work: PathBuf,
    /// The scopes of each token that was given.
    given: Mutex<Vec<String>>,
    asked: AtomicUsize,
    ended: AtomicBool,
}

impl TokenServer {
    /// Makes a key with its certificate in `folder`, and serves.
    pub(crate) fn start(folder: &Path, terms: Terms) -> Result<Self, Halt> {
        crate::tools::need(&["openssl"])?;
        let (key, certificate) = (folder.join("token.key"), folder.join("token.crt"));
        let (key_name, certificate_name) = (key.display().to_string(), certificate.display().to_string());
        let self_signed = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=e2e tokens"];
        done("openssl", self_signed.into_iter().chain(["-keyout", &key_name, "-out", &certificate_name]))?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?.to_string();
        let (given, asked, ended) = (Mutex::default(), AtomicUsize::new(0), AtomicBool::new(false));
        let desk = Arc::new(Desk { terms, key, certificate, work: folder.to_owned(), given, asked, ended });
        let serving = Arc::clone(&desk);
        std::thread::spawn(move || {
            for caller in listener.incoming().flatten() {
                if serving.ended.load(Ordering::Relaxed) {
                    break;
                }
                let _ = serving.serve(caller);
            }
        });
        Ok(Self { address, desk })
    }

    /// What a registry has to know of it when `url` leads there.
    pub(crate) fn realm<'a>(&'a self, url: &'a str) -> Realm<'a> {
        Realm { url, issuer: ISSUER, certificate: &self.desk.certificate }
    }

    /// How often it was spoken to.
    pub(crate) fn asked(&self) -> usize {
        self.desk.asked.load(Ordering::Relaxed)
    }

    /// The scopes of each token that was given.
    pub(crate) fn given(&self) -> Vec<String> {
        self.desk.given.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for TokenServer {
    fn drop(&mut self) {
        self.desk.ended.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(&self.address);
    }
}

impl Desk {
    fn serve(&self, mut caller: TcpStream) -> Result<(), Halt> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        caller.set_read_timeout(Some(Duration::from_secs(5)))?;
        let mut lines = BufReader::new(caller.try_clone()?.take(64 << 10)).lines();
        let asked = lines.next().transpose()?.unwrap_or_default();
        let mut authorization = None;
        for line in lines {
            let line = line?;
            if line.is_empty() {
                break;
            }
            let header = line.split_once(':').filter(|(name, _)| name.eq_ignore_ascii_case("authorization"));
            authorization = header.map(|(_, value)| value.trim().to_owned()).or(authorization);
        }
        let (status, answer) = self.answer(&asked, authorization.as_deref())?;
        let (body, length) = (answer.to_string(), answer.to_string().len());
        write!(
            caller,
            "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        )?;
        Ok(())
    }

    fn answer(&self, asked: &str, authorization: Option<&str>) -> Result<(&'static str, Value), Halt> {
        let mut words = asked.split(' ');
        let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let url = url::Url::parse("http://token.test").and_then(|base| base.join(path));
        let url = url.map_err(|error| Halt::Failed(error.to_string()))?;
        if method != "GET" || url.path() != "/token" {
            return Ok(("404 Not Found", json!({"details": "not here"})));
        }
        let pair = STANDARD.encode(format!("{}:{}", self.terms.username, self.terms.password));
        if authorization != Some(&format!("Basic {pair}")) {
            return Ok(("401 Unauthorized", json!({"details": "incorrect username or password"})));
        }
        let scopes: Vec<_> =
            url.query_pairs().filter(|(name, _)| name == "scope").map(|(_, value)| value.into_owned()).collect();
        let token = self.token(&scopes)?;
        self.given.lock().unwrap_or_else(PoisonError::into_inner).push(scopes.join(" "));
        let mut answer = BTreeMap::from([("token", json!(token))]);
        answer.extend(self.terms.told.map(|seconds| ("expires_in", json!(seconds))));
        Ok(("200 OK", json!(answer)))
    }

    /// A signed token (RFC 7515) with the claims that distribution asks for.
    fn token(&self, scopes: &[String]) -> Result<String, Halt> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_err(|error| Halt::Failed(error.to_string()))?;
        let now = now.as_secs();
        let certificate = std::fs::read_to_string(&self.certificate)?;
        let certificate: String = certificate.lines().filter(|line| !line.starts_with('-')).collect();
        let header = json!({"typ": "JWT", "alg": "RS256", "x5c": [certificate]});
        let claims = json!({
            "iss": ISSUER,
            "sub": self.terms.username,
            "aud": SERVICE,
            "exp": now + self.terms.life - GRACE,
            "nbf": now - 600,
            "iat": now - 600,
            "jti": format!("{}", self.given.lock().unwrap_or_else(PoisonError::into_inner).len()),
            "access": scopes.iter().flat_map(|scope| self.access(scope)).collect::<Vec<_>>(),
        });
        let encoded = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let text = format!("{}.{}", encoded(&header), encoded(&claims));
        let (input, signature) = (self.work.join("token.txt"), self.work.join("token.sig"));
        std::fs::write(&input, &text)?;
        let names = [&self.key, &signature, &input].map(|path| path.display().to_string());
        done("openssl", ["dgst", "-sha256", "-sign", &names[0], "-out", &names[1], &names[2]])?;
        Ok(format!("{text}.{}", URL_SAFE_NO_PAD.encode(std::fs::read(signature)?)))
    }

    /// `repository:NAME:pull,push` as a claim.
    fn access(&self, scope: &str) -> Vec<Value> {
        scope
            .split(' ')
            .filter_map(|scope| {
                let (kind, rest) = scope.split_once(':')?;
                let (name, actions) = rest.rsplit_once(':')?;
                let granted = actions.split(',').filter(|action| !(self.terms.read_only && *action == "push"));
                Some(json!({"type": kind, "name": name, "actions": granted.collect::<Vec<_>>()}))
            })
            .collect()
    }
}
