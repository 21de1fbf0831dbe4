//! Roles: an identity for a role out of another identity, or out of a web identity's token (AWS STS).
//!
//! Does not know who wants to be which role.

use std::path::Path;

use super::super::error::CloudError;
use super::super::facts::{Facts, token};
use super::super::web::{self, Answer, Web};
use super::endpoint::endpoint;
use super::sign::{Keys, Scope, sign};

const VERSION: &str = "2011-06-15";
const SESSION: &str = "lapstrake";

/// Where roles are asked for.
#[derive(Clone, Copy)]
pub(crate) struct Sts<'a> {
    pub(crate) facts: &'a Facts,
    pub(crate) web: &'a Web,
    pub(crate) region: &'a str,
    pub(crate) host: &'a str,
}

/// A role, as a profile or the environment asks for it.
pub(crate) struct Role {
    pub(crate) arn: String,
    pub(crate) session: Option<String>,
    pub(crate) external_id: Option<String>,
}

impl Role {
    fn session(&self) -> &str {
        self.session.as_deref().unwrap_or(SESSION)
    }
}

impl Sts<'_> {
    /// The role for whom `keys` identify.
    pub(crate) async fn assume(&self, role: &Role, keys: &Keys) -> Result<Keys, CloudError> {
        let mut fields = vec![
            ("Action", "AssumeRole"),
            ("Version", VERSION),
            ("RoleArn", &role.arn),
            ("RoleSessionName", role.session()),
        ];
        fields.extend(role.external_id.as_deref().map(|id| ("ExternalId", id)));
        let mut request = web::post_form(endpoint(self.facts, "STS", self.host)?, &fields);
        sign(&mut request, keys, &Scope { region: self.region, service: "sts", now: self.facts.now() });
        read(self.web.ask(request).await?, &keys.source)
    }

    /// The role for whom the token in `file` identifies.
    pub(crate) async fn assume_with_token(&self, role: &Role, file: &Path, source: &str) -> Result<Keys, CloudError> {
        let token = token(file)?;
        let fields = [
            ("Action", "AssumeRoleWithWebIdentity"),
            ("Version", VERSION),
            ("RoleArn", &role.arn),
            ("RoleSessionName", role.session()),
            ("WebIdentityToken", &token),
        ];
        let request = web::post_form(endpoint(self.facts, "STS", self.host)?, &fields);
        read(self.web.ask(request).await?, source)
    }
}

fn read(answer: Answer, source: &str) -> Result<Keys, CloudError> {
    let host = answer.host.clone();
    let text = answer.text()?;
    let junk = || CloudError::Junk { host: host.clone() };
    Ok(Keys {
        id: element(&text, "AccessKeyId").ok_or_else(junk)?,
        secret: element(&text, "SecretAccessKey").ok_or_else(junk)?,
        session: Some(element(&text, "SessionToken").ok_or_else(junk)?),
        source: source.to_owned(),
    })
}

/// The text of the only element of this name. What is asked for here has neither attributes nor entities.
fn element(xml: &str, name: &str) -> Option<String> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    let (text, _) = rest.split_once(&format!("</{name}>"))?;
    Some(text.trim().to_owned()).filter(|text| !text.is_empty() && !text.contains(['<', '&']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_read_from_an_answer() {
        let xml = "<R><Credentials><AccessKeyId>ASIA1</AccessKeyId>\n<SessionToken> a/b== </SessionToken><X></X><Y>a&amp;b</Y>";
        assert_eq!(element(xml, "AccessKeyId").as_deref(), Some("ASIA1"));
        assert_eq!(element(xml, "SessionToken").as_deref(), Some("a/b=="));
        for name in ["X", "Y", "Z", "Credentials"] {
            assert_eq!(element(xml, name), None, "{name}");
        }
    }
}
