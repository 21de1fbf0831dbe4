//! Retries: which failures are worth another try, and how long to wait before it.
//!
//! Does not sleep and does not read a clock: a date in `Retry-After` is taken relative to the answer's own `Date`.

use std::time::Duration;

use reqwest::StatusCode;
use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};

use super::error::RegistryError;

/// Bytes of progress after which a lost connection counts as the first one again.
pub(super) const GOOD_PROGRESS: u64 = 1 << 20;
/// Tries when the name server has no answer now: its own client has tried for some seconds by then.
const NAME_TRIES: u32 = 3;

/// How often and how patiently a request is tried.
#[derive(Clone, Debug)]
pub struct RetryPolicy {
    /// Tries in all, the first one included.
    pub tries: u32,
    /// Upper bound of the wait before the second try; doubles with each try.
    pub first_wait: Duration,
    /// Upper bound of any wait that we choose.
    pub longest_wait: Duration,
    /// Upper bound of a wait that the registry asks for.
    pub longest_retry_after: Duration,
    /// Makes the waits of several processes differ.
    pub salt: u64,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            tries: 5,
            first_wait: Duration::from_millis(500),
            longest_wait: Duration::from_secs(30),
            longest_retry_after: Duration::from_secs(60),
            salt: 0,
        }
    }
}

impl RetryPolicy {
    /// Tries in all when they fail as `error` says; none when what it says was tried often enough already, as by
    /// whoever fetched a token for the request.
    pub(super) fn tries_after(&self, error: &RegistryError) -> u32 {
        match error {
            RegistryError::UnknownHost { .. } => self.tries.min(NAME_TRIES),
            error if error.tries().is_some_and(|tries| tries > 1 && tries >= self.tries) => 0,
            _ => self.tries,
        }
    }

    /// The wait after failure number `failures` (from 1) of what `action` names: full jitter below a doubling bound.
    pub fn wait(&self, failures: u32, action: &str) -> Duration {
        let bound = self.first_wait.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(self.longest_wait);
        bound.mul_f64(fraction(self.salt, failures, action))
    }

    /// The wait that an answer asks for by `Retry-After`, in seconds or as a date; bounded.
    pub fn asked_wait(&self, headers: &HeaderMap) -> Option<Duration> {
        let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
        let asked = match text.parse::<u64>() {
            Ok(seconds) => Duration::from_secs(seconds),
            Err(_) if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) => Duration::MAX,
            Err(_) => {
                let until = httpdate::parse_http_date(text).ok()?;
                let now = httpdate::parse_http_date(headers.get(DATE)?.to_str().ok()?).ok()?;
                until.duration_since(now).unwrap_or(Duration::ZERO)
            }
        };
        Some(asked.min(self.longest_retry_after))
    }
}

/// Whether an answer of this status may be another one next time.
pub(super) fn is_transient(status: StatusCode) -> bool {
    matches!(status.as_u16(), 408 | 425 | 429 | 499 | 500 | 502 | 503 | 504 | 520..=524)
}

/// A number in 0..1 out of the inputs (FNV-1a with a finishing mix).
fn fraction(salt: u64, failures: u32, action: &str) -> f64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in salt.to_le_bytes().into_iter().chain(failures.to_le_bytes()).chain(action.bytes()) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^= hash >> 33;
    f64::from((hash >> 32) as u32) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_within_their_bounds_and_differ_by_salt() {
        let policy = RetryPolicy::default();
        for failures in 1..200 {
            let bound = Duration::from_millis(500).saturating_mul(1 << (failures - 1).min(10));
            assert!(policy.wait(failures, "u") <= bound.min(Duration::from_secs(30)));
        }
        let other = RetryPolicy { salt: 7, ..RetryPolicy::default() };
        assert_ne!(policy.wait(3, "u"), other.wait(3, "u"));
        assert_eq!(policy.wait(3, "u"), policy.wait(3, "u"));
        let mean = (0..1000).map(|n| fraction(n, 1, "u")).sum::<f64>() / 1000.0;
        assert!((0.45..0.55).contains(&mean), "{mean}");
    }

    #[test]
    fn retry_after_is_read_in_both_forms_and_capped() {
        let policy = RetryPolicy::default();
        let asked = |retry: &str, date: Option<&str>| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, retry.parse().unwrap());
            if let Some(date) = date {
                headers.insert(DATE, date.parse().unwrap());
            }
            policy.asked_wait(&headers).map(|wait| wait.as_secs())
        };
        let now = Some("Sun, 06 Nov 1994 08:49:30 GMT");
        assert_eq!(asked("7", None), Some(7));
        assert_eq!(asked("86400", None), Some(60));
        assert_eq!(asked("99999999999999999999999999", None), Some(60));
        assert_eq!(asked("Sun, 06 Nov 1994 08:49:37 GMT", now), Some(7));
        assert_eq!(asked("Sun, 06 Nov 1994 08:49:00 GMT", now), Some(0));
        assert_eq!(asked("Fri, 31 Dec 9999 23:59:59 GMT", now), Some(60));
        assert_eq!(asked("Sun, 06 Nov 1994 08:49:37 GMT", None), None);
        assert_eq!(asked("soon", now), None);
        assert_eq!(asked("-1", now), None);
    }

    #[test]
    fn what_was_tried_often_enough_is_not_tried_again() {
        let policy = RetryPolicy::default();
        let limited = |tries| RegistryError::RateLimited { host: "host".into(), tries };
        assert_eq!(policy.tries_after(&limited(1)), 5);
        assert_eq!(policy.tries_after(&limited(5)), 0);
        let once = RetryPolicy { tries: 1, ..policy };
        assert_eq!(once.tries_after(&limited(1)), 1);
    }

    #[test]
    fn only_passing_troubles_are_transient() {
        for code in [408, 425, 429, 499, 500, 502, 503, 504, 520, 524] {
            assert!(is_transient(StatusCode::from_u16(code).unwrap()), "{code}");
        }
        for code in [200, 400, 401, 403, 404, 413, 416, 501, 505, 525] {
            assert!(!is_transient(StatusCode::from_u16(code).unwrap()), "{code}");
        }
    }
}
