//! How long ago something was, in Docker's words.

use jiff::Timestamp;

/// The time since `created` (RFC 3339), such as `3 weeks ago`. What is no time is `N/A`.
pub(crate) fn ago(created: Option<&str>) -> String {
    let created: Option<Timestamp> = created.and_then(|text| text.parse().ok());
    match created {
        Some(created) => {
            format!("{} ago", duration(Timestamp::now().as_second() - created.as_second()))
        }
        None => "N/A".to_owned(),
    }
}

/// The steps are those of Docker's `go-units`: each unit counts up to about twice the next one.
fn duration(seconds: i64) -> String {
    let minutes = seconds / 60;
    let hours = (minutes + 30) / 60;
    let days = hours / 24;
    match (seconds, minutes, hours, days) {
        (..1, ..) => "Less than a second".to_owned(),
        (1, ..) => "1 second".to_owned(),
        (..60, ..) => format!("{seconds} seconds"),
        (_, 1, ..) => "About a minute".to_owned(),
        (_, ..60, ..) => format!("{minutes} minutes"),
        (_, _, 1, _) => "About an hour".to_owned(),
        (_, _, ..48, _) => format!("{hours} hours"),
        (_, _, _, ..14) => format!("{days} days"),
        (_, _, _, ..60) => format!("{} weeks", days / 7),
        (_, _, _, ..730) => format!("{} months", days / 30),
        _ => format!("{} years", days / 365),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_those_of_docker() {
        const DAY: i64 = 86_400;
        for (seconds, text) in [
            (-5, "Less than a second"),
            (0, "Less than a second"),
            (1, "1 second"),
            (59, "59 seconds"),
            (60, "About a minute"),
            (3_599, "59 minutes"),
            (3_600, "About an hour"),
            (7_200, "2 hours"),
            (47 * 3_600, "47 hours"),
            (2 * DAY, "2 days"),
            (14 * DAY, "2 weeks"),
            (60 * DAY, "2 months"),
            (729 * DAY, "24 months"),
            (730 * DAY, "2 years"),
        ] {
            assert_eq!(duration(seconds), text, "{seconds}");
        }
        assert_eq!(ago(Some("yesterday")), "N/A");
        assert_eq!(ago(None), "N/A");
        assert!(ago(Some("2024-02-02T00:00:00Z")).ends_with(" years ago"));
    }
}
