//! `millstream settings`: prints every setting with its unit, default, bounds, and when a change takes effect.

use clap::{Arg, ArgMatches, Command};

use super::{Failure, say};
use crate::config::catalogue;
use crate::config::setting::{Applies, Setting};

pub(super) fn command() -> Command {
    Command::new("settings")
        .about("Print every setting of a node: what it does, its bounds, its default")
        .arg(Arg::new("name").value_name("WORD").help("Only settings with this word in their names"))
}

pub(super) fn run(matches: &ArgMatches) -> Result<(), Failure> {
    let word = matches.get_one::<String>("name").map_or("", String::as_str);
    let chosen: Vec<_> = catalogue::all().filter(|setting| setting.name.contains(word)).collect();
    if chosen.is_empty() {
        return Err(format!("no setting has {word} in its name; millstream settings lists all").into());
    }
    chosen.into_iter().try_for_each(|setting| say(&describe(setting)))
}

fn describe(setting: &Setting) -> String {
    let applies = match setting.applies {
        Applies::AtRestart => "at restart",
        Applies::ToNewTopics => "to new topics",
    };
    let default = if setting.default.is_empty() { "empty" } else { setting.default };
    format!(
        "{}\n    {}\n    {}; default {default}; applies {applies}; environment {}\n",
        setting.name,
        setting.about,
        setting.kind,
        setting.environment()
    )
}
