//! The local time of day and week, in the zone of this process.

use std::mem::MaybeUninit;

use crate::model::bandwidth::WeekMinute;

/// The minute of the week that it is now, by the local clock.
#[must_use]
pub fn week_minute() -> WeekMinute {
    let mut local = MaybeUninit::<libc::tm>::uninit();
    // SAFETY: `time` takes no pointer here; `localtime_r` reads the one number and fills in the
    // structure that it is given, or returns null. It reads the zone once; nobody here changes the
    // environment.
    let known = unsafe {
        let now = libc::time(std::ptr::null_mut());
        !libc::localtime_r(&raw const now, local.as_mut_ptr()).is_null()
    };
    if !known {
        // A year beyond all calendars: any minute is as good.
        return WeekMinute::new(0, 0, 0);
    }
    // SAFETY: it was filled in.
    let local = unsafe { local.assume_init() };
    let number = |field: libc::c_int| u16::try_from(field).unwrap_or(0);
    // Its weeks begin with Sunday.
    WeekMinute::new(number(local.tm_wday) + 6, number(local.tm_hour), number(local.tm_min))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::week_minute;
    use crate::model::bandwidth::WeekMinute;

    #[test]
    fn it_is_what_date_says() {
        let by_date = || {
            let told = Command::new("date").arg("+%u %H %M").output().unwrap().stdout;
            let told = String::from_utf8(told).unwrap();
            let numbers: Vec<u16> = told.split_whitespace().map(|n| n.parse().unwrap()).collect();
            WeekMinute::new(numbers[0] - 1, numbers[1], numbers[2])
        };
        // A minute may end in between.
        let (before, now, after) = (by_date(), week_minute(), by_date());
        assert!(now == before || now == after, "{now:?} {before:?}");
    }
}
