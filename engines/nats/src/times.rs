//! The times that a server tells: durations as Go writes them (`1h30m`, `1.5s`), and moments by
//! RFC 3339.

const UNITS: [(&str, f64); 8] = [
    ("h", 3_600e3),
    ("ms", 1.0),
    ("us", 1e-3),
    ("µs", 1e-3),
    ("μs", 1e-3),
    ("ns", 1e-6),
    ("m", 60e3),
    ("s", 1e3),
];

/// A time to live in milliseconds. A bare number is in seconds. `None`: it never ends, or is no
/// time to live.
pub(crate) fn ttl_ms(text: &str) -> Option<i64> {
    if let Ok(seconds) = text.parse::<u32>() {
        return Some(i64::from(seconds) * 1000);
    }
    let (mut rest, mut sum) = (text, 0.0);
    while !rest.is_empty() {
        let digits = rest.find(|it: char| !it.is_ascii_digit() && it != '.')?;
        let (number, behind) = rest.split_at(digits);
        let (unit, factor) = UNITS.iter().find(|(unit, _)| behind.starts_with(unit))?;
        sum += number.parse::<f64>().ok()? * factor;
        rest = &behind[unit.len()..];
    }
    (sum > 0.0).then_some(sum as i64)
}

/// Milliseconds since 1970 of a moment such as `2026-11-30T21:07:11.4276Z`.
pub(crate) fn moment_ms(text: &str) -> Option<i64> {
    let number = |from: usize, to: usize| text.get(from..to)?.parse::<i64>().ok();
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    let mut behind = text.get(19..)?;
    let mut millis = 0;
    if let Some(fraction) = behind.strip_prefix('.') {
        let end = fraction.find(|it: char| !it.is_ascii_digit())?;
        let digits: String = fraction[..end]
            .chars()
            .chain("000".chars())
            .take(3)
            .collect();
        millis = digits.parse().ok()?;
        behind = &fraction[end..];
    }
    let offset_minutes = match behind {
        "Z" => 0,
        _ => {
            let sign = if behind.starts_with('-') { -1 } else { 1 };
            let part = |from, to| behind.get(from..to)?.parse::<i64>().ok();
            sign * (part(1, 3)? * 60 + part(4, 6)?)
        }
    };
    let minutes = (days(year, month, day) * 24 + hour) * 60 + minute - offset_minutes;
    Some((minutes * 60 + second) * 1000 + millis)
}

/// Days since 1970, by the Gregorian calendar.
fn days(year: i64, month: i64, day: i64) -> i64 {
    // The year begins in March here, so the leap day is its last.
    let (year, month) = match month {
        1 | 2 => (year - 1, month + 9),
        _ => (year, month - 3),
    };
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    let before_month = (153 * month + 2) / 5;
    year * 365 + leap_days + before_month + day - 1 - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_to_live_are_gos() {
        for (text, expected) in [
            ("5", Some(5_000)),
            ("5s", Some(5_000)),
            ("1m0s", Some(60_000)),
            ("1h30m", Some(5_400_000)),
            ("1.5s", Some(1_500)),
            ("250ms", Some(250)),
            ("never", None),
            ("", None),
            ("s", None),
            ("5x", None),
        ] {
            assert_eq!(ttl_ms(text), expected, "{text}");
        }
    }

    #[test]
    fn moments_are_by_rfc_3339() {
        for (text, expected) in [
            ("1970-01-01T00:00:00Z", Some(0)),
            ("2000-02-29T12:00:00.5Z", Some(951_825_600_500)),
            ("2026-11-30T21:07:11.42764855Z", Some(1_796_072_831_427)),
            (
                "2026-11-30T22:07:11.42764855+01:00",
                Some(1_796_072_831_427),
            ),
            ("2026-11-30", None),
            ("", None),
        ] {
            assert_eq!(moment_ms(text), expected, "{text}");
        }
    }
}
