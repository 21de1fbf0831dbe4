//! Where an AWS identity comes from, in the order of AWS's own tools: environment, profile, web identity, container,
//! virtual machine.
//!
//! The first source that is there counts, and it has to work: a broken one is never passed over.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;

use super::super::super::helper_process;
use super::super::super::keychain::KeychainError;
use super::super::error::CloudError;
use super::super::facts::Facts;
use super::super::keychain::broken;
use super::instance;
use super::profiles::{Profile, Profiles};
use super::role::{Role, Sts};
use super::sign::Keys;
use super::sso;

/// How long a program may take to print an identity.
const PROCESS_PATIENCE: Duration = Duration::from_secs(30);

/// What the program of `credential_process` prints.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Printed {
    access_key_id: String,
    secret_access_key: String,
    #[serde(default)]
    session_token: Option<String>,
}

/// The identity that this machine offers; `None` when there is no source at all.
pub(crate) async fn find(sts: Sts<'_>) -> Result<Option<Keys>, KeychainError> {
    let (facts, web) = (sts.facts, sts.web);
    if let Some(keys) = environment(facts).map_err(broken("AWS_ACCESS_KEY_ID"))? {
        return Ok(Some(keys));
    }
    let name = facts.var("AWS_PROFILE").or_else(|| facts.var("AWS_DEFAULT_PROFILE"));
    let profile = format!("AWS profile {}", name.unwrap_or("default"));
    if let Some(keys) = of_profile(sts, name).await.map_err(broken(profile))? {
        return Ok(Some(keys));
    }
    let variable = "AWS_WEB_IDENTITY_TOKEN_FILE";
    if let Some(keys) = of_web_identity(sts, variable).await.map_err(broken(variable))? {
        return Ok(Some(keys));
    }
    let container = instance::CONTAINER.into_iter().find(|name| facts.var(name).is_some());
    if let Some(keys) = instance::container(facts, web).await.map_err(broken(container.unwrap_or_default()))? {
        return Ok(Some(keys));
    }
    instance::machine(facts, web).await.map_err(broken("AWS instance metadata"))
}

fn environment(facts: &Facts) -> Result<Option<Keys>, CloudError> {
    let lacks = |field| CloudError::Field { of: "the environment".to_owned(), field };
    match (facts.var("AWS_ACCESS_KEY_ID"), facts.var("AWS_SECRET_ACCESS_KEY")) {
        (None, None) => Ok(None),
        (None, Some(_)) => Err(lacks("AWS_ACCESS_KEY_ID")),
        (Some(_), None) => Err(lacks("AWS_SECRET_ACCESS_KEY")),
        (Some(id), Some(secret)) => Ok(Some(Keys {
            id: id.to_owned(),
            secret: secret.to_owned(),
            session: facts.var("AWS_SESSION_TOKEN").map(str::to_owned),
            source: "AWS_ACCESS_KEY_ID".to_owned(),
        })),
    }
}

async fn of_web_identity(sts: Sts<'_>, variable: &str) -> Result<Option<Keys>, CloudError> {
    let Some(file) = sts.facts.var(variable) else { return Ok(None) };
    let lacks = |field| CloudError::Field { of: "the environment".to_owned(), field };
    let arn = sts.facts.var("AWS_ROLE_ARN").ok_or_else(|| lacks("AWS_ROLE_ARN"))?.to_owned();
    let session = sts.facts.var("AWS_ROLE_SESSION_NAME").map(str::to_owned);
    let role = Role { arn, session, external_id: None };
    sts.assume_with_token(&role, Path::new(file), variable).await.map(Some)
}

/// The identity of a profile, over the roles that lead to it. A profile that nobody named may be absent or say nothing
/// of an identity.
async fn of_profile(sts: Sts<'_>, named: Option<&str>) -> Result<Option<Keys>, CloudError> {
    let profiles = Profiles::read(sts.facts)?;
    let mut name = named.unwrap_or("default").to_owned();
    let mut roles = Vec::new();
    let mut seen = BTreeSet::new();
    let found = loop {
        let Some(profile) = profiles.get(&name) else {
            if named.is_none() && roles.is_empty() {
                return Ok(None);
            }
            return Err(CloudError::Profile(name));
        };
        let lacks = |field| CloudError::Field { of: format!("AWS profile {name}"), field };
        let Some(role) = role_of(profile, &name)? else { break base(sts, &profiles, &name, profile).await? };
        if !seen.insert(name.clone()) {
            return Err(CloudError::Loop(name));
        }
        if let Some(file) = profile.get("web_identity_token_file") {
            let source = format!("AWS profile {name}");
            break Some(sts.assume_with_token(&role, Path::new(file), &source).await?);
        }
        roles.push(role);
        match (profile.get("source_profile"), profile.get("credential_source").map(String::as_str)) {
            (Some(next), _) if *next == name => break written_out(profile, &name)?,
            (Some(next), _) => name = next.clone(),
            (None, Some("Environment")) => break environment(sts.facts)?,
            (None, Some("EcsContainer")) => break instance::container(sts.facts, sts.web).await?,
            (None, Some("Ec2InstanceMetadata")) => break instance::machine(sts.facts, sts.web).await?,
            (None, _) => return Err(lacks("source_profile")),
        }
    };
    let Some(mut keys) = found else {
        let field = "aws_access_key_id";
        let nothing = CloudError::Field { of: format!("AWS profile {name}"), field };
        return if roles.is_empty() { Ok(None) } else { Err(nothing) };
    };
    for role in roles.iter().rev() {
        keys = sts.assume(role, &keys).await?;
    }
    Ok(Some(keys))
}

fn role_of(profile: &Profile, name: &str) -> Result<Option<Role>, CloudError> {
    let Some(arn) = profile.get("role_arn") else { return Ok(None) };
    if profile.contains_key("mfa_serial") {
        return Err(CloudError::Unsupported(format!("`mfa_serial` of AWS profile {name}")));
    }
    let setting = |name: &str| profile.get(name).cloned();
    Ok(Some(Role { arn: arn.clone(), session: setting("role_session_name"), external_id: setting("external_id") }))
}

/// The identity of a profile without a role.
async fn base(sts: Sts<'_>, profiles: &Profiles, name: &str, profile: &Profile) -> Result<Option<Keys>, CloudError> {
    if let Some(keys) = written_out(profile, name)? {
        return Ok(Some(keys));
    }
    if sso::is_meant(profile) {
        return sso::keys(sts.facts, sts.web, profiles, name, profile).await.map(Some);
    }
    match profile.get("credential_process") {
        Some(line) => of_process(sts.facts, line, name).await.map(Some),
        None => Ok(None),
    }
}

fn written_out(profile: &Profile, name: &str) -> Result<Option<Keys>, CloudError> {
    let source = format!("AWS profile {name}");
    let setting = |name: &str| profile.get(name).cloned();
    match (setting("aws_access_key_id"), setting("aws_secret_access_key")) {
        (None, None) => Ok(None),
        (Some(id), Some(secret)) => Ok(Some(Keys { id, secret, session: setting("aws_session_token"), source })),
        (None, Some(_)) => Err(CloudError::Field { of: source, field: "aws_access_key_id" }),
        (Some(_), None) => Err(CloudError::Field { of: source, field: "aws_secret_access_key" }),
    }
}

async fn of_process(facts: &Facts, line: &str, name: &str) -> Result<Keys, CloudError> {
    let words = words(line);
    let printed = helper_process::printed_by(&words, &facts.variables, PROCESS_PATIENCE).await;
    let printed = printed.map_err(CloudError::Process)?;
    let junk = |_| CloudError::Process(helper_process::HelperError::Junk);
    let Printed { access_key_id: id, secret_access_key: secret, session_token: session } =
        serde_json::from_slice(&printed).map_err(junk)?;
    Ok(Keys { id, secret, session, source: format!("AWS profile {name}") })
}

/// The words of a command line, as a shell would part them; nothing else that a shell does is done.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut characters = line.chars();
    while let Some(c) = characters.next() {
        match (c, quote) {
            ('\\', None | Some('"')) => word.get_or_insert_default().extend(characters.next()),
            (c, Some(open)) if c == open => quote = None,
            (c, Some(_)) => word.get_or_insert_default().push(c),
            ('"' | '\'', None) => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (c, None) if c.is_whitespace() => words.extend(word.take()),
            (c, None) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_lines_are_parted_into_words() {
        for (line, expected) in [
            ("/bin/tool --a b", vec!["/bin/tool", "--a", "b"]),
            ("  \"with space\"  'a \"b\"' c\\ d ", vec!["with space", "a \"b\"", "c d"]),
            ("a''b \"\"", vec!["ab", ""]),
            ("$(rm) ; x", vec!["$(rm)", ";", "x"]),
            ("", vec![]),
        ] {
            assert_eq!(words(line), expected, "{line}");
        }
    }
}
