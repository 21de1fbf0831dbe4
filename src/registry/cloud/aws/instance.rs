//! The identity that a container or a virtual machine of Amazon's has of itself.
//!
//! Instance metadata is asked in its second version alone, which a forged request cannot reach.

use std::path::Path;
use std::time::Duration;

use reqwest::{Method, Request, StatusCode};
use serde::Deserialize;
use url::{Host, Url};

use super::super::super::origin::place;
use super::super::error::CloudError;
use super::super::facts::{Facts, token};
use super::super::web::{Answer, Web, any_address, get, set_headers};
use super::sign::Keys;

/// How long the metadata of an instance may take: it answers at once, or it is not there.
const PATIENCE: Duration = Duration::from_secs(2);
/// The same of a container, whose environment says that it is there.
const CONTAINER_PATIENCE: Duration = Duration::from_secs(10);
const CONTAINER_HOSTS: [&str; 3] = ["169.254.170.2", "169.254.170.23", "[fd00:ec2::23]"];

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Document {
    access_key_id: String,
    secret_access_key: String,
    #[serde(default)]
    token: Option<String>,
}

fn read(answer: Answer, source: &str) -> Result<Keys, CloudError> {
    let Document { access_key_id: id, secret_access_key: secret, token: session } = answer.json()?;
    Ok(Keys { id, secret, session, source: source.to_owned() })
}

/// The variables by which a container is told where its identity is.
pub(crate) const CONTAINER: [&str; 2] =
    ["AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI"];

/// The identity of a task in ECS, or of a pod in EKS; `None` outside of these.
pub(crate) async fn container(facts: &Facts, web: &Web) -> Result<Option<Keys>, CloudError> {
    let [relative, full] = CONTAINER;
    let (url, source) = match (facts.var(relative), facts.var(full)) {
        (Some(path), _) => (any_address(&format!("http://169.254.170.2{path}"), relative)?, relative),
        (None, Some(text)) => (container_address(text, full)?, full),
        (None, None) => return Ok(None),
    };
    let authorization = match facts.var("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE") {
        Some(file) => Some(token(Path::new(file))?),
        None => facts.var("AWS_CONTAINER_AUTHORIZATION_TOKEN").map(str::to_owned),
    };
    let headers: Vec<_> = authorization.iter().map(|token| ("authorization", token.as_str())).collect();
    let answer = if url.scheme() == "https" {
        web.ask(get(url, &headers)).await?
    } else {
        let host = url.host_str().unwrap_or_default().to_owned();
        web.ask_near(get(url, &headers), CONTAINER_PATIENCE).await?.ok_or(CloudError::Junk { host })?
    };
    read(answer, source).map(Some)
}

/// By https anywhere; by http on this machine and at the addresses of Amazon's own.
fn container_address(text: &str, of: &str) -> Result<Url, CloudError> {
    let url = any_address(text, of)?;
    let is_own = url.host_str().is_some_and(|host| CONTAINER_HOSTS.contains(&host));
    let is_loopback = match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    };
    if url.scheme() == "https" || is_own || is_loopback {
        return Ok(url);
    }
    Err(CloudError::Plain { place: place(&url), of: of.to_owned() })
}

/// The identity of a virtual machine; `None` when this is none, or it has no role.
pub(crate) async fn machine(facts: &Facts, web: &Web) -> Result<Option<Keys>, CloudError> {
    const VARIABLE: &str = "AWS_EC2_METADATA_SERVICE_ENDPOINT";
    if facts.is_set("AWS_EC2_METADATA_DISABLED") {
        return Ok(None);
    }
    let is_v6 =
        facts.var("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE").is_some_and(|mode| mode.eq_ignore_ascii_case("IPv6"));
    let usual = if is_v6 { "http://[fd00:ec2::254]" } else { "http://169.254.169.254" };
    let base = facts.var(VARIABLE).unwrap_or(usual).trim_end_matches('/');
    let mut opening = Request::new(Method::PUT, any_address(&format!("{base}/latest/api/token"), VARIABLE)?);
    set_headers(&mut opening, &[("x-aws-ec2-metadata-token-ttl-seconds", "300")]);
    *opening.body_mut() = Some(String::new().into());
    // Whoever gives no token is no such service, or is told to keep quiet.
    let Some(opened) = web.ask_near(opening, PATIENCE).await? else { return Ok(None) };
    if opened.status.is_client_error() {
        return Ok(None);
    }
    let token = opened.text()?;
    let ask = async |path: &str| -> Result<Answer, CloudError> {
        let url = any_address(&format!("{base}/latest/meta-data/iam/security-credentials/{path}"), VARIABLE)?;
        let host = url.host_str().unwrap_or_default().to_owned();
        let request = get(url, &[("x-aws-ec2-metadata-token", token.trim())]);
        web.ask_near(request, PATIENCE).await?.ok_or(CloudError::Junk { host })
    };
    let roles = ask("").await?;
    if roles.status == StatusCode::NOT_FOUND {
        return Ok(None);
    }
    let roles = roles.text()?;
    let Some(role) = roles.lines().next().map(str::trim).filter(|role| !role.is_empty()) else { return Ok(None) };
    read(ask(role).await?, "AWS instance metadata").map(Some)
}
