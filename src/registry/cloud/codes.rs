//! The error codes that a message may show.
//!
//! Only codes of this list are ever shown: any other text of an answer could be a secret that a server repeats.

const CODES: [&str; 43] = [
    "AccessDenied",
    "AccessDeniedException",
    "ExpiredToken",
    "ExpiredTokenException",
    "ForbiddenException",
    "IDPCommunicationError",
    "IDPRejectedClaim",
    "IncompleteSignature",
    "InternalFailure",
    "InvalidClientTokenId",
    "InvalidIdentityToken",
    "InvalidIdentityTokenException",
    "InvalidParameterException",
    "InvalidRequestException",
    "InvalidSignatureException",
    "LimitExceededException",
    "MissingAuthenticationToken",
    "MissingAuthenticationTokenException",
    "NotAuthorized",
    "OptInRequired",
    "RegionDisabledException",
    "RepositoryAlreadyExistsException",
    "RequestExpired",
    "ServerException",
    "ServiceUnavailable",
    "SignatureDoesNotMatch",
    "ThrottlingException",
    "UnauthorizedException",
    "UnrecognizedClientException",
    "UnsupportedCommandException",
    "access_denied",
    "invalid_client",
    "invalid_grant",
    "invalid_request",
    "invalid_resource",
    "invalid_scope",
    "invalid_target",
    "unauthorized_client",
    "unsupported_grant_type",
    "DENIED",
    "PERMISSION_DENIED",
    "UNAUTHENTICATED",
    "UNAUTHORIZED",
];

/// The known code in an error's body, which may be JSON or XML.
pub(crate) fn known(body: &[u8]) -> Option<&'static str> {
    let text = String::from_utf8_lossy(body);
    let stands = |code: &&&str| {
        [format!("\"{code}\""), format!("#{code}\""), format!(">{code}<")].iter().any(|form| text.contains(form))
    };
    CODES.iter().find(stands).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_found_in_all_forms_and_nothing_else_is() {
        for (body, expected) in [
            (r#"{"__type":"AccessDeniedException","Message":"hunter2"}"#, Some("AccessDeniedException")),
            (r#"{"__type":"com.amazonaws.ecr#ServerException"}"#, Some("ServerException")),
            ("<Error><Code>ExpiredToken</Code><Message>hunter2</Message></Error>", Some("ExpiredToken")),
            (r#"{"error":"invalid_grant","error_description":"hunter2"}"#, Some("invalid_grant")),
            (r#"{"error":{"code":403,"status":"PERMISSION_DENIED"}}"#, Some("PERMISSION_DENIED")),
            (r#"{"errors":[{"code":"UNAUTHORIZED"}]}"#, Some("UNAUTHORIZED")),
            (r#"{"error":"hunter2"}"#, None),
            ("", None),
        ] {
            assert_eq!(known(body.as_bytes()), expected, "{body}");
        }
    }
}
