//! The plan of a seed's world: participants, transactions, and the behaviour of their code and their
//! initiators.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;
use tercet_core::{
    id::TxId,
    model::{ActionSpec, CheckBack, Decider, Ext, Mode, Name, RetryPolicy},
    port::{Abilities, NewTransaction, Reach, Wait},
    time::Timestamp,
};

use super::{books::Key, dice::Dice, history::DAWN, tables::POISON};

/// Transactions per seed.
const TRANSACTIONS: u64 = 100;
/// Participants that attach streams.
const ATTACHED: u64 = 4;
/// Participants that are called at their address.
const DIRECT: u64 = 2;
/// Services of initiators: they answer check-backs and have actions of their own; most attach.
const SHOPS: u64 = 2;
/// The time until which new transactions arrive.
pub const ARRIVALS: Duration = Duration::from_secs(25);
/// The time at which faults end.
pub const FAULTS_END: Duration = Duration::from_secs(45);
/// The time until which the coordinator may be restarted: after the end of other faults too.
const RESTARTS: Duration = Duration::from_mins(1);
/// The time by which a participant that comes back late is back.
const LATEST: Duration = Duration::from_mins(4);

/// The handler that every instance has.
const HANDLER: &str = "take";
/// The handler that, while a participant is being deployed, only its first instance has.
const NEW_HANDLER: &str = "take-anew";

/// One participant.
#[derive(Clone, Debug)]
pub struct ServicePlan {
    /// Its name.
    pub name: Name,
    /// The way to it at the beginning.
    pub reach: Reach,
    /// Calls that one stream takes at once, or its address.
    pub concurrency: u32,
    /// Its instances, each with a stream of its own and the calls that it can answer.
    pub instances: Vec<Abilities>,
    /// The time for which it is gone.
    pub away: Option<Away>,
    /// Whether it takes calls and answers none until faults end.
    pub hangs: bool,
    /// Whether each of its streams ends with the first call that it takes, until faults end.
    pub flaps: bool,
    /// The times at which it changes from streams to an address, or back.
    pub moves: Vec<Duration>,
    /// The longest run of its code.
    pub slowest: Duration,
}

/// The time for which a participant is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Away {
    /// Its beginning.
    pub from: Duration,
    /// Its end; `None`: it never comes back.
    pub until: Option<Duration>,
}

impl Away {
    /// Returns whether the participant is gone at this time.
    pub fn covers(&self, now: Timestamp) -> bool {
        now >= DAWN + self.from && self.until.is_none_or(|until| now < DAWN + until)
    }
}

/// The behaviour of an action's code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Behaviour {
    /// Its Try is refused for a business reason.
    pub refuses: bool,
    /// The number of runs of its Confirm or Cancel, from the first, that are rejected.
    pub rejections: u32,
    /// It has an effect outside the database.
    pub external: bool,
    /// Its Try returns a result.
    pub returns: bool,
}

/// The steps of an initiator after its first.
#[derive(Clone, Debug)]
pub enum Script {
    /// Hands the transaction over.
    Execute {
        /// The point up to which it waits for its reply.
        wait: Wait,
        /// It aborts after this time.
        aborts: Option<Duration>,
    },
    /// Begins, adds actions, calls the Tries, decides.
    Begin {
        /// Actions that are added after the begin.
        added: Vec<Arc<ActionSpec>>,
        /// It commits a change of its own before it decides, with a row that holds the outcome.
        own_row: bool,
        /// It decides FAILURE although every Try was OK.
        gives_up: bool,
        /// The point up to which it waits for its reply.
        wait: Wait,
    },
}

/// One transaction.
#[derive(Clone, Debug)]
pub struct TxPlan {
    /// The time at which its initiator starts.
    pub starts: Timestamp,
    /// The transaction that it begins.
    pub new: Arc<NewTransaction>,
    /// The steps that follow.
    pub script: Script,
    /// The participant whose database holds its initiator's row.
    pub shop: Name,
}

impl TxPlan {
    /// Returns its id.
    pub fn id(&self) -> TxId {
        self.new.id
    }
}

/// The plan of one seed's world.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Participants.
    pub services: Vec<ServicePlan>,
    /// Transactions.
    pub transactions: Vec<Arc<TxPlan>>,
    /// The behaviour of each action's code.
    pub behaviours: BTreeMap<Key, Behaviour>,
    /// The times at which the coordinator is restarted, whatever the weather.
    pub restarts: Vec<Duration>,
    /// The times at which the database's clock jumps, each with the microseconds by which it is ahead from then on, or behind
    /// where that is negative.
    pub clock: Vec<(Duration, i64)>,
    /// The participant of most actions, in some worlds.
    crowded: Option<usize>,
}

impl Plan {
    /// Makes the plan of a seed.
    pub fn roll(dice: &mut Dice) -> Self {
        let services = services(dice);
        let crowded = dice.chance(300).then(|| dice.place(services.len()));
        let restarts = if dice.chance(500) { 0 } else { dice.below(4) };
        let restarts = (0..restarts).map(|_| dice.span(Duration::from_secs(2), RESTARTS));
        let mut plan = Self {
            restarts: restarts.collect(),
            clock: Vec::new(),
            services,
            transactions: Vec::new(),
            behaviours: BTreeMap::new(),
            crowded,
        };
        plan.clock = clock(dice);
        for number in 0..TRANSACTIONS {
            let tx = plan.transaction(number, dice);
            plan.transactions.push(Arc::new(tx));
        }
        plan
    }

    fn transaction(&mut self, number: u64, dice: &mut Dice) -> TxPlan {
        let starts = DAWN + dice.span(Duration::from_millis(5), ARRIVALS);
        let id = id(starts, dice);
        let shop: Name = format!("shop-{}", dice.below(SHOPS)).into();
        let decider = if dice.chance(500) {
            Decider::Coordinator
        } else {
            Decider::Initiator
        };
        let count = match decider {
            Decider::Coordinator => dice.between(1, 4),
            Decider::Initiator => dice.between(0, 4),
        };
        let only = *dice.pick(&[
            None,
            None,
            None,
            None,
            Some(Mode::Tcc),
            Some(Mode::Compensate),
            Some(Mode::Deliver),
        ]);
        let mut actions: Vec<Arc<ActionSpec>> = Vec::new();
        for place in 0..count {
            let spec = self.action(place, only, &actions, dice);
            let spec = own_share(spec, decider, &shop, dice);
            self.behaviours
                .insert((id, spec.name.clone()), behaviour(&spec, dice));
            actions.push(Arc::new(spec));
        }
        let (script, begun, check_back) = script(decider, actions, &shop, dice);
        let unique_business = dice.chance(200);
        // Some transactions share their business with another.
        let business = if unique_business && dice.chance(400) {
            dice.below(number + 1)
        } else {
            number
        };
        let poisoned = dice.chance(10);
        let business_id = format!("{}{business}", if poisoned { POISON } else { "order-" });
        let new = NewTransaction {
            id,
            business_type: "exchange".into(),
            business_id: business_id.into(),
            unique_business,
            decider,
            timeout: Some(dice.millis(1_000, 9_000)),
            check_back,
            ext: Ext::new(),
            actions: begun,
        };
        TxPlan {
            starts,
            new: Arc::new(new),
            script,
            shop,
        }
    }

    fn action(
        &self,
        place: u64,
        only: Option<Mode>,
        earlier: &[Arc<ActionSpec>],
        dice: &mut Dice,
    ) -> ActionSpec {
        let mode = only.unwrap_or_else(|| {
            *dice.pick(&[Mode::Tcc, Mode::Tcc, Mode::Compensate, Mode::Deliver])
        });
        let service = match self.crowded {
            Some(place) if dice.chance(600) => &self.services[place],
            _ => dice.pick(&self.services),
        };
        let handler = if service.has_new_handler() && dice.chance(400) {
            NEW_HANDLER
        } else {
            HANDLER
        };
        let after: Vec<Name> = earlier
            .iter()
            .filter(|_| dice.chance(350))
            .map(|spec| spec.name.clone())
            .collect();
        ActionSpec {
            // One of two names may be a prefix of the other.
            name: "a".repeat(usize::try_from(place).unwrap_or(0) + 1).into(),
            mode,
            participant: service.name.clone(),
            handler: handler.into(),
            payload: Bytes::from_static(b"10"),
            wants_results: !after.is_empty() && dice.chance(600),
            after,
            already_tried: false,
            retry: RetryPolicy {
                first_delay: Some(dice.millis(20, 400)),
                max_delay: Some(dice.millis(500, 4_000)),
                max_attempts: u32::try_from(*dice.pick(&[1, 3, 5, 12, 12, 40])).ok(),
                max_age: dice
                    .chance(150)
                    .then(|| Duration::from_secs(*dice.pick(&[5, 20, 60]))),
                call_timeout: Some(dice.millis(300, 2_000)),
            },
            ext: Ext::new(),
        }
    }
}

/// Makes the jumps of the database's clock: by a moment, minutes, an hour or a year, and in some worlds back.
fn clock(dice: &mut Dice) -> Vec<(Duration, i64)> {
    const SECOND: i64 = 1_000_000;
    const HOUR: i64 = 3_600 * SECOND;
    let number = if dice.chance(400) {
        0
    } else {
        dice.between(1, 4)
    };
    let mut jumps = Vec::new();
    for _ in 0..number {
        let time = dice.span(Duration::from_secs(1), RESTARTS);
        let ahead = *dice.pick(&[
            SECOND * 3 / 2,
            20 * SECOND,
            300 * SECOND,
            HOUR,
            8_760 * HOUR,
        ]);
        let ahead = *dice.pick(&[ahead, -ahead, 0]);
        jumps.push((time, ahead));
        if ahead != 0 && dice.chance(500) {
            jumps.push((time + dice.millis(1, 20_000), 0));
        }
    }
    jumps
}

/// Makes the id that an initiator makes at this time; a few are much too old or too new.
fn id(starts: Timestamp, dice: &mut Dice) -> TxId {
    const HOUR_MS: i64 = 3_600_000;
    let skew = match dice.below(100) {
        0 => -25 * HOUR_MS,
        1 => HOUR_MS,
        _ => 0,
    };
    let millis = u64::try_from(starts.as_micros() / 1_000 + skew).unwrap_or(0);
    let mut random = [0; 10];
    random[..8].copy_from_slice(&dice.roll().to_be_bytes());
    TxId(uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid())
}

fn services(dice: &mut Dice) -> Vec<ServicePlan> {
    let mut services = Vec::new();
    for number in 0..SHOPS {
        let is_direct = dice.chance(250);
        services.push(service(format!("shop-{number}"), is_direct, dice));
    }
    for number in 0..ATTACHED {
        services.push(service(format!("stock-{number}"), false, dice));
    }
    for number in 0..DIRECT {
        services.push(service(format!("bank-{number}"), true, dice));
    }
    services
}

fn service(name: String, is_direct: bool, dice: &mut Dice) -> ServicePlan {
    let concurrency = u32::try_from(*dice.pick(&[1, 4, 64])).unwrap_or(4);
    let is_shop = name.starts_with("shop");
    let is_deployed = dice.chance(300);
    let mut instances = vec![abilities(&[HANDLER], is_shop); dice.place(2) + 1];
    if is_deployed {
        instances[0] = abilities(&[HANDLER, NEW_HANDLER], is_shop);
    }
    let moves = if !is_shop && dice.chance(200) {
        let count = dice.between(1, 3);
        (0..count)
            .map(|_| dice.span(Duration::from_secs(1), RESTARTS))
            .collect()
    } else {
        Vec::new()
    };
    let slowest = if dice.chance(150) { 400 } else { 15 };
    ServicePlan {
        name: name.into(),
        reach: if is_direct {
            Reach::Direct { concurrency }
        } else {
            Reach::Attach
        },
        concurrency,
        instances,
        away: dice.chance(120).then(|| away(dice)),
        hangs: dice.chance(60),
        flaps: dice.chance(60),
        moves,
        slowest: Duration::from_millis(slowest),
    }
}

fn abilities(handlers: &[&str], check_backs: bool) -> Abilities {
    let of_every_mode = |name: &&str| (Name::from(*name), None);
    Abilities {
        handlers: handlers.iter().map(of_every_mode).collect(),
        check_backs,
    }
}

/// Makes the absence of a participant: from the beginning or later, for a while, until long after faults end, or for good.
fn away(dice: &mut Dice) -> Away {
    let from = if dice.chance(400) {
        Duration::ZERO
    } else {
        dice.span(Duration::from_secs(1), FAULTS_END)
    };
    let until = match dice.below(4) {
        0 => Some(from + dice.millis(3_000, 30_000)),
        1 => Some(dice.span(FAULTS_END + Duration::from_secs(10), LATEST)),
        _ => None,
    };
    Away { from, until }
}

impl ServicePlan {
    fn has_new_handler(&self) -> bool {
        let new = (Name::from(NEW_HANDLER), None);
        self.instances.iter().any(|it| it.handlers.contains(&new))
    }
}

/// Makes some actions the initiator's own, tried before they are registered.
fn own_share(mut spec: ActionSpec, decider: Decider, shop: &Name, dice: &mut Dice) -> ActionSpec {
    if decider == Decider::Initiator && spec.mode != Mode::Deliver && dice.chance(150) {
        spec.participant = shop.clone();
        spec.handler = HANDLER.into();
        spec.already_tried = true;
    }
    spec
}

fn behaviour(spec: &ActionSpec, dice: &mut Dice) -> Behaviour {
    Behaviour {
        refuses: !spec.already_tried && spec.mode != Mode::Deliver && dice.chance(70),
        rejections: match dice.below(100) {
            0..3 => u32::try_from(dice.between(1, 5)).unwrap_or(1),
            3 => u32::MAX,
            _ => 0,
        },
        external: dice.chance(150),
        returns: dice.chance(500),
    }
}

type Scripted = (Script, Vec<Arc<ActionSpec>>, Option<CheckBack>);

fn script(
    decider: Decider,
    actions: Vec<Arc<ActionSpec>>,
    shop: &Name,
    dice: &mut Dice,
) -> Scripted {
    let wait = *dice.pick(&[
        Wait::Accepted,
        Wait::Decided,
        Wait::Decided,
        Wait::Completed,
    ]);
    if decider == Decider::Coordinator {
        let aborts = dice.chance(60).then(|| dice.millis(1, 3_000));
        return (Script::Execute { wait, aborts }, actions, None);
    }
    // The actions of the begin are a prefix of the list, so that `after` stays within it.
    let begun = usize::try_from(dice.between(0, actions.len() as u64)).unwrap_or(0);
    let mut begun_actions = actions;
    let mut added = begun_actions.split_off(begun);
    if let Some(last) = added.last_mut()
        && dice.chance(15)
    {
        let mut spec = (**last).clone();
        spec.handler = POISON.into();
        *last = Arc::new(spec);
    }
    let has_check_back = dice.chance(600);
    let check_back = has_check_back.then(|| CheckBack {
        participant: shop.clone(),
        first_delay: Some(dice.millis(50, 4_000)),
        interval: Some(dice.millis(100, 500)),
        max_interval: Some(dice.millis(500, 3_000)),
        max_attempts: dice
            .chance(250)
            .then(|| u32::try_from(dice.between(1, 4)).unwrap_or(1)),
    });
    let script = Script::Begin {
        added,
        own_row: has_check_back,
        gives_up: dice.chance(100),
        wait,
    };
    (script, begun_actions, check_back)
}
