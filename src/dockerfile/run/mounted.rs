//! What is mounted while a RUN line runs.
//!
//! It looks into no mount; targets may be relative to the working folder.

use crate::dockerfile::{Mount, MountKind};

/// Something that is mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mounted {
    /// Files of the context, a stage or an image; what is written there is lost.
    Files {
        /// Where they are seen.
        target: String,
        /// What of their source is seen; `None` is all of it.
        source: Option<String>,
        /// The stage or image; `None` is the context.
        from: Option<String>,
    },
    /// A folder that is not the image's: a cache, or one in memory.
    Cache {
        /// Where it is seen.
        target: String,
    },
    /// A secret as a file.
    SecretFile {
        /// Where it is seen.
        target: String,
        /// Its name.
        id: String,
        /// Whether the build fails without it.
        required: bool,
    },
    /// A secret as a variable.
    SecretVariable {
        /// The variable.
        name: String,
        /// The name of the secret.
        id: String,
        /// Whether the build fails without it.
        required: bool,
    },
    /// A socket to an SSH agent, which no installation is known with.
    Agent,
}

impl Mounted {
    /// What `mount` is.
    ///
    /// # Errors
    /// Fails with a reason for a mount without a target.
    pub(super) fn of(mount: &Mount) -> Result<Vec<Self>, String> {
        let target = || mount.target.clone().ok_or_else(|| "a mount has no target".to_owned());
        match mount.kind {
            MountKind::Bind => {
                Ok(vec![Self::Files { target: target()?, source: mount.source.clone(), from: mount.from.clone() }])
            }
            MountKind::Cache => Ok(vec![Self::Cache { target: target()? }]),
            MountKind::Secret => Self::secret(mount),
            MountKind::Ssh => Ok(vec![Self::Agent]),
            MountKind::Tmpfs => Ok(vec![Self::Cache { target: target()? }]),
        }
    }

    /// A secret: a file unless it has a variable and no target.
    fn secret(mount: &Mount) -> Result<Vec<Self>, String> {
        let last = |target: &str| target.rsplit('/').next().unwrap_or_default().to_owned();
        let id = mount.secret().map(str::to_owned).ok_or("a secret has no name")?;
        if mount.env.as_deref() == Some("") {
            return Err("the variable of a secret has no name".into());
        }
        let required = mount.required;
        let variable = mount.env.clone().map(|name| Self::SecretVariable { name, id: id.clone(), required });
        let target = match (&mount.target, &variable) {
            (Some(target), _) => Some(target.clone()),
            (None, Some(_)) => None,
            (None, None) => Some(format!("/run/secrets/{}", last(&id))),
        };
        let file = target.map(|target| Self::SecretFile { target, id: id.clone(), required });
        Ok(variable.into_iter().chain(file).collect())
    }

    /// The variable that a secret is put into.
    pub(super) fn secret_variable(&self) -> Option<&str> {
        match self {
            Self::SecretVariable { name, .. } => Some(name),
            _ => None,
        }
    }

    /// Where it is seen, unless it is a variable or a socket.
    pub fn target(&self) -> Option<&str> {
        match self {
            Self::Files { target, .. } | Self::Cache { target } | Self::SecretFile { target, .. } => Some(target),
            Self::SecretVariable { .. } | Self::Agent => None,
        }
    }
}
