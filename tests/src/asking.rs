//! Clients in processes of their own that ask all the time and note what they are told: `PROGRAM ask-on SECONDS --bootstrap
//! ADDRESS --certs DIRECTORY` prints a line of JSON for each answer and each refusal.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use millstream::certificates::{CertificateFolder, LOCAL_CLIENT};
use millstream::{
    ActorContext, ActorId, ActorMessage, CallError, Client, ClientSettings, Clock, Handled, NamedActor,
};
use serde::{Deserialize, Serialize};

use crate::Outcome;
use crate::bank::{Account, Order};

/// The name of the actor that all nodes host and that is there once.
pub const REGISTER: &str = "register";

/// The accounts that are looked at.
const ACCOUNTS: u64 = 6;

/// How long one ask may take: shorter than any fault.
const ASK_WITHIN: Duration = Duration::from_millis(500);

/// The pause between two.
const PAUSE: Duration = Duration::from_millis(20);

/// Asks the register to count on.
#[derive(Debug, Serialize, Deserialize)]
pub struct Count;

impl ActorMessage for Count {
    const NAME: &'static str = "count";
    type Answer = (u32, u64, u64);
}

/// Counts what it is asked.
#[derive(Debug, Default)]
pub struct Register(u64);

impl NamedActor for Register {
    const KIND: &'static str = "register";
    type Message = Count;

    async fn handle(&mut self, _: Count, context: &ActorContext) -> Handled<Count> {
        self.0 += 1;
        let ActorId { node, serial, .. } = context.actor();
        Ok((node.0, serial, self.0))
    }
}

/// What somebody was told, and when, by the clock of the machine.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Told {
    /// Which account; none for the register.
    pub account: Option<u64>,
    /// When it was asked for, and when the answer came.
    pub asked_ms: i64,
    /// See there.
    pub came_ms: i64,
    /// The answer, or why there was none.
    pub answer: Result<Answer, String>,
}

/// An answer.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Answer {
    /// The node and the serial of the register; zeros of an account.
    pub owner: (u32, u64),
    /// How far the register had counted, or how many turns an account had had that changed it.
    pub version: u64,
}

/// Asks as the arguments of the program say, after the first.
pub async fn ask_on(mut arguments: impl Iterator<Item = String>) -> Outcome {
    let usage = "usage: PROGRAM ask-on SECONDS --bootstrap ADDRESS --certs DIRECTORY";
    let mut next = |flag: Option<&str>| match flag {
        Some(flag) if arguments.next().as_deref() != Some(flag) => Err(usage),
        _ => arguments.next().ok_or(usage),
    };
    let how_long = Duration::from_secs(next(None)?.parse()?);
    let bootstrap = next(Some("--bootstrap"))?;
    let certificates = CertificateFolder::new(PathBuf::from(next(Some("--certs"))?));
    let settings = ClientSettings::new([bootstrap]);
    let client = Client::connect(certificates.client(LOCAL_CLIENT)?, settings).await?;
    let clock = Clock::real();
    let until = tokio::time::Instant::now() + how_long;
    tokio::join!(of_register(&client, &clock, until), of_accounts(&client, &clock, until));
    client.close().await;
    Ok(())
}

async fn of_register(client: &Client, clock: &Clock, until: tokio::time::Instant) {
    while tokio::time::Instant::now() < until {
        let asked_ms = clock.wall_ms();
        let answer = client.actors().ask(REGISTER, &Count, ASK_WITHIN).await;
        let answer = answer.map(|(node, serial, version)| Answer { owner: (node, serial), version });
        tell(clock, None, asked_ms, answer);
        tokio::time::sleep(PAUSE).await;
    }
}

async fn of_accounts(client: &Client, clock: &Clock, until: tokio::time::Instant) {
    for account in (0..ACCOUNTS).cycle() {
        if tokio::time::Instant::now() >= until {
            return;
        }
        let asked_ms = clock.wall_ms();
        let answer = client.entities().entity::<Account>(&account).ask(&Order::Look, ASK_WITHIN).await;
        let version = |account: Account| Answer { owner: (0, 0), version: account.sent + account.received };
        tell(clock, Some(account), asked_ms, answer.map(version));
        tokio::time::sleep(PAUSE).await;
    }
}

#[expect(clippy::print_stdout, reason = "what the process is for")]
fn tell(clock: &Clock, account: Option<u64>, asked_ms: i64, answer: Result<Answer, CallError>) {
    let answer = answer.map_err(|error| error.to_string());
    let told = Told { account, asked_ms, came_ms: clock.wall_ms(), answer };
    println!("{}", serde_json::to_string(&told).unwrap_or_default());
}

/// What all were told, from what their processes printed.
pub fn read(said: &str) -> Outcome<Vec<Told>> {
    Ok(said.lines().map(serde_json::from_str).collect::<Result<_, _>>()?)
}

/// An error where the history has two registers at a time, a turn that was answered twice, or an account of whose past
/// somebody was told after somebody had been told more.
pub fn check(told: &[Told]) -> Outcome {
    let answers = told.iter().filter_map(|told| Some((told, *told.answer.as_ref().ok()?)));
    let (mut register, mut accounts) = (Vec::new(), BTreeMap::<u64, Vec<_>>::new());
    for (told, answer) in answers {
        match told.account {
            None => register.push((told, answer)),
            Some(account) => accounts.entry(account).or_default().push((told, answer)),
        }
    }
    one_register_at_a_time(register)?;
    accounts.into_iter().try_for_each(|(account, answers)| never_from_the_past(account, answers))
}

type Answers<'a> = Vec<(&'a Told, Answer)>;

fn one_register_at_a_time(mut answers: Answers<'_>) -> Outcome {
    answers.sort_by_key(|(told, _)| told.came_ms);
    let mut owners: Vec<((u32, u64), i64)> = Vec::new();
    let mut turns = std::collections::BTreeSet::new();
    for (told, answer) in answers {
        if !turns.insert((answer.owner, answer.version)) {
            return Err(format!("{told:?} was answered twice").into());
        }
        let Some(place) = owners.iter().position(|(owner, _)| *owner == answer.owner) else {
            owners.push((answer.owner, told.came_ms));
            continue;
        };
        if let Some((next, since_ms)) = owners.get(place + 1)
            && told.asked_ms > *since_ms
        {
            return Err(format!("{told:?} although {next:?} had answered before it was asked for").into());
        }
    }
    Ok(())
}

fn never_from_the_past(account: u64, answers: Answers<'_>) -> Outcome {
    let mut by_end = answers.clone();
    by_end.sort_by_key(|(told, _)| told.came_ms);
    let mut by_begin = answers;
    by_begin.sort_by_key(|(told, _)| told.asked_ms);
    let (mut known, mut ends) = (0, by_end.into_iter().peekable());
    for (told, answer) in by_begin {
        while let Some((_, earlier)) = ends.next_if(|(earlier, _)| earlier.came_ms < told.asked_ms) {
            known = known.max(earlier.version);
        }
        if answer.version < known {
            return Err(format!("account {account}: {told:?} although turn {known} had been told of").into());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(account: Option<u64>, asked_ms: i64, came_ms: i64, node: u32, version: u64) -> Told {
        Told { account, asked_ms, came_ms, answer: Ok(Answer { owner: (node, 1), version }) }
    }

    #[test]
    fn an_answer_of_the_owner_before_is_found() {
        let history = [told(None, 0, 5, 1, 1), told(None, 6, 8, 2, 1), told(None, 7, 9, 1, 2)];
        check(&history).expect("it was asked for before the second owner had answered");
        let history = [told(None, 0, 5, 1, 1), told(None, 6, 8, 2, 1), told(None, 9, 10, 1, 2)];
        assert!(check(&history).unwrap_err().to_string().contains("had answered before"));
    }

    #[test]
    fn an_answer_out_of_the_past_is_found() {
        let history = [told(Some(1), 0, 5, 0, 7), told(Some(1), 4, 9, 0, 6), told(Some(2), 8, 9, 0, 1)];
        check(&history).expect("they were asked for at the same time");
        let history = [told(Some(1), 0, 5, 0, 7), told(Some(1), 6, 9, 0, 6)];
        assert!(check(&history).unwrap_err().to_string().contains("turn 7 had been told of"));
    }
}
