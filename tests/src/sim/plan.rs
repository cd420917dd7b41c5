//! What a seed's world consists of: participants, transactions, and what their code and their
//! initiators will do.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;
use tercet_core::{
    engine::{NewTransaction, Reach, Wait},
    id::TxId,
    model::{ActionSpec, CheckBack, Driver, Ext, Mode, Name, RetryPolicy},
    time::Timestamp,
};

use super::{books::Key, dice::Dice, history::DAWN, tables::POISON};

/// Transactions of one seed.
const TRANSACTIONS: u64 = 100;
/// Participants that attach streams.
const ATTACHED: u64 = 4;
/// Participants that are called at their address.
const DIRECT: u64 = 2;
/// Services of initiators; they attach, answer check-backs and have a share of their own.
const SHOPS: u64 = 2;
/// New transactions arrive until then.
pub const ARRIVALS: Duration = Duration::from_secs(25);
/// Faults end then.
pub const FAULTS_END: Duration = Duration::from_secs(45);

/// One participant.
#[derive(Clone, Debug)]
pub struct ServicePlan {
    /// Its name.
    pub name: Name,
    /// How it is reached.
    pub reach: Reach,
    /// Instances, each with a stream of its own.
    pub instances: u32,
    /// Calls that one stream takes at once.
    pub concurrency: u32,
}

/// What an action's code does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Behaviour {
    /// Its Try is refused for a business reason.
    pub refuses: bool,
    /// So many runs of its Confirm or Cancel are rejected, the first ones.
    pub rejections: u32,
    /// It has an effect outside the database.
    pub external: bool,
    /// Its Try returns something.
    pub returns: bool,
}

/// What an initiator does with a transaction.
#[derive(Clone, Debug)]
pub enum Script {
    /// Hands everything over.
    Execute {
        /// When it wants to be answered.
        wait: Wait,
        /// It changes its mind after this time.
        aborts: Option<Duration>,
    },
    /// Begins, adds actions, calls the Tries, decides.
    Drive {
        /// Actions that are added after the begin.
        added: Vec<Arc<ActionSpec>>,
        /// It commits something of its own before it decides, and says so in its row.
        own_row: bool,
        /// It decides FAILURE although every Try was OK.
        gives_up: bool,
        /// When it wants to be answered.
        wait: Wait,
    },
}

/// One transaction.
#[derive(Clone, Debug)]
pub struct TxPlan {
    /// When its initiator starts.
    pub starts: Timestamp,
    /// What it begins.
    pub new: Arc<NewTransaction>,
    /// What follows.
    pub script: Script,
    /// Where its initiator keeps its row.
    pub shop: Name,
}

impl TxPlan {
    /// Its id.
    pub fn id(&self) -> TxId {
        self.new.id
    }
}

/// One seed's world before it starts.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Participants.
    pub services: Vec<ServicePlan>,
    /// Transactions.
    pub transactions: Vec<Arc<TxPlan>>,
    /// What the code of each action does.
    pub behaviours: BTreeMap<Key, Behaviour>,
}

impl Plan {
    /// The plan of a seed.
    pub fn roll(dice: &mut Dice) -> Self {
        let services = services(dice);
        let mut plan = Self {
            services,
            transactions: Vec::new(),
            behaviours: BTreeMap::new(),
        };
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
        let driver = if dice.chance(500) {
            Driver::Coordinator
        } else {
            Driver::Initiator
        };
        let count = match driver {
            Driver::Coordinator => dice.between(1, 4),
            Driver::Initiator => dice.between(0, 4),
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
            let spec = own_share(spec, driver, &shop, dice);
            self.behaviours
                .insert((id, spec.name.clone()), behaviour(&spec, dice));
            actions.push(Arc::new(spec));
        }
        let (script, begun, check_back) = script(driver, actions, &shop, dice);
        let unique_business = dice.chance(200);
        // Some share their business with another transaction.
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
            driver,
            timeout: dice.millis(1_000, 9_000),
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
        let service = dice.pick(&self.services);
        let after: Vec<Name> = earlier
            .iter()
            .filter(|_| dice.chance(350))
            .map(|spec| spec.name.clone())
            .collect();
        ActionSpec {
            // Of two names one may be the beginning of the other.
            name: "a".repeat(usize::try_from(place).unwrap_or(0) + 1).into(),
            mode,
            participant: service.name.clone(),
            handler: "take".into(),
            payload: Bytes::from_static(b"10"),
            wants_results: !after.is_empty() && dice.chance(600),
            after,
            already_tried: false,
            retry: RetryPolicy {
                first_delay: dice.millis(20, 400),
                max_delay: dice.millis(500, 4_000),
                max_attempts: u32::try_from(*dice.pick(&[1, 3, 5, 12, 12, 40])).unwrap_or(3),
                max_age: dice.chance(50).then(|| Duration::from_secs(20)),
                call_timeout: dice.millis(300, 2_000),
            },
            ext: Ext::new(),
        }
    }
}

/// The id of a transaction that its initiator makes at this time; some are much too old or too new.
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
    let service = |name: String, reach, dice: &mut Dice| ServicePlan {
        name: name.into(),
        reach,
        instances: u32::try_from(dice.between(1, 2)).unwrap_or(1),
        concurrency: u32::try_from(*dice.pick(&[1, 4, 64])).unwrap_or(4),
    };
    let mut services = Vec::new();
    for number in 0..SHOPS {
        services.push(service(format!("shop-{number}"), Reach::Attach, dice));
    }
    for number in 0..ATTACHED {
        services.push(service(format!("stock-{number}"), Reach::Attach, dice));
    }
    for number in 0..DIRECT {
        let concurrency = u32::try_from(*dice.pick(&[1, 4, 64])).unwrap_or(4);
        let reach = Reach::Direct { concurrency };
        services.push(service(format!("bank-{number}"), reach, dice));
    }
    services
}

/// Some actions of an initiator are its own share, tried before they are registered.
fn own_share(mut spec: ActionSpec, driver: Driver, shop: &Name, dice: &mut Dice) -> ActionSpec {
    if driver == Driver::Initiator && spec.mode != Mode::Deliver && dice.chance(150) {
        spec.participant = shop.clone();
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

fn script(driver: Driver, actions: Vec<Arc<ActionSpec>>, shop: &Name, dice: &mut Dice) -> Scripted {
    let wait = *dice.pick(&[
        Wait::Accepted,
        Wait::Decided,
        Wait::Decided,
        Wait::Completed,
    ]);
    if driver == Driver::Coordinator {
        let aborts = dice.chance(60).then(|| dice.millis(1, 3_000));
        return (Script::Execute { wait, aborts }, actions, None);
    }
    // What comes with the begin must be a beginning of the list, so that `after` stays within it.
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
    let asked = dice.chance(600);
    let check_back = asked.then(|| CheckBack {
        participant: shop.clone(),
        first_delay: dice.millis(50, 4_000),
        interval: dice.millis(100, 500),
        max_interval: dice.millis(500, 3_000),
        max_attempts: dice
            .chance(250)
            .then(|| u32::try_from(dice.between(1, 4)).unwrap_or(1)),
    });
    let script = Script::Drive {
        added,
        own_row: asked,
        gives_up: dice.chance(100),
        wait,
    };
    (script, begun_actions, check_back)
}
