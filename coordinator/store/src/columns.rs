//! The columns of a row in the form in which every database keeps them: words, JSON, plain numbers. A
//! dialect only moves them between here and its driver.

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};
use tercet_core::{
    id::TxId,
    model::{
        ActionSpec, ActionStatus, Attempt, BizStatus, Driver, Ext, Mode, Name, Owner, RetryPolicy,
        TxSpec, TxStatus,
    },
    row::{ActionInfoRow, IllegalRow, TxRow},
    time::Timestamp,
};

/// A row of `tx_info` as read.
#[derive(Clone, Debug)]
pub(crate) struct TxColumns {
    pub(crate) tx_id: TxId,
    pub(crate) business_type: String,
    pub(crate) business_id: String,
    pub(crate) unique_key: Option<Vec<u8>>,
    pub(crate) driver: String,
    pub(crate) status: String,
    pub(crate) biz_status: String,
    pub(crate) decision_cause: Option<String>,
    pub(crate) retry_count: i64,
    pub(crate) check_back_info: Option<String>,
    pub(crate) participants_info: String,
    pub(crate) ext_properties: Option<String>,
    pub(crate) version: i64,
    pub(crate) owner: String,
    pub(crate) waiting_for: Option<String>,
    pub(crate) next_attempt_at: Option<i64>,
    pub(crate) deadline_at: i64,
    pub(crate) create_time: i64,
    pub(crate) decided_at: Option<i64>,
    pub(crate) finished_at: Option<i64>,
}

impl TxColumns {
    /// What the row says, or what is wrong with it.
    pub(crate) fn parse(self) -> Result<TxRow, IllegalRow> {
        let id = self.tx_id;
        self.parsed().map_err(|what| IllegalRow { id, what })
    }

    fn parsed(self) -> Result<TxRow, String> {
        let unique_business = match &self.unique_key {
            None => false,
            Some(key) if *key == unique_key(&self.business_type, &self.business_id)? => true,
            Some(_) => return Err("unique_key does not say business_type and business_id".into()),
        };
        Ok(TxRow {
            spec: TxSpec {
                id: self.tx_id,
                business_type: self.business_type.into(),
                business_id: self.business_id.into(),
                unique_business,
                driver: word("driver", &self.driver, Driver::from_word)?,
                check_back: from_json("check_back_info", self.check_back_info.as_deref())?,
                ext: ext(self.ext_properties.as_deref())?,
                begun: required_json("participants_info", &self.participants_info)?,
                create_time: Timestamp::from_micros(self.create_time),
                deadline: Timestamp::from_micros(self.deadline_at),
            },
            status: word("status", &self.status, TxStatus::from_word)?,
            biz_status: word("biz_status", &self.biz_status, BizStatus::from_word)?,
            cause: from_json("decision_cause", self.decision_cause.as_deref())?,
            check_backs: count("retry_count", self.retry_count)?,
            version: count("version", self.version)?,
            owner: parse_owner(&self.owner)?,
            waiting_for: self.waiting_for.map(Name::from),
            next_attempt_at: self.next_attempt_at.map(Timestamp::from_micros),
            decided_at: self.decided_at.map(Timestamp::from_micros),
            finished_at: self.finished_at.map(Timestamp::from_micros),
        })
    }
}

/// A row of `action_info` as read.
#[derive(Clone, Debug)]
pub(crate) struct ActionColumns {
    pub(crate) action_name: String,
    pub(crate) position: i64,
    pub(crate) action_type: String,
    pub(crate) participant: String,
    pub(crate) handler: String,
    pub(crate) payload: Vec<u8>,
    pub(crate) run_after: Option<String>,
    pub(crate) wants_results: i64,
    pub(crate) already_tried: i64,
    pub(crate) policy: Option<String>,
    pub(crate) result: Vec<u8>,
    pub(crate) status: String,
    pub(crate) retry_count: i64,
    pub(crate) last_error: String,
    pub(crate) attempts: Option<String>,
    pub(crate) ext_properties: Option<String>,
    pub(crate) version: i64,
    pub(crate) create_time: i64,
    pub(crate) finished_at: Option<i64>,
}

impl ActionColumns {
    /// What the row at this place of its transaction says, or what is wrong with it.
    pub(crate) fn parse(self, id: TxId, place: usize) -> Result<ActionInfoRow, IllegalRow> {
        let name = self.action_name.clone();
        self.parsed(place).map_err(|what| IllegalRow {
            id,
            what: format!("action {name}: {what}"),
        })
    }

    fn parsed(self, place: usize) -> Result<ActionInfoRow, String> {
        if usize::try_from(self.position) != Ok(place) {
            return Err(format!("position {} where {place} comes", self.position));
        }
        Ok(ActionInfoRow {
            spec: ActionSpec {
                name: self.action_name.into(),
                mode: word("action_type", &self.action_type, Mode::from_word)?,
                participant: self.participant.into(),
                handler: self.handler.into(),
                payload: self.payload.into(),
                after: from_json("run_after", self.run_after.as_deref())?.unwrap_or_default(),
                wants_results: flag("wants_results", self.wants_results)?,
                already_tried: flag("already_tried", self.already_tried)?,
                retry: from_json("policy", self.policy.as_deref())?.unwrap_or_default(),
                ext: ext(self.ext_properties.as_deref())?,
            },
            create_time: Timestamp::from_micros(self.create_time),
            status: word("status", &self.status, ActionStatus::from_word)?,
            result: Bytes::from(self.result),
            retry_count: count("retry_count", self.retry_count)?,
            last_error: self.last_error,
            attempts: from_json("attempts", self.attempts.as_deref())?.unwrap_or_default(),
            version: count("version", self.version)?,
            finished_at: self.finished_at.map(Timestamp::from_micros),
        })
    }
}

/// The key under which a business is unique: the type's length first, so that no two pairs share one.
pub(crate) fn unique_key(business_type: &str, business_id: &str) -> Result<Vec<u8>, String> {
    let length = u16::try_from(business_type.len())
        .map_err(|_| format!("business_type has {} bytes", business_type.len()))?;
    let mut key = Vec::with_capacity(2 + business_type.len() + business_id.len());
    key.extend_from_slice(&length.to_be_bytes());
    key.extend_from_slice(business_type.as_bytes());
    key.extend_from_slice(business_id.as_bytes());
    Ok(key)
}

/// The column `owner`. Names may contain any character, an epoch only digits: the last `@` parts them.
pub(crate) fn parse_owner(owner: &str) -> Result<Owner, String> {
    let parts = owner.rsplit_once('@').and_then(|(node, epoch)| {
        Some(Owner {
            node: node.into(),
            epoch: epoch.parse().ok()?,
        })
    });
    parts.ok_or_else(|| format!("owner {owner:?} is not node@epoch"))
}

/// A number that is never negative.
pub(crate) fn count(column: &str, value: i64) -> Result<u32, String> {
    u32::try_from(value).map_err(|_| format!("{column} is {value}"))
}

/// JSON of what is kept only when it says something.
pub(crate) fn json<T: Serialize>(value: &T) -> Result<String, String> {
    serde_json::to_string(value)
        .map_err(|error| format!("a value cannot be written as JSON: {error}"))
}

/// The column `ext_properties`.
pub(crate) fn ext_json(ext: &Ext) -> Result<Option<String>, String> {
    (!ext.is_empty()).then(|| json(ext)).transpose()
}

/// The column `run_after`.
pub(crate) fn after_json(after: &[Name]) -> Result<Option<String>, String> {
    (!after.is_empty()).then(|| json(&after)).transpose()
}

/// The column `policy`.
pub(crate) fn policy_json(policy: &RetryPolicy) -> Result<Option<String>, String> {
    (*policy != RetryPolicy::default())
        .then(|| json(policy))
        .transpose()
}

/// The column `attempts`.
pub(crate) fn attempts_json(attempts: &[Attempt]) -> Result<Option<String>, String> {
    (!attempts.is_empty()).then(|| json(&attempts)).transpose()
}

fn ext(text: Option<&str>) -> Result<Ext, String> {
    Ok(from_json("ext_properties", text)?.unwrap_or_default())
}

fn from_json<T: DeserializeOwned>(column: &str, text: Option<&str>) -> Result<Option<T>, String> {
    text.map(|text| required_json(column, text)).transpose()
}

fn required_json<T: DeserializeOwned>(column: &str, text: &str) -> Result<T, String> {
    serde_json::from_str(text).map_err(|error| format!("{column} cannot be read: {error}"))
}

fn word<T>(column: &str, text: &str, parse: fn(&str) -> Option<T>) -> Result<T, String> {
    parse(text).ok_or_else(|| format!("{column} {text:?} is no word of this column"))
}

fn flag(column: &str, value: i64) -> Result<bool, String> {
    match value {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(format!("{column} is {value}, neither 0 nor 1")),
    }
}
