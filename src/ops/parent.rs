//! Reads the parent image: which digest its name stands for, its manifest and its config.
//!
//! Its layers are not read here; what is in them is the business of `parent_index`.

use crate::image::ParentImage;
use crate::oci::{
    CONFIG_CAP, Descriptor, Digest, Document, ImageConfig, Index, MANIFEST_CAP, Manifest, Platform, Raw, Reference,
};

use super::error::OpsError;
use super::means::Means;

/// The parent as the registry has it now: the digest that the rest of the build uses.
#[derive(Clone, Debug)]
pub(super) struct PinnedParent {
    /// As the settings name it.
    pub reference: Reference,
    /// What the name stands for: a manifest or an index.
    pub descriptor: Descriptor,
    /// The document, when resolving had to read it.
    document: Option<Document>,
}

/// Asks the registry what `reference` stands for; a reference by digest needs no request.
///
/// # Errors
/// Fails when there is no such image or the registry does not answer.
pub(super) async fn pin(means: &Means, reference: &Reference) -> Result<PinnedParent, OpsError> {
    means.memory.parents.get(reference.to_string(), async || ask(means, reference).await).await
}

async fn ask(means: &Means, reference: &Reference) -> Result<PinnedParent, OpsError> {
    let absent = || OpsError::NoParent { reference: reference.to_string() };
    if let Some(digest) = reference.digest() {
        let descriptor = Descriptor::new("", digest.clone(), 0);
        return Ok(PinnedParent { reference: reference.clone(), descriptor, document: None });
    }
    let named = tagged(reference)?;
    let descriptor = means.registry.resolve(&named).await?.ok_or_else(absent)?;
    Ok(PinnedParent { reference: named, descriptor, document: None })
}

/// `reference` with the tag `latest` when it has neither tag nor digest.
pub(super) fn tagged(reference: &Reference) -> Result<Reference, OpsError> {
    if reference.tag().is_some() || reference.digest().is_some() {
        return Ok(reference.clone());
    }
    reference.with_tag("latest").map_err(OpsError::Reference)
}

impl PinnedParent {
    /// Reads the document behind the pinned digest.
    ///
    /// # Errors
    /// Fails when it is gone, unreadable, or has another digest.
    pub(super) async fn read(mut self, means: &Means) -> Result<Self, OpsError> {
        if self.document.is_none() {
            let document = document(means, &self.reference, &self.descriptor.digest).await?;
            self.descriptor = document.descriptor();
            self.document = Some(document);
        }
        Ok(self)
    }

    /// The document that was read.
    ///
    /// # Errors
    /// Fails before [`PinnedParent::read`].
    pub(super) fn document(&self) -> Result<&Document, OpsError> {
        self.document.as_ref().ok_or_else(|| OpsError::NoParent { reference: self.reference.to_string() })
    }

    /// The platforms that the parent serves; none when it is a single manifest, whose config says.
    pub(super) fn platforms(&self) -> Vec<Platform> {
        match &self.document {
            Some(Document::Index(index)) => index.value().platforms(),
            _ => Vec::new(),
        }
    }

    /// The image of the parent that serves `wanted`; of a single manifest its only one when `wanted` is absent.
    ///
    /// # Errors
    /// Fails when the parent does not serve the platform, and says which it serves.
    pub(super) async fn image(&self, means: &Means, wanted: Option<&Platform>) -> Result<ParentImage, OpsError> {
        let (descriptor, manifest) = match &self.document {
            Some(Document::Manifest(manifest)) => (self.descriptor.clone(), manifest.clone()),
            Some(Document::Index(index)) => self.of_index(means, index.value(), wanted).await?,
            None => return Err(OpsError::NoParent { reference: self.reference.to_string() }),
        };
        let config = self.config(means, manifest.value()).await?;
        let have = config.platform();
        if have.os.is_empty() || have.architecture.is_empty() {
            return Err(OpsError::NoPlatform { reference: self.reference.to_string() });
        }
        if let Some(wanted) = wanted.filter(|wanted| !have.serves(wanted)) {
            return Err(self.wrong_platform(wanted, have.to_string()));
        }
        let mut descriptor = descriptor;
        descriptor.platform = Some(have);
        let name = self.reference.to_string();
        Ok(ParentImage { name, descriptor, manifest: manifest.value().clone(), config })
    }

    async fn of_index(
        &self,
        means: &Means,
        index: &Index,
        wanted: Option<&Platform>,
    ) -> Result<(Descriptor, Raw<Manifest>), OpsError> {
        let wanted = match wanted {
            Some(wanted) => wanted.clone(),
            None => match index.platforms().as_slice() {
                [only] => only.clone(),
                _ => return Err(self.wrong_platform(&means.host_platform, index.platforms_line())),
            },
        };
        let entry = index.select(&wanted).ok_or_else(|| self.wrong_platform(&wanted, index.platforms_line()))?;
        match document(means, &self.reference, &entry.digest).await? {
            Document::Manifest(manifest) => Ok((entry.clone(), manifest)),
            Document::Index(_) => Err(OpsError::NestedIndex { reference: self.reference.to_string() }),
        }
    }

    fn wrong_platform(&self, wanted: &Platform, have: String) -> OpsError {
        OpsError::Platform { reference: self.reference.to_string(), wanted: wanted.to_string(), have }
    }

    async fn config(&self, means: &Means, manifest: &Manifest) -> Result<ImageConfig, OpsError> {
        means.memory.configs.get(manifest.config.digest.clone(), || self.read_config(means, manifest)).await
    }

    async fn read_config(&self, means: &Means, manifest: &Manifest) -> Result<ImageConfig, OpsError> {
        let at = self.reference.repository();
        let bytes = match means.store.read(&manifest.config.digest, CONFIG_CAP as u64)? {
            Some(bytes) => bytes,
            None => {
                let bytes = means.registry.fetch_blob(&at, &manifest.config, CONFIG_CAP as u64).await?;
                means.traffic.downloaded(bytes.len() as u64);
                means.store.put(&bytes)?;
                bytes
            }
        };
        let config = Raw::<ImageConfig>::read(bytes, Some(&manifest.config.digest))
            .map_err(|source| OpsError::ParentDocument { reference: self.reference.to_string(), source })?;
        Ok(config.value().clone())
    }
}

/// The manifests that `document` stands for: itself, or those of an index.
///
/// # Errors
/// Fails when one of them is missing or damaged.
pub(super) async fn documents(
    means: &Means,
    reference: &Reference,
    whole: &Document,
) -> Result<Vec<Document>, OpsError> {
    let Document::Index(index) = whole else { return Ok(vec![whole.clone()]) };
    let mut documents = Vec::new();
    for entry in &index.value().manifests {
        documents.push(document(means, reference, &entry.digest).await?);
    }
    Ok(documents)
}

/// The document with this digest, from the store when it is there; documents never change under their digest.
pub(super) async fn document(means: &Means, reference: &Reference, digest: &Digest) -> Result<Document, OpsError> {
    means.memory.documents.get(digest.clone(), || read_document(means, reference, digest)).await
}

async fn read_document(means: &Means, reference: &Reference, digest: &Digest) -> Result<Document, OpsError> {
    let damaged = |source| OpsError::ParentDocument { reference: reference.to_string(), source };
    if let Some(bytes) = means.store.read(digest, MANIFEST_CAP as u64)? {
        return Document::read(None, bytes, Some(digest)).map_err(damaged);
    }
    let absent = || OpsError::NoParent { reference: reference.to_string() };
    let document = means.registry.manifest(&reference.with_digest(digest)).await?.ok_or_else(absent)?;
    means.traffic.downloaded(document.bytes().len() as u64);
    means.store.put(document.bytes())?;
    Ok(document)
}
