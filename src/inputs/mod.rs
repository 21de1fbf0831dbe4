//! Facts of this machine: the source walk and requirement files.
