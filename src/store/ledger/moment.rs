//! Points in time as the ledger writes them: RFC 3339, in UTC, to the millisecond.
//!
//! Written so, their order as texts is their order in time. No clock is read here.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Milliseconds of a day.
const DAY: i64 = 86_400_000;
/// The first and the last millisecond that RFC 3339 can write.
const FIRST: i64 = -62_167_219_200_000;
const LAST: i64 = 253_402_300_799_999;

/// A point in time between the years 0 and 9999, to the millisecond.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Moment(String);

impl Moment {
    /// The moment so many seconds after 1970 began; later ones than the year 9999 are its last.
    pub fn of_seconds(seconds: u64) -> Self {
        Self::of_milliseconds(seconds.saturating_mul(1_000))
    }

    /// The moment so many milliseconds after 1970 began; later ones than the year 9999 are its last.
    pub fn of_milliseconds(milliseconds: u64) -> Self {
        Self::at(i64::try_from(milliseconds).unwrap_or(LAST).min(LAST))
    }

    /// Parses `2026-01-31`, `2026-01-31 12:30`, `2026-01-31T12:30:59.5+02:00` and what lies between; without an offset it
    /// is UTC, as RFC 3339, section 5.6 has it but for the parts that may be left out.
    pub fn parse(text: &str) -> Option<Self> {
        let (date, rest) = text.split_at_checked(10)?;
        let days = days(date)?;
        let Some(clock) = rest.strip_prefix(['T', 't', ' ']) else {
            return rest.is_empty().then(|| Self::at(days * DAY));
        };
        let (clock, offset) = split_offset(clock)?;
        let (clock, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
        if fraction.is_empty() || !fraction.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let mut parts = clock.split(':');
        let mut part = |most: i64| number(parts.next()?, 2).filter(|value| *value <= most);
        let (hour, minute) = (part(23)?, part(59)?);
        // A leap second is the second after.
        let second = if clock.len() > 5 { part(60)? } else { 0 };
        if parts.next().is_some() {
            return None;
        }
        let thousandths = format!("{fraction:0<3}")[..3].parse::<i64>().ok()?;
        let at = days * DAY + (hour * 3_600 + minute * 60 + second - offset) * 1_000 + thousandths;
        (FIRST..=LAST).contains(&at).then(|| Self::at(at))
    }

    /// As `2026-01-31T12:30:59.123Z`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// As `2026-01-31T12:30:59Z`.
    pub fn to_the_second(&self) -> String {
        format!("{}Z", self.seconds())
    }

    /// As `2026-01-31T12:30:59`: what the moments of one second begin with.
    pub(super) fn seconds(&self) -> &str {
        &self.0[..19]
    }

    fn at(milliseconds: i64) -> Self {
        let (day, of_day) = (milliseconds.div_euclid(DAY), milliseconds.rem_euclid(DAY));
        let (year, month, date) = civil(day);
        let (rest, thousandths) = (of_day / 1_000, of_day % 1_000);
        let (hour, minute, second) = (rest / 3_600, rest / 60 % 60, rest % 60);
        Self(format!("{year:04}-{month:02}-{date:02}T{hour:02}:{minute:02}:{second:02}.{thousandths:03}Z"))
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for Moment {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text).ok_or_else(|| format!("`{text}` is no point in time"))
    }
}

impl From<Moment> for String {
    fn from(moment: Moment) -> Self {
        moment.0
    }
}

/// The clock's part, and how many seconds it is ahead of UTC.
fn split_offset(text: &str) -> Option<(&str, i64)> {
    if let Some(clock) = text.strip_suffix(['Z', 'z']) {
        return Some((clock, 0));
    }
    let Some(at) = text.rfind(['+', '-']) else { return Some((text, 0)) };
    let (hours, minutes) = text[at + 1..].split_once(':')?;
    let seconds = number(hours, 2)? * 3_600 + number(minutes, 2)? * 60;
    Some((&text[..at], if text[at..].starts_with('-') { -seconds } else { seconds }))
}

/// The day of `YYYY-MM-DD`, counted from 1970.
fn days(text: &str) -> Option<i64> {
    let (year, rest) = text.split_once('-')?;
    let (month, date) = rest.split_once('-')?;
    let (year, month, date) = (number(year, 4)?, number(month, 2)?, number(date, 2)?);
    let shifted = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let (era, of_era) = (shifted.0.div_euclid(400), shifted.0.rem_euclid(400));
    let day_of_year = (153 * shifted.1 + 2) / 5 + date - 1;
    let day = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + day_of_year - 719_468;
    // A date that does not exist comes out as another one.
    (civil(day) == (year, month, date)).then_some(day)
}

/// Year, month and day of the month, by the proleptic Gregorian calendar.
fn civil(day: i64) -> (i64, i64, i64) {
    let era_day = day + 719_468;
    let (era, day_of_era) = (era_day.div_euclid(146_097), era_day.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day_of_year - (153 * shifted + 2) / 5 + 1)
}

/// A number of just so many digits.
fn number(text: &str, digits: usize) -> Option<i64> {
    (text.len() == digits && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_written_in_utc() {
        for (text, expected) in [
            ("1970-01-01", "1970-01-01T00:00:00.000Z"),
            ("2024-02-29 12:30", "2024-02-29T12:30:00.000Z"),
            ("2024-02-29T12:30:59.7Z", "2024-02-29T12:30:59.700Z"),
            ("2024-03-01T00:30:00+01:00", "2024-02-29T23:30:00.000Z"),
            ("2023-12-31t23:59:60z", "2024-01-01T00:00:00.000Z"),
            ("2026-01-31 12:30:59.123456-05:30", "2026-01-31T18:00:59.123Z"),
            ("0000-01-01", "0000-01-01T00:00:00.000Z"),
        ] {
            assert_eq!(Moment::parse(text).map(String::from).as_deref(), Some(expected), "{text}");
        }
        assert_eq!(Moment::of_seconds(951_782_400).to_the_second(), "2000-02-29T00:00:00Z");
        assert_eq!(Moment::of_seconds(u64::MAX).as_str(), "9999-12-31T23:59:59.999Z");
    }

    #[test]
    fn what_is_no_moment_is_refused() {
        for text in [
            "",
            "2026",
            "2026-02-30",
            "2026-13-01",
            "26-01-01",
            "2026-01-01T",
            "2026-01-01T24:00",
            "2026-01-01T12",
            "2026-01-01T12:00:00+0100",
            "2026-01-01T12:00:00.Z",
            "2026-01-01T12:00:00:00",
            "0000-01-01T00:00:00+01:00",
            "2026-01-01x",
            "2026-01-0é",
        ] {
            assert_eq!(Moment::parse(text), None, "{text}");
        }
    }
}
