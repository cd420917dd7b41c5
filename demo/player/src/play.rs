//! The play, from its first process to its report.

use std::time::Instant;

use anyhow::Context;

use crate::args::DemoArgs;
use crate::books::{Ending, Evidence, Sheet};
use crate::evidence::{self, Addresses};
use crate::feed;
use crate::report::{EndingCount, Report};
use crate::script::{Folder, Script};
use crate::stage::Stage;

/// Starts every process, feeds the orders, stops the processes and balances the books.
pub(crate) async fn play(
    args: &DemoArgs,
    script: &Script,
    folder: &Folder,
) -> anyhow::Result<Report> {
    let mut stage = Stage::set(args, folder).await?;
    let started = Instant::now();
    let fed = feed::feed(&mut stage, args, script.orders.good.len()).await?;
    let feed_ms = started.elapsed().as_millis();
    let addresses = stage.addresses.clone();
    let mut evidence = tokio::select! {
        evidence = read(args, &addresses) => evidence?,
        death = stage.death() => return Err(death),
    };
    evidence.answers = fed.answers;
    stage.clear().await?;
    let sheet = Sheet::draw(args.mode, &script.orders, &script.seeds, &evidence);
    let balances = sheet.balances();
    Ok(Report {
        ok: balances && sheet.ended == sheet.orders,
        mode: args.mode,
        lines: script.orders.good.len(),
        bad_orders: script.orders.bad.clone(),
        endings: endings(&sheet),
        balances,
        sheet,
        faults: args.fail.iter().map(ToString::to_string).collect(),
        kills: fed.kills,
        feed_ms,
        data_dir: None,
    })
}

async fn read(args: &DemoArgs, at: &Addresses) -> anyhow::Result<Evidence> {
    evidence::settled(at, args.pace.patience_ms)
        .await
        .context("the coordinator does not answer")?;
    evidence::read(at).await
}

fn endings(sheet: &Sheet) -> Vec<EndingCount> {
    let count = |(ending, orders): (&Ending, &usize)| EndingCount {
        outcome: ending.outcome,
        reason: ending.reason.clone(),
        orders: *orders,
    };
    sheet.endings.iter().map(count).collect()
}
