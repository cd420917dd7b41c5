//! The tables of the database, column by column. A new column takes a migration, one line here, and its conversion from
//! and to the core's values in `convert`.

use std::borrow::Cow;

use tercet_core::{
    id::TxId,
    model::{ActionStatus, BizStatus, Decider, Mode, TxStatus},
    time::Timestamp,
};

use super::columns;

columns! {
    /// The columns of `tx_info` that only the begin sets.
    TxSpecColumns<'a>: "tx_info" {
        tx_id: TxId,
        business_type: &'a str,
        business_id: &'a str,
        unique_key: Option<Cow<'a, [u8]>>,
        decider: Decider,
        check_back_info: Option<Cow<'a, str>>,
        participants_info: Cow<'a, str>,
        ext_properties: Option<Cow<'a, str>>,
        deadline_at: Timestamp,
        create_time: Timestamp,
        timeout_given: bool,
    }
}

columns! {
    /// The columns of `tx_info` that every write sets.
    TxHeadColumns<'a>: "tx_info" {
        status: TxStatus,
        biz_status: BizStatus,
        decision_cause: Option<Cow<'a, str>>,
        retry_count: u32,
        last_check_back: Option<Cow<'a, str>>,
        version: u32,
        write_id: i64,
        owner: Cow<'a, str>,
        rest: Option<Cow<'a, str>>,
        unparked_at: Option<Timestamp>,
        decided_at: Option<Timestamp>,
        finished_at: Option<Timestamp>,
    }
}

/// A row of `tx_info`.
pub(crate) type TxColumns<'a> = (TxSpecColumns<'a>, TxHeadColumns<'a>);

columns! {
    /// The columns of `action_info` that only a new row sets.
    ActionSpecColumns<'a>: "action_info" {
        action_name: &'a str,
        tx_id: TxId,
        position: u32,
        action_type: Mode,
        participant: &'a str,
        handler: &'a str,
        payload: &'a [u8],
        run_after: Option<Cow<'a, str>>,
        wants_results: bool,
        already_tried: bool,
        policy: Option<Cow<'a, str>>,
        ext_properties: Option<Cow<'a, str>>,
        create_time: Timestamp,
    }
}

columns! {
    /// The columns of `action_info` that every write of the row sets.
    ActionStateColumns<'a>: "action_info" {
        status: ActionStatus,
        result: &'a [u8],
        retry_count: u32,
        last_error: &'a str,
        attempts: Option<Cow<'a, str>>,
        version: u32,
        finished_at: Option<Timestamp>,
    }
}

/// A row of `action_info`.
pub(crate) type ActionColumns<'a> = (ActionSpecColumns<'a>, ActionStateColumns<'a>);

columns! {
    /// A row of `tx_due`: its key, which never changes.
    DueColumns<'a>: "tx_due" {
        kind: Cow<'a, str>,
        name: Cow<'a, str>,
        need: Cow<'a, str>,
        business_type: Cow<'a, str>,
        at: Timestamp,
        tx_id: TxId,
    }
}

columns! {
    /// A row of `operator_log`.
    OperatorColumns<'a>: "operator_log" {
        tx_id: TxId,
        version: u32,
        at: Timestamp,
        who: &'a str,
        command: &'a str,
        reason: &'a str,
        before: &'a str,
    }
}

columns! {
    /// A row of `participant_info`.
    ParticipantColumns<'a>: "participant_info" {
        participant: &'a str,
        protocol: &'a str,
        address: &'a str,
        methods: &'a str,
        policy: &'a str,
        paused: bool,
        version: u32,
    }
}

columns! {
    /// A row of `coordinator_node`.
    NodeColumns<'a>: "coordinator_node" {
        node_id: &'a str,
        epoch: i64,
        address: &'a str,
        participants: &'a str,
        lease_until: Timestamp,
    }
}

columns! {
    /// The part of a row of `tx_info` that shows whether a write is applied, or can be.
    StandingColumns<'a>: "tx_info" {
        tx_id: TxId,
        version: i64,
        write_id: i64,
        unique_key: Option<Cow<'a, [u8]>>,
    }
}
