//! `tercet tx list`.

use std::time::Duration;

use clap::Args;
use tercet_proto::v1;
use tercet_server::bounds;

use crate::{
    client::{refused, request},
    failure::CommandResult,
    json, print,
    standing::{self, Standing},
    table::{self, Column},
    tx::Client,
    words,
};

#[derive(Args)]
pub(crate) struct ListArgs {
    /// Only of this business type.
    #[arg(long)]
    business_type: Option<String>,
    /// Only of this business id.
    #[arg(long)]
    business_id: Option<String>,
    /// Only with this standing, as lists show it: trying, asking-back, confirming, cancelling, committed,
    /// rolled-back, parked; unfinished for the first four, finished for committed and rolled-back. May be given
    /// several times.
    #[arg(long, value_name = "STANDING", value_parser = standing::parse)]
    status: Vec<&'static [Standing]>,
    /// Only with an action of this participant.
    #[arg(long)]
    participant: Option<String>,
    /// Only begun at least this long ago, like 5m.
    #[arg(long, value_parser = age)]
    older_than: Option<Duration>,
    /// Only begun at most this long ago, like 2h.
    #[arg(long, value_parser = age)]
    younger_than: Option<Duration>,
    /// Only what a person should see: parked, being asked back, overdue, or a phase two whose calls fail.
    #[arg(long)]
    stuck: bool,
    /// At most this many, 1 or more.
    #[arg(long, default_value_t = bounds::PAGE_DEFAULT, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    /// Go on after the last list, as it said.
    #[arg(long, default_value = "", hide_default_value = true)]
    cursor: String,
}

/// Reads an age. The request has milliseconds, of which 0 would mean that no age is given.
fn age(text: &str) -> Result<Duration, String> {
    let age = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if age < Duration::from_millis(1) {
        return Err("expected 1ms or more".to_owned());
    }
    Ok(age)
}

pub(crate) async fn run(mut client: Client, args: ListArgs, as_json: bool) -> CommandResult {
    let (stuck, limit) = (args.stuck, args.limit);
    let standings: Vec<Standing> = args.status.concat();
    let mut message = wanted(args, &standings);
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
        // Several standings may be fewer than all pairs of their statuses.
        found.extend(page.transactions.into_iter().filter(|tx| {
            standings.is_empty() || Standing::of(tx).is_some_and(|it| standings.contains(&it))
        }));
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
        print(&rows(&found, table::width()))?;
        if !message.cursor.is_empty() {
            print(&format!("there are more: --cursor {}\n", message.cursor))?;
        }
    }
    Ok(if stuck && !found.is_empty() { 4 } else { 0 })
}

fn wanted(args: ListArgs, standings: &[Standing]) -> v1::ListRequest {
    let millis = |duration: Option<Duration>| {
        duration.map_or(0, |d| i64::try_from(d.as_millis()).unwrap_or(i64::MAX))
    };
    let mut statuses = Vec::new();
    let mut biz_statuses = Vec::new();
    for standing in standings {
        let (status, outcomes) = standing.statuses();
        statuses.push(status.into());
        biz_statuses.extend(outcomes.iter().map(|outcome| i32::from(*outcome)));
    }
    for numbers in [&mut statuses, &mut biz_statuses] {
        numbers.sort_unstable();
        numbers.dedup();
    }
    v1::ListRequest {
        business_type: args.business_type.unwrap_or_default(),
        business_id: args.business_id.unwrap_or_default(),
        statuses,
        biz_statuses,
        participant: args.participant.unwrap_or_default(),
        older_than_ms: millis(args.older_than),
        younger_than_ms: millis(args.younger_than),
        stuck: args.stuck,
        page_size: 0,
        cursor: args.cursor,
    }
}

/// The columns of a list.
const COLUMNS: [Column; 8] = [
    Column::whole("TRANSACTION"),
    Column::whole("TYPE").cut_to(10).leaves(4),
    Column::whole("BUSINESS").cut_to(12),
    Column::whole("STANDING"),
    Column::whole("BEGUN").leaves(2),
    Column::whole("WAITS FOR").leaves(3),
    Column::whole("NEXT STEP").leaves(1),
    Column::whole("BECAUSE").cut_to(16).leaves(5),
];

fn rows(transactions: &[v1::Transaction], width: Option<usize>) -> String {
    let rows: Vec<_> = transactions
        .iter()
        .map(|tx| {
            let next = match tx.next_attempt_at_micros {
                0 => String::new(),
                at => words::time(at),
            };
            vec![
                tx.tx_id.clone(),
                words::plain(&tx.business_type),
                words::plain(&tx.business_id),
                words::standing(tx).to_owned(),
                words::time(tx.create_time_micros),
                words::waits_for(tx),
                next,
                words::because(tx),
            ]
        })
        .collect();
    table::table(&COLUMNS, &rows, "", width)
}
