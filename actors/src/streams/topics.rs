//! Which topics a source reads: some by name, or all whose names match a pattern, those that come later included.

use std::fmt;
use std::sync::Arc;

use regex_lite::Regex;

/// The topics of a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Topics {
    /// These.
    Named(Vec<Arc<str>>),
    /// Those whose whole names match, and that are not the library's own.
    Matching(Arc<str>),
}

impl Topics {
    pub(crate) fn named<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        let mut names: Vec<Arc<str>> = names.into_iter().map(Arc::from).collect();
        names.sort();
        names.dedup();
        Self::Named(names)
    }

    /// Those of the topics that there are.
    pub(crate) fn among(&self, application: &str, topics: &[Arc<str>]) -> Vec<Arc<str>> {
        match self {
            Self::Named(names) => names.clone(),
            Self::Matching(pattern) => {
                let Ok(regex) = compile(pattern) else { return Vec::new() };
                let is_own = |topic: &str| {
                    let of_application =
                        topic.strip_prefix(application).and_then(|rest| rest.strip_prefix('-'));
                    let is_made = |rest: &str| rest.ends_with("-repartition") || rest.ends_with("-changelog");
                    topic.starts_with("__") || of_application.is_some_and(is_made)
                };
                let mut found: Vec<Arc<str>> =
                    topics.iter().filter(|topic| regex.is_match(topic) && !is_own(topic)).cloned().collect();
                found.sort();
                found.dedup();
                found
            }
        }
    }

    /// What is wrong with them.
    pub(crate) fn problem(&self) -> Option<String> {
        match self {
            Self::Named(names) => names.is_empty().then(|| "a source names no topic".to_owned()),
            Self::Matching(pattern) => {
                let error = compile(pattern).err()?;
                Some(format!("the topic pattern {pattern:?} is none: {error}"))
            }
        }
    }
}

fn compile(pattern: &str) -> Result<Regex, regex_lite::Error> {
    // By itself first: "a)|(b" would be another one inside of the brackets.
    Regex::new(pattern)?;
    Regex::new(&format!("^(?:{pattern})$"))
}

impl fmt::Display for Topics {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named(names) => {
                let word = if names.len() == 1 { "topic" } else { "topics" };
                write!(formatter, "{word} {}", names.join(", "))
            }
            Self::Matching(pattern) => write!(formatter, "topics that match {pattern}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_matches_whole_names_and_no_topic_of_the_librarys_own() {
        let there =
            ["orders-eu", "my-orders-eu", "app-x-changelog", "app-x", "__consumer_offsets", "orders-us"];
        let there: Vec<Arc<str>> = there.into_iter().map(Arc::from).collect();
        let among = |pattern: &str| Topics::Matching(Arc::from(pattern)).among("app", &there);
        assert_eq!(
            among("orders-.*").iter().map(AsRef::as_ref).collect::<Vec<&str>>(),
            ["orders-eu", "orders-us"]
        );
        assert_eq!(
            among("orders-eu|app.*").iter().map(AsRef::as_ref).collect::<Vec<&str>>(),
            ["app-x", "orders-eu"]
        );
        assert_eq!(among(".*").len(), 4);
        assert_eq!(among("orders").len(), 0);
        for wrong in ["(", "a)|(b"] {
            assert!(Topics::Matching(Arc::from(wrong)).problem().unwrap().contains("is none"));
        }
        assert!(Topics::named([]).problem().is_some() && Topics::named(["a"]).problem().is_none());
    }
}
