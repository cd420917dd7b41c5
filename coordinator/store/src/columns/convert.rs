//! Conversion between the core's values and the columns that keep them. Both directions of a group of columns stand
//! side by side.

use std::borrow::Cow;

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};
use tercet_core::{
    id::TxId,
    model::{ActionSpec, ActionState, DueRow, Ext, Need, Owner, Queue, RetryPolicy, TxSpec},
    row::{ActionRow, TxRow},
    time::Timestamp,
    write::{Head, NewAction, OperatorEntry, StandingRow},
};

use super::{
    ActionColumns, ActionSpecColumns, ActionStateColumns, DueColumns, OperatorColumns,
    ParticipantColumns, StandingColumns, TxColumns, TxHeadColumns, TxSpecColumns,
};
use crate::ParticipantRow;

/// Text that is NULL where it would say nothing.
type Text<'a> = Option<Cow<'a, str>>;

impl<'a> TxSpecColumns<'a> {
    /// Returns the columns that keep this.
    pub(crate) fn of(spec: &'a TxSpec) -> Result<Self, String> {
        let unique_key = spec
            .unique_business
            .then(|| unique_key(&spec.business_type, &spec.business_id))
            .transpose()?;
        Ok(Self {
            tx_id: spec.id,
            business_type: &spec.business_type,
            business_id: &spec.business_id,
            unique_key: unique_key.map(Cow::Owned),
            decider: spec.decider,
            check_back_info: spec.check_back.as_ref().map(json).transpose()?,
            participants_info: json(&spec.begun)?,
            ext_properties: ext_json(&spec.ext)?,
            deadline_at: spec.deadline,
            create_time: spec.create_time,
            timeout_given: spec.timeout_given,
        })
    }

    fn parse(self) -> Result<TxSpec, String> {
        let unique_business = match &self.unique_key {
            None => false,
            Some(key) if **key == unique_key(self.business_type, self.business_id)? => true,
            Some(_) => return Err("unique_key does not say business_type and business_id".into()),
        };
        Ok(TxSpec {
            id: self.tx_id,
            business_type: self.business_type.into(),
            business_id: self.business_id.into(),
            unique_business,
            decider: self.decider,
            check_back: from_json("check_back_info", self.check_back_info)?,
            ext: from_json("ext_properties", self.ext_properties)?.unwrap_or_default(),
            begun: required_json("participants_info", &self.participants_info)?,
            create_time: self.create_time,
            deadline: self.deadline_at,
            timeout_given: self.timeout_given,
        })
    }
}

impl<'a> TxHeadColumns<'a> {
    /// Returns the columns that keep this.
    pub(crate) fn of(head: &'a Head) -> Result<Self, String> {
        let decision = head.phase.decision();
        Ok(Self {
            status: head.phase.status(),
            biz_status: head.phase.biz_status(),
            decision_cause: decision.map(|decision| json(&decision.cause)).transpose()?,
            retry_count: head.check_backs,
            last_check_back: head.last_check_back.as_ref().map(json).transpose()?,
            version: head.version,
            write_id: head.write_id,
            owner: head.owner.to_string().into(),
            rest: head.rest.as_ref().map(json).transpose()?,
            unparked_at: head.phase.unparked_at(),
            decided_at: head.phase.decided_at(),
            finished_at: head.phase.finished_at(),
        })
    }
}

/// Returns the row that the columns keep, or their first fault.
pub(crate) fn tx_row((spec, head): TxColumns<'_>) -> Result<TxRow, String> {
    Ok(TxRow {
        spec: spec.parse()?,
        status: head.status,
        biz_status: head.biz_status,
        cause: from_json("decision_cause", head.decision_cause)?,
        check_backs: head.retry_count,
        last_check_back: from_json("last_check_back", head.last_check_back)?,
        version: head.version,
        owner: parse_owner(&head.owner)?,
        rest: from_json("rest", head.rest)?,
        unparked_at: head.unparked_at,
        decided_at: head.decided_at,
        finished_at: head.finished_at,
    })
}

impl<'a> ActionSpecColumns<'a> {
    /// Returns the columns that keep a new action with this name.
    pub(crate) fn of(id: TxId, name: &'a str, new: &'a NewAction) -> Result<Self, String> {
        let spec = &*new.spec;
        let policy = (spec.retry != RetryPolicy::default()).then_some(&spec.retry);
        Ok(Self {
            tx_id: id,
            action_name: name,
            position: new.position,
            action_type: spec.mode,
            participant: &spec.participant,
            handler: &spec.handler,
            payload: &spec.payload,
            run_after: list_json(&spec.after)?,
            wants_results: spec.wants_results,
            already_tried: spec.already_tried,
            policy: policy.map(json).transpose()?,
            ext_properties: ext_json(&spec.ext)?,
            create_time: new.create_time,
        })
    }

    fn parse(self) -> Result<ActionSpec, String> {
        Ok(ActionSpec {
            name: self.action_name.into(),
            mode: self.action_type,
            participant: self.participant.into(),
            handler: self.handler.into(),
            payload: Bytes::copy_from_slice(self.payload),
            after: from_json("run_after", self.run_after)?.unwrap_or_default(),
            wants_results: self.wants_results,
            already_tried: self.already_tried,
            retry: from_json("policy", self.policy)?.unwrap_or_default(),
            ext: from_json("ext_properties", self.ext_properties)?.unwrap_or_default(),
        })
    }
}

impl<'a> ActionStateColumns<'a> {
    /// Returns the columns that keep this.
    pub(crate) fn of(state: &'a ActionState) -> Result<Self, String> {
        Ok(Self {
            status: state.status,
            result: &state.result,
            retry_count: state.retry_count,
            last_error: &state.last_error,
            attempts: list_json(&state.attempts)?,
            version: state.version,
            finished_at: state.finished_at,
        })
    }

    fn parse(self) -> Result<ActionState, String> {
        Ok(ActionState {
            status: self.status,
            result: Bytes::copy_from_slice(self.result),
            retry_count: self.retry_count,
            last_error: self.last_error.into(),
            attempts: from_json("attempts", self.attempts)?.unwrap_or_default(),
            version: self.version,
            finished_at: self.finished_at,
        })
    }
}

/// Returns the row that the columns keep at this place of a transaction, or their first fault.
pub(crate) fn action_row(
    (spec, state): ActionColumns<'_>,
    place: usize,
) -> Result<ActionRow, String> {
    let (position, create_time) = (spec.position, spec.create_time);
    if usize::try_from(position) != Ok(place) {
        return Err(format!("position {position} where {place} comes"));
    }
    Ok(ActionRow {
        spec: spec.parse()?,
        create_time,
        state: state.parse()?,
    })
}

/// The columns of `tx_due` that name a queue, in the order in which they are compared.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct QueueKey<'a> {
    pub(crate) kind: Cow<'a, str>,
    pub(crate) name: Cow<'a, str>,
    pub(crate) need: Cow<'a, str>,
    pub(crate) business_type: Cow<'a, str>,
}

impl<'a> QueueKey<'a> {
    const HAND: &'static str = "HAND";
    pub(crate) const PARKED: &'static str = "PARKED";
    pub(crate) const TIME: &'static str = "TIME";
    pub(crate) const WAIT: &'static str = "WAIT";

    /// Returns the columns that name this queue.
    pub(crate) fn of(queue: &'a Queue) -> Self {
        match queue {
            Queue::Hand(owner) => Self::new(Self::HAND, owner.to_string(), "", ""),
            Queue::Parked => Self::new(Self::PARKED, "", "", ""),
            Queue::Time => Self::new(Self::TIME, "", "", ""),
            Queue::Wait {
                participant,
                need,
                business_type,
            } => {
                let need = need.as_ref().map(Need::to_string).unwrap_or_default();
                Self::new(Self::WAIT, &**participant, need, business_type)
            }
        }
    }

    /// Makes the key of these columns.
    pub(crate) fn new(
        kind: &'a str,
        name: impl Into<Cow<'a, str>>,
        need: impl Into<Cow<'a, str>>,
        business_type: &'a str,
    ) -> Self {
        Self {
            kind: kind.into(),
            name: name.into(),
            need: need.into(),
            business_type: business_type.into(),
        }
    }

    /// Copies what is borrowed.
    pub(crate) fn into_owned(self) -> QueueKey<'static> {
        QueueKey {
            kind: self.kind.into_owned().into(),
            name: self.name.into_owned().into(),
            need: self.need.into_owned().into(),
            business_type: self.business_type.into_owned().into(),
        }
    }

    /// Returns the queue; `None`: no queue has this key.
    fn parse(&self) -> Option<Queue> {
        let queue = match &*self.kind {
            Self::HAND => Queue::Hand(parse_owner(&self.name).ok()?),
            Self::PARKED => Queue::Parked,
            Self::TIME => Queue::Time,
            Self::WAIT => Queue::Wait {
                participant: (&*self.name).into(),
                need: match &*self.need {
                    "" => None,
                    need => Some(need.parse().ok()?),
                },
                business_type: (&*self.business_type).into(),
            },
            _ => return None,
        };
        // `HAND` has neither need nor business type, and `TIME` and `PARKED` have no name either.
        let is_its_key = QueueKey::of(&queue) == *self;
        is_its_key.then_some(queue)
    }
}

impl<'a> DueColumns<'a> {
    /// Returns the columns that keep this row of a transaction.
    pub(crate) fn of(id: TxId, row: &'a DueRow) -> Self {
        let key = QueueKey::of(&row.queue);
        Self {
            kind: key.kind,
            name: key.name,
            need: key.need,
            business_type: key.business_type,
            at: row.at,
            tx_id: id,
        }
    }

    /// Returns the columns that name the queue, and the time.
    pub(crate) fn parts(self) -> (QueueKey<'a>, Timestamp) {
        let key = QueueKey {
            kind: self.kind,
            name: self.name,
            need: self.need,
            business_type: self.business_type,
        };
        (key, self.at)
    }
}

/// Returns the row that stands in this queue at this time; `None`: no queue of this program has the key.
pub(crate) fn due_row(key: &QueueKey<'_>, at: Timestamp) -> Option<DueRow> {
    let queue = key.parse()?;
    Some(DueRow { queue, at })
}

impl<'a> OperatorColumns<'a> {
    /// Returns the columns that keep the command that made this version of the transaction.
    pub(crate) fn of(id: TxId, version: u32, entry: &'a OperatorEntry) -> Self {
        Self {
            tx_id: id,
            version,
            at: entry.at,
            who: &entry.who,
            command: &entry.command,
            reason: &entry.reason,
            before: &entry.before,
        }
    }

    /// Returns the command that the columns keep.
    pub(crate) fn parse(self) -> OperatorEntry {
        OperatorEntry {
            at: self.at,
            who: self.who.into(),
            command: self.command.into(),
            reason: self.reason.into(),
            before: self.before.into(),
        }
    }
}

impl<'a> ParticipantColumns<'a> {
    /// Returns the columns that keep this as a new row.
    pub(crate) fn of(row: &'a ParticipantRow) -> Self {
        Self {
            participant: &row.participant,
            protocol: &row.protocol,
            address: &row.address,
            methods: &row.methods,
            policy: &row.policy,
            paused: row.paused,
            version: 1,
        }
    }

    /// Returns the row that the columns keep.
    pub(crate) fn parse(self) -> ParticipantRow {
        ParticipantRow {
            participant: self.participant.into(),
            protocol: self.protocol.into(),
            address: self.address.into(),
            methods: self.methods.into(),
            policy: self.policy.into(),
            paused: self.paused,
            version: self.version,
        }
    }
}

impl StandingColumns<'_> {
    /// Returns the row, and its unique key. A row that no write can have left stands in the way of every write.
    pub(crate) fn parse(self) -> (StandingRow, Option<Vec<u8>>) {
        let version = u32::try_from(self.version).unwrap_or(0);
        let row = StandingRow {
            id: self.tx_id,
            version,
            write_id: self.write_id,
        };
        (row, self.unique_key.map(Cow::into_owned))
    }
}

/// Makes the key under which a business is unique: the type's length first, so that no two pairs share one.
pub(crate) fn unique_key(business_type: &str, business_id: &str) -> Result<Vec<u8>, String> {
    let length = u16::try_from(business_type.len())
        .map_err(|_| format!("business_type has {} bytes", business_type.len()))?;
    let mut key = Vec::with_capacity(2 + business_type.len() + business_id.len());
    key.extend_from_slice(&length.to_be_bytes());
    key.extend_from_slice(business_type.as_bytes());
    key.extend_from_slice(business_id.as_bytes());
    Ok(key)
}

/// Reads the column `owner`. Names may contain any character, an epoch only digits: the last `@` parts them. Only the form
/// in which this program writes it is read, by which the rows of `tx_due` are found.
fn parse_owner(owner: &str) -> Result<Owner, String> {
    let parts = owner.rsplit_once('@').and_then(|(node, epoch)| {
        Some(Owner {
            node: node.into(),
            epoch: epoch.parse().ok()?,
        })
    });
    let parts = parts.filter(|parts| parts.to_string() == owner);
    parts.ok_or_else(|| format!("owner {owner:?} is not node@epoch"))
}

fn json<T: Serialize>(value: &T) -> Result<Cow<'static, str>, String> {
    let text = serde_json::to_string(value);
    text.map(Cow::Owned)
        .map_err(|error| format!("a value cannot be written as JSON: {error}"))
}

fn ext_json(ext: &Ext) -> Result<Text<'static>, String> {
    (!ext.is_empty()).then(|| json(ext)).transpose()
}

fn list_json<T: Serialize>(list: &[T]) -> Result<Text<'static>, String> {
    (!list.is_empty()).then(|| json(&list)).transpose()
}

fn from_json<T: DeserializeOwned>(column: &str, text: Text<'_>) -> Result<Option<T>, String> {
    text.map(|text| required_json(column, &text)).transpose()
}

fn required_json<T: DeserializeOwned>(column: &str, text: &str) -> Result<T, String> {
    serde_json::from_str(text).map_err(|error| format!("{column} cannot be read: {error}"))
}
