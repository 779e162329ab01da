//! `millstream user`: who may log in on SASL listeners. How the first user of a cluster is made: nodes believe the
//! certificate that this command comes with.

use std::io::BufRead;
use std::path::{Path, PathBuf};

use clap::{Arg, ArgMatches, Command, value_parser};
use millstream_actors::access::{ScramChange, ScramMechanism, check_user_name};
use millstream_actors::cluster::message::access::UserDescription;

use super::connection::{arguments, with_client};
use super::table::Table;
use super::{Failure, say};
use crate::security::{sasl, scram};

/// The longest password, in bytes.
const PASSWORD_BYTES_MAX: usize = 1024;

pub(super) fn command() -> Command {
    arguments(Command::new("user"))
        .about("Show and change who may log in on SASL listeners")
        .long_about(
            "Show and change who may log in on SASL listeners. A password is salted and hashed here: it is neither sent nor \
             kept. Kafka's own tools do the same (kafka-configs --entity-type users) once they can log in.",
        )
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(Command::new("list").about("Show the users, their mechanisms and iterations"))
        .subcommand(
            Command::new("set")
                .about("Make a user, or change a password; it is the first line of standard input")
                .arg(name())
                .arg(mechanism())
                .arg(
                    Arg::new("iterations")
                        .long("iterations")
                        .value_name("NUMBER")
                        .default_value("4096")
                        .value_parser(value_parser!(u32).range(
                            i64::from(ScramMechanism::ITERATIONS_MIN)..=i64::from(ScramMechanism::ITERATIONS_MAX),
                        ))
                        .help("How often the password is hashed: what guessing costs, and a login with PLAIN"),
                )
                .arg(
                    Arg::new("password-file")
                        .long("password-file")
                        .value_name("FILE")
                        .value_parser(value_parser!(PathBuf))
                        .help("Take the first line of this file instead"),
                ),
        )
        .subcommand(
            Command::new("remove").about("Take a user's credentials away").arg(name()).arg(mechanism()),
        )
}

fn name() -> Arg {
    Arg::new("name").value_name("NAME").required(true).help("The user, User:NAME in access control lists")
}

fn mechanism() -> Arg {
    Arg::new("mechanism")
        .long("mechanism")
        .value_name("MECHANISM")
        .value_parser(ScramMechanism::ALL.map(ScramMechanism::name))
        .help("Only this one; both without")
}

fn mechanisms(matches: &ArgMatches) -> Vec<ScramMechanism> {
    let wanted = matches.get_one::<String>("mechanism");
    let all = ScramMechanism::ALL.into_iter();
    all.filter(|known| wanted.is_none_or(|wanted| wanted == known.name())).collect()
}

pub(super) fn run(matches: &ArgMatches) -> Result<(), Failure> {
    let Some((command, matches)) = matches.subcommand() else {
        return Err("no such command; see millstream user --help".into());
    };
    let user = matches.try_get_one::<String>("name").ok().flatten().cloned().unwrap_or_default();
    let changes = match command {
        "set" => given(matches, &user)?,
        "remove" => removed(matches, &user),
        _ => Vec::new(),
    };
    with_client(matches, async |client| {
        let admin = client.admin();
        if command == "list" {
            return show(&admin.describe_users().await?).iter().try_for_each(|line| say(line));
        }
        let outcomes = admin.alter_scram(changes.clone()).await?;
        // Whoever has one mechanism only is removed without being asked for which.
        let is_enough = command == "remove" && outcomes.iter().any(Result::is_ok);
        for (change, outcome) in changes.iter().zip(outcomes) {
            match outcome {
                Ok(()) => say(&format!("{user} {}", told(change)))?,
                Err(_) if is_enough => {}
                Err(refusal) => return Err(refusal.into()),
            }
        }
        Ok(())
    })
}

fn told(change: &ScramChange) -> String {
    let may = if change.credential.is_some() { "may" } else { "may no longer" };
    format!("{may} log in with {}", change.mechanism.name())
}

fn removed(matches: &ArgMatches, user: &str) -> Vec<ScramChange> {
    let change = |mechanism| ScramChange { user: user.to_owned(), mechanism, credential: None };
    mechanisms(matches).into_iter().map(change).collect()
}

fn given(matches: &ArgMatches, user: &str) -> Result<Vec<ScramChange>, Failure> {
    check_user_name(user)?;
    let password = password(matches.get_one::<PathBuf>("password-file").map(PathBuf::as_path))?;
    let iterations = matches.get_one("iterations").copied().unwrap_or(ScramMechanism::ITERATIONS_MIN);
    let change = |mechanism| {
        let salt = sasl::salt()?;
        let salted = scram::salted_password(mechanism, password.as_bytes(), &salt, iterations);
        let credential = scram::credential(mechanism, &salted, salt, iterations);
        Ok(ScramChange { user: user.to_owned(), mechanism, credential: Some(credential) })
    };
    mechanisms(matches).into_iter().map(change).collect()
}

fn password(file: Option<&Path>) -> Result<String, Failure> {
    let read = match file {
        Some(path) => std::fs::File::open(path)
            .map_err(|error| format!("{}: {error}", path.display()))
            .and_then(|file| first_line(std::io::BufReader::new(file)))?,
        None => first_line(std::io::stdin().lock())?,
    };
    Ok(read)
}

fn first_line(mut from: impl BufRead) -> Result<String, String> {
    let mut line = String::new();
    from.read_line(&mut line).map_err(|error| format!("the password cannot be read: {error}"))?;
    let password = line.trim_end_matches(['\r', '\n']);
    if (1..=PASSWORD_BYTES_MAX).contains(&password.len()) && !password.contains('\0') {
        return Ok(password.to_owned());
    }
    Err(format!("a password has from 1 to {PASSWORD_BYTES_MAX} bytes, none of them zero"))
}

fn show(users: &[UserDescription]) -> Vec<String> {
    let mut table = Table::new(["user", "mechanism", "iterations"]);
    for known in users {
        for (mechanism, iterations) in &known.mechanisms {
            table.row([known.user.clone(), mechanism.name().to_owned(), iterations.to_string()]);
        }
    }
    table.lines()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<ArgMatches, clap::Error> {
        command().try_get_matches_from(line.split(' '))
    }

    #[test]
    fn a_user_is_set_with_both_mechanisms_or_one() {
        let wanted = |line: &str| {
            let matches = parsed(line).unwrap();
            mechanisms(matches.subcommand().unwrap().1)
        };
        assert_eq!(wanted("user set alice"), ScramMechanism::ALL);
        assert_eq!(wanted("user remove alice --mechanism SCRAM-SHA-512"), [ScramMechanism::Sha512]);
        for wrong in
            ["user set", "user set alice --iterations 10", "user set alice --mechanism PLAIN", "user add a"]
        {
            assert!(parsed(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_password_is_a_line_and_not_empty() {
        assert_eq!(first_line(&b"secret with spaces \r\nmore"[..]).as_deref(), Ok("secret with spaces "));
        for wrong in [&b""[..], b"\n", b"a\0b\n"] {
            assert!(first_line(wrong).is_err());
        }
    }

    #[test]
    fn a_credential_is_made_here_and_lets_its_owner_in() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("password");
        std::fs::write(&file, "pencil\n").unwrap();
        let matches = parsed(&format!("user set alice --password-file {}", file.display())).unwrap();
        let changes = given(matches.subcommand().unwrap().1, "alice").unwrap();
        assert_eq!(changes.len(), 2);
        for change in changes {
            let credential = change.credential.clone().unwrap();
            assert!(scram::is_password(change.mechanism, &credential, b"pencil"));
            assert_eq!(change.check(), Ok(()));
        }
    }
}
