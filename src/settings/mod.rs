//! `DockerSettings`: types, parsing, merging, validation.
