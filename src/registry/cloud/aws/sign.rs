//! Signatures of AWS requests, version 4: for a request with a body and without a query.
//!
//! The time of day comes from the caller.

use std::collections::BTreeMap;

use reqwest::Request;
use reqwest::header::HeaderValue;
use ring::hmac;

use crate::oci::Digest;

use super::super::web::set_headers;

/// An identity of AWS. Cannot be shown.
pub(crate) struct Keys {
    pub(crate) id: String,
    pub(crate) secret: String,
    pub(crate) session: Option<String>,
    /// Where it was found, for messages.
    pub(crate) source: String,
}

/// What a signature is for.
pub(crate) struct Scope<'a> {
    pub(crate) region: &'a str,
    pub(crate) service: &'a str,
    /// Seconds since 1970.
    pub(crate) now: u64,
}

/// Signs `request`: every header that it has by now, and its body.
pub(crate) fn sign(request: &mut Request, keys: &Keys, scope: &Scope<'_>) {
    let time = basic_time(scope.now);
    set_headers(request, &[("x-amz-date", &time)]);
    if let Some(session) = &keys.session {
        set_headers(request, &[("x-amz-security-token", session)]);
    }
    let (canonical, names) = canonical(request);
    let day = &time[..8];
    let credential = format!("{day}/{}/{}/aws4_request", scope.region, scope.service);
    let to_sign = format!("AWS4-HMAC-SHA256\n{time}\n{credential}\n{}", sha256(canonical.as_bytes()));
    let mut key = hmac(format!("AWS4{}", keys.secret).as_bytes(), day);
    for part in [scope.region, scope.service, "aws4_request"] {
        key = hmac(key.as_ref(), part);
    }
    let signature = hex(hmac(key.as_ref(), &to_sign).as_ref());
    let id = &keys.id;
    let text = format!("AWS4-HMAC-SHA256 Credential={id}/{credential}, SignedHeaders={names}, Signature={signature}");
    set_headers(request, &[("authorization", &text)]);
}

/// The canonical request, and the names of the headers in it.
fn canonical(request: &Request) -> (String, String) {
    let url = request.url();
    let mut headers: BTreeMap<String, String> = BTreeMap::new();
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).trim().to_owned();
    headers.extend(request.headers().iter().map(|(name, value)| (name.as_str().to_owned(), text(value))));
    let host = match (url.host_str().unwrap_or_default(), url.port()) {
        (host, Some(port)) => format!("{host}:{port}"),
        (host, None) => host.to_owned(),
    };
    headers.insert("host".to_owned(), host);
    let names = headers.keys().cloned().collect::<Vec<_>>().join(";");
    let lines: String = headers.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
    let body = request.body().and_then(reqwest::Body::as_bytes).unwrap_or_default();
    let text = format!("{}\n{}\n\n{lines}\n{names}\n{}", request.method(), url.path(), sha256(body));
    (text, names)
}

fn hmac(key: &[u8], text: &str) -> hmac::Tag {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes())
}

fn sha256(bytes: &[u8]) -> String {
    Digest::of(bytes).hex().to_owned()
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// `20150830T123600Z`, by the proleptic Gregorian calendar.
fn basic_time(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let era_day = days + 719_468;
    let era = era_day / 146_097;
    let day_of_era = era_day % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!("{year:04}{month:02}{day:02}T{:02}{:02}{:02}Z", rest / 3_600, rest / 60 % 60, rest % 60)
}

#[cfg(test)]
mod tests {
    use super::super::super::web::post;
    use super::*;

    /// What botocore 1.44 makes of the second request below.
    const BOTOCORE: &str = "content-type;host;x-amz-date;x-amz-security-token;x-amz-target, \
        Signature=89a2787738d0b62ae2813b2841a1f2e5776bea140ae5a5fc1c57d964ce59b9cc";

    /// The identity and time of the examples in AWS's own documentation.
    fn signature(mut request: Request, session: Option<&str>, scope: &Scope<'_>) -> String {
        let keys = Keys {
            id: "AKIDEXAMPLE".into(),
            secret: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".into(),
            session: session.map(Into::into),
            source: String::new(),
        };
        sign(&mut request, &keys, scope);
        let text = request.headers()["authorization"].to_str().unwrap().to_owned();
        text.split_once("SignedHeaders=").unwrap().1.to_owned()
    }

    #[test]
    fn signatures_are_those_of_awss_examples_and_of_botocore() {
        let vanilla = Request::new(reqwest::Method::POST, "https://example.amazonaws.com/".parse().unwrap());
        let scope = Scope { region: "us-east-1", service: "service", now: 1_440_938_160 };
        assert_eq!(
            signature(vanilla, None, &scope),
            "host;x-amz-date, Signature=5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"
        );
        let url = "http://127.0.0.1:5000/".parse().unwrap();
        let mut request = post(url, "application/x-amz-json-1.1", "{}".into());
        let target = "AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken";
        set_headers(&mut request, &[("x-amz-target", target)]);
        let scope = Scope { region: "eu-central-1", service: "ecr", now: 1_440_938_160 };
        assert_eq!(signature(request, Some("SESSION/=="), &scope), BOTOCORE);
    }

    #[test]
    fn times_are_written_in_the_basic_form() {
        for (seconds, text) in
            [(0, "19700101T000000Z"), (951_782_400, "20000229T000000Z"), (1_440_938_160, "20150830T123600Z")]
        {
            assert_eq!(basic_time(seconds), text);
        }
    }
}
