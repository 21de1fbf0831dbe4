//! Google's registries: an access token of the application default credentials, as the password of
//! `oauth2accesstoken`.
//!
//! Asks for no more than a token; what it may do is the account's matter.

mod account;
mod adc;
mod federation;

pub(crate) use adc::identity;
