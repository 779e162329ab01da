//! What people want to know of the results.

use super::batch::Answer;

/// It, line by line.
pub fn lines(read: &Answer) -> Vec<String> {
    let mut lines = vec![
        format!(
            "results of hours: {}, flights late for them: {}",
            read.hours.len(),
            read.late_for_hours.len()
        ),
        format!(
            "results of sliding windows: {}, flights late for them: {}",
            read.sliding.len(),
            read.late_for_sliding.len()
        ),
    ];
    for (number, top) in (1..).zip(read.worst.values()) {
        lines.push(format!(
            "{:<32}{:>8}{:>9}{:>7}",
            format!("worst of day {number}"),
            "flights",
            "average",
            "worst"
        ));
        for ranked in &top.0 {
            let (origin, delays) = (&ranked.origin, &ranked.delays);
            let (airport, average) = (&delays.airport, delays.average());
            lines.push(format!(
                "{origin} {airport:<28}{:>8}{average:>9.1}{:>7}",
                delays.flights, delays.worst
            ));
        }
    }
    lines
}
