//! Tables grouped by another key, and tables that are kept.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::super::{ForeignKey, StreamBuilder, Table, TopologyDriver};

/// Of a person: a team, and a score.
type Person = (u8, i64);

fn sums(people: &Table<String, Person>) -> Table<String, i64> {
    people.group_by(|_, (team, score)| (team.to_string(), score), "teams").aggregate(
        |_| 0,
        |_, score, sum| sum + score,
        |_, score, sum| sum - score,
        "sums",
    )
}

fn driver(builder: StreamBuilder, partitions: i32) -> TopologyDriver {
    TopologyDriver::new(&builder.build().unwrap(), partitions).unwrap()
}

fn put(driver: &mut TopologyDriver, topic: &str, key: &str, person: Option<Person>) {
    match person {
        Some(person) => driver.send(topic, &key.to_owned(), &person, 0).unwrap(),
        None => driver.delete(topic, &key.to_owned(), 0).unwrap(),
    }
}

fn all(driver: &TopologyDriver, store: &str) -> BTreeMap<String, i64> {
    driver.all::<String, i64>(store).unwrap().into_iter().collect()
}

fn of<const N: usize>(wanted: [(&str, i64); N]) -> BTreeMap<String, i64> {
    wanted.map(|(key, value)| (key.to_owned(), value)).into()
}

#[test]
fn a_row_that_changes_is_taken_off_its_group_and_added_to_the_other() {
    let builder = StreamBuilder::new("app");
    let people = builder.table::<String, Person>("people", "kept");
    sums(&people).changes().to("out");
    let by_team = people.group_by(|_, (team, _)| (team.to_string(), ()), "counted");
    by_team.count("counts");
    let scores = people.group_by(|_, (team, score)| (team.to_string(), score), "reduced");
    scores.reduce(|so_far, score| so_far + score, |so_far, score| so_far - score, "reduced-sums");
    let mut driver = driver(builder, 3);
    for (key, person) in [("a", Some((1, 5))), ("b", Some((1, 7))), ("a", Some((1, 6))), ("b", Some((2, 8)))]
    {
        put(&mut driver, "people", key, person);
    }
    assert_eq!(all(&driver, "sums"), of([("1", 6), ("2", 8)]));
    assert_eq!(all(&driver, "reduced-sums"), of([("1", 6), ("2", 8)]));
    assert_eq!(all(&driver, "counts"), of([("1", 1), ("2", 1)]));
    put(&mut driver, "people", "a", None);
    put(&mut driver, "people", "a", None);
    assert_eq!(all(&driver, "sums"), of([("1", 0), ("2", 8)]));
    assert_eq!(all(&driver, "counts"), of([("1", 0), ("2", 1)]));
}

#[test]
fn a_change_within_a_group_is_one_step() {
    let builder = StreamBuilder::new("app");
    sums(&builder.table::<String, Person>("people", "kept")).changes().to("out");
    let mut driver = driver(builder, 1);
    put(&mut driver, "people", "a", Some((1, 5)));
    put(&mut driver, "people", "a", Some((1, 9)));
    let out = driver.read::<String, Option<i64>>("out").unwrap();
    assert_eq!(out.into_iter().map(|event| event.value).collect::<Vec<_>>(), [Some(5), Some(9)]);
}

#[test]
fn a_stream_becomes_a_table_that_can_be_joined() {
    let builder = StreamBuilder::new("app");
    let latest = builder.stream::<i64, String>("said").map(|_, word| (word.clone(), word)).to_table("latest");
    let changes = builder.stream::<String, Option<String>>("changes").changes_to_table("changing");
    latest.join(&changes, |_, one, other| one + &other).changes().to("out");
    let mut driver = driver(builder, 3);
    let key = "a".to_owned();
    driver.send("said", &1_i64, &key, 0).unwrap();
    driver.send("changes", &key, &Some("b".to_owned()), 0).unwrap();
    driver.send("changes", &key, &None::<String>, 0).unwrap();
    let out = driver.read::<String, Option<String>>("out").unwrap();
    assert_eq!(out.into_iter().map(|event| event.value).collect::<Vec<_>>(), [Some("ab".to_owned()), None]);
    assert_eq!(driver.get::<String, String>("latest", &key).unwrap(), Some(key.clone()));
    assert_eq!(driver.get::<String, String>("changing", &key).unwrap(), None);
}

#[test]
fn a_materialized_table_says_what_was_there_before_though_both_sides_of_a_join_change_at_once() {
    let builder = StreamBuilder::new("app");
    let people = builder.table::<String, Person>("people", "kept");
    let teams = people.map_values(|_, (team, _)| team);
    let scores = people.map_values(|_, (_, score)| score).filter(|_, score| *score != 0);
    sums(&teams.join(&scores, |_, team, score| (team, score)).materialize("joined"));
    let mut driver = driver(builder, 2);
    for person in [Some((1, 5)), Some((2, 6)), Some((2, 0)), Some((1, 7)), None, Some((2, 3))] {
        put(&mut driver, "people", "a", person);
    }
    assert_eq!(all(&driver, "sums"), of([("1", 0), ("2", 3)]));
    assert_eq!(driver.get::<String, Person>("joined", &"a".to_owned()).unwrap(), Some((2, 3)));
}

#[derive(Clone, Debug)]
enum Step {
    Left(u8, Option<Person>),
    Right(u8, Option<i8>),
    Commit,
    Abort,
    LoseStores,
}

fn step() -> impl Strategy<Value = Step> {
    let person = prop::option::weighted(0.8, (0..3_u8, -9..9_i64));
    prop_oneof![
        6 => (0..4_u8, person).prop_map(|(key, person)| Step::Left(key, person)),
        3 => (0..4_u8, any::<Option<i8>>()).prop_map(|(key, value)| Step::Right(key, value)),
        1 => Just(Step::Commit),
        1 => Just(Step::Abort),
        1 => Just(Step::LoseStores),
    ]
}

/// The sums by team of the rows that a join makes.
fn topology(kind: &str) -> TopologyDriver {
    let builder = StreamBuilder::new("app");
    let people = builder.table::<String, Person>("people", "kept");
    let extra = builder.table::<String, i64>("extra", "kept-extra");
    let of_join = |(team, score): Person, extra: i64| (team, score + extra);
    let joined = match kind {
        "none" => people,
        "inner" => people.join(&extra, move |_, person, extra| of_join(person, extra)),
        "outer" => people.outer_join(&extra, move |_, person, extra| {
            of_join(person.unwrap_or((9, 0)), extra.unwrap_or(100))
        }),
        "foreign" => {
            let named = ForeignKey::from("by-team");
            people.join_foreign(
                &extra,
                |_, (team, _)| team.to_string(),
                move |_, person, extra| of_join(person, extra),
                named,
            )
        }
        _ => people.left_join_foreign(
            &extra,
            |_, (team, _)| team.to_string(),
            move |_, person, extra| of_join(person, extra.unwrap_or(100)),
            "by-team",
        ),
    };
    sums(&joined).changes().to("out");
    driver(builder, 3)
}

fn expected(kind: &str, people: &BTreeMap<u8, Person>, extra: &BTreeMap<u8, i64>) -> BTreeMap<String, i64> {
    let keys = people.keys().chain(extra.keys().filter(|key| !people.contains_key(key)));
    let rows = keys.filter_map(|key| {
        let (person, beside) = (people.get(key).copied(), extra.get(key).copied());
        let of_team = person.and_then(|(team, _)| extra.get(&team).copied());
        Some(match kind {
            "none" => person?,
            "inner" => (person?.0, person?.1 + beside?),
            "outer" => {
                let (team, score) = person.unwrap_or((9, 0));
                (team, score + beside.unwrap_or(100))
            }
            "foreign" => (person?.0, person?.1 + of_team?),
            _ => (person?.0, person?.1 + of_team.unwrap_or(100)),
        })
    });
    let mut sums = BTreeMap::new();
    for (team, score) in rows {
        *sums.entry(team.to_string()).or_insert(0) += score;
    }
    sums
}

proptest! {
    #[test]
    fn groups_are_what_the_rows_make_that_there_are_whoever_was_killed(
        steps in prop::collection::vec(step(), 0..60),
        kind in prop::sample::select(vec!["none", "inner", "outer", "foreign", "left-foreign"]),
    ) {
        let mut driver = topology(kind);
        driver.hold_commits();
        let (mut people, mut extra) = (BTreeMap::new(), BTreeMap::new());
        for step in steps {
            match step {
                Step::Left(key, person) => {
                    put(&mut driver, "people", &key.to_string(), person);
                    match person {
                        Some(person) => people.insert(key, person),
                        None => people.remove(&key),
                    };
                }
                Step::Right(key, value) => {
                    let (name, value) = (key.to_string(), value.map(i64::from));
                    match value {
                        Some(value) => driver.send("extra", &name, &value, 0).unwrap(),
                        None => driver.delete("extra", &name, 0).unwrap(),
                    }
                    match value {
                        Some(value) => extra.insert(key, value),
                        None => extra.remove(&key),
                    };
                }
                Step::Commit => driver.commit().unwrap(),
                Step::Abort => driver.abort().unwrap(),
                Step::LoseStores => driver.lose_stores().unwrap(),
            }
        }
        driver.commit().unwrap();
        let found: BTreeMap<_, _> = all(&driver, "sums").into_iter().filter(|(_, sum)| *sum != 0).collect();
        let wanted = expected(kind, &people, &extra);
        prop_assert_eq!(found, wanted.into_iter().filter(|(_, sum)| *sum != 0).collect::<BTreeMap<_, _>>());
    }
}
