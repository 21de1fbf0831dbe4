//! The root of the sources where nobody names one.
//!
//! What a flag or setting names is not looked at here.

use std::path::Path;

/// The nearest folder from `folder` upwards with a `.zen`, which `zenml init` makes; `None` when there is none.
pub fn zenml_root(folder: &Path) -> Option<&Path> {
    folder.ancestors().find(|at| at.join(".zen").is_dir())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_folder_with_zen_is_the_root() {
        let root = tempfile::tempdir().unwrap();
        let below = root.path().join("a/b");
        std::fs::create_dir_all(&below).unwrap();
        std::fs::create_dir(root.path().join(".zen")).unwrap();
        assert_eq!(zenml_root(&below), Some(root.path()));
        std::fs::write(root.path().join("a/.zen"), "no folder").unwrap();
        assert_eq!(zenml_root(&below), Some(root.path()));
        std::fs::create_dir(below.join(".zen")).unwrap();
        assert_eq!(zenml_root(&below), Some(below.as_path()));
    }
}
