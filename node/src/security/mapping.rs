//! From the subject of a certificate to a name (`ssl.principal.mapping.rules`, KIP-371).

use regex_lite::Regex;

/// A case that a name is put into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Case {
    AsIs,
    Lower,
    Upper,
}

#[derive(Clone, Debug)]
enum Rule {
    /// The subject is the name.
    Default,
    /// A subject that the pattern fits as a whole becomes the replacement.
    Replace { pattern: Regex, replacement: String, case: Case },
}

/// Rules, of which the first that fits counts.
#[derive(Clone, Debug)]
pub struct MappingRules {
    text: String,
    rules: Vec<Rule>,
}

impl PartialEq for MappingRules {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for MappingRules {}

impl MappingRules {
    /// Reads rules; the error says what is wrong.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (mut rules, mut rest) = (Vec::new(), text.trim());
        while !rest.is_empty() {
            let (rule, behind) = match rest.strip_prefix("DEFAULT") {
                Some(behind) => (Rule::Default, behind),
                None => replace(rest)?,
            };
            rules.push(rule);
            rest = match behind.trim_start().strip_prefix(',') {
                Some(next) => next.trim_start(),
                None if behind.trim().is_empty() => "",
                None => return Err(format!("a comma is missing before {behind:?}")),
            };
        }
        if rules.is_empty() {
            return Err("must have at least one rule: DEFAULT".to_owned());
        }
        Ok(Self { text: text.to_owned(), rules })
    }

    /// The name of the holder of a certificate with this subject; `None` where no rule fits.
    #[must_use]
    pub fn name(&self, subject: &str) -> Option<String> {
        self.rules.iter().find_map(|rule| match rule {
            Rule::Default => Some(subject.to_owned()),
            Rule::Replace { pattern, replacement, case } => {
                let found = pattern.captures(subject)?;
                let mut name = String::new();
                found.expand(replacement, &mut name);
                Some(match case {
                    Case::AsIs => name,
                    Case::Lower => name.to_lowercase(),
                    Case::Upper => name.to_uppercase(),
                })
            }
        })
    }
}

/// `RULE:pattern/replacement/`, and what stands behind it.
fn replace(text: &str) -> Result<(Rule, &str), String> {
    let form =
        || format!("must be DEFAULT or RULE:pattern/replacement/[LU], separated by commas, not {text:?}");
    let rest = text.strip_prefix("RULE:").ok_or_else(form)?;
    let (pattern, rest) = until_slash(rest).ok_or_else(form)?;
    let (replacement, rest) = until_slash(rest).ok_or_else(form)?;
    let (case, rest) = match (rest.strip_prefix('L'), rest.strip_prefix('U')) {
        (Some(rest), _) => (Case::Lower, rest),
        (_, Some(rest)) => (Case::Upper, rest),
        (None, None) => (Case::AsIs, rest),
    };
    let pattern = Regex::new(&format!("^(?:{})$", pattern.replace("\\/", "/")))
        .map_err(|error| format!("the pattern {pattern:?} is wrong: {error}"))?;
    let replacement = expansion(replacement)?;
    Ok((Rule::Replace { pattern, replacement, case }, rest))
}

/// What stands before the next slash that is not escaped, and what stands behind it.
fn until_slash(text: &str) -> Option<(&str, &str)> {
    let mut is_escaped = false;
    for (at, letter) in text.char_indices() {
        match letter {
            '/' if !is_escaped => return Some((text.get(..at)?, text.get(at + 1..)?)),
            '\\' => is_escaped = !is_escaped,
            _ => is_escaped = false,
        }
    }
    None
}

/// A replacement as the expressions here take it: `$1` is the first group wherever it stands, and what is escaped is meant
/// as it is.
fn expansion(text: &str) -> Result<String, String> {
    let mut expansion = String::new();
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => match letters.next() {
                Some('$') => expansion.push_str("$$"),
                Some(meant) => expansion.push(meant),
                None => return Err("a replacement ends with a backslash".to_owned()),
            },
            '$' => match letters.next() {
                Some(group) if group.is_ascii_digit() => {
                    expansion.push_str("${");
                    expansion.push(group);
                    expansion.push('}');
                }
                _ => return Err("behind $ stands the number of a group, from 0 to 9".to_owned()),
            },
            plain => expansion.push(plain),
        }
    }
    Ok(expansion)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(rules: &str, subject: &str) -> Option<String> {
        MappingRules::parse(rules).unwrap().name(subject)
    }

    #[test]
    fn the_first_rule_that_fits_the_whole_subject_counts() {
        let rules = "RULE:^CN=(.*?),OU=ServiceUsers.*$/$1/,RULE:^CN=(.*?),OU=(.*?),O=.*$/$1@$2/L,\
                     RULE:^.*[Cc][Nn]=([a-zA-Z0-9.]*).*$/$1/U,DEFAULT";
        for (subject, expected) in [
            ("CN=kafka-server1,OU=ServiceUsers,O=Org", "kafka-server1"),
            ("CN=Duke,OU=Java Soft,O=Sun", "duke@java soft"),
            ("OU=x,cn=alice1", "ALICE1"),
            ("O=nobody", "O=nobody"),
        ] {
            assert_eq!(name(rules, subject).as_deref(), Some(expected), "{subject}");
        }
    }

    #[test]
    fn without_a_rule_that_fits_there_is_no_name() {
        assert_eq!(name("RULE:^CN=(a.*)$/$1/", "CN=bob"), None);
        assert_eq!(name("RULE:CN=b/bee/", "CN=bob"), None);
        assert_eq!(name("DEFAULT", "CN=bob").as_deref(), Some("CN=bob"));
    }

    #[test]
    fn slashes_and_dollars_that_are_escaped_are_meant_as_they_are() {
        assert_eq!(name(r"RULE:^CN=a\/(.*)$/x\/$1y\$/", "CN=a/b").as_deref(), Some("x/by$"));
    }

    #[test]
    fn what_is_no_rule_is_refused() {
        for wrong in ["", "RULE:a/b", "RULE:(/b/", "OTHER", "RULE:a/b/LDEFAULT", "RULE:a/$x/", r"RULE:a/b\"] {
            assert!(MappingRules::parse(wrong).is_err(), "{wrong}");
        }
    }
}
