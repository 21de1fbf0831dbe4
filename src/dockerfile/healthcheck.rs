//! `HEALTHCHECK` and its durations, in the notation of Go.
//!
//! Defaults are the runtime's business: what is not said is `None`.

use std::time::Duration;

use super::error::Problem;
use super::flags::{Flag, Flags};
use super::instruction::command;
use super::node::Node;
use super::types::Healthcheck;

const FLAGS: [Flag; 5] = [
    Flag::Text("interval"),
    Flag::Text("timeout"),
    Flag::Text("start-period"),
    Flag::Text("start-interval"),
    Flag::Text("retries"),
];

/// Reads the instruction. Flags before `NONE` are not looked at.
pub(super) fn healthcheck(node: &Node) -> Result<Healthcheck, Problem> {
    let Some((kind, words)) = node.words.split_first() else {
        return Err(Problem::NoArgument("HEALTHCHECK".to_owned()));
    };
    match kind.to_uppercase().as_str() {
        "NONE" if words.is_empty() => Ok(Healthcheck::None),
        "NONE" => Err(Problem::HealthcheckNone),
        "CMD" => {
            let flags = Flags::read(node, &FLAGS)?;
            if words.is_empty() {
                return Err(Problem::HealthcheckCommand);
            }
            Ok(Healthcheck::Check {
                command: command(words, node.is_json),
                interval: duration(&flags, "interval")?,
                timeout: duration(&flags, "timeout")?,
                start_period: duration(&flags, "start-period")?,
                start_interval: duration(&flags, "start-interval")?,
                retries: retries(&flags)?,
            })
        }
        _ => Err(Problem::HealthcheckKind(kind.clone())),
    }
}

fn retries(flags: &Flags<'_>) -> Result<Option<u32>, Problem> {
    let Some(text) = flags.text("retries") else { return Ok(None) };
    let number: Option<i32> = text.parse().ok();
    let number = number.and_then(|number| u32::try_from(number).ok()).ok_or_else(|| Problem::FlagValue {
        flag: "--retries".to_owned(),
        value: text.to_owned(),
        expected: "a number that is not negative",
    })?;
    Ok(Some(number).filter(|number| *number > 0))
}

fn duration(flags: &Flags<'_>, name: &'static str) -> Result<Option<Duration>, Problem> {
    let Some(text) = flags.text(name) else { return Ok(None) };
    match nanoseconds(text) {
        Some(0) => Ok(None),
        Some(nanoseconds) if nanoseconds >= 1_000_000 => Ok(Some(Duration::from_nanos(nanoseconds))),
        _ => Err(Problem::FlagValue {
            flag: format!("--{name}"),
            value: text.to_owned(),
            expected: "a duration of a millisecond or more, such as `30s`, `1m30s` or `500ms`",
        }),
    }
}

/// A duration as Go's `time.ParseDuration` reads it: numbers with units, one after the other; `None` for what is none, or
/// negative.
fn nanoseconds(text: &str) -> Option<u64> {
    let text = text.strip_prefix('+').unwrap_or(text);
    let (text, is_negative) = text.strip_prefix('-').map_or((text, false), |text| (text, true));
    if text == "0" {
        return Some(0);
    }
    let mut rest = text;
    let mut total = 0_u64;
    while !rest.is_empty() {
        let number = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, behind) = rest.split_at(number);
        let unit = behind.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(behind.len());
        let (unit, behind) = behind.split_at(unit);
        total = total.checked_add(scaled(number, unit)?)?;
        rest = behind;
    }
    (!text.is_empty() && i64::try_from(total).is_ok() && (!is_negative || total == 0)).then_some(total)
}

fn scaled(number: &str, unit: &str) -> Option<u64> {
    let unit: u64 = match unit {
        "ns" => 1,
        "us" | "\u{b5}s" | "\u{3bc}s" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return None,
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return None;
    }
    let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    // Eighteen digits are finer than any unit; what lies below a nanosecond is cut off.
    let digits = &fraction[..fraction.len().min(18)];
    let part: u128 = if digits.is_empty() { 0 } else { digits.parse().ok()? };
    let part = part * u128::from(unit) / 10_u128.pow(u32::try_from(digits.len()).ok()?);
    whole.checked_mul(unit)?.checked_add(u64::try_from(part).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_gos() {
        for (text, expected) in [
            ("30s", Some(30_000_000_000)),
            ("1m30s", Some(90_000_000_000)),
            ("1.5h", Some(5_400_000_000_000)),
            (".5s", Some(500_000_000)),
            ("1.0000000019s", Some(1_000_000_001)),
            ("+2us3ns", Some(2003)),
            ("1\u{b5}s", Some(1000)),
            ("0", Some(0)),
            ("-0s", Some(0)),
            ("-1s", None),
            ("", None),
            ("1", None),
            ("s", None),
            (".s", None),
            ("1..2s", None),
            ("1d", None),
            ("2562048h", None),
            ("99999999999999999999s", None),
        ] {
            assert_eq!(nanoseconds(text), expected, "{text}");
        }
    }
}
