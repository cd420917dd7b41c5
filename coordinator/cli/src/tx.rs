//! `tercet tx`.

use clap::{Args, Subcommand, ValueEnum};
use tercet_proto::v1::{
    self, coordinator_client::CoordinatorClient, operator_client::OperatorClient,
};
use tonic::transport::Channel;

use crate::{
    client::{Coordinator, MESSAGE_BYTES, refused, request},
    failure::{CommandResult, Failure},
    json,
    list::{self, ListArgs},
    print, show, watch, words,
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
    /// Follow one transaction until it is finished or parked, also through restarts of the coordinator.
    Watch(Which),
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

/// One transaction: by its id, or by its business.
#[derive(Args)]
struct Which {
    /// Its id; or give both --business-type and --business-id.
    tx_id: Option<String>,
    /// Its business type, with --business-id.
    #[arg(long)]
    business_type: Option<String>,
    /// Its business id, with --business-type: the newest transaction of that business.
    #[arg(long)]
    business_id: Option<String>,
}

impl Which {
    /// Checks that it names a transaction in one way.
    fn check(&self) -> Result<(), Failure> {
        match (&self.tx_id, &self.business_type, &self.business_id) {
            (Some(_), None, None) | (None, Some(_), Some(_)) => Ok(()),
            _ => Err(Failure::Usage(
                "give either the TX_ID, or --business-type and --business-id together".to_owned(),
            )),
        }
    }

    /// Makes the request that reads it.
    fn wanted(self) -> v1::GetRequest {
        v1::GetRequest {
            tx_id: self.tx_id.unwrap_or_default(),
            business_type: self.business_type.unwrap_or_default(),
            business_id: self.business_id.unwrap_or_default(),
        }
    }
}

pub(crate) type Client = CoordinatorClient<Channel>;

pub(crate) async fn run(args: TxArgs) -> CommandResult {
    // Before anything is reached.
    if let TxCommand::Show(which) | TxCommand::Watch(which) = &args.command {
        which.check()?;
    }
    let channel = args.coordinator.connect().await?;
    let client = CoordinatorClient::new(channel.clone()).max_decoding_message_size(MESSAGE_BYTES);
    let operator = OperatorClient::new(channel).max_decoding_message_size(MESSAGE_BYTES);
    let done = match args.command {
        TxCommand::List(list_args) => return list::run(client, list_args, args.json).await,
        TxCommand::Show(which) => return show_one(client, which.wanted(), args.json).await,
        TxCommand::Watch(which) => return watch::run(client, which.wanted(), args.json).await,
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

async fn show_one(mut client: Client, message: v1::GetRequest, as_json: bool) -> CommandResult {
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
