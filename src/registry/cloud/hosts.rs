//! Which registry belongs to which cloud: by exact hosts and whole labels.
//!
//! Connects to nothing; a host with a port is no cloud's.

/// A registry of a cloud.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum CloudHost {
    /// Amazon ECR.
    Ecr(Ecr),
    /// Google Artifact Registry and Container Registry.
    Google,
    /// Azure Container Registry, with the host that issues tokens in its part of the cloud.
    Azure {
        /// The authority, as a URL.
        authority: &'static str,
    },
    /// GitHub's container registry.
    GitHub,
}

/// A registry of Amazon's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ecr {
    /// The owner's account; `None` for the public registry.
    pub(crate) account: Option<String>,
    /// The region that requests are signed for.
    pub(crate) region: String,
    /// The host of the API.
    pub(crate) api: String,
    /// The host of the token service in that region.
    pub(crate) sts: String,
}

const ECR_SUFFIXES: [&str; 7] = [
    "amazonaws.com",
    "amazonaws.com.cn",
    "amazonaws.eu",
    "sc2s.sgov.gov",
    "c2s.ic.gov",
    "cloud.adc-e.uk",
    "csp.hci.ic.gov",
];
/// Of hosts with addresses of both families: their end, that of their API's host, and that of other services.
const DUAL_SUFFIXES: [(&str, &str, &str); 2] = [
    ("on.aws", "api.aws", "amazonaws.com"),
    ("on.amazonwebservices.com.cn", "api.amazonwebservices.com.cn", "amazonaws.com.cn"),
];
const AZURE: [(&str, &str); 3] = [
    ("azurecr.io", "https://login.microsoftonline.com/"),
    ("azurecr.us", "https://login.microsoftonline.us/"),
    ("azurecr.cn", "https://login.chinacloudapi.cn/"),
];

/// The cloud that the registry `domain` belongs to.
pub(crate) fn cloud_of(domain: &str) -> Option<CloudHost> {
    let domain = domain.to_ascii_lowercase();
    match domain.as_str() {
        "ghcr.io" => return Some(CloudHost::GitHub),
        "gcr.io" => return Some(CloudHost::Google),
        "public.ecr.aws" => {
            let region = "us-east-1".to_owned();
            let api = "api.ecr-public.us-east-1.amazonaws.com".to_owned();
            let sts = "sts.us-east-1.amazonaws.com".to_owned();
            return Some(CloudHost::Ecr(Ecr { account: None, region, api, sts }));
        }
        _ => {}
    }
    if below(&domain, "gcr.io") || below(&domain, "pkg.dev") {
        return Some(CloudHost::Google);
    }
    let azure = AZURE.iter().find(|(suffix, _)| below(&domain, suffix));
    azure.map(|(_, authority)| CloudHost::Azure { authority }).or_else(|| ecr(&domain).map(CloudHost::Ecr))
}

/// How to make a repository, `domain/path`, that has to be there before a push.
pub(crate) fn making_of(repository: &str) -> String {
    let (domain, path) = repository.split_once('/').unwrap_or((repository, ""));
    match cloud_of(domain) {
        Some(CloudHost::Ecr(Ecr { account: Some(_), region, .. })) => format!(
            "pass `--create-repository`, or run `aws ecr create-repository --region {region} --repository-name {path}`"
        ),
        Some(CloudHost::Ecr(_)) => "pass `--create-repository`".to_owned(),
        Some(CloudHost::Google) => {
            "make it first with `gcloud artifacts repositories create --repository-format=docker`".to_owned()
        }
        _ => "check its name, or make it at the registry first".to_owned(),
    }
}

/// How to become somebody at the registry `domain`, for whom nothing was found there.
pub(crate) fn login_of(domain: &str) -> Option<String> {
    let own = match cloud_of(domain)? {
        CloudHost::Ecr(_) => "set AWS_PROFILE, AWS_ACCESS_KEY_ID or another source of an AWS identity",
        CloudHost::Google => "run `gcloud auth application-default login`, or set GOOGLE_APPLICATION_CREDENTIALS",
        CloudHost::Azure { .. } => {
            "set AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET, or use a managed identity"
        }
        CloudHost::GitHub => "set GITHUB_TOKEN to a token that may do so",
    };
    Some(format!("{own}; or log in with `lapstrake login {domain}`"))
}

/// Whether `domain` is `suffix` with whole labels in front.
fn below(domain: &str, suffix: &str) -> bool {
    let labels = domain.strip_suffix(suffix).and_then(|front| front.strip_suffix('.'));
    labels.is_some_and(|labels| labels.split('.').all(is_label))
}

fn is_label(label: &str) -> bool {
    let is_part = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
    !label.is_empty() && !label.starts_with('-') && !label.ends_with('-') && label.bytes().all(is_part)
}

/// `ACCOUNT.dkr.ecr[-fips].REGION.SUFFIX`, or `ACCOUNT.dkr-ecr[-fips].REGION.on.aws`.
fn ecr(domain: &str) -> Option<Ecr> {
    let (account, rest) = domain.split_once('.')?;
    if account.len() != 12 || !account.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let (service, rest) = match rest.strip_prefix("dkr.") {
        Some(rest) => rest.split_once('.')?,
        None => rest.strip_prefix("dkr-")?.split_once('.')?,
    };
    let (region, suffix) = rest.split_once('.')?;
    if !matches!(service, "ecr" | "ecr-fips") || !is_label(region) {
        return None;
    }
    let is_dual = domain[account.len()..].starts_with(".dkr-");
    let (api, suffix) = if is_dual {
        let (_, api, other) = DUAL_SUFFIXES.iter().find(|(end, ..)| *end == suffix)?;
        (format!("{service}.{region}.{api}"), *other)
    } else {
        let suffix = ECR_SUFFIXES.into_iter().find(|known| *known == suffix)?;
        let api =
            if service == "ecr" { format!("api.ecr.{region}.{suffix}") } else { format!("ecr-fips.{region}.{suffix}") };
        (api, suffix)
    };
    let sts = format!("sts.{region}.{suffix}");
    Some(Ecr { account: Some(account.to_owned()), region: region.to_owned(), api, sts })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clouds_are_known_by_exact_hosts_and_whole_labels() {
        for (domain, expected) in [
            ("gcr.io", Some("google")),
            ("eu.gcr.io", Some("google")),
            ("europe-west4-docker.pkg.dev", Some("google")),
            ("GCR.io", Some("google")),
            ("ghcr.io", Some("github")),
            ("mine.azurecr.io", Some("https://login.microsoftonline.com/")),
            ("mine.azurecr.cn", Some("https://login.chinacloudapi.cn/")),
            ("mine.azurecr.us", Some("https://login.microsoftonline.us/")),
            ("public.ecr.aws", Some("api.ecr-public.us-east-1.amazonaws.com")),
            ("123456789012.dkr.ecr.eu-central-1.amazonaws.com", Some("api.ecr.eu-central-1.amazonaws.com")),
            ("123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn", Some("api.ecr.cn-north-1.amazonaws.com.cn")),
            ("123456789012.dkr.ecr-fips.us-gov-west-1.amazonaws.com", Some("ecr-fips.us-gov-west-1.amazonaws.com")),
            ("123456789012.dkr-ecr.us-east-1.on.aws", Some("ecr.us-east-1.api.aws")),
            ("123456789012.dkr-ecr-fips.us-east-1.on.aws", Some("ecr-fips.us-east-1.api.aws")),
            ("evil-azurecr.io", None),
            ("evilazurecr.io", None),
            ("azurecr.io", None),
            (".azurecr.io", None),
            ("mine.azurecr.io.evil.test", None),
            ("mine.azurecr.io:5000", None),
            ("a/b.azurecr.io", None),
            ("gcr.io.evil.test", None),
            ("evilgcr.io", None),
            ("evil-gcr.io", None),
            ("pkg.dev", None),
            ("pkg.dev.evil.test", None),
            ("ghcr.io.evil.test", None),
            ("x.ghcr.io", None),
            ("public.ecr.aws.evil.test", None),
            ("x.public.ecr.aws", None),
            ("12345678901.dkr.ecr.eu-central-1.amazonaws.com", None),
            ("x123456789012.dkr.ecr.eu-central-1.amazonaws.com", None),
            ("123456789012.dkr.ecr.evil.test", None),
            ("123456789012.dkr.ecr.evil.eu-central-1.amazonaws.com", None),
            ("123456789012.dkr.ecr.eu-central-1.amazonaws.com.evil.test", None),
            ("123456789012.dkr.ecr.eu-central-1.evil-amazonaws.com", None),
            ("123456789012.dkr.ecr-evil.eu-central-1.amazonaws.com", None),
            ("123456789012.dkr-ecr.us-east-1.amazonaws.com", None),
            ("123456789012.dkr.ecr.us-east-1.on.aws", None),
            ("docker.io", None),
            ("localhost:5000", None),
            ("", None),
        ] {
            let found = cloud_of(domain).map(|cloud| match cloud {
                CloudHost::Ecr(ecr) => ecr.api,
                CloudHost::Google => "google".to_owned(),
                CloudHost::Azure { authority } => authority.to_owned(),
                CloudHost::GitHub => "github".to_owned(),
            });
            assert_eq!(found.as_deref(), expected, "{domain}");
        }
    }
}
