//! Random histories: members join, sync, leave, come back and die, records fail, the group moves. What is promised
//! holds at every step, and once it is quiet the group comes to rest.

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    /// Whatever a sane client does next.
    Act(usize),
    /// Joins whether it makes sense or not, as a client does whose request timed out.
    Join(usize),
    /// As above.
    Sync(usize),
    Leave(usize),
    /// An administrator puts an instance out.
    PutOut(usize),
    /// The process ends and another one begins.
    Restart(usize),
    Change(usize),
    Die(usize),
    Pass(u64),
    Commit,
    Fail,
    TakeOver,
}

fn any_step() -> impl Strategy<Value = Step> {
    let who = 0..CLIENTS;
    prop_oneof![
        12 => who.clone().prop_map(Step::Act),
        2 => who.clone().prop_map(Step::Join),
        2 => who.clone().prop_map(Step::Sync),
        1 => who.clone().prop_map(Step::Leave),
        1 => who.clone().prop_map(Step::PutOut),
        2 => who.clone().prop_map(Step::Restart),
        1 => who.clone().prop_map(Step::Change),
        1 => who.prop_map(Step::Die),
        5 => prop_oneof![0..500_u64, 500..5_000_u64, 5_000..70_000_u64].prop_map(Step::Pass),
        5 => Just(Step::Commit),
        1 => Just(Step::Fail),
        1 => Just(Step::TakeOver),
    ]
}

const CLIENTS: usize = 5;

/// A client: the first ones are static.
#[derive(Clone, Debug, Default)]
struct Client {
    instance: Option<Arc<str>>,
    version: i16,
    is_dead: bool,
    speaks_less: bool,
    metadata: u64,
    id: Arc<str>,
    generation: i32,
    joining: Option<Ticket>,
    syncing: Option<Ticket>,
    /// To whom it is to assign, if it leads.
    assigns_to: Vec<Arc<str>>,
    is_in: bool,
}

struct World {
    bench: Bench,
    clients: Vec<Client>,
    /// Whose join or sync a ticket is, and with which id and generation a sync came.
    asked: BTreeMap<Ticket, (usize, Arc<str>, i32)>,
    heard: BTreeSet<Ticket>,
    /// The client that leads a generation.
    leaders: BTreeMap<i32, usize>,
    generation: i32,
}

impl World {
    fn new(delay_ms: u64) -> Self {
        let settings = ClassicSettings {
            initial_rebalance_delay_ms: delay_ms,
            new_member_join_timeout_ms: 60_000,
            max_members: CLIENTS - 1,
            max_promised_ids: 3,
            ..ClassicSettings::default()
        };
        let client = |number: usize| Client {
            instance: (number < 2).then(|| format!("i{number}").into()),
            version: if number.is_multiple_of(2) { 9 } else { 3 + i16::try_from(number).unwrap() },
            ..Client::default()
        };
        Self {
            bench: Bench::with(settings),
            clients: (0..CLIENTS).map(client).collect(),
            asked: BTreeMap::new(),
            heard: BTreeSet::new(),
            leaders: BTreeMap::new(),
            generation: 0,
        }
    }

    fn take(&mut self, step: &Step) {
        match *step {
            Step::Act(who) => self.act(who),
            Step::Join(who) => self.join(who),
            Step::Sync(who) => self.sync(who),
            Step::Leave(who) => {
                let client = &mut self.clients[who];
                let (id, instance) = (std::mem::take(&mut client.id), client.instance.clone());
                client.is_in = false;
                self.bench.leave(&[(&id, instance.as_deref())]);
            }
            Step::PutOut(who) => {
                self.bench.leave(&[("", Some(&format!("i{who}")))]);
            }
            Step::Restart(who) => {
                let Client { instance, version, metadata, speaks_less, .. } = self.clients[who].clone();
                self.clients[who] = Client { instance, version, metadata, speaks_less, ..Client::default() };
            }
            Step::Change(who) => {
                self.clients[who].metadata += 1;
                self.clients[who].speaks_less ^= self.clients[who].metadata.is_multiple_of(3);
            }
            Step::Die(who) => self.clients[who].is_dead = true,
            Step::Pass(ms) => self.bench.wait(ms),
            Step::Commit => {
                self.bench.commit_one();
            }
            Step::Fail => self.bench.fail(ErrorCode::NotEnoughReplicasAfterAppend),
            Step::TakeOver => self.take_over(),
        }
        self.hear();
        self.check();
    }

    fn act(&mut self, who: usize) {
        let client = self.clients[who].clone();
        if client.is_dead || client.joining.is_some() || client.syncing.is_some() {
            return;
        }
        match client.generation {
            0 => self.join(who),
            _ if !client.is_in => self.sync(who),
            _ => {
                let beaten = self.bench.beat_as(&client.id, client.generation, client.instance.as_deref());
                if let Err(code) = beaten {
                    self.clients[who].told(code);
                }
            }
        }
    }

    fn join(&mut self, who: usize) {
        let client = &self.clients[who];
        let metadata = Bytes::from(format!("t{}", client.metadata));
        let names = if client.speaks_less { &["sticky"][..] } else { &["range", "sticky"][..] };
        let protocols =
            names.iter().map(|name| Protocol { name: (*name).into(), metadata: metadata.clone() });
        let request = JoinGroup {
            version: client.version,
            member: client.id.clone(),
            instance: client.instance.clone(),
            client_id: format!("c{who}").into(),
            rebalance_timeout_ms: 20_000,
            protocols: protocols.collect(),
            ..joining()
        };
        let ticket = self.bench.join(request);
        self.asked.insert(ticket, (who, "".into(), 0));
        let client = &mut self.clients[who];
        (client.joining, client.syncing, client.generation, client.is_in) = (Some(ticket), None, 0, false);
    }

    fn sync(&mut self, who: usize) {
        let client = self.clients[who].clone();
        let generation = client.generation;
        let each = client.assigns_to.iter().map(|id| (id.clone(), share_of(who, generation, id)));
        let request = SyncGroup {
            instance: client.instance.clone(),
            assignments: each.collect(),
            ..syncing(&client.id, generation)
        };
        let ticket = self.bench.sync(request);
        self.asked.insert(ticket, (who, client.id, generation));
        self.clients[who].syncing = Some(ticket);
    }

    fn expected_share(&self, generation: i32, id: &Arc<str>) -> Option<Bytes> {
        self.leaders.get(&generation).map(|leader| share_of(*leader, generation, id))
    }

    fn hear(&mut self) {
        let new: Vec<_> =
            self.bench.answers.keys().copied().filter(|each| !self.heard.contains(each)).collect();
        for ticket in new {
            self.heard.insert(ticket);
            let Some((who, id, generation)) = self.asked.get(&ticket).cloned() else { continue };
            match self.bench.answers[&ticket].clone() {
                Answer::Join { member, result } => self.hear_join(who, ticket, &member, result),
                Answer::Sync(result) => self.hear_sync(who, ticket, &id, generation, result),
                other => panic!("{other:?}"),
            }
        }
    }

    fn hear_join(&mut self, who: usize, ticket: Ticket, member: &Arc<str>, result: Result<Joined, Refusal>) {
        if let Ok(joined) = &result {
            assert_eq!(owner(member), who);
            if joined.leader == *member {
                let leads = *self.leaders.entry(joined.generation).or_insert(who);
                assert_eq!(leads, who, "generation {} has two leaders", joined.generation);
                assert!(!joined.members.is_empty());
            } else {
                assert!(joined.members.is_empty());
            }
        }
        let client = &mut self.clients[who];
        if client.joining != Some(ticket) {
            return;
        }
        client.joining = None;
        match result {
            Ok(joined) => {
                let assigns_to = joined.members.iter().map(|each| each.member.clone());
                client.assigns_to = if joined.skip_assignment { Vec::new() } else { assigns_to.collect() };
                (client.id, client.generation, client.is_in) = (member.clone(), joined.generation, false);
            }
            Err(refusal) if refusal.code == ErrorCode::MemberIdRequired => client.id = member.clone(),
            Err(refusal) => client.told(refusal.code),
        }
    }

    fn hear_sync(
        &mut self,
        who: usize,
        ticket: Ticket,
        id: &Arc<str>,
        generation: i32,
        result: Result<Synced, Refusal>,
    ) {
        if let Ok(synced) = &result {
            let expected = self.expected_share(generation, id).expect("a generation has a leader");
            assert_eq!(synced.assignment, expected, "assigned by the leader of generation {generation}");
        }
        let client = &mut self.clients[who];
        if client.syncing != Some(ticket) {
            return;
        }
        client.syncing = None;
        match result {
            Ok(_) => client.is_in = true,
            Err(refusal) => client.told(refusal.code),
        }
    }

    fn check(&mut self) {
        let group = &self.bench.group;
        assert!(group.generation() >= self.generation, "generations only grow");
        self.generation = group.generation();
        let (members, joining) = (&group.members, group.members.iter().filter(|each| each.joining.is_some()));
        assert_eq!(members.joining(), joining.count());
        assert_eq!(members.is_empty(), group.leader.is_none(), "who is a member has a leader");
        assert!(group.leader.as_ref().is_none_or(|leader| members.contains(leader)));
        assert!(group.unsynced.iter().all(|each| members.contains(each)));
        assert!(
            members
                .iter()
                .all(|each| each.instance.as_ref().is_none_or(|i| members.holder(i) == Some(&each.id)))
        );
        assert!(group.promised.len() <= 3);
        let is_assigned = matches!(group.state, ClassicState::CompletingRebalance | ClassicState::Stable);
        assert!(is_assigned || group.unsynced.is_empty(), "nobody has to sync");
        assert_eq!(group.round.is_some(), group.state == ClassicState::PreparingRebalance);
        match group.state {
            ClassicState::Empty | ClassicState::Dead => assert!(members.is_empty()),
            ClassicState::Stable => {
                for member in members.iter() {
                    let expected = self.expected_share(group.generation, &member.id);
                    assert_eq!(Some(&member.assignment), expected.as_ref());
                }
            }
            ClassicState::PreparingRebalance | ClassicState::CompletingRebalance => {}
        }
    }

    /// Another coordinator reads the log; who waited at this one is told so. What was not written is not known there.
    fn take_over(&mut self) {
        self.bench.decide(ClassicGroup::unload);
        self.hear();
        let log = self.bench.log.clone();
        self.bench.read_back(log);
        self.generation = self.bench.group.generation();
        self.leaders.retain(|generation, _| *generation <= self.generation);
    }

    /// All who live go on as clients do, and the log works.
    fn come_to_rest(&mut self) {
        for _ in 0..400 {
            for who in 0..CLIENTS {
                self.act(who);
            }
            self.bench.commit();
            self.bench.wait(500);
            self.hear();
            self.check();
        }
    }
}

/// The client that an id was given to: ids begin with `c` or `i` and its number.
fn owner(id: &str) -> usize {
    id[1..2].parse().unwrap()
}

/// What a leader assigns: it tells who made it, when, and for whom.
fn share_of(leader: usize, generation: i32, id: &str) -> Bytes {
    format!("{leader} in {generation} to {}", owner(id)).into()
}

impl Client {
    fn told(&mut self, code: ErrorCode) {
        (self.generation, self.is_in) = (0, false);
        match code {
            ErrorCode::UnknownMemberId => self.id = "".into(),
            // Another has its place, or there is none for it: such a client ends.
            ErrorCode::FencedInstanceId
            | ErrorCode::GroupMaxSizeReached
            | ErrorCode::InconsistentGroupProtocol => {
                self.is_dead = true;
            }
            _ => {}
        }
    }
}

fn play(delay_ms: u64, steps: &[Step]) {
    let mut world = World::new(delay_ms);
    for step in steps {
        world.take(step);
    }
    world.come_to_rest();
    let living: Vec<_> = world.clients.iter().filter(|client| !client.is_dead).collect();
    let expected = if living.is_empty() { ClassicState::Empty } else { ClassicState::Stable };
    assert_eq!(world.bench.state(), expected, "{:?}", world.bench.group);
    assert_eq!(world.bench.group.members.len(), living.len());
    assert!(living.iter().all(|client| client.is_in && client.generation == world.bench.group.generation));
    assert!(world.bench.under_way.is_empty());
    world.bench.decide(ClassicGroup::unload);
    let answered = u64::try_from(world.bench.answers.len()).unwrap();
    assert_eq!(answered, world.bench.tickets, "every ticket is answered once");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_history_keeps_its_promises_and_comes_to_rest(
        delay_ms in prop_oneof![Just(0), Just(3_000_u64)],
        steps in proptest::collection::vec(any_step(), 1..120),
    ) {
        play(delay_ms, &steps);
    }
}
