//! A world: one coordinator that crashes and restarts over one database, participants and initiators
//! that do the same, operators, and a network between them. One seed determines everything.
//!
//! All events are [`Event`]s in one queue ordered by time. A step takes the next event out, passes it to
//! the process that it is for, and puts the events that follow into the queue.

mod arrivals;
mod clients;
mod coordinator;
mod memory;
mod network;
mod operators;
mod services;
mod storage;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use tercet_core::{
    config::EngineConfig,
    id::{CallId, StreamId, TxId},
    lane::LaneResult,
    limits,
    model::{DueRow, Name, Phase},
    port::{Loaded, Read},
    time::{Moment, Timestamp},
    write::{Due, DueQuery, QueuesQuery},
};

pub use self::network::Letter;
use self::{clients::Client, services::Service};
use super::{
    books::Books,
    coverage::Coverage,
    dice::Dice,
    faults::{Fault, Faults},
    history::{DAWN, History},
    judge::{Judge, Scene, end, rows},
    plan::{FAULTS_END, Plan},
    process::Process,
    sessions::{Database, SessionId},
    tables::Row,
};

/// The time after the end of faults by which everything must be over.
const HEALING: Duration = Duration::from_mins(10);
/// The time by which the end of a phase one may be late after faults have ended, the clock has jumped or the coordinator has
/// started: a minute is allowed to rows that an incarnation before wrote with a wrong clock.
const LATE: Duration = Duration::from_mins(2);
/// The interval at which a healing world checks whether everything is over.
const CENSUS: Duration = Duration::from_secs(1);
/// The number of such checks after which memory must be empty.
const CALM: u32 = 30;
/// The number of steps after which a world counts as running in circles.
const STEPS: u64 = 2_000_000;

/// An event.
#[derive(Clone, Debug)]
pub enum Event {
    /// The coordinator starts.
    Start,
    /// The coordinator of this epoch wakes up: its clock was set to ring at this moment.
    Wake(u64, Moment),
    /// The coordinator of this epoch renews its lease.
    Renews(u64),
    /// Its lease is renewed.
    Renewed(u64, Reading),
    /// A session of the database goes on.
    Session(SessionId, u64),
    /// An answer of the database reaches the coordinator of this epoch.
    FromStore(u64, Box<FromStore>),
    /// A letter arrives.
    Arrives(Box<Letter>),
    /// The coordinator of this epoch notices that a stream is gone.
    StreamGone(u64, StreamId),
    /// A connection of this incarnation takes this call, if it still waits.
    Taken(u64, CallId),
    /// The coordinator of this epoch stops waiting for the answer to a call to an address.
    CallTimesOut(u64, CallId),
    /// A participant's instance opens a stream.
    Attach {
        /// The participant.
        service: usize,
        /// The instance.
        instance: usize,
        /// The number of the participant's life.
        life: u32,
    },
    /// A participant comes up.
    ServiceUp(usize),
    /// The code of a participant ends.
    JobEnds {
        /// The participant.
        service: usize,
        /// The number of the participant's life.
        life: u32,
        /// The job.
        job: u64,
    },
    /// An initiator's timer rings.
    Client(usize, u64),
    /// An initiator aborts an Execute.
    Abort(usize),
    /// A participant is gone.
    Leaves(usize),
    /// A participant changes from streams to an address, or back.
    Moves(usize),
    /// The coordinator is restarted.
    Restart,
    /// The database's clock jumps: from now on it is so many microseconds ahead of the world's time, or behind it.
    ClockJumps(i64),
    /// An operator looks for stuck transactions.
    Operator,
    /// Faults end.
    Heal,
    /// A healing world checks whether everything is over.
    Census,
}

/// A reading of the database's clock.
#[derive(Clone, Copy, Debug)]
pub struct Reading {
    /// When the coordinator asked.
    pub sent: Moment,
    /// The time, if the database has read it yet.
    pub time: Option<Timestamp>,
}

/// An answer of the database.
#[derive(Clone, Debug)]
pub enum FromStore {
    /// The result of a lane's command.
    Lane(LaneResult),
    /// Loaded transactions.
    Loaded(Vec<(TxId, Loaded)>),
    /// Due rows.
    Due(DueQuery, Vec<Due>),
    /// Queues with rows.
    Queues(QueuesQuery, Vec<DueRow>),
    /// A read failed.
    ReadFailed(Read),
}

/// The report on one seed.
#[derive(Clone, Debug)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// The number of events.
    pub events: u64,
    /// The number of transactions that began.
    pub transactions: u64,
    /// The number of times each fault struck, in the order of [`Fault::ALL`].
    pub faults: Vec<u64>,
    /// The pairs of state and event that were reached.
    pub coverage: Coverage,
    /// The first breach.
    pub breach: Option<super::judge::Breach>,
    /// The history of its transaction, if it was kept.
    pub history: String,
}

/// One seed's world.
pub struct World {
    seed: u64,
    now: Timestamp,
    dice: Dice,
    faults: Faults,
    plan: Arc<Plan>,
    queue: BTreeMap<(Timestamp, u64), Event>,
    queued: u64,
    steps: u64,
    database: Database,
    process: Option<Process>,
    config: EngineConfig,
    epoch: u64,
    /// The end of the time in which the database takes no writes.
    outage_until: Timestamp,
    /// Writes that were given up as not applied, by transaction, version and the epoch of the incarnation.
    given_up: BTreeSet<(TxId, u32, u64)>,
    /// The microseconds by which the database's clock is ahead of the world's time, or behind it where that is negative.
    ahead: i64,
    /// When it last jumped, the coordinator last started or faults ended: steps may be late for a while after that.
    troubled_at: Timestamp,
    services: Vec<Service>,
    places: BTreeMap<Name, usize>,
    books: BTreeMap<Name, Books>,
    clients: Vec<Client>,
    judge: Judge,
    history: History,
    coverage: Coverage,
    /// The number of checks in a row that found everything over.
    calm: u32,
    over: bool,
}

impl World {
    /// Makes the world of a seed.
    pub fn new(seed: u64, keep_history: bool) -> Self {
        let mut dice = Dice::new(seed);
        let plan = Arc::new(Plan::roll(&mut dice.fork()));
        let faults = Faults::new(dice.fork());
        let config = engine_config(&mut dice);
        let names = plan.services.iter().map(|service| service.name.clone());
        let mut world = Self {
            seed,
            now: DAWN,
            faults,
            queue: BTreeMap::new(),
            queued: 0,
            steps: 0,
            database: Database::default(),
            process: None,
            config,
            epoch: 0,
            outage_until: DAWN,
            given_up: BTreeSet::new(),
            ahead: 0,
            troubled_at: DAWN,
            services: plan.services.iter().map(Service::new).collect(),
            places: names.clone().zip(0..).collect(),
            books: names.map(|name| (name, Books::default())).collect(),
            clients: plan
                .transactions
                .iter()
                .map(|tx| Client::new(tx.clone()))
                .collect(),
            judge: Judge::default(),
            history: History::new(keep_history),
            coverage: Coverage::default(),
            calm: 0,
            over: false,
            plan,
            dice,
        };
        world.dawn();
        world
    }

    fn dawn(&mut self) {
        self.after(Duration::from_millis(1), Event::Start);
        for service in 0..self.services.len() {
            let wait = self.dice.millis(0, 500);
            self.after(wait, Event::ServiceUp(service));
            let plan = self.plan.services[service].clone();
            if let Some(away) = plan.away {
                self.at(DAWN + away.from, Event::Leaves(service));
                if let Some(until) = away.until {
                    self.at(DAWN + until, Event::ServiceUp(service));
                }
            }
            for time in plan.moves {
                self.at(DAWN + time, Event::Moves(service));
            }
        }
        for time in self.plan.restarts.clone() {
            self.at(DAWN + time, Event::Restart);
        }
        for (time, ahead) in self.plan.clock.clone() {
            self.at(DAWN + time, Event::ClockJumps(ahead));
        }
        for client in 0..self.clients.len() {
            let starts = self.clients[client].plan.starts;
            self.at(starts, Event::Client(client, 0));
        }
        self.after(Duration::from_secs(2), Event::Operator);
        self.at(DAWN + FAULTS_END, Event::Heal);
    }

    /// Runs until everything is over or an invariant is broken.
    pub fn run(mut self) -> Report {
        while self.judge.breach().is_none() && !self.over {
            if self.steps >= STEPS {
                let what = format!("not over after {STEPS} steps");
                self.judge.record("I7 nothing stays unfinished", None, what);
                break;
            }
            self.step();
        }
        if self.judge.breach().is_none() {
            let gone = self.gone_for_good();
            let scene = Scene {
                now: self.now,
                tables: &self.database.tables,
                books: &self.books,
            };
            self.judge.at_the_end(&scene, &gone);
        }
        let breach = self.judge.breach().cloned();
        Report {
            seed: self.seed,
            events: self.steps,
            transactions: self.database.tables.rows().count() as u64,
            faults: self.faults.counts().to_vec(),
            coverage: self.coverage,
            history: breach
                .as_ref()
                .map(|breach| self.history.of(breach.tx))
                .unwrap_or_default(),
            breach,
        }
    }

    fn step(&mut self) {
        let Some(((at, _), event)) = self.queue.pop_first() else {
            self.over = true;
            return;
        };
        self.steps += 1;
        self.now = self.now.max(at);
        self.notice_standstill();
        match event {
            Event::Start => self.start(),
            Event::Wake(epoch, alarm) => self.wake(epoch, alarm),
            Event::Renews(epoch) => self.renews(epoch),
            Event::Renewed(epoch, reading) => self.renewed(epoch, reading),
            Event::Session(session, epoch) => self.session_goes_on(session, epoch),
            Event::FromStore(epoch, answer) => self.store_answers(epoch, *answer),
            Event::Arrives(letter) => self.arrives(*letter),
            Event::Taken(epoch, call) => self.call_taken(epoch, call),
            Event::StreamGone(epoch, stream) => self.stream_gone(epoch, stream),
            Event::CallTimesOut(epoch, call) => self.call_times_out(epoch, call),
            Event::Attach {
                service,
                instance,
                life,
            } => self.attach(service, instance, life),
            Event::ServiceUp(service) => self.service_up(service),
            Event::JobEnds { service, life, job } => self.job_ends(service, life, job),
            Event::Client(client, ticket) => self.client_rings(client, ticket),
            Event::Abort(client) => self.client_aborts(client),
            Event::Leaves(service) => self.service_leaves(service),
            Event::Moves(service) => self.service_moves(service),
            Event::Restart => {
                self.faults.count(Fault::CoordinatorCrash);
                self.crash();
            }
            Event::ClockJumps(ahead) => self.clock_jumps(ahead),
            Event::Operator => self.operator_looks(),
            Event::Heal => self.heal(),
            Event::Census => self.census(),
        }
        if self.faults.strikes(Fault::TimeJump) {
            let jump = self.dice.millis(1_000, 20_000);
            let awake = self.process.as_ref().map(|process| process.paused_until);
            let asleep = awake.map_or(Duration::ZERO, |until| until.since(self.now));
            self.now = self.now + jump;
            self.stands_still_for(jump.saturating_sub(asleep));
            self.note(None, || format!("time jumps by {jump:?}"));
        }
    }

    fn at(&mut self, at: Timestamp, event: Event) {
        self.queued += 1;
        self.queue.insert((at.max(self.now), self.queued), event);
    }

    fn after(&mut self, wait: Duration, event: Event) {
        self.at(self.now + wait, event);
    }

    fn note(&mut self, tx: Option<TxId>, text: impl FnOnce() -> String) {
        self.history.note(self.now, tx, text);
    }

    fn clock_jumps(&mut self, ahead: i64) {
        self.faults.count(Fault::ClockJumps);
        self.ahead = ahead;
        self.troubled_at = self.now;
        self.note(None, || {
            format!("the database's clock is {ahead} microseconds ahead")
        });
    }

    fn heal(&mut self) {
        self.faults.on = false;
        self.troubled_at = self.now;
        self.note(None, || "faults end".into());
        self.census();
    }

    /// Checks that no phase one lasts much longer than its timeout.
    fn check_phases_one(&mut self) {
        let is_late = |row: &Row| {
            let latest = self.troubled_at + row.spec.timeout() + LATE;
            row.head.phase == Phase::Trying && self.now > latest
        };
        let late = self.database.tables.rows().find(|(_, row)| is_late(row));
        if let Some((id, row)) = late {
            let what = format!("it was begun for {:?}", row.spec.timeout());
            let id = Some(*id);
            self.judge
                .record("I12 a deadline is judged in time", id, what);
        }
    }

    /// Checks that no action of a participant that is gone for good stays unfinished for much longer than its age.
    fn check_ages(&mut self, gone: &BTreeSet<Name>) {
        let latest = |id: &TxId, row: &Row| {
            let from = self.judge.seen(*id)?.ages_from(&row.head.phase)?;
            let lines = rows::wanted_lines(row, false).into_iter();
            let ages = lines.filter(|line| gone.contains(&line.spec.participant));
            let ages = ages.filter_map(|line| {
                let policy = line.spec.retry.in_effect();
                Some(policy.max_age? + policy.max_delay)
            });
            Some(from.max(self.troubled_at) + ages.min()? + limits::AGE_PAUSE + LATE)
        };
        let is_late = |(id, row): &(&TxId, &Row)| {
            matches!(row.head.phase, Phase::Finishing { .. })
                && latest(id, row).is_some_and(|latest| self.now > latest)
        };
        if let Some((id, row)) = self.database.tables.rows().find(is_late) {
            let (id, what) = (Some(*id), row.summary());
            let invariant = "an action that cannot be called is given up at its age";
            self.judge.record(invariant, id, what);
        }
    }

    /// Returns the participants that never come back.
    fn gone_for_good(&self) -> BTreeSet<Name> {
        let services = self.plan.services.iter();
        services
            .filter(|plan| plan.away.is_some_and(|away| away.until.is_none()))
            .map(|plan| plan.name.clone())
            .collect()
    }

    /// Returns whether every participant that comes back late is back, every change of the way to one has been made, and
    /// no restart is to come.
    fn all_are_where_they_stay(&self) -> bool {
        !self.queue.values().any(|event| {
            matches!(
                event,
                Event::Start
                    | Event::ServiceUp(_)
                    | Event::Leaves(_)
                    | Event::Moves(_)
                    | Event::Restart
                    | Event::Attach { .. }
            )
        })
    }

    /// Checks whether everything is over: every row final, parked or at rest for the sake of participants that never come
    /// back alone, every initiator done or dead, and nothing on its way.
    fn census(&mut self) {
        self.check_phases_one();
        let gone = self.gone_for_good();
        self.check_ages(&gone);
        let tables = &self.database.tables;
        let finished = tables.rows().all(|(_, row)| end::is_settled(row, &gone));
        let waits = |client: &&Client| !client.is_done() && !client.involves(&gone);
        let done = !self.clients.iter().any(|client| waits(&client));
        let quiet = !self.queue.values().any(|event| {
            matches!(
                event,
                Event::Session(..)
                    | Event::FromStore(..)
                    | Event::Arrives(_)
                    | Event::JobEnds { .. }
                    | Event::Abort(_)
            )
        });
        let settled = finished && done && self.all_are_where_they_stay();
        if settled && (quiet || !gone.is_empty()) {
            self.calm += 1;
            let leftover = self.leftover();
            self.over = leftover.is_none() || self.calm > CALM;
            if let (true, Some((invariant, tx, what))) = (self.calm > CALM, leftover) {
                self.judge.record(invariant, tx, what);
            }
            self.after(CENSUS, Event::Census);
        } else if self.now >= DAWN + FAULTS_END + HEALING {
            self.over = true;
            if let (true, Some(client)) = (finished, self.clients.iter().find(waits)) {
                let what = format!("its initiator still waits: {}", client.standing());
                let tx = Some(client.plan.id());
                self.judge.record("I7 nothing stays unfinished", tx, what);
            }
        } else {
            self.after(CENSUS, Event::Census);
        }
    }
}

/// Makes settings that are small in some seeds, so that memory is short and lists are paged.
fn engine_config(dice: &mut Dice) -> EngineConfig {
    EngineConfig {
        capacity: *dice.pick(&[20, 40, 200, 1_000]),
        memory: *dice.pick(&[64 * 1024, 256 * 1024 * 1024]),
        waiting_events: *dice.pick(&[3, 64]),
        lease: Duration::from_secs(dice.between(2, 6)),
        hold: dice.millis(200, 3_000),
        poll: dice.millis(100, 800),
        page: u32::try_from(*dice.pick(&[3, 16, 256])).unwrap_or(256),
    }
}
