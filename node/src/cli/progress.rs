//! Progress on a terminal: on standard error, and only where that is one.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// A bar towards `total`; without a total, a count.
pub(super) fn bar(total: Option<u64>, what: &'static str) -> ProgressBar {
    let bar = total.map_or_else(ProgressBar::new_spinner, ProgressBar::new);
    let template = match total {
        Some(_) => "{msg} {wide_bar} {human_pos}/{human_len} ({per_sec}, {eta} left)",
        None => "{spinner} {msg} {human_pos} ({per_sec})",
    };
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.set_message(what);
    bar
}

/// A bar over a time, moved on by [`follow`].
pub(super) fn time_bar(total: Duration, what: &'static str) -> ProgressBar {
    let bar = ProgressBar::new(u64::try_from(total.as_millis()).unwrap_or(u64::MAX));
    if let Ok(style) = ProgressStyle::with_template("{msg} {wide_bar} {elapsed} {prefix}") {
        bar.set_style(style);
    }
    bar.set_message(what);
    bar
}
