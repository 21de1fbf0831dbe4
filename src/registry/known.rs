//! What is known of registries before anything is asked of them: one row each.
//!
//! Holds facts, no requests: `upload`, `mount` and `referrers` act upon them, and find out at run time what no row says.

use reqwest::header::HeaderMap;

/// How a registry treats mounts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mounting {
    /// Of any blob that a repository has. `from` is always sent, since some fail without it, and no parameter for
    /// another registry ever is, since some refuse the request then.
    Any,
    /// Only of blobs that a manifest refers to, so not of one that was pushed a moment ago.
    Referred,
    /// Never: asking costs a request.
    Never,
}

/// How a blob's bytes are sent first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// One PUT, with the digest.
    Put,
    /// One PATCH without `Content-Range`, then an empty PUT with the digest.
    Patch,
}

/// Where the referrers of a manifest are listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Listing {
    /// By the API, or by the tag where the API answers that it is none.
    Api,
    /// By the tag of the subject's digest: there is no API to ask.
    Tag,
}

/// What is known of one registry or one kind of registry server.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) name: &'static str,
    /// Whole labels of its hosts' names: `*` is one label, a leading `**` is one or more.
    pub(super) hosts: &'static [&'static str],
    /// Headers by which a server makes itself known, whatever its host.
    pub(super) signs: &'static [&'static str],
    pub(super) mounting: Mounting,
    pub(super) way: Way,
    /// The most bytes that a request with `Content-Range` may have; 0 where there are no chunks and no resumption.
    pub(super) ranged: u64,
    /// The most bytes that any request may have.
    pub(super) body: u64,
    /// Whether an upload that was cut can be asked how far it is.
    pub(super) resumes: bool,
    pub(super) listing: Listing,
    /// What to do when it refuses a push.
    pub(super) cure: Option<&'static str>,
}

/// A registry of which nothing is known: everything is tried, in the order of its cost.
const UNKNOWN: Known = Known {
    name: "unknown",
    hosts: &[],
    signs: &[],
    mounting: Mounting::Any,
    way: Way::Put,
    ranged: u64::MAX,
    body: u64::MAX,
    resumes: true,
    listing: Listing::Api,
    cure: None,
};

/// distribution itself, Quay, GitLab, Harbor and zot differ in nothing that a client has to know before it asks: where
/// they do (relative and absolute `Location`, 202 to a mount, missing digests), every answer is read for what it says.
const ROWS: [Known; 9] = [
    Known {
        name: "Amazon ECR",
        hosts: &["*.dkr.ecr.*.amazonaws.com", "*.dkr.ecr.*.amazonaws.com.cn", "*.dkr-ecr.*.on.aws", "public.ecr.aws"],
        mounting: Mounting::Referred,
        cure: Some("create the repository first (`aws ecr create-repository`), or a template for creation on push"),
        ..UNKNOWN
    },
    Known {
        name: "Google Artifact Registry",
        hosts: &["*.pkg.dev", "gcr.io", "*.gcr.io"],
        ranged: 0,
        resumes: false,
        cure: Some("the repository must exist, and the account needs the role `artifactregistry.writer` on it"),
        ..UNKNOWN
    },
    Known {
        name: "Azure Container Registry",
        hosts: &["*.azurecr.io", "*.azurecr.cn", "*.azurecr.us"],
        way: Way::Patch,
        resumes: false,
        cure: Some("the account needs the role `AcrPush` on the registry"),
        ..UNKNOWN
    },
    Known {
        name: "GitHub Container Registry",
        hosts: &["ghcr.io"],
        way: Way::Patch,
        ranged: 4 << 20,
        resumes: false,
        listing: Listing::Tag,
        cure: Some("the token needs `write:packages`, and a workflow's own repository must have access to the package"),
        ..UNKNOWN
    },
    Known {
        name: "Docker Hub",
        hosts: &["docker.io", "index.docker.io", "registry-1.docker.io"],
        cure: Some("create the repository, or log in with a token that may write to it"),
        ..UNKNOWN
    },
    Known {
        name: "Quay",
        hosts: &["quay.io", "*.quay.io"],
        cure: Some("robot accounts need write access to the repository, which they do not create"),
        ..UNKNOWN
    },
    Known {
        name: "Harbor",
        hosts: &["demo.goharbor.io"],
        cure: Some("the project must exist and have quota left"),
        ..UNKNOWN
    },
    Known {
        name: "Artifactory",
        hosts: &["*.jfrog.io"],
        signs: &["x-jfrog-version", "x-artifactory-id"],
        mounting: Mounting::Never,
        way: Way::Patch,
        cure: Some("the repository key of the path must exist and be a local one"),
        ..UNKNOWN
    },
    Known { name: "Cloudflare", hosts: &["registry.cloudflare.com", "**.workers.dev"], body: 95 << 20, ..UNKNOWN },
];

/// The row of the registry `domain` (`host` or `host:port`).
pub(super) fn of_host(domain: &str) -> &'static Known {
    let host = domain.rsplit_once(':').map_or(domain, |(host, _)| host).trim_end_matches('.').to_ascii_lowercase();
    let named = |row: &&Known| row.hosts.iter().any(|pattern| is_host(pattern, &host));
    ROWS.iter().find(named).unwrap_or(&UNKNOWN)
}

/// The row of the server that sent these headers, when it says who it is.
pub(super) fn of_headers(headers: &HeaderMap) -> Option<&'static Known> {
    ROWS.iter().find(|row| row.signs.iter().any(|sign| headers.contains_key(*sign)))
}

/// Whether `pattern` names `host`, by whole labels from the right.
fn is_host(pattern: &str, host: &str) -> bool {
    let mut labels = host.rsplit('.');
    for wanted in pattern.rsplit('.') {
        let Some(label) = labels.next().filter(|label| !label.is_empty()) else { return false };
        match wanted {
            "**" => return true,
            "*" => {}
            _ if wanted == label => {}
            _ => return false,
        }
    }
    labels.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_known_by_whole_labels() {
        for (domain, name) in [
            ("123456789012.dkr.ecr.eu-west-1.amazonaws.com", "Amazon ECR"),
            ("123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn", "Amazon ECR"),
            ("public.ecr.aws", "Amazon ECR"),
            ("123456789012.dkr.ecr.eu-west-1.amazonaws.com.evil.test", "unknown"),
            ("dkr.ecr.eu-west-1.amazonaws.com", "unknown"),
            ("a.b.dkr.ecr.eu-west-1.amazonaws.com", "unknown"),
            ("europe-docker.pkg.dev", "Google Artifact Registry"),
            ("eu.gcr.io", "Google Artifact Registry"),
            ("gcr.io:443", "Google Artifact Registry"),
            ("notgcr.io", "unknown"),
            ("mine.azurecr.io", "Azure Container Registry"),
            ("azurecr.io", "unknown"),
            ("GHCR.io", "GitHub Container Registry"),
            ("ghcr.io.", "GitHub Container Registry"),
            ("xghcr.io", "unknown"),
            ("docker.io", "Docker Hub"),
            ("registry-1.docker.io", "Docker Hub"),
            ("quay.io", "Quay"),
            ("team.jfrog.io", "Artifactory"),
            ("demo.goharbor.io", "Harbor"),
            ("registry.cloudflare.com", "Cloudflare"),
            ("a.b.workers.dev", "Cloudflare"),
            ("workers.dev", "unknown"),
            ("localhost:5000", "unknown"),
            ("[::1]:5000", "unknown"),
            ("", "unknown"),
        ] {
            assert_eq!(of_host(domain).name, name, "{domain}");
        }
    }

    #[test]
    fn rows_say_what_the_flow_needs() {
        let row = |name: &str| ROWS.iter().find(|row| row.name == name).unwrap();
        assert_eq!(row("Amazon ECR").mounting, Mounting::Referred);
        assert_eq!(row("Artifactory").mounting, Mounting::Never);
        assert_eq!((row("Google Artifact Registry").ranged, row("Google Artifact Registry").resumes), (0, false));
        assert_eq!((row("Azure Container Registry").way, row("Azure Container Registry").resumes), (Way::Patch, false));
        assert_eq!(
            (row("GitHub Container Registry").way, row("GitHub Container Registry").ranged),
            (Way::Patch, 4 << 20)
        );
        assert_eq!(row("GitHub Container Registry").listing, Listing::Tag);
        assert!(row("Cloudflare").body < 100_000_000);
        for row in &ROWS {
            assert!(!row.hosts.is_empty() && row.cure.is_none_or(|cure| !cure.ends_with('.')), "{}", row.name);
        }
    }

    #[test]
    fn a_server_is_known_by_what_it_sends() {
        let mut headers = HeaderMap::new();
        assert_eq!(of_headers(&headers), None);
        headers.insert("x-jfrog-version", "Artifactory/7".parse().unwrap());
        assert_eq!(of_headers(&headers).unwrap().name, "Artifactory");
    }
}
