//! Finds the Python of an image in its filesystem index.
