//! Registries: the client.
