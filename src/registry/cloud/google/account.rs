//! Accounts: a token for a service account's key, or for what gcloud keeps of a user's login.
//!
//! Reads no file.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::{Value, json};

use super::super::error::CloudError;
use super::super::facts::Facts;
use super::super::web::{Web, address, post_form};
use super::adc::{Access, member};

const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";
const TOKEN_URI: &str = "https://oauth2.googleapis.com/token";
const ASSERTION: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
const LIFETIME: u64 = 3600;

/// A token for a service account, for which its key signs (RFC 7523).
pub(super) async fn of_service(facts: &Facts, web: &Web, value: &Value, of: &str) -> Result<Access, CloudError> {
    let token_uri = value["token_uri"].as_str().unwrap_or(TOKEN_URI);
    let url = address(token_uri, of)?;
    let now = facts.now();
    let claims = json!({
        "iss": member(value, "client_email", of)?,
        "scope": SCOPE,
        "aud": token_uri,
        "iat": now,
        "exp": now + LIFETIME,
    });
    let header = json!({"alg": "RS256", "typ": "JWT", "kid": value["private_key_id"]});
    let unsigned = format!("{}.{}", part(header.to_string()), part(claims.to_string()));
    let unusable = || CloudError::Field { of: of.to_owned(), field: "private_key" };
    let signature = signature(member(value, "private_key", of)?, unsigned.as_bytes()).ok_or_else(unusable)?;
    let assertion = format!("{unsigned}.{}", part(signature));
    Access::read(web.ask(post_form(url, &[("grant_type", ASSERTION), ("assertion", &assertion)])).await?)
}

/// A token for a user, out of a refresh token (RFC 6749, section 6).
pub(super) async fn of_user(web: &Web, value: &Value, of: &str) -> Result<Access, CloudError> {
    let url = address(value["token_uri"].as_str().unwrap_or(TOKEN_URI), of)?;
    let fields = [
        ("grant_type", "refresh_token"),
        ("client_id", member(value, "client_id", of)?),
        ("client_secret", member(value, "client_secret", of)?),
        ("refresh_token", member(value, "refresh_token", of)?),
    ];
    Access::read(web.ask(post_form(url, &fields)).await?)
}

fn part(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// RSASSA-PKCS1-v1_5 with SHA-256; `None` when the key is none.
fn signature(pem: &str, message: &[u8]) -> Option<Vec<u8>> {
    let pair = match PrivateKeyDer::from_pem_slice(pem.as_bytes()).ok()? {
        PrivateKeyDer::Pkcs8(key) => RsaKeyPair::from_pkcs8(key.secret_pkcs8_der()).ok()?,
        PrivateKeyDer::Pkcs1(key) => RsaKeyPair::from_der(key.secret_pkcs1_der()).ok()?,
        _ => return None,
    };
    let mut signature = vec![0; pair.public().modulus_len()];
    pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature).ok()?;
    Some(signature)
}
