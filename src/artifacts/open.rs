//! Opens artifact stores: who we are there, and how they are reached.
//!
//! Identities are found as those for the clouds' registries are; nothing is written to find one.

use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, AwsCredential};
use object_store::azure::{AzureAccessKey, AzureCredential, MicrosoftAzureBuilder};
use object_store::gcp::{GcpCredential, GoogleCloudStorageBuilder};
use object_store::{ObjectStore, RetryConfig, StaticCredentialProvider};
use url::form_urlencoded;

use super::error::ArtifactError;
use super::location::{Location, Place};
use super::store::ArtifactStore;
use super::wire::Wire;
use crate::registry::{Clouds, Facts};

/// The variables in which Azure's tools look for the account's name and its key.
const AZURE_ACCOUNT: [&str; 2] = ["AZURE_STORAGE_ACCOUNT", "AZURE_STORAGE_ACCOUNT_NAME"];
const AZURE_KEY: [&str; 3] = ["AZURE_STORAGE_KEY", "AZURE_STORAGE_ACCOUNT_KEY", "AZURE_STORAGE_ACCESS_KEY"];

/// Opens artifact stores.
pub struct Artifacts {
    clouds: Clouds,
}

impl Artifacts {
    /// Stores as the machine that `clouds` know of reaches them.
    pub fn new(clouds: Clouds) -> Self {
        Self { clouds }
    }

    /// Opens a store; a folder need not be there yet.
    ///
    /// # Errors
    /// Fails for a cloud in offline mode, and when no identity is to be had.
    pub async fn open(&self, location: &Location) -> Result<ArtifactStore, ArtifactError> {
        let facts = self.clouds.facts();
        if let Place::Folder(path) = location.place() {
            return Ok(ArtifactStore::folder(path.clone()));
        }
        if facts.offline {
            return Err(ArtifactError::Offline(location.to_string()));
        }
        let wire = Wire::new(facts);
        let (store, prefix): (Arc<dyn ObjectStore>, &str) = match location.place() {
            Place::Folder(path) => return Ok(ArtifactStore::folder(path.clone())),
            Place::S3 { bucket, prefix } => (self.s3(location, bucket, &wire).await?, prefix),
            Place::Google { bucket, prefix } => (self.google(location, bucket, &wire).await?, prefix),
            Place::Azure { container, prefix } => (self.azure(location, container, &wire).await?, prefix),
        };
        Ok(ArtifactStore::cloud(location.clone(), store, prefix.to_owned(), wire))
    }

    async fn s3(&self, location: &Location, bucket: &str, wire: &Wire) -> Result<Arc<dyn ObjectStore>, ArtifactError> {
        let facts = self.clouds.facts();
        let region = facts.var("AWS_REGION").or_else(|| facts.var("AWS_DEFAULT_REGION")).unwrap_or("us-east-1");
        let keys = self.clouds.aws_keys(region).await?.ok_or_else(|| nobody(location, "AWS"))?;
        let credential = AwsCredential { key_id: keys.id, secret_key: keys.secret, token: keys.session };
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(bucket)
            .with_region(region)
            .with_credentials(Arc::new(StaticCredentialProvider::new(credential)))
            .with_http_connector(wire.clone())
            .with_retry(retry());
        if !facts.is_set("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS")
            && let Some(endpoint) = facts.var("AWS_ENDPOINT_URL_S3").or_else(|| facts.var("AWS_ENDPOINT_URL"))
        {
            builder = builder.with_endpoint(endpoint);
        }
        Ok(Arc::new(builder.build().map_err(|_| unusable(location, "`AWS_ENDPOINT_URL`"))?))
    }

    async fn google(
        &self,
        location: &Location,
        bucket: &str,
        wire: &Wire,
    ) -> Result<Arc<dyn ObjectStore>, ArtifactError> {
        let mut builder = GoogleCloudStorageBuilder::new()
            .with_bucket_name(bucket)
            .with_http_connector(wire.clone())
            .with_retry(retry());
        // Google's own variable for a stand-in, which knows nobody.
        let stand_in = self.clouds.facts().var("STORAGE_EMULATOR_HOST");
        let bearer = match stand_in {
            Some(host) => {
                let url = if host.contains("://") { host.to_owned() } else { format!("http://{host}") };
                builder = builder.with_base_url(url.trim_end_matches('/')).with_skip_signature(true);
                String::new()
            }
            None => self.clouds.google_token().await?.ok_or_else(|| nobody(location, "Google"))?,
        };
        builder = builder.with_credentials(Arc::new(StaticCredentialProvider::new(GcpCredential { bearer })));
        Ok(Arc::new(builder.build().map_err(|_| unusable(location, "`STORAGE_EMULATOR_HOST`"))?))
    }

    async fn azure(
        &self,
        location: &Location,
        container: &str,
        wire: &Wire,
    ) -> Result<Arc<dyn ObjectStore>, ArtifactError> {
        let facts = self.clouds.facts();
        let known = Azure::of(facts);
        let account = known.account.ok_or_else(|| unusable(location, "`AZURE_STORAGE_ACCOUNT`"))?;
        let credential = match (known.key, facts.var("AZURE_STORAGE_SAS_TOKEN")) {
            (Some(key), _) => {
                let key = AzureAccessKey::try_new(&key).map_err(|_| unusable(location, "the key of the account"))?;
                AzureCredential::AccessKey(key)
            }
            (None, Some(sas)) => {
                let pairs = form_urlencoded::parse(sas.trim_start_matches('?').as_bytes());
                AzureCredential::SASToken(pairs.into_owned().collect())
            }
            (None, None) => {
                let token = self.clouds.azure_storage_token().await?.ok_or_else(|| nobody(location, "Azure"))?;
                AzureCredential::BearerToken(token)
            }
        };
        let mut builder = MicrosoftAzureBuilder::new()
            .with_account(account)
            .with_container_name(container)
            .with_credentials(Arc::new(StaticCredentialProvider::new(credential)))
            .with_http_connector(wire.clone())
            .with_retry(retry());
        if let Some(endpoint) = known.endpoint {
            builder = builder.with_endpoint(endpoint);
        }
        Ok(Arc::new(builder.build().map_err(|_| unusable(location, "`AZURE_STORAGE_BLOB_ENDPOINT`"))?))
    }
}

/// What the variables of Azure's tools say of an account.
struct Azure {
    account: Option<String>,
    key: Option<String>,
    endpoint: Option<String>,
}

impl Azure {
    /// Single variables beat the parts of `AZURE_STORAGE_CONNECTION_STRING`.
    fn of(facts: &Facts) -> Self {
        let connection = facts.var("AZURE_STORAGE_CONNECTION_STRING").unwrap_or_default();
        let part = |name: &str| {
            let mut parts = connection.split(';').filter_map(|part| part.split_once('='));
            parts.find(|(key, _)| *key == name).map(|(_, value)| value.to_owned())
        };
        let first = |names: &[&str]| names.iter().find_map(|name| facts.var(name)).map(str::to_owned);
        Self {
            account: first(&AZURE_ACCOUNT).or_else(|| part("AccountName")),
            key: first(&AZURE_KEY).or_else(|| part("AccountKey")),
            endpoint: first(&["AZURE_STORAGE_BLOB_ENDPOINT"]).or_else(|| part("BlobEndpoint")),
        }
    }
}

fn retry() -> RetryConfig {
    RetryConfig { max_retries: 3, retry_timeout: Duration::from_secs(120), ..RetryConfig::default() }
}

fn nobody(location: &Location, cloud: &'static str) -> ArtifactError {
    ArtifactError::NoIdentity { location: location.to_string(), cloud }
}

fn unusable(location: &Location, what: &str) -> ArtifactError {
    ArtifactError::Setting { location: location.to_string(), what: format!("{what} is not set or makes no sense") }
}
