//! Addresses of AWS's services, and how AWS's own tools let a user replace them.
//!
//! Metadata services have variables of their own; see `instance`.

use url::Url;

use super::super::error::CloudError;
use super::super::facts::Facts;
use super::super::web::address;

/// The address of `service` (`ECR`, `ECR_PUBLIC`, `STS`, `SSO`), by default `https://host/`: `AWS_ENDPOINT_URL_SERVICE`
/// or `AWS_ENDPOINT_URL` stand in for it unless `AWS_IGNORE_CONFIGURED_ENDPOINT_URLS` is set.
pub(crate) fn endpoint(facts: &Facts, service: &str, host: &str) -> Result<Url, CloudError> {
    let own = format!("AWS_ENDPOINT_URL_{service}");
    if !facts.is_set("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS") {
        for name in [own.as_str(), "AWS_ENDPOINT_URL"] {
            if let Some(text) = facts.var(name) {
                return address(text, name);
            }
        }
    }
    address(&format!("https://{host}/"), host)
}
