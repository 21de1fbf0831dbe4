//! Examines how a registry can be reached and what it allows, step by step, and leaves nothing behind.
//!
//! Mends nothing; what the machine itself is like is for the command line to say.

use std::net::IpAddr;
use std::time::{Duration, Instant, SystemTime};

use super::doctor_report::{Check, Diagnosis, State};
use crate::oci::Repository;
use crate::registry::{Client, ConnectError, Greeting, Mirror, Mounts, Readable, RegistryError, Way};

/// A clock that is off by more makes tokens and signatures invalid.
const SKEW: Duration = Duration::from_secs(60);

/// What is examined.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// A registry, by its host.
    Registry(String),
    /// A repository that has to be readable.
    Source(Repository),
    /// A repository that has to be pushed to.
    Target(Repository),
    /// A repository of which nothing is expected.
    Repository(Repository),
}

impl Subject {
    /// Reads `host[:port]` or a repository; a tag or digest is dropped. As in references, a host has a dot, a port or
    /// is `localhost`.
    pub fn parse(text: &str) -> Option<Self> {
        let as_host = Repository::parse(&format!("{text}/image")).ok();
        match as_host.filter(|found| !text.contains('/') && found.registry() == text) {
            Some(_) => Some(Self::Registry(text.to_owned())),
            None => crate::oci::Reference::parse(text).ok().map(|found| Self::Repository(found.repository())),
        }
    }

    /// The registry's host.
    pub fn registry(&self) -> &str {
        match self {
            Self::Registry(domain) => domain,
            Self::Source(at) | Self::Target(at) | Self::Repository(at) => at.registry(),
        }
    }

    fn repository(&self) -> Option<&Repository> {
        match self {
            Self::Registry(_) => None,
            Self::Source(at) | Self::Target(at) | Self::Repository(at) => Some(at),
        }
    }
}

impl std::fmt::Display for Subject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.repository() {
            Some(at) => write!(f, "{at}"),
            None => f.write_str(self.registry()),
        }
    }
}

/// Examines one registry or repository; `now` gives the time by this machine's clock.
pub async fn doctor(client: &Client, subject: &Subject, now: &(dyn Fn() -> SystemTime + Send + Sync)) -> Diagnosis {
    let mut diagnosis = Diagnosis::new(subject.to_string());
    let domain = subject.registry();
    let way = match client.way(domain) {
        Ok(way) => way,
        Err(error) => {
            diagnosis.add(Check::failed("address", &error));
            return diagnosis;
        }
    };
    diagnosis.add(Check::fine("address", reached(&way)));
    let can_go_on = match &way.proxy {
        Some(proxy) => {
            diagnosis.add(Check::fine("proxy", proxy.clone()));
            true
        }
        None => connection(client, domain, &way, &mut diagnosis).await,
    };
    if can_go_on && let Some(greeting) = api(client, domain, &mut diagnosis).await {
        // Through a proxy the handshake is the HTTP client's own.
        if way.proxy.is_some()
            && way.is_secure
            && let Some(version) = client.encrypted_by(domain)
        {
            diagnosis.add(Check::fine("encryption", version.to_owned()));
        }
        clock(&greeting, now(), &mut diagnosis);
        rights(client, subject, &greeting, &mut diagnosis).await;
    }
    for mirror in &way.mirrors {
        mirrored(client, mirror, &mut diagnosis).await;
    }
    diagnosis
}

fn reached(way: &Way) -> String {
    let mut text = way.origin.clone();
    if !way.is_secure {
        text.push_str(", not encrypted");
    }
    if way.has_identity {
        text.push_str(", with a certificate of ours");
    }
    text
}

/// Name, TCP and TLS, one after the other; says whether to go on.
async fn connection(client: &Client, domain: &str, way: &Way, diagnosis: &mut Diagnosis) -> bool {
    let started = Instant::now();
    let addresses = match client.look_up(domain).await {
        Ok(addresses) => addresses,
        Err(error) => return unreached(diagnosis, "name", &error, started),
    };
    diagnosis.add(Check::fine("name", listed(&addresses)).took(started));
    let mut last = None;
    for address in &addresses {
        let started = Instant::now();
        match client.connect(domain, *address).await {
            Ok(stream) => {
                diagnosis.add(Check::fine("connection", format!("TCP to {address}")).took(started));
                last = Some(Ok(stream));
                break;
            }
            Err(error) => last = Some(Err((error, started))),
        }
    }
    let stream = match last {
        Some(Ok(stream)) => stream,
        Some(Err((error, started))) => return unreached(diagnosis, "connection", &error, started),
        None => return false,
    };
    if !way.is_secure {
        return true;
    }
    let started = Instant::now();
    match client.encrypt(domain, stream).await {
        Ok(version) => diagnosis.add(Check::fine("encryption", version.to_owned()).took(started)),
        Err(error) => return unreached(diagnosis, "encryption", &error, started),
    }
    true
}

fn unreached(diagnosis: &mut Diagnosis, name: &'static str, error: &ConnectError, started: Instant) -> bool {
    diagnosis.add(Check::failed(name, error).took(started));
    false
}

fn listed(addresses: &[IpAddr]) -> String {
    match addresses {
        [first, rest @ ..] if !rest.is_empty() => format!("{first} and {} more", rest.len()),
        addresses => addresses.iter().map(ToString::to_string).collect(),
    }
}

async fn api(client: &Client, domain: &str, diagnosis: &mut Diagnosis) -> Option<Greeting> {
    let started = Instant::now();
    match client.greet(domain).await {
        Ok(greeting) if matches!(greeting.status, 200 | 401) => {
            let version = if greeting.is_http2 { "HTTP/2" } else { "HTTP/1.1" };
            let login = if greeting.status == 401 { "asks who is there" } else { "asks nobody for a login" };
            diagnosis.add(Check::fine("api", format!("{version}, {login}")).took(started));
            Some(greeting)
        }
        Ok(greeting) => {
            let text = format!("`GET /v2/` is answered with {}, as no registry does", greeting.status);
            let hint = "check the host and port: something else listens there".to_owned();
            diagnosis.add(Check::warning("api", text).took(started).hint(hint));
            Some(greeting)
        }
        Err(error) => {
            diagnosis.add(Check::failed("api", &error).took(started));
            None
        }
    }
}

fn clock(greeting: &Greeting, now: SystemTime, diagnosis: &mut Diagnosis) {
    let Some(theirs) = greeting.date else {
        diagnosis.add(Check::not_tried("clock", "the registry does not tell its time".to_owned()));
        return;
    };
    let (skew, side) = match now.duration_since(theirs) {
        Ok(ahead) => (ahead, "ahead of"),
        Err(behind) => (behind.duration(), "behind"),
    };
    let seconds = skew.as_secs();
    diagnosis.add(if skew > SKEW {
        let hint = "set this machine's clock: certificates, tokens and signatures depend on it".to_owned();
        Check::warning("clock", format!("this machine is {seconds} s {side} the registry")).hint(hint)
    } else {
        Check::fine("clock", "as the registry's".to_owned())
    });
}

async fn rights(client: &Client, subject: &Subject, greeting: &Greeting, diagnosis: &mut Diagnosis) {
    let (domain, path) = (subject.registry(), subject.repository().map_or("", Repository::path));
    let known = match client.identity(domain, path).await {
        Ok(Some(source)) => {
            diagnosis.add(Check::fine("identity", format!("from `{source}`")));
            true
        }
        Ok(None) => {
            diagnosis.add(Check::fine("identity", "anonymous".to_owned()));
            false
        }
        Err(error) => {
            diagnosis.add(Check::failed("identity", &error));
            return;
        }
    };
    match greeting.status {
        401 if known => {
            if !login(client, domain, diagnosis).await {
                return;
            }
        }
        401 => diagnosis.add(Check::not_tried("login", "there is no identity to log in with".to_owned())),
        _ => diagnosis.add(Check::not_tried("login", "the registry asks for none".to_owned())),
    }
    if let Some(at) = subject.repository() {
        repository(client, subject, at, diagnosis).await;
    }
}

async fn login(client: &Client, domain: &str, diagnosis: &mut Diagnosis) -> bool {
    let started = Instant::now();
    match client.log_in(domain).await {
        Ok(()) => diagnosis.add(Check::fine("login", "accepted".to_owned()).took(started)),
        Err(error @ (RegistryError::Unauthorized { .. } | RegistryError::Keychain { .. })) => {
            diagnosis.add(Check::failed("login", &error).took(started));
            return false;
        }
        // Some token servers give none without a repository.
        Err(error) => diagnosis.add(Check::passed_over("login", &error, State::Note).took(started)),
    }
    true
}

async fn repository(client: &Client, subject: &Subject, at: &Repository, diagnosis: &mut Diagnosis) {
    let started = Instant::now();
    let readable = client.may_pull(at).await;
    let absent = matches!(readable, Ok(Readable::Absent));
    diagnosis.add(
        match &readable {
            Ok(Readable::Yes) => Check::fine("pull", "yes".to_owned()),
            Ok(Readable::Absent) if matches!(subject, Subject::Source(_)) => {
                Check::warning("pull", "there is no such repository, or no right to see it".to_owned())
            }
            Ok(Readable::Absent) => Check::fine("pull", "there is no such repository yet".to_owned()),
            Err(error) if matches!(subject, Subject::Repository(_)) => Check::passed_over("pull", error, State::Note),
            Err(error) => Check::failed("pull", error),
        }
        .took(started),
    );
    let pushes = push(client, subject, at, diagnosis).await;
    mount(client, at, pushes, absent || readable.is_err(), diagnosis).await;
    if absent || readable.is_err() {
        diagnosis.add(Check::not_tried("referrers", "the repository cannot be read".to_owned()));
        return;
    }
    let started = Instant::now();
    diagnosis.add(match client.has_referrers_api(at).await {
        Ok(true) => Check::fine("referrers", "by the API".to_owned()).took(started),
        Ok(false) => Check::fine("referrers", "by tags, since there is no API".to_owned()).took(started),
        Err(error) => Check::passed_over("referrers", &error, State::Note).took(started),
    });
}

/// Says whether it can be pushed to.
async fn push(client: &Client, subject: &Subject, at: &Repository, diagnosis: &mut Diagnosis) -> bool {
    if matches!(subject, Subject::Source(_)) {
        diagnosis.add(Check::not_tried("push", "nothing is going to be pushed there".to_owned()));
        return false;
    }
    let started = Instant::now();
    let session = match client.may_push(at).await {
        Ok(session) => session,
        Err(error) if matches!(subject, Subject::Target(_)) => {
            diagnosis.add(Check::failed("push", &error).took(started));
            return false;
        }
        Err(error) => {
            diagnosis.add(Check::passed_over("push", &error, State::Note).took(started));
            return false;
        }
    };
    let left = if session.removed { "the upload session is removed" } else { "the upload session ends by itself" };
    diagnosis.add(Check::fine("push", format!("yes; {left}")).took(started));
    let limits = match (session.chunk_min, session.chunk_max) {
        (None, None) => "no limit is told".to_owned(),
        (Some(least), None) => format!("at least {least} bytes"),
        (None, Some(most)) => format!("at most {most} bytes"),
        (Some(least), Some(most)) => format!("{least} to {most} bytes"),
    };
    diagnosis.add(Check::fine("chunks", limits));
    true
}

/// Tries a mount that changes nothing. A mount from another repository could leave a blob, so that none is tried.
async fn mount(client: &Client, at: &Repository, pushes: bool, unread: bool, diagnosis: &mut Diagnosis) {
    let why = match (pushes, unread) {
        (false, _) => Some("nothing can be pushed there"),
        (true, true) => Some("the repository has no blob that could be mounted onto itself; push an image first"),
        (true, false) => None,
    };
    if let Some(why) = why {
        diagnosis.add(Check::not_tried("mount", why.to_owned()));
        return;
    }
    let started = Instant::now();
    diagnosis.add(match client.may_mount(at).await {
        Ok(Mounts::Yes) => Check::fine("mount", "yes, of a blob that is there already".to_owned()).took(started),
        Ok(Mounts::No) => {
            let text = "no: the registry opens an upload instead, and blobs are copied".to_owned();
            Check { state: State::Note, ..Check::fine("mount", text) }.took(started)
        }
        Ok(Mounts::Never { registry }) => Check::not_tried("mount", format!("{registry} is known to refuse mounts")),
        Ok(Mounts::NoBlob) => {
            let why = "the repository has no image whose blob could be mounted onto itself; push one first";
            Check::not_tried("mount", why.to_owned())
        }
        Err(error) => Check::passed_over("mount", &error, State::Note).took(started),
    });
}

async fn mirrored(client: &Client, mirror: &Mirror, diagnosis: &mut Diagnosis) {
    let started = Instant::now();
    diagnosis.add(match client.greet(mirror.registry()).await {
        Ok(greeting) if matches!(greeting.status, 200 | 401) => {
            let identity = client.identity(mirror.registry(), "").await.ok().flatten();
            let identity = identity.map_or("anonymous".to_owned(), |source| format!("as from `{source}`"));
            Check::fine("mirror", format!("{mirror}, {identity}")).took(started)
        }
        Ok(greeting) => {
            let text = format!("{mirror} answers `GET /v2/` with {}, as no registry does", greeting.status);
            Check::warning("mirror", text).took(started)
        }
        Err(error) => Check::passed_over("mirror", &error, State::Warning).took(started),
    });
}
