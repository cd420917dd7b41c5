//! `tercet tx`.

use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use tercet_proto::v1::{
    self, coordinator_client::CoordinatorClient, operator_client::OperatorClient,
};
use tercet_server::bounds;
use tonic::transport::Channel;

use crate::{
    client::{Coordinator, MESSAGE_BYTES, refused, request},
    failure::CommandResult,
    json, print, show, words,
};

#[derive(Args)]
pub(crate) struct TxArgs {
    #[command(flatten)]
    coordinator: Coordinator,
    /// Print JSON, for scripts.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: TxCommand,
}

#[derive(Subcommand)]
enum TxCommand {
    /// List transactions, newest first.
    List(ListArgs),
    /// Show one transaction with everything that happened to it.
    Show(Which),
    /// Follow one transaction until it is final or parked.
    Watch {
        /// Its id.
        tx_id: String,
    },
    /// Put the failed actions of a parked transaction back to work.
    Retry {
        /// Its id.
        tx_id: String,
        /// Why; kept with the transaction.
        #[arg(long)]
        reason: String,
    },
    /// End failed actions of a parked transaction by hand.
    Resolve {
        /// Its id.
        tx_id: String,
        /// The failed actions.
        #[arg(required = true)]
        actions: Vec<String>,
        /// What a person saw to be true of them, or made true.
        #[arg(long = "as", value_enum)]
        end: End,
        /// Why; kept with the transaction.
        #[arg(long)]
        reason: String,
    },
    /// Decide a transaction whose initiator does not answer.
    Decide {
        /// Its id.
        tx_id: String,
        /// The decision; it never changes.
        #[arg(value_enum)]
        outcome: Decision,
        /// Why; kept with the transaction.
        #[arg(long)]
        reason: String,
    },
}

#[derive(Clone, Copy, ValueEnum)]
enum End {
    Confirmed,
    Cancelled,
}

#[derive(Clone, Copy, ValueEnum)]
enum Decision {
    Success,
    Failure,
}

#[derive(Args)]
struct Which {
    /// Its id; or give its business.
    #[arg(required_unless_present = "business_id")]
    tx_id: Option<String>,
    /// Its business type.
    #[arg(long, requires = "business_id", conflicts_with = "tx_id")]
    business_type: Option<String>,
    /// Its business id; the newest transaction of it is shown.
    #[arg(long, requires = "business_type", conflicts_with = "tx_id")]
    business_id: Option<String>,
}

#[derive(Args)]
struct ListArgs {
    /// Only of this business type.
    #[arg(long)]
    business_type: Option<String>,
    /// Only of this business id.
    #[arg(long)]
    business_id: Option<String>,
    /// Only with one of these statuses.
    #[arg(long, value_enum)]
    status: Vec<Status>,
    /// Only with one of these business statuses.
    #[arg(long, value_enum)]
    biz_status: Vec<BizStatus>,
    /// Only with an action of this participant.
    #[arg(long)]
    participant: Option<String>,
    /// Only begun at least this long ago, like 5m.
    #[arg(long, value_parser = humantime::parse_duration)]
    older_than: Option<Duration>,
    /// Only begun at most this long ago, like 2h.
    #[arg(long, value_parser = humantime::parse_duration)]
    younger_than: Option<Duration>,
    /// Only what a person should see: parked, being asked back, or overdue.
    #[arg(long)]
    stuck: bool,
    /// At most this many.
    #[arg(long, default_value_t = bounds::PAGE_DEFAULT)]
    limit: u32,
    /// Go on after the last list, as it said.
    #[arg(long, default_value = "", hide_default_value = true)]
    cursor: String,
}

#[derive(Clone, Copy, ValueEnum)]
enum Status {
    ProcessWaiting,
    Processing,
    Success,
    Failure,
}

#[derive(Clone, Copy, ValueEnum)]
enum BizStatus {
    Init,
    Unknown,
    Success,
    Failure,
}

type Client = CoordinatorClient<Channel>;

pub(crate) async fn run(args: TxArgs) -> CommandResult {
    let channel = args.coordinator.connect().await?;
    let client = CoordinatorClient::new(channel.clone()).max_decoding_message_size(MESSAGE_BYTES);
    let operator = OperatorClient::new(channel).max_decoding_message_size(MESSAGE_BYTES);
    let done = match args.command {
        TxCommand::List(list_args) => return list(client, list_args, args.json).await,
        TxCommand::Show(which) => return show_one(client, which, args.json).await,
        TxCommand::Watch { tx_id } => return watch(client, tx_id, args.json).await,
        TxCommand::Retry { tx_id, reason } => {
            let message = v1::RetryRequest { tx_id, reason };
            operator.clone().retry(request(message)).await
        }
        TxCommand::Resolve {
            tx_id,
            actions,
            end,
            reason,
        } => {
            let end = match end {
                End::Confirmed => v1::ActionStatus::Confirmed,
                End::Cancelled => v1::ActionStatus::Cancelled,
            };
            let message = v1::ResolveRequest {
                tx_id,
                actions,
                r#as: end.into(),
                reason,
            };
            operator.clone().resolve(request(message)).await
        }
        TxCommand::Decide {
            tx_id,
            outcome,
            reason,
        } => {
            let outcome = match outcome {
                Decision::Success => v1::Outcome::Success,
                Decision::Failure => v1::Outcome::Failure,
            };
            let message = v1::OperatorDecideRequest {
                tx_id,
                outcome: outcome.into(),
                reason,
            };
            operator.clone().decide(request(message)).await
        }
    };
    print_state(&done.map_err(refused)?.into_inner(), args.json)
}

fn print_state(state: &v1::TransactionState, as_json: bool) -> CommandResult {
    if as_json {
        print(&format!("{}\n", json::state(state)))?;
    } else {
        let seen = v1::Transaction {
            status: state.status,
            biz_status: state.biz_status,
            ..v1::Transaction::default()
        };
        print(&format!(
            "{} is {} now\n",
            state.tx_id,
            words::standing(&seen)
        ))?;
    }
    Ok(0)
}

async fn show_one(mut client: Client, which: Which, as_json: bool) -> CommandResult {
    let message = v1::GetRequest {
        tx_id: which.tx_id.unwrap_or_default(),
        business_type: which.business_type.unwrap_or_default(),
        business_id: which.business_id.unwrap_or_default(),
    };
    let tx = client
        .get(request(message))
        .await
        .map_err(refused)?
        .into_inner();
    if as_json {
        print(&format!("{}\n", json::transaction(&tx)))?;
    } else {
        print(&show::text(&tx))?;
    }
    Ok(0)
}

async fn watch(mut client: Client, tx_id: String, as_json: bool) -> CommandResult {
    let message = v1::WatchRequest { tx_id };
    let mut states = client.watch(message).await.map_err(refused)?.into_inner();
    let mut code = 0;
    while let Some(tx) = states.message().await.map_err(refused)? {
        if as_json {
            print(&format!("{}\n", json::transaction(&tx)))?;
        } else {
            print(&format!("version {}: {}\n", tx.version, line(&tx)))?;
        }
        code = match (tx.status(), tx.biz_status()) {
            (v1::TxStatus::Success, v1::BizStatus::Failure) => 3,
            (v1::TxStatus::Failure, _) => 4,
            _ => 0,
        };
    }
    Ok(code)
}

fn line(tx: &v1::Transaction) -> String {
    let actions: Vec<_> = tx
        .actions
        .iter()
        .map(|view| {
            let name = view.action.as_ref().map(|action| action.name.as_str());
            let status = words::short(view.status().as_str_name(), "ACTION_STATUS_");
            format!("{} {status}", words::plain(name.unwrap_or_default()))
        })
        .collect();
    format!("{}; {}", words::standing(tx), actions.join(", "))
}

async fn list(mut client: Client, args: ListArgs, as_json: bool) -> CommandResult {
    let stuck = args.stuck;
    let limit = args.limit;
    let mut message = wanted(args);
    let mut found = Vec::new();
    loop {
        let left = limit.saturating_sub(u32::try_from(found.len()).unwrap_or(u32::MAX));
        if left == 0 {
            break;
        }
        message.page_size = left.min(bounds::PAGE_MAX);
        let page = client
            .list(request(message.clone()))
            .await
            .map_err(refused)?
            .into_inner();
        found.extend(page.transactions);
        message.cursor = page.next_cursor;
        if message.cursor.is_empty() {
            break;
        }
    }
    if as_json {
        let transactions: Vec<_> = found.iter().map(json::transaction).collect();
        let whole = serde_json::json!({
            "transactions": transactions,
            "next_cursor": message.cursor,
        });
        print(&format!("{whole}\n"))?;
    } else {
        print(&rows(&found))?;
        if !message.cursor.is_empty() {
            print(&format!("there are more: --cursor {}\n", message.cursor))?;
        }
    }
    Ok(if stuck && !found.is_empty() { 4 } else { 0 })
}

fn wanted(args: ListArgs) -> v1::ListRequest {
    let millis = |duration: Option<Duration>| {
        duration.map_or(0, |d| i64::try_from(d.as_millis()).unwrap_or(i64::MAX))
    };
    let statuses = args.status.into_iter().map(|status| match status {
        Status::ProcessWaiting => v1::TxStatus::ProcessWaiting,
        Status::Processing => v1::TxStatus::Processing,
        Status::Success => v1::TxStatus::Success,
        Status::Failure => v1::TxStatus::Failure,
    });
    let biz_statuses = args.biz_status.into_iter().map(|status| match status {
        BizStatus::Init => v1::BizStatus::Init,
        BizStatus::Unknown => v1::BizStatus::Unknown,
        BizStatus::Success => v1::BizStatus::Success,
        BizStatus::Failure => v1::BizStatus::Failure,
    });
    v1::ListRequest {
        business_type: args.business_type.unwrap_or_default(),
        business_id: args.business_id.unwrap_or_default(),
        statuses: statuses.map(Into::into).collect(),
        biz_statuses: biz_statuses.map(Into::into).collect(),
        participant: args.participant.unwrap_or_default(),
        older_than_ms: millis(args.older_than),
        younger_than_ms: millis(args.younger_than),
        stuck: args.stuck,
        page_size: 0,
        cursor: args.cursor,
    }
}

fn rows(transactions: &[v1::Transaction]) -> String {
    let rows: Vec<_> = transactions
        .iter()
        .map(|tx| {
            let next = match tx.next_attempt_at_micros {
                0 => String::new(),
                at => words::time(at),
            };
            vec![
                tx.tx_id.clone(),
                words::plain(&format!("{} / {}", tx.business_type, tx.business_id)),
                words::standing(tx).to_owned(),
                words::time(tx.create_time_micros),
                words::plain(&tx.waiting_for),
                next,
                words::cause(tx.cause.as_ref()),
            ]
        })
        .collect();
    let head = [
        "TRANSACTION",
        "BUSINESS",
        "STANDING",
        "BEGUN",
        "WAITS FOR",
        "NEXT STEP",
        "BECAUSE",
    ];
    words::table(&head, &rows, "")
}
